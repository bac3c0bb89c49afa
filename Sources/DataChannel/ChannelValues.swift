// ChannelValues.swift — what a data channel is called, how it behaves, and what can be wrong with a request for one.

package import SCTP

/// A channel's name within its connection. It never names another channel, not even after this one is closed, and does
/// not change when the channel gets its stream.
package struct ChannelID: Hashable, Sendable {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// How a channel was asked for (RFC 8832 §5.1, W3C `RTCDataChannelInit`).
package struct ChannelParameters: Hashable, Sendable {
  package var label: String
  package var subprotocol: String
  package var isOrdered: Bool
  package var reliability: Reliability
  package var priority: UInt16
  /// The stream both sides agreed on by other means; nil when the channel is announced with DCEP.
  package var negotiatedStream: UInt16?

  package init(
    label: String = "", subprotocol: String = "", isOrdered: Bool = true, reliability: Reliability = .reliable,
    priority: UInt16 = ChannelParameters.normalPriority, negotiatedStream: UInt16? = nil
  ) {
    self.label = label
    self.subprotocol = subprotocol
    self.isOrdered = isOrdered
    self.reliability = reliability
    self.priority = priority
    self.negotiatedStream = negotiatedStream
  }

  package static let normalPriority: UInt16 = 256  // RFC 8831 §6.4
  /// The most bytes of UTF-8 a label or a protocol may have: DCEP gives each length 16 bits.
  package static let maximumTextLength = 65_535
}

/// W3C `RTCDataChannelState`.
package enum ChannelState: Hashable, Sendable { case connecting, open, closing, closed }

/// Which stream ids a side gives its channels: the DTLS client even ones, the DTLS server odd ones (RFC 8832 §6).
package enum StreamParity: UInt16, Hashable, Sendable {
  case even = 0
  case odd = 1
  func contains(_ stream: UInt16) -> Bool { stream & 1 == rawValue }
}

/// A user's message, ready to hand over.
package struct Delivery: Hashable, Sendable {
  package var channel: ChannelID
  package var isText: Bool
  /// Moved out of the arriving message, not copied. A text's bytes have not been checked: see `text`.
  package var payload: [UInt8]

  package init(channel: ChannelID, isText: Bool, payload: [UInt8]) {
    self.channel = channel
    self.isText = isText
    self.payload = payload
  }

  /// The payload as text. Bytes that are not UTF-8 become U+FFFD, as in a browser: the one pass that makes the string
  /// also repairs it, so nothing is gained by checking first.
  package var text: String { String(decoding: payload, as: UTF8.self) }
}

/// A caller's mistake, or a limit the caller has run into.
package enum ChannelError: Error, Hashable, Sendable {
  case labelTooLong, protocolTooLong
  /// A negotiated id that is reserved (65,535) or beyond what the association carries.
  case invalidStream
  /// Another channel has the negotiated stream, or had it and is not closed on both sides yet.
  case streamInUse
  /// Every id of our parity is taken.
  case noStreamLeft
  /// As many channels as one connection can tell apart.
  case tooManyChannels
  /// The channel is not open yet, is closing, or is closed.
  case notOpen
  /// The association is gone.
  case connectionClosed
}

/// Why a channel broke; it is then closed like any other.
package enum ChannelFailure: Hashable, Sendable {
  /// It waited for the association, which has no stream left for it.
  case noStreamLeft
  /// Its negotiated stream is beyond what the association carries.
  case invalidStream
  /// The peer sent an OPEN on a stream that was in use (RFC 8832 §6).
  case openedTwice
  /// The peer sent a payload protocol that data channels do not have (RFC 8831 §6.6).
  case unknownPayloadProtocol(PayloadProtocol)
}

/// What a peer may cost us.
package struct ChannelLimits: Hashable, Sendable {
  /// Channels the peer has opened and that are not closed. Browsers ask for no more: Chromium negotiates 1,024 streams.
  package var maximumRemoteChannels: Int
  /// Channels the peer may open between two moments at which our owner has drained all events.
  package var maximumOpensPerBatch: Int

  package init(maximumRemoteChannels: Int = 1024, maximumOpensPerBatch: Int = 1024) {
    self.maximumRemoteChannels = maximumRemoteChannels
    self.maximumOpensPerBatch = maximumOpensPerBatch
  }
}

/// Counts since the connection began.
package struct ChannelStatistics: Hashable, Sendable {
  package var opened = 0
  package var closed = 0
  /// OPENs answered with a reset: wrong parity, malformed, or over a limit.
  package var refusedOpens = 0
  /// Messages that belonged to no open channel, or said nothing we know.
  package var ignoredMessages = 0
}
