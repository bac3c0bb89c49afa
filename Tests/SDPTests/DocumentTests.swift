// DocumentTests.swift — the syntax: lines, sections and attributes in, the same out.

import SDP
import TestSupport
import Testing
import Wire

/// The two descriptions that RFC 8839 prints, with the wire's line ends.
private func printed(_ name: String) throws -> String {
  let text = try Vectors.text("rfc/ice-sdp-rfc8445-rfc8839-rfc6544.txt")
  let start = try #require(text.firstRange(of: "\(name) <<\n")).upperBound
  let end = try #require(text[start...].firstRange(of: "\n>>")).lowerBound
  return wire(String(text[start..<end]))
}

@Suite struct DocumentTests {
  @Test func chromiumIsRead() throws {
    let document = try parse(Sample.chromiumMediaOffer).get()
    #expect(document.origin.sessionID == 8_226_104_938_612_358_961 && document.origin.version == 3)
    #expect(document.attributes.map(\.name) == ["group", "extmap-allow-mixed", "msid-semantic"])
    #expect(document.attributes[1].value == nil)
    #expect(document.sections.map(\.media) == ["audio", "video", "application"])
    #expect(document.sections[0].formats == ["111", "63", "9", "0", "8", "13", "110", "126"])
    #expect(document.sections[2].transport == "UDP/DTLS/SCTP" && document.sections[2].port == 9)
    #expect(document.sections[2].attributes.values("mid") == ["2"])
    #expect(document.sections[0].attributes.values("fmtp") == ["111 minptime=10;useinbandfec=1"])
  }

  @Test("the offer and the answer of RFC 8839 appendix A", arguments: ["sdp-offer", "sdp-answer"])
  func rfc8839(_ name: String) throws {
    let document = try parse(try printed(name)).get()
    #expect(document.sections.map(\.media) == ["audio"])
    #expect(document.attributes.values("ice-options") == ["ice2"])
    let (fragment, password) =
      name == "sdp-offer" ? ("8hhY", "asd88fgpdd777uzjYhagZg") : ("9uB6", "YH75Fviy6338Vbrhrlp8Yh")
    #expect(document.attributes.values("ice-ufrag") == [fragment])
    #expect(document.attributes.values("ice-pwd") == [password])
    #expect(document.sections[0].attributes.values("candidate").count == (name == "sdp-offer" ? 2 : 1))
    #expect(readOffer(try printed(name)).error == .noDataSection, "it speaks of audio only")
  }

  @Test("candidate lines are kept as they stand")
  func candidatesOfRFC6544() throws {
    let lines = try Vectors.text("rfc/ice-sdp-rfc8445-rfc8839-rfc6544.txt").split(separator: "\n")
      .filter { $0.hasPrefix("a=candidate:") && $0.contains(" TCP ") }
    #expect(lines.count == 6)
    let remote = try readOffer(Sample.chromiumOffer + wire(lines.joined(separator: "\n"))).get()
    #expect(remote.transport.candidates.suffix(6) == lines.map { String($0.dropFirst(2)) })
  }

  @Test("what is written reads as what was meant", arguments: Sample.offers)
  func roundTrip(_ offer: Sample.Named) throws {
    let text = offer.text
    let document = try parse(text).get()
    let written = try document.text()
    #expect(parse(written) == .success(document))
    #expect(try parse(written).get().text() == written)
  }

  @Test func lineEnds() throws {
    let document = try parse(Sample.chromiumOffer).get()
    #expect(parse(Sample.chromiumOffer.replacing("\r\n", with: "\n")) == .success(document))
    #expect(parse(String(Sample.chromiumOffer.dropLast())) == .success(document), "no end after the last line")
    #expect(parse(Sample.chromiumOffer + "\r\n\n") == .success(document), "empty lines")
  }

