// CandidateTests.swift — the text form of candidates, and the arithmetic of priorities.

import TestSupport
import Testing
import Wire

import ICE

@Suite struct CandidateTests {
  private static let file = "rfc/ice-sdp-rfc8445-rfc8839-rfc6544.txt"

  private static func lines(_ prefix: String) throws -> [String] {
    try Vectors.text(file).split(separator: "\n").map(String.init).filter { $0.hasPrefix(prefix) }
  }

  @Test func vectorLines() throws {
    let lines = try Self.lines("a=candidate:")
    #expect(lines.count == 9)
    for line in lines {
      let candidate = try ICECandidate(parsing: line)
      #expect("a=" + candidate.sdpText == line.replacing(" UDP ", with: " udp ").replacing(" TCP ", with: " tcp "))
      #expect(try ICECandidate(parsing: candidate.sdpText) == candidate)
      #expect((candidate.tcpType != nil) == (candidate.transport == .tcp))
    }
    let reflexive = try #require(lines.first { $0.contains("srflx") && $0.contains("UDP") })
    let candidate = try ICECandidate(parsing: reflexive)
    #expect(candidate.kind == .serverReflexive)
    #expect(candidate.relatedAddress == SocketAddress("[fe80::6676:baff:fe9c:ee4a]:8998"))
    #expect(candidate.priority == ICECandidate.priority(.serverReflexive))
  }

  @Test func candidatePriorities() throws {
    let kinds: [(String, ICECandidate.Kind)] = [
      ("host", .host), ("prflx", .peerReflexive), ("srflx", .serverReflexive), ("relay", .relayed),
    ]
    for (name, kind) in kinds {
      let line = try #require(try Self.lines("\(name): component 1").first)
      let numbers = line.split(whereSeparator: { !$0.isNumber && !$0.isHexDigit }).compactMap { UInt32($0) }
      #expect(numbers.contains(ICECandidate.priority(kind)))
      #expect(numbers.contains(ICECandidate.priority(kind, component: 2)))
    }
  }

  @Test func pairPriorities() throws {
    let priority: [Substring: UInt32] = [
      "host": ICECandidate.priority(.host), "prflx": ICECandidate.priority(.peerReflexive),
      "srflx": ICECandidate.priority(.serverReflexive), "relay": ICECandidate.priority(.relayed),
    ]
    var count = 0
    for line in try Vectors.text(Self.file).split(separator: "\n") where !line.hasPrefix("#") {
      // "G host, D srflx: N (…)" and "host/host: N (…)"
      let words = line.split(whereSeparator: { " ,/:".contains($0) })
      let names = words.compactMap { priority[$0] }
      guard names.count == 2, let expected = words.compactMap({ UInt64($0) }).first else { continue }
      #expect(ICECandidate.pairPriority(controlling: names[0], controlled: names[1]) == expected)
      count += 1
    }
    #expect(count == 8)
    // 2^32 × (2^32 − 1) + 2 × (2^32 − 1) = 18446744078004518910 does not fit: the largest there is, no trap, no wrap.
    #expect(ICECandidate.pairPriority(controlling: .max, controlled: .max) == .max)
    let claimed = ICECandidate.pairPriority(controlling: 0x7fff_ffff, controlled: .max)
    #expect(claimed == 0x8000_0000_ffff_fffe)
  }

  @Test func browserLine() throws {
    let candidate = try ICECandidate(
      parsing: "candidate:842163049 1 udp 1677729535 203.0.113.5 46154 typ srflx raddr 0.0.0.0 rport 0 "
        + "generation 0 ufrag EsAw network-cost 999")
    #expect(candidate.usernameFragment == "EsAw")
    #expect(candidate.relatedAddress == SocketAddress("0.0.0.0:0"))
    let hidden = try ICECandidate(
      parsing: "candidate:1 1 UDP 2113937151 4E1F0C9F-1b2a-4c3d-8e5f-1234567890ab.local 5000 typ host")
    #expect(hidden.address == .name("4e1f0c9f-1b2a-4c3d-8e5f-1234567890ab.local", port: 5000))
    #expect(hidden.transport == .udp)
  }

