// OpenSSLProgramTests.swift — the `openssl` program as a real peer, over UDP on the loopback interface. Every wait is
// bounded; where the program is missing the tests say so and do nothing.

import DTLS
import Foundation
import Testing
import Wire

@Suite(.serialized, .enabled(if: OpenSSLProgram.isPresent, "the openssl program is missing"))
struct OpenSSLProgramTests {
  @Test func weAreTheClientOfSServer() throws {
    let socket = try UDPEndpoint()
    let files = try Credentials()
    let program = try OpenSSLProgram(facing: socket, as: .client, with: files, ["-quiet"])
    defer { program.end() }
    var side = try files.session(role: .client)
    side.session.start(now: monotonicNow())
    try converse(&side, socket, program)
  }

  @Test("s_client as client, also with a hello in several datagrams", arguments: [nil, 256])
  func weAreTheServerOfSClient(mtu: Int?) throws {
    let socket = try UDPEndpoint()
    let files = try Credentials()
    var arguments = ["-quiet", "-servername", String(repeating: "long-name.", count: 20) + "example"]
    if let mtu { arguments += ["-mtu", "\(mtu)", "-cipher", "ALL"] }
    let program = try OpenSSLProgram(facing: socket, as: .server, with: files, arguments)
    defer { program.end() }
    var side = try files.session(role: .server)
    side.session.start(now: monotonicNow())
    try converse(&side, socket, program)
    if mtu != nil { #expect(socket.received > 3, "the hello came in pieces") }
  }

  @Test(
    "the program agrees on the profile for media and exports the same keys, as server and as client",
    arguments: [("SRTP_AEAD_AES_128_GCM", 7), ("SRTP_AEAD_AES_256_GCM", 8), ("SRTP_AES128_CM_SHA1_80", 1)]
      as [(String, UInt16)],
    [DTLSRole.client, .server])
  func mediaKeys(profile: (name: String, number: UInt16), role: DTLSRole) throws {
    let socket = try UDPEndpoint()
    let files = try Credentials()
    let program = try OpenSSLProgram(
      facing: socket, as: role, with: files,
      ["-use_srtp", profile.name, "-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "88"])
    defer { program.end() }
    var side = try files.session(role: role)
    side.session.start(now: monotonicNow())
    try socket.drive(&side, "connect") { $0.session.isConnected }
    let agreed = side.session.mediaProfile
    #expect(agreed == profile.number)
    let exported = side.session.exportKeyingMaterial(label: "EXTRACTOR-dtls_srtp", byteCount: 88)
    let keys = try #require(exported)
    let digits = keys.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined().uppercased()
    #expect(program.output(until: "Keying material: \(digits)", seconds: 10))
    #expect(program.seen.contains("SRTP Extension negotiated, profile=\(profile.name)"))
  }

  @Test("the program has an RSA or an Ed25519 certificate", arguments: [DTLSRole.client, .server])
  func otherCertificates(role: DTLSRole) throws {
    // As a server OpenSSL itself offers no Ed25519 over DTLS.
    for algorithm in role == .client ? ["rsa:2048"] : ["rsa:2048", "ed25519"] {
      let socket = try UDPEndpoint()
      let files = try Credentials(algorithm: algorithm)
      let program = try OpenSSLProgram(facing: socket, as: role, with: files, ["-quiet"])
      defer { program.end() }
      var side = try files.session(
        role: role,
        identity: .reading(certificatePEM: files.text(files.certificate), privateKeyPEM: files.text(files.key)))
      side.session.start(now: monotonicNow())
      try converse(&side, socket, program)
    }
  }

  @Test(
    "the program refuses nothing, but has another certificate than was announced",
    arguments: [DTLSRole.client, .server])
  func wrongFingerprint(role: DTLSRole) throws {
    let socket = try UDPEndpoint()
    let files = try Credentials()
    let program = try OpenSSLProgram(facing: socket, as: role, with: files, ["-quiet"])
    defer { program.end() }
    let wrong = try #require(AttackTests.wrong)
    var side = Side(try DTLSSession(identity: try .generate(), role: role, remoteFingerprints: [wrong]))
    side.session.start(now: monotonicNow())
    try socket.drive(&side, "fail", mayFail: true) { !$0.events.isEmpty }
    #expect(side.events == [.failed(.fingerprintMismatch)])
  }

  /// Shakes hands, sends a line each way and closes.
  private func converse(_ side: inout Side, _ socket: UDPEndpoint, _ program: OpenSSLProgram) throws {
    try socket.drive(&side, "connect") { $0.session.isConnected }
    #expect(side.events == [.connected])
    socket.send(try side.session.seal(Array("a line from us\n".utf8)))
    #expect(program.output(until: "a line from us\n", seconds: 10))
    program.type("a line from openssl\n")
    try socket.drive(&side, "answer") { !$0.received.isEmpty }
    #expect(side.received == [Array("a line from openssl\n".utf8)])
    side.session.close()
    for datagram in side.transmit() { socket.send(datagram) }
  }
}

/// A certificate in files, made by the program under test's rival.
private struct Credentials: ~Copyable {
  let folder: URL
  let fingerprint: Fingerprint
  var certificate: String { folder.appendingPathComponent("certificate.pem").path }
  var key: String { folder.appendingPathComponent("key.pem").path }

  /// - Parameter algorithm: for `openssl req -newkey`.
  init(algorithm: String = "ec") throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("dtls-\(UInt64.random(in: 0...UInt64.max))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let maker = try OpenSSLProgram(
      ["req", "-x509", "-newkey", algorithm] + (algorithm == "ec" ? ["-pkeyopt", "ec_paramgen_curve:P-256"] : []) + [
        "-nodes", "-days", "2", "-subj", "/CN=x", "-keyout", folder.appendingPathComponent("key.pem").path, "-out",
        folder.appendingPathComponent("certificate.pem").path,
      ])
    maker.process.waitUntilExit()
    let reader = try OpenSSLProgram([
      "x509", "-noout", "-fingerprint", "-sha256", "-in", folder.appendingPathComponent("certificate.pem").path,
    ])
    reader.process.waitUntilExit()
    let line = String(decoding: reader.standardOutput.fileHandleForReading.availableData, as: UTF8.self)
    let digits = try #require(line.split(separator: "=").last).trimmingCharacters(in: .whitespacesAndNewlines)
    fingerprint = try Fingerprint(parsing: "sha-256 \(digits)")
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func session(role: DTLSRole, identity: @autoclosure () throws -> DTLSIdentity = try .generate()) throws -> Side {
    Side(try DTLSSession(identity: try identity(), role: role, remoteFingerprints: [fingerprint]))
  }

  func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
}

private final class OpenSSLProgram {
  static let path = "/usr/bin/openssl"
  static var isPresent: Bool { FileManager.default.isExecutableFile(atPath: path) }

  let process = Process()
  let standardInput = Pipe()
  let standardOutput = Pipe()
  /// What the program has printed so far.
  private(set) var seen = ""

  init(_ arguments: [String]) throws {
    process.executableURL = URL(fileURLWithPath: Self.path)
    process.arguments = arguments
    process.standardInput = standardInput
    process.standardOutput = standardOutput
    process.standardError = FileHandle.nullDevice
    try process.run()
  }

  /// The program as the peer of a session that has this role: it listens where `socket` then sends to, or sends there.
  convenience init(
    facing socket: UDPEndpoint, as role: DTLSRole, with files: borrowing Credentials, _ arguments: [String]
  ) throws {
    let common = ["-dtls1_2", "-cert", files.certificate, "-key", files.key] + arguments
    switch role {
    case .client:
      let port = try UDPEndpoint.freePort()
      socket.peerPort = port
      try self.init(["s_server", "-accept", "127.0.0.1:\(port)", "-Verify", "1"] + common)
    case .server: try self.init(["s_client", "-connect", "127.0.0.1:\(socket.port)"] + common)
    }
  }

  func type(_ text: String) { standardInput.fileHandleForWriting.write(Data(text.utf8)) }

  /// Reads what the program prints; false when `text` has not come after `seconds`.
  func output(until text: String, seconds: Int64) -> Bool {
    let end = monotonicNow() + .seconds(seconds)
    while !seen.contains(text) {
      let descriptor = standardOutput.fileHandleForReading.fileDescriptor
      guard waitToRead(descriptor, until: end) else { return false }
      let data = standardOutput.fileHandleForReading.availableData
      guard !data.isEmpty else { return false }
      seen += String(decoding: data, as: UTF8.self)
    }
    return true
  }

  /// SIGKILL, because the program inherits this thread's signal mask, which keeps SIGTERM from it.
  func end() {
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}

private final class UDPEndpoint {
  private let descriptor: CInt
  let port: UInt16
  var peerPort: UInt16?
  var received = 0

  init() throws {
    let opened = socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)
    var address = Self.loopback(port: 0)
    let isBound = Self.withPointer(&address) { bind(opened, $0, $1) } == 0
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isNamed = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(opened, $0, &length) == 0 }
    }
    descriptor = opened
    port = UInt16(bigEndian: address.sin_port)
    try #require(isBound && isNamed)
  }

  deinit { close(descriptor) }

  /// A port that nobody held a moment ago.
  static func freePort() throws -> UInt16 { try UDPEndpoint().port }

  func send(_ datagram: [UInt8]) {
    guard let peerPort else { return }
    var address = Self.loopback(port: peerPort)
    // Nobody may listen yet: the handshake's timer sends again.
    _ = Self.withPointer(&address) { sendto(descriptor, datagram, datagram.count, 0, $0, $1) }
  }

  /// Runs the session over this socket until `isDone`; gives up after 15 seconds.
  func drive(
    _ side: inout Side, _ purpose: Comment, mayFail: Bool = false, until isDone: (borrowing Side) -> Bool
  ) throws {
    let end = monotonicNow() + .seconds(15)
    while !isDone(side) {
      for datagram in side.transmit() { send(datagram) }
      try #require(mayFail || side.events.allSatisfy { $0 == .connected }, purpose)
      try #require(monotonicNow() < end, purpose)
      let wakeUp = min(side.session.deadline ?? end, end)
      if waitToRead(descriptor, until: wakeUp), let datagram = receive() {
        side.handle(datagram, now: monotonicNow())
      }
      side.handleTimeout(now: monotonicNow())
    }
    for datagram in side.transmit() { send(datagram) }
  }

  private func receive() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    var address = Self.loopback(port: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let count = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
      }
    }
    guard count >= 0 else { return nil }
    received += 1
    peerPort = UInt16(bigEndian: address.sin_port)
    return Array(buffer[..<count])
  }

  private static func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
  }

  private static func withPointer<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
  }
}

/// Waits until there is something to read; false when `end` came first.
private func waitToRead(_ descriptor: CInt, until end: Instant) -> Bool {
  let left = (end - monotonicNow()).nanoseconds
  var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  return poll(&entry, 1, CInt(clamping: max(0, left) / 1_000_000)) > 0
}

private func monotonicNow() -> Instant {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
}
