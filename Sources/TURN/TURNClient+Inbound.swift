// TURNClient+Inbound.swift — what comes from the server: answers, Data indications, ChannelData (RFC 8656 §7.3, §8.3,
// §11.4, §12.6; RFC 8489 §9.2.5).

import STUN
package import Wire

extension TURNClient {
  /// Takes a datagram, or a message that was cut from the stream (RFC 8656 §12.5), that came from the server.
  package mutating func handle(_ datagram: RawSpan, now: Instant) -> TURNInbound {
    guard datagram.byteCount >= 4 else { return .notForUs }
    // RFC 7983: 0…3 is STUN, 64…79 a TURN channel.
    switch datagram.byte(at: 0) {
    case 64...79: return handleChannelData(datagram, now: now)
    case 0...3: return handleMessage(datagram, now: now)
    default: return .notForUs
    }
  }

  // MARK: Payload

  private mutating func handleChannelData(_ datagram: RawSpan, now: Instant) -> TURNInbound {
    let number = datagram.uint16(at: 0)
    let length = Int(datagram.uint16(at: 2))
    // What follows the length is padding, or on a datagram to be ignored (RFC 8656 §12.6).
    guard length <= datagram.byteCount - 4 else {
      statistics.malformed += 1
      return .consumed
    }
    guard let peer = peers.peer(ofChannel: number) else {
      statistics.ignored += 1
      return .consumed
    }
    return .payload(peer: peer, range: 4..<(4 + length))
  }

