// SDPLimits.swift — how large a description may be. Checked before it is parsed, in one pass over its bytes.

package struct SDPLimits: Hashable, Sendable {
  /// A browser's offer with two dozen video sections has about 100 KB.
  package var maximumLength = 262_144
  package var maximumLines = 8_192
  /// Long lines are lists of formats or certificate chains; 8 KiB is four times the longest seen.
  package var maximumLineLength = 8_192
  package var maximumSections = 256
  /// In one section. More addresses than this are not gathered, and each costs connectivity checks.
  package var maximumCandidates = 256
  /// In one media section: as many as there are payload types.
  package var maximumCodecs = 128
  /// Of one codec. Browsers write six.
  package var maximumFeedback = 32
  /// In one media section. Browsers write about a dozen.
  package var maximumExtensions = 64
  /// In one media section, and in one group of them. Simulcast with retransmission has six.
  package var maximumSSRCs = 64
  package var maximumRids = 32
  /// Streams that one track belongs to.
  package var maximumStreams = 32
  package init() {}
}
