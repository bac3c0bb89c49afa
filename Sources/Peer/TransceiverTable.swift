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
        trackID: Self.name(&random), isFromPeer: isFromPeer, preferences: SDPCodec.preferences(codecs),
        direction: direction))
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

  /// There is one for which an offer has a section.
  var hasLiving: Bool { all.contains { !$0.isStopping } }

  subscript(id: Int) -> Transceiver? { all.first { $0.id == id } }

  func withMid(_ mid: String?) -> Transceiver? { mid.flatMap { mid in all.first { $0.mid == mid } } }

  // MARK: Offers and answers

  /// What our offer tells, in order; the mids are those that were given already.
  func described(_ names: MediaNames) -> [LocalMedia] { all.map { $0.localMedia(names) } }

  /// Our offer with these sections was set.
  ///
  /// - Parameter media: as `described` gave them, each with its mid by now.
  mutating func setOffer(_ media: [LocalMedia]) {
    beginOffer()
    for described in media {
      guard let index = all.firstIndex(where: { $0.ssrc == described.ssrc }) else { continue }
      all[index].mid = described.mid
    }
  }

  /// Finds a section of a peer's offer the transceiver that has it already, one that waits for a section of its kind, or a
  /// new one that only receives. RFC 9429 §5.10 would take only those that wait with a track; here there are no tracks.
  ///
  /// - Parameter codecs: what a new transceiver of a kind can; none is made of a kind that has none.
  /// - Returns: whether there is one.
  mutating func take(
    _ section: MediaDescription, newCodecs codecs: [MediaKind: [SDPCodec]], random: inout RandomSource
  ) -> Bool {
    // A name is what holds a section and its transceiver together (RFC 9429 §5.2.1).
    guard section.mid != nil else { return false }
    let kind = MediaKind(section.kind)
    if let known = withMid(section.mid) { return known.kind == kind && known.canCarry(section) }
    if let index = all.firstIndex(where: { $0.mid == nil && $0.kind == kind && $0.canCarry(section) }) {
      all[index].mid = section.mid
      return true
    }
    guard let codecs = codecs[kind], !SDPCodec.matching(offered: section.codecs, ours: codecs).isEmpty,
      let id = add(kind, .receiveOnly, codecs, isFromPeer: true, random: &random)
    else { return false }
    change(id) { $0.mid = section.mid }
    return true
  }

  /// Both descriptions are there: what they agree on holds.
  ///
  /// - Parameter ours: what our description says, for what was wanted in it.
  /// - Returns: the transceivers that have stopped.
  mutating func settle(_ agreed: [AgreedMedia], ours: [LocalMedia]) -> [Transceiver] {
    agreedMids = nil
    for index in all.indices {
      guard let mid = all[index].mid else { continue }
      guard let media = agreed.first(where: { $0.mid == mid }) else {
        all[index].isStopping = true
        all[index].mid = nil
        continue
      }
      all[index].agreed = media
      all[index].agreedDirection = ours.first { $0.ssrc == all[index].ssrc }?.direction
    }
    let stopped = all.filter { $0.isStopping && $0.mid == nil }
    all.removeAll { $0.isStopping && $0.mid == nil }
    return stopped
  }

  /// An offer comes into force, or another in its place: what the last one has changed is undone (RFC 9429 §4.1.8.2).
  mutating func beginOffer() {
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

  private func freshSSRC(_ random: inout RandomSource) -> UInt32 {
    while true {
      let ssrc = UInt32(truncatingIfNeeded: random.next())
      if ssrc != 0, !all.contains(where: { $0.ssrc == ssrc || $0.rtxSSRC == ssrc }) { return ssrc }
    }
  }

  /// A name that says nothing, of 128 bits: a CNAME should have 96 (RFC 7022 §4.2), `a=tls-id` 120 (RFC 8842 §4).
  static func name(_ random: inout RandomSource) -> String {
    random.bytes(16).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}
