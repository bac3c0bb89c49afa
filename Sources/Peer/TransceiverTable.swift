// TransceiverTable.swift — the transceivers of a connection, and which section of the descriptions each one has (RFC 9429
// §4.1.1, §5.2.1, §5.3.1, §5.10).
//
// Invariants: a mid belongs to one transceiver at most; what an offer has changed is undone when another takes its place.

import RTP
import SDP
import Wire

struct TransceiverTable: Sendable {
  private(set) var all: [Transceiver] = []
  /// The mids that were agreed on before the offer under way, by transceiver; nil when none is under way.
  private var agreedMids: [Int: String]?
  private var nextID = 0
  private var numbers = BundleNumbers()

  /// An offer of a peer with more than that is answered as far as this goes.
  static let maximumCount = 128

  // MARK: The application's part

  /// - Returns: the transceiver's number; nil when there are too many.
  mutating func add(
    _ kind: MediaKind, _ direction: SDPDirection, _ codecs: [SDPCodec], random: inout RandomSource
  ) -> Int? {
    wasUsed = true
    return add(kind, direction, codecs, isFromPeer: false, random: &random)
  }

  private mutating func add(
    _ kind: MediaKind, _ direction: SDPDirection, _ codecs: [SDPCodec], isFromPeer: Bool, random: inout RandomSource
  ) -> Int? {
    guard all.count < Self.maximumCount else { return nil }
    nextID += 1
    all.append(
      Transceiver(
        id: nextID, kind: kind, ssrc: freshSSRC(&random), rtxSSRC: freshSSRC(&random),
        trackID: Self.name(&random), isFromPeer: isFromPeer, preferences: codecs, direction: direction))
    return nextID
  }

  mutating func setDirection(_ direction: SDPDirection, of id: Int) { change(id) { $0.direction = direction } }

  /// Has it end with the next exchange of descriptions; at once when no description has told of it.
  mutating func stop(_ id: Int) {
    change(id) { $0.isStopping = true }
    all.removeAll { $0.id == id && $0.mid == nil }
  }

  /// The application has added one, ever.
  private(set) var wasUsed = false

  var needsNegotiation: Bool { all.contains(where: \.needsNegotiation) }

  subscript(id: Int) -> Transceiver? { all.first { $0.id == id } }

  func withMid(_ mid: String?) -> Transceiver? { mid.flatMap { mid in all.first { $0.mid == mid } } }

  // MARK: Offers and answers

  /// What our offer tells, in order; the mids are those that were given already.
  mutating func offered(streamID: String, cname: String) -> [LocalMedia] {
    all.map { transceiver in
      // What was agreed on keeps its numbers (RFC 3264 §8.3.2), and is all that is offered again.
      let isAgreed = transceiver.currentDirection != nil
      return transceiver.localMedia(
        codecs: isAgreed ? transceiver.codecs : numbers.number(transceiver.preferences),
        extensions: isAgreed ? transceiver.extensions : numbers.extensions(for: transceiver.kind),
        streamID: streamID, cname: cname)
    }
  }

  /// Our offer with these sections was set.
  ///
  /// - Parameter media: as `offered` gave them, each with its mid by now.
  mutating func setOffer(_ media: [LocalMedia]) {
    beginOffer()
    for described in media {
      guard let index = all.firstIndex(where: { $0.ssrc == described.ssrc }) else { continue }
      all[index].mid = described.mid
    }
  }

