// JoinTests.swift — `swarm serve` and `swarm join` as a script uses them.

import Foundation
import Signaling
import Testing

extension CommandTests {
  @Suite struct JoinTests {
    /// A server and two peers that are connected.
    private struct Pair {
      let server: Program
      let a: Program
      let b: Program

      init(extraB: [String] = []) async throws {
        server = try Program(["serve", "--port", "0"])
        let url = try #require(try await server.event("listening")["url"]?.stringValue)
        let common = ["join", "--room", "pair", "--signaling", url, "--loopback", "only"]
        a = try Program(common + ["--id", "peer-a"])
        b = try Program(common + ["--id", "peer-b", "--capability", "work"] + extraB)
        _ = try await a.event("connected")
        _ = try await b.event("connected")
      }

      func end() async throws {
        try a.endInput()
        try b.write(#"{"leave":true}"#)
        #expect(await a.finish().ending == Program.Ending(code: 0))
        #expect(await b.finish().ending == Program.Ending(code: 0))
        server.signal(SIGTERM)
        #expect(await server.finish().ending == Program.Ending(code: 0))
      }
    }

    @Test("lines that are not understood are named, and nothing ends")
    func badLines() async throws {
      let pair = try await Pair()
      let bad = [
        "[": "no JSON", "7": "object", "{}": "without a command", #"{"fly":true}"#: "unknown command fly",
        #"{"send":{"to":"peer-b"}}"#: "needs type", #"{"send":{"to":"peer-b","typ":"x"}}"#: "no member typ",
        #"{"stats":false}"#: "stats", #"{"delegate":{"name":"x","timeout":-1}}"#: "timeout",
        #"{"send":{"to":"b","type":"x"},"leave":true}"#: "one command",
        #"{"vote":{"proposal":"9","yes":true}}"#: "waiting",
        #"{"broadcast":{"type":"ping"}}"#: "ping", #"{"getFile":"/nothing"}"#: "offers",
        #"{"offerFile":"/nowhere/at-all"}"#: "/nowhere/at-all",
        #"{"delegate":{"name":"x","requirements":["wings"]}}"#: "capability",
      ]
      for (line, reason) in bad {
        try pair.a.write(line)
        _ = try await pair.a.event("error") { $0["reason"]?.stringValue?.contains(reason) == true }
      }
      try pair.a.write(#"{"send":{"to":"peer-b","type":"x"},"id":"still here"}"#)
      #expect(try await pair.a.event("sent") { $0["id"] == "still here" }["count"] == 1)
      try pair.a.write(#"{"send":{"to":"nobody","type":"x"},"id":2}"#)
      #expect(try await pair.a.event("sent") { $0["id"] == 2 }["count"] == 0)
      try await pair.end()
    }

    @Test("tasks of the built-in kind, and tasks that the script does")
    func tasks() async throws {
      let pair = try await Pair(extraB: ["--task", "reverse"])
      try pair.a.write(#"{"delegate":{"name":"sha256","requirements":["work"],"data":"abc"},"id":1}"#)
      let hash = try await pair.a.event("result") { $0["id"] == 1 }
      #expect(hash["value"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
      try pair.a.write(#"{"delegate":{"name":"word-count","data":7},"id":2}"#)
      #expect(try await pair.a.event("error") { $0["id"] == 2 }["reason"]?.stringValue?.contains("text") == true)

      try pair.a.write(#"{"delegate":{"name":"reverse","data":"drawer"},"id":3}"#)
      let task = try await pair.b.event("task")
      #expect(task["data"] == "drawer")
      #expect(task["from"] == "peer-a")
      let number = try #require(task["task"]?.stringValue)
      try pair.b.write(#"{"result":{"task":"\#(number)","value":"reward"}}"#)
      #expect(try await pair.a.event("result") { $0["id"] == 3 }["value"] == "reward")

      // The script's peer has a task under way when the delegator goes.
      try pair.a.write(#"{"delegate":{"name":"reverse","data":"never"},"id":4}"#)
      let second = try await pair.b.event("task") { $0["data"] == "never" }
      pair.a.signal(SIGTERM)
      _ = try await pair.b.event("task-abandoned") { $0["task"] == second["task"] }
      try await pair.end()
    }

    @Test("a file arrives whole, and replaces none that is there")
    func files() async throws {
      let (mine, yours) = (try TemporaryFolder(), try TemporaryFolder())
      let pair = try await Pair(extraB: ["--folder", yours.path])
      let content = (0..<300_000).map { _ in UInt8.random(in: 0...255) }
      let path = try mine.write("photo.raw", content)
      try pair.a.write(#"{"offerFile":"\#(path)"}"#)
      let id = try #require(try await pair.b.event("artifact")["artifact"]?["id"]?.stringValue)
      try pair.b.write(#"{"getFile":"\#(id)","id":1}"#)
      let answer = try await pair.b.event("file") { $0["id"] == 1 }
      #expect(answer["size"] == .integer(content.count))
      let stored = try #require(answer["path"]?.stringValue)
      #expect(try Data(contentsOf: URL(fileURLWithPath: stored)) == Data(content))
      try pair.b.write(#"{"getFile":"\#(id)","id":2}"#)
      #expect(
        try await pair.b.event("error") { $0["id"] == 2 }["reason"]?.stringValue?.contains("there already") == true)
      try await pair.end()
    }

    @Test("votes: asked of the script, and by rule; knowledge reaches the other")
    func votesAndKnowledge() async throws {
      let pair = try await Pair(extraB: ["--vote", "ask"])
      try pair.a.write(#"{"propose":{"type":"colour","content":"green"},"id":1}"#)
      let question = try await pair.b.event("proposal")
      #expect(question["content"] == "green")
      let number = try #require(question["proposal"]?.stringValue)
      try pair.b.write(#"{"vote":{"proposal":"\#(number)","yes":true}}"#)
      let outcome = try await pair.a.event("decided") { $0["id"] == 1 }
      #expect(outcome["accepted"] == true)
      #expect(outcome["electorate"] == 2)

      try pair.b.write(#"{"propose":{"type":"anything","content":null},"id":2}"#)
      #expect(try await pair.b.event("decided") { $0["id"] == 2 }["accepted"] == false)

      try pair.b.write(#"{"share":{"id":"colour","value":"green"}}"#)
      _ = try await pair.a.event("knowledge-changed") { $0["value"] == "green" }
      try pair.a.write(#"{"knowledge":true}"#)
      #expect(try await pair.a.event("knowledge")["entries"]?["colour"] == "green")
      try await pair.end()
    }
  }
}
