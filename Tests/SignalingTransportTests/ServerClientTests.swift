// ServerClientTests.swift — our client and our server over loopback.

import Logging
import Signaling
import SignalingTransport
import Testing
import Wire

@Suite(.serialized) struct ServerClientTests {
  private func client(
    _ configure: (inout SignalingClient.Configuration) -> Void = { _ in }
  ) -> SignalingClient {
    var configuration = SignalingClient.Configuration()
    configuration.reconnect = nil
    configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    configure(&configuration)
    return SignalingClient(configuration: configuration)
  }

  private func join(_ client: SignalingClient, _ peerID: String) async throws -> SignalingMessage.Joined {
    try await client.send(.join(.init(peerID: peerID, roomID: "room", metadata: ["name": .string(peerID)])))
    return try await client.next { if case .joined(let joined) = $0 { joined } else { nil } }
  }

  @Test("two peers meet, exchange offer, answer and candidates, and part")
  func meeting() async throws {
    try await withServer { server, address in
      let (a, b) = (client(), client())
      try await a.connect(url: address.url)
      try await b.connect(url: address.url)
      let welcome = try await a.next { if case .welcome(let welcome) = $0 { welcome } else { nil } }
      #expect(welcome.path == "/signaling" && welcome.localOnly == true)
      #expect((welcome.timestamp ?? 0) > 1_700_000_000_000)

      #expect(try await join(a, "peer-a").peers == [])
      let joined = try await join(b, "peer-b")
      #expect(joined.peers == ["peer-a"] && joined.members == ["peer-a": ["name": "peer-a"]])
      let seen = try await a.next { if case .peerJoined(let id, let metadata) = $0 { [id: metadata] } else { nil } }
      #expect(seen == ["peer-b": ["name": "peer-b"]])

      let offer: JSONValue = ["type": "offer", "sdp": "v=0\r\n", "swarm": ["v": 1]]
      try await b.send(.offer(.init(peerID: "peer-b", targetPeer: "peer-a", payload: offer)))
      let got = try await a.next { if case .offer(let offer) = $0 { offer } else { nil } }
      #expect(got == .init(peerID: "peer-b", targetPeer: "peer-a", payload: offer))
      try await a.send(.answer(.init(peerID: "peer-a", targetPeer: "peer-b", payload: ["type": "answer"])))
      for number in 0..<50 {
        let candidate: JSONValue = ["candidate": .string("candidate:\(number)")]
        try await a.send(.iceCandidate(.init(peerID: "peer-a", targetPeer: "peer-b", payload: candidate)))
      }
      _ = try await b.next { if case .answer = $0 { true } else { nil } }
      for number in 0..<50 {
        let candidate = try await b.next { if case .iceCandidate(let candidate) = $0 { candidate } else { nil } }
        #expect(candidate.payload["candidate"]?.stringValue == "candidate:\(number)")
      }

      try await b.send(.broadcast(.init(peerID: "peer-b"), data: ["x": 1]))
      let data = try await a.next { if case .broadcast(_, let data) = $0 { data } else { nil } }
      #expect(data == ["x": 1])
      try await b.send(.announce(.init(peerID: "peer-b"), metadata: ["more": true]))
      let news = try await a.next { if case .peerAnnounced(_, let metadata) = $0 { metadata } else { nil } }
      #expect(news == ["name": "peer-b", "more": true])

      try await statistics(of: server) { $0["totalPeers"] == 2 && $0["totalRooms"] == 1 }
      try await b.send(.leave(.init(peerID: "peer-b", roomID: "room")))
      #expect(try await a.next { if case .peerLeft(let id) = $0 { id } else { nil } } == "peer-b")
      _ = try await join(b, "peer-b")
      _ = try await a.next { if case .peerJoined = $0 { true } else { nil } }
      await b.close()  // without a leave
      #expect(try await a.next { if case .peerLeft(let id) = $0 { id } else { nil } } == "peer-b")
      await a.close()
      try await statistics(of: server) { $0["totalPeers"] == 0 && $0["connections"] == 0 }
    }
  }

  @Test("an error comes back with its code")
  func refused() async throws {
    try await withServer { _, address in
      let client = client()
      try await client.connect(url: address.url)
      try await client.send(.offer(.init(peerID: "a", targetPeer: "b", payload: ["x": 1])))
      let error = try await client.next { if case .error(let error) = $0 { error } else { nil } }
      #expect(error.message == "Join is required before signaling")
      #expect(error.code == "join-required" && error.inReplyTo == "offer")
      await client.close()
    }
  }

  @Test("heartbeats keep a joined peer in the room past the server's patience")
  func heartbeats() async throws {
    try await withServer({
      $0.limits.peerTimeout = .milliseconds(1_500)
    }) { server, address in
      let (alive, silent) = (client { $0.heartbeatInterval = .milliseconds(100) }, client())
      try await alive.connect(url: address.url)
      try await silent.connect(url: address.url)
      _ = try await join(alive, "alive")
      _ = try await join(silent, "silent")
      #expect(try await alive.next { if case .peerLeft(let id) = $0 { id } else { nil } } == "silent")
      let end = try await silent.nextState { if case .disconnected(let end, _) = $0 { end } else { nil } }
      #expect(end == .closed(code: 4001, reason: "Peer timeout"))
      try await statistics(of: server) { $0["totalPeers"] == 1 && ($0["messagesReceived"]?.intValue ?? 0) >= 22 }
      await alive.close()
    }
  }

