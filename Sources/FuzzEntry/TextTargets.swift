// TextTargets.swift — what arrives as text over the signalling channel: descriptions, candidate lines, JSON.
//
// Beside not trapping, each must be stable: what was read and written again reads as the same.

internal import ICE
internal import SDP
internal import Signaling
internal import Wire

/// Reads a session description, as offer and as answer, and answers it.
public func fuzzSDP(_ input: RawSpan) {
  let text = String(decoding: input.copyBytes(), as: UTF8.self)
  do throws(SDPError) {
    let document = try SDPDocument(parsing: text)
    try checkRoundTrip(document)
    answer(document)
  } catch {
    return  // what a refusal is
  }
}

/// Whether what was parsed can be written and read back. What cannot be written is refused with a reason.
private func checkRoundTrip(_ document: SDPDocument) throws(SDPError) {
  let written = try document.text()
  do throws(SDPError) {
    let again = try SDPDocument(parsing: written)
    precondition(again == document, "a description reads as it was written")
  } catch {
    preconditionFailure("a description that was written is refused: \(error)")
  }
}

private func answer(_ document: SDPDocument) {
  do throws(SDPError) {
    var local = LocalDescription(
      sessionID: 1, credentials: try SDPCredentials(usernameFragment: "abcd", password: "abcdefghijklmnopqrstuv"),
      fingerprints: [try SDPFingerprint(algorithm: "sha-256", bytes: [UInt8](repeating: 1, count: 32))])
    readAsAnswer(document, to: local)
    let remote = try Negotiation.read(offer: document)
    for candidate in remote.transport.candidates { readCandidate(candidate) }
    // Once without media, as who has only data channels answers; then with all of it, in our codecs and in the offer's own.
    try answer(document, local)
    local.media = remote.media.map { ourMedia($0.kind, mid: $0.mid, codecs: codecs) }
    try answer(document, local)
    local.media = remote.media.map { ourMedia($0.kind, mid: $0.mid, codecs: $0.codecs) }
    try answer(document, local)
  } catch {
    return
  }
}

private func answer(_ offer: SDPDocument, _ local: LocalDescription) throws(SDPError) {
  let remote = try Negotiation.read(offer: offer, accepting: local.accepts)
  let answer: SDPDocument
  do throws(SDPError) { answer = try Negotiation.answer(to: offer, local) } catch { return }
  try checkRoundTrip(answer)
  let read: RemoteDescription
  do throws(SDPError) { read = try Negotiation.read(answer: answer, to: offer) } catch {
    preconditionFailure("our answer is refused: \(error)")
  }
  let (theirs, ours) = (
    try Negotiation.agreed(local: offer, remote: read), try Negotiation.agreed(local: answer, remote: remote)
  )
  precondition(theirs.map(\.sectionIndex) == ours.map(\.sectionIndex), "both sides agree on the sections")
  precondition(
    zip(theirs, ours).allSatisfy { $0.direction == $1.direction.reversed }, "both sides agree on the directions")
  // Offers follow: with a section more, and with all but one gone.
  var next = local
  for change in [{ $0.append(ourMedia(.video, mid: nil, codecs: codecs)) }, { $0 = Array($0.prefix(1)) }]
    as [(inout [LocalMedia]) -> Void]
  {
    change(&next.media)
    let document: SDPDocument
    do throws(SDPError) { document = try Negotiation.offer(next, following: answer) } catch { continue }
    try checkRoundTrip(document)
    do throws(SDPError) { _ = try Negotiation.read(offer: document) } catch {
      preconditionFailure("our offer is refused: \(error)")
    }
  }
}

/// The document as what came back to an offer of ours, and to one like itself.
private func readAsAnswer(_ document: SDPDocument, to local: LocalDescription) {
  do throws(SDPError) {
    var local = local
    local.media = [ourMedia(.audio, mid: nil, codecs: codecs), ourMedia(.video, mid: nil, codecs: codecs)]
    let offer = try Negotiation.offer(local)
    let remote = try Negotiation.read(answer: document, to: offer)
    _ = try Negotiation.agreed(local: offer, remote: remote)
  } catch {
    // Refused.
  }
  do throws(SDPError) {
    _ = try Negotiation.agreed(local: document, remote: try Negotiation.read(answer: document, to: document))
  } catch {
    return
  }
}

