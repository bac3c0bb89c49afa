// ArtifactTests.swift — transfers: whole, windowed, resumed, refused, forged.

import Digest
import Signaling
import Testing
import Wire

@testable import Swarm

@Suite struct ArtifactTests {
  private let id = "/data/model.bin"

  private func content(_ count: Int, seed: UInt64 = 9) -> [UInt8] {
    var random = RandomSource.seeded(state: seed)
    return random.bytes(count)
  }

  /// `a` and the others offer `content`; `z` fetches it.
  private func world(_ content: [UInt8], seed: UInt64 = 1, sources: [String] = ["a"]) throws -> (World, [Node], Node) {
    let nodes = sources.map { Node("peer_\($0)") }
    for node in nodes {
      node.files[id] = content
      try node.machine.offer(describe(id, content))
    }
    let z = Node("peer_z")
    let world = World(seed: seed, nodes + [z])
    for node in nodes { world.connect(node.id, z.id) }
    let isOffered = world.run {
      nodes.allSatisfy { z.machine.peers[$0.id]?.offers[id] != nil } && z.connected.count == nodes.count
    }
    #expect(isOffered)
    return (world, nodes, z)
  }

  @Test("arrives byte for byte", arguments: [0, 1, 49_151, 49_152, 49_153, 393_216, 3_000_001])
  func whole(size: Int) throws {
    let bytes = content(size)
    let (world, nodes, z) = try world(bytes, seed: UInt64(size))
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.downloads[transfer] == .success(describe(id, bytes)))
    #expect(z.received[transfer] ?? [] == bytes)
    #expect(world.run { nodes[0].machine.uploads.isEmpty })
    #expect(nodes[0].uploadsEnded == (size == 0 ? 0 : 1))
    #expect(nodes[0].machine.peers["peer_z"]?.uploadCount == 0)
  }

  @Test("never more than a window is under way")
  func window() throws {
    let bytes = content(8 << 20)
    let (world, _, z) = try world(bytes)
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.received[transfer] == bytes)
    let headers = 32 * BulkFrame.headerBytes + 200  // and a few acknowledgements
    #expect(world.peakBulkBytes <= Int(SwarmLimits.windowBytes) + headers)
  }

  @Test("lost chunks are asked for again, from where they stopped", arguments: 1...10 as ClosedRange<UInt64>)
  func resumes(seed: UInt64) throws {
    let bytes = content(2_000_000, seed: seed)
    let (world, _, z) = try world(bytes, seed: seed)
    var random = RandomSource.seeded(state: seed)
    var losses = 0
    world.drops = { message, _ in
      guard case .binary = message.content, losses < 3, Int.random(in: 0..<12, using: &random) == 0 else {
        return false
      }
      losses += 1
      return true
    }
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.downloads[transfer]?.success != nil, "seed \(seed)")
    #expect(z.received[transfer] == bytes, "seed \(seed)")
  }

  @Test("when the sender leaves, another with the same bytes goes on")
  func movesOn() throws {
    let bytes = content(4_000_000)
    let (world, _, z) = try world(bytes, sources: ["a", "b"])
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.received[transfer]?.count ?? 0 > 1_000_000 })
    world.removeNode("peer_a")
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.downloads[transfer]?.success != nil)
    #expect(z.received[transfer] == bytes)
  }

  @Test func senderLeaves() throws {
    let bytes = content(4_000_000)
    let (world, nodes, z) = try world(bytes)
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.received[transfer]?.count ?? 0 > 1_000_000 })
    world.disconnect("peer_a", "peer_z")
    #expect(z.downloads[transfer] == .failure(.peerLeft("peer_a")))
    #expect(nodes[0].machine.uploads.isEmpty)
    #expect(nodes[0].uploadsEnded == 1)
  }

  @Test("other bytes than the announced ones are found out")
  func wrongHash() throws {
    let bytes = content(200_000)
    let (world, nodes, z) = try world(bytes)
    nodes[0].files[id]?[123_456] ^= 1
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.downloads[transfer] == .failure(.hashMismatch))
  }

  @Test("a sender that cannot read any more says so, and the next source goes on")
  func unreadable() throws {
    let bytes = content(900_000)
    let (world, nodes, z) = try world(bytes, sources: ["a", "b"])
    nodes[0].readLimit = 300_000
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.received[transfer] == bytes)

    nodes[1].readLimit = 300_000
    let second = try z.machine.request(id, from: "peer_b", now: world.now).transfer
    #expect(world.run { z.downloads[second] != nil })
    #expect(z.downloads[second] == .failure(.refused(reason: "Unreadable")))
  }

  @Test("a sender that falls silent is asked four times, then given up")
  func timesOut() throws {
    let (world, _, z) = try world(content(500_000))
    world.drops = { message, from in if case .binary = message.content { from == "peer_a" } else { false } }
    let start = world.now
    let transfer = try z.machine.request(id, now: start).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.downloads[transfer] == .failure(.timedOut))
    #expect(world.now - start == SwarmLimits.downloadPatience * Int64(SwarmLimits.maximumRequests))
  }

  @Test func withoutBulkChannel() throws {
    let bytes = content(700_000)
    let a = Node("peer_a")
    a.files[id] = bytes
    try a.machine.offer(describe(id, bytes))
    let z = Node("peer_z")
    let world = World(seed: 3, [a, z])
    world.connect("peer_a", "peer_z", bulk: false)
    _ = world.run { z.connected.count == 1 }
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.received[transfer] == bytes)
  }

  @Test func cancelled() throws {
    let (world, nodes, z) = try world(content(4_000_000))
    let transfer = try z.machine.request(id, now: world.now).transfer
    #expect(world.run { z.received[transfer]?.count ?? 0 > 500_000 })
    z.machine.cancel(transfer)
    #expect(world.run { nodes[0].uploadsEnded == 1 })
    #expect(z.downloads[transfer] == .failure(.cancelled))
  }

  @Test(
    "ids and names that lead elsewhere",
    arguments: [
      "", "/", "..", "../x", "/a/../b", "a//b", "/a/.", "a\\..\\b", "a\0b", "a\nb", "/a/", "x/..",
      String(repeating: "a", count: 256), String(repeating: "a/", count: 300) + "a",
    ])
  func traversal(id: String) throws {
    #expect(!ArtifactPath.isSafeID(id))
    #expect(!ArtifactPath.isSafeName(id))
    let a = Node("peer_a")
    #expect(throws: ArtifactError.unsafePath) { try a.machine.offer(describe(id, [1])) }
    #expect(throws: ArtifactError.unsafePath) { try a.machine.offer(describe("/fine", [1], name: id)) }

    // A peer that announces it nevertheless is not believed.
    let z = Node("peer_z")
    let world = World.mesh(a, z)
    _ = a.machine.post(.artifactAnnounce, describe(id, [1]).fields, to: "peer_z")
    _ = a.machine.post(.artifactAnnounce, describe("/fine", [1], name: id).fields, to: "peer_z")
    #expect(world.run { z.machine.rejections[.badPayload] == 2 })
    #expect(z.machine.peers["peer_a"]?.offers.isEmpty == true)
  }

  @Test("safe ids", arguments: ["a", "/data/report.json", "data/..hidden", "/päth/файл.txt", "..."])
  func safe(id: String) { #expect(ArtifactPath.isSafeID(id)) }

  @Test(
    "announcements that promise nonsense are refused",
    arguments: [
      ["size": -1], ["size": 1e300], ["size": "1"], ["sha256": "00"], ["sha256": nil], ["name": "a/b"],
      ["size": .integer(Int(SwarmLimits.maximumArtifactBytes) + 1)],
    ] as [[String: JSONValue]])
  func nonsense(change: [String: JSONValue]) throws {
    let a = Node("peer_a")
    let z = Node("peer_z")
    let world = World.mesh(a, z)
    let fields = describe(id, [1]).fields.merging(change) { $1 }
    _ = a.machine.post(.artifactAnnounce, fields, to: "peer_z")
    #expect(world.run { !z.machine.rejections.isEmpty })
    #expect(z.machine.peers["peer_a"]?.offers.isEmpty == true)
  }

  @Test("a hostile sender's frames change nothing")
  func hostileFrames() throws {
    let bytes = content(500_000)
    let (world, nodes, z) = try world(bytes, sources: ["a", "b"])
    let transfer = try z.machine.request(id, from: "peer_a", now: world.now).transfer
    func inject(_ frame: BulkFrame, _ data: [UInt8], as peer: PeerID = "peer_b") {
      z.machine.handle(.binary(frame.bytes(data: data)), from: peer, lane: .bulk, now: world.now)
    }
    // From a peer that was not asked; for no transfer; too long; ahead of what is there; negative offset; rubbish.
    inject(BulkFrame(kind: .chunk, transfer: transfer, offset: 0), [1, 2, 3])
    inject(BulkFrame(kind: .chunk, transfer: transfer &+ 1, offset: 0), [1], as: "peer_a")
    #expect(z.machine.rejections == [.unsolicited: 1, .late: 1])
    inject(BulkFrame(kind: .chunk, transfer: transfer, offset: 0), [UInt8](repeating: 0, count: 60_000), as: "peer_a")
    #expect(z.machine.rejections[.payloadTooLarge] == 1)
    inject(BulkFrame(kind: .chunk, transfer: transfer, offset: 100), [1], as: "peer_a")
    inject(BulkFrame(kind: .acknowledgement, transfer: transfer, offset: 5), [], as: "peer_a")
    #expect(z.machine.rejections[.late] == 2)
    for length in 0..<BulkFrame.headerBytes {
      let frame = BulkFrame(kind: .chunk, transfer: 1, offset: 0).bytes(data: [1])
      z.machine.handle(.binary(Array(frame.prefix(length))), from: "peer_a", lane: .bulk, now: world.now)
    }
    var negative = BulkFrame(kind: .chunk, transfer: transfer, offset: 0).bytes(data: [1])
    negative[12] = 0xff
    z.machine.handle(.binary(negative), from: "peer_a", lane: .bulk, now: world.now)
    #expect(z.machine.rejections[.badPayload] == BulkFrame.headerBytes + 1)
    #expect(world.run { z.downloads[transfer] != nil })
    #expect(z.received[transfer] == bytes)
    // An acknowledgement of what was never sent.
    let upload = try z.machine.request(id, from: "peer_a", now: world.now).transfer
    #expect(world.run { nodes[0].machine.uploads[upload] != nil })
    let early = BulkFrame(kind: .acknowledgement, transfer: upload, offset: 499_999_999)
    nodes[0].machine.handle(.binary(early.bytes()), from: "peer_z", lane: .bulk, now: world.now)
    #expect(nodes[0].machine.rejections[.badPayload] == 1)
    #expect(world.run { z.downloads[upload]?.success != nil })
  }

  @Test("requests for what is not there, and more than is served at once")
  func bounds() throws {
    let (world, nodes, z) = try world(content(5_000_000))
    #expect(throws: ArtifactError.unknownArtifact) { try z.machine.request("/other", now: world.now) }
    #expect(throws: ArtifactError.unknownArtifact) { try z.machine.request(id, from: "peer_q", now: world.now) }
    var transfers: [UInt64] = []
    for _ in 0...SwarmLimits.maximumUploadsPerPeer {
      transfers.append(try z.machine.request(id, now: world.now).transfer)
    }
    #expect(world.run { z.downloads.count == 1 })
    #expect(z.downloads.values.first == .failure(.refused(reason: "Busy")))
    #expect(nodes[0].machine.uploads.count == SwarmLimits.maximumUploadsPerPeer)
    #expect(world.run { z.downloads.count == transfers.count })
    #expect(z.downloads.values.count(where: { $0.success != nil }) == SwarmLimits.maximumUploadsPerPeer)
  }
}
