// Addressee.swift — for which of many agents behind one socket a message is (RFC 8445 §7.2.2, §7.3).

import Wire

/// What a message says about whom it is for, before anybody has checked that it is authentic: that is up to the agent.
package enum STUNAddressee: Hashable, Sendable {
  /// A request. `localFragment` is what stands before the colon of its USERNAME, as its receiver sees it; nil when there
  /// is none.
  case request(localFragment: String?, id: TransactionID)
  /// A response, for whoever has sent the request.
  case response(id: TransactionID)
  /// An indication, or no STUN.
  case nobody

  /// Reads as little as it takes.
  package init(_ datagram: RawSpan) {
    do throws(Malformed) {
      let (header, bodyLength) = try STUNHeader.read(from: datagram)
      switch header.messageClass {
      case .successResponse, .errorResponse: self = .response(id: header.id)
      case .indication: self = .nobody
      case .request:
        guard datagram.byteCount == STUNHeader.byteCount + bodyLength else { throw .badLength }
        self = .request(localFragment: try Self.fragment(in: datagram, id: header.id), id: header.id)
      }
    } catch {
      self = .nobody
    }
  }

  private static func fragment(in datagram: RawSpan, id: TransactionID) throws(Malformed) -> String? {
    var attributes = STUNAttributes(datagram.extracting(STUNHeader.byteCount..<datagram.byteCount), id: id)
    while let attribute = try attributes.next() {
      guard case .username(let name) = attribute else { continue }
      for index in 0..<min(name.byteCount, maximumFragment + 1) where name.byte(at: index) == UInt8(ascii: ":") {
        return String(decoding: name.extracting(0..<index).copyBytes(), as: UTF8.self)
      }
      return nil
    }
    return nil
  }

  private static let maximumFragment = 256  // RFC 8839 §5.4
}
