// ErrorCauses.swift — the causes that ERROR and ABORT carry (RFC 9260 §3.3.10).
//
//   |          cause code           |         cause length          |
//   |                  cause-specific information …                 |

import Wire

package enum CauseCode {
  package static let invalidStream: UInt16 = 1
  package static let missingMandatoryParameter: UInt16 = 2
  package static let staleCookie: UInt16 = 3
  package static let unresolvableAddress: UInt16 = 5
  package static let unrecognizedChunk: UInt16 = 6
  package static let invalidMandatoryParameter: UInt16 = 7
  package static let unrecognizedParameters: UInt16 = 8
  package static let noUserData: UInt16 = 9
  package static let cookieWhileShuttingDown: UInt16 = 10
  package static let userInitiatedAbort: UInt16 = 12
  package static let protocolViolation: UInt16 = 13
}

/// One cause that we report. All are short, so that none can make a packet too long.
package enum ErrorCause: Equatable, Sendable {
  case invalidStream(UInt16)
  case missingCookie
  /// By how many microseconds the cookie was too old.
  case staleCookie(microseconds: UInt32)
  case unresolvableAddress
  /// The unknown chunk, as much of it as we return.
  case unrecognizedChunk([UInt8])
  case invalidMandatoryParameter
  case unrecognizedParameters([[UInt8]])
  case noUserData(TSN)
  case cookieWhileShuttingDown
  case userInitiatedAbort([UInt8])
  case protocolViolation([UInt8])

  /// At most so much of what the peer sent, or of a reason in words, goes into one cause.
  package static let maximumInformation = 256

  private var code: UInt16 {
    switch self {
    case .invalidStream: CauseCode.invalidStream
    case .missingCookie: CauseCode.missingMandatoryParameter
    case .staleCookie: CauseCode.staleCookie
    case .unresolvableAddress: CauseCode.unresolvableAddress
    case .unrecognizedChunk: CauseCode.unrecognizedChunk
    case .invalidMandatoryParameter: CauseCode.invalidMandatoryParameter
    case .unrecognizedParameters: CauseCode.unrecognizedParameters
    case .noUserData: CauseCode.noUserData
    case .cookieWhileShuttingDown: CauseCode.cookieWhileShuttingDown
    case .userInitiatedAbort: CauseCode.userInitiatedAbort
    case .protocolViolation: CauseCode.protocolViolation
    }
  }

  /// Writes the cause; its padding is the chunk's.
  func write(into out: inout OutputRawSpan) {
    let start = out.byteCount
    out.writeUInt16(code)
    out.writeUInt16(0)
    switch self {
    case .invalidStream(let stream):
      out.writeUInt16(stream)
      out.writeUInt16(0)
    case .missingCookie:
      out.writeUInt32(1)
      out.writeUInt16(ParameterType.stateCookie)
    case .staleCookie(let microseconds): out.writeUInt32(microseconds)
    case .noUserData(let tsn): out.writeUInt32(tsn.rawValue)
    case .unrecognizedParameters(let parameters):
      var room = Self.maximumInformation
      for parameter in parameters where (parameter.count + 3) & ~3 <= room {
        out.writeBytes(parameter)
        out.writePadding(after: parameter.count)
        room -= (parameter.count + 3) & ~3
      }
    case .unrecognizedChunk(let bytes), .userInitiatedAbort(let bytes), .protocolViolation(let bytes):
      out.writeBytes(bytes.rawSpan.extracting(first: Self.maximumInformation))
    case .unresolvableAddress, .invalidMandatoryParameter, .cookieWhileShuttingDown: break
    }
    out.patchUInt16(UInt16(out.byteCount - start), at: start + 2)
  }

  /// An ERROR or ABORT chunk with this cause.
  package func chunk(type: UInt8, flags: UInt8 = 0) -> [UInt8] {
    collectBytes(capacity: Self.maximumInformation + 16) { out in
      let start = ChunkHeader.begin(type, flags: flags, into: &out)
      write(into: &out)
      ChunkHeader.finish(chunkAt: start, into: &out)
    }
  }
}
