// MediaAttackTests.swift — L1 to L8 of the attack list for the attributes of audio and video.

import SDP
import TestSupport
import Testing
import Wire

@Suite struct MediaAttackTests {
  private static let offer =
    Sample.chromiumMediaOffer.replacing("a=rtpmap:96 VP8/90000", with: "a=rtcp-mux\r\na=rtpmap:96 VP8/90000")

  /// What comes of the offer with lines added to its camera.
  private static func camera(_ lines: String, replacing line: String = "a=rtpmap:96 VP8/90000") -> Result<
    MediaDescription, SDPError
  > {
    let text = offer.replacing(line + "\r\n", with: wire(lines))
    precondition(text != offer || lines == line)
    return readOffer(text).map { $0.media[1] }
  }
  private static let vp8 = "a=rtpmap:96 VP8/90000"

  @Test("L1: no field of our media can add a line or a word", arguments: ["\r\na=x", "\n", "\0", " x", ""])
  func injection(_ evil: String) throws {
    func isRefused(_ change: (inout LocalMedia) -> Void) throws -> Bool {
      var media = Media.camera
      change(&media)
      let local = try Media.local([media])
      do throws(SDPError) {
        _ = try Negotiation.offer(local).text()
        return false
      } catch {
        guard case .unwritableField = error else { return false }
        return true
      }
    }
    func spoil(_ text: String) -> String { evil.isEmpty ? "" : text + evil }
    #expect(try !isRefused { _ in })
    #expect(try isRefused { $0.mid = spoil("0") })
    #expect(try isRefused { $0.streamID = spoil("stream") })
    #expect(try isRefused { $0.trackID = spoil("track") })
    #expect(try isRefused { $0.cname = spoil("name") })
    #expect(try isRefused { $0.codecs[0].name = spoil("VP8") })
    #expect(try isRefused { $0.extensions[0].uri = spoil("urn:x") })
    #expect(try isRefused { $0.codecs[0].feedback[0] = evil.isEmpty || evil == " x" ? "a  b" : spoil("nack") })
    #expect(try isRefused { $0.codecs[0].parameters = evil.isEmpty || evil == " x" ? " x=1" : spoil("x=1") })
  }

