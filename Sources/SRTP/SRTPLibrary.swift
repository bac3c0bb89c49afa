// SRTPLibrary.swift — libsrtp, made ready once for the process, and one direction of a session in it.

internal import CSRTP2

package enum SRTPLibrary {
  /// Makes libsrtp ready, which takes tens of milliseconds: it loads its cryptographic library and has every cipher test
  /// itself. Whoever must not be held up later calls this early, on any thread; otherwise the first session does it.
  ///
  /// - Throws: `.library` when the tests fail; then no session can be made in this process.
  package static func prepare() throws(SRTPError) { _ = try ready.get() }

  /// Nobody shuts libsrtp down: the process ends with it.
  private static let ready = Result<Anchor, SRTPError> { () throws(SRTPError) in
    let status = srtp_init()
    guard status == srtp_err_status_ok else { throw .library(status.rawValue) }
    return try Anchor()
  }

  /// A session that is never used. libsrtp's NSS goes down with the last cipher and comes up with the next, which takes
  /// milliseconds; as long as there is this one, it stays up.
  @safe
  private struct Anchor: @unchecked Sendable {  // nobody touches it
    private let session: OpaquePointer

    init() throws(SRTPError) {
      let profile = SRTPProfile.aeadAES128GCM
      let key = SRTPMasterKey(
        key: [UInt8](repeating: 0, count: profile.keyLength), salt: [UInt8](repeating: 0, count: profile.saltLength))
      unsafe session = try unsafe SRTPContext.makeSession(.outgoing, profile, key, window: 64)
    }
  }
}

/// A session of libsrtp for one direction: every SSRC of the direction has the same key and its own counters.
@safe
struct SRTPContext: ~Copyable {
  enum Direction { case outgoing, incoming }

  enum Operation { case protectRTP, protectRTCP, unprotectRTP, unprotectRTCP }

  private let session: OpaquePointer

  init(_ direction: Direction, profile: SRTPProfile, key: SRTPMasterKey, window: Int) throws(SRTPError) {
    guard key.keyLength == profile.keyLength, key.saltLength == profile.saltLength else { throw .wrongKeyLength }
    try SRTPLibrary.prepare()
    unsafe session = try unsafe Self.makeSession(direction, profile, key, window: window)
  }

  fileprivate static func makeSession(
    _ direction: Direction, _ profile: SRTPProfile, _ key: SRTPMasterKey, window: Int
  ) throws(SRTPError) -> OpaquePointer {
    var policy = unsafe srtp_policy_t()
    switch profile {
    case .aes128CMSHA1:
      unsafe srtp_crypto_policy_set_rtp_default(&policy.rtp)
      unsafe srtp_crypto_policy_set_rtcp_default(&policy.rtcp)
    case .aeadAES128GCM:
      unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp)
      unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp)
    case .aeadAES256GCM:
      unsafe srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp)
      unsafe srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp)
    }
    unsafe policy.ssrc.type = direction == .outgoing ? ssrc_any_outbound : ssrc_any_inbound
    unsafe policy.window_size = UInt(window)
    // An answer to a NACK is the same packet once more; SRTPSession sees to it that it is the same.
    unsafe policy.allow_repeat_tx = direction == .outgoing ? 1 : 0
    var made: OpaquePointer?
    let status = unsafe key.secret.withBytes { bytes in
      unsafe policy.key = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
      return unsafe srtp_create(&made, &policy)
    }
    guard status == srtp_err_status_ok, let session = unsafe made else { throw .library(status.rawValue) }
    return unsafe session
  }

  deinit { _ = unsafe srtp_dealloc(session) }

  /// Does `operation` to the first `count` bytes of `packet`, behind which there is room for a trailer.
  ///
  /// - Parameter count: becomes the new length.
  mutating func run(
    _ operation: Operation, on packet: UnsafeMutableRawBufferPointer, count: inout Int
  ) -> SRTPError? {
    guard var length = CInt(exactly: count) else { return .packetTooLarge }
    // libsrtp reads words at the packet's start without regard to alignment, which our processors allow.
    let start = packet.baseAddress
    let status =
      switch operation {
      case .protectRTP: unsafe srtp_protect(session, start, &length)
      case .protectRTCP: unsafe srtp_protect_rtcp(session, start, &length)
      case .unprotectRTP: unsafe srtp_unprotect(session, start, &length)
      case .unprotectRTCP: unsafe srtp_unprotect_rtcp(session, start, &length)
      }
    count = Int(length)
    return status == srtp_err_status_ok ? nil : SRTPError(status)
  }

  /// Forgets what libsrtp keeps of an SSRC.
  mutating func remove(_ ssrc: UInt32) {
    _ = unsafe srtp_remove_stream(session, ssrc.bigEndian)  // it may have none: then there is nothing to forget
  }

  /// The upper 32 bits of the index of RTP packets (RFC 3711 §3.3.1); nil when libsrtp does not know the SSRC.
  func rolloverCounter(of ssrc: UInt32) -> UInt32? {
    var counter: UInt32 = 0
    return unsafe srtp_get_stream_roc(session, ssrc, &counter) == srtp_err_status_ok ? counter : nil
  }

  /// The next packet of the SSRC has this rollover counter. False when libsrtp does not know the SSRC.
  mutating func setRolloverCounter(_ counter: UInt32, of ssrc: UInt32) -> Bool {
    unsafe srtp_set_stream_roc(session, ssrc, counter) == srtp_err_status_ok
  }
}
