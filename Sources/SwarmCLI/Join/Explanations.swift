// Explanations.swift — the swarm's errors in words.

import Swarm

/// An error in words, whatever it is.
func explanation(of error: any Error) -> String {
  switch error {
  case let error as SwarmError: error.explanation
  case let error as DelegationError: error.explanation
  case let error as ArtifactError: error.explanation
  default: "\(error)"
  }
}

extension SwarmError {
  var explanation: String {
    switch self {
    case .notConnected: "this peer is not in the room"
    case .reservedType(let type): "the swarm itself speaks messages of the type '\(type)'"
    case .payloadTooLarge: "more than \(SwarmLimits.maximumPayloadUnits) characters of JSON"
    case .full(let table): "too many \(table)"
    case .signaling(let reason): reason
    }
  }
}

extension DelegationError {
  var explanation: String {
    switch self {
    case .noCapablePeer: "no connected peer has every required capability"
    case .declined(let reason): "declined: \(reason)"
    case .timedOut: "no result came in time"
    case .peerLeft(let peer): "\(peer) left before its result came"
    case .failed(let reason): "failed: \(reason)"
    case .payloadTooLarge: "more than \(SwarmLimits.maximumPayloadUnits) characters of JSON"
    case .tooManyTasks: "\(SwarmLimits.maximumDelegations) tasks are under way"
    case .disconnected: "this peer has left the room"
    }
  }
}

extension ArtifactError {
  var explanation: String {
    switch self {
    case .unknownArtifact: "no connected peer offers it"
    case .unsafePath: "an id or name that could lead out of the folder"
    case .tooLarge: "too large"
    case .refused(let reason): "refused: \(reason)"
    case .hashMismatch: "what came is not what was announced"
    case .timedOut: "nothing came in time"
    case .peerLeft(let peer): "\(peer) left before all of it had come"
    case .tooMany: "too many files at once"
    case .file(let reason): reason
    case .cancelled: "cancelled"
    case .disconnected: "this peer has left the room"
    }
  }
}
