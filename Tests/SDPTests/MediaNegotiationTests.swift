// MediaNegotiationTests.swift — offers that follow one another, numbers that keep their meaning, one bundle
// (RFC 9429 §5.2.2, §5.3, RFC 9143, RFC 8842 §5).

import SDP
import Testing

@Suite struct MediaNegotiationTests {
  private static func mids(_ document: SDPDocument) -> [String?] { document.sections.map(\.mid) }

  @Test("between two of us: both come to the same")
  func betweenUs() throws {
    let offer = try Negotiation.offer(try Media.local([Media.microphone, Media.camera]))
    let atB = try Negotiation.read(offer: try parse(try offer.text()).get())
    let answer = try Negotiation.answer(to: offer, try Media.local(answering: offer))
    let atA = try Negotiation.read(answer: try parse(try answer.text()).get(), to: offer)
    let (a, b) = (
      try Negotiation.agreed(local: offer, remote: atA), try Negotiation.agreed(local: answer, remote: atB)
    )
    #expect(a.map(\.sendCodecs) == b.map(\.receiveCodecs) && a.map(\.receiveCodecs) == b.map(\.sendCodecs))
    #expect(a.map(\.extensions) == b.map(\.extensions) && a.map(\.extensions.count) == [3, 3])
    #expect(a[1].sendCodecs == Media.camera.codecs && a.map(\.direction) == [.sendReceive, .sendReceive])
    #expect(a[1].remote.ssrcs == [2222, 3333] && a[1].remote.retransmissions == [3333: 2222])
    #expect(a[1].remote.streamIDs == ["stream"] && a[1].remote.trackID == "camera" && a[1].remote.cname == "name")
    #expect(a.allSatisfy { $0.usesReducedSize })
    #expect(atA.transport.tlsID == "0123456789abcdef0123456789abcdef", "the offer had one")
    #expect(atB.transport.isNamed(mid: "1", sectionIndex: nil) && atB.transport.isNamed(mid: nil, sectionIndex: 2))
    #expect(!atB.transport.isNamed(mid: "3", sectionIndex: 0) && !atB.transport.isNamed(mid: nil, sectionIndex: 3))
  }

  @Test("an answerer whose role and direction are its own")
  func directions() throws {
    for (offered, wanted, answered) in [
      (.sendReceive, .sendReceive, .sendReceive), (.sendReceive, .receiveOnly, .receiveOnly),
      (.sendOnly, .sendReceive, .receiveOnly), (.receiveOnly, .sendReceive, .sendOnly),
      (.sendOnly, .sendOnly, .inactive),
      (.inactive, .sendReceive, .inactive), (.sendReceive, .inactive, .inactive),
      (.receiveOnly, .receiveOnly, .inactive),
    ] as [(SDPDirection, SDPDirection, SDPDirection)] {
      var (theirs, ours) = (Media.microphone, Media.microphone.named("0"))
      (theirs.direction, ours.direction) = (offered, wanted)
      let offer = try Negotiation.offer(try Media.local([theirs]))
      let answer = try Negotiation.answer(to: offer, try Media.local([ours]))
      #expect(answer.sections[0].attributes.contains(name: answered.rawValue), "\(offered) \(wanted)")
      #expect(answer.sections[0].attributes.contains(name: "msid") == answered.sends)
      let agreed = try Negotiation.agreed(local: offer, remote: try Negotiation.read(answer: answer, to: offer))
      #expect(agreed[0].direction == answered.reversed)
    }
  }

  @Test("sections keep their place and name; a new one comes behind, or in the place of one that has stopped")
  func reoffers() throws {
    let (a, b) = (Media.microphone, Media.camera)
    var document = try Negotiation.offer(try Media.local([]))
    #expect(Self.mids(document) == ["0"])
    document = try Negotiation.offer(try Media.local([a, b]), following: document)
    #expect(
      Self.mids(document) == ["0", "1", "2"] && document.sections.map(\.media) == ["application", "audio", "video"])
    #expect(document.attributes.values("group") == ["BUNDLE 0 1 2"] && document.origin.version == 2)

    // The audio is gone; its place waits.
    document = try Negotiation.offer(try Media.local([b.named("2")]), following: document)
    #expect(Self.mids(document) == ["0", "1", "2"] && document.sections.map(\.port) == [9, 0, 9])
    #expect(document.attributes.values("group") == ["BUNDLE 0 2"])
    #expect(document.sections[1].attributes == [SDPAttribute("mid", "1"), SDPAttribute("inactive")])

