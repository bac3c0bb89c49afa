// MediaCaptureTests.swift — what Chromium, Firefox, aiortc and Pion really say about media, read and answered.

import SDP
import TestSupport
import Testing

@Suite struct MediaCaptureTests {
  static let everybody = ["chromium", "firefox", "aiortc", "pion"]

  // MARK: Our offers

  @Test("our offers are those that everybody has answered")
  func offersAreUnchanged() throws {
    let (a, b) = (Media.microphone, Media.camera)
    let first = try Negotiation.offer(try Media.local([a, b]))
    #expect(try first.text() == Vectors.text("captures/media/offer.sdp"))

    var second = Media.camera
    (second.ssrc, second.rtxSSRC, second.trackID) = (5555, 6666, "other")
    let more = try Negotiation.offer(
      try Media.local([a.named("0"), b.named("1"), second]), following: first)
    #expect(try more.text() == Vectors.text("captures/media/reoffer.sdp"))

    let less = try Negotiation.offer(try Media.local([a.named("0")]), following: first)
    #expect(try less.text() == Vectors.text("captures/media/stop.sdp"))
    let again = try Negotiation.offer(try Media.local([a.named("0"), b]), following: less)
    #expect(try again.text() == Vectors.text("captures/media/recycle.sdp"))

    let only = try Negotiation.offer(try Media.local([a, b], data: nil))
    #expect(try only.text() == Vectors.text("captures/media/media-only.sdp"))
  }

  @Test("the answers to our offer", arguments: everybody)
  func answers(of peer: String) throws {
    let offer = try Media.capture("offer")
    let remote = try Negotiation.read(answer: try Media.capture("\(peer)-answer"), to: offer)
    #expect(remote.localRole == .passive && remote.transport.mids == ["0", "1", "2"])
    #expect(remote.data?.sctpPort == 5000 && remote.data?.sectionIndex == 2)
    let agreed = try Negotiation.agreed(local: offer, remote: remote)
    #expect(agreed.map(\.mid) == ["0", "1"] && agreed.map(\.kind) == [.audio, .video])
    for media in agreed {
      #expect(media.direction == (peer == "pion" ? .sendOnly : .sendReceive))
      #expect(media.sendCodecs.map(\.payloadType) == media.receiveCodecs.map(\.payloadType))
      #expect(media.remote.hasRTCPMux && media.local.ssrcs.isEmpty == false)
    }
    #expect(agreed[0].sendCodecs.map(\.payloadType) == [111, 0, 8])
    let names = agreed[1].sendCodecs.map { $0.name }
    let expected: [String: [String]] = [
      "chromium": ["VP8", "rtx", "VP9", "rtx", "H264", "rtx", "AV1", "rtx"],
      "firefox": ["VP8", "rtx", "VP9", "rtx", "AV1", "rtx"], "aiortc": ["VP8", "rtx", "H264", "rtx"],
      "pion": ["VP8", "rtx", "VP9", "rtx", "H264", "rtx"],
    ]
    #expect(names == expected[peer])
    let vp8 = try #require(agreed[1].receiveCodecs.first)
    #expect(vp8.feedback.contains("nack pli"))
    #expect(vp8.feedback.contains("transport-cc") == (peer != "aiortc"))
    if peer != "pion" {
      #expect(agreed[1].extensions.contains(SDPExtension(id: 1, uri: Media.midURI)))
      #expect(agreed[1].remote.ssrcs.count == (peer == "chromium" ? 1 : 2) || peer == "chromium")
      #expect(agreed[1].remote.cname != nil && agreed[1].remote.trackID != nil)
    }
    if peer == "firefox" || peer == "aiortc" {
      let ssrcs = agreed[1].remote.ssrcs
      #expect(agreed[1].remote.retransmissions == [ssrcs[1]: ssrcs[0]])
    }
  }

