// SDPAttackTests.swift — flaws that other implementations have had, L1 to L8, and what becomes of them here.

import SDP
import TestSupport
import Testing

@Suite struct SDPAttackTests {
  @Test(
    "L1: no field can add a line or a word of its own",
    arguments: ["\r\na=fingerprint:x 00", "\n", "\r", "\0", "\u{7f}"])
  func injection(_ evil: String) throws {
    func refuses(_ change: (inout LocalDescription, inout SDPDocument) throws(SDPError) -> Void) throws -> Bool {
      var local = try Sample.local()
      var document = try parse(Sample.chromiumMediaOffer).get()
      do throws(SDPError) {
        try change(&local, &document)
        _ = try Negotiation.offer(local).text()
        _ = try document.text()
        _ = try Negotiation.answer(to: document, local).text()
        return false
      } catch {
        return true
      }
    }
    #expect(try !refuses { _, _ in })
    #expect(try refuses { local, _ in local.candidates = ["candidate:1 1 udp 1 192.0.2.1 1 typ host" + evil] })
    #expect(
      try refuses { local, _ throws(SDPError) in
        local.credentials = try SDPCredentials(usernameFragment: "frag" + evil, password: "0123456789abcdefghijkl")
      })
    #expect(
      try refuses { local, _ throws(SDPError) in
        local.credentials = try SDPCredentials(usernameFragment: "frag", password: "0123456789abcdefghijkl" + evil)
      })
    #expect(
      try refuses { local, _ throws(SDPError) in
        local.fingerprints = [try SDPFingerprint(algorithm: "x" + evil, bytes: [1])]
      })
    #expect(try refuses { _, document in document.origin.username += evil })
    #expect(try refuses { _, document in document.origin.address += evil })
    #expect(try refuses { _, document in document.attributes.append(SDPAttribute("x", evil)) })
    #expect(try refuses { _, document in document.attributes.append(SDPAttribute("x" + evil)) })
    #expect(try refuses { _, document in document.sections[0].attributes.append(SDPAttribute("mid", evil)) })
    #expect(try refuses { _, document in document.sections[0].media += evil })
    #expect(try refuses { _, document in document.sections[0].transport += evil })
    #expect(try refuses { _, document in document.sections[0].formats.append(evil) })
  }

  @Test("L1: words with spaces, empty words and names with colons are refused as well")
  func brokenWords() throws {
    for change in [
      { $0.origin.username = "a b" }, { $0.origin.username = "" }, { $0.origin.address = "IN IP4" },
      { $0.sections[0].media = "a b" }, { $0.sections[0].formats = [] }, { $0.sections[0].formats = [""] },
      { $0.sections[0].transport = "" }, { $0.attributes.append(SDPAttribute("")) },
      { $0.attributes.append(SDPAttribute("a:b", "c")) },
    ] as [(inout SDPDocument) -> Void] {
      var document = try parse(Sample.chromiumOffer).get()
      change(&document)
      #expect("\(document)") {
        _ = try document.text()
      } throws: { error in
        if case .unwritableField? = error as? SDPError { true } else { false }
      }
    }
    var local = try Sample.local()
    local.candidates = ["1 1 udp 1 192.0.2.1 1 typ host"]
    #expect(throws: SDPError.unwritableField(local.candidates[0])) { try Negotiation.offer(local) }
  }

  @Test("L1: control characters within a line are refused")
  func controlCharacters() {
    for scalar in ((0..<0x20) + [0x7f]).map({ UnicodeScalar(UInt8($0)) }) where scalar != "\n" {
      let text = Sample.chromiumOffer.replacing("s=-", with: "s=-\(Character(scalar))-")
      #expect(parse(text).error == .controlCharacter(line: 3), "\(scalar.value)")
    }
  }

  @Test("L2: numbers out of their range are refused")
  func numbers() throws {
    for (from, to, error) in [
      ("application 9", "application 65536", .malformedMediaLine(line: 8)),
      ("application 9", "application -1", .malformedMediaLine(line: 8)),
      ("application 9", "application +9", .malformedMediaLine(line: 8)),
      ("application 9", "application 99999999999999999999", .malformedMediaLine(line: 8)),
      ("sctp-port:5000", "sctp-port:65536", .malformedAttribute(name: "sctp-port")),
      ("sctp-port:5000", "sctp-port:-1", .malformedAttribute(name: "sctp-port")),
      ("sctp-port:5000", "sctp-port:", .malformedAttribute(name: "sctp-port")),
      ("sctp-port:5000", "sctp-port: 5000", .malformedAttribute(name: "sctp-port")),
      ("size:262144", "size:18446744073709551616", .malformedAttribute(name: "max-message-size")),
      ("size:262144", "size:-1", .malformedAttribute(name: "max-message-size")),
      ("size:262144", "size:1e6", .malformedAttribute(name: "max-message-size")),
      ("4611731400430051336 2", "4611731400430051336 -2", .malformedOrigin(line: 2)),
    ] as [(String, String, SDPError)] {
      #expect(readOffer(Sample.chromiumOffer.replacing(from, with: to)).error == error, "\(to)")
    }
    let huge = Sample.chromiumOffer.replacing("size:262144", with: "size:18446744073709551615")
    #expect(try readOffer(huge).get().data?.maximumMessageSize == .max)
  }

  @Test("L3: what is said twice must say the same")
  func duplicates() throws {
    for (line, name) in [
      ("a=ice-ufrag:other", "ice-ufrag"), ("a=ice-pwd:0123456789abcdefghijklmn", "ice-pwd"),
      ("a=setup:active", "setup"), ("a=sctp-port:5001", "sctp-port"), ("a=max-message-size:1", "max-message-size"),
      ("a=mid:1", "mid"),
    ] {
      #expect(readOffer(Sample.chromiumOffer + line + "\r\n").error == .conflictingAttribute(name: name), "\(line)")
    }
    let same = Sample.chromiumOffer + "a=setup:actpass\r\na=ice-ufrag:zK8/\r\na=sctp-port:5000\r\na=mid:0\r\n"
    #expect(readOffer(same) == readOffer(Sample.chromiumOffer))
    // Any certificate that is named may come; none is dropped or preferred.
    let second = Sample.chromiumOffer + "a=fingerprint:sha-256 \(sha256B)\r\n"
    #expect(try readOffer(second).get().transport.fingerprints.count == 2)
    let twice = Sample.chromiumMediaOffer.replacing("a=mid:1", with: "a=mid:0")
    #expect(readOffer(twice).error == .duplicateMid("0"))
    for mid in ["", " ", "a b"] {
      let text = Sample.chromiumOffer.replacing("a=mid:0", with: "a=mid:\(mid)")
      #expect(readOffer(text).error == .malformedAttribute(name: "mid"), "'\(mid)'")
    }
  }

  @Test("L4: size and counts are checked before anything is parsed")
  func huge() {
    let offer = Sample.chromiumOffer
    #expect(parse(offer + String(repeating: "a=x\r\n", count: 1_000_000)).error == .tooLong)
    #expect(parse(offer + String(repeating: "\n", count: 10_000)).error == .tooManyLines)
    #expect(parse(offer + "a=x:" + String(repeating: "x", count: 1_000_000) + "\r\n").error == .tooLong)
    #expect(parse(offer + "a=x:" + String(repeating: "x", count: 8_189) + "\r\n").error == .lineTooLong(line: 19))
    #expect(parse(offer + "a=x:" + String(repeating: "x", count: 8_188) + "\r\n").error == nil)
    #expect(parse(offer + String(repeating: "m=audio 9 RTP/AVP 0\r\n", count: 256)).error == .tooManySections)
    #expect(parse(offer + String(repeating: "m=audio 9 RTP/AVP 0\r\n", count: 255)).error == nil)
    let candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    #expect(parse(offer + String(repeating: candidate, count: 256)).error == .tooManyCandidates)
    #expect(parse(offer + String(repeating: candidate, count: 255)).error == nil)
    var small = SDPLimits()
    small.maximumLength = offer.utf8.count
    #expect(parse(offer, limits: small).error == nil)
    #expect(parse(offer + "\n", limits: small).error == .tooLong)
  }

  @Test("L5: the media level wins over the session level")
  func levels() throws {
    let session = """
      a=ice-ufrag:sess
      a=ice-pwd:sessionsessionsessionsession
      a=setup:passive
      a=fingerprint:sha-256 \(sha256B)
      a=ice-options:other
      """
    let start = "a=extmap-allow-mixed\r\n"
    let both = Sample.chromiumOffer.replacing(start, with: start + wire(session))
    #expect(readOffer(both) == readOffer(Sample.chromiumOffer))

    var onlySession = both
    for line in [
      "a=ice-ufrag:zK8/", "a=ice-pwd:wAxWm3tYQ1f5yT+qyhS0tB4k", "a=ice-options:trickle",
      "a=fingerprint:sha-256 \(sha256A)", "a=setup:actpass",
    ] { onlySession = onlySession.replacing(line + "\r\n", with: "") }
    let remote = try readOffer(onlySession).get()
    #expect(remote.transport.credentials.usernameFragment == "sess" && remote.transport.setup == .passive)
    #expect(remote.transport.credentials.password == "sessionsessionsessionsession")
    #expect(remote.transport.fingerprints.map(\.description) == ["sha-256 \(sha256B.uppercased())"])
    #expect(remote.transport.iceOptions == ["other"])
  }

  @Test("L6: roles that are not to be had")
  func setups() throws {
    func offer(_ setup: String) -> String { Sample.chromiumOffer.replacing("a=setup:actpass", with: setup) }
    #expect(readOffer(offer("a=x")).error == .missingSetup)
    #expect(readOffer(offer("a=setup:holdconn")).error == .setupConflict)
    #expect(readOffer(offer("a=setup:nonsense")).error == .malformedAttribute(name: "setup"))
    #expect(readOffer(offer("a=setup")).error == .malformedAttribute(name: "setup"))
    #expect(try readAnswer(offer("a=setup:actpass")).error == .setupConflict, "an answer has to decide")
    #expect(try readAnswer(offer("a=setup:holdconn")).error == .setupConflict)
    #expect(try readAnswer(offer("a=x")).error == .missingSetup)
  }

  @Test("L6: a lite peer is known, and only the session says so")
  func lite() throws {
    #expect(try readOffer(Sample.oldSyntaxOffer).get().transport.isLite)
    let lite = Sample.chromiumOffer.replacing("a=extmap-allow-mixed", with: "a=ice-lite")
    #expect(try readOffer(lite).get().transport.isLite)
    #expect(try !readOffer(Sample.chromiumOffer + "a=ice-lite\r\n").get().transport.isLite)
    #expect(!(try Negotiation.offer(try Sample.local()).text().contains("ice-lite")), "we never are")
  }

  @Test("L7: the syntax before RFC 8841 is read, and answered in kind")
  func oldSyntax() throws {
    let remote = try readOffer(Sample.oldSyntaxOffer.replacing("5000", with: "6001")).get()
    #expect(remote.data?.sctpPort == 6001 && remote.data?.maximumMessageSize == 65_536)
    #expect(remote.transport.fingerprints[0].algorithm == "sha-1" && remote.data?.mid == "data")
    let answer = try Negotiation.answer(to: try parse(Sample.oldSyntaxOffer).get(), try Sample.local())
    let text = try answer.text()
    #expect(text.contains("m=application 9 DTLS/SCTP 5000\r\n"))
    #expect(text.contains("a=sctpmap:5000 webrtc-datachannel 65535\r\n") && !text.contains("a=sctp-port"))
    for bad in ["sctpmap:5001 webrtc-datachannel 1024", "sctpmap:5000 other 1024", "sctpmap:5000", "sctpmap"] {
      let text = Sample.oldSyntaxOffer.replacing("sctpmap:5000 webrtc-datachannel 1024", with: bad)
      #expect(readOffer(text).error == .noDataSection, "\(bad)")
    }
    #expect(readOffer(Sample.oldSyntaxOffer.replacing("5000", with: "65536")).error == .noDataSection)
    #expect(readOffer(Sample.oldSyntaxOffer.replacing("5000", with: "0")).error == .dataSectionRejected)
    let mixed = Sample.chromiumOffer.replacing("UDP/DTLS/SCTP webrtc", with: "DTLS/SCTP webrtc")
    #expect(try readOffer(mixed).get().data?.sctpPort == 5000, "the transport of then with the format of now")
  }

  @Test("L8: offers that follow descriptions end, however often")
  func endlessReoffers() throws {
    let local = try Sample.local()
    var document = try Negotiation.answer(to: try parse(Sample.chromiumMediaOffer).get(), local)
    for _ in 0..<1000 { document = try Negotiation.offer(local, following: document) }
    #expect(document.sections.count == 3 && document.origin.version == 1001)
    document.origin.version = .max
    #expect(try Negotiation.offer(local, following: document).origin.version == 0, "wraps rather than traps")
  }
}