    // While that is only offered, the next one does not take it.
    let early = try Negotiation.offer(try Media.local([b.named("2"), a]), following: document, isAgreed: false)
    #expect(Self.mids(early) == ["0", "1", "2", "3"] && early.sections.map(\.port) == [9, 0, 9, 9])
    // Afterwards, another kind does not either.
    let video = try Negotiation.offer(try Media.local([b.named("2"), b]), following: document)
    #expect(Self.mids(video) == ["0", "1", "2", "3"] && video.sections[3].media == "video")
    document = try Negotiation.offer(try Media.local([b.named("2"), a]), following: document)
    #expect(Self.mids(document) == ["0", "3", "2"] && document.sections.map(\.port) == [9, 9, 9])
    #expect(document.attributes.values("group") == ["BUNDLE 0 3 2"])

    // The data section goes, and comes back to its place.
    document = try Negotiation.offer(try Media.local([a.named("3")], data: nil), following: document)
    #expect(document.sections.map(\.port) == [0, 9, 0] && document.transportSectionIndex == 1)
    #expect(document.sections[1].attributes.contains(name: "candidate"))
    document = try Negotiation.offer(try Media.local([a.named("3")]), following: document)
    #expect(document.sections.map(\.port) == [9, 9, 0] && document.sections[0].mid == "0")

