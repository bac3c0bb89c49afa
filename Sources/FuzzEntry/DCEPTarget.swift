// DCEPTarget.swift — a DCEP message by itself, and as what a table of channels is sent.

internal import DataChannel
internal import SCTP
internal import Wire

/// The input is a DCEP message; then, cut into messages, what a peer sends on the streams of a live table.
public func fuzzDCEP(_ input: RawSpan) {
  do throws(Malformed) {
    if case .open(let parameters) = try ControlMessage(parsing: input) {
      let again = try ControlMessage(parsing: parameters.openMessage().rawSpan)
      precondition(again == .open(parameters), "an OPEN reads as it was written")
    }
  } catch {
    // Refused.
  }
  converse(input)
}

/// Each message is a byte that says which stream it is for, one for its payload protocol, one for its length, and bytes.
private func converse(_ input: RawSpan) {
  var table = ChannelTable(limits: ChannelLimits(maximumRemoteChannels: 8, maximumOpensPerBatch: 4))
  do throws(ChannelError) {
    _ = try table.open(ChannelParameters(label: "ours"))
    _ = try table.open(ChannelParameters(label: "agreed", negotiatedStream: 4))
  } catch {
    preconditionFailure("a new table takes two channels: \(error)")
  }
  table.connected(as: .even, maximumStreams: 16)
  drain(&table)
  table.handle(wholeInput: input)
  drain(&table)
  var reader = ByteReader(input)
  do throws(Malformed) {
    while !reader.isAtEnd {
      let (choice, kind, length) = (try reader.readUInt8(), try reader.readUInt8(), try reader.readUInt8())
      let stream = UInt16(choice & 0xf)
      switch choice >> 4 {
      case 0: table.incomingStreamsReset([stream])
      case 1: table.outgoingStreamsReset([stream])
      case 2: table.outgoingResetFailed([stream])
      default:
        let payload = try reader.readBytes(min(Int(length), reader.remaining)).copyBytes()
        let identifier = PayloadProtocol(rawValue: 50 + UInt32(kind & 0xf))
        _ = table.handle(IncomingMessage(stream: stream, payloadProtocol: identifier, payload: payload))
      }
      if kind & 0x10 == 0 { drain(&table) }
    }
  } catch {
    // The input is used up.
  }
  table.associationClosed()
  drain(&table)
}

extension ChannelTable {
  fileprivate mutating func handle(wholeInput input: RawSpan) {
    _ = handle(IncomingMessage(stream: 1, payloadProtocol: .control, payload: input.copyBytes()))
  }
}

private func drain(_ table: inout ChannelTable) {
  var budget = 10_000
  while table.pollSend() != nil || table.pollReset() != nil || table.pollEvent() != nil {
    budget -= 1
    precondition(budget > 0, "what a table has to say is bounded")
  }
}
