// PeerRecord.swift — what is known about one peer while its main channel is open.

package import Wire

/// How a peer's messages look (WIRE §6.1).
package enum Dialect: Sendable {
  /// One of ours: its offer or answer carried the `swarm` member. Speaks everything.
  case extended
  /// A page of profile B: envelopes of the types of WIRE §5.2.
  case enveloped
  /// A page of profile A: bare objects.
  case bare
  /// Neither marked nor heard yet.
  case unknown
}

package struct PeerRecord: Sendable {
  package internal(set) var dialect: Dialect
  /// Counts up with every peer: the first connected is asked first.
  let order: UInt64
  package internal(set) var isBulkOpen = false
  package internal(set) var capabilities: Set<String> = []
  /// Its first sync has come, or is not waited for: users have been told of it.
  var isIntroduced = false
  package internal(set) var offers: [String: ArtifactDescription] = [:]
  /// The signalling server has lost it: either it is gone, or only its connection to the server is.
  var isOrphan = false
  var lastHeard: Instant
  var nextProbe: Instant
  /// From when on all knowledge may be sent to it again.
  var nextSync: Instant
  package internal(set) var roundTrip: Interval?
  package internal(set) var counters = PeerCounters()
  /// Tasks of this peer being done here.
  var taskCount = 0
  package internal(set) var uploadCount = 0

  init(dialect: Dialect, order: UInt64, now: Instant) {
    self.dialect = dialect
    self.order = order
    lastHeard = now
    nextProbe = now + SwarmLimits.probeInterval
    nextSync = now
  }

  /// How long it may say nothing before its connection counts as dead.
  var silenceLimit: Interval { isOrphan ? SwarmLimits.orphanSilenceLimit : SwarmLimits.silenceLimit }

  var probeInterval: Interval {
    if isOrphan { return SwarmLimits.orphanProbeInterval }
    return dialect == .bare ? SwarmLimits.bareProbeInterval : SwarmLimits.probeInterval
  }

  /// The consensus messages exist in our dialect and in profile A.
  var canVote: Bool { dialect == .extended || dialect == .bare }
  var canDoTasks: Bool { dialect == .extended || dialect == .bare }
}

/// What one link has carried, in messages and bytes of data channel payload.
public struct PeerCounters: Hashable, Sendable {
  public internal(set) var messagesIn = 0
  public internal(set) var messagesOut = 0
  public internal(set) var bytesIn = 0
  public internal(set) var bytesOut = 0
  /// Messages that were dropped because something in them was wrong.
  public internal(set) var rejected = 0
  /// Tasks that this peer finished for us, and we for it.
  public internal(set) var tasksDelegated = 0
  public internal(set) var tasksDone = 0
}
