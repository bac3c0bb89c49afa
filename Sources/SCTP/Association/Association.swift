// Association.swift — one SCTP association over DTLS (RFC 9260, RFC 8261): the package's face of it.

package import Wire

package struct SCTPAssociation: ~Copyable {
  package private(set) var state = State.closed
  package private(set) var statistics = SCTPStatistics()

  package init(configuration: SCTPConfiguration = .init(), random: RandomSource) {}

  // MARK: In

  package mutating func connect(now: Instant) {}
  package mutating func handle(_ packet: RawSpan, now: Instant) {}
  package mutating func handleTimeout(now: Instant) {}
  package mutating func send(_ message: OutgoingMessage, now: Instant) throws(SCTPSendError) {}
  package mutating func releaseReceived(_ byteCount: Int, now: Instant) {}
  package mutating func resetStreams(_ streams: [UInt16], now: Instant) {}
  package mutating func shutdown(now: Instant) {}
  package mutating func abort(reason: String = "", now: Instant) {}

  // MARK: Out

  package mutating func pollTransmit(into out: inout OutputRawSpan, now: Instant) -> Bool { false }
  package mutating func pollEvent() -> Event? { nil }
  package mutating func pollMessage() -> IncomingMessage? { nil }
  package var deadline: Instant? { nil }
  package func bufferedAmount(stream: UInt16) -> Int { 0 }
  package var bufferedTotal: Int { 0 }
  package var sendRoom: Int { 0 }
}
