// MediaTests.swift — recorded RTP: out of a file, over a connection of two `swarm connect`, into another file, and back.

import Foundation
import Signaling
import Testing

extension CommandTests {
  @Suite struct MediaTests {
    /// Packets as rtpdump writes them: a line, a header of 16 bytes, and before each packet its lengths and its time.
    private static func dump(_ packets: [[UInt8]]) -> Data {
      var bytes = Array("#!rtpplay1.0 127.0.0.1/5004\n".utf8) + [UInt8](repeating: 0, count: 16)
      for (number, packet) in packets.enumerated() {
        for value in [packet.count + 8, packet.count, 0, number * 5] {
          bytes += [UInt8(value >> 8), UInt8(value & 255)]
        }
        bytes += packet
      }
      return Data(bytes)
    }

    private static func packet(_ number: Int) -> [UInt8] {
      let header: [UInt8] = [
        0x80, 96 | (number % 2 == 0 ? 0x80 : 0), 0, UInt8(number), 0, 0, UInt8(number), 0, 0xde, 0xad, 0xbe, 0xef,
      ]
      return header + (0..<(100 + number)).map { UInt8(truncatingIfNeeded: $0 &+ number) }
    }

    /// What a file holds, from the sequence number on but for the SSRC, which is the sender's own.
    private static func contents(_ file: URL) throws -> [[UInt8]] {
      let bytes = [UInt8](try Data(contentsOf: file))
      var offset = try #require(bytes.firstIndex(of: 10)) + 17
      var packets: [[UInt8]] = []
      while offset + 8 <= bytes.count {
        let length = Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
        guard length > 20, offset + length <= bytes.count else { break }
        let packet = Array(bytes[(offset + 8)..<(offset + length)])
        packets.append(Array(packet[..<8]) + Array(packet[12...]))
        offset += length
      }
      return packets
    }

    private func connect(_ offering: Program, _ answering: Program) async throws {
      try answering.write(try await offering.line(with: "\"type\":\"offer\""))
      try offering.write(try await answering.line(with: "\"type\":\"answer\""))
      try answering.write(try await offering.line(with: "\"candidate\":", "127.0.0.1"))
      try offering.write(try await answering.line(with: "\"candidate\":", "127.0.0.1"))
    }

    @Test("a recording is played to one that records, and both files hold the same packets")
    func playAndRecord() async throws {
      let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
        "swarm-\(UInt64.random(in: 0...UInt64.max))")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
      defer {
        do { try FileManager.default.removeItem(at: folder) } catch { Issue.record(error) }
      }
      let (source, copy) = (folder.appendingPathComponent("source"), folder.appendingPathComponent("copy"))
      try Self.dump((0..<100).map(Self.packet)).write(to: source)
      let offering = try Program([
        "connect", "--offer", "--media", "play=\(source.path)", "--media-kinds", "video", "--no-channel",
      ])
      let answering = try Program(["connect", "--answer", "--media", "record=\(copy.path)"])
      try await connect(offering, answering)
      let track = try await answering.event("track")
      #expect(track["kind"]?.stringValue == "video" && track["codec"]?.stringValue == "video/VP8")
      _ = try await offering.event("played")
      try offering.write(#"{"stats":true}"#)
      #expect(try await offering.event("media")["sent"]?.intValue == 100)
      try offering.endInput()
      #expect(await offering.finish().ending == .init(code: 0))
      try answering.endInput()
      #expect(await answering.finish().ending == .init(code: 0))
      let (played, recorded) = (try Self.contents(source), try Self.contents(copy))
      // The first packets may be gone before the other side has its keys.
      #expect(recorded.count >= 90)
      #expect(recorded == Array(played.suffix(recorded.count)))
    }

    @Test("what is sent to one that echoes comes back")
    func echo() async throws {
      let offering = try Program(["connect", "--offer", "--media", "echo"])
      let answering = try Program(["connect", "--answer", "--media", "echo", "--echo"])
      try await connect(offering, answering)
      _ = try await offering.event("open")
      // Each waits for the other's packets, and returns them: nothing begins by itself.
      #expect(try await offering.event("track")["mid"]?.stringValue == "0")
      #expect(try await answering.event("track")["mid"]?.stringValue == "0")
      try offering.write(#"{"stats":true}"#)
      #expect(try await offering.event("media")["sent"]?.intValue == 0)
      try offering.endInput()
      #expect(await offering.finish().ending == .init(code: 0))
      #expect(await answering.finish().ending == .init(code: 0))
    }

    @Test(
      "a file that is no recording, and options that make no sense, are refused",
      arguments: [
        ["--offer", "--media", "play=/etc/hostname"], ["--offer", "--media", "sing"], ["--answer", "--no-channel"],
        ["--offer", "--media", "echo", "--media-kinds", "smell"], ["--offer", "--media", "play=/nowhere/at/all"],
      ])
    func refused(arguments: [String]) async throws {
      let ending = try await Program(["connect"] + arguments).finish().ending
      #expect(ending != .init(code: 0))
    }
  }
}
