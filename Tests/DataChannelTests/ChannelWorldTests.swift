// ChannelWorldTests.swift — two tables over a model of an association that delays and reorders as SCTP may: whatever
// the order of events, no channel is mixed up with another, and everything ends closed.

import DataChannel
import SCTP
import TestSupport
import Testing
import Wire

/// One side, and what is under way from it. What SCTP guarantees the layer above, and no more: on a stream, messages and
/// the reset come in order; streams overtake each other at will; the confirmation of a reset may come much later than
/// the reset, and until then nothing more leaves on its stream.
private final class End {
  enum Item {
    case message(OutgoingMessage)
    case reset
  }

  let mark: String
  private var table = ChannelTable()
  /// Labels of the channels this side knows to be not closed.
  private(set) var labels: [ChannelID: String] = [:]
  private var lanes: [UInt16: [Item]] = [:]
  /// Resets the peer has carried out; until this side hears of it, their streams are held.
  private var unconfirmed: [UInt16] = []
  private var opened = 0
  /// By channel and direction, in order.
  private(set) var sent: [String: [[UInt8]]] = [:]
  private(set) var delivered: [String: [[UInt8]]] = [:]
  private(set) var failures: [String] = []

  init(_ parity: StreamParity, mark: String, streams: Int) {
    self.mark = mark
    table.connected(as: parity, maximumStreams: streams)
  }

  var recordCount: Int { table.recordCount }
  var knownChannels: [ChannelID] { labels.keys.sorted { $0.rawValue < $1.rawValue } }
  var deliveredCount: Int { delivered.values.reduce(0) { $0 + $1.count } }

  func open() {
    do throws(ChannelError) {
      let label = "\(mark)\(opened)"
      labels[try table.open(ChannelParameters(label: label))] = label
      opened += 1
    } catch {
      if error != .noStreamLeft { failures.append("open: \(error)") }
    }
    drain()
  }

  func close(_ id: ChannelID) {
    table.close(id)
    drain()
  }

  func send(on id: ChannelID) {
    guard let label = labels[id] else { return }
    let direction = "\(label) from \(mark)"
    let payload = Array("\(direction) \(sent[direction]?.count ?? 0)".utf8)
    do throws(ChannelError) {
      let message = try table.message(on: id, binary: payload)
      lanes[message.stream, default: []].append(.message(message))
      sent[direction, default: []].append(payload)
    } catch {
      if error != .notOpen { failures.append("send: \(error)") }
    }
  }

  /// How many things may arrive next: one of each stream that is not held, or a confirmation.
  var choices: Int { readyStreams.count + unconfirmed.count }
  func isConfirmation(_ choice: Int) -> Bool { choice >= readyStreams.count }
  private var readyStreams: [UInt16] { lanes.keys.filter { !unconfirmed.contains($0) }.sorted() }

  func deliver(_ choice: Int, to peer: End) {
    let ready = readyStreams
    guard choice < ready.count else {
      table.outgoingStreamsReset([unconfirmed.remove(at: choice - ready.count)])
      drain()
      return
    }
    let stream = ready[choice]
    guard let item = lanes[stream]?.removeFirst() else { return }
    if lanes[stream]?.isEmpty == true { lanes[stream] = nil }
    if case .reset = item { unconfirmed.append(stream) }
    peer.receive(item, on: stream, from: mark)
  }

  private func receive(_ item: Item, on stream: UInt16, from peer: String) {
    switch item {
    case .reset:
      table.incomingStreamsReset([stream])
      drain()
    case .message(let message):
      let delivery = table.handle(
        IncomingMessage(stream: stream, payloadProtocol: message.payloadProtocol, payload: message.payload))
      drain()
      guard let delivery else { return }
      guard let label = labels[delivery.channel] else {
        failures.append("\(delivery.text) for a channel nobody knows")
        return
      }
      delivered["\(label) from \(peer)", default: []].append(delivery.payload)
    }
  }

  private func drain() {
    while let message = table.pollSend() { lanes[message.stream, default: []].append(.message(message)) }
    while let streams = table.pollReset() {
      for stream in streams { lanes[stream, default: []].append(.reset) }
    }
    while let event = table.pollEvent() {
      switch event {
      case .incoming(let id, let parameters):
        if labels.updateValue(parameters.label, forKey: id) != nil { failures.append("\(id) twice") }
      case .closed(let id):
        if labels.removeValue(forKey: id) == nil { failures.append("\(id) closed twice") }
      case .failed(let id, let failure): failures.append("\(id) failed: \(failure)")
      case .opened, .closing: break
      }
    }
  }
}

