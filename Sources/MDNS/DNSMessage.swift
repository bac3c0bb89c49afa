// DNSMessage.swift — the little of DNS messages that address look-ups by multicast need (RFC 1035 §4.1, RFC 6762 §18):
// questions for addresses, and records that hold them. Everything else is skipped.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-------------------------------+-------------------------------+
//   |              ID               |Q| Opcode|A|T|R|R|  Z  | RCODE |
//   |            QDCOUNT            |            ANCOUNT            |
//   |            NSCOUNT            |            ARCOUNT            |
//   +-------------------------------+-------------------------------+

package import Wire

package struct DNSQuestion: Hashable, Sendable {
  package enum Kind: Hashable, Sendable { case v4, v6, any }

  package var name: DNSName
  package var kind: Kind
  /// The QU bit: the answer may come by unicast (RFC 6762 §5.4).
  package var wantsUnicast: Bool

  package init(name: DNSName, kind: Kind, wantsUnicast: Bool) {
    self.name = name
    self.kind = kind
    self.wantsUnicast = wantsUnicast
  }

  package func asks(for address: IPAddress) -> Bool { kind == .any || (kind == .v4) == address.isV4 }
}

/// An A or AAAA record.
package struct DNSAddressRecord: Hashable, Sendable {
  package var name: DNSName
  package var address: IPAddress
  /// Seconds; 0 takes the record back.
  package var timeToLive: UInt32
  /// The cache-flush bit: there are no other records of this name and type (RFC 6762 §10.2).
  package var isUnique: Bool

  package init(name: DNSName, address: IPAddress, timeToLive: UInt32, isUnique: Bool) {
    self.name = name
    self.address = address
    self.timeToLive = timeToLive
    self.isUnique = isUnique
  }
}

