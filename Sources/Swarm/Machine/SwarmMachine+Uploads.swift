// SwarmMachine+Uploads.swift — offering artifacts and sending them to our own kind.
//
// The bytes stay outside: the machine asks for a piece at a time (`readRequested`), sends it as one binary message, and
// asks for more while fewer than `windowBytes` are unacknowledged. So a transfer of any size holds one window.

import Signaling
package import Wire

/// One transfer to one peer. Invariant: acknowledged ≤ sent ≤ requested ≤ size, and requested − acknowledged ≤ window.
package struct Upload: Sendable {
  let peer: PeerID
  let artifact: ArtifactDescription
  var acknowledged: Int64
  var sent: Int64
  /// Up to where bytes have been asked for.
  var requested: Int64
  /// When the receiver counts as gone.
  var deadline: Instant

  init(peer: PeerID, artifact: ArtifactDescription, offset: Int64, now: Instant) {
    self.peer = peer
    self.artifact = artifact
    acknowledged = offset
    sent = offset
    requested = offset
    deadline = now + SwarmLimits.uploadPatience
  }
}

extension SwarmMachine {
  // MARK: In: the user

  /// Offers an artifact to everyone, now and whenever somebody joins. Its bytes will be asked for by `readRequested`.
  package mutating func offer(_ artifact: ArtifactDescription) throws(ArtifactError) {
    guard ArtifactPath.isSafeID(artifact.id), ArtifactPath.isSafeName(artifact.name) else { throw .unsafePath }
    guard artifact.sha256.count == 32, (0...configuration.maximumArtifactBytes).contains(artifact.size) else {
      throw .tooLarge
    }
    guard offers[artifact.id] != nil || offers.count < SwarmLimits.maximumOffers else { throw .tooMany }
    offers[artifact.id] = artifact
    for (peer, record) in peers where record.dialect != .bare { post(.artifactAnnounce, artifact.fields, to: peer) }
  }

  /// The bytes that a `readRequested` named.
  package mutating func provide(_ transfer: UInt64, offset: Int64, _ bytes: [UInt8], now: Instant) {
    if textUploads[transfer] != nil { return provideText(transfer, bytes, now: now) }
    guard let upload = uploads[transfer], upload.sent == offset, offset + Int64(bytes.count) <= upload.requested else {
      return  // the receiver has asked for another place since
    }
    let frame = BulkFrame(kind: .chunk, transfer: transfer, offset: offset)
    let lane: Lane = peers[upload.peer]?.isBulkOpen == true ? .bulk : .main
    uploads[transfer]?.sent += Int64(bytes.count)
    queue(.binary(frame.bytes(data: bytes)), to: upload.peer, lane: lane)
    requestReads(transfer)
  }

  /// The artifact cannot be read, or is not what was announced any more.
  package mutating func failRead(_ transfer: UInt64, reason: String) {
    if let upload = uploads[transfer] {
      postArtifactError(transfer, id: upload.artifact.id, reason: reason, to: upload.peer)
      endUpload(transfer)
    } else if textUploads.removeValue(forKey: transfer) != nil {
      emit(.uploadEnded(transfer: transfer))
    }
  }

  // MARK: In: the receiver

  mutating func handleRequest(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    // Profile A names it differently; a page of the references knows no transfer before the first chunk.
    guard let id = fields.id("id") ?? fields.id("artifactId") else { throw .badPayload }
    guard peers[peer]?.dialect == .extended else { return startTextUpload(id, to: peer, now: now) }
    guard let number = fields.text("transferId"), let transfer = UInt64(number, radix: 16) else { throw .badPayload }
    guard let artifact = offers[id] else {
      return postArtifactError(transfer, id: id, reason: "Not offered", to: peer)
    }
    guard let offset = fields.integer("offset"), (0...artifact.size).contains(offset) else { throw .badPayload }
    if let running = uploads[transfer] {
      // Asked again from where it stopped.
      guard running.peer == peer, running.artifact == artifact else { throw .badPayload }
    } else {
      guard uploads.count + textUploads.count < SwarmLimits.maximumUploads,
        peers[peer]?.uploadCount ?? .max < SwarmLimits.maximumUploadsPerPeer
      else { return postArtifactError(transfer, id: id, reason: "Busy", to: peer) }
      peers[peer]?.uploadCount += 1
    }
    uploads[transfer] = Upload(peer: peer, artifact: artifact, offset: offset, now: now)
    requestReads(transfer)
  }