  @Test("L1: nor a number out of its range")
  func ownNumbers() throws {
    for change in [
      { $0.codecs[0].channels = 0 }, { $0.codecs[0].channels = 256 }, { $0.codecs[0].clockRate = 0 },
      { $0.codecs[0].name = "VP8/1" },
    ] as [(inout LocalMedia) -> Void] {
      var media = Media.camera
      change(&media)
      let local = try Media.local([media])
      #expect("\(media)") {
        _ = try Negotiation.offer(local)
      } throws: { error in
        if case .unwritableField? = error as? SDPError { true } else { false }
      }
    }
    // A payload type or an extension that cannot be is given another number.
    var media = Media.camera
    media.codecs[0].payloadType = 200
    media.extensions[0].id = 0
    media.extensions[1].id = 15
    let offer = try Negotiation.offer(try Media.local([media]))
    #expect(offer.sections[0].formats.allSatisfy { (UInt8($0) ?? 255) < 128 })
    #expect(try Negotiation.read(offer: offer).media[0].extensions.count == 3)
  }

  @Test("L2: numbers out of their range are refused, and named")
  func numbers() {
    for (lines, name) in [
      ("a=rtpmap:128 VP8/90000", "rtpmap"), ("a=rtpmap:-1 VP8/90000", "rtpmap"), ("a=rtpmap:+1 VP8/90000", "rtpmap"),
      ("a=rtpmap:96 VP8/4294967296", "rtpmap"), ("a=rtpmap:96 VP8/0", "rtpmap"), ("a=rtpmap:96 VP8", "rtpmap"),
      ("a=rtpmap:96 /90000", "rtpmap"), ("a=rtpmap:96", "rtpmap"), ("a=rtpmap", "rtpmap"),
      ("a=rtpmap:96 VP8/90000/1/1", "rtpmap"), ("a=rtpmap:96 VP8 /90000", "rtpmap"),
      ("a=fmtp:128 x=1", "fmtp"), ("a=fmtp:x x=1", "fmtp"), ("a=fmtp", "fmtp"),
      ("a=rtcp-fb:96", "rtcp-fb"), ("a=rtcp-fb:128 nack", "rtcp-fb"), ("a=rtcp-fb:x nack", "rtcp-fb"),
      ("a=rtcp-fb", "rtcp-fb"),
      ("a=extmap:0 urn:x", "extmap"), ("a=extmap:4352 urn:x", "extmap"), ("a=extmap:65536 urn:x", "extmap"),
      ("a=extmap:-1 urn:x", "extmap"), ("a=extmap:1", "extmap"), ("a=extmap:1/both urn:x", "extmap"),
      ("a=extmap:1/sendonly/x urn:x", "extmap"), ("a=extmap:/sendonly urn:x", "extmap"), ("a=extmap", "extmap"),
      ("a=ssrc:4294967296 cname:x", "ssrc"), ("a=ssrc:-1 cname:x", "ssrc"), ("a=ssrc: cname:x", "ssrc"),
      ("a=ssrc", "ssrc"),
      ("a=ssrc-group:FID 1 4294967296", "ssrc-group"), ("a=ssrc-group:FID", "ssrc-group"),
      ("a=ssrc-group", "ssrc-group"),
      ("a=rid:h", "rid"), ("a=rid:h both", "rid"), ("a=rid:h! send", "rid"), ("a=rid: send", "rid"),
      ("a=rid:h send pt=128", "rid"), ("a=rid:h send pt=", "rid"), ("a=rid:h send pt=96,,97", "rid"), ("a=rid", "rid"),
      ("a=rid:\(String(repeating: "x", count: 256)) send", "rid"),
      ("a=simulcast:send", "simulcast"), ("a=simulcast:both h", "simulcast"), ("a=simulcast:send h;;l", "simulcast"),
      ("a=simulcast:send h send l", "simulcast"), ("a=simulcast:send ~~h", "simulcast"), ("a=simulcast", "simulcast"),
      ("a=simulcast:send h recv l send m", "simulcast"), ("a=simulcast:send ,h", "simulcast"),
      ("a=msid:a b c", "msid"), ("a=msid", "msid"),
    ] {
      #expect(Self.camera("\(Self.vp8)\n\(lines)").error == .malformedAttribute(name: name), "\(lines)")
    }
    for format in ["128", "x", "-1", "+96", "256", "99999999999999999999"] {
      let text = Self.offer.replacing("SAVPF 96 97", with: "SAVPF 96 \(format)")
      #expect(readOffer(text).error == .malformedFormat(format))
    }
    let channels = Self.offer.replacing("opus/48000/2", with: "opus/48000/256")
    #expect(readOffer(channels).error == .malformedAttribute(name: "rtpmap"))
  }

  @Test("L2: payload types that RTCP would be mistaken for are never used")
  func rtcpConflicts() throws {
    let lines = "\(Self.vp8)\na=rtpmap:64 VP9/90000\na=rtpmap:95 AV1/90000\na=rtpmap:63 H265/90000"
    let text = Self.offer.replacing(Self.vp8 + "\r\n", with: wire(lines))
      .replacing("SAVPF 96 97", with: "SAVPF 64 95 63 96")
    #expect(try readOffer(text).get().media[1].codecs.map(\.payloadType) == [63, 96])
    let only = text.replacing("SAVPF 64 95 63 96", with: "SAVPF 64 95")
    #expect(try readOffer(only).get().media[1].refusal == .notAccepted, "nothing is left of it")
  }

  @Test("L3: what is said twice must say the same")
  func duplicates() throws {
    for (lines, name) in [
      ("a=rtpmap:96 VP9/90000", "rtpmap"), ("a=fmtp:96 x=1\na=fmtp:96 x=2", "fmtp"),
      ("a=sendonly\na=recvonly", "recvonly"),
      ("a=extmap:1 urn:a\na=extmap:1 urn:b", "extmap"), ("a=rid:h send\na=rid:h recv", "rid"),
      ("a=simulcast:send h\na=simulcast:send l", "simulcast"),
    ] {
      #expect(Self.camera("\(Self.vp8)\n\(lines)").error == .conflictingAttribute(name: name), "\(lines)")
    }
    let same = """
      \(Self.vp8)
      \(Self.vp8)
      a=fmtp:96 x=1
      a=fmtp:96 x=1
      a=extmap:1 urn:a
      a=extmap:1 urn:a
      a=extmap:2 urn:a
      a=rid:h send
      a=rid:h send
      a=rtcp-fb:96 nack
      a=rtcp-fb:* nack
      a=ssrc:1 cname:x
      a=ssrc:1 msid:a b
      """
    let media = try Self.camera(same).get()
    #expect(media.codecs.count == 1 && media.codecs[0].feedback == ["nack"] && media.extensions.count == 1)
    #expect(media.rids.count == 1 && media.ssrcs == [1])
    let formats = Self.offer.replacing("SAVPF 96 97", with: "SAVPF 96 96 096 97")
    #expect(try readOffer(formats).get().media[1].codecs.count == 1)
  }

  @Test("L4: lists have bounds")
  func bounds() throws {
    func lines(_ count: Int, _ line: (Int) -> String) -> String {
      "\(Self.vp8)\n" + (0..<count).map(line).joined(separator: "\n")
    }
    for (bound, error, line) in [
      (64, .tooManySSRCs, { "a=ssrc:\($0) cname:x" }), (64, .tooManySSRCs, { "a=ssrc-group:FID \($0) 1" }),
      (32, .tooManyRids, { "a=rid:r\($0) send" }), (32, .tooManyCodecs, { "a=rtcp-fb:96 x\($0)" }),
      (32, .tooManySSRCs, { "a=msid:s\($0) t" }),
    ] as [(Int, SDPError, (Int) -> String)] {
      #expect(Self.camera(lines(bound, line)).error == nil, "\(line(0))")
      #expect(Self.camera(lines(bound + 1, line)).error == error, "\(line(0))")
    }
    let mixed = { (count: Int) in lines(count) { "a=extmap:\($0 + 16) urn:x\($0)" } }
    #expect(try Self.camera(mixed(64)).get().extensions.count == 64)
    #expect(Self.camera(mixed(65)).error == .tooManyExtensions)
    let group = "a=ssrc-group:SIM " + (0..<65).map { "\($0)" }.joined(separator: " ")
    #expect(Self.camera("\(Self.vp8)\n\(group)").error == .tooManySSRCs)
    let formats = Self.offer.replacing("SAVPF 96 97", with: "SAVPF" + String(repeating: " 96", count: 129))
    #expect(readOffer(formats).error == .tooManyCodecs)
    var small = SDPLimits()
    small.maximumSSRCs = 0
    let offer = try parse(Self.offer).get()
    #expect(throws: SDPError.tooManySSRCs) { try Negotiation.read(offer: offer, limits: small) }
  }

  @Test("L5: session level and media level")
  func levels() throws {
    let session = Self.offer.replacing(
      "a=extmap-allow-mixed\r\n", with: "a=extmap-allow-mixed\r\na=recvonly\r\na=extmap:20 urn:session\r\n")
    let media = try readOffer(session).get().media
    #expect(media.map(\.direction) == [.sendReceive, .receiveOnly], "the media level wins")
    #expect(media.allSatisfy { $0.extensions.contains(SDPExtension(id: 20, uri: "urn:session")) })
    let unmixed = session.replacing("a=extmap-allow-mixed\r\n", with: "")
    #expect(try readOffer(unmixed).get().media[1].extensions == [], "beyond 14 only where headers may be mixed")
    let one = try Self.camera("\(Self.vp8)\na=extmap-allow-mixed\na=extmap:15 urn:x\na=extmap:4096 urn:y").get()
    #expect(one.allowsMixedExtensions && one.extensions == [])
  }

  @Test("what nobody knows is passed over")
  func unknown() throws {
    let media = try Self.camera(
      """
      \(Self.vp8)
      a=fmtp:99 nobody=1
      a=fmtp:96
      a=rtcp-fb:99 nack
      a=rtcp-fb:* ccm  fir
      a=rtpmap:35 flexfec-03/90000
      a=maxptime:60
      a=ssrc:7
      a=ssrc:7 new:thing
      a=rid:x send pt=5
      a=rid:y send pt=96;max-width=1280; max-fps=30
      a=simulcast:send y,~x;z recv y
      a=imageattr:* send *
      a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x
      a=recvonly:3
      """
    ).get()
    #expect(media.codecs == [SDPCodec(payloadType: 96, name: "VP8", clockRate: 90_000, feedback: ["ccm fir"])])
    #expect(media.ssrcs == [7] && media.direction == .sendReceive)
    #expect(
      media.rids == [SDPRid(id: "y", direction: .send, payloadTypes: [96], restrictions: "max-width=1280;max-fps=30")])
    #expect(media.simulcast == SDPSimulcast(send: [[.init(rid: "y")]]), "streams without a=rid are none")
  }

  @Test("static payload types need no rtpmap, and mean something for their kind only")
  func staticTypes() throws {
    let audio = try readOffer(Self.offer).get().media[0]
    #expect(audio.codecs.map(\.name) == ["opus", "G722", "PCMU", "PCMA", "CN"])
    #expect(audio.codecs.map(\.clockRate) == [48_000, 8_000, 8_000, 8_000, 8_000])
    let video = Self.offer.replacing("SAVPF 96 97", with: "SAVPF 0 8 34 96")
    #expect(try readOffer(video).get().media[1].codecs.map(\.name) == ["H263", "VP8"])
  }

  @Test("Plan B's stream, in the attributes of an SSRC")
  func oldStreams() throws {
    let media = try Self.camera("\(Self.vp8)\na=ssrc:9 cname:c\na=ssrc:9 msid:stream track").get()
    #expect(media.streamIDs == ["stream"] && media.trackID == "track" && media.cname == "c")
    let both = try Self.camera("\(Self.vp8)\na=ssrc:9 msid:old old\na=msid:- new\na=msid:other new").get()
    #expect(both.streamIDs == ["other"] && both.trackID == "new")
  }

  @Test("L8: whatever changes in a description with media, it is read or refused, and what follows can be read")
  func mutations() throws {
    let names = [
      "chromium-offer", "firefox-offer", "aiortc-offer", "pion-offer", "chromium-simulcast-offer", "reoffer",
    ]
    let texts = try names.map { Array(try Vectors.text("captures/media/\($0).sdp").split(separator: "\r\n")) }
    var (accepted, answered) = (0, 0)
    for seed in 1...25 as ClosedRange<UInt64> {
      var random = RandomSource.seeded(state: seed)
      for (index, original) in texts.enumerated() {
        var lines = original.map { Array($0.utf8) }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          let line = Int.random(in: 0..<lines.count, using: &random)
          switch Int.random(in: 0..<5, using: &random) {
          case 0: lines.remove(at: line)
          case 1: lines.insert(lines[line], at: Int.random(in: 0...lines.count, using: &random))
          case 2: lines.swapAt(line, Int.random(in: 0..<lines.count, using: &random))
          case 3: lines[line] = Array(lines[line].dropLast(Int.random(in: 0...9, using: &random)))
          default:
            if let at = lines[line].indices.randomElement(using: &random) {
              lines[line][at] = UInt8.random(in: 0x20...0x7e, using: &random)
            }
          }
        }
        let text = String(decoding: Array(lines.joined(separator: [13, 10])), as: UTF8.self)
        guard case .success(let offer) = parse(text), case .success(let read) = readOffer(text) else { continue }
        accepted += 1
        let story = "seed \(seed), \(names[index])"
        do throws(SDPError) {
          let local = try Self.local(for: read)
          let answer = try Negotiation.answer(to: offer, local)
          #expect(parse(try answer.text()) == .success(answer), "\(story)")
          let remote = try Negotiation.read(answer: answer, to: offer)
          _ = try Negotiation.agreed(local: answer, remote: read)
          _ = try Negotiation.agreed(local: offer, remote: remote)
          let next = try Negotiation.offer(local, following: answer)
          #expect(parse(try next.text()) == .success(next), "\(story)")
          _ = try Negotiation.read(offer: next)
          answered += 1
        } catch {
          Issue.record("\(story): \(error)")
        }
      }
    }
    #expect(accepted > 50 && answered == accepted)
  }

  private static func local(for read: RemoteDescription) throws(SDPError) -> LocalDescription {
    var local = LocalDescription(
      sessionID: 1, credentials: try SDPCredentials(usernameFragment: "frag", password: "0123456789abcdefghijkl"),
      fingerprints: [try SDPFingerprint(algorithm: "sha-256", bytes: Array(repeating: 1, count: 32))])
    local.media = read.media.map { ($0.kind == .audio ? Media.microphone : Media.camera).named($0.mid) }
    return local
  }
}
