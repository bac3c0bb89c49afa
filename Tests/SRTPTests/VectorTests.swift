// VectorTests.swift — packets that others have protected: libsrtp's own reference packets, those computed from the RFCs
// without libsrtp (and checked with Pion), and what becomes of them when a byte changes or is missing.

import SRTP
import TestSupport
import Testing
import Wire

/// One packet in the clear and protected, and where in a session's numbering it stands.
struct ProtectedPacket: Sendable, CustomTestStringConvertible {
  var name: String
  var profile: SRTPProfile
  var key: SRTPMasterKey
  var family: PacketFamily
  /// The rollover counter of RTP, the index of RTCP.
  var number: UInt32
  var plain: [UInt8]
  var protected: [UInt8]
  var testDescription: String { name }

  /// A session that has not seen anything, with this packet's key both ways.
  func session() throws -> SRTPSession { try .looped(profile, key) }

  /// All of Vectors/derived/srtp.txt, in the order of sending.
  static func derived() throws -> [ProtectedPacket] {
    let profiles: [String: SRTPProfile] = [
      "SRTP_AES128_CM_HMAC_SHA1_80": .aes128CMSHA1, "SRTP_AEAD_AES_128_GCM": .aeadAES128GCM,
      "SRTP_AEAD_AES_256_GCM": .aeadAES256GCM,
    ]
    return try VectorRecord.read("derived/srtp.txt").map { record in
      let name = record.name
      return ProtectedPacket(
        name: name, profile: try #require(profiles[record.values["profile"] ?? ""]),
        key: SRTPMasterKey(
          key: try #require(record.bytes("master key")), salt: try #require(record.bytes("master salt"))),
        family: name.hasPrefix("rtcp") ? .rtcp : .rtp, number: try #require(UInt32(record.values["number"] ?? "")),
        plain: try #require(record.bytes("plain")), protected: try #require(record.bytes("protected")))
    }
  }

  /// The packets at API level of Vectors/rfc/srtp-….txt for the profiles that we have.
  static func reference() throws -> [ProtectedPacket] {
    let records = try VectorRecord.read("rfc/srtp-rfc3711-rfc6188-rfc7714.txt")
    func packet(
      _ name: String, _ profile: SRTPProfile, _ family: PacketFamily, keysFrom: String, protected: String,
      plain: [UInt8], number: UInt32
    ) throws -> ProtectedPacket {
      let keys = try #require(records.first { $0.name == keysFrom }?.bytes("master key||salt"))
      let record = try #require(records.first { $0.name == name })
      return ProtectedPacket(
        name: name, profile: profile,
        key: SRTPMasterKey(key: Array(keys[..<profile.keyLength]), salt: Array(keys[profile.keyLength...])),
        family: family, number: number, plain: plain, protected: try #require(record.bytes(protected)))
    }
    func rtp(_ sequenceNumber: String) throws -> [UInt8] {
      try #require(bytes(hex: "800f\(sequenceNumber)decafbadcafebabe" + String(repeating: "ab", count: 16)))
    }
    let rtcp = try #require(bytes(hex: "81c8000bcafebabe" + String(repeating: "ab", count: 16)))
    let (cm, gcm) = ("libsrtp-validate-aes128-cm-sha1-80-rtp", "libsrtp-validate-aes128-gcm-rtp")
    var rollover = [
      try packet(
        "roc-rollover-pair", .aes128CMSHA1, .rtp, keysFrom: cm, protected: "SRTP seq ffff", plain: try rtp("ffff"),
        number: 0),
      try packet(
        "roc-rollover-pair", .aes128CMSHA1, .rtp, keysFrom: cm, protected: "SRTP seq 0000", plain: try rtp("0000"),
        number: 1),
    ]
    for index in rollover.indices { rollover[index].plain[1] = 0 }  // this pair has payload type 0
    return [
      try packet(
        cm, .aes128CMSHA1, .rtp, keysFrom: cm, protected: "SRTP", plain: try rtp("1234"), number: 0),
      try packet(
        "libsrtp-validate-aes128-cm-sha1-80-rtcp", .aes128CMSHA1, .rtcp, keysFrom: cm, protected: "SRTCP (",
        plain: rtcp,
        number: 1),
      try packet(
        gcm, .aeadAES128GCM, .rtp, keysFrom: gcm, protected: "SRTP", plain: try rtp("1234"), number: 0),
      try packet(
        "libsrtp-validate-aes128-gcm-rtcp", .aeadAES128GCM, .rtcp, keysFrom: gcm, protected: "SRTCP (", plain: rtcp,
        number: 1),
    ] + rollover
  }
}

@Suite struct VectorTests {
  @Test("libsrtp's reference packets come out and go in")
  func reference() throws {
    let packets = try ProtectedPacket.reference()
    #expect(packets.count == 6)
    for packet in packets.prefix(4) {
      var session = try packet.session()
      #expect(try session.protect(packet.plain, packet.family) == packet.protected, "\(packet.name)")
      #expect(try session.unprotect(packet.protected, packet.family) == packet.plain, "\(packet.name)")
    }
    var session = try packets[4].session()
    for packet in packets.suffix(2) {
      #expect(try session.protect(packet.plain) == packet.protected)
      #expect(try session.unprotect(packet.protected) == packet.plain)
    }
  }

  @Test("packets computed without libsrtp come out and go in", arguments: SRTPProfile.allCases)
  func derived(profile: SRTPProfile) throws {
    let packets = try ProtectedPacket.derived().filter { $0.profile == profile }
    #expect(packets.count == 13)
    var session = try packets[0].session()
    for packet in packets {
      #expect(try session.unprotect(packet.protected, packet.family) == packet.plain, "\(packet.name)")
      if packet.number <= 2 {  // the last index of RTCP is 2^31 packets away
        #expect(try session.protect(packet.plain, packet.family) == packet.protected, "\(packet.name)")
      }
    }
    #expect(session.incomingRolloverCounter(of: 0x5eed_0001) == 1)
    #expect(session.outgoingRolloverCounter(of: 0x5eed_0001) == 1)
    #expect(session.counters.dropped == 0 && session.counters.unprotected == 13)
  }

  @Test("R1: a packet with any one byte changed is not let in, and the packet itself still is")
  func everyByteFlipped() throws {
    var flipped = 0
    for packet in try ProtectedPacket.derived() + ProtectedPacket.reference()
    where packet.number != 1 || packet.family == .rtcp {
      var session = try packet.session()
      for place in packet.protected.indices {
        for mask: UInt8 in [0x01, 0x80, 0xff] {
          var forged = packet.protected
          forged[place] ^= mask
          let error = session.refusal(forged, packet.family)
          #expect(error != nil, "\(packet.name), byte \(place) ^ \(mask)")
          // Whatever is refused before the tag is looked at does not have a valid shape any more.
          #expect(error == .authenticationFailed || error == .malformed || error == .packetTooLarge, "\(packet.name)")
          flipped += 1
        }
      }
      #expect(session.incomingSSRCCount == 0)
      #expect(try session.unprotect(packet.protected, packet.family) == packet.plain, "\(packet.name)")
    }
    #expect(flipped > 10_000)
  }

  @Test("R2: every truncation of every vector is refused by all four calls or is a shorter packet in the clear")
  func everyTruncation() throws {
    for packet in try ProtectedPacket.derived() + ProtectedPacket.reference() {
      var session = try packet.session()
      for count in 0..<packet.protected.count {
        let cut = Array(packet.protected[..<count])
        for family in PacketFamily.allCases {
          #expect(session.refusal(cut, family) != nil, "\(packet.name) cut to \(count)")
          _ = session.protectRefusal(cut, family)
        }
      }
      #expect(session.incomingSSRCCount == 0)
    }
  }

  @Test("R2: packets of 0 to 40 bytes into all four calls", arguments: SRTPProfile.allCases)
  func shortPackets(profile: SRTPProfile) throws {
    var session = try SRTPSession.looped(profile)
    var random = RandomSource.seeded(state: 20)
    for count in 0...40 {
      for first: UInt8 in [0x00, 0x80, 0x81, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xff] {
        for fill in 0..<6 {
          var packet = (0..<count).map { _ in
            fill < 2 ? UInt8(fill * 0xff) : UInt8(truncatingIfNeeded: random.next())
          }
          if count > 0 { packet[0] = first }
          #expect(session.refusal(packet, .rtp) != nil)
          #expect(session.refusal(packet, .rtcp) != nil)
          let minimum = [PacketFamily.rtp: 12, .rtcp: 8]
          for (family, least) in minimum where count < least {
            #expect(session.protectRefusal(packet, family) == .malformed)
            #expect(session.refusal(packet, family) == .malformed)
          }
          _ = session.protectRefusal(packet, .rtp)
          _ = session.protectRefusal(packet, .rtcp)
        }
      }
    }
    #expect(session.incomingSSRCCount == 0)
    #expect(session.counters.unprotected == 0)
    #expect(session.counters.malformed > 0 && session.counters.authentication > 0)
  }
}
