// ErrorResponse.swift — what an error response asks of a client (RFC 8489 §6.3.4, §9.2.4, §10).

package import Wire

/// The facts of an error response, copied out of it. Of an attribute that is there twice the first counts (§14).
package struct STUNErrorResponse: Sendable {
  package let code: UInt16
  package private(set) var realm: [UInt8]?
  package private(set) var nonce: [UInt8]?
  /// As they lie in the message, because they are returned so.
  package private(set) var passwordAlgorithms: [UInt8]?
  package private(set) var alternateServer: SocketAddress?
  package private(set) var alternateDomain: String?

  /// Nil when the message has no ERROR-CODE.
  package init?(_ message: borrowing STUNMessage) throws(Malformed) {
    var code: UInt16?
    var attributes = message.attributes
    while let attribute = try attributes.next() {
      switch attribute {
      case .errorCode(let value, reason: _): code = code ?? value
      case .realm(let value): realm = realm ?? value.copyBytes()
      case .nonce(let value): nonce = nonce ?? value.copyBytes()
      case .passwordAlgorithms(let list): passwordAlgorithms = passwordAlgorithms ?? list.copyBytes()
      case .alternateServer(let address): alternateServer = alternateServer ?? address
      case .alternateDomain(let name):
        alternateDomain = alternateDomain ?? String(decoding: name.copyBytes(), as: UTF8.self)
      default: break
      }
    }
    guard let code else { return nil }
    self.code = code
  }
}
