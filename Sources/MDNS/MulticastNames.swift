// MulticastNames.swift — answers for this host's own `.local` names, and resolves those of peers, by multicast DNS
// (RFC 6762; draft-ietf-mmusic-mdns-ice-candidates).
//
// A subset: names are random, so there is no probing (§8.1) and no conflict; each has one address; nothing is cached,
// because a candidate is looked up once. Only names that were asked for or registered cause any work.
//
// In: registrations, questions, datagrams, the time. Out: datagrams with their destination, addresses.

import DequeModule
package import Wire

package struct MulticastNames: ~Copyable {
  package enum Event: Hashable, Sendable {
    /// At most `maximumAddresses`.
    case resolved(DNSName, [IPAddress])
    /// Nobody has answered.
    case unresolved(DNSName)
  }

  package enum Destination: Hashable, Sendable {
    /// 224.0.0.251 and ff02::fb, port 5353, on every socket.
    case group
    /// Through the socket on which the question came.
    case host(Route)
  }

  package struct Statistics: Hashable, Sendable {
    package var queriesSent = 0
    package var answersSent = 0
    package var malformed = 0
    /// Answers that were not given: asked for too often, or too many at once.
    package var suppressed = 0
  }

  private struct Own {
    var address: IPAddress
    /// When the group was last told (§6: not again within a second).
    var toldAt: Instant?
  }

  private struct Query {
    var name: DNSName
    var attempts = 0
    var due: Instant
  }

  private struct Outgoing {
    var message: DNSMessage
    var destination: Destination
  }

  package private(set) var statistics = Statistics()
  private var own: [DNSName: Own] = [:]
  private var queries: [Query] = []
  private var outbox = Deque<Outgoing>()
  private var events = Deque<Event>()

  package init() {}

  // MARK: Own names

  /// From now on questions for `name` are answered with `address`; a second registration replaces the first.
  ///
  /// - Returns: false when there are too many.
  package mutating func register(_ name: DNSName, _ address: IPAddress) -> Bool {
    guard own[name] != nil || own.count < Self.maximumOwnNames else { return false }
    own[name] = Own(address: address)
    return true
  }

  package mutating func unregister(_ name: DNSName) { own[name] = nil }

  // MARK: Others' names

  /// Looks a name up. An event tells the outcome; asking again for a name under way changes nothing.
  ///
  /// - Returns: false for a name that multicast DNS does not serve, or when too many are under way.
  package mutating func resolve(_ name: DNSName, now: Instant) -> Bool {
    guard name.isLocal else { return false }
    if let own = own[name] {
      events.append(.resolved(name, [own.address]))
      return true
    }
    guard !queries.contains(where: { $0.name == name }) else { return true }
    guard queries.count < Self.maximumQueries else { return false }
    queries.append(Query(name: name, due: now))
    ask(queries.count - 1, now: now)
    return true
  }

  // MARK: In

  /// Takes a datagram of one of the sockets; `route` is where it came from.
  package mutating func handle(_ datagram: RawSpan, route: Route, now: Instant) {
    let message: DNSMessage
    do { message = try DNSMessage(reading: datagram) } catch {
      statistics.malformed += 1
      return
    }
    if !message.isResponse {
      answer(message, route: route, now: now)
    } else if route.remote.port == Self.port {  // §11: others may not speak for the responders
      learn(message)
    }
  }

  package mutating func handleTimeout(now: Instant) {
    for index in queries.indices.reversed() where queries[index].due <= now {
      if queries[index].attempts < Self.maximumAttempts {
        ask(index, now: now)
      } else {
        events.append(.unresolved(queries.remove(at: index).name))
      }
    }
  }

  // MARK: Out

  /// Writes the next datagram; `out` must have room for `DNSMessage.maximumSize`.
  @_lifetime(out: copy out)
  package mutating func pollTransmit(into out: inout OutputRawSpan) -> Destination? {
    guard let next = outbox.popFirst() else { return nil }
    next.message.write(into: &out)
    if next.message.isResponse { statistics.answersSent += 1 } else { statistics.queriesSent += 1 }
    return next.destination
  }

  package mutating func pollEvent() -> Event? { events.popFirst() }

  package var deadline: Instant? { queries.map(\.due).min() }

  /// Whether there is nothing to listen for.
  package var isIdle: Bool { own.isEmpty && queries.isEmpty && outbox.isEmpty && events.isEmpty }

  // MARK: Inside

  /// Asks for both kinds of address; then again after one and three seconds (§5.2).
  private mutating func ask(_ index: Int, now: Instant) {
    var query = DNSMessage(id: 0, isResponse: false)
    for kind in [DNSQuestion.Kind.v4, .v6] {
      query.questions.append(DNSQuestion(name: queries[index].name, kind: kind, wantsUnicast: false))
    }
    outbox.append(Outgoing(message: query, destination: .group))
    queries[index].due = now + Self.firstWait * (1 << Int64(queries[index].attempts))
    queries[index].attempts += 1
  }

  private mutating func learn(_ message: DNSMessage) {
    for index in queries.indices.reversed() {
      var addresses: [IPAddress] = []
      for record in message.records where record.name == queries[index].name && record.timeToLive > 0 {
        guard Self.isUsable(record.address), !addresses.contains(record.address),
          addresses.count < Self.maximumAddresses
        else { continue }
        addresses.append(record.address)
      }
      if !addresses.isEmpty { events.append(.resolved(queries.remove(at: index).name, addresses)) }
    }
  }

  /// No peer can be reached there, whatever somebody on the network says.
  private static func isUsable(_ address: IPAddress) -> Bool { !address.isUnspecified && !address.isMulticast }

  private mutating func answer(_ query: DNSMessage, route: Route, now: Instant) {
    for question in query.questions {
      guard let entry = own[question.name], question.asks(for: entry.address) else { continue }
      guard outbox.count < Self.maximumOutbox else {
        statistics.suppressed += 1
        return
      }
      // Whoever asks from another port hears no multicast: a one-shot query (§6.7).
      let isOneShot = route.remote.port != Self.port
      var response = DNSMessage(id: isOneShot ? query.id : 0, isResponse: true)
      if isOneShot {
        response.questions = [question]
        response.questions[0].wantsUnicast = false
      }
      response.records = [
        DNSAddressRecord(
          name: question.name, address: entry.address,
          timeToLive: isOneShot ? Self.oneShotTimeToLive : Self.timeToLive, isUnique: !isOneShot)
      ]
      if isOneShot || question.wantsUnicast {
        outbox.append(Outgoing(message: response, destination: .host(route)))
      } else if let toldAt = entry.toldAt, now - toldAt < Self.repetitionWait {
        statistics.suppressed += 1
      } else {
        own[question.name]?.toldAt = now
        outbox.append(Outgoing(message: response, destination: .group))
      }
    }
  }

  package static let port: UInt16 = 5_353
  package static let groupV4 = IPAddress.v4(0xe000_00fb)
  package static let groupV6 = IPAddress.v6(0xff02_0000_0000_0000, 0xfb, zone: 0)

  /// Addresses of one answer that are handed on.
  package static let maximumAddresses = 4
  /// Names looked up at once: the candidates of many peers that arrive together.
  private static let maximumQueries = 256
  /// Names of this host: some for each connection.
  private static let maximumOwnNames = 4_096
  /// Messages that wait to be sent; the owner sends after every batch, so more is a flood.
  private static let maximumOutbox = 512
  private static let timeToLive: UInt32 = 120  // §10
  private static let oneShotTimeToLive: UInt32 = 10  // §6.7: not longer
  private static let repetitionWait = Interval.seconds(1)
  private static let firstWait = Interval.seconds(1)
  /// At 0, 1 and 3 s; given up at 7 s.
  private static let maximumAttempts = 3
}