  /// Gives each of an offer's sections the transceiver that has it already, one that waits for a section of its kind, or a
  /// new one that only receives. RFC 9429 §5.10 would take only those that wait with a track; here there are no tracks.
  ///
  /// - Parameter codecs: what a new transceiver of a kind can; none of a kind that has none.
  mutating func associate(
    _ sections: [MediaDescription], newCodecs codecs: [MediaKind: [SDPCodec]], random: inout RandomSource
  ) {
    beginOffer()
    numbers.learn(from: sections)
    for section in sections where !section.isRejected && withMid(section.mid) == nil {
      let kind = MediaKind(section.kind)
      if let index = all.firstIndex(where: { $0.mid == nil && $0.kind == kind && !$0.isStopping }) {
        all[index].mid = section.mid
      } else if let codecs = codecs[kind],
        let id = add(kind, .receiveOnly, codecs, isFromPeer: true, random: &random)
      {
        change(id) { $0.mid = section.mid }
      }
    }
  }

  /// What our answer tells: of each section that a transceiver has.
  mutating func answered(to sections: [MediaDescription], streamID: String, cname: String) -> [LocalMedia] {
    sections.compactMap { section in
      guard !section.isRejected, let transceiver = withMid(section.mid) else { return nil }
      var media = transceiver.localMedia(
        codecs: SDPCodec.matching(offered: section.codecs, ours: numbers.number(transceiver.preferences)),
        extensions: Self.common(section.extensions, numbers.extensions(for: transceiver.kind)), streamID: streamID,
        cname: cname)
      // Nothing in common is a section that cannot be.
      media.isStopped = media.isStopped || !media.codecs.contains { !$0.isRetransmission }
      return media
    }
  }

  /// Both descriptions are there: what they agree on holds.
  ///
  /// - Returns: the SSRCs of transceivers that have stopped; nothing is sent with them any more.
  mutating func settle(ours: [LocalMedia], theirs: [MediaDescription]) -> [UInt32] {
    agreedMids = nil
    numbers.learn(from: theirs)
    for index in all.indices {
      guard let mid = all[index].mid else { continue }
      guard let local = ours.first(where: { $0.mid == mid }), !local.isStopped,
        let remote = theirs.first(where: { $0.mid == mid }), !remote.isRejected
      else {
        all[index].isStopping = true
        all[index].mid = nil
        continue
      }
      all[index].currentDirection = local.direction.intersection(remote.direction.reversed)
      all[index].agreedDirection = local.direction
      all[index].codecs = SDPCodec.matching(offered: remote.codecs, ours: local.codecs)
      all[index].extensions = Self.common(remote.extensions, local.extensions)
      all[index].remote = remote
    }
    let stopped = all.filter { $0.isStopping && $0.mid == nil }
    all.removeAll { $0.isStopping && $0.mid == nil }
    return stopped.flatMap { [$0.ssrc, $0.rtxSSRC] }
  }

  /// An offer comes into force, or another in its place: what the last one has changed is undone (RFC 9429 §4.1.8.2).
  private mutating func beginOffer() {
    guard let agreedMids else {
      agreedMids = Dictionary(uniqueKeysWithValues: all.compactMap { one in one.mid.map { (one.id, $0) } })
      return
    }
    all.removeAll { $0.isFromPeer && agreedMids[$0.id] == nil }
    for index in all.indices { all[index].mid = agreedMids[all[index].id] }
  }

  // MARK: Parts

  private mutating func change(_ id: Int, _ body: (inout Transceiver) -> Void) {
    guard let index = all.firstIndex(where: { $0.id == id }) else { return }
    body(&all[index])
  }

  /// The extensions that both know, with the peer's numbers.
  private static func common(_ theirs: [SDPExtension], _ ours: [SDPExtension]) -> [SDPExtension] {
    theirs.filter { known in ours.contains { $0.uri == known.uri } }
  }

  private func freshSSRC(_ random: inout RandomSource) -> UInt32 {
    while true {
      let ssrc = UInt32(truncatingIfNeeded: random.next())
      if ssrc != 0, !all.contains(where: { $0.ssrc == ssrc || $0.rtxSSRC == ssrc }) { return ssrc }
    }
  }

  /// A name that says nothing (RFC 7022 §4.2 has 96 bits for a CNAME).
  static func name(_ random: inout RandomSource) -> String {
    random.bytes(12).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}
