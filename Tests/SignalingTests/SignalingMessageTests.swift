// SignalingMessageTests.swift — every message of the protocol, there and back, and what is refused.

import Signaling
import Testing

@Suite struct SignalingMessageTests {
  static let offer: JSONValue = [
    "type": "offer", "sdp": "v=0\r\n", "swarm": ["v": 1, "features": ["binary"]], "unheardOf": [1, [2], nil],
  ]

  static let messages: [SignalingMessage] = [
    .join(.init(peerID: "a", roomID: "r", token: String(repeating: "t", count: 32), metadata: ["capabilities": ["x"]])),
    .join(.init(peerID: "a", roomID: "r")),
    .leave(.init(peerID: "a", roomID: "r")), .leave(.init(peerID: "a")),
    .heartbeat(.init(peerID: "a", roomID: "r")),
    .announce(.init(peerID: "a", roomID: "r"), metadata: ["goals": []]),
    .offer(.init(peerID: "a", targetPeer: "b", payload: offer)),
    .answer(.init(peerID: "a", targetPeer: "b", payload: ["type": "answer", "sdp": "v=0\r\n"])),
    .iceCandidate(.init(peerID: "a", targetPeer: "b", payload: ["candidate": "", "sdpMid": "0", "sdpMLineIndex": 0])),
    .relay(.init(peerID: "a", targetPeer: "b", payload: ["protocolVersion": 1])),
    .broadcast(.init(peerID: "a", roomID: "r"), data: [1, 2]),
    .welcome(.init(timestamp: 7, path: "/signaling", localOnly: true)),
    .joined(.init(peerID: "a", roomID: "r", peers: ["b", "c"], members: ["b": ["x-sw": "1"]])),
    .peerJoined(peerID: "b", metadata: ["k": 1]), .peerLeft(peerID: "b"), .peerAnnounced(peerID: "b", metadata: [:]),
    .error(.init(message: "no", code: "not-json", inReplyTo: "join")), .serverShutdown,
  ]

  @Test("comes back as it went", arguments: messages)
  func roundTrip(message: SignalingMessage) throws {
    #expect(try SignalingMessage(decoding: message.encoded()) == message)
    #expect(message.json()["type"]?.stringValue == message.kind.rawValue)
    #expect(message.json(timestamp: 5)["timestamp"] == 5)
  }

  @Test("every kind has a message in this list")
  func allKinds() {
    #expect(Set(Self.messages.map(\.kind)) == Set(SignalingMessage.Kind.allCases))
  }

  @Test("reads what the servers in use send")
  func foreignForms() throws {
    #expect(
      try SignalingMessage(decoding: #"{"type":"welcome","timestamp":1767225600000}"#)
        == .welcome(.init(timestamp: 1_767_225_600_000)))
    #expect(
      try SignalingMessage(decoding: #"{"type":"joined","peerId":"a","roomId":"r","peers":["b"]}"#)
        == .joined(.init(peerID: "a", roomID: "r", peers: ["b"])))
    #expect(
      try SignalingMessage(decoding: #"{"type":"peer-joined","peerId":"b"}"#) == .peerJoined(peerID: "b", metadata: [:])
    )
    #expect(
      try SignalingMessage(decoding: #"{"type":"broadcast","peerId":"b","data":"hi","timestamp":3}"#)
        == .broadcast(.init(peerID: "b"), data: "hi"))
    #expect(try SignalingMessage(decoding: #"{"type":"error","timestamp":1}"#) == .error(.init(message: "")))
  }

  @Test(
    "says what is wrong",
    arguments: [
      ("", SignalingDecodingError.json(.unexpectedEnd)), ("[]", .notAnObject), ("null", .notAnObject),
      ("{}", .missing(member: "type")), (#"{"type":1}"#, .invalid(member: "type")),
      (#"{"type":"dance"}"#, .unknownType("dance")),
      (#"{"type":"offer","peerId":"a","targetPeer":"b"}"#, .missing(member: "offer")),
      (#"{"type":"offer","peerId":"a","targetPeer":3,"offer":{}}"#, .invalid(member: "targetPeer")),
      (#"{"type":"joined","peerId":"a","roomId":"r","peers":["b",1]}"#, .invalid(member: "peers")),
      (#"{"type":"peer-left","peerId":""}"#, .invalid(member: "peerId")),
      (#"{"type":"join","peerId":"a","roomId":"r","metadata":[]}"#, .invalid(member: "metadata")),
    ])
  func refused(text: String, error: SignalingDecodingError) {
    #expect(throws: error) { try SignalingMessage(decoding: text) }
  }
}
