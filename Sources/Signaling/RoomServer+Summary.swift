// RoomServer+Summary.swift — what a server tells its operator.

extension RoomServer {
  package struct Summary: Hashable, Sendable {
    package struct RoomSummary: Hashable, Sendable {
      package var roomID: String
      /// In the order of joining.
      package var peers: [String]

      package init(roomID: String, peers: [String]) {
        self.roomID = roomID
        self.peers = peers
      }
    }

    /// Sorted by name; rooms that are only remembered are not in it.
    package var rooms: [RoomSummary]
    package var peerCount: Int
    package var connectionCount: Int
    package var statistics: Statistics

    /// The object that `GET /api/signaling/stats` answers with.
    package var json: JSONValue {
      [
        "totalRooms": .integer(rooms.count),
        "totalPeers": .integer(peerCount),
        "connections": .integer(connectionCount),
        "messagesReceived": .integer(statistics.messagesReceived),
        "messagesSent": .integer(statistics.messagesSent),
        "messagesForwarded": .integer(statistics.messagesForwarded),
        "rejectedMessages": .integer(statistics.messagesRefused),
        "rooms": .array(
          rooms.map {
            ["roomId": .string($0.roomID), "peerCount": .integer($0.peers.count), "peers": .strings($0.peers)]
          }),
      ]
    }
  }

  package func summary() -> Summary {
    let occupied = rooms.filter { !$0.value.members.isEmpty }.sorted { $0.key < $1.key }
    return Summary(
      rooms: occupied.map { roomID, room in
        Summary.RoomSummary(roomID: roomID, peers: room.members.compactMap { connections[$0]?.membership?.peerID })
      },
      peerCount: peers.count, connectionCount: connections.count, statistics: statistics)
  }
}