  @Test("lines that are none")
  func malformed() {
    for (text, error) in [
      ("", .unknownVersion), ("\r\n", .unknownVersion), ("v=1", .unknownVersion), ("v=", .unknownVersion),
      ("o=- 1 1 IN IP4 0.0.0.0", .unknownVersion), (" v=0", .malformedLine(line: 1)), ("v", .malformedLine(line: 1)),
      ("v=0", .missingOrigin), ("v=0\nm=application 9 UDP/DTLS/SCTP x", .missingOrigin),
      ("v=0\no=- 1 IN IP4 0.0.0.0", .malformedOrigin(line: 2)),
      ("v=0\no=- x 1 IN IP4 0.0.0.0", .malformedOrigin(line: 2)),
      ("v=0\no=- 18446744073709551616 1 IN IP4 0.0.0.0", .malformedOrigin(line: 2)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\no=- 1 1 IN IP4 0.0.0.0", .malformedOrigin(line: 3)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\nv=0", .malformedLine(line: 3)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\na=", .malformedLine(line: 3)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\na=:x", .malformedLine(line: 3)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\nhello", .malformedLine(line: 3)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\nA=x", .malformedLine(line: 3)),
      ("v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio 9 RTP/AVP", .malformedMediaLine(line: 3)),
    ] as [(String, SDPError)] {
      #expect(parse(text).error == error, "\(text)")
    }
  }

  @Test func portCountsAreKept() throws {
    let text = "v=0\no=- 1 1 IN IP4 0.0.0.0\nm=video 49170/2 RTP/AVP 31\n"
    let document = try parse(text).get()
    #expect(document.sections[0].portCount == 2)
    #expect(try document.text().contains("m=video 49170/2 RTP/AVP 31\r\n"))
    for bad in ["49170/", "49170/x", "49170/2/3", "/2", "49170/65536"] {
      #expect(parse(text.replacing("49170/2", with: bad)).error == .malformedMediaLine(line: 3), "\(bad)")
    }
  }

  @Test("cut anywhere, a description is read or refused", arguments: Sample.offers)
  func truncatedAtEveryLength(_ offer: Sample.Named) throws {
    let bytes = Array(offer.text.utf8)
    var read = 0
    for count in 0..<bytes.count {
      let part = String(decoding: bytes[..<count], as: UTF8.self)
      guard case .success(let document) = parse(part) else { continue }
      read += 1
      #expect(try parse(document.text()) == .success(document), "\(count) bytes")
      _ = readOffer(part)
    }
    #expect(read > 0)
  }

  @Test func halfAnOfferIsNoOffer() {
    let bytes = Array(Sample.chromiumOffer.utf8)
    for count in 0..<bytes.count {
      let part = String(decoding: bytes[..<count], as: UTF8.self)
      if case .success = readOffer(part) { #expect(part.contains("a=setup:actpass"), "\(count) bytes") }
    }
  }

  @Test("changed anywhere, a description is read or refused", arguments: 1...20 as ClosedRange<UInt64>)
  func mutations(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    let local = try Sample.local()
    var accepted = 0
    for round in 0..<60 {
      var lines = Sample.offers[round % Sample.offers.count].text.split(separator: "\r\n").map { Array($0.utf8) }
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let line = Int.random(in: 0..<lines.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: lines.remove(at: line)
        case 1: lines.insert(lines[line], at: Int.random(in: 0...lines.count, using: &random))
        case 2: lines.swapAt(line, Int.random(in: 0..<lines.count, using: &random))
        case 3: lines[line].append(contentsOf: random.bytes(3))
        case 4: lines[line] = Array(lines[line].dropLast(Int.random(in: 0...9, using: &random)))
        default:
          if let at = lines[line].indices.randomElement(using: &random) {
            lines[line][at] = UInt8.random(in: .min ... .max, using: &random)
          }
        }
      }
      let text = String(decoding: Array(lines.joined(separator: [13, 10])), as: UTF8.self)
      guard case .success(let document) = parse(text) else { continue }
      #expect(try parse(document.text()) == .success(document), "seed \(seed) round \(round)")
      // L8: what changes descriptions ends as well, and what it makes can be read.
      do throws(SDPError) {
        let answer = try Negotiation.answer(to: document, local)
        #expect(answer.sections.count == document.sections.count)
        #expect(parse(try answer.text()) == .success(answer), "seed \(seed) round \(round)")
        _ = try Negotiation.read(answer: answer, to: document)
        accepted += 1
      } catch {
        continue  // refused with a typed error: as good
      }
      let next = try Negotiation.offer(local, following: document)
      #expect(parse(try next.text()) == .success(next), "seed \(seed) round \(round)")
    }
    #expect(accepted > 5, "seed \(seed)")
  }
}
