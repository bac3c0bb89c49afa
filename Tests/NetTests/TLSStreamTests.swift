// TLSStreamTests.swift — a stream socket's TLS against `openssl s_server`: trust, names, versions, traffic, refusals.

import CPosix
import Foundation
import Glibc
import TLS
import Testing
import Wire

@testable import Net

@Suite("TLS over a stream", .enabled(if: OpenSSLServer.isPresent), .serialized, .timeLimit(.minutes(1)))
struct TLSStreamTests {
  @Test("datagrams go both ways, framed, under either version", arguments: ["-tls1_2", "-tls1_3"])
  func bothWays(version: String) async throws {
    let server = try OpenSSLServer([version])
    let security = try TLSClient(serverName: "turn.test", trust: .file(server.certificate))
    let world = try await ActiveWorld(framing: .turn, security: security)
    let received = Collector()
    let datagrams = [stunMessage(1)] + (0..<150).map { channelData(numbered($0, count: 1_150 + $0 % 4)) }
    try await onLoop(world.loop) {
      world.active.onDatagram = { _, bytes, _ in received.add(bytes.copyBytes()) }
      // All of it before there is a connection.
      for datagram in datagrams { world.active.send(datagram, to: server.address) }
    }
    let wire = datagrams.flatMap { framed($0, .turn) }
    #expect(server.hasReceived(wire))
    // A line's first letter may be a command to s_server; a STUN message begins with none.
    server.send(wire)
    #expect(await received.wait(for: datagrams.count))
    #expect(received.all == datagrams)
    world.end()
    server.end()
  }

  @Test("an address is as good a name as another, if the certificate has it")
  func address() async throws {
    let server = try OpenSSLServer()
    let security = try TLSClient(serverName: "127.0.0.1", trust: .file(server.certificate))
    let world = try await ActiveWorld(framing: .turn, security: security)
    try await onLoop(world.loop) { world.active.send(stunMessage(3), to: server.address) }
    #expect(server.hasReceived(stunMessage(3)))
    world.end()
    server.end()
  }

  @Test("a certificate for another name, or from nobody who is trusted, ends the connection before a byte is sent")
  func refusedCertificates() async throws {
    let server = try OpenSSLServer()
    let trusts: [(String, TLSTrust, String)] = [
      ("other.test", .file(server.certificate), "hostname mismatch"),
      ("127.0.0.2", .file(server.certificate), "IP address mismatch"),
      ("turn.test", .system, "self-signed certificate"),
    ]
    for (name, trust, reason) in trusts {
      let world = try await ActiveWorld(framing: .turn, security: try TLSClient(serverName: name, trust: trust))
      let closed = Closures()
      try await onLoop(world.loop) {
        world.active.onRouteClosed = { _, route, error in closed.add(route, error) }
        world.active.send(stunMessage(4), to: server.address)
      }
      #expect(await closed.wait(for: 1))
      let error = try #require(closed.all.first?.error)
      #expect(error.operation == "TLS")
      #expect(error.detail?.contains(reason) == true, "\(error)")
      let statistics = try await world.statistics()
      #expect(statistics.connections == 0)
      world.end()
    }
    server.end()
  }

  @Test("the server's end is told, and the next datagram connects anew")
  func closedByServer() async throws {
    let server = try OpenSSLServer()
    let security = try TLSClient(serverName: "turn.test", trust: .file(server.certificate))
    let world = try await ActiveWorld(framing: .turn, security: security)
    let closed = Closures()
    try await onLoop(world.loop) {
      world.active.onRouteClosed = { _, route, error in closed.add(route, error) }
      world.active.send(stunMessage(5), to: server.address)
    }
    #expect(server.hasReceived(stunMessage(5)))
    server.send(Array("q".utf8))  // close_notify, and the next connection
    #expect(await closed.wait(for: 1))
    #expect(closed.all.first?.error == nil)
    server.end()
  }

