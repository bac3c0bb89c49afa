// SwarmLimits.swift — every bound of the swarm, with its reason. What a peer sends can fill a table, never memory.

package import Wire

public enum SwarmLimits {
  // MARK: Messages (WIRE §5)
  /// The references drop a larger payload, so it is never sent.
  public static let maximumPayloadUnits = 65_536
  /// A frame above this is refused before it is parsed.
  package static let maximumFrameUnits = 131_072
  /// Leaves room for the fields around the entries of one sync-response (WIRE §6.5).
  package static let syncPayloadUnits = 60_000
  /// Long enough for any type in use, short enough to log.
  package static let maximumTypeUnits = 128
  /// Ids of tasks, proposals, transfers and knowledge.
  package static let maximumIDBytes = 512

  // MARK: Tables
  /// As many as the signalling server lets into four rooms.
  package static let maximumPeers = 1_024
  /// All of them fit into one message, however much of them JSON escapes.
  package static let maximumCapabilities = 64
  package static let maximumCapabilityBytes = 128
  public static let maximumDelegations = 1_024
  /// Tasks being done here, for all peers together and for one of them.
  package static let maximumTasks = 256
  package static let maximumTasksPerPeer = 64
  package static let maximumProposals = 256
  /// Questions to the local voter that it has not answered yet.
  package static let maximumPendingVotes = 1_024
  package static let maximumPendingVotesPerPeer = 64
  package static let maximumKnowledgeEntries = 4_096
  /// Of the entries' JSON text: all of it can be sent to a newcomer in some 300 messages.
  package static let maximumKnowledgeBytes = 16 << 20
  /// Artifacts offered by us, and by each peer.
  package static let maximumOffers = 1_024
  /// Told to a page of profile A, which asks for five at most.
  package static let maximumBareOffers = 16
  public static let maximumDownloads = 64
  package static let maximumUploads = 64
  package static let maximumUploadsPerPeer = 8

  // MARK: Artifacts
  /// With its header one chunk stays below 65,536 bytes, which is what a peer accepts that states no limit.
  package static let chunkBytes = 49_152
  /// Unacknowledged bytes of one transfer: 32 chunks, 15 MB/s at a round trip of 100 ms.
  package static let windowBytes: Int64 = 32 * 49_152
  /// The receiver acknowledges a quarter of the window at a time.
  package static let acknowledgeBytes: Int64 = 8 * 49_152
  public static let maximumArtifactBytes: Int64 = 16 << 30
  /// What a page of the references takes (WIRE §5.4), in UTF-16 units, and as bytes of UTF-8 that may need.
  package static let maximumTextArtifactUnits = 262_144
  package static let maximumTextArtifactBytes = 3 * 262_144
  package static let maximumTextUnacknowledged = 4

  // MARK: Times
  package static let delegationTimeout = Interval.seconds(60)
  package static let consensusTimeout = Interval.seconds(30)
  /// How often a quiet link is asked for a sign of life (WIRE §6.4).
  package static let probeInterval = Interval.seconds(15)
  package static let bareProbeInterval = Interval.seconds(20)
  package static let silenceLimit = Interval.seconds(60)
  /// The same for a peer that has left the signalling server.
  package static let orphanProbeInterval = Interval.seconds(5)
  package static let orphanSilenceLimit = Interval.seconds(15)
  /// All knowledge is sent to a peer that asks for it at most so often; in between only our capabilities.
  package static let syncInterval = Interval.seconds(5)
  /// Without a chunk for so long, the request is repeated from where it stopped.
  package static let downloadPatience = Interval.seconds(10)
  package static let maximumRequests = 4
  /// Without an acknowledgement for so long, the receiver has lost interest.
  package static let uploadPatience = Interval.seconds(60)
  package static let textResendInterval = Interval.seconds(1)
  package static let maximumTextResends = 3
  /// A Lamport clock further ahead than this is not followed (WIRE §6.5): 2^32 is 50 days of milliseconds.
  package static let maximumClockLead: Int64 = 1 << 32
  /// JSON numbers beyond this lose digits in a browser.
  package static let maximumSafeInteger: Int64 = (1 << 53) - 1
}
