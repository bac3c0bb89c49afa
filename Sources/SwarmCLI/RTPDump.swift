// RTPDump.swift — recorded RTP in the format of rtptools' rtpdump, which Wireshark and others read and write: a line of text,
// a header of 16 bytes, and before each packet its length and its time.

import Foundation
import Synchronization
import WebRTC

struct RTPDumpPacket: Hashable, Sendable {
  /// Since the beginning of the recording.
  var milliseconds: UInt32
  var packet: RTPPacket
}

enum RTPDump {
  enum Failure: Error, CustomStringConvertible {
    case notADump, truncated

    var description: String {
      switch self {
      case .notADump: "the file does not begin with #!rtpplay1.0"
      case .truncated: "the file ends within its header"
      }
    }
  }

  static let firstLine = "#!rtpplay1.0 0.0.0.0/0\n"
  private static let magic = "#!rtpplay1.0 "
  private static let headerLength = 16
  private static let packetHeaderLength = 8

  /// The RTP packets of a recording; RTCP and what is cut short are passed over.
  static func read(_ data: Data) throws(Failure) -> [RTPDumpPacket] {
    let bytes = [UInt8](data)
    guard bytes.starts(with: magic.utf8), let lineEnd = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
      throw .notADump
    }
    var offset = lineEnd + 1 + headerLength
    guard offset <= bytes.count else { throw .truncated }
    var packets: [RTPDumpPacket] = []
    while offset + packetHeaderLength <= bytes.count {
      let length = Int(bytes.uint16(offset))
      let rtpLength = Int(bytes.uint16(offset + 2))
      let end = offset + length
      guard length >= packetHeaderLength, end <= bytes.count else { break }
      let content = Array(bytes[(offset + packetHeaderLength)..<end])
      // 0 marks RTCP; more than there is, a packet of which only the beginning was kept.
      if rtpLength > 0, rtpLength <= content.count, let packet = RTPPacket(dumped: content) {
        packets.append(RTPDumpPacket(milliseconds: bytes.uint32(offset + 4), packet: packet))
      }
      offset = end
    }
    return packets
  }

  /// The file's header for a recording that begins now.
  static func header(secondsSince1970: Double) -> [UInt8] {
    let seconds = UInt32(truncatingIfNeeded: Int64(secondsSince1970))
    let microseconds = UInt32((secondsSince1970 - secondsSince1970.rounded(.down)) * 1_000_000)
    // The address and port that it came from, and padding: rtpplay heeds neither.
    let source = [UInt8](repeating: 0, count: 8)
    return Array(firstLine.utf8) + seconds.bigEndianBytes + microseconds.bigEndianBytes + source
  }

  /// A packet with what stands before it.
  static func record(_ entry: RTPDumpPacket) -> [UInt8] {
    let packet = entry.packet.dumped
    let length = UInt16(truncatingIfNeeded: packet.count + packetHeaderLength)
    return length.bigEndianBytes + UInt16(truncatingIfNeeded: packet.count).bigEndianBytes
      + entry.milliseconds.bigEndianBytes + packet
  }
}

/// Writes packets as they come; from the event loop, which the file's cache hardly holds up.
final class RTPDumpWriter: Sendable {
  private let file: Mutex<FileHandle>
  private let start = ContinuousClock.now

  init(path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
    else { throw CocoaError(.fileWriteUnknown) }
    try file.write(contentsOf: RTPDump.header(secondsSince1970: Date().timeIntervalSince1970))
    self.file = Mutex(file)
  }

  func append(_ packet: RTPPacket) {
    let passed = start.duration(to: .now).components
    let milliseconds = UInt32(truncatingIfNeeded: passed.seconds * 1_000 + passed.attoseconds / 1_000_000_000_000_000)
    let bytes = RTPDump.record(RTPDumpPacket(milliseconds: milliseconds, packet: packet))
    file.withLock { file in
      do { try file.write(contentsOf: bytes) } catch { StandardError.write("the recording: \(error)") }
    }
  }
}

extension RTPPacket {
  /// As in a dump: header, contributing sources and payload (RFC 3550 §5.1). Header extensions mean nothing outside their
  /// connection, and are left out.
  var dumped: [UInt8] {
    let sources = contributingSources.prefix(15)
    return [0x80 | UInt8(sources.count), (marker ? 0x80 : 0) | payloadType & 0x7f] + sequenceNumber.bigEndianBytes
      + timestamp.bigEndianBytes + ssrc.bigEndianBytes + sources.flatMap(\.bigEndianBytes) + payload
  }

  init?(dumped bytes: [UInt8]) {
    guard bytes.count >= 12, bytes[0] >> 6 == 2 else { return nil }
    let sourceCount = Int(bytes[0] & 15)
    var start = 12 + 4 * sourceCount
    guard start <= bytes.count else { return nil }
    let sources = (0..<sourceCount).map { bytes.uint32(12 + 4 * $0) }
    if bytes[0] & 0x10 != 0 {
      guard start + 4 <= bytes.count else { return nil }
      start += 4 + 4 * Int(bytes.uint16(start + 2))
    }
    let padding = bytes[0] & 0x20 != 0 ? Int(bytes[bytes.count - 1]) : 0
    guard start + padding <= bytes.count else { return nil }
    self.init(
      payloadType: bytes[1] & 0x7f, marker: bytes[1] & 0x80 != 0, sequenceNumber: bytes.uint16(2),
      timestamp: bytes.uint32(4), ssrc: bytes.uint32(8), contributingSources: sources,
      payload: Array(bytes[start..<(bytes.count - padding)]))
  }
}

extension [UInt8] {
  fileprivate func uint16(_ offset: Int) -> UInt16 { UInt16(self[offset]) << 8 | UInt16(self[offset + 1]) }
  fileprivate func uint32(_ offset: Int) -> UInt32 { UInt32(uint16(offset)) << 16 | UInt32(uint16(offset + 2)) }
}

extension FixedWidthInteger {
  fileprivate var bigEndianBytes: [UInt8] {
    stride(from: bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: self >> $0) }
  }
}
