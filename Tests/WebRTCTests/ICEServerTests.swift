// ICEServerTests.swift — URLs of servers (RFC 7064, RFC 7065), their credentials, and the rules for this machine's addresses.

import Net
import Testing
import WebRTC
import Wire

@Suite struct ICEServerURLTests {
  @Test(arguments: [
    // RFC 7064 appendix A, RFC 7065 appendix A.
    ("stun:example.org", "stun", "example.org", 3_478, "udp"),
    ("stuns:example.org", "stuns", "example.org", 5_349, "udp"),
    ("stun:example.org:8000", "stun", "example.org", 8_000, "udp"),
    ("turn:example.org", "turn", "example.org", 3_478, "udp"),
    ("turns:example.org", "turns", "example.org", 5_349, "tcp"),
    ("turn:example.org:8000", "turn", "example.org", 8_000, "udp"),
    ("turn:example.org?transport=udp", "turn", "example.org", 3_478, "udp"),
    ("turn:example.org?transport=tcp", "turn", "example.org", 3_478, "tcp"),
    ("turns:example.org?transport=tcp", "turns", "example.org", 5_349, "tcp"),
    ("turns:example.org?transport=udp", "turns", "example.org", 5_349, "udp"),
    ("TURN:Example.ORG.:1?transport=TCP", "turn", "example.org.", 1, "tcp"),
    ("stun:192.0.2.1", "stun", "192.0.2.1", 3_478, "udp"),
    ("turns:[2001:DB8::1]:443?transport=tcp", "turns", "2001:db8::1", 443, "tcp"),
    ("stun:[::1]", "stun", "::1", 3_478, "udp"),
    ("stun:example.org:", "stun", "example.org", 3_478, "udp"),
    ("stun:1-a_b.example", "stun", "1-a_b.example", 3_478, "udp"),
  ])
  func reads(text: String, scheme: String, host: String, port: UInt16, transport: String) throws {
    let url = try ICEServerURL(text)
    #expect(url.scheme.rawValue == scheme)
    #expect(url.host == host)
    #expect(url.port == port)
    #expect(url.transport.rawValue == transport)
    // The shortest form means the same.
    #expect(try ICEServerURL(url.description) == url)
  }

  @Test(
    arguments: [
      ("", .missingScheme), ("example.org", .missingScheme), ("http:example.org", .unknownScheme("http")),
      ("stun://example.org", .hierarchical), ("stun:", .missingHost), ("turn::3478", .missingHost),
      ("turn:?transport=udp", .missingHost), ("stun:a b", .badCharacter), ("stun:a\u{0}b", .badCharacter),
      ("stun:bücher.example", .badCharacter), ("stun:user@example.org", .badHost("user@example.org")),
      ("stun:example.org/path", .badHost("example.org/path")), ("stun:example.org:80/x", .badPort("80/x")),
      ("stun:-a.example", .badHost("-a.example")), ("stun:a..b", .badHost("a..b")), ("stun:1.2.3", .badHost("1.2.3")),
      ("stun:256.1.1.1", .badHost("256.1.1.1")), ("stun:2001:db8::1", .bareIPv6("2001:db8::1")),
      ("stun:[2001:db8::1", .badHost("[2001:db8::1")), ("stun:[fe80::1%1]", .badHost("fe80::1%1")),
      ("stun:[192.0.2.1]", .badHost("192.0.2.1")), ("stun:[::1]x", .badHost("[::1]x")),
      ("stun:example.org:0", .badPort("0")), ("stun:example.org:65536", .badPort("65536")),
      ("stun:example.org:+80", .badPort("+80")), ("stun:example.org:000080", .badPort("000080")),
      ("stun:example.org?transport=udp", .unexpectedQuery), ("turn:example.org?transport=", .unknownTransport("")),
      ("turn:example.org?transport=sctp", .unknownTransport("sctp")), ("turn:example.org?ttl=1", .badQuery("ttl=1")),
      ("turn:example.org?transport=udp&x=1", .unknownTransport("udp&x=1")),
    ] as [(String, ICEServerURLError)])
  func refuses(text: String, why: ICEServerURLError) {
    #expect(throws: why) { try ICEServerURL(text) }
    #expect(!why.description.isEmpty)
  }

  @Test func refusesWhatIsLongerThanAnyURL() {
    #expect(throws: ICEServerURLError.tooLong) { try ICEServerURL("stun:" + String(repeating: "a", count: 600)) }
  }
}

@Suite struct ICEServerTests {
  @Test func temporaryCredentialsAreThoseOfTheReference() {
    let server = ICEServer.temporary(
      urls: ["turn:turn.example.org"], sharedSecret: "s3cret-shared", subject: "peer_demo", expiresAt: 1_767_225_600)
    #expect(server.username == "1767225600:peer_demo")
    #expect(server.credential == "+ZXA8GcUHw6mVUK4rvOsWLMHpZ0=")
  }

