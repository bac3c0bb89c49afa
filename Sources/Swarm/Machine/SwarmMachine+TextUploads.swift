// SwarmMachine+TextUploads.swift — sending a text artifact to a page of the references (WIRE §5.4, §6.5).
//
// Their channel is only partly reliable and their messages are JSON text, so pieces are small, few are unacknowledged,
// and an unacknowledged one is sent again. A file they could not take is answered with silence, as they do it.

import Signaling
import Wire

package struct TextUpload: Sendable {
  let peer: PeerID
  let artifact: ArtifactDescription
  var chunks: [String] = []
  /// Chunks sent and not acknowledged: how often, and when they are due again.
  var unacknowledged: [Int: (resends: Int, due: Instant)] = [:]
  var next = 0
  /// When the content was asked for, until it is there.
  var patience: Instant

  var deadline: Instant { unacknowledged.values.map(\.due).min() ?? patience }
}

extension SwarmMachine {
  mutating func startTextUpload(_ id: String, to peer: PeerID, now: Instant) {
    guard let artifact = offers[id], artifact.size > 0,
      artifact.size <= Int64(SwarmLimits.maximumTextArtifactBytes),
      uploads.count + textUploads.count < SwarmLimits.maximumUploads,
      peers[peer]?.uploadCount ?? .max < SwarmLimits.maximumUploadsPerPeer
    else { return }
    var transfer = random.next()
    while isUploading(transfer) || downloads[transfer] != nil { transfer = random.next() }
    textUploads[transfer] = TextUpload(
      peer: peer, artifact: artifact, patience: now + SwarmLimits.uploadPatience)
    peers[peer]?.uploadCount += 1
    emit(.readRequested(transfer: transfer, artifact: id, offset: 0, count: Int(artifact.size)))
  }

  mutating func provideText(_ transfer: UInt64, _ bytes: [UInt8], now: Instant) {
    guard let upload = textUploads[transfer] else { return }
    guard let text = String(validating: bytes, as: UTF8.self),
      text.utf16.count <= SwarmLimits.maximumTextArtifactUnits
    else { return endTextUpload(transfer) }
    if peers[upload.peer]?.dialect == .bare {
      // Profile A has no chunks: it takes the file as knowledge (WIRE A-3).
      postKnowledge(id: upload.artifact.id, content: text, to: upload.peer, now: now)
      return endTextUpload(transfer)
    }
    textUploads[transfer]?.chunks = Self.chunks(of: text)
    sendTextChunks(transfer, now: now)
  }

  mutating func handleTextAcknowledgement(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let transfer = fields.text("transferId").flatMap(Self.transferNumber), let sequence = fields.integer("seq")
    else { throw .badPayload }
    guard let upload = textUploads[transfer] else { throw .late }
    guard upload.peer == peer else { throw .unsolicited }
    guard textUploads[transfer]?.unacknowledged.removeValue(forKey: Int(sequence)) != nil else { return }
    sendTextChunks(transfer, now: now)
  }

  private mutating func sendTextChunks(_ transfer: UInt64, now: Instant) {
    guard var upload = textUploads[transfer] else { return }
    while upload.next < upload.chunks.count,
      upload.unacknowledged.count < SwarmLimits.maximumTextUnacknowledged
    {
      upload.unacknowledged[upload.next] = (0, now + SwarmLimits.textResendInterval)
      postTextChunk(transfer, upload, upload.next)
      upload.next += 1
    }
    textUploads[transfer] = upload
    if upload.unacknowledged.isEmpty { endTextUpload(transfer) }
  }

  private mutating func postTextChunk(_ transfer: UInt64, _ upload: TextUpload, _ sequence: Int) {
    var fields: JSONFields = [
      "transferId": .string(Self.transferName(transfer)), "artifactId": .string(upload.artifact.id),
      "seq": .integer(sequence), "total": .integer(upload.chunks.count), "data": .string(upload.chunks[sequence]),
    ]
    if sequence == 0 { fields["sha256"] = .string(hexText(upload.artifact.sha256)) }
    post(.artifactChunk, fields, to: upload.peer)
  }

  mutating func expireTextUploads(now: Instant) {
    for (transfer, upload) in textUploads where upload.deadline <= now {
      guard !upload.unacknowledged.isEmpty else {
        endTextUpload(transfer)
        continue
      }
      for (sequence, state) in upload.unacknowledged where state.due <= now {
        guard state.resends < SwarmLimits.maximumTextResends else {
          endTextUpload(transfer)
          break
        }
        textUploads[transfer]?.unacknowledged[sequence] = (state.resends + 1, now + SwarmLimits.textResendInterval)
        postTextChunk(transfer, upload, sequence)
      }
    }
  }

  mutating func endTextUpload(_ transfer: UInt64) {
    guard let upload = textUploads.removeValue(forKey: transfer) else { return }
    peers[upload.peer]?.uploadCount -= 1
    emit(.uploadEnded(transfer: transfer))
  }

  /// Cuts at scalar boundaries, so that no surrogate pair is cut, and counts what JSON escapes at its escaped length.
  static func chunks(of text: String) -> [String] {
    var chunks: [String] = []
    var chunk = String.UnicodeScalarView()
    var units = 0
    for scalar in text.unicodeScalars {
      let size = scalar.value < 0x20 ? 6 : scalar == "\"" || scalar == "\\" ? 2 : UTF16.width(scalar)
      if units + size > textChunkUnits {
        chunks.append(String(chunk))
        chunk = String.UnicodeScalarView()
        units = 0
      }
      chunk.append(scalar)
      units += size
    }
    if !chunk.isEmpty { chunks.append(String(chunk)) }
    return chunks
  }

  private static let textChunkUnits = 32_768  // the references' own

  private static func transferName(_ transfer: UInt64) -> String { "xfer_" + String(transfer, radix: 16) }

  private static func transferNumber(_ name: String) -> UInt64? {
    name.hasPrefix("xfer_") ? UInt64(name.dropFirst(5), radix: 16) : nil
  }
}