private func ourMedia(_ kind: SDPMediaKind, mid: String?, codecs: [SDPCodec]) -> LocalMedia {
  LocalMedia(
    mid: mid, kind: kind, codecs: codecs,
    extensions: [SDPExtension(id: 1, uri: "urn:ietf:params:rtp-hdrext:sdes:mid")], streamID: "s", trackID: "t",
    cname: "c", ssrc: 1, rtxSSRC: 2)
}

private let codecs = [
  SDPCodec(payloadType: 111, name: "opus", clockRate: 48_000, channels: 2, feedback: ["transport-cc"]),
  SDPCodec(payloadType: 96, name: "VP8", clockRate: 90_000, feedback: ["nack", "nack pli"]),
  SDPCodec(
    payloadType: 102, name: "H264", clockRate: 90_000,
    parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
  SDPCodec(payloadType: 97, name: "rtx", clockRate: 90_000, parameters: "apt=96"),
  SDPCodec(payloadType: 63, name: "red", clockRate: 48_000, channels: 2, parameters: "111/111"),
]

/// Reads a candidate line.
public func fuzzCandidate(_ input: RawSpan) { readCandidate(String(decoding: input.copyBytes(), as: UTF8.self)) }

private func readCandidate(_ text: String) {
  do throws(ICECandidateError) {
    let candidate = try ICECandidate(parsing: text)
    let written = candidate.sdpText
    do throws(ICECandidateError) {
      let again = try ICECandidate(parsing: written)
      precondition(again == candidate, "a candidate reads as it was written: \(written)")
    } catch {
      preconditionFailure("a candidate that was written is refused: \(written)")
    }
  } catch {
    return
  }
}

/// Reads a signalling message, and hands it to a room server from a stranger and from a member.
public func fuzzSignaling(_ input: RawSpan) {
  let bytes = input.copyBytes()
  do throws(JSONError) {
    let json = try JSONValue(utf8: bytes)
    let again = try JSONValue(utf8: json.utf8Bytes)
    precondition(again == json, "JSON reads as it was written")
  } catch {
    // Refused at once, or too large once its escapes are written out.
  }
  do throws(SignalingDecodingError) {
    let message = try SignalingMessage(decoding: bytes)
    do throws(SignalingDecodingError) {
      let again = try SignalingMessage(decoding: message.encoded(), limits: JSONLimits(byteCount: .max))
      precondition(again == message, "a message reads as it was written")
    } catch {
      preconditionFailure("a message that was written is refused: \(error)")
    }
  } catch {
    // Refused.
  }
  serve(bytes)
}

private func serve(_ bytes: [UInt8]) {
  var server = RoomServer()
  var now = Instant(nanoseconds: 0)
  let (stranger, member, other) = (
    RoomServer.ConnectionID(rawValue: 1), RoomServer.ConnectionID(rawValue: 2), RoomServer.ConnectionID(rawValue: 3)
  )
  for id in [stranger, member, other] { server.connectionOpened(id, now: now) }
  server.handleText(Array(#"{"type":"join","peerId":"alice","roomId":"room"}"#.utf8), from: member, now: now)
  server.handleText(Array(#"{"type":"join","peerId":"bob","roomId":"room"}"#.utf8), from: other, now: now)
  for id in [stranger, member, member] { server.handleText(bytes, from: id, now: now) }
  drain(&server)
  for _ in 0..<4 {
    guard let deadline = server.deadline else { break }
    now = max(now, deadline)
    server.handleTimeout(now: now)
    drain(&server)
  }
}

private func drain(_ server: inout RoomServer) {
  var budget = 10_000
  while server.pollOutput() != nil {
    budget -= 1
    precondition(budget > 0, "three messages make a bounded number of outputs")
  }
}
