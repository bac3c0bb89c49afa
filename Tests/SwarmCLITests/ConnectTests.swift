// ConnectTests.swift — two `swarm connect`, with a script between them that carries their signalling.

import Foundation
import Signaling
import Testing
import WebRTC

extension CommandTests {
  @Suite struct ConnectTests {
    /// A channel from the one that offers to the one that answers.
    struct Pair {
      let offering: Program
      let answering: Program

      init(answering arguments: [String]) async throws {
        offering = try Program(["connect", "--offer"])
        answering = try Program(["connect", "--answer"] + arguments)
        try answering.write(try await offering.line(with: "\"type\":\"offer\""))
        try offering.write(try await answering.line(with: "\"type\":\"answer\""))
        try answering.write(try await offering.line(with: "\"candidate\":", "127.0.0.1"))
        try offering.write(try await answering.line(with: "\"candidate\":", "127.0.0.1"))
        _ = try await offering.event("open")
        _ = try await answering.event("open")
      }
    }

    @Test("a transfer is counted and hashed at both ends, and the sums are the same")
    func transfer() async throws {
      let pair = try await Pair(answering: ["--digest"])
      try pair.offering.write(#"{"sendBytes":3000001}"#)
      let sent = try await pair.offering.event("sent")
      try pair.offering.write(#"{"send":"that was all"}"#)
      let received = try await pair.answering.event("digest")
      #expect(sent["bytes"]?.intValue == 3_000_001)
      #expect(received["bytes"] == sent["bytes"])
      #expect(received["sha256"]?.stringValue?.count == 64)
      #expect(received["sha256"] == sent["sha256"])
      try pair.offering.endInput()
      #expect(await pair.answering.finish().ending == .init(code: 0))
    }

    @Test("the one that offers sees no UDP, and connects over TCP to the one that answers")
    func tcp() async throws {
      let offering = try Program(["connect", "--offer"])
      let answering = try Program(["connect", "--answer", "--tcp", "both"])
      try answering.write(try await offering.line(with: "\"type\":\"offer\""))
      try offering.write(try await answering.line(with: "\"type\":\"answer\""))
      try offering.write(try await answering.line(with: "\"candidate\":", "127.0.0.1", "tcptype passive"))
      let pair = try await offering.event("pair")
      #expect(pair["protocol"]?.stringValue == "tcp")
      _ = try await answering.event("open")
      try offering.endInput()
      #expect(await answering.finish().ending == .init(code: 0))
    }

    @Test("a certificate from files is the one that is announced, and the secrets go to the key log")
    func security() async throws {
      let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
        "swarm-\(UInt64.random(in: 0...UInt64.max))")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
      defer { try? FileManager.default.removeItem(at: folder) }
      let made = try Certificate.generate(.rsa2048)
      let (certificate, key, log) = (
        folder.appendingPathComponent("certificate.pem"), folder.appendingPathComponent("key.pem"),
        folder.appendingPathComponent("keys.log")
      )
      try made.certificatePEM.write(to: certificate, atomically: true, encoding: .utf8)
      try made.privateKeyPEM.write(to: key, atomically: true, encoding: .utf8)
      let pair = try await Pair(answering: [
        "--certificate", certificate.path, "--private-key", key.path, "--key-log", log.path,
      ])
      try pair.offering.endInput()
      let lines = await pair.answering.finish().output
      #expect(lines.contains { $0.contains("a=fingerprint:\(made.fingerprint())") })
      let secrets = try String(contentsOf: log, encoding: .utf8)
      #expect(secrets.hasPrefix("CLIENT_RANDOM ") && secrets.split(separator: "\n").count == 1)
    }

    @Test("a certificate without its key is refused")
    func certificateAlone() async throws {
      let refused = await (try Program(["connect", "--offer", "--certificate", "certificate.pem"])).finish()
      #expect(refused.ending == .init(code: 64))
    }

    @Test("an answer comes before the candidates that belong to it")
    func order() async throws {
      let pair = try await Pair(answering: [])
      try pair.offering.endInput()
      let lines = await pair.answering.finish().output
      let kinds = lines.compactMap { try? JSONValue(parsing: $0) }.filter { $0["event"] == nil }
      #expect(kinds.first?["type"]?.stringValue == "answer", "\(lines)")
    }
  }
}
