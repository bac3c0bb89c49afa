// BindingResponder.swift — answers Binding requests, and nothing else, without remembering anybody (RFC 8489 §6.3.1).
//
// Made so that it is of little use to an attacker who forges source addresses: an answer has at most
// `maximumAmplification` times the bytes of its request, one source gets few of them, all sources together a bounded
// number, and what is no Binding request gets none. Its memory is one table whose size never changes.

package import Wire

package struct BindingResponder: ~Copyable {
  package struct Limits: Hashable, Sendable {
    /// Answers a second to one IPv4 address or one IPv6 /64.
    package var perSource: Int64 = 20
    /// How many of them at once: a client behind a NAT may be many.
    package var burst: Int64 = 50
    /// Answers a second to all together.
    package var overall: Int64 = 10_000
    package init() {}
  }

  package struct Statistics: Hashable, Sendable {
    package var answered = 0
    package var limited = 0
    /// No request, or none that we answer.
    package var ignored = 0
  }

  /// An answer to IPv6 has 44 bytes, the shortest request 20.
  package static let maximumAmplification = 3
  /// What the longest answer takes: a header, an address, or an error with its unknown attributes, and a fingerprint.
  package static let maximumMessageSize =
    STUNHeader.byteCount + 8 + 4 + 2 * STUNMessage.maximumUnknownTypes + 8 + 8
  /// Sources share a bucket when their addresses meet in the table: 4,096 keep that rare, and take 64 KiB.
  private static let bucketCount = 4096

  package private(set) var statistics = Statistics()
  private let limits: Limits
  private var buckets: [TokenBucket]
  private var overall: TokenBucket
  private let seeds: (UInt64, UInt64)

  package init(limits: Limits = .init(), random: RandomSource) {
    var random = random
    self.limits = limits
    buckets = [TokenBucket](repeating: TokenBucket(), count: Self.bucketCount)
    overall = TokenBucket()
    seeds = (random.next(), random.next())
  }

  /// Answers a datagram from `source`; `out` must have room for `maximumMessageSize` bytes.
  ///
  /// - Returns: whether an answer was written.
  @_lifetime(out: copy out)
  package mutating func answer(
    _ datagram: RawSpan, from source: SocketAddress, into out: inout OutputRawSpan, now: Instant
  ) -> Bool {
    precondition(out.freeCapacity >= Self.maximumMessageSize, "the caller makes room")
    // The header tells nearly all that deserves no answer; to look further costs time that a flood would have us spend.
    guard let header = Self.requestHeader(datagram), Self.isAnswerable(source) else {
      statistics.ignored += 1
      return false
    }
    guard isWithinLimits(source, now: now) else {
      statistics.limited += 1
      return false
    }
    do throws(Malformed) {
      let message = try STUNMessage(datagram)
      let unknown = message.unknownRequiredTypes
      let before = out.byteCount
      do throws(STUNEncodingError) {
        try Self.write(
          header.id, source: source, unknown: unknown, hasFingerprint: message.hasFingerprint, into: &out)
      } catch {
        preconditionFailure("answers fit maximumMessageSize: \(error)")
      }
      assert(out.byteCount - before <= datagram.byteCount * Self.maximumAmplification, "answers are bounded")
      statistics.answered += 1
      return true
    } catch {
      statistics.ignored += 1
      return false
    }
  }

  @_lifetime(out: copy out)
  private static func write(
    _ id: TransactionID, source: SocketAddress, unknown: [STUNAttributeType], hasFingerprint: Bool,
    into out: inout OutputRawSpan
  ) throws(STUNEncodingError) {
    // Neither SOFTWARE nor a reason: they would help nobody but who counts the bytes.
    if unknown.isEmpty {
      let writer = try STUNWriter(STUNHeader(.successResponse, id: id), into: &out)
      try writer.xorMappedAddress(source, into: &out)
      if hasFingerprint { try writer.fingerprint(into: &out) }
    } else {
      let writer = try STUNWriter(STUNHeader(.errorResponse, id: id), into: &out)
      try writer.errorCode(420, into: &out)
      try writer.unknownAttributes(unknown, into: &out)
      if hasFingerprint { try writer.fingerprint(into: &out) }
    }
  }

  private static func requestHeader(_ datagram: RawSpan) -> STUNHeader? {
    do throws(Malformed) {
      let (header, bodyLength) = try STUNHeader.read(from: datagram)
      guard header.messageClass == .request, header.method == .binding,
        datagram.byteCount == STUNHeader.byteCount + bodyLength
      else { return nil }
      return header
    } catch {
      return nil
    }
  }

  /// No client sends from such an address; whoever forges one wants our answer to reach many, or ourselves.
  private static func isAnswerable(_ source: SocketAddress) -> Bool {
    source.port != 0 && !source.ip.isMulticast && !source.ip.isUnspecified && source.ip != .v4(.max)
  }

  // MARK: Limits

  private mutating func isWithinLimits(_ source: SocketAddress, now: Instant) -> Bool {
    let index = bucketIndex(source.ip)
    guard buckets[index].take(rate: limits.perSource, burst: limits.burst, now: now) else { return false }
    return overall.take(rate: limits.overall, burst: limits.overall, now: now)
  }

  /// Keyed, so that who wants to exhaust another's bucket cannot compute an address that shares it.
  private func bucketIndex(_ ip: IPAddress) -> Int {
    let prefix: UInt64 =
      switch ip {
      case .v4(let bits): UInt64(bits)
      case .v6(let high, _, _): high
      }
    var mixed = prefix ^ seeds.0
    for _ in 0..<3 {
      mixed ^= mixed >> 31
      mixed = mixed &* 0x9E37_79B9_7F4A_7C15 &+ seeds.1
    }
    return Int(truncatingIfNeeded: (mixed ^ mixed >> 29) % UInt64(Self.bucketCount))
  }
}

/// Holds up to `burst` tokens and gains `rate` a second. Kept as one moment: the tokens there are, are those gained since.
private struct TokenBucket {
  private var emptyAt: Instant?

  mutating func take(rate: Int64, burst: Int64, now: Instant) -> Bool {
    let token = Interval.seconds(1) / max(rate, 1)
    let full = Instant(nanoseconds: now.nanoseconds &- (token * max(burst, 1)).nanoseconds)
    let spent = max(emptyAt ?? full, full) + token
    guard spent <= now else { return false }
    emptyAt = spent
    return true
  }
}