/// A message, read. Of its questions and records only those about addresses are kept.
package struct DNSMessage: Hashable, Sendable {
  package var id: UInt16
  package var isResponse: Bool
  package var questions: [DNSQuestion] = []
  /// Of the answer and the additional section.
  package var records: [DNSAddressRecord] = []

  package init(id: UInt16, isResponse: Bool) {
    self.id = id
    self.isResponse = isResponse
  }

  /// - Throws: when the message is cut, or longer than its counts say, or has more entries than one of ours needs. What is
  ///   no plain query or answer (another opcode, an error, the rest to follow) is `badValue`.
  package init(reading message: RawSpan) throws(Malformed) {
    var reader = ByteReader(message)
    self.init(id: try reader.readUInt16(), isResponse: false)
    let flags = try reader.readUInt16()
    isResponse = flags & 0x8000 != 0
    // Opcode and response code must be zero (RFC 6762 §18.3, §18.11); the rest of the flags means nothing here.
    guard flags & 0x780f == 0 else { throw .badValue }
    let counts = (
      questions: Int(try reader.readUInt16()), answers: Int(try reader.readUInt16()),
      authorities: Int(try reader.readUInt16()), additions: Int(try reader.readUInt16())
    )
    let total = counts.questions + counts.answers + counts.authorities + counts.additions
    guard total <= Self.maximumEntries else { throw .badLength }
    var offset = reader.offset
    for _ in 0..<counts.questions { try readQuestion(message, &offset) }
    for index in 0..<(total - counts.questions) {
      // What an authority section proposes in a probe is nobody's address yet (RFC 6762 §8.2).
      let isProposed = (counts.answers..<(counts.answers + counts.authorities)).contains(index)
      try readRecord(message, &offset, isKept: !isProposed)
    }
  }

  private mutating func readQuestion(_ message: RawSpan, _ offset: inout Int) throws(Malformed) {
    let name = try DNSName(reading: message, at: &offset)
    guard offset + 4 <= message.byteCount else { throw .truncated }
    let (type, questionClass) = (message.uint16(at: offset), message.uint16(at: offset + 2))
    offset += 4
    guard questionClass & 0x7fff == Self.internet || questionClass & 0x7fff == Self.any,
      let kind = Self.kind(ofQuestion: type)
    else { return }
    questions.append(DNSQuestion(name: name, kind: kind, wantsUnicast: questionClass & 0x8000 != 0))
  }

  private mutating func readRecord(_ message: RawSpan, _ offset: inout Int, isKept: Bool) throws(Malformed) {
    let name = try DNSName(reading: message, at: &offset)
    guard offset + 10 <= message.byteCount else { throw .truncated }
    let type = message.uint16(at: offset)
    let recordClass = message.uint16(at: offset + 2)
    let timeToLive = message.uint32(at: offset + 4)
    let length = Int(message.uint16(at: offset + 8))
    let start = offset + 10
    guard start + length <= message.byteCount else { throw .truncated }
    offset = start + length
    guard isKept, recordClass & 0x7fff == Self.internet,
      let address = try Self.address(type, message.extracting(start..<offset))
    else { return }
    records.append(
      DNSAddressRecord(
        name: name, address: address, timeToLive: timeToLive, isUnique: recordClass & 0x8000 != 0))
  }

  private static func address(_ type: UInt16, _ data: RawSpan) throws(Malformed) -> IPAddress? {
    switch type {
    case typeA:
      guard data.byteCount == 4 else { throw .badLength }
      return .v4(data.uint32(at: 0))
    case typeAAAA:
      guard data.byteCount == 16 else { throw .badLength }
      var reader = ByteReader(data)
      return .v6(try reader.readUInt64(), try reader.readUInt64(), zone: 0)
    default: return nil
    }
  }

  private static func kind(ofQuestion type: UInt16) -> DNSQuestion.Kind? {
    switch type {
    case typeA: .v4
    case typeAAAA: .v6
    case any: .any
    default: nil
    }
  }

  // MARK: Writing

  /// Writes the message. The caller gives room for `maximumSize` bytes and at most `maximumWritten` entries.
  @_lifetime(out: copy out)
  package func write(into out: inout OutputRawSpan) {
    precondition(questions.count + records.count <= Self.maximumWritten, "our own messages are small")
    out.writeUInt16(id)
    out.writeUInt16(isResponse ? 0x8400 : 0)  // an answer is authoritative (§18.4)
    out.writeUInt16(UInt16(questions.count))
    out.writeUInt16(UInt16(records.count))
    out.writeUInt16(0)
    out.writeUInt16(0)
    for question in questions {
      out.writeBytes(question.name.bytes)
      let type =
        switch question.kind {
        case .v4: Self.typeA
        case .v6: Self.typeAAAA
        case .any: Self.any
        }
      out.writeUInt16(type)
      out.writeUInt16(Self.internet | (question.wantsUnicast ? 0x8000 : 0))
    }
    for record in records {
      out.writeBytes(record.name.bytes)
      out.writeUInt16(record.address.isV4 ? Self.typeA : Self.typeAAAA)
      out.writeUInt16(Self.internet | (record.isUnique ? 0x8000 : 0))
      out.writeUInt32(record.timeToLive)
      switch record.address {
      case .v4(let bits):
        out.writeUInt16(4)
        out.writeUInt32(bits)
      case .v6(let high, let low, _):
        out.writeUInt16(16)
        out.writeUInt64(high)
        out.writeUInt64(low)
      }
    }
  }

  /// Questions and records together in a message of ours.
  package static let maximumWritten = 4
  /// What `write` needs: header, and names without compression.
  package static let maximumSize = 12 + maximumWritten * (255 + 26)
  /// Questions and records together in a message of others; a busy network's answers have a few dozen.
  private static let maximumEntries = 128

  private static let typeA: UInt16 = 1
  private static let typeAAAA: UInt16 = 28
  private static let any: UInt16 = 255
  private static let internet: UInt16 = 1
}
