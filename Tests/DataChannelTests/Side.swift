// Side.swift — one end of a connection in a test: a table, and all that it has put out.

import DataChannel
import SCTP

final class Side {
  private var table: ChannelTable
  private(set) var sent: [OutgoingMessage] = []
  private(set) var resets: [UInt16] = []
  private(set) var events: [ChannelTable.Event] = []

  /// Connected at once when `parity` is given.
  init(_ parity: StreamParity? = nil, streams: Int = 65_535, limits: ChannelLimits = ChannelLimits()) {
    table = ChannelTable(limits: limits)
    if let parity { connect(parity, streams: streams) }
  }

  // MARK: In, each followed by draining everything that came of it

  func connect(_ parity: StreamParity, streams: Int = 65_535) {
    table.connected(as: parity, maximumStreams: streams)
    drain()
  }

  @discardableResult
  func open(_ parameters: ChannelParameters = ChannelParameters()) throws(ChannelError) -> ChannelID {
    defer { drain() }
    return try table.open(parameters)
  }

  /// Opens without draining: the OPEN stays queued.
  func openOnly(_ parameters: ChannelParameters = ChannelParameters()) throws(ChannelError) -> ChannelID {
    try table.open(parameters)
  }

  func error(opening parameters: ChannelParameters) -> ChannelError? {
    do { try open(parameters) } catch { return error }
    return nil
  }

  @discardableResult
  func receive(_ payload: [UInt8], _ payloadProtocol: PayloadProtocol, on stream: UInt16) -> Delivery? {
    defer { drain() }
    return receiveOnly(payload, payloadProtocol, on: stream)
  }

  /// Without draining, as within a batch.
  @discardableResult
  func receiveOnly(_ payload: [UInt8], _ payloadProtocol: PayloadProtocol, on stream: UInt16) -> Delivery? {
    table.handle(IncomingMessage(stream: stream, payloadProtocol: payloadProtocol, payload: payload))
  }

  func receiveOpen(_ parameters: ChannelParameters = ChannelParameters(), on stream: UInt16) {
    receive(parameters.openMessage(), .control, on: stream)
  }

  func receiveAcknowledgement(on stream: UInt16) {
    receive(ControlMessage.acknowledgement, .control, on: stream)
  }

  func close(_ id: ChannelID) {
    table.close(id)
    drain()
  }

  func closeOnly(_ id: ChannelID) { table.close(id) }

  func incomingReset(_ streams: UInt16...) {
    table.incomingStreamsReset(streams)
    drain()
  }

  func outgoingReset(_ streams: UInt16...) {
    table.outgoingStreamsReset(streams)
    drain()
  }

  func outgoingResetFailed(_ streams: UInt16...) {
    table.outgoingResetFailed(streams)
    drain()
  }

  func associationClosed() {
    table.associationClosed()
    drain()
  }

  // MARK: Out

  func drain() {
    while let message = table.pollSend() { sent.append(message) }
    while let streams = table.pollReset() { resets += streams }
    drainEvents()
  }

  func drainEvents() {
    while let event = table.pollEvent() { events.append(event) }
  }

  func pollSend(room: Int) -> OutgoingMessage? { table.pollSend(room: room) }
  func pollReset() -> [UInt16]? { table.pollReset() }

  func takeSent() -> [OutgoingMessage] {
    defer { sent = [] }
    return sent
  }

  func takeResets() -> [UInt16] {
    defer { resets = [] }
    return resets
  }

  func takeEvents() -> [ChannelTable.Event] {
    defer { events = [] }
    return events
  }

  /// Forgets what was put out so far.
  func clear() { (sent, resets, events) = ([], [], []) }

  // MARK: Questions

  func message(on id: ChannelID, text: String) throws(ChannelError) -> OutgoingMessage {
    try table.message(on: id, text: text)
  }
  func message(on id: ChannelID, binary: [UInt8]) throws(ChannelError) -> OutgoingMessage {
    try table.message(on: id, binary: binary)
  }
  func error(sendingOn id: ChannelID) -> ChannelError? {
    do { _ = try table.message(on: id, text: "x") } catch { return error }
    return nil
  }
  func state(_ id: ChannelID) -> ChannelState { table.state(of: id) }
  func stream(_ id: ChannelID) -> UInt16? { table.stream(of: id) }
  func parameters(_ id: ChannelID) -> ChannelParameters? { table.parameters(of: id) }
  func channel(on stream: UInt16) -> ChannelID? { table.channel(on: stream) }
  var statistics: ChannelStatistics { table.statistics }
  var recordCount: Int { table.recordCount }
}
