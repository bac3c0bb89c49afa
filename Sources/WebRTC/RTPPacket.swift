// RTPPacket.swift — one packet of media as the application sees it (RFC 3550 §5.1), already decrypted, or not yet encrypted.

/// A packet of a stream.
public struct RTPPacket: Sendable, Hashable {
  /// A header extension element (RFC 8285); `id` is what the exchange of descriptions has given it.
  public struct Extension: Sendable, Hashable {
    public var id: UInt8
    public var bytes: [UInt8]

    public init(id: UInt8, bytes: [UInt8]) {
      self.id = id
      self.bytes = bytes
    }
  }

  /// Which of the transceiver's codecs this is.
  public var payloadType: UInt8
  /// What it means depends on the codec: for video the last packet of a frame.
  public var marker: Bool
  public var sequenceNumber: UInt16
  /// In units of the codec's clock rate.
  public var timestamp: UInt32
  /// The stream. Sending puts the transceiver's own in its place.
  public var ssrc: UInt32
  public var contributingSources: [UInt32]
  /// Without those of the transport (mid, stream identifiers, sequence numbers of congestion control), which the connection
  /// reads and writes itself.
  public var extensions: [Extension]
  /// The encoding of a simulcast stream (RFC 8852); nil when the peer names none. Not sent.
  public var rid: String?
  /// Without padding. Empty when the packet is nothing but padding, by which some senders probe the path: who decodes passes it
  /// over, who forwards sends it on, or the numbers would have a hole.
  public var payload: [UInt8]

  public init(
    payloadType: UInt8, marker: Bool = false, sequenceNumber: UInt16, timestamp: UInt32, ssrc: UInt32 = 0,
    contributingSources: [UInt32] = [], extensions: [Extension] = [], rid: String? = nil, payload: [UInt8]
  ) {
    self.payloadType = payloadType
    self.marker = marker
    self.sequenceNumber = sequenceNumber
    self.timestamp = timestamp
    self.ssrc = ssrc
    self.contributingSources = contributingSources
    self.extensions = extensions
    self.rid = rid
    self.payload = payload
  }

  /// Its length on the wire before it is protected, without what the connection adds.
  var plainByteCount: Int {
    let elements = extensions.reduce(0) { $0 + 2 + $1.bytes.count }
    return 12 + 4 * contributingSources.count + (elements == 0 ? 0 : 4 + (elements + 3) & ~3) + payload.count
  }
}

/// Why a packet was not taken. Nothing of it has been sent.
public enum RTPSendError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The connection is not up, or the transceiver is not negotiated to send.
  case notSending
  /// The transceiver is stopped, or its connection closed.
  case closed
  /// Packets come faster than the connection's loop takes them.
  case queueFull
  /// None of the transceiver's codecs has this payload type.
  case unknownPayloadType(UInt8)
  /// The packet does not fit the path; the limit is in bytes, header included.
  case packetTooLarge(limit: Int)

  public var description: String {
    switch self {
    case .notSending: "the transceiver is not sending"
    case .closed: "the transceiver is stopped or its connection closed"
    case .queueFull: "the queue of packets is full"
    case .unknownPayloadType(let type): "no codec of the transceiver has the payload type \(type)"
    case .packetTooLarge(let limit): "the packet is longer than the \(limit) bytes that fit the path"
    }
  }
}
