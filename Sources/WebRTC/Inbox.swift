// Inbox.swift — received messages of one channel, waiting for the application.
//
// Its bound is the association's receive window: what waits here keeps the window closed until it is consumed, or until
// nobody is left who could.

import Peer

final class Inbox: Sendable {
  private struct Entry: Sendable {
    var message: Message
    /// What it takes of the window: told by its wire form, because text that had to be repaired is longer.
    var cost: Int
  }

  private let entries = ArrivalQueue<Entry>(limit: .max)
  private let exchange: Exchange

  init(exchange: Exchange) { self.exchange = exchange }

  deinit {
    let unread = entries.removeAll().reduce(0) { $0 + $1.cost }
    if unread > 0 { exchange.release(unread) }
  }

  // MARK: The loop's thread

  /// Hands the message to the handler, or keeps it for `next()`.
  func deliver(isText: Bool, payload: [UInt8]) {
    entries.deliver(
      Entry(
        message: Message(isText: isText, payload: payload),
        cost: Connection.receiveCost(payloadBytes: payload.count)))
  }

  /// Gives what waits to the handler, if there is one, in order.
  func pump() { entries.pump() }

  func finish() { entries.finish() }

  // MARK: Any thread

  func setHandler(_ handler: (@Sendable (Message) -> Void)?) {
    guard let handler else { return entries.setHandler(nil) }
    entries.setHandler { [exchange] entry in
      handler(entry.message)
      exchange.release(entry.cost)
    }
  }

  /// The next message; nil when the channel is closed and all has been read, or the task is cancelled.
  func next() async -> Message? {
    guard let entry = await entries.next() else { return nil }
    exchange.release(entry.cost)
    return entry.message
  }
}
