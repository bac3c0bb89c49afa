// NegotiationTests.swift — offers and answers between us and everybody else (RFC 9429, 8839, 8841, 8842, 8843).

import SDP
import TestSupport
import Testing

@Suite struct ReadingTests {
  @Test func chromium() throws {
    let remote = try readOffer(Sample.chromiumOffer).get()
    #expect(remote.localRole == .active)
    #expect(remote.data?.sectionIndex == 0 && remote.data?.mid == "0")
    #expect(remote.transport.credentials.usernameFragment == "zK8/")
    #expect(remote.transport.credentials.password == "wAxWm3tYQ1f5yT+qyhS0tB4k")
    #expect(remote.transport.fingerprints.map(\.description) == ["sha-256 \(sha256A)"])
    #expect(remote.transport.setup == .actpass && remote.transport.supportsTrickle && !remote.transport.isLite)
    #expect(remote.data?.sctpPort == 5000 && remote.data?.maximumMessageSize == 262_144)
    #expect(remote.transport.candidates.count == 1 && !remote.transport.hasAllCandidates)
    #expect(remote.transport.candidates[0].hasPrefix("candidate:2467150382 1 udp 2113937151 5f1f7a52-"))
    #expect(remote.transport.candidates[0].hasSuffix(".local 48725 typ host generation 0 network-cost 999"))
  }

  @Test func firefox() throws {
    let remote = try readOffer(Sample.firefoxOffer).get()
    #expect(remote.transport.fingerprints.map(\.description) == ["sha-256 \(sha256B.uppercased())"])
    #expect(remote.transport.candidates.count == 4 && remote.transport.hasAllCandidates)
    #expect(remote.transport.supportsTrickle)
    #expect(remote.data?.maximumMessageSize == 1_073_741_823)
    #expect(remote.transport.credentials.usernameFragment == "1a2b3c4d")
  }

  @Test func libdatachannel() throws {
    let remote = try readOffer(Sample.libdatachannelOffer).get()
    #expect(remote.transport.iceOptions == ["ice2", "trickle"] && remote.transport.supportsTrickle)
  }

  @Test("answers: whoever says active is the client, we are what is left")
  func answers() throws {
    for answer in [Sample.chromiumAnswer, Sample.firefoxAnswer] {
      #expect(try readAnswer(answer).get().localRole == .passive)
      let passive = answer.replacing("setup:active", with: "setup:passive")
      #expect(try readAnswer(passive).get().localRole == .active)
    }
  }

  @Test("the example of RFC 8841: IPv6, another SCTP port, a passive answer")
  func rfc8841() throws {
    func description(port: Int, address: String, setup: String, sctpPort: Int, size: String) -> String {
      wire(
        """
        v=0
        o=alice 2890844526 2890844526 IN IP6 \(address)
        s=
        t=0 0
        m=application \(port) UDP/DTLS/SCTP webrtc-datachannel
        c=IN IP6 \(address)
        a=ice-ufrag:8hhY
        a=ice-pwd:asd88fgpdd777uzjYhagZg
        a=tls-id:abc3de65cddef001be82
        a=setup:\(setup)
        a=fingerprint:SHA-256 \(sha256A)
        a=sctp-port:\(sctpPort)
        a=max-message-size:\(size)
        """)
    }
    let offer = description(port: 54111, address: "2001:DB8::A8FD", setup: "actpass", sctpPort: 5000, size: "100000")
    let remote = try readOffer(offer).get()
    #expect(remote.data?.maximumMessageSize == 100_000 && remote.data?.mid == nil)
    #expect(remote.transport.fingerprints[0].algorithm == "sha-256", "the name's case does not matter")
    let answer = description(port: 64300, address: "2001:DB8::1D", setup: "passive", sctpPort: 6000, size: "100000")
    let result = try Negotiation.read(answer: try parse(answer).get(), to: try parse(offer).get())
    #expect(result.localRole == .active && result.data?.sctpPort == 6000)
  }

  @Test func whatAbsentAttributesMean() throws {
    let bare = Sample.chromiumOffer.replacing("a=sctp-port:5000\r\n", with: "")
      .replacing("a=max-message-size:262144\r\n", with: "").replacing("a=mid:0\r\n", with: "")
      .replacing("a=group:BUNDLE 0\r\n", with: "").replacing("a=ice-options:trickle\r\n", with: "")
    let remote = try readOffer(bare).get()
    #expect(remote.data?.sctpPort == 5000 && remote.data?.maximumMessageSize == 65_536)
    #expect(remote.data?.mid == nil && !remote.transport.supportsTrickle)
    #expect(remote.transport.isNamed(mid: nil, sectionIndex: 0) && !remote.transport.isNamed(mid: "0", sectionIndex: 0))
    let unlimited = Sample.chromiumOffer.replacing("size:262144", with: "size:0")
    #expect(try readOffer(unlimited).get().data?.maximumMessageSize == .max, "0 is any size")
  }