  @Test(arguments: [
    ICEServer(urls: []), ICEServer("turn:example.org"), ICEServer("turn:example.org", username: "u"),
    ICEServer("turn:example.org", username: "", credential: "p"), ICEServer("ftp:example.org"),
    ICEServer("turn:example.org", username: String(repeating: "u", count: 509), credential: "p"),
  ])
  func aServerThatCannotBeUsedIsRefusedAtOnce(server: ICEServer) {
    var configuration = PeerConnectionConfiguration()
    configuration.iceServers = [server]
    let configured = configuration
    #expect(throws: PeerConnectionError.self) { try PeerConnection(configuration: configured) }
  }

  @Test func eachURLCountsOnce() throws {
    var configuration = PeerConnectionConfiguration()
    configuration.iceServers += [ICEServer("STUN:stun.l.google.com:19302"), ICEServer("stun:other.example")]
    #expect(
      try configuration.serverEndpoints().map(\.url.host) == [
        "stun.l.google.com", "stun1.l.google.com", "other.example",
      ])
    configuration.iceServers = (1...17).map { ICEServer("stun:s\($0).example") }
    #expect(throws: PeerConnectionError.self) { try configuration.serverEndpoints() }
  }
}

@Suite struct LocalAddressTests {
  private static let addresses = [
    ("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "192.0.2.7"), ("eth0", "fe80::7"), ("eth0", "2001:db8::7"),
    ("docker0", "172.17.0.1"), ("tun0", "10.8.0.2"),
  ].map { name, text in
    var address = InterfaceAddress(
      name: name, index: 1, address: IPAddress(text) ?? .loopbackV4, isLoopback: name == "lo",
      isPointToPoint: name == "tun0")
    address.isVirtual = name == "docker0" || name == "tun0"
    return address
  }

  private func hosts(_ change: (inout PeerConnectionConfiguration) -> Void) -> [String] {
    var configuration = PeerConnectionConfiguration()
    change(&configuration)
    return configuration.hostAddresses(among: Self.addresses).map { "\($0)" }
  }

  @Test func filtersLeaveOutWhatTheyName() {
    #expect(hosts { _ in } == ["192.0.2.7", "2001:db8::7", "172.17.0.1", "10.8.0.2"])
    #expect(hosts { $0.interfaces.excludesVirtual = true } == ["192.0.2.7", "2001:db8::7"])
    #expect(hosts { $0.interfaces.excludesPointToPoint = true } == ["192.0.2.7", "2001:db8::7", "172.17.0.1"])
    #expect(hosts { $0.interfaces.excludesLinkLocal = false }.contains("fe80::7"))
    #expect(hosts { $0.interfaces.excludesIPv4 = true } == ["2001:db8::7"])
    #expect(hosts { $0.interfaces.excludesIPv6 = true } == ["192.0.2.7", "172.17.0.1", "10.8.0.2"])
    #expect(hosts { $0.interfaces.only = ["eth*"] } == ["192.0.2.7", "2001:db8::7"])
    #expect(hosts { $0.interfaces.except = ["docker0", "tun*"] } == ["192.0.2.7", "2001:db8::7"])
    #expect(hosts { $0.loopback = .included }.suffix(2) == ["127.0.0.1", "::1"])
    #expect(hosts { $0.loopback = .only } == ["127.0.0.1", "::1"])
    // A machine that has nothing else left is reached over loopback.
    #expect(hosts { $0.interfaces.only = ["lo"] } == ["127.0.0.1", "::1"])
    #expect(hosts { ($0.interfaces.only, $0.loopback) = (["lo"], .excluded) }.isEmpty)
  }

  @Test func rewritingFollowsTheFirstRuleThatFits() throws {
    let rewriter = try AddressRewriter([
      AddressRewriting(from: "10.0.0.5", to: "203.0.113.5"), AddressRewriting(to: "203.0.113.9", mode: .add),
    ])
    #expect(rewriter.name(of: .v4(0x0a00_0005)) == .replaced(.v4(0xcb00_7105)))
    #expect(rewriter.name(of: .v4(0x0a00_0006)) == .added(.v4(0xcb00_7109)))
    #expect(rewriter.name(of: .loopbackV4) == .asItIs)
    #expect(rewriter.name(of: .v6(0x2001_0db8_0000_0000, 7, zone: 0)) == .asItIs)
  }

  @Test(arguments: [
    AddressRewriting(to: "example.org"), AddressRewriting(to: "0.0.0.0"),
    AddressRewriting(from: "::1", to: "192.0.2.1"),
    AddressRewriting(from: "x", to: "192.0.2.1"),
  ])
  func rewritingThatMakesNoSenseIsRefused(rule: AddressRewriting) {
    #expect(throws: PeerConnectionError.self) { try AddressRewriter([rule]) }
  }
}
