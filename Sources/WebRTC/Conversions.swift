// Conversions.swift — between the public values and those of the layers below.

import DataChannel
import Peer
import SCTP

extension DescriptionKind {
  init(_ kind: SessionDescription.Kind) {
    switch kind {
    case .offer: self = .offer
    case .answer: self = .answer
    }
  }
}

extension SessionDescription.Kind {
  init(_ kind: DescriptionKind) {
    switch kind {
    case .offer: self = .offer
    case .answer: self = .answer
    }
  }
}

extension PeerConnection.State {
  init(_ state: Connection.State) {
    switch state {
    case .new: self = .new
    case .connecting: self = .connecting
    case .connected: self = .connected
    case .disconnected: self = .disconnected
    case .failed: self = .failed
    case .closed: self = .closed
    }
  }
}

extension PeerConnectionError {
  init(_ error: NegotiationError) {
    switch error {
    case .closed: self = .closed
    case .invalidState(let why): self = .invalidState(why)
    case .invalidDescription(let error): self = .invalidDescription("\(error)")
    case .invalidCandidate(let why): self = .invalidDescription(why)
    case .unsupported(let why): self = .invalidDescription("unsupported: \(why)")
    case .dtls(let error): self = .system("\(error)")
    }
  }

  init(_ error: ChannelError) {
    switch error {
    case .connectionClosed: self = .closed
    case .labelTooLong: self = .invalidParameter("the label is longer than 65,535 bytes")
    case .protocolTooLong: self = .invalidParameter("the subprotocol is longer than 65,535 bytes")
    case .invalidStream: self = .invalidParameter("the negotiated id is not one of this connection's streams")
    case .streamInUse: self = .invalidParameter("another channel has the negotiated id")
    case .noStreamLeft, .tooManyChannels: self = .invalidParameter("no stream is left for another channel")
    case .notOpen: self = .invalidState("the channel is not open")
    }
  }
}

extension PeerConnectionConfiguration.CongestionControl {
  var inSCTP: CongestionControl {
    switch self {
    case .newReno: .newReno
    case .cubic: .cubic
    case .bbr: .bbr
    }
  }
}

extension ChannelParameters {
  init(label: String, _ configuration: DataChannelConfiguration) throws(PeerConnectionError) {
    let reliability: Reliability
    switch (configuration.maxRetransmits, configuration.maxPacketLifeTime) {
    case (nil, nil): reliability = .reliable
    case (let count?, nil): reliability = .maximumRetransmits(count)
    case (nil, let milliseconds?): reliability = .maximumLifetime(milliseconds: milliseconds)
    case (_?, _?): throw .invalidParameter("maxRetransmits and maxPacketLifeTime exclude each other")
    }
    self.init(
      label: label, subprotocol: configuration.subprotocol, isOrdered: configuration.isOrdered,
      reliability: reliability, priority: configuration.priority, negotiatedStream: configuration.negotiatedID)
  }
}

extension DataChannelConfiguration {
  init(_ parameters: ChannelParameters) {
    self.init(
      isOrdered: parameters.isOrdered, subprotocol: parameters.subprotocol,
      negotiatedID: parameters.negotiatedStream, priority: parameters.priority)
    switch parameters.reliability {
    case .reliable: break
    case .maximumRetransmits(let count): maxRetransmits = count
    case .maximumLifetime(let milliseconds): maxPacketLifeTime = milliseconds
    }
  }
}
