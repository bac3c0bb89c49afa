// DataDescription.swift — what a description says about the data-channel association (RFC 8841).

/// The peer's side of a data-channel association, from its offer or answer.
package struct DataDescription: Hashable, Sendable {
  /// Which `m=` section it is, from 0.
  package var sectionIndex: Int
  package var mid: String?
  package var sctpPort: UInt16
  /// The largest message the peer takes, in bytes; `.max` when it takes any.
  package var maximumMessageSize: Int
  /// `a=sctp-init` (draft-hancke-tsvwg-snap): the INIT chunk with which the peer would begin; nil also when it is not to
  /// be read, because the handshake does without.
  package var sctpInit: [UInt8]?

  /// What RFC 8841 §6.1 lets us assume when the attribute is absent.
  package static let defaultMaximumMessageSize = 65_536
  /// Browsers take a description without `a=sctp-port` to mean this.
  package static let defaultSCTPPort: UInt16 = 5000
}

extension DataDescription {
  /// Reads the section at `index`, which is a data section.
  init(reading index: Int, of document: SDPDocument) throws(SDPError) {
    let section = document.sections[index]
    sectionIndex = index
    mid = try section.attributes.single("mid")
    (sctpPort, maximumMessageSize) = try Self.association(of: section)
    let initiations = section.attributes.values("sctp-init")
    sctpInit = initiations.count == 1 ? Base64.decode(initiations[0]) : nil
  }

  /// The SCTP port and the largest message.
  private static func association(of section: SDPSection) throws(SDPError) -> (port: UInt16, messageSize: Int) {
    var port = section.oldSCTPPort
    if port == nil {
      if let text = try section.attributes.single("sctp-port") {
        port = decimal(text)
        guard port != nil else { throw .malformedAttribute(name: "sctp-port") }
      } else {
        port = defaultSCTPPort
      }
    }
    guard let port, port != 0 else { throw .dataSectionRejected }  // 0 closes the association (RFC 8841 §5.2)
    guard let text = try section.attributes.single("max-message-size") else { return (port, defaultMaximumMessageSize) }
    guard let size: UInt64 = decimal(text) else { throw .malformedAttribute(name: "max-message-size") }
    return (port, size == 0 ? .max : Int(clamping: size))
  }
}

extension SDPSection {
  /// Whether it describes data channels, in today's syntax or in the one before RFC 8841.
  var isData: Bool {
    guard media == "application" else { return false }
    switch transport {
    case "UDP/DTLS/SCTP", "TCP/DTLS/SCTP": return formats.contains(Self.dataFormat)
    case "DTLS/SCTP": return formats.contains(Self.dataFormat) || oldSCTPPort != nil
    default: return false
    }
  }

  /// The port of `m=application … DTLS/SCTP 5000` with `a=sctpmap:5000 webrtc-datachannel 1024`; nil otherwise.
  var oldSCTPPort: UInt16? {
    guard media == "application", transport == "DTLS/SCTP", let format = formats.first else { return nil }
    let maps = attributes.values("sctpmap").map { words($0) }
    guard maps.contains(where: { $0.count >= 2 && $0[0] == format && $0[1] == Self.dataFormat }) else { return nil }
    return decimal(format)
  }

  static let dataFormat = "webrtc-datachannel"
}