  private mutating func handleData(_ datagram: RawSpan) throws(Malformed) -> TURNInbound {
    let message = try STUNMessage(datagram)
    var peer: SocketAddress?
    var range: Range<Int>?
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      // Of an attribute that is there twice the first counts (RFC 8489 §14).
      case .xorPeerAddress(let address): peer = peer ?? address
      case .data(let bytes): range = range ?? attributes.valueOffset..<(attributes.valueOffset + bytes.byteCount)
      default: break
      }
    }
    // Without DATA it reports an ICMP error (RFC 8656 §11.6), of which ICE learns in its own way.
    guard message.unknownRequiredTypes.isEmpty, let peer, let range, peers.isPermitted(peer.ip) else {
      statistics.ignored += 1
      return .consumed
    }
    return .payload(peer: peer, range: range)
  }

  // MARK: Answers

  private mutating func handleMessage(_ datagram: RawSpan, now: Instant) -> TURNInbound {
    do throws(Malformed) {
      let header = try STUNHeader.read(from: datagram).header
      switch header.messageClass {
      case .request: return .notForUs
      case .indication: return header.method == .data ? try handleData(datagram) : .notForUs
      case .successResponse, .errorResponse: break
      }
      guard let index = requests.firstIndex(where: { $0.transaction.id == header.id }) else {
        guard Self.methods.contains(header.method) else { return .notForUs }
        statistics.ignored += 1  // it was answered before
        return .consumed
      }
      try handleResponse(try STUNMessage(datagram), to: index, now: now)
      settle(now: now)
    } catch {
      statistics.malformed += 1
    }
    return .consumed
  }

  private static let methods: [STUNMethod] = [.allocate, .refresh, .createPermission, .channelBind]

  private mutating func handleResponse(
    _ message: borrowing STUNMessage, to index: Int, now: Instant
  ) throws(Malformed) {
    // What cannot be understood is no answer (RFC 8489 §6.3.3).
    guard message.header.method == requests[index].purpose.method, message.unknownRequiredTypes.isEmpty else {
      statistics.ignored += 1
      return
    }
    var refusal: STUNErrorResponse?
    if message.header.messageClass == .errorResponse {
      refusal = try STUNErrorResponse(message)
      guard refusal != nil else { throw .badValue }
    }
    // A challenge cannot be signed: it is how one learns what to sign with.
    if let refusal, refusal.code == 401 || refusal.code == 438 {
      challenged(requests.remove(at: index), refusal, now: now)
      return
    }
    if requests[index].isSigned {
      switch try authentication.authenticity(of: message) {
      case .authentic: break
      case .absent where refusal != nil:
        statistics.unauthenticated += 1
        // Nobody gets between the messages of a stream but who could end it as well.
        guard configuration.transport == .datagram else { break }
        requests[index].heldRefusal = refusal
        return
      case .absent, .wrong:
        statistics.unauthenticated += 1
        requests[index].sawForgery = true
        if configuration.transport == .stream { end(.timedOut(integrityFailed: true)) }
        return
      }
    }
    let success = try TURNSuccess(message)
    let request = requests.remove(at: index)
    if let refusal {
      refused(request, refusal, now: now)
    } else {
      succeeded(request, success, now: now)
    }
  }

  private mutating func challenged(_ request: TURNRequest, _ challenge: STUNErrorResponse, now: Instant) {
    switch authentication.handle(challenge: challenge, wasSigned: request.isSigned) {
    case .retry where request.attempt < TURNLimits.attempts:
      begin(request.purpose, attempt: request.attempt + 1, now: now)
    case .retry, .unauthorized: end(.unauthorized)
    case .unsupported: end(.authenticationUnsupported)
    }
  }

  // MARK: Success

  private mutating func succeeded(_ request: TURNRequest, _ success: TURNSuccess, now: Instant) {
    // Counted from when it was first sent, the server's clock cannot be ahead of ours.
    let since = request.transaction.sentAt
    switch request.purpose {
    case .allocate: allocated(success, since: since, now: now)
    case .refresh:
      guard case .allocated(var allocation) = state else { return }
      guard let times = Self.times(of: success, since: since, now: now) else { return end(.expired) }
      (allocation.expiresAt, allocation.refreshAt) = times
      state = .allocated(allocation)
    case .release: end(.expired)
    case .permission(let addresses): for ip in addresses { peers.granted(ip, since: since, now: now) }
    case .channel(let number, let peer): peers.bound(number, to: peer, since: since, now: now)
    }
  }

  private mutating func allocated(_ success: TURNSuccess, since: Instant, now: Instant) {
    guard let relayed = success.relayed, let mapped = success.mapped,
      let times = Self.times(of: success, since: since, now: now),
      configuration.family.map({ $0 == STUNAddressFamily(relayed.ip) }) ?? true
    else {
      events.append(.failed(.malformedResponse))
      // There may be an allocation all the same, of which we can make no use (RFC 8656 §7.3).
      state = .closing
      begin(.release, now: now)
      return
    }
    state = .allocated(Allocation(relayed: relayed, mapped: mapped, expiresAt: times.expiry, refreshAt: times.refresh))
    events.append(.allocated(relayed: relayed, mapped: mapped))
  }

  /// Nil when so short a lifetime is granted that there is no point in it.
  private static func times(
    of success: TURNSuccess, since: Instant, now: Instant
  ) -> (expiry: Instant, refresh: Instant?)? {
    let seconds = min(Int64(success.lifetime ?? TURNLimits.defaultLifetime), TURNLimits.maximumLifetime)
    let lifetime = Interval.seconds(seconds)
    // A minute before the end leaves time for all retransmissions; of a short lifetime half.
    let wait = max(lifetime - TURNLimits.refreshMargin, lifetime / 2)
    guard seconds >= TURNLimits.minimumLifetime, since + wait > now else { return nil }
    return (since + lifetime, since + wait)
  }

  // MARK: Refusal

  mutating func refused(_ request: TURNRequest, _ refusal: STUNErrorResponse, now: Instant) {
    let code = refusal.code
    switch request.purpose {
    case .allocate:
      if code == 300, let server = refusal.alternateServer {
        events.append(.redirected(to: server, domain: refusal.alternateDomain))
        clear()
        state = .ended
      } else {
        end(code == 437 ? .mismatch : .refused(code: code))
      }
    case .refresh:
      guard case .allocated(var allocation) = state else { return }
      if code / 100 == 5 {
        // The server's trouble may pass before the allocation does.
        allocation.refreshAt = now + TURNLimits.refreshRetry
        state = .allocated(allocation)
      } else {
        end(code == 437 ? .mismatch : .refused(code: code))
      }
    case .release: end(.refused(code: code))
    case .permission(let addresses):
      guard code != 437 else { return end(.mismatch) }
      if addresses.count > 1 {
        // One that is forbidden spoils it for all (RFC 8656 §10.2): each is asked for by itself.
        for ip in addresses { peers.askAlone(ip) }
      } else if let ip = addresses.first {
        peers.refused(ip, now: now)
        events.append(.permissionRefused(ip, code: code))
      }
    case .channel(let number, _):
      guard code != 437 else { return end(.mismatch) }
      peers.notBound(number, now: now)
    }
  }
}

/// What a success response says.
struct TURNSuccess: Sendable {
  private(set) var relayed: SocketAddress?
  private(set) var mapped: SocketAddress?
  private(set) var lifetime: UInt32?

  init(_ message: borrowing STUNMessage) throws(Malformed) {
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      case .xorRelayedAddress(let address): relayed = relayed ?? address
      case .xorMappedAddress(let address): mapped = mapped ?? address
      case .lifetime(let seconds): lifetime = lifetime ?? seconds
      default: break
      }
    }
  }
}
