// StreamConnection+Inbound.swift — bytes that arrive, decrypted, cut into datagrams, and handed to the owner in batches.

import Glibc
import Wire

extension StreamConnection {
  /// One read, and all that it brings. What is left in the socket is reported again in the next turn.
  func receive(in core: LoopCore) {
    switch phase {
    case .securing, .open: break
    case .connecting, .broken, .closed: return
    }
    core.receiveBatch.beginStream(socket: socket.id, with: incomplete)
    let count: Int
    if let session {
      count = core.receiveBatch.readCiphertext(from: descriptor.rawValue)
      if count > 0 { decrypt(count, with: session, in: core) }
    } else {
      count = core.receiveBatch.readStream(from: descriptor.rawValue)
      if count > 0 { handOver(in: core) }
    }
    switch count {
    case 1...: keepIncomplete(in: core)
    // In order only between two frames, and while nothing is under way with TLS.
    case 0 where incomplete.isEmpty && session?.isEstablished != false: end(nil, in: core)
    case 0: end(NetError("receive", code: ECONNRESET, detail: "TCP \(remote)"), in: core)
    case -Int(EAGAIN), -Int(EINTR): return
    default: end(NetError("receive", code: Int32(clamping: -count), detail: "TCP \(remote)"), in: core)
    }
  }

  private func decrypt(_ count: Int, with session: any StreamSecuritySession, in core: LoopCore) {
    secured(in: core) { () throws(StreamSecurityError) in
      try core.receiveBatch.giveCiphertext(count, to: session)
    }
    var hasMore = true
    while hasMore, !isEnding {
      while hasMore, core.receiveBatch.hasRoomForRecord {
        hasMore = false
        secured(in: core) { () throws(StreamSecurityError) in
          hasMore = try core.receiveBatch.appendStream { out throws(StreamSecurityError) in
            try session.readPlaintext(into: &out)
          }
        }
      }
      checkHandshake(in: core)
      handOver(in: core)
      core.receiveBatch.compactStream()
    }
    // Handshake messages and alerts, and what has waited for the handshake.
    flush(in: core)
  }

  private var isEnding: Bool {
    switch phase {
    case .broken, .closed: true
    case .connecting, .securing, .open: false
    }
  }

  /// Hands every whole frame to the owner, who may close this connection, its socket, or leave, at any time.
  private func handOver(in core: LoopCore) {
    var outcome = ReceiveBatch.Framed.batchFull
    while outcome == .batchFull, !isClosed {
      outcome = core.receiveBatch.takeFrames(socket.framing, from: remote, isFirst: !hasBroughtFrame)
      guard !core.receiveBatch.isEmpty else { continue }
      noteFrame()
      socket.statistics.datagramsReceived += UInt64(core.receiveBatch.datagramCount)
      socket.statistics.bytesReceived += UInt64(core.receiveBatch.byteCount)
      frameDeadline = nil
      core.deliver(to: socket.owner, from: socket.id)
    }
    guard outcome == .malformed, !isEnding else { return }
    socket.statistics.brokenConnections += 1
    fail(NetError("receive", code: EBADMSG, detail: "TCP \(remote)"), in: core)
  }

  private func keepIncomplete(in core: LoopCore) {
    core.receiveBatch.endStream(into: &incomplete)
    guard !isEnding else { return }
    if incomplete.isEmpty {
      frameDeadline = nil
    } else if frameDeadline == nil {
      frameDeadline = core.now + socket.limits.frame
    }
    updateDeadline(in: core)
  }
}
