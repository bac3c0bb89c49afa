// SRTPTarget.swift — bytes for both directions of SRTP: hostile packets, and well-formed ones that go through and come back.

internal import SRTP
internal import Wire

/// The first byte chooses the profile; the rest is, whole, a packet for each of the four calls, then a list of commands.
func fuzzSRTP(_ input: RawSpan) {
  guard input.byteCount > 0 else { return }
  let profiles = SRTPProfile.allCases
  var fuzzed = SRTPFuzzSession(profiles[Int(input.byte(at: 0)) % profiles.count])
  let rest = input.extracting(1..<input.byteCount)
  fuzzed.receive(rest)
  fuzzed.send(rest, isControl: false)
  fuzzed.send(rest, isControl: true)
  fuzzed.obey(rest)
}

private struct SRTPFuzzSession: ~Copyable {
  private var session: SRTPSession
  /// The last RTP packet that was protected, before and after.
  private var latest: (packet: [UInt8], protected: [UInt8]) = ([], [])
  private var kept: [(packet: [UInt8], protected: [UInt8], isControl: Bool)] = []

  init(_ profile: SRTPProfile) {
    let key = SRTPMasterKey(
      key: [UInt8](repeating: 0x17, count: profile.keyLength), salt: [UInt8](repeating: 0x2a, count: profile.saltLength)
    )
    var limits = SRTPLimits()
    (limits.incomingSSRCs, limits.outgoingSSRCs, limits.retiredSSRCs) = (3, 4, 5)
    do throws(SRTPError) {
      session = try SRTPSession(profile: profile, outgoing: key, incoming: key, limits: limits)
    } catch {
      preconditionFailure("keys of the right length make a session: \(error)")
    }
  }

  mutating func obey(_ input: RawSpan) {
    var reader = ByteReader(input)
    do throws(Malformed) {
      while !reader.isAtEnd {
        let (command, length) = (try reader.readUInt8(), try reader.readUInt8())
        let bytes = try reader.readBytes(min(Int(length), reader.remaining))
        switch command & 7 {
        case 0: receive(bytes)
        case 1: send(bytes, isControl: false)
        case 2: send(bytes, isControl: true)
        case 3: send(packet(command, bytes).rawSpan, isControl: false)
        case 4: deliver(kept.isEmpty ? 0 : Int(command >> 3) % kept.count, changed: bytes)
        case 5: repeatPacket(kept.isEmpty ? 0 : Int(command >> 3) % kept.count)
        case 6: session.removeIncoming(UInt32(command >> 3) % 8)
        default: session.removeOutgoing(UInt32(command >> 3) % 8)
        }
        precondition(session.incomingSSRCCount <= 3 && session.outgoingSSRCCount <= 4, "SSRCs are bounded")
      }
    } catch {
      // The input is used up.
    }
  }

  /// Bytes from a stranger, who does not have the key.
  mutating func receive(_ bytes: RawSpan) {
    let before = session.incomingSSRCCount
    for isControl in [false, true] {
      guard !kept.contains(where: { $0.isControl == isControl && $0.protected.rawSpan.equals(bytes) }) else { continue }
      precondition(open(bytes, isControl) == nil, "nothing comes in without the key")
    }
    precondition(session.incomingSSRCCount == before, "only who has the key takes a place")
  }

  mutating func send(_ packet: RawSpan, isControl: Bool) {
    guard let protected = seal(packet, isControl) else { return }
    precondition(
      protected.count > packet.byteCount && protected.count <= packet.byteCount + SRTPSession.maximumTrailer,
      "a trailer has its bounds")
    if kept.count == 16 { kept.removeFirst() }
    kept.append((packet.copyBytes(), protected, isControl))
  }

  /// A packet of ours on its way back, perhaps changed.
  private mutating func deliver(_ place: Int, changed bytes: RawSpan) {
    guard place < kept.count else { return }
    var (packet, protected, isControl) = kept[place]
    if bytes.byteCount >= 2, bytes.byte(at: 1) != 0 {
      protected[Int(bytes.byte(at: 0)) % protected.count] ^= bytes.byte(at: 1)
      precondition(open(protected.rawSpan, isControl) == nil, "a changed packet does not come in")
    } else if let opened = open(protected.rawSpan, isControl) {
      precondition(opened == packet, "what comes in is what went out")
      precondition(open(protected.rawSpan, isControl) == nil, "and once")
    }
  }

  private mutating func repeatPacket(_ place: Int) {
    guard place < kept.count, !kept[place].isControl else { return }
    let previous = latest
    let packet = kept[place].packet
    guard let again = seal(packet.rawSpan, false) else { return }
    // After others the same sequence number may stand for a later index.
    precondition(previous.packet != packet || previous.protected == again, "a repeat is the same packet")
  }

  /// A well-formed header over `payload`.
  private func packet(_ command: UInt8, _ payload: RawSpan) -> [UInt8] {
    let number = payload.byteCount >= 2 ? [payload.byte(at: 0), payload.byte(at: 1)] : [0, command]
    return [0x80, 96] + number + [0, 0, 0, 0, 0, 0, 0, command >> 3 & 7] + payload.copyBytes()
  }

  private mutating func seal(_ packet: RawSpan, _ isControl: Bool) -> [UInt8]? {
    do throws(SRTPError) {
      let protected = try collectBytes(
        capacity: packet.byteCount + SRTPSession.maximumTrailer
      ) { (out) throws(SRTPError) in
        if isControl {
          try session.protectRTCP(packet, into: &out)
        } else {
          try session.protectRTP(packet, into: &out)
        }
      }
      if !isControl { latest = (packet.copyBytes(), protected) }
      return protected
    } catch {
      return nil
    }
  }

  private mutating func open(_ packet: RawSpan, _ isControl: Bool) -> [UInt8]? {
    do throws(SRTPError) {
      return try collectBytes(capacity: packet.byteCount) { (out) throws(SRTPError) in
        if isControl {
          try session.unprotectRTCP(packet, into: &out)
        } else {
          try session.unprotectRTP(packet, into: &out)
        }
      }
    } catch {
      return nil
    }
  }
}
