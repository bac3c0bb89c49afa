// MediaKind.swift — what a stream carries.

package enum MediaKind: String, Hashable, Sendable, CaseIterable { case audio, video }
