// ReflexiveSearch.swift — what one of our sockets looks like from one STUN server (RFC 8445 §5.1.1.2), asked once and
// then from time to time, which also keeps the NAT's binding alive (§11).

import DTLS
import STUN
import Wire

final class ReflexiveSearch {
  /// The address of the socket that asks.
  let base: SocketAddress
  private(set) var link: ServerLink
  private(set) var client: BindingClient?
  /// When to ask next; nil while an answer is awaited, or when there is nothing left to ask.
  private(set) var askAt: Instant?
  private(set) var mapped: SocketAddress?
  private(set) var roundTrip: Interval?
  /// Whether the search for candidates still waits for the answer.
  private(set) var isPending = true
  private let giveUpAt: Instant
  private let serverName: ServerName?

  enum Outcome {
    case found(SocketAddress)
    case failed(String)
  }

  init(
    base: SocketAddress, route: Route, secure name: ServerName?, startingAt start: Instant
  ) throws(DTLSError) {
    self.base = base
    serverName = name
    link = try ServerLink(
      route: route, secure: name, maximumDatagramSize: ServerLink.maximumHandshakeDatagram)
    askAt = start
    giveUpAt = start + Gathering.patience
  }

  /// Takes a datagram from the server's address.
  ///
  /// - Returns: whether it was an answer to this search.
  func handle(_ datagram: RawSpan, now: Instant) -> Bool {
    var isOurs = link.isSecure
    link.open(datagram, now: now) { message in
      if client?.handle(message, now: now) == true { isOurs = true }
    }
    return isOurs
  }

  func handleTimeout(random: inout RandomSource, now: Instant) {
    link.handleTimeout(now: now)
    if let due = askAt, due <= now {
      askAt = nil
      if client == nil, mapped == nil { link.start(now: now) }
      client = BindingClient(random: &random, now: now)
    }
    if let due = client?.deadline, due <= now { client?.handleTimeout(now: now) }
  }

  /// What has come of it since it was last asked.
  ///
  /// - Parameter keepsAlive: whether to ask again later.
  func pollOutcome(keepsAlive: Bool, now: Instant) -> Outcome? {
    guard let event = client?.pollEvent() else {
      if let failure = link.failure, isPending { return finish(.failed("DTLS: \(failure)")) }
      guard isPending, giveUpAt <= now else { return nil }
      return finish(.failed("no answer"))
    }
    client = nil
    switch event {
    case .succeeded(let address, let roundTrip):
      self.roundTrip = roundTrip ?? self.roundTrip
      if keepsAlive { askAt = now + Self.keepAliveInterval }
      guard mapped != address else { return nil }
      mapped = address
      isPending = false
      return .found(address)
    case .redirected(let server, _): return isPending ? finish(.failed("it names another server, \(server)")) : nil
    case .refused(let code): return isPending ? finish(.failed("error \(code)")) : nil
    case .timedOut:
      if !isPending, keepsAlive { askAt = now + Self.keepAliveInterval }
      return isPending ? finish(.failed("no answer")) : nil
    }
  }

  private func finish(_ outcome: Outcome) -> Outcome {
    isPending = false
    client = nil
    askAt = nil
    return outcome
  }

  /// Nothing is asked any more, but for an answer that is still awaited.
  func stopKeepingAlive() { if !isPending { askAt = nil } }

  var deadline: Instant? {
    let due = earliest(earliest(askAt, link.deadline), link.isReady ? client?.deadline : nil)
    return isPending ? earliest(due, giveUpAt) : due
  }

  func transmit(into batch: inout TransmitBatch) -> Bool {
    if link.transmitHandshake(into: &batch) { return true }
    return link.transmit(into: &batch, maximum: BindingClient.maximumMessageSize) { out in
      client?.pollTransmit(into: &out) == true
    }
  }

  /// RFC 8445 §11: Tr, at least 15 s; the shortest bindings of NATs live 30 s (RFC 4787 §4.3 asks for two minutes).
  private static let keepAliveInterval = Interval.seconds(15)
}