  mutating func handleAcknowledgement(_ frame: BulkFrame, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let upload = uploads[frame.transfer] else { throw .late }
    guard upload.peer == peer else { throw .unsolicited }
    guard frame.offset <= upload.sent else { throw .badPayload }
    guard frame.offset > upload.acknowledged else { return }
    uploads[frame.transfer]?.acknowledged = frame.offset
    uploads[frame.transfer]?.deadline = now + SwarmLimits.uploadPatience
    if frame.offset == upload.artifact.size { endUpload(frame.transfer) } else { requestReads(frame.transfer) }
  }

  mutating func handleCancel(_ fields: JSONFields, from peer: PeerID) throws(Rejection) {
    guard let number = fields.text("transferId"), let transfer = UInt64(number, radix: 16) else { throw .badPayload }
    guard let upload = uploads[transfer] else { throw .late }
    guard upload.peer == peer else { throw .unsolicited }
    endUpload(transfer)
  }

  private mutating func requestReads(_ transfer: UInt64) {
    guard let upload = uploads[transfer] else { return }
    var requested = upload.requested
    while requested < upload.artifact.size, requested - upload.acknowledged < SwarmLimits.windowBytes {
      let count = min(Int64(SwarmLimits.chunkBytes), upload.artifact.size - requested)
      emit(.readRequested(transfer: transfer, artifact: upload.artifact.id, offset: requested, count: Int(count)))
      requested += count
    }
    uploads[transfer]?.requested = requested
  }

  func isUploading(_ transfer: UInt64) -> Bool { uploads[transfer] != nil || textUploads[transfer] != nil }

  private mutating func endUpload(_ transfer: UInt64) {
    guard let upload = uploads.removeValue(forKey: transfer) else { return }
    peers[upload.peer]?.uploadCount -= 1
    emit(.uploadEnded(transfer: transfer))
  }

  private mutating func postArtifactError(_ transfer: UInt64, id: String, reason: String, to peer: PeerID) {
    let number = String(transfer, radix: 16)
    post(
      .artifactError, ["transferId": .string(number), "id": .string(id), "reason": .string(reason)], to: peer)
  }

  // MARK: Ends

  mutating func expireTransfers(now: Instant) {
    for (transfer, upload) in uploads where upload.deadline <= now { endUpload(transfer) }
    expireTextUploads(now: now)
    expireDownloads(now: now)
  }

  mutating func dropTransfers(of peer: PeerID, now: Instant) {
    for (transfer, upload) in uploads where upload.peer == peer { endUpload(transfer) }
    for (transfer, upload) in textUploads where upload.peer == peer { endTextUpload(transfer) }
    moveDownloads(from: peer, now: now)
  }
}

extension ArtifactDescription {
  /// An announcement's payload. `hash` is profile B's member; no page verifies it, and it need not be theirs.
  package var fields: JSONFields {
    let digest = hexText(sha256)
    return [
      "id": .string(id), "name": .string(name), "type": "file", "size": .number(size), "hash": .string(digest),
      "sha256": .string(digest),
    ]
  }

  /// Reads an announcement that can be fetched safely: a plain path, a size and a SHA-256.
  init(fields: JSONFields, maximumBytes: Int64) throws(Rejection) {
    guard let id = fields.id("id"), let name = fields.text("name"), let size = fields.integer("size") else {
      throw .badPayload
    }
    guard ArtifactPath.isSafeID(id), ArtifactPath.isSafeName(name) else { throw .badPayload }
    guard (0...maximumBytes).contains(size) else { throw .payloadTooLarge }
    guard let text = fields.text("sha256"), text.utf8.count == 64, let sha256 = bytes(hexText: text) else {
      throw .badPayload
    }
    self.init(id: id, name: name, size: size, sha256: sha256)
  }
}
