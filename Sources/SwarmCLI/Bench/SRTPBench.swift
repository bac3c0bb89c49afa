// SRTPBench.swift — packets of RTP through a session of SRTP and back, in one process, on one thread.

import SRTP
import Wire

/// The figures of one protection profile.
struct SRTPBenchResult: Encodable {
  static let packetLength = 1_200

  var profile: String
  var protectedPerSecond: Double
  var unprotectedPerSecond: Double

  /// Megabytes of packets in the clear a second.
  var protected: Double { protectedPerSecond * Double(Self.packetLength) / 1e6 }
  var unprotected: Double { unprotectedPerSecond * Double(Self.packetLength) / 1e6 }

  init(measuring profile: SRTPProfile, seconds: Double) throws {
    self.profile = Self.name(of: profile)
    let key = SRTPMasterKey(
      key: [UInt8](repeating: 1, count: profile.keyLength), salt: [UInt8](repeating: 2, count: profile.saltLength))
    var session = try SRTPSession(profile: profile, outgoing: key, incoming: key)
    var packet = [UInt8](repeating: 0x5a, count: Self.packetLength)
    packet.replaceSubrange(0..<12, with: [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    let slot = Self.packetLength + SRTPSession.maximumTrailer
    let wire = BenchMemory(slots: DTLSBench.run, of: slot)
    let opened = BenchMemory(slots: 1, of: slot)
    var (protecting, unprotecting) = (0.0, 0.0)
    var count = 0
    while protecting + unprotecting < 2 * seconds {
      let began = ThreadTime.now
      for place in 0..<DTLSBench.run {
        (packet[2], packet[3]) = (
          UInt8(truncatingIfNeeded: (count + place) >> 8), UInt8(truncatingIfNeeded: count + place)
        )
        try wire.write(place) { (out) throws(SRTPError) in
          try session.protectRTP(packet.rawSpan, into: &out)
        }
      }
      let between = ThreadTime.now
      for place in 0..<DTLSBench.run {
        let protected = wire.bytes(place)
        try opened.write(0) { (out) throws(SRTPError) in try session.unprotectRTP(protected, into: &out) }
      }
      unprotecting += ThreadTime.now - between
      protecting += between - began
      count += DTLSBench.run
    }
    protectedPerSecond = Double(count) / protecting
    unprotectedPerSecond = Double(count) / unprotecting
  }

  private static func name(of profile: SRTPProfile) -> String {
    switch profile {
    case .aes128CMSHA1: "AES128_CM_SHA1_80"
    case .aeadAES128GCM: "AEAD_AES_128_GCM"
    case .aeadAES256GCM: "AEAD_AES_256_GCM"
    }
  }

  private enum CodingKeys: String, CodingKey {
    case profile
    case packet = "packet_bytes"
    case protected = "protected_mb_per_s"
    case unprotected = "unprotected_mb_per_s"
    case protectedPerSecond = "protected_per_s"
    case unprotectedPerSecond = "unprotected_per_s"
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(profile, forKey: .profile)
    try values.encode(Self.packetLength, forKey: .packet)
    try values.encode(protected, forKey: .protected)
    try values.encode(unprotected, forKey: .unprotected)
    try values.encode(protectedPerSecond, forKey: .protectedPerSecond)
    try values.encode(unprotectedPerSecond, forKey: .unprotectedPerSecond)
  }
}
