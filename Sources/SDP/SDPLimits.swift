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
  package init() {}
}