  private static let bad: [(String, ICECandidateError)] = [
    ("", .missingPrefix), ("candidat:1", .missingPrefix), ("b=candidate:1 1 udp 1 10.0.0.1 1 typ host", .missingPrefix),
    ("candidate:", .missingField), ("candidate:1 1 udp 1 10.0.0.1 1 typ", .missingField),
    ("candidate:1 1 udp 1 10.0.0.1 1", .missingField), ("candidate:1 1 udp 1 10.0.0.1 1 host", .badKind),
    ("candidate:1 1 udp 1 10.0.0.1 1 tpy host", .badKind), ("candidate:1 1 udp 1 10.0.0.1 1 typ best", .badKind),
    ("candidate:1  1 udp 1 10.0.0.1 1 typ host", .missingField),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ host ", .missingField),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ host generation", .missingField),
    ("candidate:1-2 1 udp 1 10.0.0.1 1 typ host", .badFoundation),
    ("candidate:123456789012345678901234567890123 1 udp 1 10.0.0.1 1 typ host", .badFoundation),
    ("candidate:1 0 udp 1 10.0.0.1 1 typ host", .badComponent),
    ("candidate:1 257 udp 1 10.0.0.1 1 typ host", .badComponent),
    ("candidate:1 99999999999999999999 udp 1 10.0.0.1 1 typ host", .badComponent),
    ("candidate:1 +1 udp 1 10.0.0.1 1 typ host", .badComponent),
    ("candidate:1 1 udp -1 10.0.0.1 1 typ host", .badPriority),
    ("candidate:1 1 udp 0 10.0.0.1 1 typ host", .badPriority),
    ("candidate:1 1 udp 2147483648 10.0.0.1 1 typ host", .badPriority),
    ("candidate:1 1 udp 1 10.0.0.1 0 typ host", .badPort), ("candidate:1 1 udp 1 10.0.0.1 65536 typ host", .badPort),
    ("candidate:1 1 udp 1 10.0.0.1 -5 typ host", .badPort), ("candidate:1 1 udp 1 10.0.0.1 x typ host", .badPort),
    ("candidate:1 1 udp 1 10.0.0.256 1 typ host", .badAddress), ("candidate:1 1 udp 1 10.0.0 1 typ host", .badAddress),
    ("candidate:1 1 udp 1 fe80::1%eth0 1 typ host", .badAddress),
    ("candidate:1 1 udp 1 fe80::1%2 1 typ host", .badAddress), ("candidate:1 1 udp 1 1:::2 1 typ host", .badAddress),
    ("candidate:1 1 udp 1 [::1] 1 typ host", .badAddress),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ srflx raddr [] rport 1", .badRelatedAddress),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ srflx raddr 10.0.0.2 rport 65536", .badRelatedAddress),
    ("candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype sideways", .badTCPType),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ host ufrag a:b", .badUsernameFragment),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ host\r\na=ice-pwd:x", .badCharacter),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ h\u{f6}st", .badCharacter), ("candidate:1\t1", .badCharacter),
    ("candidate:1 1 udp 1 10.0.0.1 1 typ host " + String(repeating: "a b ", count: 400) + "a b", .tooLong),
    ("candidate:1 1 abcdefghijklmnopqrstuvwxyzabcdefgh 1 10.0.0.1 1 typ host", .badTransport),
  ]

  @Test("I13: broken lines are refused, each for its reason", arguments: bad)
  func refused(text: String, error: ICECandidateError) {
    #expect(throws: error) { try ICECandidate(parsing: text) }
  }

  @Test("I13: a line cut short or damaged never traps, and what is taken prints and reads back")
  func damagedLines() throws {
    var random = RandomSource.seeded(state: 13)
    let lines = try Self.lines("a=candidate:")
    var taken = 0
    for line in lines {
      for length in 0...line.count { _ = try? ICECandidate(parsing: line.prefix(length)) }
      for _ in 0..<500 {
        var bytes = Array(line.utf8)
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(random.next() % 256)
        guard let candidate = try? ICECandidate(parsing: String(decoding: bytes, as: UTF8.self)) else { continue }
        taken += 1
        #expect(try ICECandidate(parsing: candidate.sdpText) == candidate)
      }
    }
    #expect(taken > 100)
  }

  @Test func credentials() {
    var random = RandomSource.system
    var seen: Set<ICECredentials> = []
    for _ in 0..<1_000 {
      let credentials = ICECredentials.random(using: &random)
      #expect(credentials.usernameFragment.utf8.count >= 4 && credentials.password.utf8.count >= 22)
      #expect(credentials.isWellFormed)
      seen.insert(credentials)
    }
    #expect(seen.count == 1_000)
    #expect(Set(seen.map(\.usernameFragment)).count == 1_000)
    #expect(!ICECredentials(usernameFragment: "a:b", password: "x").isWellFormed)
    #expect(!ICECredentials(usernameFragment: "", password: "x").isWellFormed)
    #expect(!ICECredentials(usernameFragment: "a", password: String(repeating: "x", count: 257)).isWellFormed)
  }

  @Test("the longest credentials still make messages that fit")
  func longestCredentials() throws {
    var agent = ICEAgent(role: .controlling, random: .seeded(state: 1))
    _ = agent.addLocalCandidate(try address("[2001:db8::1]:1"), socket: SocketID(rawValue: 1))
    agent.setRemoteCredentials(
      ICECredentials(
        usernameFragment: String(repeating: "u", count: 256), password: String(repeating: "p", count: 256)))
    let candidate = try ICECandidate(parsing: "candidate:1 1 udp 1 2001:db8::2 1 typ host")
    let now = Instant(nanoseconds: 5)
    agent.addRemoteCandidate(candidate, now: now)
    agent.start(now: now)
    var route: Route?
    let bytes = collectBytes(capacity: ICEAgent.maximumMessageSize) { out in
      route = agent.pollTransmit(into: &out, now: now)
    }
    #expect(route?.remote == SocketAddress("[2001:db8::2]:1"))
    #expect(bytes.count <= ICEAgent.maximumMessageSize)
  }
}
