// SwarmMachine+Inbound.swift — from a received message to the part of the machine that it concerns.

import Signaling
package import Wire

extension SwarmMachine {
  /// One data channel message from `peer`.
  package mutating func handle(_ content: Content, from peer: PeerID, lane: Lane, now: Instant) {
    guard peers[peer] != nil else { return reject(.unsolicited, from: peer) }
    peers[peer]?.counters.messagesIn += 1
    peers[peer]?.counters.bytesIn += content.byteCount
    peers[peer]?.lastHeard = now
    do throws(Rejection) {
      switch content {
      case .text(let text): try handleText(text, from: peer, now: now)
      case .binary(let bytes): try handleBinary(bytes, from: peer, now: now)
      }
    } catch {
      reject(error, from: peer)
    }
  }

  private mutating func handleText(_ text: String, from peer: PeerID, now: Instant) throws(Rejection) {
    switch try IncomingFrame(text, from: peer) {
    case .envelope(let type, let payload, let timestamp):
      clock.observe(timestamp, wallMilliseconds: wallMilliseconds(now))
      try settleDialect(.enveloped, of: peer, now: now)
      try dispatch(type, payload, from: peer, now: now)
    case .bare(let type, let fields):
      try settleDialect(.bare, of: peer, now: now)
      try dispatch(type, fields, from: peer, now: now)
    }
  }

  /// The first message of an unmarked peer shows its dialect; after that it must keep to it.
  private mutating func settleDialect(_ seen: Dialect, of peer: PeerID, now: Instant) throws(Rejection) {
    switch peers[peer]?.dialect {
    case .unknown?:
      peers[peer]?.dialect = seen
      // A page that was dialled never asks, so it would never learn what we can do (WIRE §10.4).
      if seen == .bare { sendSync(to: peer, now: now) }
    case .extended?: if seen == .bare { throw .wrongDialect }
    case let dialect: if dialect != seen { throw .wrongDialect }
    }
  }

  private mutating func handleBinary(_ bytes: [UInt8], from peer: PeerID, now: Instant) throws(Rejection) {
    guard peers[peer]?.dialect == .extended else { throw .unexpectedBinary }
    let frame: BulkFrame
    do { frame = try BulkFrame(bytes.rawSpan) } catch { throw .badPayload }
    switch frame.kind {
    case .chunk: try handleChunk(frame, bytes[BulkFrame.headerBytes...], from: peer, now: now)
    case .acknowledgement: try handleAcknowledgement(frame, from: peer, now: now)
    }
  }

  private mutating func dispatch(_ type: String, _ fields: JSONFields, from peer: PeerID, now: Instant)
    throws(Rejection)
  {
    guard let known = MessageType(rawValue: type) else {
      emit(.message(peer, type: type, payload: .object(fields)))
      return
    }
    switch known {
    case .ping: post(.pong, ["ts": fields["ts"] ?? .null, "received": .number(wallMilliseconds(now))], to: peer)
    case .pong: handlePong(fields, from: peer, now: now)
    case .syncRequest: sendSync(to: peer, now: now)
    case .syncResponse: try handleSync(fields, from: peer, now: now)
    case .goalUpdate: try handleGoalUpdate(fields, from: peer, now: now)
    case .knowledgeShare: try handleKnowledgeShare(fields, from: peer, now: now)
    case .artifactAnnounce: try handleAnnounce(fields, from: peer)
    case .artifactRequest: try handleRequest(fields, from: peer, now: now)
    case .artifactChunk: throw .unsolicited  // we never ask a page of the references for a file
    case .artifactAck: try handleTextAcknowledgement(fields, from: peer, now: now)
    case .artifactError: try handleArtifactError(fields, from: peer, now: now)
    case .artifactCancel: try handleCancel(fields, from: peer)
    case .taskDelegation: try handleDelegation(fields, from: peer, now: now)
    case .taskAccepted: try handleAccepted(fields, from: peer)
    case .taskComplete: try handleComplete(fields, from: peer)
    case .taskDeclined: try handleDeclined(fields, from: peer, now: now)
    case .consensusRequest: try handleProposal(fields, from: peer, now: now)
    case .consensusVote: try handleVote(fields, from: peer, now: now)
    }
  }

  // MARK: Signs of life

  /// Asks a quiet peer for an answer, in the form its dialect answers to (WIRE §6.4).
  mutating func probe(_ peer: PeerID, now: Instant) {
    guard let record = peers[peer] else { return }
    peers[peer]?.nextProbe = now + record.probeInterval
    switch record.dialect {
    case .bare, .unknown: post(.syncRequest, [:], to: peer)
    case .extended, .enveloped: post(.ping, ["ts": .number(microseconds(now))], to: peer)
    }
  }

  /// `ts` is the pinger's own number; ours is in microseconds, because a millisecond is long on a fast link.
  private mutating func handlePong(_ fields: JSONFields, from peer: PeerID, now: Instant) {
    guard let sent = fields.integer("ts") else { return }
    let elapsed = microseconds(now) - sent
    guard (0...60_000_000).contains(elapsed) else { return }
    peers[peer]?.roundTrip = .microseconds(elapsed)
  }

  private func microseconds(_ now: Instant) -> Int64 { now.nanoseconds / 1_000 }
}
