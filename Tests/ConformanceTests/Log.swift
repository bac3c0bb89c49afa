// Log.swift — what the two sides of a world have sent, chunk by chunk.

import SCTP
import SCTPTestSupport
import Testing
import Wire

/// The types of a packet's chunks.
func types(of packet: [UInt8]) -> [UInt8] {
  do {
    return try chunks(of: packet).map(\.type)
  } catch {
    Issue.record("an unreadable packet was sent")
    return []
  }
}

/// Whether a packet carries user data, whichever chunk it is in.
func carriesData(_ packet: [UInt8]) -> Bool {
  let types = types(of: packet)
  return types.contains(ChunkType.data) || types.contains(ChunkType.interleavedData)
}

extension World {
  /// Every chunk of a type that a side has sent.
  func chunks(_ type: UInt8, from side: Side) throws -> [SeenChunk] {
    try log.filter { $0.from == side }.flatMap { try SCTPTestSupport.chunks(of: $0.packet) }.filter { $0.type == type }
  }

  var states: [SCTPAssociation.State] { [a.association.state, b.association.state] }

  /// Drops the first `count` packets from `side` that hold a chunk of this type.
  mutating func dropFirst(_ count: Int, _ type: UInt8, from side: Side) {
    var left = count
    filter = { from, packet in
      guard from == side, left > 0, types(of: packet).contains(type) else { return true }
      left -= 1
      return false
    }
  }
}
