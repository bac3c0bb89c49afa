// Support.swift — what the tests of SRTP share: sessions in pairs, packets, and calls that return arrays.

import SRTP
import TestSupport
import Testing
import Wire

/// RTP or RTCP.
enum PacketFamily: String, CaseIterable, Sendable {
  case rtp, rtcp
}

extension SRTPMasterKey {
  /// Made up, and different for each seed.
  static func example(_ profile: SRTPProfile, _ seed: UInt8 = 1) -> SRTPMasterKey {
    SRTPMasterKey(
      key: (0..<profile.keyLength).map { UInt8(truncatingIfNeeded: $0 * 7) &+ seed },
      salt: (0..<profile.saltLength).map { UInt8(truncatingIfNeeded: $0 * 11) ^ seed })
  }
}

extension SRTPSession {
  /// The session whose two ends are one: what it protects it lets in.
  static func looped(
    _ profile: SRTPProfile, _ key: SRTPMasterKey? = nil, limits: SRTPLimits = .init()
  ) throws -> SRTPSession {
    let key = key ?? .example(profile)
    return try SRTPSession(profile: profile, outgoing: key, incoming: key, limits: limits)
  }

  mutating func protect(_ packet: [UInt8], _ family: PacketFamily = .rtp) throws(SRTPError) -> [UInt8] {
    try collectBytes(capacity: packet.count + Self.maximumTrailer) { (out) throws(SRTPError) in
      switch family {
      case .rtp: try protectRTP(packet.rawSpan, into: &out)
      case .rtcp: try protectRTCP(packet.rawSpan, into: &out)
      }
    }
  }

  mutating func unprotect(_ packet: [UInt8], _ family: PacketFamily = .rtp) throws(SRTPError) -> [UInt8] {
    try collectBytes(capacity: packet.count) { (out) throws(SRTPError) in
      switch family {
      case .rtp: try unprotectRTP(packet.rawSpan, into: &out)
      case .rtcp: try unprotectRTCP(packet.rawSpan, into: &out)
      }
    }
  }

  /// Why the packet is not let in; nil when it is.
  mutating func refusal(_ packet: [UInt8], _ family: PacketFamily = .rtp) -> SRTPError? {
    do throws(SRTPError) {
      _ = try unprotect(packet, family)
      return nil
    } catch {
      return error
    }
  }

  /// Why the packet is not protected; nil when it is.
  mutating func protectRefusal(_ packet: [UInt8], _ family: PacketFamily = .rtp) -> SRTPError? {
    do throws(SRTPError) {
      _ = try protect(packet, family)
      return nil
    } catch {
      return error
    }
  }
}

func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) } }

/// An RTP packet with a payload that tells its sequence number.
func rtp(_ sequenceNumber: Int, ssrc: UInt32 = 0x5eed_0001, first: UInt8 = 0x80, payload: [UInt8]? = nil) -> [UInt8] {
  let number = UInt16(truncatingIfNeeded: sequenceNumber)
  return [first, 96] + bigEndian(number) + bigEndian(UInt32(90_000)) + bigEndian(ssrc)
    + (payload ?? Array("packet \(number)".utf8))
}

/// A receiver report without a block, and behind it what else is to be encrypted.
func rtcp(ssrc: UInt32 = 0x5eed_0001, more: [UInt8] = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]) -> [UInt8] {
  [0x80, 201, 0, 1] + bigEndian(ssrc) + more
}
