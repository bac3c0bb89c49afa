// MDNSTarget.swift — a datagram from the local network as a DNS message, and as what a host meets that has names of its
// own and looks one up.

internal import MDNS
internal import Wire

/// Reads the input; what is short enough is written and read again; then hands it to a host from both kinds of sender.
public func fuzzMDNS(_ input: RawSpan) {
  readDNS(input)
  guard let own = DNSName("own.local"), let other = DNSName("other.local") else {
    preconditionFailure("both are names")
  }
  var names = MulticastNames()
  precondition(names.register(own, .v4(0xc000_0207)), "there is room for one name")
  var now = Instant(nanoseconds: 0)
  precondition(names.resolve(other, now: now), "there is room for one question")
  let socket = SocketID(rawValue: 1)
  for port in [MulticastNames.port, 40_000] {
    let remote = SocketAddress(ip: .v4(0xc000_0201), port: port)
    names.handle(input, route: Route(socket: socket, remote: remote), now: now)
    drain(&names)
  }
  for _ in 0..<4 {
    guard let deadline = names.deadline else { break }
    now = max(now, deadline)
    names.handleTimeout(now: now)
    drain(&names)
  }
  precondition(names.deadline == nil, "a question ends with the third silence")
}

private func readDNS(_ input: RawSpan) {
  do throws(Malformed) {
    let message = try DNSMessage(reading: input)
    guard message.questions.count + message.records.count <= DNSMessage.maximumWritten else { return }
    let bytes = collectBytes(capacity: DNSMessage.maximumSize) { out in message.write(into: &out) }
    let again = try DNSMessage(reading: bytes.rawSpan)
    precondition(again.questions == message.questions && again.records == message.records, "written is read again")
  } catch {
    return  // what a refusal is
  }
}

private func drain(_ names: inout MulticastNames) {
  var budget = 200  // a question or answer for each entry of a message
  var hasMore = true
  while hasMore {
    _ = collectBytes(capacity: DNSMessage.maximumSize) { out in hasMore = names.pollTransmit(into: &out) != nil }
    budget -= 1
    precondition(budget > 0, "the outbox is bounded")
  }
  while names.pollEvent() != nil {}
}
