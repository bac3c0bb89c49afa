// OpenSSLSpeed.swift — runs `openssl speed -evp aes-128-gcm`: what the cipher does without records, on this machine, now.

import Foundation

struct OpenSSLSpeed {
  struct Missing: Error, CustomStringConvertible {
    let description: String
  }

  /// Megabytes a second, in blocks of 1,024 bytes.
  var encrypted: Double
  var decrypted: Double

  init(seconds: Int) throws(Missing) {
    encrypted = try Self.measure([], seconds: seconds)
    decrypted = try Self.measure(["-decrypt"], seconds: seconds)
  }

  private static func measure(_ options: [String], seconds: Int) throws(Missing) -> Double {
    let program = Process()
    program.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    program.arguments =
      ["openssl", "speed", "-mr", "-evp", "aes-128-gcm", "-bytes", "1024", "-seconds", "\(seconds)"] + options
    let output = Pipe()
    program.standardOutput = output
    program.standardError = FileHandle.nullDevice
    program.standardInput = FileHandle.nullDevice
    do {
      try withAlarms { try program.run() }
    } catch {
      throw Missing(description: "openssl cannot be run: \(error.localizedDescription)")
    }
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    program.waitUntilExit()
    guard program.terminationStatus == 0 else { throw Missing(description: "openssl is not installed") }
    guard let speed = parse(text) else { throw Missing(description: "openssl speed said nothing that is understood") }
    return speed
  }

  /// `openssl speed` ends each measurement by SIGALRM, which the threads of Swift's concurrency keep blocked, and a program
  /// has the signals blocked that the thread had which started it.
  private static func withAlarms(_ start: () throws -> Void) rethrows {
    var alarms = sigset_t()
    var before = sigset_t()
    unsafe sigemptyset(&alarms)
    unsafe sigaddset(&alarms, SIGALRM)
    unsafe pthread_sigmask(SIG_UNBLOCK, &alarms, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    try start()
  }

  /// The line `+F:number:cipher:bytes a second` of the output for machines.
  static func parse(_ text: String) -> Double? {
    for line in text.split(separator: "\n") where line.hasPrefix("+F:") {
      let fields = line.split(separator: ":")
      if fields.count == 4, fields[2].uppercased() == "AES-128-GCM", let speed = Double(fields[3]) {
        return speed / 1e6
      }
    }
    return nil
  }
}
