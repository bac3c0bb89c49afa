// ReplayTests.swift — every input that has ever crashed a fuzzer, and everything in Vectors/ that could be a fuzzer's first
// input, through the functions that the fuzzers call. A target that fails traps; with REPLAY_VERBOSE=1 in the environment
// the last line before names the input.

import Foundation
import FuzzEntry
import TestSupport
import Testing

@Suite struct ReplayTests {
  @Test("what Vectors/fuzz keeps does no harm any more", arguments: FuzzTarget.allCases)
  func keptInputs(target: FuzzTarget) throws {
    let folder = Vectors.folder.appendingPathComponent("fuzz").appendingPathComponent(target.rawValue)
    guard FileManager.default.fileExists(atPath: folder.path) else { return }  // nothing was ever found
    for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
      replay([UInt8](try Data(contentsOf: file)), through: target, named: file.lastPathComponent)
    }
  }

  @Test("every folder of Vectors/fuzz belongs to a target")
  func noStrayFolders() throws {
    let folder = Vectors.folder.appendingPathComponent("fuzz")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(Set(names).subtracting(FuzzTarget.allCases.map(\.rawValue)).isEmpty)
  }

  @Test("all bytes and texts in Vectors/, whole and cut short, through every target", arguments: FuzzTarget.allCases)
  func seeds(target: FuzzTarget) throws {
    let seeds = try Self.seeds()
    try #require(seeds.count > 50)
    for (name, bytes) in seeds {
      replay(bytes, through: target, named: name)
      // Every length would take minutes; a handful of cuts per seed meets most fields.
      for cut in stride(from: 1, to: bytes.count, by: max(1, bytes.count / 8)) {
        replay(Array(bytes.prefix(cut)), through: target, named: "\(name) cut to \(cut)")
      }
    }
  }

  private func replay(_ bytes: [UInt8], through target: FuzzTarget, named name: String) {
    // A trap ends the process and takes what is buffered with it.
    if Self.isVerbose { FileHandle.standardError.write(Data("replay \(target.rawValue): \(name)\n".utf8)) }
    target.run(bytes.span.bytes)
  }

  private static let isVerbose = ProcessInfo.processInfo.environment["REPLAY_VERBOSE"] != nil

  /// The runs of hexadecimal lines in the text files, and the descriptions whole and line by line.
  static func seeds() throws -> [(name: String, bytes: [UInt8])] {
    let walk = try #require(FileManager.default.enumerator(at: Vectors.folder, includingPropertiesForKeys: nil))
    var seeds: [(name: String, bytes: [UInt8])] = []
    for case let file as URL in walk where ["txt", "sdp"].contains(file.pathExtension) {
      let name = file.lastPathComponent
      let text = try String(contentsOf: file, encoding: .utf8)
      if file.pathExtension == "sdp" { seeds.append((name, Array(text.utf8))) }
      var block: [UInt8] = []
      for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        let line = line.trimmingCharacters(in: .whitespaces)
        if let more = bytes(hex: line), !more.isEmpty {
          block += more
          continue
        }
        if !block.isEmpty { seeds.append(("\(name) above line \(number + 1)", block)) }
        block = []
        if line.contains("candidate:") { seeds.append(("\(name) line \(number + 1)", Array(line.utf8))) }
      }
      if !block.isEmpty { seeds.append(("the end of \(name)", block)) }
    }
    return seeds
  }
}
