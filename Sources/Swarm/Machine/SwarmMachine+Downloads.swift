// SwarmMachine+Downloads.swift — fetching an artifact from a peer that offers it.
//
// Bytes come in order and are handed on at once (`artifactBytes`); only their hash is kept. When they stop coming the
// request is repeated from where they stopped, and when the sender leaves another peer that offers the very same bytes
// goes on. What was received counts only when its SHA-256 is the announced one.

import Digest
import Signaling
package import Wire

struct Download {
  let artifact: ArtifactDescription
  var peer: PeerID
  var received: Int64 = 0
  var acknowledged: Int64 = 0
  let hash = RunningHash()
  /// Requests sent since bytes last came.
  var requests = 1
  var deadline: Instant
}

/// A hash that can live in a table, which `~Copyable` values cannot. Never shared: only the machine that made it uses it.
final class RunningHash {
  private var hash: SHA256? = SHA256()

  func update(_ bytes: ArraySlice<UInt8>) { hash?.update(unsafe bytes.span.bytes) }

  /// The hash of everything; ends the computation.
  func finalize() -> [UInt8] { hash.take()?.finalize() ?? [] }
}

extension SwarmMachine {
  // MARK: In: the user

  /// Starts to fetch the artifact from `source`, or else from the first connected peer that offers it;
  /// `downloadFinished` with the returned number ends it.
  package mutating func request(_ id: String, from source: PeerID? = nil, now: Instant) throws(ArtifactError)
    -> (transfer: UInt64, artifact: ArtifactDescription)
  {
    guard downloads.count < SwarmLimits.maximumDownloads else { throw .tooMany }
    let candidates = source.map { [$0] } ?? peersInOrder
    guard let peer = candidates.first(where: { canFetch(id, from: $0) }), let artifact = peers[peer]?.offers[id] else {
      throw .unknownArtifact
    }
    var transfer = random.next()
    while downloads[transfer] != nil || isUploading(transfer) { transfer = random.next() }
    downloads[transfer] = Download(
      artifact: artifact, peer: peer, deadline: now + SwarmLimits.downloadPatience)
    // Nothing has to be asked for when there is nothing: the receiver knows the hash of no bytes.
    if artifact.size == 0 { verify(transfer) } else { postRequest(transfer) }
    return (transfer, artifact)
  }

  /// The user does not want it any more, or cannot store it.
  package mutating func cancel(_ transfer: UInt64, _ error: ArtifactError = .cancelled) {
    guard let download = downloads[transfer] else { return }
    post(.artifactCancel, ["transferId": .string(String(transfer, radix: 16))], to: download.peer)
    finish(transfer, .failure(error))
  }

  private func canFetch(_ id: String, from peer: PeerID) -> Bool {
    guard let record = peers[peer], record.dialect == .extended else { return false }
    return record.offers[id] != nil
  }

  // MARK: In: the sender

  mutating func handleAnnounce(_ fields: JSONFields, from peer: PeerID) throws(Rejection) {
    let artifact = try ArtifactDescription(fields: fields, maximumBytes: configuration.maximumArtifactBytes)
    guard let known = peers[peer]?.offers else { return }
    guard known[artifact.id] != artifact else { return }
    guard known[artifact.id] != nil || known.count < SwarmLimits.maximumOffers else { throw .tableFull }
    peers[peer]?.offers[artifact.id] = artifact
    emit(.artifactOffered(peer, artifact))
  }

  mutating func handleChunk(_ frame: BulkFrame, _ data: ArraySlice<UInt8>, from peer: PeerID, now: Instant)
    throws(Rejection)
  {
    guard let download = downloads[frame.transfer] else { throw .late }
    guard download.peer == peer else { throw .unsolicited }
    let remaining = download.artifact.size - download.received
    // Not the next bytes: sent before the request was repeated. Whatever is missing is asked for when time is up.
    guard frame.offset == download.received else { return }
    guard data.count <= SwarmLimits.chunkBytes, Int64(data.count) <= remaining else { throw .payloadTooLarge }
    download.hash.update(data)
    let received = download.received + Int64(data.count)
    downloads[frame.transfer]?.received = received
    downloads[frame.transfer]?.requests = 0
    downloads[frame.transfer]?.deadline = now + SwarmLimits.downloadPatience
    emit(.artifactBytes(transfer: frame.transfer, data))
    let isComplete = received == download.artifact.size
    if isComplete || received - download.acknowledged >= SwarmLimits.acknowledgeBytes {
      acknowledge(frame.transfer, received, to: peer)
    }
    if isComplete { verify(frame.transfer) }
  }

  mutating func handleArtifactError(_ fields: JSONFields, from peer: PeerID, now: Instant) throws(Rejection) {
    guard let number = fields.text("transferId"), let transfer = UInt64(number, radix: 16) else { throw .badPayload }
    guard let download = downloads[transfer] else { throw .late }
    guard download.peer == peer else { throw .unsolicited }
    peers[peer]?.offers[download.artifact.id] = nil  // so that it is not asked again
    resume(transfer, otherwise: .refused(reason: fields.text("reason") ?? ""), now: now)
  }

  private mutating func acknowledge(_ transfer: UInt64, _ offset: Int64, to peer: PeerID) {
    downloads[transfer]?.acknowledged = offset
    let lane: Lane = peers[peer]?.isBulkOpen == true ? .bulk : .main
    let frame = BulkFrame(kind: .acknowledgement, transfer: transfer, offset: offset)
    queue(.binary(frame.bytes()), to: peer, lane: lane)
  }

  private mutating func postRequest(_ transfer: UInt64) {
    guard let download = downloads[transfer] else { return }
    let fields: JSONFields = [
      "id": .string(download.artifact.id), "transferId": .string(String(transfer, radix: 16)),
      "offset": .number(download.received),
    ]
    post(.artifactRequest, fields, to: download.peer)
  }

  // MARK: Ends

  private mutating func verify(_ transfer: UInt64) {
    guard let download = downloads[transfer] else { return }
    let isGenuine = download.hash.finalize() == download.artifact.sha256
    finish(transfer, isGenuine ? .success(download.artifact) : .failure(.hashMismatch))
  }

  private mutating func finish(_ transfer: UInt64, _ result: Result<ArtifactDescription, ArtifactError>) {
    guard downloads.removeValue(forKey: transfer) != nil else { return }
    emit(.downloadFinished(transfer: transfer, result))
  }

  mutating func expireDownloads(now: Instant) {
    for (transfer, download) in downloads where download.deadline <= now {
      guard download.requests < SwarmLimits.maximumRequests else {
        cancel(transfer, .timedOut)
        continue
      }
      downloads[transfer]?.requests += 1
      downloads[transfer]?.deadline = now + SwarmLimits.downloadPatience
      postRequest(transfer)
    }
  }

  mutating func moveDownloads(from peer: PeerID, now: Instant) {
    for (transfer, download) in downloads where download.peer == peer {
      resume(transfer, otherwise: .peerLeft(peer), now: now)
    }
  }

  /// Goes on with another peer that offers the same bytes.
  private mutating func resume(_ transfer: UInt64, otherwise error: ArtifactError, now: Instant) {
    guard let artifact = downloads[transfer]?.artifact else { return }
    let next = peersInOrder.first { canFetch(artifact.id, from: $0) && peers[$0]?.offers[artifact.id] == artifact }
    guard let next else { return finish(transfer, .failure(error)) }
    downloads[transfer]?.peer = next
    downloads[transfer]?.requests = 1
    downloads[transfer]?.deadline = now + SwarmLimits.downloadPatience
    postRequest(transfer)
  }
}
