// RTPWriter.swift — writes an RTP packet in place, part by part: header, extension elements, payload, padding.
//
// Invariants: after every call that returns, the bytes written so far are a packet with no payload whose extension length
// is right; `finish` adds payload and padding. A call that throws leaves the packet to be thrown away.

internal import Wire

package struct RTPWriter: Sendable {
  private let start: Int
  private let form: RTPExtensionForm
  /// Where the extension's header begins, once there is an element.
  private var extensionStart: Int?
  /// Bytes of elements, without the padding behind them.
  private var elementBytes = 0
  private var isFinished = false

  /// Writes the header and the contributing sources; elements and payload follow.
  @_lifetime(out: copy out)
  package init(
    _ header: RTPHeader, contributingSources: [UInt32] = [], form: RTPExtensionForm = .oneByte,
    into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard header.payloadType < 128 else { throw .badValue }
    guard contributingSources.count <= RTPHeader.maximumContributingSources else { throw .tooLong }
    guard out.freeCapacity >= RTPHeader.byteCount + 4 * contributingSources.count else { throw .noRoom }
    start = out.byteCount
    self.form = form
    let first = RTPHeader.version << 6 | UInt8(contributingSources.count)
    let second = (header.marker ? 0x80 : 0) | header.payloadType
    out.writeUInt32(UInt32(first) << 24 | UInt32(second) << 16 | UInt32(header.sequenceNumber))
    out.writeUInt64(UInt64(header.timestamp) << 32 | UInt64(header.ssrc))
    for source in contributingSources { out.writeUInt32(source) }
  }

  /// Adds an element of the header extension.
  @_lifetime(out: copy out)
  package mutating func element(
    _ id: UInt8, _ value: RawSpan, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    try beginElement(id, count: value.byteCount, into: &out)
    out.writeBytes(value)
    endElement(into: &out)
  }

  /// Adds an element of two bytes, such as a transport-wide sequence number.
  @_lifetime(out: copy out)
  package mutating func element(
    _ id: UInt8, uint16 value: UInt16, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    try beginElement(id, count: 2, into: &out)
    out.writeUInt16(value)
    endElement(into: &out)
  }

  /// Adds an absolute send time.
  @_lifetime(out: copy out)
  package mutating func element(
    _ id: UInt8, _ time: AbsoluteSendTime, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    try beginElement(id, count: 3, into: &out)
    out.writeUInt8(UInt8(time.rawValue >> 16))
    out.writeUInt16(UInt16(truncatingIfNeeded: time.rawValue))
    endElement(into: &out)
  }

  /// Adds the payload, and `padding` bytes behind it, their count included; nothing may follow.
  @_lifetime(out: copy out)
  package mutating func finish(
    _ payload: RawSpan, padding: Int = 0, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard !isFinished else { throw .badOrder }
    guard padding >= 0, padding <= 255 else { throw .badValue }
    guard payload.byteCount <= out.freeCapacity - padding else { throw .noRoom }
    isFinished = true
    out.writeBytes(payload)
    guard padding > 0 else { return }
    out.writeZeros(padding - 1)
    out.writeUInt8(UInt8(padding))
    out.setBits(0x20, at: start)
  }

  /// The form that a list of elements needs: one byte whenever every id and length fits.
  package static func form(for elements: [RTPExtension]) -> RTPExtensionForm {
    elements.allSatisfy { (1...14).contains($0.id) && (1...16).contains($0.value.count) } ? .oneByte : .twoByte
  }

  /// How long a packet is whose elements are written in the form that they need.
  package static func byteCount(
    contributingSources: Int = 0, extensions: [RTPExtension] = [], payload: Int, padding: Int = 0
  ) -> Int {
    let header = RTPHeader.byteCount + 4 * contributingSources
    guard !extensions.isEmpty else { return header + payload + padding }
    let each = form(for: extensions) == .oneByte ? 1 : 2
    let body = extensions.reduce(0) { sum, element in sum + each + element.value.count }
    return header + 4 + (body + 3) & ~3 + payload + padding
  }

  /// Writes a whole packet.
  @_lifetime(out: copy out)
  package static func write(
    _ header: RTPHeader, contributingSources: [UInt32] = [], extensions: [RTPExtension] = [], payload: RawSpan,
    padding: Int = 0, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    var writer = try RTPWriter(
      header, contributingSources: contributingSources, form: form(for: extensions), into: &out)
    for element in extensions { try writer.element(element.id, element.value.rawSpan, into: &out) }
    try writer.finish(payload, padding: padding, into: &out)
  }

  // MARK: Elements

  /// Writes what stands before a value, over the padding of the element before.
  @_lifetime(out: copy out)
  private mutating func beginElement(
    _ id: UInt8, count: Int, into out: inout OutputRawSpan
  ) throws(RTPEncodingError) {
    guard !isFinished else { throw .badOrder }
    let head: Int
    switch form {
    case .oneByte:
      guard (1...14).contains(id) else { throw .badValue }
      guard (1...16).contains(count) else { throw .tooLong }
      head = 1
    case .twoByte:
      guard id != 0 else { throw .badValue }
      guard count <= 255 else { throw .tooLong }
      head = 2
    }
    // The length is counted in words of which 16 bits hold 65,535.
    guard elementBytes + head + count <= Self.maximumElementBytes else { throw .tooLong }
    let padding = extensionStart == nil ? 0 : -elementBytes & 3
    let needed = (extensionStart == nil ? 4 : 0) + (elementBytes + head + count + 3) & ~3 - elementBytes - padding
    guard out.freeCapacity >= needed else { throw .noRoom }
    if extensionStart == nil {
      extensionStart = out.byteCount
      out.writeUInt32(UInt32(form.profile) << 16)
      out.setBits(0x10, at: start)
    }
    out.removeLast(padding)
    switch form {
    case .oneByte: out.writeUInt8(id << 4 | UInt8(count - 1))
    case .twoByte: out.writeUInt16(UInt16(id) << 8 | UInt16(count))
    }
    elementBytes += head + count
  }

  /// Pads to whole words and counts them.
  @_lifetime(out: copy out)
  private func endElement(into out: inout OutputRawSpan) {
    guard let extensionStart else { return }
    out.writePadding(after: elementBytes)
    out.patchUInt16(UInt16((elementBytes + 3) / 4), at: extensionStart + 2)
  }

  private static let maximumElementBytes = 4 * 0xffff
}

extension OutputRawSpan {
  /// Sets bits of a byte that is written already.
  @_lifetime(self: copy self)
  mutating func setBits(_ bits: UInt8, at offset: Int) {
    precondition(offset >= 0 && offset < byteCount, "only written bytes are patched")
    unsafe withUnsafeMutableBytes { buffer, _ in unsafe buffer[offset] |= bits }
  }
}
