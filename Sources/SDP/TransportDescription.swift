// TransportDescription.swift — what a description says about ICE and DTLS (RFC 8839, 8842), once for the whole bundle.

/// The peer's side of the one transport that all accepted sections share, from its offer or answer.
package struct TransportDescription: Hashable, Sendable {
  /// Which `m=` section carries the transport, from 0.
  package var sectionIndex: Int
  package var mid: String?
  /// The mids of all sections that use the transport, the carrier's included: candidates name any of them.
  package var mids: [String]
  /// The same sections by their place.
  package var sectionIndices: [Int]
  package var credentials: SDPCredentials
  /// The peer's certificate must match one of them; there is at least one.
  package var fingerprints: [SDPFingerprint]
  package var setup: SDPSetup
  /// `a=tls-id`: names the DTLS association (RFC 8842 §4).
  package var tlsID: String?
  /// As they stand, each beginning `candidate:`.
  package var candidates: [String]
  /// `a=end-of-candidates`: no more will follow.
  package var hasAllCandidates: Bool
  package var iceOptions: [String]
  /// The peer runs ICE lite, so that we control (RFC 8445 §6.1.1).
  package var isLite: Bool

  package var supportsTrickle: Bool { iceOptions.contains("trickle") }

  /// Whether a candidate sent with these belongs here: the mid decides, the index when there is none (RFC 9429 §4.1.19).
  package func isNamed(mid: String?, sectionIndex: Int?) -> Bool {
    if let mid { return mids.contains(mid) }
    return sectionIndex.map { sectionIndices.contains($0) } ?? false
  }

  /// A certificate may be named under several hashes, and several certificates may be named; not hundreds.
  private static let maximumFingerprints = 16
}

extension TransportDescription {
  /// Reads the transport that the sections at `indices` share; the first of them carries it.
  init(sharedBy indices: [Int], of document: SDPDocument) throws(SDPError) {
    precondition(!indices.isEmpty, "a transport is there for a section")
    let index = indices[0]
    let section = document.sections[index]
    sectionIndex = index
    sectionIndices = indices
    mid = try section.attributes.single("mid")
    mids = indices.compactMap { document.sections[$0].mid }

    // A section that is bundled with an earlier one may leave the transport to that one (RFC 9143 §7.1.3).
    var transport = section.attributes
    if !transport.contains(name: "ice-ufrag"), let leader = mid.flatMap({ document.leader(of: $0) }) {
      transport = leader.attributes
    }
    let session = document.attributes

    guard let fragment = try transport.single("ice-ufrag", orFrom: session),
      let password = try transport.single("ice-pwd", orFrom: session)
    else { throw .missingCredentials }
    credentials = try SDPCredentials(usernameFragment: fragment, password: password)

    let named = transport.contains(name: "fingerprint") ? transport : session
    fingerprints = []
    for text in named.values("fingerprint") {
      guard fingerprints.count < Self.maximumFingerprints else { throw .malformedAttribute(name: "fingerprint") }
      fingerprints.append(try SDPFingerprint(parsing: text))
    }
    guard !fingerprints.isEmpty else { throw .missingFingerprint }

    guard let setupText = try transport.single("setup", orFrom: session) else { throw .missingSetup }
    guard let setup = SDPSetup(rawValue: setupText) else { throw .malformedAttribute(name: "setup") }
    self.setup = setup
    tlsID = try transport.single("tls-id", orFrom: session)
    if let tlsID { guard SDPTLSID.isValid(tlsID) else { throw .malformedAttribute(name: "tls-id") } }

    candidates = transport.values("candidate").map { "candidate:" + $0 }
    hasAllCandidates = transport.contains(name: "end-of-candidates") || session.contains(name: "end-of-candidates")
    let options = transport.contains(name: "ice-options") ? transport : session
    // Spaces separate options (RFC 8839 §5.6); libdatachannel writes commas.
    iceOptions = options.values("ice-options").flatMap { words($0.replacing(",", with: " ")) }
    isLite = session.contains(name: "ice-lite")
  }
}

/// `a=tls-id` (RFC 8842 §4): 20 to 255 characters of a letter, a digit, `+`, `/`, `-` or `_`.
enum SDPTLSID {
  static func isValid(_ text: String) -> Bool {
    (20...255).contains(text.utf8.count)
      && text.utf8.allSatisfy { isAlphanumeric($0) || "+/-_".utf8.contains($0) }
  }
}