private struct World {
  let ends: [End]
  var random: RandomSource

  /// With few streams, ids are used again while the confirmations of their last resets are still under way.
  init(seed: UInt64) {
    random = .seeded(state: seed)
    let streams = [2, 4, 16][Int(seed % 3)]
    ends = [End(.even, mark: "a", streams: streams), End(.odd, mark: "b", streams: streams)]
  }

  mutating func run(steps: Int) {
    for _ in 0..<steps {
      let index = Int.random(in: 0..<2, using: &random)
      let end = ends[index]
      switch Int.random(in: 0..<12, using: &random) {
      case 0: end.open()
      case 1: if let id = end.knownChannels.randomElement(using: &random) { end.close(id) }
      case 2, 3, 4: if let id = end.knownChannels.randomElement(using: &random) { end.send(on: id) }
      default: deliver(from: index)
      }
    }
    // The end: everything is closed, and everything under way arrives.
    for end in ends { for id in end.knownChannels { end.close(id) } }
    while ends.contains(where: { $0.choices > 0 }) {
      deliver(from: 0)
      deliver(from: 1)
    }
  }

  private mutating func deliver(from index: Int) {
    guard ends[index].choices > 0 else { return }
    let choice = Int.random(in: 0..<ends[index].choices, using: &random)
    // Confirmations dawdle, so that new channels come upon the traces of old ones.
    if ends[index].isConfirmation(choice), Int.random(in: 0..<8, using: &random) > 0 { return }
    ends[index].deliver(choice, to: ends[1 - index])
  }

  /// What went wrong: a message that arrived on another channel, twice, or out of order is not in `sent` at its place.
  var failures: [String] {
    let mixedUp = zip(ends, ends.reversed()).flatMap { receiver, sender in
      receiver.delivered.filter { !(sender.sent[$0.key] ?? []).starts(with: $0.value) }.map { "\($0.key) is mixed up" }
    }
    return mixedUp + ends.flatMap(\.failures)
  }
}

@Suite struct ChannelWorldTests {
  @Test("channels are never mixed up, and all end closed", arguments: 1...60 as ClosedRange<UInt64>)
  func openSendClose(seed: UInt64) {
    var world = World(seed: seed)
    world.run(steps: 3000)
    #expect(world.failures.isEmpty, "seed \(seed)")
    #expect(world.ends.map(\.recordCount) == [0, 0], "seed \(seed)")
    #expect(world.ends.allSatisfy { $0.labels.isEmpty && $0.deliveredCount > 5 }, "seed \(seed)")
  }

  @Test("whatever a peer sends, records stay bounded and the end is clean", arguments: 1...30 as ClosedRange<UInt64>)
  func hostilePeer(seed: UInt64) throws {
    var random = RandomSource.seeded(state: seed)
    let side = Side(.even, streams: 40, limits: ChannelLimits(maximumRemoteChannels: 4, maximumOpensPerBatch: 2))
    var open: Set<ChannelID> = []
    for _ in 0..<2000 {
      let stream = UInt16.random(in: 0..<44, using: &random)
      switch Int.random(in: 0..<9, using: &random) {
      case 0: side.receiveOpen(on: stream)
      case 1: side.receiveAcknowledgement(on: stream)
      case 2: side.receive(random.bytes(Int.random(in: 0..<20, using: &random)), .control, on: stream)
      case 3: side.receive([1], PayloadProtocol(rawValue: UInt32.random(in: 48..<60, using: &random)), on: stream)
      case 4: side.incomingReset(stream)
      case 5: side.outgoingReset(stream)
      case 6: if Int.random(in: 0..<20, using: &random) == 0 { side.outgoingResetFailed(stream) }
      case 7: _ = side.error(opening: ChannelParameters(label: "ours"))
      default: if let id = open.randomElement(using: &random) { side.close(id) }
      }
      for event in side.takeEvents() {
        switch event {
        case .opened(let id), .incoming(let id, _):
          #expect(open.insert(id).inserted, "seed \(seed)")
        case .closed(let id):
          #expect(open.remove(id) != nil, "seed \(seed)")
        case .closing(let id), .failed(let id, _):
          #expect(open.contains(id), "seed \(seed)")
        }
      }
      #expect(side.recordCount <= 40, "seed \(seed): one for a stream")
    }
    side.associationClosed()
    #expect(Set(side.takeEvents()) == Set(open.map { .closed($0) }), "seed \(seed)")
    #expect(side.recordCount == 0)
  }
}