  @Test("a candidate's mid decides where it belongs, its index only without one")
  func candidateNames() throws {
    let offer = try parse(Sample.chromiumMediaOffer).get()
    let transport = try Negotiation.read(offer: offer, accepting: { _ in false }).transport
    #expect(transport.sectionIndex == 2 && transport.mid == "2")
    #expect(transport.isNamed(mid: "2", sectionIndex: 7) && transport.isNamed(mid: nil, sectionIndex: 2))
    #expect(!transport.isNamed(mid: "0", sectionIndex: 2) && !transport.isNamed(mid: nil, sectionIndex: 0))
    #expect(!transport.isNamed(mid: nil, sectionIndex: nil))
  }

  @Test("what is missing is named")
  func missing() {
    for (line, error) in [
      ("a=ice-ufrag:zK8/", .missingCredentials), ("a=ice-pwd:wAxWm3tYQ1f5yT+qyhS0tB4k", .missingCredentials),
      ("a=fingerprint:sha-256 \(sha256A)", .missingFingerprint), ("a=setup:actpass", .missingSetup),
    ] as [(String, SDPError)] {
      #expect(readOffer(Sample.chromiumOffer.replacing(line + "\r\n", with: "")).error == error, "\(line)")
    }
  }

  @Test("sections that are no data channels")
  func noDataSection() {
    for (from, to) in [
      ("m=application 9", "m=application 0"), ("m=application", "m=audio"), ("UDP/DTLS/SCTP", "UDP/TLS/SCTP"),
      ("SCTP webrtc-datachannel", "SCTP something-else"), ("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000"),
    ] {
      #expect(readOffer(Sample.chromiumOffer.replacing(from, with: to)).error == .noDataSection, "\(to)")
    }
    #expect(readOffer(Sample.chromiumOffer.replacing("UDP/DTLS", with: "TCP/DTLS")).error == nil)
    let bundleOnly = Sample.chromiumOffer.replacing("application 9", with: "application 0") + "a=bundle-only\r\n"
    #expect(readOffer(bundleOnly).error == nil, "port 0 within a bundle is no refusal")
    #expect(
      readOffer(Sample.chromiumOffer.replacing("sctp-port:5000", with: "sctp-port:0")).error == .dataSectionRejected)
  }

  @Test("a bundled section may leave its transport to the section that leads the bundle")
  func bundledTransport() throws {
    var text = Sample.chromiumMediaOffer
    let data = try #require(text.firstRange(of: "m=application")).lowerBound
    let stripped = String(text[data...]).split(separator: "\r\n")
      .filter { line in !["a=ice-", "a=fingerprint", "a=setup"].contains { line.hasPrefix($0) } }
    text = String(text[..<data]) + wire(stripped.joined(separator: "\n"))
    let remote = try readOffer(text).get()
    #expect(remote.transport.credentials.usernameFragment == "p3Qa" && remote.data?.sectionIndex == 2)
    #expect(readOffer(text.replacing("BUNDLE 0 1 2", with: "BUNDLE 0 1")).error == .missingCredentials)
  }

  @Test func fingerprints() throws {
    let long = "sha-512 " + (0..<64).map { _ in "0F" }.joined(separator: ":")
    let two = Sample.chromiumOffer + "a=fingerprint:\(long)\r\na=fingerprint:x-new 01:02\r\n"
    let read = try readOffer(two).get().transport.fingerprints
    #expect(read.map(\.algorithm) == ["sha-256", "sha-512", "x-new"] && read[2].bytes == [1, 2])
    let many = Sample.chromiumOffer + String(repeating: "a=fingerprint:x-new 01\r\n", count: 16)
    #expect(readOffer(many).error == .malformedAttribute(name: "fingerprint"))
    for bad in [
      "", "sha-256", "sha-256 ", "sha-256 AB", "sha-256 \(sha256A):AB", "sha-256 \(sha256A) x", "x 1:02", "x 01::02",
      "x +1:02", "x 01:0g", "x 01:", "x " + String(repeating: "01:", count: 64) + "01",
    ] {
      let text = Sample.chromiumOffer.replacing("fingerprint:sha-256 \(sha256A)", with: "fingerprint:\(bad)")
      #expect(readOffer(text).error == .malformedAttribute(name: "fingerprint"), "\(bad)")
    }
  }

  @Test func credentials() {
    for (from, to, name) in [
      ("ufrag:zK8/", "ufrag:zK8", "ice-ufrag"), ("ufrag:zK8/", "ufrag:zK:8", "ice-ufrag"),
      ("ufrag:zK8/", "ufrag:zK 8", "ice-ufrag"), ("ufrag:zK8/", "ufrag:zKé8", "ice-ufrag"),
      ("ufrag:zK8/", "ufrag:" + String(repeating: "x", count: 257), "ice-ufrag"),
      ("pwd:wAxWm3tYQ1f5yT+qyhS0tB4k", "pwd:0123456789abcdefghijk", "ice-pwd"),
      ("pwd:wAxWm3tYQ1f5yT+qyhS0tB4k", "pwd:" + String(repeating: "x", count: 257), "ice-pwd"),
    ] {
      #expect(
        readOffer(Sample.chromiumOffer.replacing(from, with: to)).error == .malformedAttribute(name: name), "\(to)")
    }
    for good in ["abcd", String(repeating: "x", count: 256), "a+/-_="] {
      #expect(readOffer(Sample.chromiumOffer.replacing("zK8/", with: good)).error == nil, "\(good)")
    }
  }
}

