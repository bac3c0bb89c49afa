// TURNTarget.swift — bytes and made-up answers for a TURN client, a Binding client and a Binding responder.

internal import STUN
internal import TURN
internal import Wire

/// The input is a datagram for each; then commands for a TURN client, whose answers get the right transaction and, when
/// the input says so, the right integrity code, or no client would ever get anywhere.
public func fuzzTURN(_ input: RawSpan) {
  ask(input)
  var session = TURNFuzzSession(hasCredential: input.byteCount & 1 == 0)
  session.hand(input)
  session.obey(input)
}

private func ask(_ input: RawSpan) {
  let now = Instant(nanoseconds: 0)
  let source = SocketAddress(ip: .loopbackV6, port: 4_000)
  var responder = BindingResponder(random: .seeded(state: 1))
  var isAnswered = false
  let answer = collectBytes(capacity: BindingResponder.maximumMessageSize) { out in
    isAnswered = responder.answer(input, from: source, into: &out, now: now)
  }
  precondition(isAnswered == !answer.isEmpty, "an answer has bytes")
  precondition(answer.count <= input.byteCount * BindingResponder.maximumAmplification, "answers are bounded")

  var random = RandomSource.seeded(state: 1)
  var client = BindingClient(random: &random, now: now)
  let request = collectBytes(capacity: BindingClient.maximumMessageSize) { _ = client.pollTransmit(into: &$0) }
  _ = client.handle(input, now: now)
  // The same with the transaction that it waits for.
  var patched = input.copyBytes()
  if patched.count >= STUNHeader.byteCount { patched.replaceSubrange(8..<20, with: request[8..<20]) }
  _ = client.handle(patched.rawSpan, now: now)
  if client.pollEvent() != nil { precondition(client.deadline == nil, "an event is the end") }
}

private struct TURNFuzzSession: ~Copyable {
  private static let credential = STUNCredential(username: "user", password: "password")
  private static let realm = Array("realm".utf8)

  private var client: TURNClient
  private var now = Instant(nanoseconds: 0)
  private var requests: [STUNHeader] = []

  init(hasCredential: Bool) {
    let credential = hasCredential ? Self.credential : nil
    client = TURNClient(configuration: TURNConfiguration(credential: credential), random: .seeded(state: 7))
    client.start(now: now)
    drain()
  }

  mutating func obey(_ input: RawSpan) {
    var reader = ByteReader(input)
    do throws(Malformed) {
      while !reader.isAtEnd {
        let (command, length) = (try reader.readUInt8(), try reader.readUInt8())
        let bytes = try reader.readBytes(min(Int(length), reader.remaining))
        switch command & 7 {
        case 0: hand(bytes)
        case 1, 2: answer(attributes: bytes, command)
        case 3: challenge(command)
        case 4: wait()
        case 5: send(to: Self.peer(command), bytes)
        case 6: client.prepare(peer: Self.peer(command), now: now)
        default: if command & 0xf8 == 0xf8 { client.close(now: now) } else { wait() }
        }
        drain()
      }
    } catch {
      // The input is used up.
    }
    for _ in 0..<4 { wait() }
  }

  mutating func hand(_ bytes: RawSpan) {
    if case .payload(_, let range) = client.handle(bytes, now: now) {
      precondition(range.lowerBound >= 4 && range.upperBound <= bytes.byteCount, "a payload lies in its datagram")
      precondition(client.relayedAddress != nil, "without an allocation nothing is relayed")
    }
    drain()
  }

  /// A response with these attributes to one of the last requests.
  private mutating func answer(attributes: RawSpan, _ command: UInt8) {
    guard !requests.isEmpty else { return }
    let request = requests[requests.count - 1 - Int(command >> 5) % requests.count]
    let isError = command & 0x10 != 0
    let bytes = collectBytes(capacity: 400) { out in
      do throws(STUNEncodingError) {
        let writer = try STUNWriter(
          STUNHeader(isError ? .errorResponse : .successResponse, request.method, id: request.id), into: &out)
        try write(attributes, writer, &out)
        if command & 0x08 != 0, let key = Self.credential.key(.md5, realm: Self.realm) {
          try writer.messageIntegrity(key: key, into: &out)
        }
      } catch {
        // It does not fit, and is not sent.
      }
    }
    hand(bytes.rawSpan)
  }

  /// Each attribute is its type, its length and its value, without padding.
  @_lifetime(out: copy out)
  private func write(
    _ attributes: RawSpan, _ writer: STUNWriter, _ out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    var reader = ByteReader(attributes)
    do throws(Malformed) {
      while !reader.isAtEnd {
        let type = try reader.readUInt16()
        let value = try reader.readBytes(min(Int(try reader.readUInt8()), reader.remaining)).copyBytes()
        do throws(STUNEncodingError) {
          try writer.attribute(STUNAttributeType(rawValue: type), value.rawSpan, into: &out)
        } catch {
          return
        }
      }
    } catch {
      return
    }
  }

  private mutating func challenge(_ command: UInt8) {
    guard let request = requests.last else { return }
    let bytes = collectBytes(capacity: 400) { out in
      do throws(STUNEncodingError) {
        let writer = try STUNWriter(STUNHeader(.errorResponse, request.method, id: request.id), into: &out)
        try writer.errorCode(command & 0x80 == 0 ? 401 : 438, into: &out)
        try writer.attribute(.realm, Self.realm.rawSpan, into: &out)
        try writer.attribute(.nonce, [command].rawSpan, into: &out)
      } catch {
        preconditionFailure("a challenge fits 400 bytes: \(error)")
      }
    }
    hand(bytes.rawSpan)
  }

  private mutating func wait() {
    guard let deadline = client.deadline else { return }
    now = max(now, deadline)
    client.handleTimeout(now: now)
    drain()
    if let next = client.deadline { precondition(next > now, "handleTimeout moves every deadline") }
  }

  private mutating func send(to peer: SocketAddress, _ payload: RawSpan) {
    var isTaken = false
    let bytes = collectBytes(capacity: payload.byteCount + TURNClient.maximumOverhead) { out in
      isTaken = client.writeHeader(to: peer, into: &out, now: now)
      guard isTaken else { return }
      out.writeBytes(payload)
      client.finishPayload(headerAt: 0, into: &out)
    }
    precondition(isTaken == !bytes.isEmpty, "what is refused leaves nothing")
    if isTaken { precondition(client.relayedAddress != nil, "without an allocation nothing is sent") }
  }

  private static func peer(_ command: UInt8) -> SocketAddress {
    SocketAddress(ip: command & 0x80 == 0 ? .v4(UInt32(command >> 4)) : .loopbackV6, port: UInt16(command >> 3))
  }

  private mutating func drain() {
    var budget = 100
    var hasMore = true
    while hasMore {
      let bytes = collectBytes(capacity: TURNClient.maximumMessageSize) {
        hasMore = client.pollTransmit(into: &$0, now: now)
      }
      guard hasMore else { break }
      budget -= 1
      precondition(budget > 0, "what a client has to say is bounded")
      do throws(Malformed) {
        let message = try STUNMessage(bytes.rawSpan)
        if requests.count == 16 { requests.removeFirst() }
        requests.append(message.header)
      } catch {
        preconditionFailure("a client writes what can be read: \(error)")
      }
    }
    while let event = client.pollEvent() {
      if case .permissionRefused = event { continue }
      if case .allocated = event { continue }
      precondition(client.relayedAddress == nil, "what is lost is lost")
    }
  }
}
