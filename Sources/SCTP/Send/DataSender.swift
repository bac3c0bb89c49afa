// DataSender.swift — the sending half of an association: queue, outstanding data, congestion control, timers.
//
// What goes into a packet is decided when the packet is written, never before: retransmissions first, then new data,
// as far as the congestion window, the pace and the peer's window allow (RFC 9260 §6.1). Loss is found by time (RFC 8985);
// T3-rtx is what remains when nothing comes back at all. DataSender+Inbound.swift: SACKs and timers; +Outbound.swift:
// chunks; +Abandon.swift: partial reliability.

package import Wire

package struct DataSender: ~Copyable {
  private let isLentByAddress = LentByAddress()
  var queue: SendQueue
  var outstanding: OutstandingData
  package internal(set) var congestion: CongestionController
  package var roundTrip: RoundTripEstimator
  var pacer = Pacer()
  /// What the peer last announced; what is in flight has yet to be taken off.
  package internal(set) var peerWindow = 0

  // Timers.
  /// T3-rtx; runs exactly while something is outstanding.
  var retransmissionDeadline: Instant?
  /// When the oldest packet in flight will be lost if it does not arrive before.
  var lossDeadline: Instant?
  /// When the tail of what was sent is probed (RFC 8985 §7).
  var probeDeadline: Instant?

  // Recovery.
  var isRecovering = false
  /// Recovery ends when everything before this chunk is acknowledged.
  var recoveryEnd = 0
  /// The first packet of a fast retransmission does not ask the congestion window (RFC 9260 §7.2.4).
  var maySendFastRetransmit = false
  /// A packet is to be sent whatever the congestion window says: its answer shows what has been lost.
  var isProbeDue = false
  /// The tail has been probed since the last progress.
  var hasProbed = false
  /// The next packet asks to be answered at once (RFC 7053), because a timer was already waited for.
  var wantsImmediateAnswer = false
  var latestRoundTrip: Interval?
  /// When the congestion window last kept something from leaving.
  var windowLimitedAt: Instant?
  var lastSentAt: Instant?
  var heardSinceTimeout = false

  /// FORWARD-TSN is due now; and when it was last sent.
  var forwardTSNDue = false
  var forwardTSNSentAt: Instant?
  /// The chunk before which the last one has skipped everything.
  var forwardTSNEnd = 0

  /// The largest packet with data on any path, and on this one as far as it is known.
  let packetSize: Int
  var pathPacketSize: Int
  /// The largest piece of a message in one chunk.
  var maximumFragment: Int
  /// The peer understands FORWARD-TSN, or with interleaving I-FORWARD-TSN; without nothing can be given up (RFC 3758
  /// §3.3.1).
  var mayAbandon = false

  package var statistics = Statistics()
  package struct Statistics: Sendable {
    var messagesSent: UInt64 = 0
    var messagesAbandoned: UInt64 = 0
    var chunksSent: UInt64 = 0
    var chunksRetransmitted: UInt64 = 0
    var fastRetransmits: UInt64 = 0
    var probes: UInt64 = 0
    var timeouts: UInt64 = 0
  }

  package init(_ configuration: SCTPConfiguration, random: RandomSource) {
    packetSize = configuration.maximumPacketSize
    pathPacketSize = packetSize
    maximumFragment = configuration.maximumPacketSize - PacketHeader.byteCount - DataHeader.byteCount
    queue = SendQueue(scheduling: configuration.scheduling)
    outstanding = OutstandingData(initialTSN: TSN(rawValue: 0))
    congestion = CongestionController(configuration.congestionControl, packetSize: maximumFragment, random: random)
    roundTrip = RoundTripEstimator(configuration)
  }

  /// The peer's values are known: data may flow. What was queued before stays queued; what had gone behind a cookie that
  /// has led to nothing goes again.
  package mutating func start(initialTSN: TSN, peerWindow: Int, mayAbandon: Bool, interleaves: Bool = false) {
    if !outstanding.isEmpty {
      queue.rewind(keepsResets: true)
      forget()
    }
    outstanding = OutstandingData(initialTSN: initialTSN)
    self.peerWindow = peerWindow
    self.mayAbandon = mayAbandon
    queue.interleaves = interleaves
    maximumFragment = packetSize - PacketHeader.byteCount - dataHeaderByteCount
  }

  var dataHeaderByteCount: Int { queue.interleaves ? InterleavedDataHeader.byteCount : DataHeader.byteCount }

  /// Packets on this path may be so long: congestion control counts in what they carry.
  mutating func adopt(pathPacketSize size: Int) {
    guard size != pathPacketSize else { return }
    pathPacketSize = size
    // A packet longer than the base size holds two fragments.
    let headers = size > packetSize ? 2 * dataHeaderByteCount : dataHeaderByteCount
    congestion.setPacketSize(size - PacketHeader.byteCount - headers)
  }

  /// The peer has restarted (§5.2.4.1): nothing that was sent counts.
  mutating func restart(_ configuration: SCTPConfiguration, random: RandomSource) {
    queue.rewind(keepsResets: false)
    outstanding = OutstandingData(initialTSN: TSN(rawValue: 0))
    congestion = CongestionController(configuration.congestionControl, packetSize: maximumFragment, random: random)
    pathPacketSize = packetSize
    roundTrip = RoundTripEstimator(configuration)
    forget()
    lastSentAt = nil
  }

  /// The association has ended: what is queued is let go.
  mutating func stop() {
    queue.removeAll()
    outstanding = OutstandingData(initialTSN: TSN(rawValue: 0))
    forget()
  }

  private mutating func forget() {
    retransmissionDeadline = nil
    lossDeadline = nil
    probeDeadline = nil
    pacer.standDown()
    isRecovering = false
    maySendFastRetransmit = false
    isProbeDue = false
    hasProbed = false
    forwardTSNDue = false
    forwardTSNSentAt = nil
    forwardTSNEnd = 0
  }

  /// Everything handed over has been acknowledged or given up, and the peer knows.
  package var isDrained: Bool { queue.messageCount == 0 && outstanding.isEmpty }

  /// When `handleTimeout` is due.
  package var deadline: Instant? {
    earliest(
      earliest(retransmissionDeadline, lossDeadline), earliest(probeDeadline, pacer.deadline))
  }
}