@Suite struct OfferAnswerTests {
  @Test func ourOffer() throws {
    var local = try Sample.local()
    local.hasAllCandidates = true
    let expected = wire(
      """
      v=0
      o=- 4242 1 IN IP4 127.0.0.1
      s=-
      t=0 0
      a=group:BUNDLE 0
      m=application 9 UDP/DTLS/SCTP webrtc-datachannel
      c=IN IP4 0.0.0.0
      a=candidate:1 1 udp 2130706431 192.0.2.9 40000 typ host
      a=end-of-candidates
      a=ice-ufrag:frag
      a=ice-pwd:0123456789abcdefghijkl
      a=ice-options:ice2 trickle
      a=fingerprint:sha-256 \(sha256A)
      a=setup:actpass
      a=mid:0
      a=sctp-port:5000
      a=max-message-size:262144
      """)
    #expect(try Negotiation.offer(local).text() == expected)
  }

  @Test("our answer to each of them can be read, and says the other role", arguments: Sample.offers)
  func answersRead(_ sample: Sample.Named) throws {
    let offer = try parse(sample.text).get()
    let answer = try Negotiation.answer(to: offer, try Sample.local())
    #expect(parse(try answer.text()) == .success(answer))
    let remote = try Negotiation.read(answer: answer, to: offer)
    #expect(remote.transport.setup == .active && remote.localRole == .passive)
    #expect(remote.data?.maximumMessageSize == 262_144 && remote.data?.sctpPort == 5000)
    #expect(answer.sections.map(\.media) == offer.sections.map(\.media))
    #expect(answer.sections.map(\.transport) == offer.sections.map(\.transport))
  }

  @Test("sections we do not speak keep their place, with port 0")
  func rejectedSections() throws {
    let answer = try Negotiation.answer(to: try parse(Sample.chromiumMediaOffer).get(), try Sample.local())
    let text = try answer.text()
    #expect(answer.sections.map(\.port) == [0, 0, 9])
    #expect(answer.sections.map { $0.attributes.values("mid") } == [["0"], ["1"], ["2"]])
    #expect(text.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n"))
    #expect(text.contains("a=group:BUNDLE 2\r\n"), "only what is left")
    #expect(!text.contains("opus") && !text.contains("ssrc"))
    #expect(answer.sections[0].attributes.contains(name: "inactive"))
  }

  @Test("the bundle is mirrored, not invented")
  func bundles() throws {
    let local = try Sample.local()
    let without = try parse(Sample.chromiumOffer.replacing("a=group:BUNDLE 0\r\n", with: "")).get()
    #expect(!(try Negotiation.answer(to: without, local).text().contains("a=group")))
    let other = try parse(Sample.chromiumMediaOffer.replacing("BUNDLE 0 1 2", with: "BUNDLE 0 1")).get()
    #expect(!(try Negotiation.answer(to: other, local).text().contains("a=group")))
    let named = try parse(
      Sample.chromiumOffer.replacing("mid:0", with: "mid:da+ta").replacing("BUNDLE 0", with: "BUNDLE da+ta")
    ).get()
    let text = try Negotiation.answer(to: named, local).text()
    #expect(text.contains("a=group:BUNDLE da+ta\r\n") && text.contains("a=mid:da+ta\r\n"))
    let nameless = try parse(Sample.chromiumOffer.replacing("a=mid:0\r\n", with: "")).get()
    #expect(!(try Negotiation.answer(to: nameless, local).text().contains("a=mid")))
  }

