// BadInputTests.swift — what is not understood gets one clear line and exit code 64; what cannot be done, one and 1.

import Foundation
import Signaling
import Testing

extension CommandTests {
  @Suite struct BadInputTests {
    @Test(
      "arguments that are not understood: one line, exit code 64",
      arguments: [
        (["nonsense"], "nonsense"),
        (["--nonsense"], "--nonsense"),
        (["demo", "--peers", "1"], "--peers goes from 2 to 16"),
        (["demo", "--peers", "17"], "--peers goes from 2 to 16"),
        (["demo", "--peers", "many"], "many"),
        (["demo", "--file", "/nowhere/at-all"], "/nowhere/at-all"),
        (["demo", "--file", "/"], "folder"),
        (["serve", "--port", "99999"], "99999"),
        (["serve", "--path", "signaling"], "--path"),
        (["serve", "--host", "0.0.0.0"], "--access-token"),
        (["serve", "--open", "--access-token", "x"], "either"),
        (["serve", "--allow-origin", "https://example.org"], "--access-token"),
        (["join"], "--room"),
        (["join", "--room", ""], "--room"),
        (["join", "--room", "r", "--signaling", "http://localhost"], "ws://"),
        (["join", "--room", "r", "--vote", "perhaps"], "perhaps"),
        (["join", "--room", "r", "--loopback", "sometimes"], "sometimes"),
        (["join", "--room", "r", "--folder", "/nowhere/at-all"], "/nowhere/at-all"),
        (["connect"], "--offer"),
        (["connect", "--offer", "--ice-server", "http:x"], "none of stun, stuns, turn and turns"),
        (["connect", "--offer", "--ice-server", "turn:x"], "TURN needs a username"),
        (["connect", "--offer", "--ice-server", "turn:x,name"], "URL,NAME,PASSWORD"),
        (["connect", "--offer", "--policy", "perhaps"], "perhaps"),
        (["connect", "--offer", "--tcp", "passive"], "'none', 'active' or 'both'"),
        (["bench", "bulk", "--port-range", "9-8"], "FIRST-LAST"),
        (["serve", "--stun-port", "99999"], "99999"),
        (["bench", "speed"], "speed"),
        (["bench", "dtls", "--listen", "127.0.0.1:9"], "one process"),
        (["bench", "bulk", "--congestion-control", "vegas"], "vegas"),
        (["bench", "bulk", "--seconds", "3", "--warm-up", "3"], "--warm-up"),
      ] as [([String], String)])
    func usage(arguments: [String], named: String) async throws {
      let (ending, output, errors) = try await Program(arguments).finish()
      #expect(ending == Program.Ending(code: 64))
      #expect(output.isEmpty)
      try #require(errors.count == 1, "\(errors)")
      #expect(errors[0].contains(named))
    }

    @Test("without a README.md the demo asks for a file")
    func noReadme() async throws {
      let folder = try TemporaryFolder()
      let (ending, _, errors) = try await Program(["demo"], in: folder.path).finish()
      #expect(ending == Program.Ending(code: 64))
      try #require(errors.count == 1, "\(errors)")
      #expect(errors[0].contains("--file"))
    }

    @Test(
      "help is no failure", arguments: [["--help"], ["demo", "--help"], ["join", "--help"], ["serve", "--help"]])
    func help(arguments: [String]) async throws {
      let (ending, output, errors) = try await Program(arguments).finish()
      #expect(ending == Program.Ending(code: 0))
      #expect(!output.isEmpty)
      #expect(errors.isEmpty)
    }

    @Test("a port in use: one line, exit code 1")
    func portInUse() async throws {
      let first = try Program(["serve", "--port", "0"])
      let port = try #require(try await first.event("listening")["port"]?.intValue)
      let (ending, output, errors) = try await Program(["serve", "--port", "\(port)"]).finish()
      #expect(ending == Program.Ending(code: 1))
      #expect(output.isEmpty)
      try #require(errors.count == 1, "\(errors)")
      #expect(errors[0].contains("cannot listen"))
      first.signal(SIGTERM)
      #expect(await first.finish().ending == Program.Ending(code: 0))
    }

    @Test("nobody listens there: one line, exit code 1")
    func noServer() async throws {
      // A port that was free a moment ago.
      let server = try Program(["serve", "--port", "0"])
      let url = try #require(try await server.event("listening")["url"]?.stringValue)
      server.signal(SIGINT)
      #expect(await server.finish().ending == Program.Ending(code: 0))

      let (ending, output, errors) = try await Program(["join", "--room", "r", "--signaling", url]).finish()
      #expect(ending == Program.Ending(code: 1))
      #expect(output.isEmpty)
      try #require(errors.count == 1, "\(errors)")
      #expect(errors[0].contains("cannot join"))
    }
  }
}