  @Test("a server that answers nothing is found out")
  func silentServer() async throws {
    let listener = try await SilentServer(shakesHands: true)
    let client = client { $0.heartbeatInterval = .milliseconds(50) }
    try await client.connect(url: "ws://127.0.0.1:\(listener.port)/signaling")
    let end = try await client.nextState { if case .disconnected(let end, _) = $0 { end } else { nil } }
    #expect(end == .silent)
    await #expect(throws: SignalingError.notConnected) { try await client.send(.serverShutdown) }
    await client.close()
    try await listener.stop()
  }

  @Test("a server that never shakes hands is given up")
  func connectTimeout() async throws {
    let listener = try await SilentServer(shakesHands: false)
    let client = client { $0.connectTimeout = .milliseconds(200) }
    await #expect(throws: SignalingError.timedOut) {
      try await client.connect(url: "ws://127.0.0.1:\(listener.port)/signaling")
    }
    #expect(await client.isConnected == false)
    try await listener.stop()
  }

  @Test("what cannot be connected says why, and may be tried again")
  func cannotConnect() async throws {
    let client = client()
    for url in [
      "http://localhost", "localhost:8000", "ws://", "ws://user@host/", "ws://h:0/", "ws://h:99999/", "ws://a b",
    ] {
      await #expect(throws: SignalingError.invalidURL(url)) { try await client.connect(url: url) }
    }
    let unused = try await SilentServer(shakesHands: false)
    try await unused.stop()
    do throws(SignalingError) {
      try await client.connect(url: "ws://127.0.0.1:\(unused.port)/signaling")
      Issue.record("connected to nothing")
    } catch {
      guard case .cannotConnect = error else { throw error }
    }
    try await withServer { _, address in
      await #expect(throws: SignalingError.rejected(status: 404)) {
        try await client.connect(url: "ws://127.0.0.1:\(address.port)/elsewhere")
      }
      try await client.connect(url: address.url + "?query=1")
      await #expect(throws: SignalingError.alreadyConnected) { try await client.connect(url: address.url) }
      await #expect(throws: SignalingError.messageTooLarge(limit: 65_536)) {
        try await client.send(
          .broadcast(.init(peerID: "a"), data: .string(String(repeating: "x", count: 65_536))))
      }
      await client.close()
      await #expect(throws: SignalingError.notConnected) { try await client.connect(url: address.url) }
    }
  }

  @Test("a lost server is found again, with every state told in order")
  func reconnect() async throws {
    let client = client {
      $0.reconnect = ReconnectPolicy()
      $0.reconnect?.base = .milliseconds(20)
      $0.reconnect?.ceiling = .milliseconds(50)
    }
    var port = 0
    try await withServer { _, address in
      port = address.port
      try await client.connect(url: address.url)
      #expect(try await client.nextState { $0 } == .connecting)
      #expect(try await client.nextState { $0 } == .connected)
      _ = try await join(client, "peer-a")
    }
    _ = try await client.next { if case .serverShutdown = $0 { true } else { nil } }
    let lost = try await client.nextState { $0 }
    #expect(lost == .disconnected(.closed(code: 1001, reason: "Server shutting down"), retrying: true))
    let again = port
    try await withServer({ $0.port = again }) { _, _ in
      _ = try await client.nextState { $0 == .connected ? true : nil }
      _ = try await client.next { if case .welcome = $0 { true } else { nil } }
      #expect(try await join(client, "peer-a").peers == [])
      await client.close()
      let end = try await client.nextState {
        if case .disconnected(let end, retrying: false) = $0 { end } else { nil }
      }
      #expect(end == .byUs)
    }
    for await message in client.messages { Issue.record("\(message) after the end") }  // the stream has ended
  }

  @Test("a reader that falls behind loses the connection, not a message")
  func slowApplication() async throws {
    try await withServer { _, address in
      let (a, b) = (client { $0.messageCount = 10 }, client())
      try await a.connect(url: address.url)
      try await b.connect(url: address.url)
      _ = try await join(a, "peer-a")
      _ = try await join(b, "peer-b")
      for number in 0..<20 { try await b.send(.broadcast(.init(peerID: "peer-b"), data: .integer(number + 1))) }
      let end = try await a.nextState { if case .disconnected(let end, _) = $0 { end } else { nil } }
      #expect(end == .readerTooSlow)
      await a.close()
      var numbers: [Int] = []
      for await message in a.messages {
        if case .broadcast(_, let data) = message, let number = data.intValue { numbers.append(number) }
      }
      #expect(numbers == Array(1...numbers.count) && numbers.count >= 9)
      await b.close()
    }
  }

  @Test("an address in use and a second start are errors")
  func startErrors() async throws {
    try await withServer { server, address in
      await #expect(throws: SignalingError.alreadyStarted) { try await server.start() }
      let second = SignalingServer(configuration: .init(port: address.port))
      do throws(SignalingError) {
        try await second.start()
        Issue.record("two servers on one port")
      } catch {
        guard case .cannotListen = error else { throw error }
      }
    }
  }

  @Test("a remote server lets in who shows the token, and pages of its list")
  func remoteAccess() async throws {
    try await withServer({
      $0.access = .remote(accessToken: "s3cret/+", allowedOrigins: ["https://good.example"])
    }) { _, address in
      for (query, origin, status): (String, String?, Int?) in [
        ("", nil, 403), ("?access_token=wrong", nil, 403), ("?access_token=s3cret%2F%2B", nil, nil),
        ("?a=b&access_token=s3cret/%2b", "https://good.example", nil),
        ("?access_token=s3cret/%2b", "https://good.example.evil.com", 403),
      ] {
        let client = client { $0.origin = origin }
        if let status {
          await #expect(throws: SignalingError.rejected(status: status)) {
            try await client.connect(url: address.url + query)
          }
        } else {
          try await client.connect(url: address.url + query)
        }
        await client.close()
      }
    }
  }
}