  @Test("of two data sections, the first is taken")
  func twoDataSections() throws {
    let second = Sample.chromiumOffer.replacing("a=mid:0", with: "a=mid:1")
    let start = try #require(second.firstRange(of: "m=application")).lowerBound
    let offer = try parse(Sample.chromiumOffer + second[start...]).get()
    let answer = try Negotiation.answer(to: offer, try Sample.local())
    #expect(answer.sections.map(\.port) == [9, 0])
    let refused = Sample.chromiumOffer.replacing("application 9", with: "application 0")
    let other = try Negotiation.answer(to: try parse(refused + second[start...]).get(), try Sample.local())
    #expect(other.sections.map(\.port) == [0, 9])
    #expect(try Negotiation.offer(try Sample.local(), following: other).sections.map(\.port) == [0, 9])
  }

  @Test("the role: active unless the offer or a living association says otherwise")
  func roles() throws {
    func role(_ setup: String, keeping role: SDPRole? = nil) -> SDPRole? {
      let text = Sample.chromiumOffer.replacing("setup:actpass", with: "setup:\(setup)")
      guard case .success(let remote) = readOffer(text, keeping: role) else { return nil }
      return remote.localRole
    }
    #expect(role("actpass") == .active && role("active") == .passive && role("passive") == .active)
    #expect(role("actpass", keeping: .passive) == .passive && role("actpass", keeping: .active) == .active)
    #expect(role("active", keeping: .passive) == .passive && role("passive", keeping: .active) == .active)
    #expect(role("active", keeping: .active) == nil && role("passive", keeping: .passive) == nil)
    #expect(try readAnswer(Sample.chromiumAnswer, keeping: .passive).get().localRole == .passive)
    #expect(try readAnswer(Sample.chromiumAnswer, keeping: .active).error == .setupConflict)

    let offer = try parse(Sample.chromiumOffer).get()
    let answer = try Negotiation.answer(to: offer, try Sample.local(), keeping: .passive)
    #expect(answer.sections[0].attributes.values("setup") == ["passive"])
  }

  @Test("a further offer: same session, next version, same places, same name")
  func reoffer() throws {
    let local = try Sample.local()
    let first = try Negotiation.offer(local)
    let second = try Negotiation.offer(local, following: first)
    #expect(second.origin.sessionID == 4242 && second.origin.version == 2)
    #expect(second.sections == first.sections && second.attributes == first.attributes)

    // After answering a browser's three sections, ours keep their places.
    let answer = try Negotiation.answer(
      to: try parse(Sample.chromiumMediaOffer).get(), local, following: second)
    #expect(answer.origin.sessionID == 4242 && answer.origin.version == 3)
    let third = try Negotiation.offer(local, following: answer)
    #expect(third.origin.version == 4 && third.sections.map(\.port) == [0, 0, 9])
    #expect(third.sections[2].attributes.values("mid") == ["2"])
    #expect(third.sections[2].attributes.values("setup") == ["actpass"])
    #expect(try third.text().contains("a=group:BUNDLE 2\r\n"))
  }

  @Test func answersThatDoNotFit() throws {
    for (from, to, error) in [
      ("m=application 9", "m=application 0", .dataSectionRejected), ("m=application", "m=audio", .answerMismatch),
      ("a=mid:0", "a=mid:1", .answerMismatch), ("UDP/DTLS/SCTP", "UDP/DTLS/XXXX", .answerMismatch),
      ("sctp-port:5000", "sctp-port:0", .dataSectionRejected),
    ] as [(String, String, SDPError)] {
      #expect(try readAnswer(Sample.chromiumAnswer.replacing(from, with: to)).error == error, "\(to)")
    }
    let more = Sample.chromiumAnswer + "m=audio 0 RTP/AVP 0\r\n"
    #expect(try readAnswer(more).error == .answerMismatch)
    let nameless = Sample.chromiumAnswer.replacing("a=mid:0\r\n", with: "")
    #expect(try readAnswer(nameless).error == nil)
  }

  @Test("between two of us")
  func betweenUs() throws {
    let (a, b) = (try Sample.local(1), try Sample.local(2))
    let offer = try parse(try Negotiation.offer(a).text()).get()
    let atB = try Negotiation.read(offer: offer)
    let answer = try parse(try Negotiation.answer(to: offer, b).text()).get()
    let atA = try Negotiation.read(answer: answer, to: offer)
    #expect(atB.localRole == .active && atA.localRole == .passive)
    #expect(atB.transport.credentials == a.credentials && atA.transport.credentials == b.credentials)
    #expect(atB.transport.fingerprints == a.fingerprints && atB.transport.candidates == a.candidates)
    #expect(atA.data?.maximumMessageSize == 262_144)
  }
}
