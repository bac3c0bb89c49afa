// MediaSection.swift — what the exchange of descriptions has settled for one `m=` section.

package import RTP

/// One section's parameters; a placeholder of names until the module is complete.
package struct MediaSection: Hashable, Sendable {
  /// The transceiver's number, which never changes.
  package var id: Int
  package var kind: MediaKind
}
