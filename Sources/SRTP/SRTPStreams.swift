// SRTPStreams.swift — which SSRCs a direction has, within bounds: libsrtp would keep one stream for each without end.
//
// What was removed stays on a list. Under the same key an SSRC that came back would start again at index 0: outgoing, it
// would repeat a keystream (RFC 3711 §9.1); incoming, whoever recorded its packets could send them once more.

/// How many SSRCs a session keeps.
package struct SRTPLimits: Hashable, Sendable {
  /// SSRCs in use at once. libsrtp keeps about 1 KB for each, an outgoing one takes 8 KB more, and walks the list of them for every packet.
  package var incomingSSRCs = 128
  package var outgoingSSRCs = 128
  /// Removed SSRCs that are remembered, a direction; when they are as many, no new SSRC is taken.
  package var retiredSSRCs = 4_096

  package init() {}
}

/// The SSRCs of one direction, and whatever else is kept for each.
struct SRTPStreams<Stream> {
  private let maximumCount: Int
  private let maximumRetired: Int
  private var ssrcs: [UInt32] = []
  private var streams: [Stream] = []
  private var retired: Set<UInt32> = []
  /// Where the last packet's SSRC is: most packets follow one of the same.
  private var latest = 0

  init(maximumCount: Int, maximumRetired: Int) {
    self.maximumCount = maximumCount
    self.maximumRetired = maximumRetired
  }

  var count: Int { ssrcs.count }

  mutating func place(of ssrc: UInt32) -> Int? {
    if latest < ssrcs.count, ssrcs[latest] == ssrc { return latest }
    guard let place = ssrcs.firstIndex(of: ssrc) else { return nil }
    latest = place
    return place
  }

  /// Whether there would be a place for an SSRC that has none.
  func checkRoom(for ssrc: UInt32) throws(SRTPError) {
    guard !retired.contains(ssrc) else { throw .retiredSSRC }
    guard ssrcs.count < maximumCount, retired.count < maximumRetired else { throw .tooManySSRCs }
  }

  /// Takes a place that `checkRoom` has promised.
  mutating func add(_ ssrc: UInt32, _ stream: Stream) -> Int {
    ssrcs.append(ssrc)
    streams.append(stream)
    latest = ssrcs.count - 1
    return latest
  }

  /// False when the SSRC has no place.
  mutating func retire(_ ssrc: UInt32) -> Bool {
    guard let place = ssrcs.firstIndex(of: ssrc) else { return false }
    ssrcs.swapAt(place, ssrcs.count - 1)
    streams.swapAt(place, streams.count - 1)
    ssrcs.removeLast()
    streams.removeLast()
    retired.insert(ssrc)
    return true
  }

  subscript(place: Int) -> Stream { streams[place] }

  mutating func update(_ place: Int, _ body: (inout Stream) -> Void) { body(&streams[place]) }
}
