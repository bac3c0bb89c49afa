// SDPSectionWriter.swift — our sections as they are written: the transport, then what is the section's own.
//
// Every section says the same about ICE and DTLS, as browsers do, for the sake of peers that look for it in each; only
// the first has candidates (RFC 9143 §10).

struct SDPSectionWriter {
  private let local: LocalDescription
  private let setup: SDPSetup
  /// Which section carries the transport.
  private let carrier: Int
  var tlsID: String?

  init(_ local: LocalDescription, setup: SDPSetup, carrier: Int) {
    self.local = local
    self.setup = setup
    self.carrier = carrier
    tlsID = local.tlsID
  }

  private func transport(at index: Int) throws(SDPError) -> [SDPAttribute] {
    var attributes: [SDPAttribute] = []
    if index == carrier {
      for candidate in local.candidates {
        guard candidate.hasPrefix("candidate:") else { throw .unwritableField(candidate) }
        attributes.append(SDPAttribute("candidate", String(candidate.dropFirst("candidate:".count))))
      }
      if local.hasAllCandidates { attributes.append(SDPAttribute("end-of-candidates")) }
    }
    attributes.append(SDPAttribute("ice-ufrag", local.credentials.usernameFragment))
    attributes.append(SDPAttribute("ice-pwd", local.credentials.password))
    if !local.iceOptions.isEmpty {
      attributes.append(SDPAttribute("ice-options", local.iceOptions.joined(separator: " ")))
    }
    for fingerprint in local.fingerprints {
      attributes.append(SDPAttribute("fingerprint", fingerprint.description))
    }
    if let tlsID {
      guard SDPTLSID.isValid(tlsID) else { throw .unwritableField(tlsID) }
      attributes.append(SDPAttribute("tls-id", tlsID))
    }
    attributes.append(SDPAttribute("setup", setup.rawValue))
    return attributes
  }

  /// The data section, in the transport, syntax and name of `model`.
  func data(_ data: LocalData, at index: Int, like model: SDPSection) throws(SDPError) -> SDPSection {
    var attributes = try transport(at: index)
    if let mid = model.mid { attributes.append(SDPAttribute("mid", mid)) }
    var formats = [SDPSection.dataFormat]
    if model.oldSCTPPort != nil {
      formats = ["\(data.sctpPort)"]
      attributes.append(SDPAttribute("sctpmap", "\(data.sctpPort) \(SDPSection.dataFormat) 65535"))
    } else {
      attributes.append(SDPAttribute("sctp-port", "\(data.sctpPort)"))
    }
    attributes.append(SDPAttribute("max-message-size", "\(data.maximumMessageSize)"))
    if let sctpInit = data.sctpInit { attributes.append(SDPAttribute("sctp-init", Base64.encode(sctpInit))) }
    return SDPSection(
      media: model.media, port: 9, transport: model.transport, formats: formats, attributes: attributes)
  }

  /// A media section (RFC 9429 §5.2.1).
  func media(
    _ media: LocalMedia, at index: Int, transport profile: String = SDPSection.mediaProfile, usesReducedSize: Bool
  ) throws(SDPError) -> SDPSection {
    try media.checkWords()
    var attributes = try transport(at: index)
    if let mid = media.mid { attributes.append(SDPAttribute("mid", mid)) }
    for one in media.extensions {
      let direction = one.direction.map { $0 == .sendReceive ? "" : "/\($0.rawValue)" } ?? ""
      attributes.append(SDPAttribute("extmap", "\(one.id)\(direction) \(one.uri)"))
    }
    attributes.append(SDPAttribute(media.direction.rawValue))
    if media.direction.sends, let msid = media.msid { attributes.append(SDPAttribute("msid", msid)) }
    attributes.append(SDPAttribute("rtcp-mux"))
    if usesReducedSize { attributes.append(SDPAttribute("rtcp-rsize")) }
    for codec in media.codecs {
      let channels = codec.channels == 1 ? "" : "/\(codec.channels)"
      attributes.append(SDPAttribute("rtpmap", "\(codec.payloadType) \(codec.name)/\(codec.clockRate)\(channels)"))
      for feedback in codec.feedback { attributes.append(SDPAttribute("rtcp-fb", "\(codec.payloadType) \(feedback)")) }
      if !codec.parameters.isEmpty {
        attributes.append(SDPAttribute("fmtp", "\(codec.payloadType) \(codec.parameters)"))
      }
    }
    if media.direction.sends { attributes += sources(of: media) }
    return SDPSection(
      media: media.kind.rawValue, port: 9, transport: profile, formats: media.codecs.map { "\($0.payloadType)" },
      attributes: attributes)
  }

  /// `a=ssrc` and `a=ssrc-group` (RFC 5576), with the track for peers that look for it there.
  private func sources(of media: LocalMedia) -> [SDPAttribute] {
    guard let ssrc = media.ssrc else { return [] }
    var attributes: [SDPAttribute] = []
    var ssrcs = [ssrc]
    if let rtx = media.rtxSSRC, media.codecs.contains(where: \.isRetransmission) {
      ssrcs.append(rtx)
      attributes.append(SDPAttribute("ssrc-group", "FID \(ssrc) \(rtx)"))
    }
    for ssrc in ssrcs {
      attributes.append(SDPAttribute("ssrc", "\(ssrc) cname:\(media.cname ?? "\(local.sessionID)")"))
      if let msid = media.msid { attributes.append(SDPAttribute("ssrc", "\(ssrc) msid:\(msid)")) }
    }
    return attributes
  }
}

extension LocalMedia {
  /// `a=msid`: the stream, `-` for none, and the track.
  fileprivate var msid: String? {
    if streamID == nil, trackID == nil { return nil }
    return ([streamID ?? "-"] + (trackID.map { [$0] } ?? [])).joined(separator: " ")
  }

  /// No field has a word more than it should, nor a number out of its range.
  fileprivate func checkWords() throws(SDPError) {
    for word in [mid, streamID, trackID, cname].compactMap({ $0 }) + extensions.map(\.uri) + codecs.map(\.name) {
      guard SDPSection.isValid(word: word) else { throw .unwritableField(word) }
    }
    for codec in codecs {
      guard codec.payloadType < 128, !SDPCodec.conflictingTypes.contains(codec.payloadType), codec.clockRate > 0,
        (1...255).contains(codec.channels), !codec.name.utf8.contains(UInt8(ascii: "/"))
      else { throw .unwritableField(codec.name) }
      for feedback in codec.feedback where words(feedback).joined(separator: " ") != feedback || feedback.isEmpty {
        throw .unwritableField(feedback)
      }
      guard words(codec.parameters).joined(separator: " ") == codec.parameters else {
        throw .unwritableField(codec.parameters)
      }
    }
    for one in extensions where !SDPExtension.isUsable(one.id, mixed: true) { throw .unwritableField(one.uri) }
  }
}