  @Test("the answers to an offer with one section more", arguments: everybody)
  func furtherAnswers(of peer: String) throws {
    let offer = try Media.capture("reoffer")
    let remote = try Negotiation.read(answer: try Media.capture("\(peer)-reanswer"), to: offer, keeping: .passive)
    let agreed = try Negotiation.agreed(local: offer, remote: remote)
    #expect(agreed.map(\.mid) == ["0", "1", "3"] && agreed.map(\.sectionIndex) == [0, 1, 3])
    #expect(remote.transport.mids == ["0", "1", "2", "3"])
  }

  @Test("a section that stops, also where the answer gives it a port", arguments: everybody.filter { $0 != "aiortc" })
  func stopped(at peer: String) throws {
    let offer = try Media.capture("stop")
    let remote = try Negotiation.read(answer: try Media.capture("\(peer)-stop-answer"), to: offer)
    #expect(try Negotiation.agreed(local: offer, remote: remote).map(\.mid) == ["0"])
    #expect(remote.media.map(\.refusal) == [nil, .rejected])
    #expect(remote.transport.mids == ["0", "2"])
  }

  @Test("another section in its place, under another name", arguments: ["chromium", "firefox"])
  func recycled(at peer: String) throws {
    let offer = try Media.capture("recycle")
    let remote = try Negotiation.read(answer: try Media.capture("\(peer)-recycle-answer"), to: offer)
    let agreed = try Negotiation.agreed(local: offer, remote: remote)
    #expect(agreed.map(\.mid) == ["0", "3"] && agreed.map(\.sectionIndex) == [0, 1])
  }

  @Test("no data section at all", arguments: everybody)
  func mediaOnly(at peer: String) throws {
    let offer = try Media.capture("media-only")
    let remote = try Negotiation.read(answer: try Media.capture("\(peer)-media-only-answer"), to: offer)
    #expect(remote.data == nil && remote.transport.mids == ["0", "1"])
    #expect(try Negotiation.agreed(local: offer, remote: remote).count == 2)
  }

  // MARK: Their offers

