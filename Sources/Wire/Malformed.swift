// Malformed.swift — the one error that bytes from the network can cause.

/// Why bytes could not be read. The first layer that meets it drops the datagram and counts it.
@frozen
public enum Malformed: Error, Equatable, Sendable {
  /// The bytes end before the value does.
  case truncated
  /// A length field contradicts the bytes around it.
  case badLength
  /// A field holds a value that its specification forbids.
  case badValue
  /// A checksum, fingerprint or integrity code does not match.
  case badChecksum
}
