// SessionTests.swift — sealing, several records in a datagram, closing, other suites and fragmented hellos.

import COpenSSL
import CVirtualClock
import DTLS
import Testing
import Wire

@Suite struct SessionTests {
  @Test func recordsInOneDatagramComeOutOneByOne() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    let datagram = try (0..<10 as Range<UInt8>).flatMap { number in
      try pair.client.session.seal([UInt8](repeating: number, count: Int(number) + 1))
    }
    pair.server.handle(datagram, now: pair.now)
    #expect(pair.server.received == (0..<10 as Range<UInt8>).map { [UInt8](repeating: $0, count: Int($0) + 1) })
  }

  @Test func sealsUpToTheDatagramAndNoFurther() throws {
    for size in [512, 1200, 16_384] {
      var pair = try Pair(maximumDatagramSize: size)
      pair.start()
      pair.run()
      let largest = [UInt8](repeating: 7, count: size - DTLSSession.recordOverhead)
      let datagram = try pair.client.session.seal(largest)
      #expect(datagram.count == size)
      pair.server.handle(datagram, now: pair.now)
      #expect(pair.server.received == [largest])
      let tooLarge = Result { () throws(DTLSError) in try pair.client.session.seal(largest + [0]) }
      #expect(tooLarge == .failure(.plaintextTooLarge))
    }
  }

  @Test func nothingIsSealedBeforeTheHandshakeOrAfterTheEnd() throws {
    var pair = try Pair()
    pair.start()
    let early = Result { () throws(DTLSError) in try pair.client.session.seal([1]) }
    #expect(early == .failure(.notConnected))
    pair.run()
    pair.client.session.close()
    let late = Result { () throws(DTLSError) in try pair.client.session.seal([1]) }
    #expect(late == .failure(.notConnected))
  }

  @Test(arguments: [true, false])
  func closingTellsThePeer(clientCloses: Bool) throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    if clientCloses { pair.client.session.close() } else { pair.server.session.close() }
    pair.run()
    #expect(pair.client.events == (clientCloses ? [.connected] : [.connected, .closed]))
    #expect(pair.server.events == (clientCloses ? [.connected, .closed] : [.connected]))
    let areOver = !pair.client.session.isConnected && !pair.server.session.isConnected
    #expect(areOver)
    pair.client.session.close()
    pair.server.session.close()
    let quiet = pair.client.transmit().isEmpty && pair.server.transmit().isEmpty
    #expect(quiet)
  }

  @Test func dataBeforeTheCloseInOneDatagramIsRead() throws {
    var pair = try Pair()
    pair.start()
    pair.run()
    let data = try pair.client.session.seal([1, 2])
    pair.client.session.close()
    let goodbye = pair.client.transmit()
    #expect(goodbye.count == 1)
    pair.server.handle(data + goodbye.joined(), now: pair.now)
    #expect(pair.server.received == [[1, 2]])
    #expect(pair.server.events == [.connected, .closed])
  }

  @Test func closingDuringTheHandshakeIsQuiet() throws {
    var pair = try Pair()
    pair.start()
    pair.client.session.close()
    pair.run(limit: .seconds(60))
    let deadline = pair.client.session.deadline
    #expect(deadline == nil && pair.client.events.isEmpty)
  }

  @Test("every suite on offer works in both roles", arguments: [DTLSRole.client, .server])
  func suites(rawRole: DTLSRole) throws {
    for suite in [
      "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
    ] {
      var joined = try Joined(rawRole: rawRole) { context in
        #expect(SSL_CTX_set_cipher_list(context, suite) == 1)
      }
      #expect(joined.side.events == [.connected], "\(suite)")
      // The shortest record there is: one byte, and with ChaCha20 no nonce.
      #expect(joined.raw.send([42]))
      for datagram in joined.raw.transmit() { joined.side.handle(datagram, now: Instant(nanoseconds: 0)) }
      #expect(joined.side.received == [[42]], "\(suite)")
      for length in 0..<40 {
        let forged = record(type: 23, epoch: 1, sequence: 1 << 30, [UInt8](repeating: 1, count: length))
        joined.side.handle(forged, now: Instant(nanoseconds: 0))
      }
      #expect(joined.side.events == [.connected], "\(suite)")
    }
  }

  @Test("a hello in several datagrams, as browsers send it, is understood")
  func fragmentedHello() throws {
    let joined = try Joined(rawRole: .client) { context in
      // A long list of protocols makes a hello like a browser's.
      let names = [UInt8](repeating: 100, count: 101)
      var list: [UInt8] = []
      for _ in 0..<12 { list += names }
      #expect(SSL_CTX_set_alpn_protos(context, list, UInt32(list.count)) == 0)
    }
    #expect(joined.side.events == [.connected])
    #expect(joined.raw.isConnected)
  }
}

/// A raw peer and a session that have shaken hands, if they could.
struct Joined: ~Copyable {
  let raw: RawPeer
  var side: Side

  init(
    rawRole: DTLSRole, identity: DTLSIdentity? = nil, key: OpaquePointer? = nil, _ configure: (OpaquePointer) -> Void
  ) throws {
    let key = try key ?? #require(openssl_generate_p256())
    var fingerprint: Fingerprint?
    let raw = try RawPeer(role: rawRole) { context in
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in 1 }
      configure(context)
      fingerprint = try? RawPeer.use(key, in: context)
    }
    let announced = try #require(fingerprint)
    var side = Side(
      try DTLSSession(
        identity: try identity ?? Pair.serverIdentity.get(), role: rawRole == .client ? .server : .client,
        remoteFingerprints: [announced]))
    side.session.start(now: Instant(nanoseconds: 0))
    exchange(raw, &side, now: Instant(nanoseconds: 0))
    self.raw = raw
    self.side = side
  }
}
