// DTLSSession.swift — one DTLS 1.2 session (RFC 6347) over OpenSSL, as a machine without I/O.
//
// In: `start`, `handle`, `handleTimeout`, `close`; out: `readApplicationData`, `pollTransmit`, `pollEvent`, `deadline`;
// `seal` turns a plaintext into a record in the caller's buffer. After `handle` the caller reads application data until
// there is none: OpenSSL holds the rest of the datagram, and the next datagram would find it busy.
//
// Invariants: application data is read and sealed in `.connected` only, and that phase is reached only after the peer has
// proved to hold the key of a certificate that `remoteFingerprints` describe, or that has the server's name. `deadline` is non-nil exactly while
// `.handshaking`. `.ended` is final.
//
// OpenSSL's retransmission timer reads the wall clock. What is left of it is mapped to the caller's clock after each call,
// and when that is due OpenSSL is asked again; a step of the wall clock can delay a retransmission, not the handshake's
// own limit.

internal import COpenSSL
package import Wire

package enum DTLSRole: Hashable, Sendable { case client, server }

@safe
package struct DTLSSession: ~Copyable, @unchecked Sendable {
  package enum Event: Hashable, Sendable {
    case connected
    case failed(DTLSError)
    /// The peer sent close_notify.
    case closed
  }

  /// The most that sealing adds to a plaintext: with AES-GCM a header of 13, a nonce of 8 and a tag of 16 bytes.
  package static let recordOverhead = 37
  /// When a handshake that does not end has failed.
  package static let handshakeLimit = Interval.seconds(30)
  /// How long the handshake may still succeed after a fatal alert in plaintext, which anybody could have sent.
  package static let plaintextAlertPatience = Interval.seconds(3)
  /// RFC 6347 §4.2.4.1 says one second, for want of a measured round trip.
  package static let shortestInitialTimeout = Interval.milliseconds(50)
  package static let longestInitialTimeout = Interval.seconds(3)

  private enum Phase {
    case idle
    case handshaking(giveUpAt: Instant)
    case connected
    case ended
  }

  private let isLentByAddress = LentByAddress()
  package let role: DTLSRole
  /// The peer is a server known by name, not by fingerprint.
  private let verifiesName: Bool
  private let maximumRecordSize: Int
  private let ssl: OpaquePointer
  private let pipe: UnsafeMutablePointer<DatagramPipe>
  private var phase = Phase.idle
  private var retransmitAt: Instant?
  private var hasConnectedEvent = false
  private var endEvent: Event?

  /// - Parameters:
  ///   - remoteFingerprints: as the peer's description announced them; the peer must match one.
  ///   - maximumDatagramSize: the largest UDP payload of the handshake, 512 … 16,384.
  ///   - maximumRecordSize: the largest that `seal` may produce, for a path that is known to carry more; not less.
  ///   - initialTimeout: as `setInitialTimeout` takes it.
  ///   - logsKeys: the secrets of the session come out of `pollKeyLog`.
  package init(
    identity: DTLSIdentity, role: DTLSRole, remoteFingerprints: [Fingerprint], maximumDatagramSize: Int = 1200,
    maximumRecordSize: Int = 0, initialTimeout: Interval = shortestInitialTimeout, logsKeys: Bool = false
  ) throws(DTLSError) {
    guard !remoteFingerprints.isEmpty else { throw .noRemoteFingerprint }
    let sizes = (datagram: maximumDatagramSize, record: max(maximumDatagramSize, maximumRecordSize))
    let (ssl, pipe) = try unsafe Self.makeParts(
      in: try (logsKeys ? SharedContext.keyLogging : SharedContext.result).get(), sizes, remoteFingerprints
    ) { ssl in unsafe identity.use(in: ssl, as: role) }
    unsafe self.init(ssl: ssl, pipe: pipe, role: role, verifiesName: false, maximumRecordSize: sizes.record)
    setInitialTimeout(initialTimeout)
  }

  /// A client's session with a server that proves by its certificate to have this name or address. The system's
  /// authorities are trusted, or those in the environment's `SSL_CERT_FILE` and `SSL_CERT_DIR`.
  ///
  /// - Parameters:
  ///   - maximumDatagramSize: the largest UDP payload of the handshake, 512 … 16,384.
  ///   - maximumRecordSize: the largest that `seal` may produce; not less.
  package init(
    serverName: String, maximumDatagramSize: Int = 1200, maximumRecordSize: Int = 0
  ) throws(DTLSError) {
    let sizes = (datagram: maximumDatagramSize, record: max(maximumDatagramSize, maximumRecordSize))
    let isAddress = IPAddress(serverName) != nil
    let (ssl, pipe) = try unsafe Self.makeParts(in: try SharedContext.servers.get(), sizes, []) { ssl in
      unsafe openssl_expect_server(ssl, serverName, isAddress ? 1 : 0) == 1
    }
    unsafe self.init(ssl: ssl, pipe: pipe, role: .client, verifiesName: true, maximumRecordSize: sizes.record)
  }

  /// What a session consists of, set up by `configure`.
  private static func makeParts(
    in shared: SharedContext, _ sizes: (datagram: Int, record: Int), _ remoteFingerprints: [Fingerprint],
    _ configure: (OpaquePointer) -> Bool
  ) throws(DTLSError) -> (OpaquePointer, UnsafeMutablePointer<DatagramPipe>) {
    precondition(sizes.datagram >= 512 && sizes.record <= 16_384, "OpenSSL's fragments hold 512 to 16,384 bytes")
    openssl_clear_errors()
    let pipe = UnsafeMutablePointer<DatagramPipe>.allocate(capacity: 1)
    unsafe pipe.initialize(
      to: DatagramPipe(remoteFingerprints: remoteFingerprints, maximumDatagramSize: sizes.datagram))
    guard let ssl = unsafe shared.makeSession(over: pipe) else {
      unsafe Self.free(pipe)
      throw .takeFromQueue()
    }
    // OpenSSL gathers a flight in a buffer of 4 KB; a larger datagram would be cut in the middle of a record. What
    // encryption adds to Finished it does not reckon with.
    let mtu = min(sizes.datagram, 4_096) - RecordHeader.minimumProtectedLength
    guard unsafe configure(ssl), unsafe openssl_set_sizes(ssl, mtu, sizes.record) == 1 else {
      unsafe SSL_free(ssl)
      unsafe Self.free(pipe)
      throw .takeFromQueue()
    }
    return unsafe (ssl, pipe)
  }

  private init(
    ssl: OpaquePointer, pipe: UnsafeMutablePointer<DatagramPipe>, role: DTLSRole, verifiesName: Bool,
    maximumRecordSize: Int
  ) {
    switch role {
    case .client: unsafe SSL_set_connect_state(ssl)
    case .server: unsafe SSL_set_accept_state(ssl)
    }
    self.role = role
    self.verifiesName = verifiesName
    self.maximumRecordSize = maximumRecordSize
    unsafe self.ssl = ssl
    unsafe self.pipe = pipe
  }

  deinit {
    unsafe SSL_free(ssl)
    unsafe Self.free(pipe)
  }

  private static func free(_ pipe: UnsafeMutablePointer<DatagramPipe>) {
    unsafe pipe.deinitialize(count: 1)
    unsafe pipe.deallocate()
  }

  // MARK: State

  package var isConnected: Bool { if case .connected = phase { true } else { false } }

  /// The suite in use, by its RFC name; nil before the handshake has ended.
  package var cipherSuite: String? {
    guard isConnected, let cipher = unsafe SSL_get_current_cipher(ssl),
      let name = unsafe SSL_CIPHER_standard_name(cipher)
    else { return nil }
    return unsafe String(cString: name)
  }

  /// The protection profile for media that both sides know, by the number that IANA gave it (RFC 5764 §4.1.2); nil when
  /// the peer has named none of ours.
  package var mediaProfile: UInt16? {
    guard isConnected, let profile = unsafe SSL_get_selected_srtp_profile(ssl) else { return nil }
    return unsafe UInt16(exactly: profile.pointee.id)
  }

  /// Keys for another protocol, which both sides compute alike and nobody else can (RFC 5705, without a context); nil
  /// before the handshake has ended and after the session has.
  package func exportKeyingMaterial(label: String, byteCount: Int) -> [UInt8]? {
    guard isConnected else { return nil }
    openssl_clear_errors()
    var material = [UInt8](repeating: 0, count: byteCount)
    let isDone = unsafe SSL_export_keying_material(ssl, &material, byteCount, label, label.utf8.count, nil, 0, 0) == 1
    return isDone ? material : nil
  }

  /// Records and datagrams that were dropped without asking OpenSSL.
  package var droppedRecords: Int { unsafe pipe.pointee.droppedRecords }

  package var deadline: Instant? {
    guard case .handshaking(let giveUpAt) = phase else { return nil }
    return earliest(giveUpAt, retransmitAt)
  }

  // MARK: In

  /// How long a flight waits for its answer before it goes out again, the first time: not less than
  /// `shortestInitialTimeout`, not more than `longestInitialTimeout`. Counts from the next flight on.
  package mutating func setInitialTimeout(_ timeout: Interval) {
    let bounded = min(max(timeout, Self.shortestInitialTimeout), Self.longestInitialTimeout)
    unsafe pipe.pointee.initialTimeoutMicroseconds = UInt32(bounded.nanoseconds / 1000)
  }

  /// Begins the handshake: the client's first flight becomes due, the server's patience begins to run.
  package mutating func start(now: Instant) {
    guard case .idle = phase else { return }
    phase = .handshaking(giveUpAt: now + Self.handshakeLimit)
    advanceHandshake(now: now)
  }

  /// One UDP payload, with one or several records. A server that was not started starts.
  package mutating func handle(_ datagram: RawSpan, now: Instant) {
    switch phase {
    case .connected:
      receive(datagram) { session in session.decryptNextRecord() }
    case .handshaking:
      receive(datagram) { session in
        session.advanceHandshake(now: now)
        if session.isConnected { session.decryptNextRecord() }
      }
    case .idle:
      guard role == .server else { return }
      start(now: now)
      handle(datagram, now: now)
    case .ended: return
    }
  }

  package mutating func handleTimeout(now: Instant) {
    guard case .handshaking(let giveUpAt) = phase else { return }
    if giveUpAt <= now {
      let alert = unsafe pipe.pointee.plaintextAlert
      fail(alert.map { .peerAlert(DTLSError.alertName($0)) } ?? .handshakeTimedOut)
    } else if let due = retransmitAt, due <= now {
      openssl_clear_errors()
      if unsafe openssl_dtls_handle_timeout(ssl) < 0 {
        fail(.takeFromQueue())
      } else {
        scheduleRetransmission(now: now)
      }
    }
  }

  /// Ends the session; a connected peer is told by close_notify, which `pollTransmit` then returns.
  package mutating func close() {
    if isConnected { sendCloseNotify() }
    phase = .ended
    retransmitAt = nil
  }

  // MARK: Out

  /// Appends the plaintext of the next record to `out`; false when there is none left. A record longer than the room in
  /// `out` comes in pieces; none is longer than the datagram that it came in.
  package mutating func readApplicationData(into out: inout OutputRawSpan) -> Bool {
    guard isConnected else { return false }
    guard unsafe openssl_holds_records(ssl) == 1 else { return false }
    precondition(!out.isFull, "there is room to read into")
    openssl_clear_errors()
    let ssl = unsafe self.ssl
    var status: CInt = 0
    var count = 0
    repeat {  // empty records are skipped; each call takes one off what a finite datagram held
      unsafe out.withUnsafeMutableBytes { buffer, initialized in
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[initialized...])
        status = unsafe SSL_read_ex(ssl, room.baseAddress, room.count, &count)
        initialized += count
      }
    } while status == 1 && count == 0
    if status != 1 { noteReadFailure(status) }
    return status == 1
  }

  /// Appends one record with `plaintext`, at least one byte, to `out`, which must have room for it and `recordOverhead`.
  package mutating func seal(_ plaintext: RawSpan, into out: inout OutputRawSpan) throws(DTLSError) {
    guard isConnected else { throw .notConnected }
    // OpenSSL's buffer for a record was made for this size.
    guard plaintext.byteCount + Self.recordOverhead <= maximumRecordSize else { throw .plaintextTooLarge }
    precondition(plaintext.byteCount > 0, "OpenSSL makes no empty records, and no packet of ours is empty")
    precondition(plaintext.byteCount + Self.recordOverhead <= out.freeCapacity, "the caller asks for room first")
    openssl_clear_errors()
    let ssl = unsafe self.ssl
    let pipe = unsafe self.pipe
    let isSealed = unsafe out.withUnsafeMutableBytes { buffer, initialized in
      unsafe pipe.pointee.beginSeal(into: UnsafeMutableRawBufferPointer(rebasing: buffer[initialized...]))
      var taken = 0
      let status = unsafe plaintext.withUnsafeBytes { unsafe SSL_write_ex(ssl, $0.baseAddress, $0.count, &taken) }
      let sealedCount = unsafe pipe.pointee.endSeal()
      if status == 1 { initialized += sealedCount }
      return status == 1
    }
    guard isSealed else {
      let error = DTLSError.takeFromQueue()
      fail(error)
      throw error
    }
  }

  /// Appends one datagram of a handshake flight or an alert to `out`, which must have room for `maximumDatagramSize`.
  package mutating func pollTransmit(into out: inout OutputRawSpan) -> Bool {
    unsafe pipe.pointee.popFlight(into: &out)
  }

  /// A line for a key log in NSS's format, without the end of line: with it whoever has captured the session can read it.
  package mutating func pollKeyLog() -> String? { unsafe pipe.pointee.popKeyLogLine() }

  package mutating func pollEvent() -> Event? {
    if hasConnectedEvent {
      hasConnectedEvent = false
      return .connected
    }
    defer { endEvent = nil }
    return endEvent
  }

  // MARK: OpenSSL

  /// Lends `datagram` to OpenSSL while `body` runs.
  private mutating func receive(_ datagram: RawSpan, _ body: (inout DTLSSession) -> Void) {
    unsafe datagram.withUnsafeBytes { bytes in
      unsafe pipe.pointee.lend(bytes)
      body(&self)
      unsafe pipe.pointee.takeBack()
    }
  }

  private mutating func advanceHandshake(now: Instant) {
    openssl_clear_errors()
    let status = unsafe SSL_do_handshake(ssl)
    if status == 1 {
      unsafe pipe.pointee.endHandshake(minimumProtectedLength: openssl_protected_overhead(ssl))
      phase = .connected
      retransmitAt = nil
      hasConnectedEvent = true
      return
    }
    guard unsafe SSL_get_error(ssl, status) == SSL_ERROR_WANT_READ else {
      let cause = DTLSError.takeFromQueue()
      if unsafe verifiesName && SSL_get_verify_result(ssl) != Int(X509_V_OK) { return fail(untrusted) }
      return fail(unsafe pipe.pointee.verdict ?? cause)
    }
    if unsafe pipe.pointee.plaintextAlert != nil, case .handshaking(let giveUpAt) = phase {
      phase = .handshaking(giveUpAt: min(giveUpAt, now + Self.plaintextAlertPatience))
    }
    scheduleRetransmission(now: now)
  }

  private var untrusted: DTLSError {
    guard let text = unsafe X509_verify_cert_error_string(SSL_get_verify_result(ssl)) else {
      return .untrustedServer("no reason given")
    }
    return .untrustedServer(unsafe String(cString: text))
  }

  /// Has OpenSSL read the datagram on loan and decrypt its first record, without taking the plaintext yet.
  private mutating func decryptNextRecord() {
    openssl_clear_errors()
    var status: CInt = 0
    var count = 0
    var byte: UInt8 = 0
    repeat { status = unsafe SSL_peek_ex(ssl, &byte, 1, &count) } while status == 1 && count == 0
    if status != 1 { noteReadFailure(status) }
  }

  private mutating func noteReadFailure(_ status: CInt) {
    switch unsafe SSL_get_error(ssl, status) {
    case SSL_ERROR_WANT_READ: return
    case SSL_ERROR_ZERO_RETURN:
      sendCloseNotify()
      phase = .ended
      endEvent = .closed
    default: fail(.takeFromQueue())
    }
  }

  private mutating func scheduleRetransmission(now: Instant) {
    let microseconds = unsafe openssl_dtls_timeout(ssl)
    guard microseconds >= 0 else {
      retransmitAt = nil
      return
    }
    retransmitAt = now + max(.microseconds(microseconds), Self.shortestWait)
  }

  private func sendCloseNotify() {
    openssl_clear_errors()
    // 0: sent, and the peer's answer has not come; negative: the session had failed, and there is nothing to end.
    _ = unsafe SSL_shutdown(ssl)
    openssl_clear_errors()
  }

  private mutating func fail(_ error: DTLSError) {
    phase = .ended
    retransmitAt = nil
    endEvent = .failed(error)
  }

  /// OpenSSL's clock and ours may disagree about what is due; the wait between two looks keeps that from spinning.
  private static let shortestWait = Interval.milliseconds(1)
}