  @Test("one that answers no TLS, or nothing, is given up")
  func noTLS() async throws {
    var configuration = EventLoopConfiguration()
    configuration.streams.handshake = .milliseconds(30)
    for answers in [true, false] {
      let listener = try RawListener()
      let world = try await ActiveWorld(configuration, framing: .turn, security: try TLSClient(serverName: "turn.test"))
      let closed = Closures()
      try await onLoop(world.loop) {
        world.active.onRouteClosed = { _, route, error in closed.add(route, error) }
        world.active.send(stunMessage(6), to: listener.address)
      }
      let raw = try listener.accept()
      if answers { raw.send(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)) }
      #expect(await closed.wait(for: 1))
      #expect(closed.all.first?.error?.code == (answers ? EPROTO : ETIMEDOUT))
      world.end()
    }
  }

  @Test("a listener has no TLS, and trust that cannot be read is an error")
  func misuse() async throws {
    let loop = try EventLoop(name: "misuse")
    let peer = Peer()
    let security = try TLSClient(serverName: "turn.test")
    try await onLoop(loop) {
      try peer.join(loop)
      #expect(throws: NetError.self) {
        try peer.registration?.openStreamSocket(local: .anyPortV4, framing: .turn, role: .passive, security: security)
      }
    }
    #expect(throws: StreamSecurityError.self) { try TLSClient(serverName: "x", trust: .file("/nowhere.pem")) }
    #expect(throws: StreamSecurityError.self) { try TLSClient(serverName: "") }
    #expect(throws: StreamSecurityError.self) { try TLSClient(serverName: "a\0b") }
    loop.shutdown()
  }
}

/// `openssl s_server` with a certificate for turn.test and 127.0.0.1.
private final class OpenSSLServer: @unchecked Sendable {
  static let path = "/usr/bin/openssl"
  static var isPresent: Bool { FileManager.default.isExecutableFile(atPath: path) }

  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let folder: URL
  private var seen: [UInt8] = []
  private(set) var address = SocketAddress.anyPortV4
  var certificate: String { folder.appendingPathComponent("certificate.pem").path }

  init(_ arguments: [String] = []) throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("tls-\(UInt64.random(in: 0...UInt64.max))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let key = folder.appendingPathComponent("key.pem").path
    let maker = Process()
    maker.executableURL = URL(fileURLWithPath: Self.path)
    maker.arguments = [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=x",
      "-addext", "subjectAltName=DNS:turn.test,IP:127.0.0.1", "-keyout", key, "-out", certificate,
    ]
    maker.standardError = FileHandle.nullDevice
    try maker.run()
    maker.waitUntilExit()
    process.executableURL = URL(fileURLWithPath: Self.path)
    process.arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key] + arguments
    process.standardInput = input
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let marker = "ACCEPT 127.0.0.1:"
    try #require(hasReceived(Array(marker.utf8)))
    while !seen.contains(UInt8(ascii: "\n")) { try #require(readMore()) }
    let lines = String(decoding: seen, as: UTF8.self).split(separator: "\n")
    let line = try #require(lines.first { $0.hasPrefix(marker) })
    address.port = try #require(UInt16(line.dropFirst(marker.count)))
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func send(_ bytes: [UInt8]) { input.fileHandleForWriting.write(Data(bytes)) }

  /// Whether the server's output, which is what its client sends, contains `bytes` before it ends.
  func hasReceived(_ bytes: [UInt8]) -> Bool {
    while !contains(bytes) { guard readMore() else { return false } }
    return true
  }

  private func contains(_ bytes: [UInt8]) -> Bool { Data(seen).range(of: Data(bytes)) != nil }

  private func readMore() -> Bool {
    var ready = pollfd(fd: output.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, 20_000) == 1 else { return false }
    let data = output.fileHandleForReading.availableData
    seen += data
    return !data.isEmpty
  }

  /// SIGKILL, because the program inherits this thread's signal mask, which keeps SIGTERM from it.
  func end() {
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}
