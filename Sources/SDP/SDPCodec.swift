// SDPCodec.swift — a payload type and what it stands for: `a=rtpmap`, `a=fmtp`, `a=rtcp-fb` (RFC 8866 §6.6, §6.15, RFC 4585 §4.2).

/// Audio or video.
package enum SDPMediaKind: String, Hashable, Sendable { case audio, video }

/// Which way media flows, seen by whoever says it (RFC 8866 §6.7).
package enum SDPDirection: String, Hashable, Sendable {
  case sendReceive = "sendrecv"
  case sendOnly = "sendonly"
  case receiveOnly = "recvonly"
  case inactive

  package init(sends: Bool, receives: Bool) {
    self =
      switch (sends, receives) {
      case (true, true): .sendReceive
      case (true, false): .sendOnly
      case (false, true): .receiveOnly
      case (false, false): .inactive
      }
  }

  package var sends: Bool { self == .sendReceive || self == .sendOnly }
  package var receives: Bool { self == .sendReceive || self == .receiveOnly }
  /// The same as the other side sees it.
  package var reversed: SDPDirection { SDPDirection(sends: receives, receives: sends) }

  package func intersection(_ other: SDPDirection) -> SDPDirection {
    SDPDirection(sends: sends && other.sends, receives: receives && other.receives)
  }
}

/// One payload type of a section.
package struct SDPCodec: Hashable, Sendable {
  /// At most 127.
  package var payloadType: UInt8
  /// As written; its case does not matter.
  package var name: String
  package var clockRate: UInt32
  /// 1 where nothing is said.
  package var channels: Int
  /// The value of `a=fmtp`, empty when there is none.
  package var parameters: String
  /// Each as in `a=rtcp-fb` after the payload type, like `nack pli`.
  package var feedback: [String]

  package init(
    payloadType: UInt8, name: String, clockRate: UInt32, channels: Int = 1, parameters: String = "",
    feedback: [String] = []
  ) {
    self.payloadType = payloadType
    self.name = name
    self.clockRate = clockRate
    self.channels = channels
    self.parameters = parameters
    self.feedback = feedback
  }
}

/// `a=extmap` (RFC 8285 §5): the number that stands for a header extension.
package struct SDPExtension: Hashable, Sendable {
  /// 1 to 14, or to 255 (but for 15) where two-byte headers are allowed.
  package var id: UInt8
  package var uri: String
  /// nil where nothing is said: the section's.
  package var direction: SDPDirection?

  package init(id: UInt8, uri: String, direction: SDPDirection? = nil) {
    self.id = id
    self.uri = uri
    self.direction = direction
  }
}
