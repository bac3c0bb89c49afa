// ConnectTransfer.swift — many bytes through the channel of `swarm connect` without a line for each message: made up by
// the sender, only counted and hashed by the receiver. Both say how far they are, so that a script sees a pause.

import Digest
import WebRTC
import Wire

/// A line about a transfer: what has been sent or received so far, or in the end.
struct TransferLine: Encodable {
  var event: String
  var bytes: Int
  var sha256: String?
}

enum ConnectTransfer {
  /// Sends `total` bytes in messages of which no two are the same, and then says what their hash is.
  static func send(_ total: Int, on channel: DataChannel) async throws {
    let piece = (0..<pieceBytes).map { _ in UInt8.random(in: 0...255) }
    var hash = SHA256()
    var sent = 0
    while sent < total {
      var message = Array(piece[..<min(pieceBytes, total - sent)])
      // Every message is another, so that one that is lost, repeated or in the wrong place shows.
      for (index, byte) in String(sent).utf8.enumerated() where index < message.count { message[index] = byte }
      hash.update(message.rawSpan)
      try await channel.send(message)
      sent += message.count
    }
    JSONLines.write(TransferLine(event: "sent", bytes: sent, sha256: hash.finalize().hexText))
  }

  private static let pieceBytes = 1 << 16
}

/// Counts and hashes what arrives instead of printing it.
struct TransferDigest: ~Copyable {
  private var hash = SHA256()
  private var bytes = 0
  private var lastReport = ContinuousClock.now

  mutating func add(_ message: Message) {
    switch message {
    case .binary(let content):
      hash.update(content.rawSpan)
      bytes += content.count
      guard ContinuousClock.now - lastReport >= Self.interval else { return }
      lastReport = .now
      JSONLines.write(TransferLine(event: "progress", bytes: bytes))
    case .text:
      // Text ends a transfer: the channel is in order, so that all of it is here.
      var finished = SHA256()
      swap(&finished, &hash)
      JSONLines.write(TransferLine(event: "digest", bytes: bytes, sha256: finished.finalize().hexText))
      bytes = 0
    }
  }

  private static let interval = Duration.milliseconds(50)  // a pause of a second shows well
}
