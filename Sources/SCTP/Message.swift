// Message.swift — a user message and how it is to be sent: what crosses the border between SCTP and data channels.

/// What a message's payload is (RFC 8831 §8). Carried as SCTP's payload protocol identifier, opaque to SCTP itself.
package struct PayloadProtocol: Hashable, Sendable {
  package var rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// DCEP (RFC 8832).
  package static let control = PayloadProtocol(rawValue: 50)
  package static let string = PayloadProtocol(rawValue: 51)
  package static let binary = PayloadProtocol(rawValue: 53)
  package static let emptyString = PayloadProtocol(rawValue: 56)
  package static let emptyBinary = PayloadProtocol(rawValue: 57)
}

/// How long SCTP tries to deliver a message (RFC 3758, RFC 7496).
package enum Reliability: Hashable, Sendable {
  case reliable
  /// At most this many retransmissions after the first transmission.
  case maximumRetransmits(UInt16)
  /// Given up this many milliseconds after it was handed over.
  case maximumLifetime(milliseconds: UInt16)
}

/// A message to send: the payload is owned by the send queue until the peer has acknowledged all of it.
package struct OutgoingMessage: Sendable {
  package var stream: UInt16
  package var payloadProtocol: PayloadProtocol
  package var payload: [UInt8]
  package var isOrdered: Bool
  package var reliability: Reliability
  /// The share of its stream, from this message on, when several have something to send (RFC 8831 §6.4).
  package var priority: UInt16

  package init(
    stream: UInt16, payloadProtocol: PayloadProtocol, payload: [UInt8], isOrdered: Bool = true,
    reliability: Reliability = .reliable, priority: UInt16 = 256
  ) {
    self.stream = stream
    self.payloadProtocol = payloadProtocol
    self.payload = payload
    self.isOrdered = isOrdered
    self.reliability = reliability
    self.priority = priority
  }
}

/// A whole message as it arrived.
package struct IncomingMessage: Sendable {
  package var stream: UInt16
  package var payloadProtocol: PayloadProtocol
  package var payload: [UInt8]

  package init(stream: UInt16, payloadProtocol: PayloadProtocol, payload: [UInt8]) {
    self.stream = stream
    self.payloadProtocol = payloadProtocol
    self.payload = payload
  }
}
