// StreamConnection.swift — one TCP connection of a stream socket: connecting, TLS, and the bytes out. What comes in is
// in `+Inbound`.
//
// Invariants: bytes waiting to go out never exceed `maximumUnsent` by more than TLS adds; `.closed` is final, and then
// the descriptor is not watched any more.

import CPosix
import Glibc
import Wire

final class StreamConnection: LoopSource {
  enum Phase {
    case connecting
    case securing
    case open
    /// An error met while sending, told in the turn to come: its owner is not to be called from within its own drain.
    case broken(NetError)
    case closed
  }

  let socket: StreamSocket
  let remote: SocketAddress
  let began: Instant
  let descriptor: Descriptor
  var phase: Phase
  let session: (any StreamSecuritySession)?
  private let wasAccepted: Bool

  /// Framed datagrams that are not encrypted yet; unused without TLS.
  private var plaintext = ByteQueue()
  /// What the kernel has not taken yet.
  private var outgoing = ByteQueue()
  private var isWatchingWritable = false
  private var isWritten = false

  /// The beginning of a frame whose rest has not come.
  var incomplete: [UInt8] = []
  var hasBroughtFrame = false
  /// When the frame that `incomplete` begins must be whole.
  var frameDeadline: Instant?
  /// When this phase must have ended.
  private var phaseDeadline: Instant?
  private var source: SourceID?

  init(
    accepting descriptor: consuming Descriptor, from remote: SocketAddress, of socket: StreamSocket, in core: LoopCore
  ) throws(NetError) {
    Self.prepare(descriptor.rawValue)
    self.socket = socket
    self.remote = remote
    self.descriptor = descriptor
    began = core.now
    wasAccepted = true
    session = nil
    phase = .open
    phaseDeadline = core.now + socket.limits.firstFrame
    try watch(in: core)
    socket.silent += 1
  }

  init(connectingTo remote: SocketAddress, of socket: StreamSocket, in core: LoopCore) throws(NetError) {
    let descriptor = try StreamSocket.makeSocket(boundTo: socket.localAddress)
    Self.prepare(descriptor.rawValue)
    var session: (any StreamSecuritySession)?
    if let security = socket.security {
      do throws(StreamSecurityError) {
        session = try security.makeSession()
      } catch {
        throw NetError("TLS", code: EPROTO, detail: error.reason)
      }
    }
    let code = SocketCalls.connect(descriptor.rawValue, to: remote)
    self.socket = socket
    self.remote = remote
    self.descriptor = descriptor
    self.session = session
    began = core.now
    wasAccepted = false
    phase = .connecting
    isWatchingWritable = true
    phaseDeadline = core.now + socket.limits.connect
    try watch(in: core)
    // A connection that stands at once is writable at once.
    if code != 0, code != EINPROGRESS, code != EINTR { fail(NetError("connect", code: code, detail: name), in: core) }
  }

  private static func prepare(_ descriptor: Int32) {
    // Datagrams are not to wait for one another's acknowledgement.
    _ = SocketCalls.trySet(descriptor, Int32(IPPROTO_TCP), Int32(SWARM_TCP_NODELAY), 1)
    // What is beyond a little more than the path's own amount waits here, where it is counted, and not in the kernel.
    _ = SocketCalls.trySet(
      descriptor, Int32(IPPROTO_TCP), Int32(SWARM_TCP_NOTSENT_LOWAT), maximumUnsentInKernel)
  }

  private func watch(in core: LoopCore) throws(NetError) {
    let source = core.addSource(self)
    do throws(NetError) {
      try core.poller.add(descriptor.rawValue, token: source.token)
      if isWatchingWritable { try core.poller.watchWritable(true, descriptor.rawValue, token: source.token) }
    } catch {
      core.removeSource(source)
      throw error
    }
    self.source = source
    updateDeadline(in: core)
  }

  /// Whether it was accepted and has brought no datagram yet.
  var isSilent: Bool { wasAccepted && !hasBroughtFrame && !isClosed }
  var isClosed: Bool { if case .closed = phase { true } else { false } }
  var localAddress: SocketAddress? {
    do throws(NetError) {
      return try SocketCalls.boundAddress(of: descriptor.rawValue)
    } catch {
      return nil
    }
  }
  private var name: String { "TCP \(remote)" }

