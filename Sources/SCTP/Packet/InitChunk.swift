// InitChunk.swift — INIT and INIT-ACK (RFC 9260 §3.3.2, §3.3.3).
//
//   |  type = 1, 2  |     flags     |            length             |
//   |                         initiate tag                          |
//   |          advertised receiver window credit (a_rwnd)           |
//   |  number of outbound streams   |  number of inbound streams    |
//   |                          initial TSN                          |
//   |                         parameters …                          |

package import Wire

package struct InitChunk: Equatable, Sendable {
  package var initiateTag: UInt32
  package var receiverWindow: UInt32
  package var outboundStreams: UInt16
  package var inboundStreams: UInt16
  package var initialTSN: TSN

  package var extensions: Extensions = []
  package var supportsForwardTSN: Bool { extensions.contains(.forwardTSN) }
  package var supportsReconfig: Bool { extensions.contains(.reconfig) }
  /// In an INIT-ACK: the cookie to echo.
  package var cookie: [UInt8]?
  /// It asks us to look an address up (RFC 9260 §3.3.2.1.4 has removed that): the association is refused.
  package var hasHostName = false
  /// The parameters that we do not know and that want to be reported, each whole and without padding.
  package var unrecognized: [[UInt8]] = []

  /// At most so many bytes of unknown parameters are returned: they share a packet with the cookie.
  package static let maximumReportedBytes = 512
  /// RFC 9260 §3.3.2: a smaller window is not allowed in INIT or INIT-ACK.
  package static let minimumReceiverWindow: UInt32 = 1_500

  /// RFC 9653 §9: the error detection method identifier of SCTP over DTLS.
  private static let errorDetectionByDTLS: UInt32 = 1
  /// The chunk types that stand for extensions in Supported Extensions (RFC 5061 §4.2.7).
  private static let extensionTypes: [(Extensions, UInt8)] = [
    (.reconfig, ChunkType.reconfig), (.forwardTSN, ChunkType.forwardTSN), (.interleaving, ChunkType.interleavedData),
    (.interleavedForwardTSN, ChunkType.interleavedForwardTSN),
  ]
  private static let fixedByteCount = 16
  private var reportedBytes = 0

  package init(
    initiateTag: UInt32, receiverWindow: UInt32, outboundStreams: UInt16, inboundStreams: UInt16, initialTSN: TSN
  ) {
    self.initiateTag = initiateTag
    self.receiverWindow = receiverWindow
    self.outboundStreams = outboundStreams
    self.inboundStreams = inboundStreams
    self.initialTSN = initialTSN
  }

  package init(_ chunk: borrowing Chunk) throws(Malformed) {
    let value = chunk.value
    guard value.byteCount >= Self.fixedByteCount else { throw .truncated }
    self.init(
      initiateTag: value.uint32(at: 0), receiverWindow: value.uint32(at: 4), outboundStreams: value.uint16(at: 8),
      inboundStreams: value.uint16(at: 10), initialTSN: TSN(rawValue: value.uint32(at: 12)))
    var parameters = ParameterReader(value.extracting(Self.fixedByteCount..<value.byteCount))
    while let parameter = try parameters.next() {
      guard take(parameter) else { break }
    }
  }

  /// - Returns: whether the parameters after this one are to be read.
  private mutating func take(_ parameter: borrowing Parameter) -> Bool {
    let value = parameter.value
    switch parameter.type {
    case ParameterType.forwardTSNSupported:
      extensions.insert(.forwardTSN)
    case ParameterType.zeroChecksumAcceptable:
      // Other methods to detect errors (RFC 9653 §9) say nothing to us.
      if value.byteCount == 4, value.uint32(at: 0) == Self.errorDetectionByDTLS { extensions.insert(.zeroChecksum) }
    case ParameterType.supportedExtensions:
      for i in 0..<value.byteCount {
        switch value.byte(at: i) {
        case ChunkType.reconfig: extensions.insert(.reconfig)
        case ChunkType.forwardTSN: extensions.insert(.forwardTSN)
        case ChunkType.interleavedData: extensions.insert(.interleaving)
        case ChunkType.interleavedForwardTSN: extensions.insert(.interleavedForwardTSN)
        default: break
        }
      }
    case ParameterType.stateCookie:
      if cookie == nil { cookie = value.copyBytes() }
    case ParameterType.hostNameAddress:
      hasHostName = true
    case ParameterType.ipv4Address, ParameterType.ipv6Address, ParameterType.supportedAddressTypes,
      ParameterType.cookiePreservative, ParameterType.unrecognizedParameter, ParameterType.adaptationLayer:
      break  // addresses mean nothing over DTLS (RFC 8261 §6.1); the cookie's life is ours to choose
    default:
      let action = UnknownTypeAction(parameterType: parameter.type)
      if action.reports, reportedBytes + parameter.whole.byteCount <= Self.maximumReportedBytes {
        unrecognized.append(parameter.whole.copyBytes())
        reportedBytes += parameter.whole.byteCount + ParameterReader.headerByteCount
      }
      return !action.stops
    }
    return true
  }

  /// Writes an INIT, or an INIT-ACK when `type` says so, with the extensions that are set, the cookie if there is one,
  /// and each of the peer's unrecognized parameters.
  package func write(type: UInt8, reporting peers: [[UInt8]] = [], into out: inout OutputRawSpan) {
    let start = ChunkHeader.begin(type, into: &out)
    out.writeUInt32(initiateTag)
    out.writeUInt32(receiverWindow)
    out.writeUInt16(outboundStreams)
    out.writeUInt16(inboundStreams)
    out.writeUInt32(initialTSN.rawValue)
    if let cookie {
      out.writeUInt16(ParameterType.stateCookie)
      out.writeUInt16(UInt16(ParameterReader.headerByteCount + cookie.count))
      out.writeBytes(cookie)
      out.writePadding(after: cookie.count)
    }
    if extensions.contains(.zeroChecksum) {
      out.writeUInt16(ParameterType.zeroChecksumAcceptable)
      out.writeUInt16(8)
      out.writeUInt32(Self.errorDetectionByDTLS)
    }
    if supportsForwardTSN {
      out.writeUInt16(ParameterType.forwardTSNSupported)
      out.writeUInt16(4)
    }
    var end = out.byteCount
    let types = Self.extensionTypes.filter { extensions.contains($0.0) }.map(\.1)
    if !types.isEmpty {
      out.writeUInt16(ParameterType.supportedExtensions)
      out.writeUInt16(UInt16(ParameterReader.headerByteCount + types.count))
      out.writeBytes(types)
      end = out.byteCount
      out.writePadding(after: types.count)
    }
    for parameter in peers {
      out.writeUInt16(ParameterType.unrecognizedParameter)
      out.writeUInt16(UInt16(ParameterReader.headerByteCount + parameter.count))
      out.writeBytes(parameter)
      end = out.byteCount
      out.writePadding(after: parameter.count)
    }
    // The padding of the last parameter does not count (§3.2).
    out.patchUInt16(UInt16(end - start), at: start + 2)
  }
}
