// DemoTests.swift — the demo as its users see it: done with code 0, or a failure with a name; no process left behind.

import Foundation
import Signaling
import Testing

extension CommandTests {
  @Suite struct DemoTests {
    @Test("a swarm of two, and of four", arguments: [2, 4])
    func demo(peers: Int) async throws {
      let folder = try TemporaryFolder()
      let file = try folder.write("some.bin", (0..<200_001).map { _ in UInt8.random(in: 0...255) })
      let (ending, output, errors) = try await Program(["demo", "--peers", "\(peers)", "--file", file, "--json"])
        .finish()
      #expect(ending == Program.Ending(code: 0), "\(errors)")
      let report = try JSONValue(parsing: output.joined())
      #expect(report["ok"] == true)
      #expect(report["file"]?["size"] == 200_001)
      #expect(report["file"]?["receivers"]?.arrayValue?.count == peers - 1)
      let rows = try #require(report["peers"]?.arrayValue)
      #expect(rows.count == peers)
      #expect(Set(rows.compactMap { $0["pid"]?.intValue }).count == peers)
      #expect(rows.allSatisfy { $0["connections"]?.arrayValue?.count == peers - 1 })
      for row in rows { try #expect(isGone(#require(row["pid"]?.intValue))) }
    }

    @Test("an empty file is a file")
    func emptyFile() async throws {
      let folder = try TemporaryFolder()
      let file = try folder.write("empty", [])
      let (ending, _, errors) = try await Program(["demo", "--peers", "2", "--file", file]).finish()
      #expect(ending == Program.Ending(code: 0), "\(errors)")
    }

    @Test("a peer that dies is named, and the others go too")
    func death() async throws {
      let folder = try TemporaryFolder()
      let (demo, pids) = try await longDemo(in: folder)
      kill(CInt(pids[1]), SIGKILL)
      let (ending, output, errors) = await demo.finish()
      #expect(ending == Program.Ending(code: 1))
      #expect(output.isEmpty)
      #expect(errors.last?.contains("peer-2 was killed by signal 9") == true, "\(errors)")
      for pid in pids { #expect(isGone(pid)) }
    }

    @Test("a signal ends the demo and its peers", arguments: [SIGINT, SIGTERM])
    func signals(signal: CInt) async throws {
      let folder = try TemporaryFolder()
      let (demo, pids) = try await longDemo(in: folder)
      demo.signal(signal)
      let (ending, output, _) = await demo.finish()
      #expect(ending == Program.Ending(code: 128 + signal))
      #expect(output.isEmpty)
      for pid in pids { #expect(isGone(pid)) }
    }

    /// A demo that is far from over, and its peers.
    private func longDemo(in folder: TemporaryFolder) async throws -> (Program, [Int]) {
      let file = try folder.write("large", [UInt8](repeating: 7, count: 100_000_000))
      let demo = try Program(["demo", "--peers", "3", "--file", file])
      // peer-1 (4711), peer-2 (4712), …
      let line = try await demo.errorLine(containing: "have joined the room")
      let pids = line.split(separator: "(").dropFirst().compactMap { Int($0.prefix { $0.isNumber }) }
      try #require(pids.count == 3, "\(line)")
      return (demo, pids)
    }

    private func isGone(_ pid: Int) -> Bool { kill(CInt(pid), 0) == -1 && errno == ESRCH }
  }
}