    let nothing = try Media.local([], data: nil)
    #expect(throws: SDPError.noDataSection) { try Negotiation.offer(nothing, following: document) }
    let stopped = try Media.local([a], data: nil)
    #expect(try Negotiation.offer(stopped).sections.count == 1)
  }

  @Test("names: numbers that nobody has had, the peer's own left alone")
  func names() throws {
    var media = [Media.microphone, Media.camera.named("cam"), Media.camera]
    Negotiation.assignMids(&media, following: nil)
    #expect(media.map(\.mid) == ["0", "cam", "1"])
    let previous = try Media.capture("chromium-offer")
    var more = [Media.microphone.named("0"), Media.camera, Media.camera]
    more[1].isStopped = true
    Negotiation.assignMids(&more, following: previous)
    #expect(more.map(\.mid) == ["0", nil, "3"])
    let again = more
    Negotiation.assignMids(&more, following: previous)
    #expect(more == again)

    let twice = try Media.local([Media.microphone.named("0"), Media.camera.named("0")])
    #expect(throws: SDPError.duplicateMid("0")) { try Negotiation.offer(twice) }
    let other = try Media.local([Media.camera.named("0")])
    #expect(throws: SDPError.duplicateMid("0")) { try Negotiation.offer(other, following: previous) }
    var late = try Media.capture("chromium-offer")
    late.sections[0].attributes = [SDPAttribute("mid", "18446744073709551615")]
    late.sections[0].port = 0
    let high = try Negotiation.offer(try Media.local([Media.camera]), following: late, isAgreed: false)
    #expect(high.sections.last?.mid == "3")
  }

  @Test("after the peer's offer, ours keeps its numbers, and new ones keep out of their way")
  func numbers() throws {
    let offer = try Media.capture("firefox-offer")
    let answer = try Negotiation.answer(to: offer, try Media.local(answering: offer))
    // Firefox says 109 for opus, 3 for mid; ours, 111 and 1.
    let media = [Media.microphone.named("0"), Media.camera.named("1"), Media.camera]
    let next = try Negotiation.offer(try Media.local(media), following: answer)
    let sections = try [0, 1, 3].map {
      try MediaDescription(reading: $0, kind: $0 == 0 ? .audio : .video, of: next)
    }
    #expect(sections[0].codec("opus")?.payloadType == 109)
    #expect(sections.allSatisfy { $0.extensions.first { $0.uri == Media.midURI }?.id == 3 })
    let offered = try MediaDescription(reading: 1, kind: .video, of: offer)
    #expect(sections[1].codec("VP8")?.payloadType == offered.codec("VP8")?.payloadType)
    // One number, one meaning, in all sections.
    var meanings: [UInt8: Set<String>] = [:]
    for section in sections {
      for codec in section.codecs {
        meanings[codec.payloadType, default: []].insert("\(codec.name) \(codec.parameters)")
      }
      for codec in section.codecs where codec.isRetransmission {
        #expect(section.codecs.contains { $0.payloadType == codec.repairedPayloadType && !$0.isRetransmission })
      }
      #expect(Set(section.extensions.map(\.id)).count == section.extensions.count)
    }
    #expect(meanings.values.allSatisfy { $0.count == 1 }, "\(meanings)")
    #expect(sections[1].codecs.count == 8 && sections[2].codecs.count == 8)
  }

  @Test("numbers that collide are given anew, references and all")
  func collisions() throws {
    var audio = Media.microphone
    audio.codecs = [
      SDPCodec(payloadType: 96, name: "opus", clockRate: 48_000, channels: 2),
      SDPCodec(payloadType: 97, name: "red", clockRate: 48_000, channels: 2, parameters: "96/96"),
    ]
    audio.extensions = [SDPExtension(id: 1, uri: "urn:a"), SDPExtension(id: 2, uri: "urn:b")]
    var video = Media.camera
    video.codecs = [Media.video(96, "VP8"), Media.rtx(97, of: 96), Media.video(64, "VP9")]
    video.extensions = [
      SDPExtension(id: 1, uri: "urn:b"), SDPExtension(id: 2, uri: "urn:c"), SDPExtension(id: 15, uri: "urn:d"),
    ]
    let offer = try Negotiation.offer(try Media.local([audio, video]))
    let read = try Negotiation.read(offer: offer)
    #expect(read.media[0].codecs.map(\.payloadType) == [96, 97] && read.media[0].codecs[1].parameters == "96/96")
    #expect(read.media[1].codecs.map(\.payloadType) == [98, 100, 99])
    #expect(read.media[1].codecs[1].parameters == "apt=98")
    #expect(
      read.media[1].extensions == [
        SDPExtension(id: 2, uri: "urn:b"), SDPExtension(id: 3, uri: "urn:c"), SDPExtension(id: 4, uri: "urn:d"),
      ])
    var many = Media.camera
    many.codecs = (0..<62).map { Media.video(UInt8(96 + $0 % 32), "x\($0)") }
    let tooMany = try Media.local([many])
    #expect(throws: SDPError.noFreeNumber) { try Negotiation.offer(tooMany) }
    many.codecs.removeLast()
    #expect(try Negotiation.read(offer: try Negotiation.offer(try Media.local([many]))).media[0].codecs.count == 61)
  }

  // MARK: The bundle

  @Test("media outside of the bundle, or with RTCP apart, is refused; the rest goes on")
  func refused() throws {
    let text = Sample.chromiumMediaOffer
    func refusals(_ text: String) throws -> [MediaDescription.Refusal?] {
      let offer = try parse(text).get()
      let answer = try Negotiation.answer(to: offer, try Media.local(answering: offer))
      let read = try readOffer(text).get()
      #expect(answer.sections.map { $0.port == 0 } == read.media.map { $0.isRejected } + [false])
      return read.media.map(\.refusal)
    }
    #expect(try refusals(text) == [nil, nil], "the camera's leader has it")
    #expect(try refusals(text.replacing("BUNDLE 0 1 2", with: "BUNDLE 1 2")) == [.notBundled, .noRTCPMux])
    #expect(try refusals(text.replacing("a=group:BUNDLE 0 1 2\r\n", with: "")) == [.notBundled, .notBundled])
    #expect(try refusals(text.replacing("m=audio 9", with: "m=audio 0")) == [.rejected, nil])
    #expect(try refusals(text.replacing("m=audio 9 UDP", with: "m=audio 9 XYZ")) == [.profile, nil])
    #expect(try refusals(text.replacing("m=audio 9 UDP/TLS/RTP/SAVPF", with: "m=audio 9 RTP/SAVPF"))[0] == nil)
    // Where the attribute of the transport stands (RFC 9143 §7.1.3).
    let led = text.replacing("BUNDLE 0 1 2", with: "BUNDLE 2 0 1").replacing("a=rtcp-mux\r\n", with: "")
      .replacing("a=sctp-port", with: "a=rtcp-mux\r\na=sctp-port")
    #expect(try refusals(led) == [nil, nil])
    #expect(try readOffer(led).get().transport.mids == ["2", "0", "1"])
  }

  @Test("one media section needs no bundle")
  func alone() throws {
    let offer = try Negotiation.offer(try Media.local([Media.microphone], data: nil))
    var bare = offer
    bare.attributes = []
    bare.sections[0].attributes.removeAll { $0.name == "mid" }
    let read = try Negotiation.read(offer: bare)
    #expect(read.media[0].refusal == nil && read.media[0].mid == nil)
    let answer = try Negotiation.answer(to: bare, try Media.local([Media.microphone.named(nil)]))
    #expect(answer.sections[0].port == 9 && answer.attributes.isEmpty)
    #expect(try Negotiation.read(answer: answer, to: bare).media[0].refusal == nil)
  }

  @Test("answers that do not fit are refused, with the reason")
  func badAnswers() throws {
    let offer = try Negotiation.offer(try Media.local([Media.microphone, Media.camera]))
    let good = try Negotiation.answer(to: offer, try Media.local(answering: offer))
    func error(_ change: (inout SDPDocument) -> Void) -> SDPError? {
      var answer = good
      change(&answer)
      do throws(SDPError) {
        _ = try Negotiation.read(answer: answer, to: offer)
        return nil
      } catch {
        return error
      }
    }
    #expect(error { _ in } == nil)
    #expect(error { $0.sections[1].port = 0 } == nil)
    #expect(error { $0.sections[2].port = 0 } == nil, "data refused, media taken")
    #expect(error { document in for index in 0...2 { document.sections[index].port = 0 } } == .dataSectionRejected)
    #expect(error { $0.attributes = [SDPAttribute("group", "BUNDLE 0 2")] } == .notBundled(section: 1))
    #expect(error { $0.attributes = [] } == .notBundled(section: 0))
    #expect(error { $0.sections[1].attributes.removeAll { $0.name == "rtcp-mux" } } == nil, "the leader has it")
    #expect(
      error { document in
        for index in 0...1 { document.sections[index].attributes.removeAll { $0.name == "rtcp-mux" } }
      } == .noRTCPMux(section: 0))
    #expect(error { $0.sections[1].transport = "RTP/XYZ" } == .answerMismatch)
    #expect(error { $0.sections[1].media = "audio" } == .answerMismatch)
    #expect(error { $0.sections.swapAt(0, 1) } == .answerMismatch)
    #expect(error { $0.sections.removeLast() } == .answerMismatch)
    #expect(error { $0.sections[1].formats = ["35"] } == .noCommonCodec(section: 1))
    #expect(
      error {
        $0.sections[1].formats = ["120"]
        $0.sections[1].attributes.append(SDPAttribute("rtpmap", "120 H265/90000"))
      } == .noCommonCodec(section: 1))
    let mediaOnly = try Negotiation.offer(try Media.local([Media.camera], data: nil))
    var refused = try Negotiation.answer(to: mediaOnly, try Media.local(answering: mediaOnly))
    refused.sections[0].port = 0
    let whole = refused
    #expect(throws: SDPError.allSectionsRejected) { try Negotiation.read(answer: whole, to: mediaOnly) }
  }

  @Test("an answer may use other numbers; both directions are known")
  func asymmetricNumbers() throws {
    let offer = try Negotiation.offer(try Media.local([Media.camera], data: nil))
    var theirs = Media.camera.named("0")
    theirs.codecs = [Media.video(120, "VP8"), Media.rtx(124, of: 120)]
    let plain = try Negotiation.offer(try Media.local([theirs], data: nil))
    var answer = plain
    answer.sections[0].attributes = answer.sections[0].attributes.map {
      $0.name == "setup" ? SDPAttribute("setup", "active") : $0
    }
    let agreed = try Negotiation.agreed(local: offer, remote: try Negotiation.read(answer: answer, to: offer))
    #expect(agreed[0].sendCodecs.map(\.payloadType) == [120, 124])
    #expect(agreed[0].receiveCodecs.map(\.payloadType) == [96, 97])
  }

  @Test("the DTLS association is named in an answer only when the offer names one")
  func tlsID() throws {
    let local = try Media.local([Media.microphone.named("0")])
    let id = try #require(local.tlsID)
    let offer = try Negotiation.offer(local)
    #expect(offer.sections.allSatisfy { $0.attributes.values("tls-id") == [id] })
    let answer = try Negotiation.answer(to: offer, local)
    #expect(answer.sections.allSatisfy { $0.attributes.values("tls-id") == [id] })
    #expect(try Negotiation.read(answer: answer, to: offer).transport.tlsID == id)
    var without = offer
    for index in 0...1 { without.sections[index].attributes.removeAll { $0.name == "tls-id" } }
    #expect(try !Negotiation.answer(to: without, local).text().contains("tls-id"))
    for bad in [
      "short", String(repeating: "x", count: 256), "0123456789abcdef 0123456789", "0123456789abcdef0123456789:",
    ] {
      let text = try offer.text().replacing("tls-id:\(id)", with: "tls-id:\(bad)")
      #expect(readOffer(text).error == .malformedAttribute(name: "tls-id"), "\(bad)")
      var changed = local
      changed.tlsID = bad
      let ours = changed
      #expect(throws: SDPError.unwritableField(bad)) { try Negotiation.offer(ours) }
    }
  }

  @Test("several fingerprints are written and read")
  func fingerprints() throws {
    var local = try Media.local([Media.microphone])
    local.fingerprints.append(try SDPFingerprint(algorithm: "sha-384", bytes: Array(repeating: 1, count: 48)))
    local.fingerprints.append(try SDPFingerprint(algorithm: "sha-512", bytes: Array(repeating: 2, count: 64)))
    let read = try Negotiation.read(offer: try parse(try Negotiation.offer(local).text()).get())
    #expect(read.transport.fingerprints == local.fingerprints)
  }
}
