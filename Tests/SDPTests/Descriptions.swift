// Descriptions.swift — offers and answers in the shapes that browsers and others send, for the tests.

import SDP
import Testing

/// Lines as they go over the wire.
func wire(_ text: String) -> String {
  text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n") + "\r\n"
}

let sha256A = (0..<32).map { _ in "AB" }.joined(separator: ":")
let sha256B = (0..<32).map { _ in "0c" }.joined(separator: ":")

enum Sample {
  /// Chromium 150, a data channel and nothing else, addresses hidden.
  static let chromiumOffer = wire(
    """
    v=0
    o=- 4611731400430051336 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0
    a=extmap-allow-mixed
    a=msid-semantic: WMS
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=candidate:2467150382 1 udp 2113937151 5f1f7a52-93d8-4bd8-9b12-1d1a8fbd7a20.local 48725 typ host generation 0 network-cost 999
    a=ice-ufrag:zK8/
    a=ice-pwd:wAxWm3tYQ1f5yT+qyhS0tB4k
    a=ice-options:trickle
    a=fingerprint:sha-256 \(sha256A)
    a=setup:actpass
    a=mid:0
    a=sctp-port:5000
    a=max-message-size:262144
    """)

  static let chromiumAnswer = chromiumOffer.replacing("a=setup:actpass", with: "a=setup:active")

  /// Chromium with a microphone and a camera: the data section comes last, and leads no bundle.
  static let chromiumMediaOffer = wire(
    """
    v=0
    o=- 8226104938612358961 3 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0 1 2
    a=extmap-allow-mixed
    a=msid-semantic: WMS 4b0fd1c7-6d77-4b59-a4f0-3a0a9d6c4f11
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
    c=IN IP4 0.0.0.0
    a=rtcp:9 IN IP4 0.0.0.0
    a=ice-ufrag:p3Qa
    a=ice-pwd:0dOrEd9sWyp9pZ0iZ5gHqQhB
    a=ice-options:trickle
    a=fingerprint:sha-256 \(sha256A)
    a=setup:actpass
    a=mid:0
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
    a=sendrecv
    a=msid:4b0fd1c7-6d77-4b59-a4f0-3a0a9d6c4f11 2b3f3d94-32b7-4d0c-8a30-9d5be3a7f1c2
    a=rtcp-mux
    a=rtpmap:111 opus/48000/2
    a=fmtp:111 minptime=10;useinbandfec=1
    a=ssrc:1815312435 cname:fLm2nLw4dHx0p0ZK
    m=video 9 UDP/TLS/RTP/SAVPF 96 97
    c=IN IP4 0.0.0.0
    a=ice-ufrag:p3Qa
    a=ice-pwd:0dOrEd9sWyp9pZ0iZ5gHqQhB
    a=ice-options:trickle
    a=fingerprint:sha-256 \(sha256A)
    a=setup:actpass
    a=mid:1
    a=rtpmap:96 VP8/90000
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=ice-ufrag:p3Qa
    a=ice-pwd:0dOrEd9sWyp9pZ0iZ5gHqQhB
    a=ice-options:trickle
    a=fingerprint:sha-256 \(sha256A)
    a=setup:actpass
    a=mid:2
    a=sctp-port:5000
    a=max-message-size:262144
    """)

  /// Firefox: fingerprint, options and direction at session level, IPv6, all candidates at once.
  static let firefoxOffer = wire(
    """
    v=0
    o=mozilla...THIS_IS_SDPARTA-145.0 3541838561927435711 0 IN IP4 0.0.0.0
    s=-
    t=0 0
    a=sendrecv
    a=fingerprint:sha-256 \(sha256B)
    a=group:BUNDLE 0
    a=ice-options:trickle
    a=msid-semantic:WMS *
    m=application 51472 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP6 2001:db8::8:800:200c:417a
    a=candidate:0 1 UDP 2122252543 192.0.2.17 51472 typ host
    a=candidate:2 1 UDP 2122187007 2001:db8::8:800:200c:417a 51473 typ host
    a=candidate:4 1 TCP 2105524479 192.0.2.17 9 typ host tcptype active
    a=candidate:1 1 UDP 1686052863 203.0.113.7 60102 typ srflx raddr 192.0.2.17 rport 51472
    a=sendrecv
    a=end-of-candidates
    a=ice-pwd:9f8e7d6c5b4a39281706f5e4d3c2b1a0
    a=ice-ufrag:1a2b3c4d
    a=mid:0
    a=setup:actpass
    a=sctp-port:5000
    a=max-message-size:1073741823
    """)