  // MARK: Events

  func handleReady(_ event: Poller.Event, in core: LoopCore) {
    if case .connecting = phase { return finishConnecting(in: core) }
    if event.isWritable { flush(in: core) }
    if event.isReadable { receive(in: core) }
  }

  func handleTimeout(in core: LoopCore) {
    switch phase {
    case .broken(let error): return end(error, in: core)
    case .closed: return
    case .connecting, .securing, .open: break
    }
    guard let due = earliest(phaseDeadline, frameDeadline), due <= core.now else { return updateDeadline(in: core) }
    if case .connecting = phase {
      end(NetError("connect", code: ETIMEDOUT, detail: name), in: core)
    } else {
      socket.statistics.brokenConnections += 1
      end(NetError("receive", code: ETIMEDOUT, detail: name), in: core)
    }
  }

  func updateDeadline(in core: LoopCore) {
    guard let source else { return }
    core.setDeadline(earliest(phaseDeadline, frameDeadline), of: source)
  }

  func noteFrame() {
    guard !hasBroughtFrame else { return }
    if isSilent { socket.silent -= 1 }
    hasBroughtFrame = true
    phaseDeadline = nil
  }

  private func finishConnecting(in core: LoopCore) {
    let code = SocketCalls.pendingError(of: descriptor.rawValue)
    guard code == 0 else { return end(NetError("connect", code: code, detail: name), in: core) }
    // A port of this host's that nobody listens at may be the one just chosen: TCP then connects to itself.
    guard localAddress != remote else { return end(NetError("connect", code: ECONNREFUSED, detail: name), in: core) }
    guard let session else {
      phase = .open
      phaseDeadline = nil
      updateDeadline(in: core)
      return flush(in: core)
    }
    phase = .securing
    phaseDeadline = core.now + socket.limits.handshake
    updateDeadline(in: core)
    secured(in: core) { () throws(StreamSecurityError) in try session.start() }
    flush(in: core)
  }

  /// The handshake may have ended with what was just received.
  func checkHandshake(in core: LoopCore) {
    guard case .securing = phase, let session, session.isEstablished else { return }
    phase = .open
    phaseDeadline = nil
    updateDeadline(in: core)
  }

  /// Runs a step of TLS; if it fails, so does the connection, once the alert is out.
  func secured(in core: LoopCore, _ step: () throws(StreamSecurityError) -> Void) {
    do throws(StreamSecurityError) {
      try step()
    } catch {
      session?.takeCiphertext(into: &outgoing.bytes)
      sendOutgoing(in: core)
      fail(NetError("TLS", code: EPROTO, detail: "\(remote): \(error.reason)"), in: core)
    }
  }

  // MARK: Out

  /// Frames a datagram.
  ///
  /// - Returns: whether it is the first since the last flush.
  func append(_ range: Range<Int>, of batch: borrowing TransmitBatch) -> Bool {
    let datagram = batch.bytes(of: range)
    let count = datagram.byteCount
    guard let (length, padding) = StreamFrame.surroundings(socket.framing, of: datagram) else {
      socket.statistics.droppedUnframable += 1
      return false
    }
    guard plaintext.count + outgoing.count + count + Self.maximumFraming <= Self.maximumUnsent else {
      socket.statistics.droppedNoRoom += 1
      return false
    }
    socket.statistics.datagramsSent += 1
    socket.statistics.bytesSent += UInt64(count)
    if session == nil {
      outgoing.append(length, datagram, padding: padding)
    } else {
      plaintext.append(length, datagram, padding: padding)
    }
    defer { isWritten = true }
    return !isWritten
  }

  func flush(in core: LoopCore) {
    isWritten = false
    switch phase {
    case .connecting, .broken, .closed: return
    case .securing: break
    case .open: encrypt(in: core)
    }
    session?.takeCiphertext(into: &outgoing.bytes)
    sendOutgoing(in: core)
  }

  private func encrypt(in core: LoopCore) {
    guard let session, plaintext.count > 0 else { return }
    let waiting = plaintext.takeAll()
    secured(in: core) { () throws(StreamSecurityError) in try session.write(waiting.rawSpan) }
    plaintext.giveBack(waiting)
  }

