// RawSocketTests.swift — the server against bytes on a socket: what RFC 6455 and 9112 forbid, and what costs it something.

import Logging
import Signaling
import SignalingTransport
import Testing

@Suite(.serialized) struct RawSocketTests {
  // MARK: HTTP

  @Test("other paths, other methods and plain requests are answered in HTTP")
  func http() async throws {
    try await withServer { _, address in
      for (request, status, body) in [
        (RawClient.request("/other"), "404 Not Found", "Not found"),
        ("GET /signaling HTTP/1.1\r\nHost: localhost\r\n\r\n", "426 Upgrade Required", "WebSocket only"),
        ("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed", "GET only"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "404 Not Found", "Not found"),
        (
          "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 OK",
          #"{"localOnly":true,"ok":true,"peers":0,"rooms":0,"service":"swarm-signaling"}"#
        ),
      ] {
        let client = try RawClient(port: address.port)
        try client.send(request)
        let answer = try client.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 \(status)\r\n"), "\(answer)")
        #expect(answer.hasSuffix("\r\n\r\n\(body)"), "\(answer)")
      }
      let client = try RawClient(port: address.port)
      try client.send("GET /api/signaling/stats HTTP/1.1\r\nHost: 127.0.0.1:\(address.port)\r\n\r\n")
      let answer = try client.readToEnd()
      let body = try JSONValue(parsing: String(answer.split(separator: "\r\n\r\n").last ?? ""))
      #expect(body["totalRooms"] == 0 && body["path"] == "/signaling" && body["rooms"] == [])
      let rebound = try RawClient(port: address.port)
      try rebound.send("GET /api/signaling/stats HTTP/1.1\r\nHost: evil.example:\(address.port)\r\n\r\n")
      #expect(try rebound.readToEnd().hasPrefix("HTTP/1.1 403 "))
    }
  }

