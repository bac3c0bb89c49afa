// STUNService.swift — a STUN server that answers Binding requests over UDP, beside the signalling server: enough for two
// peers behind NATs to find out how they look from outside.

import Net
import STUN
import Wire

/// Driven by its event loop only.
final class STUNService: EventLoopParticipant, @unchecked Sendable {
  private let loop: EventLoop
  private var responder = BindingResponder(random: .system)
  private var answers: [(route: Route, bytes: [UInt8])] = []
  private var registration: EventLoopRegistration?

  private init(loop: EventLoop) { self.loop = loop }

  /// Starts answering at `address`.
  ///
  /// - Returns: the service, and the address with the port that was chosen if none was asked for.
  static func start(at address: SocketAddress) async throws -> (service: STUNService, address: SocketAddress) {
    let service = STUNService(loop: try EventLoopGroup.shared.next())
    let bound = try await LoopPlace(loop: service.loop).run { try service.open(address) }
    return (service, bound)
  }

  func stop() async {
    do { try await LoopPlace(loop: loop).run { self.registration?.leave() } } catch {
      preconditionFailure("leaving a loop does not fail: \(error)")
    }
  }

  private func open(_ address: SocketAddress) throws(NetError) -> SocketAddress {
    let registration = loop.register(self)
    self.registration = registration
    do { return try registration.openSocket(address).localAddress } catch {
      registration.leave()
      throw error
    }
  }

  // MARK: The loop

  func datagramsArrived(batch: borrowing ReceiveBatch, socket: SocketID, now: Instant) {
    batch.forEach { bytes, route in
      // More than one batch holds is a flood: the rest gets no answer.
      guard answers.count < Self.maximumAnswers else { return }
      var isAnswered = false
      let answer = collectBytes(capacity: BindingResponder.maximumMessageSize) { out in
        isAnswered = responder.answer(bytes, from: route.remote, into: &out, now: now)
      }
      if isAnswered { answers.append((route, answer)) }
    }
  }

  func timeout(now: Instant) {}

  func drain(into batch: inout TransmitBatch, now: Instant) -> Bool {
    var sent = 0
    for answer in answers {
      guard batch.hasRoom(for: answer.bytes.count) else { break }
      sent += 1
      _ = batch.append(maximum: answer.bytes.count) { out in
        out.writeBytes(answer.bytes)
        return answer.route
      }
    }
    answers.removeFirst(sent)
    return !answers.isEmpty
  }

  var deadline: Instant? { nil }

  private static let maximumAnswers = 1_024
}

/// Runs work on a loop's thread.
private actor LoopPlace {
  private nonisolated let loop: EventLoop
  nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }
  init(loop: EventLoop) { self.loop = loop }
  func run<Result: Sendable>(_ work: @Sendable () throws -> Result) throws -> Result { try work() }
}