  private func sendOutgoing(in core: LoopCore) {
    while outgoing.count > 0 {
      let result = outgoing.send(through: descriptor.rawValue)
      if result >= 0 || result == -Int(EINTR) { continue }
      if result == -Int(EAGAIN) { return watchWritable(true, in: core) }
      return fail(NetError("send", code: Int32(-result), detail: name), in: core)
    }
    watchWritable(false, in: core)
  }

  private func watchWritable(_ isWatched: Bool, in core: LoopCore) {
    guard isWatched != isWatchingWritable, let source else { return }
    do throws(NetError) {
      try core.poller.watchWritable(isWatched, descriptor.rawValue, token: source.token)
      isWatchingWritable = isWatched
    } catch {
      core.statistics.pollerErrors += 1
      fail(error, in: core)
    }
  }

  // MARK: The end

  /// Ends it in the turn to come.
  func fail(_ error: NetError, in core: LoopCore) {
    switch phase {
    case .broken, .closed: return
    case .connecting, .securing, .open: break
    }
    phase = .broken(error)
    if let source { core.setDeadline(core.now, of: source) }
  }

  /// Ends it and tells the owner. Not to be called from within the owner's drain.
  func end(_ error: NetError?, in core: LoopCore) {
    guard !isClosed else { return }
    let isKnown = !isSilent
    close(in: core)
    guard isKnown else { return }  // the owner has never heard of it
    core.reportClosed(Route(socket: socket.id, remote: remote), error: error, to: socket.owner)
  }

  /// Ends it and tells nobody but the peer.
  func close(in core: LoopCore) {
    guard !isClosed else { return }
    if case .open = phase, let session {
      session.close()
      session.takeCiphertext(into: &outgoing.bytes)
      _ = outgoing.send(through: descriptor.rawValue)
    }
    if isSilent { socket.silent -= 1 }
    phase = .closed
    core.poller.remove(descriptor.rawValue)
    // The descriptor itself goes with this object: half-read events of this turn may still hold it. Nothing more passes.
    _ = shutdown(descriptor.rawValue, Int32(SHUT_RDWR))
    if let source { core.removeSource(source) }
    source = nil
    socket.forget(self)
  }

  /// Bytes that wait for the kernel: two drains. More would only grow old.
  static let maximumUnsent = 256 << 10
  /// Bytes that wait within the kernel before it takes no more, beside what is in flight.
  private static let maximumUnsentInKernel: Int32 = 128 << 10
  /// A length before or padding behind.
  private static let maximumFraming = 4
}

/// Bytes in, bytes out, in order.
struct ByteQueue {
  /// May be appended to.
  var bytes: [UInt8] = []
  private var head = 0

  var count: Int { bytes.count - head }

  mutating func append(_ length: UInt16?, _ datagram: RawSpan, padding: Int) {
    if let length {
      bytes.append(UInt8(length >> 8))
      bytes.append(UInt8(truncatingIfNeeded: length))
    }
    unsafe datagram.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    for _ in 0..<padding { bytes.append(0) }
  }

  /// Sends what it can in one call; how many bytes were taken, or the negated errno.
  mutating func send(through descriptor: Int32) -> Int {
    let result = unsafe bytes.withUnsafeBytes { buffer in
      guard let base = buffer.baseAddress else { return 0 }
      return unsafe swarm_stream_send(descriptor, base + head, buffer.count - head)
    }
    guard result > 0 else { return result }
    head += result
    if head == bytes.count {
      bytes.removeAll(keepingCapacity: true)
      head = 0
    } else if head > bytes.count / 2 {
      bytes.removeSubrange(..<head)
      head = 0
    }
    return result
  }

  /// Moves everything out; nothing may have been sent from it.
  mutating func takeAll() -> [UInt8] {
    precondition(head == 0, "plaintext is taken whole")
    var taken: [UInt8] = []
    swap(&taken, &bytes)
    return taken
  }

  /// Takes an array back to fill it again.
  mutating func giveBack(_ array: consuming [UInt8]) {
    array.removeAll(keepingCapacity: true)
    if bytes.isEmpty { bytes = array }
  }
}
