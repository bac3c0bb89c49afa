// ReconfigChunk.swift — RE-CONFIG with its requests and responses (RFC 6525 §3.1, §4).
//
// Outgoing SSN reset request, type 13:
//   |            type = 13          |       length = 16 + 2 N       |
//   |                  request sequence number                      |
//   |                  response sequence number                     |
//   |                 sender's last assigned TSN                    |
//   |         stream 1              |            stream 2 …         |
// Incoming SSN reset request, type 14:
//   |            type = 14          |       length = 8 + 2 N        |
//   |                  request sequence number                      |
//   |         stream 1              |            stream 2 …         |
// Response, type 16:
//   |            type = 16          |          length = 12          |
//   |                  response sequence number                     |
//   |                            result                             |

package import Wire

/// Numbers the RE-CONFIG requests of one direction (RFC 6525 §4.1).
package struct RequestNumber: SerialNumber {
  package var rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// RFC 6525 §4.4.
package enum ReconfigResult: UInt32, Sendable {
  case nothingToDo = 0, performed = 1, denied = 2, wrongSSN = 3, alreadyInProgress = 4, badSequenceNumber = 5
  case inProgress = 6
}

/// The sender has reset, or wants to reset, streams that it sends on.
package struct OutgoingResetRequest: Equatable, Sendable {
  package var number: RequestNumber
  /// The last request of the other side that the sender has answered.
  package var responseNumber: RequestNumber
  package var lastTSN: TSN
  /// Empty: all streams.
  package var streams: [UInt16]

  private static let fixedByteCount = 12

  package init(number: RequestNumber, responseNumber: RequestNumber, lastTSN: TSN, streams: [UInt16]) {
    self.number = number
    self.responseNumber = responseNumber
    self.lastTSN = lastTSN
    self.streams = streams
  }

  init(_ parameter: borrowing Parameter) throws(Malformed) {
    let value = parameter.value
    guard value.byteCount >= Self.fixedByteCount else { throw .truncated }
    guard value.byteCount % 2 == 0 else { throw .badLength }
    number = RequestNumber(rawValue: value.uint32(at: 0))
    responseNumber = RequestNumber(rawValue: value.uint32(at: 4))
    lastTSN = TSN(rawValue: value.uint32(at: 8))
    streams = []
    streams.reserveCapacity((value.byteCount - Self.fixedByteCount) / 2)
    for at in stride(from: Self.fixedByteCount, to: value.byteCount, by: 2) { streams.append(value.uint16(at: at)) }
  }

  var chunkByteCount: Int {
    (ChunkHeader.byteCount + ParameterReader.headerByteCount + Self.fixedByteCount + 2 * streams.count + 3) & ~3
  }

  package func write(into out: inout OutputRawSpan) {
    let start = ChunkHeader.begin(ChunkType.reconfig, into: &out)
    out.writeUInt16(ParameterType.outgoingResetRequest)
    out.writeUInt16(UInt16(ParameterReader.headerByteCount + Self.fixedByteCount + 2 * streams.count))
    out.writeUInt32(number.rawValue)
    out.writeUInt32(responseNumber.rawValue)
    out.writeUInt32(lastTSN.rawValue)
    for stream in streams { out.writeUInt16(stream) }
    ChunkHeader.finish(chunkAt: start, into: &out)
  }
}

/// The sender wants the receiver to reset streams that the receiver sends on (RFC 6525 §4.2).
package struct IncomingResetRequest: Equatable, Sendable {
  package var number: RequestNumber
  /// Empty: all streams.
  package var streams: [UInt16]

  private static let fixedByteCount = 4

  package init(number: RequestNumber, streams: [UInt16]) {
    self.number = number
    self.streams = streams
  }

  init(_ parameter: borrowing Parameter) throws(Malformed) {
    let value = parameter.value
    guard value.byteCount >= Self.fixedByteCount else { throw .truncated }
    guard value.byteCount % 2 == 0 else { throw .badLength }
    number = RequestNumber(rawValue: value.uint32(at: 0))
    streams = []
    streams.reserveCapacity((value.byteCount - Self.fixedByteCount) / 2)
    for at in stride(from: Self.fixedByteCount, to: value.byteCount, by: 2) { streams.append(value.uint16(at: at)) }
  }
}

package struct ReconfigResponse: Equatable, Sendable {
  package var number: RequestNumber
  /// A value that RFC 6525 does not list is taken as a refusal.
  package var result: ReconfigResult

  package init(number: RequestNumber, result: ReconfigResult) {
    self.number = number
    self.result = result
  }

  init(_ parameter: borrowing Parameter) throws(Malformed) {
    guard parameter.value.byteCount >= 8 else { throw .truncated }
    number = RequestNumber(rawValue: parameter.value.uint32(at: 0))
    result = ReconfigResult(rawValue: parameter.value.uint32(at: 4)) ?? .denied
  }

  package func write(into out: inout OutputRawSpan) {
    out.writeUInt32(UInt32(ChunkType.reconfig) << 24 | 16)
    out.writeUInt32(UInt32(ParameterType.reconfigResponse) << 16 | 12)
    out.writeUInt32(number.rawValue)
    out.writeUInt32(result.rawValue)
  }
}

/// One parameter of a RE-CONFIG chunk.
package enum ReconfigParameter: Equatable, Sendable {
  case outgoingReset(OutgoingResetRequest)
  case response(ReconfigResponse)
  case incomingReset(IncomingResetRequest)
  /// A request that we always refuse: to reset all TSNs, or to add streams. Data channels use none.
  case refused(RequestNumber)
  case unknown

  package init(_ parameter: borrowing Parameter) throws(Malformed) {
    switch parameter.type {
    case ParameterType.outgoingResetRequest:
      self = .outgoingReset(try OutgoingResetRequest(parameter))
    case ParameterType.reconfigResponse:
      self = .response(try ReconfigResponse(parameter))
    case ParameterType.incomingResetRequest:
      self = .incomingReset(try IncomingResetRequest(parameter))
    case ParameterType.tsnResetRequest, ParameterType.addOutgoingStreams, ParameterType.addIncomingStreams:
      guard parameter.value.byteCount >= 4 else { throw .truncated }
      self = .refused(RequestNumber(rawValue: parameter.value.uint32(at: 0)))
    default:
      self = .unknown
    }
  }
}
