// ForeignClientTests.swift — the server against a WebSocket client that we did not write: Python's `websockets`.

import Foundation
import Logging
import Signaling
import SignalingTransport
import Testing

@Suite struct ForeignClientTests {
  static let script = """
    import asyncio, json, sys, websockets
    async def main(url):
        async with websockets.connect(url, open_timeout=10, close_timeout=10) as socket:
            welcome = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert welcome["type"] == "welcome", welcome
            await socket.send(json.dumps({"type": "join", "peerId": "foreign", "roomId": "room", "metadata": {"from": "python"}}))
            joined = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert joined["type"] == "joined" and joined["peers"] == ["ours"], joined
            await asyncio.wait_for(await socket.ping(b"abc"), 10)
            await socket.send(json.dumps({"type": "offer", "peerId": "foreign", "targetPeer": "ours", "offer": {"type": "offer", "sdp": "v=0\\r\\n"}}))
            answer = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert answer["type"] == "answer" and answer["peerId"] == "ours", answer
            async def parts():
                for part in ['{"type":"broadcast","peerId":', '"foreign","data":', '"in parts"}']:
                    yield part
            await socket.send(parts())
            await socket.send("x" * 65537)
            try:
                await asyncio.wait_for(socket.recv(), 10)
                sys.exit("still open")
            except websockets.ConnectionClosed as closed:
                assert closed.rcvd.code == 1009, closed
    asyncio.run(main(sys.argv[1]))
    """

  /// Whether the client is there; says so when it is not.
  static let isAvailable: Bool = {
    do {
      let status = try run(["-c", "import websockets"]).status
      if status != 0 { print("skipped: python3 has no module `websockets`") }
      return status == 0
    } catch {
      print("skipped: no python3 (\(error))")
      return false
    }
  }()

  private static func run(_ arguments: [String]) throws -> (status: Int32, errors: String) {
    let process = Process()
    let errors = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3"] + arguments
    process.standardError = errors
    try process.run()
    let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  @Test("joins, pings, offers, sends in fragments, and is closed for a message too long", .enabled(if: isAvailable))
  func python() async throws {
    try await withServer { _, address in
      var configuration = SignalingClient.Configuration()
      configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      let ours = SignalingClient(configuration: configuration)
      try await ours.connect(url: address.url)
      try await ours.send(.join(.init(peerID: "ours", roomID: "room")))
      _ = try await ours.next { if case .joined = $0 { true } else { nil } }

      let foreign = Task.detached { try Self.run(["-c", Self.script, address.url]) }
      let metadata = try await ours.next { if case .peerJoined("foreign", let all) = $0 { all } else { nil } }
      #expect(metadata == ["from": "python"])
      let offer = try await ours.next { if case .offer(let offer) = $0 { offer } else { nil } }
      #expect(offer.payload["sdp"] == "v=0\r\n")
      try await ours.send(.answer(.init(peerID: "ours", targetPeer: "foreign", payload: ["type": "answer"])))
      let data = try await ours.next { if case .broadcast(_, let data) = $0 { data } else { nil } }
      #expect(data == "in parts")
      _ = try await ours.next { if case .peerLeft("foreign") = $0 { true } else { nil } }
      let (status, errors) = try await foreign.value
      #expect(status == 0, "\(errors)")
      await ours.close()
    }
  }
}
