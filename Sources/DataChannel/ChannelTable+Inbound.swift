// ChannelTable+Inbound.swift — what the peer's messages do (RFC 8831 §6.6, RFC 8832 §6).
//
// Nothing a peer sends traps, allocates beyond `ChannelLimits`, or changes what a live channel is: an OPEN that breaks
// the rules is answered with a reset of our side of its stream, one on a stream in use closes that channel.

package import SCTP
internal import Wire

extension ChannelTable {
  /// A message from the association. Nil when it was not a user's message for an open channel; the owner has then done
  /// with its bytes, and opens the receive window for them itself.
  ///
  /// Drain `pollEvent` before passing the delivery on: the channel may have been announced by the message just before.
  package mutating func handle(_ message: consuming IncomingMessage) -> Delivery? {
    let stream = message.stream
    let payloadProtocol = message.payloadProtocol
    guard payloadProtocol != .control else {
      handleControl(message.payload, on: stream)
      return nil
    }
    // Without a channel this is either late, or ahead of a negotiated channel that our user has not opened yet: both
    // sides agree on those beforehand, so there is nothing to wait for. DCEP cannot be overtaken: everything is sent in
    // order until the ACK (RFC 8832 §6).
    guard let slot = streams[stream], channels[slot].phase == .open else {
      statistics.ignoredMessages += 1
      return nil
    }
    if !channels[slot].isAcknowledged { channels[slot].isAcknowledged = true }  // "or any other message", §6
    switch payloadProtocol {
    case .binary: return Delivery(channel: id(of: slot), isText: false, payload: message.payload)
    case .string: return Delivery(channel: id(of: slot), isText: true, payload: message.payload)
    // The one byte that stands for nothing, and whatever else is there, is not looked at (RFC 8831 §6.6).
    case .emptyBinary: return Delivery(channel: id(of: slot), isText: false, payload: [])
    case .emptyString: return Delivery(channel: id(of: slot), isText: true, payload: [])
    // Also the deprecated partial messages, 52 and 54: to drop a part would silently corrupt a reliable channel.
    default:
      fail(slot, .unknownPayloadProtocol(payloadProtocol))
      return nil
    }
  }

  private mutating func handleControl(_ payload: [UInt8], on stream: UInt16) {
    do throws(Malformed) {
      switch try ControlMessage(parsing: payload.rawSpan) {
      case .open(let parameters):
        handleOpen(parameters, on: stream)
      case .acknowledge:
        if let slot = streams[stream], channels[slot].phase == .open, channels[slot].origin == .local {
          channels[slot].isAcknowledged = true
        } else {
          statistics.ignoredMessages += 1
        }
      case .unknown:
        statistics.ignoredMessages += 1
      }
    } catch {
      if ControlMessage.claimsToOpen(payload) {
        handleOpen(nil, on: stream)
      } else {
        statistics.ignoredMessages += 1
      }
    }
  }

  /// - Parameter parameters: nil when the OPEN was malformed.
  private mutating func handleOpen(_ parameters: ChannelParameters?, on stream: UInt16) {
    guard let parity = association?.parity, Int(stream) < association?.streams ?? 0 else {
      statistics.ignoredMessages += 1
      return
    }
    var followsStaleReset = false
    if let slot = streams[stream] {
      switch channels[slot].phase {
      case .connecting, .open:
        fail(slot, .openedTwice)
        return
      case .closing
      where channels[slot].resets == [.incomingDone, .outgoingSent]
        && !parity.contains(stream):
        // The peer has reset its side and, as it uses the stream again, ours: only its confirmation was lost.
        finish(slot)
        followsStaleReset = true
      case .vacant, .closing, .retired:
        statistics.ignoredMessages += 1
        return
      }
    }
    if let parameters, !parity.contains(stream), hasVacancy,
      remoteChannels < limits.maximumRemoteChannels, opensInBatch < limits.maximumOpensPerBatch
    {
      let id = insert(parameters, origin: .remote, stream: stream)
      accept(id, parameters, followsStaleReset: followsStaleReset)
    } else {
      refuse(stream, followsStaleReset: followsStaleReset)
    }
  }

  private mutating func accept(_ id: ChannelID, _ parameters: ChannelParameters, followsStaleReset: Bool) {
    guard let slot = slot(of: id) else { return }
    channels[slot].phase = .open
    channels[slot].isAcknowledged = true
    channels[slot].awaitsStaleReset = followsStaleReset
    opensInBatch += 1
    statistics.opened += 1
    events.append(.incoming(id, parameters))
    controls.append(.acknowledge(id))
  }

  /// Answers an OPEN with a reset (RFC 8832 §6). Until the peer has reset its side as well, the stream stays taken, so
  /// that repeating the OPEN costs us nothing more.
  private mutating func refuse(_ stream: UInt16, followsStaleReset: Bool) {
    statistics.refusedOpens += 1
    guard refusals < Self.maximumRefusals, hasVacancy else { return }
    let id = insert(ChannelParameters(), origin: .refused, stream: stream)
    guard let slot = slot(of: id) else { return }
    channels[slot].awaitsStaleReset = followsStaleReset
    startClosing(slot)
  }
}