  static let firefoxAnswer = firefoxOffer.replacing("a=setup:actpass", with: "a=setup:active")

  /// libdatachannel: no hidden addresses, options with a comma.
  static let libdatachannelOffer = wire(
    """
    v=0
    o=rtc 2541390457 0 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0
    a=group:LS 0
    a=msid-semantic:WMS *
    a=ice-options:ice2,trickle
    a=fingerprint:sha-256 \(sha256A)
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    c=IN IP4 0.0.0.0
    a=mid:0
    a=sendrecv
    a=sctp-port:5000
    a=max-message-size:262144
    a=setup:actpass
    a=ice-ufrag:kv1u
    a=ice-pwd:mBmmKXaRq5VhgbqvSjx8ud
    """)

  /// Before RFC 8841, as browsers spoke until about 2018 and some servers still do.
  static let oldSyntaxOffer = wire(
    """
    v=0
    o=- 1987654321 1 IN IP4 192.0.2.1
    s=-
    t=0 0
    a=ice-lite
    m=application 1 DTLS/SCTP 5000
    c=IN IP4 0.0.0.0
    a=ice-ufrag:F7gI
    a=ice-pwd:x9cml/YzichV2+XlhiMu8g
    a=fingerprint:sha-1 \((0..<20).map { _ in "4A" }.joined(separator: ":"))
    a=setup:actpass
    a=mid:data
    a=sctpmap:5000 webrtc-datachannel 1024
    """)

  struct Named: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String
  }

  static let offers = [
    Named(testDescription: "Chromium", text: chromiumOffer),
    Named(testDescription: "Chromium with media", text: chromiumMediaOffer),
    Named(testDescription: "Firefox", text: firefoxOffer),
    Named(testDescription: "libdatachannel", text: libdatachannelOffer),
    Named(testDescription: "old syntax", text: oldSyntaxOffer),
  ]

  static func local(_ sessionID: UInt64 = 4242) throws -> LocalDescription {
    LocalDescription(
      sessionID: sessionID,
      credentials: try SDPCredentials(usernameFragment: "frag", password: "0123456789abcdefghijkl"),
      fingerprints: [try SDPFingerprint(algorithm: "sha-256", bytes: Array(repeating: 0xab, count: 32))],
      candidates: ["candidate:1 1 udp 2130706431 192.0.2.9 40000 typ host"])
  }
}

func parse(_ text: String, limits: SDPLimits = SDPLimits()) -> Result<SDPDocument, SDPError> {
  do throws(SDPError) { return .success(try SDPDocument(parsing: text, limits: limits)) } catch {
    return .failure(error)
  }
}

/// What reading this offer comes to.
func readOffer(_ text: String, keeping role: SDPRole? = nil) -> Result<RemoteDescription, SDPError> {
  do throws(SDPError) {
    return .success(try Negotiation.read(offer: try SDPDocument(parsing: text), keeping: role))
  } catch {
    return .failure(error)
  }
}

/// What reading this answer to our plain offer comes to.
func readAnswer(_ text: String, keeping role: SDPRole? = nil) throws -> Result<RemoteDescription, SDPError> {
  let offer = try Negotiation.offer(try Sample.local())
  do throws(SDPError) {
    return .success(try Negotiation.read(answer: try SDPDocument(parsing: text), to: offer, keeping: role))
  } catch {
    return .failure(error)
  }
}

extension Result where Failure == SDPError {
  var error: SDPError? { if case .failure(let error) = self { error } else { nil } }
}