  @Test("ambiguous or incomplete handshakes are refused (W10)")
  func handshakes() async throws {
    try await withServer { _, address in
      for request in [
        RawClient.request(version: "HTTP/1.0"),
        RawClient.request(more: "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        RawClient.request(more: "Content-Length: 5\r\n") + "hello",
        RawClient.request(more: "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        RawClient.request().replacing("Version: 13", with: "Version: 8"),
        RawClient.request().replacing("Sec-WebSocket-Key", with: "X-Key"),
        RawClient.request().replacing("GET", with: "PUT"),
        "nonsense\r\n\r\n",
      ] {
        let client = try RawClient(port: address.port)
        try client.send(request)
        let answer = try client.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 4"), "\(request) → \(answer)")
      }
    }
  }

  @Test("a first frame in the packet of the request is read (W10)")
  func pipelined() async throws {
    try await withServer { _, address in
      let client = try RawClient(port: address.port)
      let join = #"{"type":"join","peerId":"aaa","roomId":"room"}"#
      try client.send(Array(RawClient.request().utf8) + RawClient.frame(1, Array(join.utf8)))
      #expect(try client.readHead().hasPrefix("HTTP/1.1 101 "))
      #expect(try client.readFrame()?.text.contains("welcome") == true)
      #expect(try client.readFrame()?.text.contains(#""type":"joined""#) == true)
    }
  }

  @Test("origins: this host's pages only, exactly (W6)")
  func origins() async throws {
    try await withServer { _, address in
      for origin in [
        "http://localhost", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:1", "HTTP://LOCALHOST",
      ] {
        let client = try RawClient(port: address.port)
        try client.shakeHands(more: "Origin: \(origin)\r\nSec-WebSocket-Extensions: permessage-deflate\r\n")
      }
      for origin in [
        "null", "http://localhost.evil.com", "http://evil-localhost", "http://evil.com", "http://localhost.",
        "http://localhost:80.evil.com", "http://127.0.0.1.evil.com", "http://127.0.0.evil", "http://[::2]", "localhost",
        "ftp://localhost", "http://localhost@evil.com", "http://user:1@evil.com", "http://[::1].evil.com", "",
      ] {
        let client = try RawClient(port: address.port)
        try client.send(RawClient.request(more: "Origin: \(origin)\r\n"))
        let answer = try client.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.hasSuffix("Origin not allowed"), "\(origin): \(answer)")
      }
    }
  }

  @Test("header bombs are refused (W2)")
  func headerBombs() async throws {
    try await withServer { _, address in
      let filler = (0..<2_000).map { "X-\($0): \($0)\r\n" }.joined()
      for more in [
        filler, "X: " + String(repeating: "a", count: 30_000) + "\r\n",
        "X: " + String(repeating: " ", count: 65_536) + "\r\n", String(repeating: "X: y\r\n", count: 200),
      ] {
        let client = try RawClient(port: address.port)
        // The server may stop reading, and reset, before all of it is sent.
        do { try client.send(RawClient.request(more: more)) } catch is RawClient.Failed {}
        let answer = try client.readToEnd()
        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 431 ") || answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
      }
      try RawClient(port: address.port).shakeHands()
    }
  }

  @Test("who does not shake hands in time is closed (W1)")
  func slowHandshake() async throws {
    try await withServer({ $0.handshakeTimeout = .milliseconds(150) }) { _, address in
      let idle = try RawClient(port: address.port)
      let slow = try RawClient(port: address.port)
      try slow.send("GET /signaling HTTP/1.1\r\nHost: loc")
      #expect(try idle.isEnded())
      #expect(try slow.isEnded())
    }
  }

  // MARK: Frames

  /// What a frame earns: the text of an error message if there is one, then the code of the close frame.
  private func answer(to bytes: [UInt8], port: Int) throws -> (error: String?, code: Int?) {
    let client = try RawClient(port: port)
    try client.shakeHands()
    try client.send(bytes)
    var error: String?
    while let frame = try client.readFrame() {
      if frame.opcode == 8 {
        try client.send(RawClient.frame(8, Array(frame.payload.prefix(2))))
        #expect(try client.readFrame() == nil, "the server ends the connection after the close handshake")
        return (error, frame.closeCode)
      }
      error = try JSONValue(parsing: frame.text)["error"]?.stringValue
    }
    return (error, nil)
  }

  @Test("what RFC 6455 forbids closes with 1002 (W7)")
  func violations() async throws {
    try await withServer({ $0.closeTimeout = .milliseconds(500) }) { _, address in
      let text = Array("{}".utf8)
      for (name, bytes) in [
        ("unmasked", RawClient.frame(1, text, mask: nil)),
        ("reserved bit", RawClient.frame(1, text, reserved: 0x40)),
        ("unknown opcode", RawClient.frame(3, text)),
        ("unknown control", RawClient.frame(11, text)),
        ("continuation of nothing", RawClient.frame(0, text)),
        ("text in text", RawClient.frame(1, text, isLast: false) + RawClient.frame(1, text)),
        ("fragmented ping", RawClient.frame(9, [], isLast: false)),
        ("long ping", RawClient.frame(9, Array(repeating: 0, count: 126))),
        ("close code of one byte", RawClient.frame(8, [3])),
        ("close code 1005", RawClient.frame(8, [0x03, 0xED])),
        ("close code 999", RawClient.frame(8, [0x03, 0xE7])),
      ] {
        let code = try answer(to: bytes, port: address.port).code
        #expect(code == 1002, "\(name)")
      }
    }
  }

  @Test("sizes: 65,536 bytes pass, more closes with 1009, and lengths beyond memory too (W3, W8)")
  func sizes() async throws {
    try await withServer({ $0.closeTimeout = .milliseconds(500) }) { _, address in
      let client = try RawClient(port: address.port)
      try client.shakeHands()
      try client.send(RawClient.frame(1, Array(repeating: 0x20, count: 65_535) + [0x7B]))
      #expect(try client.readFrame()?.text.contains("Invalid message format") == true)
      for bytes in [
        RawClient.frame(1, Array(repeating: 0x20, count: 65_537)),
        RawClient.frame(1, Array(repeating: 0x20, count: 1_000_000)),
        [0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4],
        [0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
      ] {
        let code = try answer(to: bytes, port: address.port).code
        #expect(code == 1009)
      }
    }
  }

  @Test("text that is no JSON earns an error, binary 1003, broken UTF-8 1007")
  func content() async throws {
    try await withServer { _, address in
      let client = try RawClient(port: address.port)
      try client.shakeHands()
      for _ in 0..<3 {
        try client.sendText("{not json")
        let error = try JSONValue(parsing: try client.readFrame()?.text ?? "")
        #expect(error["type"] == "error" && error["error"] == "Invalid message format")
      }
      let binary = try answer(to: RawClient.frame(2, [1, 2, 3]), port: address.port)
      #expect(binary == ("Binary frames are not supported", 1003))
      let code = try answer(to: RawClient.frame(1, [0x22, 0xFF, 0x22]), port: address.port).code
      #expect(code == 1007)
    }
  }

  @Test("fragments make one message; too many or too much of them close (W4)")
  func fragments() async throws {
    try await withServer { _, address in
      let client = try RawClient(port: address.port)
      try client.shakeHands()
      let join = Array(#"{"type":"join","peerId":"aaa","roomId":"ä"}"#.utf8)
      var bytes = RawClient.frame(1, [], isLast: false)
      for (index, byte) in join.enumerated() {
        bytes += RawClient.frame(0, [byte], isLast: false)
        if index == 5 { bytes += RawClient.frame(9, [7]) }  // a ping may come in between
      }
      try client.send(bytes + RawClient.frame(0, []))
      #expect(try client.readFrame() == RawClient.Frame(first: 0x8A, payload: [7]))
      #expect(try client.readFrame()?.text.contains(#""roomId":"ä""#) == true)

      var empty = RawClient.frame(1, [], isLast: false)
      for _ in 0..<2_000 { empty += RawClient.frame(0, [], isLast: false) }
      let emptyCode = try answer(to: empty, port: address.port).code
      #expect(emptyCode == 1008)
      let half = Array(repeating: UInt8(0x20), count: 40_000)
      let large = RawClient.frame(1, half, isLast: false) + RawClient.frame(0, half)
      let code = try answer(to: large, port: address.port).code
      #expect(code == 1009)
    }
  }

  @Test("a close frame is answered with its code, and the connection ends")
  func close() async throws {
    try await withServer { server, address in
      for (body, code): ([UInt8], Int?) in [([0x03, 0xE8, 0x62, 0x79, 0x65], 1000), ([0x0F, 0xA0], 4000), ([], nil)] {
        let client = try RawClient(port: address.port)
        try client.shakeHands()
        try client.send(RawClient.frame(8, body))
        let frame = try client.readFrame()
        #expect(frame?.opcode == 8 && frame?.closeCode == code)
        #expect(try client.readFrame() == nil)
      }
      try await statistics(of: server) { $0["connections"] == 0 }
    }
  }

  @Test("a close frame that is not answered ends with the deadline (W9)")
  func closeDeadline() async throws {
    try await withServer({ $0.closeTimeout = .milliseconds(100) }) { _, address in
      let client = try RawClient(port: address.port)
      try client.shakeHands()
      try client.send(RawClient.frame(2, []))
      #expect(try client.isEnded())
    }
  }

  @Test("pings are answered with their data, a flood of them closes with 1008 (W9)")
  func pings() async throws {
    try await withServer({ $0.closeTimeout = .milliseconds(500) }) { _, address in
      let client = try RawClient(port: address.port)
      try client.shakeHands()
      try client.send(RawClient.frame(9, Array("hello".utf8)))
      #expect(try client.readFrame() == RawClient.Frame(first: 0x8A, payload: Array("hello".utf8)))
      var flood: [UInt8] = []
      for _ in 0..<1_000 { flood += RawClient.frame(9, []) }
      try client.send(flood)
      var pongs = 0
      var code: Int?
      while let frame = try client.readFrame(), code == nil {
        if frame.opcode == 10 { pongs += 1 } else if frame.opcode == 8 { code = frame.closeCode }
      }
      #expect(code == 1008 && pongs <= 64)
    }
  }

  @Test("a member that does not read is cut off, and the others hear that it left")
  func slowReader() async throws {
    try await withServer({
      $0.outputByteCount = 128 * 1_024
      $0.limits.fanOutBurst = 1 << 30
    }) { server, address in
      let slow = try RawClient(port: address.port, receiveBuffer: 4_096)
      try slow.shakeHands()
      try slow.sendText(#"{"type":"join","peerId":"slow","roomId":"room"}"#)
      #expect(try slow.readFrame()?.text.contains("joined") == true)
      let sender = try RawClient(port: address.port)
      try sender.shakeHands()
      try sender.sendText(#"{"type":"join","peerId":"sender","roomId":"room"}"#)
      #expect(try sender.readFrame()?.text.contains("joined") == true)
      let data = String(repeating: "x", count: 60_000)
      for _ in 0..<150 { try sender.sendText(#"{"type":"broadcast","peerId":"sender","data":"\#(data)"}"#) }
      #expect(try sender.readFrame()?.text.contains(#""peer-left""#) == true)
      try await statistics(of: server) { $0["totalPeers"] == 1 && $0["connections"] == 1 }
    }
  }

  @Test("shutting down says so, with 1001, and takes no longer than the close deadline")
  func shutdown() async throws {
    let server = SignalingServer(
      configuration: {
        var configuration = SignalingServer.Configuration(port: 0)
        configuration.closeTimeout = .milliseconds(100)
        configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return configuration
      }())
    let address = try await server.start()
    let member = try RawClient(port: address.port)
    try member.shakeHands()
    try member.sendText(#"{"type":"join","peerId":"aaa","roomId":"room"}"#)
    _ = try member.readFrame()
    let mute = try RawClient(port: address.port)  // never even shakes hands
    let time = await ContinuousClock().measure { await server.shutdown() }
    #expect(time < .seconds(4), "not as long as a handshake may take")
    #expect(try member.readFrame()?.text.contains(#""server-shutdown""#) == true)
    #expect(try member.readFrame()?.closeCode == 1001)
    #expect(try member.isEnded() && mute.isEnded())
    #expect(throws: RawClient.Failed.self) { try RawClient(port: address.port) }
    #expect(await server.statistics() == nil)
  }
}
