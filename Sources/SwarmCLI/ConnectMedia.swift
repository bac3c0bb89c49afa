// ConnectMedia.swift — audio and video of `swarm connect`: every packet goes back where it came from, or into a file, or
// comes out of one.

import ArgumentParser
import Foundation
import Synchronization
import WebRTC

/// What is done with audio and video.
enum MediaMode: ExpressibleByArgument, Sendable {
  /// Each packet goes back on the section that it came on.
  case echo
  /// Each packet goes into a file in rtpdump's format.
  case record(String)
  /// The packets of such a file go out, in their own time.
  case play(String)

  init?(argument: String) {
    let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
    switch (parts.first, parts.count) {
    case ("echo", 1): self = .echo
    case ("record", 2): self = .record(parts[1])
    case ("play", 2): self = .play(parts[1])
    default: return nil
    }
  }

  var direction: RTPTransceiverDirection {
    switch self {
    case .echo: .sendReceive
    case .record: .receiveOnly
    case .play: .sendOnly
    }
  }
}

/// `audio`, `video` or `audio,video`.
struct MediaKinds: ExpressibleByArgument, Sendable {
  var kinds: [MediaKind]

  init(_ kinds: [MediaKind]) { self.kinds = kinds }

  init?(argument: String) {
    let names = argument.split(separator: ",", omittingEmptySubsequences: false)
    kinds = names.compactMap { MediaKind(rawValue: String($0)) }
    guard kinds.count == names.count, Set(kinds).count == kinds.count else { return nil }
  }
}

/// A line about media.
struct MediaLine: Encodable {
  var event: String
  var mid: String?
  var kind: MediaKind
  var codec: String?
  var received: Int?
  var lost: Int?
  var sent: Int?
  var retransmitted: Int?
  var nacks: Int?
  var keyframeRequests: Int?
}

struct ConnectMedia: Sendable {
  let connection: PeerConnection
  let mode: MediaMode
  private let recorder: RTPDumpWriter?
  private let recording: [RTPDumpPacket]

  init(connection: PeerConnection, mode: MediaMode) throws {
    self.connection = connection
    self.mode = mode
    switch mode {
    case .echo: (recorder, recording) = (nil, [])
    case .record(let path): (recorder, recording) = (try RTPDumpWriter(path: path), [])
    case .play(let path):
      recorder = nil
      recording = try RTPDump.read(try Data(contentsOf: URL(fileURLWithPath: path)))
    }
  }

  /// Before our offer.
  func addTransceivers(_ kinds: [MediaKind]) async throws {
    for kind in kinds { _ = try await connection.addTransceiver(kind: kind, direction: mode.direction) }
  }

  /// Between the peer's offer and our answer: what it brought about only receives until it is told otherwise.
  func prepareAnswer() async {
    for transceiver in await connection.transceivers where transceiver.currentDirection == nil {
      transceiver.direction = mode.direction
    }
  }

  /// Serves every section that comes, until the connection ends.
  func serve() async {
    await withTaskGroup { group in
      group.addTask {
        for await transceiver in connection.incomingTracks { receive(from: transceiver) }
      }
      if !recording.isEmpty { group.addTask { await play() } }
    }
  }

  private func receive(from transceiver: RTPTransceiver) {
    JSONLines.write(
      MediaLine(
        event: "track", mid: transceiver.mid, kind: transceiver.kind, codec: transceiver.codecs.first?.mimeType))
    switch mode {
    case .echo:
      // The peer is its own source: a keyframe that it misses is one that it has to make.
      transceiver.onKeyframeRequest { [weak transceiver] in transceiver?.requestKeyframe() }
      transceiver.onPacket { [weak transceiver] packet in
        do throws(RTPSendError) { try transceiver?.send(rtp: packet) } catch {
          // The statistics show the difference; a line a packet would drown everything else.
        }
      }
    case .record:
      transceiver.requestKeyframe()
      transceiver.onPacket { packet in recorder?.append(packet) }
    case .play: break
    }
  }

  /// Sends the recording, each packet on the section that has its payload type, as soon as one can.
  private func play() async {
    guard let first = recording.first else { return }
    var start: ContinuousClock.Instant?
    for entry in recording {
      guard let transceiver = await sender(of: entry.packet.payloadType) else { continue }
      let begin = start ?? .now
      start = begin
      do {
        try await Task.sleep(until: begin + .milliseconds(Int(entry.milliseconds) - Int(first.milliseconds)))
        try transceiver.send(rtp: entry.packet)
      } catch is CancellationError {
        return
      } catch {
        JSONLines.write(ConnectLine(event: "error", reason: "\(error)"))
      }
    }
    JSONLines.write(ConnectLine(event: "played"))
  }

  /// Waits until the connection is up; nil when no section has this payload type then.
  private func sender(of payloadType: UInt8) async -> RTPTransceiver? {
    while !Task.isCancelled {
      let transceivers = await connection.transceivers
      if let sender = transceivers.first(where: { each in
        each.isSending && each.codecs.contains { $0.payloadType == payloadType }
      }) {
        return sender
      }
      if transceivers.contains(where: \.isSending) { return nil }
      do { try await Task.sleep(for: .milliseconds(10)) } catch { return nil }
    }
    return nil
  }

  /// One line a section.
  func writeStatistics() async {
    for transceiver in await connection.transceivers {
      guard let statistics = await connection.statistics(of: transceiver) else { continue }
      JSONLines.write(
        MediaLine(
          event: "media", mid: statistics.mid, kind: statistics.kind, received: statistics.packetsReceived,
          lost: statistics.packetsLost, sent: statistics.packetsSent, retransmitted: statistics.packetsRetransmitted,
          nacks: statistics.nacksSent, keyframeRequests: statistics.keyframeRequestsReceived))
    }
  }
}
