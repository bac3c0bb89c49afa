// RTPTarget.swift — a datagram as an RTP packet: everything it says is walked, written again, and compared.

internal import RTP
internal import Wire

/// Reads the input as RTP; what is taken is written, repeated as RTX and brought back, and reads the same each time.
public func fuzzRTP(_ input: RawSpan) {
  do throws(Malformed) {
    let view = try RTPPacketView(input)
    readValues(view)
    rewrite(view)
    retransmit(view)
  } catch {
    return  // what a refusal is
  }
}

private func rewrite(_ view: borrowing RTPPacketView) {
  let parts = PacketParts(view)
  let bytes = write(parts)
  reread(bytes.rawSpan) { again in
    let same = PacketParts(again)
    precondition(same == parts, "a packet reads as it was written")
  }
}

private func retransmit(_ view: borrowing RTPPacketView) {
  let repeated = wrap(view)
  let (header, original, padding) = (view.header, view.packet.copyBytes(), view.paddingCount)
  reread(repeated.rawSpan) { rtx in
    let number = originalNumber(rtx)
    precondition(number == header.sequenceNumber, "RTX says what it repeats")
    let back = unwrap(rtx, header: header)
    // All but the padding: the bytes of the extension as they were.
    precondition(back.dropFirst() == original.dropLast(padding).dropFirst(), "RTX keeps what it repeats")
    precondition(back[0] == original[0] & ~0x20, "padding is not repeated")
  }
}

private func reread(_ bytes: RawSpan, _ check: (borrowing RTPPacketView) -> Void) {
  do throws(Malformed) {
    check(try RTPPacketView(bytes))
  } catch {
    preconditionFailure("what was written is read: \(error)")
  }
}

private func originalNumber(_ rtx: borrowing RTPPacketView) -> UInt16? {
  do throws(Malformed) { return try RTX.originalSequenceNumber(of: rtx) } catch { return nil }
}

/// What a packet says, apart from how its extension is written.
private struct PacketParts: Equatable {
  var header: RTPHeader
  var contributingSources: [UInt32]
  var extensions: [RTPExtension] = []
  var payload: [UInt8]
  var padding: Int

  init(_ view: borrowing RTPPacketView) {
    header = view.header
    contributingSources = view.contributingSources
    payload = view.payload.copyBytes()
    padding = view.paddingCount
    // Every element takes a byte of the extension.
    var budget = view.extensionBytes.byteCount
    var elements = view.extensions
    while let element = elements.next() {
      budget -= 1
      precondition(budget >= 0, "each element moves the walk ahead")
      precondition(element.id != 0, "zero is padding")
      extensions.append(RTPExtension(id: element.id, value: element.value.copyBytes()))
    }
    for element in extensions {
      guard let value = view.extensionValue(element.id) else { preconditionFailure("what is walked is found") }
      let first = extensions.first { $0.id == element.id }
      precondition(value.copyBytes() == first?.value, "the first of its id is found")
    }
  }
}

private func readValues(_ view: borrowing RTPPacketView) {
  var elements = view.extensions
  while let element = elements.next() {
    let value = element.value
    if let mid = text(value, RTPExtensionValue.mid) { precondition((1...64).contains(mid.utf8.count)) }
    if let rid = text(value, RTPExtensionValue.rid) { precondition((1...64).contains(rid.utf8.count)) }
    do throws(Malformed) { _ = try RTPExtensionValue.transportSequence(value) } catch {}
    do throws(Malformed) { _ = try AbsoluteSendTime(value).interval } catch {}
    do throws(Malformed) { _ = try AudioLevel(value).level } catch {}
    do throws(Malformed) { _ = try VideoOrientation(value).quarterTurns } catch {}
  }
}

private func text(_ value: RawSpan, _ read: (RawSpan) throws(Malformed) -> String) -> String? {
  do throws(Malformed) { return try read(value) } catch { return nil }
}

private func write(_ parts: PacketParts) -> [UInt8] {
  let count = RTPWriter.byteCount(
    contributingSources: parts.contributingSources.count, extensions: parts.extensions, payload: parts.payload.count,
    padding: parts.padding)
  let bytes = collect(capacity: count) { (out) throws(RTPEncodingError) in
    try RTPWriter.write(
      parts.header, contributingSources: parts.contributingSources, extensions: parts.extensions,
      payload: parts.payload.rawSpan, padding: parts.padding, into: &out)
  }
  precondition(bytes.count == count, "the size is foretold")
  return bytes
}

private func wrap(_ view: borrowing RTPPacketView) -> [UInt8] {
  let count = RTX.byteCount(wrapping: view)
  let bytes = collect(capacity: count) { (out) throws(RTPEncodingError) in
    try RTX.wrap(view, payloadType: 97, ssrc: 1, sequenceNumber: 2, into: &out)
  }
  precondition(bytes.count == count, "the size is foretold")
  return bytes
}

private func unwrap(_ view: borrowing RTPPacketView, header: RTPHeader) -> [UInt8] {
  collect(capacity: view.packet.byteCount) { (out) throws(RTPEncodingError) in
    try RTX.unwrap(view, payloadType: header.payloadType, ssrc: header.ssrc, into: &out)
  }
}

/// Collects what must be possible to write.
func collect(capacity: Int, _ body: (inout OutputRawSpan) throws(RTPEncodingError) -> Void) -> [UInt8] {
  do throws(RTPEncodingError) {
    return try collectBytes(capacity: capacity, body)
  } catch {
    preconditionFailure("what was read can be written: \(error)")
  }
}
