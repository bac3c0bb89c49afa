// TSN.swift — the numbers of SCTP that wrap.

import Wire

/// A transmission sequence number (RFC 9260 §1.6): every DATA chunk of one direction has the next one.
package struct TSN: SerialNumber {
  package var rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// A stream sequence number (RFC 9260 §1.6), ordered on a circle of 2^16.
package struct SSN: Hashable, Sendable {
  package var rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  package var next: SSN { SSN(rawValue: rawValue &+ 1) }
  package func isAfter(_ other: SSN) -> Bool {
    let distance = rawValue &- other.rawValue
    return distance != 0 && distance < 0x8000
  }
}
