// BenchSignaling.swift — brings the two processes of a measurement together: one hosts a signalling server, both join
// its one room, and connections are numbered so that several can be negotiated.

import Foundation
import Signaling
import SignalingTransport
import Synchronization
import WebRTC

/// One process's end of the signalling.
final class BenchSignaling: Sendable {
  enum Event: Sendable {
    case peerJoined
    case peerLeft
    case offer(connection: Int, SessionDescription)
  }

  enum Role: String, Sendable { case driver, responder }

  private static let room = "bench"
  private let client: SignalingClient
  private let role: Role
  /// Joins, departures and offers; answers go to the connections they are for.
  let events: AsyncStream<Event>
  private let eventContinuation: AsyncStream<Event>.Continuation
  private let connections = Mutex<[Int: PeerConnection]>([:])
  private let reader = Mutex<Task<Void, Never>?>(nil)

  init(url: String, role: Role) async throws {
    var configuration = SignalingClient.Configuration()
    configuration.reconnect = nil
    client = SignalingClient(configuration: configuration)
    self.role = role
    (events, eventContinuation) = AsyncStream.makeStream()
    try await client.connect(url: url)
    try await client.send(.join(.init(peerID: role.rawValue, roomID: Self.room)))
    let task = Task { [weak self, client] in
      for await message in client.messages {
        guard let self else { return }
        await self.handle(message)
      }
      self?.eventContinuation.finish()
    }
    reader.withLock { $0 = task }
  }

  func close() async {
    await client.close()
    reader.withLock { $0?.cancel() }
  }

  // MARK: Negotiating

  /// Offers `connection`; the answer finds its way to it. All candidates travel inside the description: those of this host
  /// are known at once, and servers are waited for.
  func offer(_ connection: PeerConnection, number: Int) async throws {
    connections.withLock { $0[number] = connection }
    try await connection.setLocalDescription(try await connection.createOffer())
    if !connection.configuration.iceServers.isEmpty {
      for await candidate in connection.localCandidates where candidate.isEndOfCandidates { break }
    }
    try await send(await connection.localDescription, connection: number)
  }

  /// Answers an offer with `connection`.
  func answer(_ offer: SessionDescription, with connection: PeerConnection, number: Int) async throws {
    connections.withLock { $0[number] = connection }
    try await connection.setRemoteDescription(offer)
    try await connection.setLocalDescription(try await connection.createAnswer())
    if !connection.configuration.iceServers.isEmpty {
      for await candidate in connection.localCandidates where candidate.isEndOfCandidates { break }
    }
    try await send(await connection.localDescription, connection: number)
  }

  func forget(_ number: Int) { connections.withLock { $0[number] = nil } }

  private func send(_ description: SessionDescription?, connection: Int) async throws {
    guard let description else { throw PeerConnectionError.closed }
    let payload: JSONValue = [
      "type": .string(description.type.rawValue), "sdp": .string(description.sdp),
      "swarm": ["connection": .integer(connection)],
    ]
    switch description.type {
    case .offer: try await client.send(.offer(directed(payload)))
    case .answer: try await client.send(.answer(directed(payload)))
    }
  }

  private func directed(_ payload: JSONValue) -> SignalingMessage.Directed {
    let other: Role = role == .driver ? .responder : .driver
    return .init(peerID: role.rawValue, targetPeer: other.rawValue, payload: payload)
  }

  private func handle(_ message: SignalingMessage) async {
    do {
      switch message {
      case .peerJoined: eventContinuation.yield(.peerJoined)
      case .peerLeft, .serverShutdown: eventContinuation.yield(.peerLeft)
      case .joined(let joined) where !joined.peers.isEmpty: eventContinuation.yield(.peerJoined)
      case .offer(let directed):
        guard let number = directed.payload["swarm"]?["connection"]?.intValue,
          let sdp = directed.payload["sdp"]?.stringValue
        else { return }
        eventContinuation.yield(.offer(connection: number, SessionDescription(type: .offer, sdp: sdp)))
      case .answer(let directed):
        guard let connection = connection(of: directed), let sdp = directed.payload["sdp"]?.stringValue else { return }
        try await connection.setRemoteDescription(SessionDescription(type: .answer, sdp: sdp))
      case .error(let refused): StandardError.write("signalling: \(refused.message)")
      default: break
      }
    } catch {
      StandardError.write("signalling: \(error)")
    }
  }

  private func connection(of directed: SignalingMessage.Directed) -> PeerConnection? {
    guard let number = directed.payload["swarm"]?["connection"]?.intValue else { return nil }
    return connections.withLock { $0[number] }
  }
}