  @Test("their offers, answered", arguments: everybody)
  func offers(of peer: String) throws {
    let offer = try Media.capture("\(peer)-offer")
    let read = try Negotiation.read(offer: offer)
    #expect(read.media.map(\.refusal) == [nil, nil] && read.media.map(\.direction) == [.sendReceive, .sendReceive])
    #expect(read.transport.mids == ["0", "1", "2"] && read.transport.sectionIndex == 0)
    #expect(read.media[0].codec("opus")?.channels == 2)
    #expect(read.media.allSatisfy { $0.ssrcs.count == $0.retransmissions.count + 1 && $0.cname != nil })
    #expect(read.media.allSatisfy { $0.trackID != nil && $0.streamIDs.count <= 1 })

    let local = try Media.local(answering: offer)
    let answer = try Negotiation.answer(to: offer, local)
    #expect(parse(try answer.text()) == .success(answer))
    #expect(answer.sections.map(\.port) == [9, 9, 9])
    #expect(answer.attributes.values("group") == ["BUNDLE 0 1 2"])
    #expect(!answer.sections.contains { $0.attributes.contains(name: "tls-id") }, "theirs has none")
    #expect(answer.sections.map { $0.attributes.values("candidate").count } == [1, 0, 0])

    // Both sides come to the same.
    let remote = try Negotiation.read(answer: answer, to: offer)
    let (theirs, ours) = (
      try Negotiation.agreed(local: offer, remote: remote), try Negotiation.agreed(local: answer, remote: read)
    )
    #expect(
      theirs.map(\.direction) == [.sendReceive, .sendReceive] && ours.map(\.direction) == theirs.map(\.direction))
    for (a, b) in zip(theirs, ours) {
      #expect(Set(a.sendCodecs.map(\.payloadType)) == Set(b.receiveCodecs.map(\.payloadType)))
      #expect(Set(a.extensions.map(\.id)) == Set(b.extensions.map(\.id)))
      for codec in b.receiveCodecs {
        let offered = a.local.codecs.first { $0.payloadType == codec.payloadType }
        #expect(offered?.name == codec.name, "the number is theirs")
        #expect(codec.feedback.allSatisfy { offered?.feedback.contains($0) == true })
      }
    }
    let codecs = ours[1].receiveCodecs
    #expect(codecs.first?.name == "VP8")
    for (index, codec) in codecs.enumerated() where codec.isRetransmission {
      #expect(codec.repairedPayloadType == codecs[index - 1].payloadType)
    }
    let h264 = codecs.filter { $0.name == "H264" }
    #expect(h264.map(\.parameters) == (peer == "firefox" ? [] : [Media.h264]), "of six profiles, ours")
  }

  @Test("Chromium adds media to a data channel: the data section leads")
  func reoffer() throws {
    let offer = try Media.capture("chromium-reoffer")
    let read = try Negotiation.read(offer: offer, keeping: .active)
    #expect(read.transport.mids == ["0", "1", "2"] && read.data?.sectionIndex == 0)
    #expect(read.media.map(\.sectionIndex) == [1, 2])
    let answer = try Negotiation.answer(to: offer, try Media.local(answering: offer), keeping: .active)
    #expect(answer.sections.map(\.media) == ["application", "audio", "video"])
    #expect(answer.transportSectionIndex == 0 && answer.sections[0].attributes.contains(name: "candidate"))
  }

  @Test("Firefox offers sections that are only to be had in the bundle")
  func bundleOnly() throws {
    let offer = try Media.capture("firefox-bundle-only-offer")
    #expect(offer.sections.map(\.port).filter { $0 == 0 }.count == 2)
    let read = try Negotiation.read(offer: offer)
    #expect(read.transport.sectionIndex == 0 && read.transport.mids == ["0", "1", "2"] && read.data != nil)
    let answer = try Negotiation.answer(to: offer, try Media.local(answering: offer))
    #expect(answer.sections.map(\.port) == [9, 9, 9])
    #expect(!(try answer.text().contains("bundle-only")))
  }

  @Test("simulcast: layers by name, paused ones marked", arguments: ["chromium", "firefox"])
  func simulcast(of peer: String) throws {
    let offer = try Media.capture("\(peer)-simulcast-offer")
    let media = try #require(try Negotiation.read(offer: offer).media.first)
    #expect(media.direction == .sendOnly && media.rids.map(\.id) == ["h", "m", "l"])
    #expect(media.rids.allSatisfy { $0.direction == .send && $0.payloadTypes.isEmpty })
    let layers = try #require(media.simulcast)
    #expect(layers.send.map { $0.map(\.rid) } == [["h"], ["m"], ["l"]] && layers.receive.isEmpty)
    #expect(layers.send.map { $0[0].isPaused } == [false, false, peer == "chromium"])
    let answer = try Negotiation.answer(to: offer, try Media.local(answering: offer))
    #expect(answer.sections[0].attributes.contains(name: "recvonly"))
    #expect(!answer.sections[0].attributes.contains(name: "ssrc"), "nothing is sent")
  }

  @Test("media that is not taken leaves the data section alone in the bundle, with its own transport")
  func mediaRefused() throws {
    let offer = try Media.capture("chromium-offer")
    let read = try Negotiation.read(offer: offer) { _ in false }
    #expect(read.media.map(\.refusal) == [.notAccepted, .notAccepted])
    #expect(read.transport.mids == ["2"] && read.transport.sectionIndex == 2)
    let answer = try Negotiation.answer(to: offer, try Sample.local())
    #expect(answer.sections.map(\.port) == [0, 0, 9] && answer.attributes.values("group") == ["BUNDLE 2"])
    let camera = try Media.local([Media.camera.named("1")])
    #expect(try Negotiation.read(offer: offer, accepting: camera.accepts).media.map(\.refusal) == [.notAccepted, nil])
    let half = try Negotiation.answer(to: offer, try Media.local([Media.camera.named("1")], data: nil))
    #expect(half.sections.map(\.port) == [0, 9, 0] && half.attributes.values("group") == ["BUNDLE 1"])
    #expect(half.transportSectionIndex == 1 && half.sections[1].attributes.contains(name: "candidate"))
  }
}
