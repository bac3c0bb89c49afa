// FuzzTarget.swift — everything that is fuzzed, by name. The fuzzers in Fuzz/ and the test that replays their crashes call
// the same functions, so that what one finds the other repeats.

/// One way to feed hostile bytes to the stack. A target traps when the code under it traps or breaks an invariant.
public enum FuzzTarget: String, CaseIterable, Sendable {
  case stun
  case turn
  case rtp
  case rtcp
  case media
  case sctpPacket = "sctp-packet"
  case dcep
  case sdp
  case candidate
  case mdns
  case srtp
  case signaling
  case associations

  public func run(_ input: RawSpan) {
    switch self {
    case .stun: fuzzSTUN(input)
    case .turn: fuzzTURN(input)
    case .rtp: fuzzRTP(input)
    case .rtcp: fuzzRTCP(input)
    case .media: fuzzMedia(input)
    case .sctpPacket: fuzzSCTPPacket(input)
    case .dcep: fuzzDCEP(input)
    case .sdp: fuzzSDP(input)
    case .candidate: fuzzCandidate(input)
    case .mdns: fuzzMDNS(input)
    case .srtp: fuzzSRTP(input)
    case .signaling: fuzzSignaling(input)
    case .associations: fuzzAssociations(input)
    }
  }
}
