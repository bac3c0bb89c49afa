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

private func answer(_ offer: SDPDocument) {
  do throws(SDPError) {
    let remote = try Negotiation.read(offer: offer)
    for candidate in remote.transport.candidates { readCandidate(candidate) }
    let local = LocalDescription(
      sessionID: 1, credentials: try SDPCredentials(usernameFragment: "abcd", password: "abcdefghijklmnopqrstuv"),
      fingerprints: [try SDPFingerprint(algorithm: "sha-256", bytes: [UInt8](repeating: 1, count: 32))])
    let answer = try Negotiation.answer(to: offer, local)
    try checkRoundTrip(answer)
    _ = try Negotiation.read(answer: answer, to: offer)
  } catch {
    return
  }
}

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
