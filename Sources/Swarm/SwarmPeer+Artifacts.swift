// SwarmPeer+Artifacts.swift — offering and fetching files, and their bytes between the machine and the disk.

import Logging
import Signaling
import Wire

extension SwarmPeer {
  /// Offers a file to everyone; they verify its SHA-256. It must stay as it is.
  ///
  /// - Parameter id: its path-like name in the swarm; nil takes the file's own name.
  public func announceArtifact(file path: String, id: String? = nil) async throws(ArtifactError) -> ArtifactDescription
  {
    let name = String(path.split(separator: "/").last ?? "")
    return try await announce(.file(path), id: id ?? name, name: name)
  }

  /// Offers bytes in memory to everyone.
  public func announceArtifact(_ bytes: [UInt8], id: String, name: String) async throws(ArtifactError)
    -> ArtifactDescription
  {
    try await announce(.memory(bytes), id: id, name: name)
  }

  private func announce(_ source: ArtifactSource, id: String, name: String) async throws(ArtifactError)
    -> ArtifactDescription
  {
    guard phase == .joined else { throw .disconnected }
    let (size, sha256) = try await Self.measure(source)
    let artifact = ArtifactDescription(id: id, name: name, size: size, sha256: sha256)
    guard phase == .joined else { throw .disconnected }
    try machine.offer(artifact)
    sources[id] = source
    drain()
    return artifact
  }

  /// Reads a whole file, so not on the actor.
  private nonisolated static func measure(_ source: ArtifactSource) async throws(ArtifactError) -> (Int64, [UInt8]) {
    try ArtifactReader(source).measure()
  }

  /// What the connected peers offer.
  public var offeredArtifacts: [PeerID: [ArtifactDescription]] {
    machine.peers.mapValues { Array($0.offers.values) }
  }

  /// Fetches an artifact that `source`, or else any connected peer, offers, and verifies it. Another peer that offers the
  /// same bytes takes over when one leaves.
  @discardableResult
  public func requestArtifact(_ id: String, from source: PeerID? = nil, to destination: ArtifactDestination = .memory)
    async throws(ArtifactError) -> ReceivedArtifact
  {
    guard phase == .joined else { throw .disconnected }
    let (transfer, artifact) = try machine.request(id, from: source, now: SwarmClock.now())
    do {
      writers[transfer] = try ArtifactWriter(artifact, to: destination, transfer: transfer)
    } catch {
      machine.cancel(transfer, error)
      drain()
      throw error
    }
    let result = await withCheckedContinuation { waiter in
      downloadWaiters[transfer] = waiter
      drain()
    }
    return try result.get()
  }

  /// Decides for each artifact that somebody offers whether and where to fetch it; `artifactReceived` follows.
  public func registerArtifactHandler(_ handler: ArtifactHandler?) { artifactHandler = handler }

  // MARK: What the machine wants

  func consider(_ artifact: ArtifactDescription, from peer: PeerID) {
    eventSink.yield(.artifactOffered(peer, artifact))
    guard let artifactHandler else { return }
    Task {
      guard let destination = await artifactHandler(peer, artifact) else { return }
      do {
        try await requestArtifact(artifact.id, from: peer, to: destination)
      } catch {
        configuration.logger.warning("artifact \(artifact.id) of \(peer) not received: \(error)")
      }
    }
  }

  func read(_ transfer: UInt64, _ artifact: String, at offset: Int64, count: Int) {
    guard let source = sources[artifact] else { return machine.failRead(transfer, reason: "Not offered any more") }
    do {
      let reader: ArtifactReader
      if let open = readers[transfer] {
        reader = open
      } else {
        reader = try ArtifactReader(source)
        readers[transfer] = reader
      }
      let bytes = try reader.read(at: offset, count: count)
      guard bytes.count == count else { return machine.failRead(transfer, reason: "The file has changed") }
      machine.provide(transfer, offset: offset, bytes, now: SwarmClock.now())
    } catch {
      configuration.logger.warning("artifact \(artifact) cannot be read: \(error)")
      machine.failRead(transfer, reason: "The file cannot be read")
    }
  }

  func write(_ transfer: UInt64, _ bytes: ArraySlice<UInt8>) {
    do {
      try writers[transfer]?.write(bytes)
    } catch {
      machine.cancel(transfer, error)
    }
  }

  func finishDownload(_ transfer: UInt64, _ result: Result<ArtifactDescription, ArtifactError>) {
    let writer = writers.removeValue(forKey: transfer)
    let waiter = downloadWaiters.removeValue(forKey: transfer)
    guard let writer else {
      waiter?.resume(returning: .failure(result.failure ?? .cancelled))
      return
    }
    do throws(ArtifactError) {
      let received = try writer.finish(try result.get())
      eventSink.yield(.artifactReceived(received))
      waiter?.resume(returning: .success(received))
    } catch {
      waiter?.resume(returning: .failure(error))
    }
  }
}

extension Result {
  fileprivate var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
