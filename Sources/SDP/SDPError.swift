// SDPError.swift — what can be wrong with a description, the peer's or our own.

package enum SDPError: Error, Hashable, Sendable {
  // Before parsing: `SDPLimits`.
  case tooLong, tooManyLines, lineTooLong(line: Int), tooManySections, tooManyCandidates
  // Within a media section: `SDPLimits`.
  case tooManyCodecs, tooManyExtensions, tooManySSRCs, tooManyRids

  // Syntax. Lines are counted from 1.
  case controlCharacter(line: Int)
  /// Not a letter, an equals sign and a value.
  case malformedLine(line: Int)
  /// The first line is not `v=0`.
  case unknownVersion
  case missingOrigin
  case malformedOrigin(line: Int)
  case malformedMediaLine(line: Int)
  /// An attribute whose value is not what its specification asks for.
  case malformedAttribute(name: String)

  /// A format on a media line that is no payload type.
  case malformedFormat(String)

  // Meaning.
  /// An attribute that may occur once occurs twice and says different things.
  case conflictingAttribute(name: String)
  case duplicateMid(String)
  /// Neither data channels nor media that could be used.
  case noDataSection
  /// The other side answered port 0.
  case dataSectionRejected
  /// The other side answered port 0 to all there was, and there was no data section.
  case allSectionsRejected
  /// An answer that wants another transport, or another port for RTCP, than our one (RFC 9143, RFC 5761).
  case notBundled(section: Int)
  case noRTCPMux(section: Int)
  /// An answer to a media section without any of the codecs that were offered.
  case noCommonCodec(section: Int)
  case missingCredentials, missingFingerprint, missingSetup
  /// `a=setup` asks for a role that is not to be had: `holdconn`, an answer that says `actpass`, or the role we have.
  case setupConflict
  /// The answer's sections are not those of the offer.
  case answerMismatch

  // Writing.
  /// A field of our own would break out of its line or word.
  case unwritableField(String)
  /// More codecs, or header extensions, than there are numbers for in one bundle (RFC 9143 §9.1.1, §12).
  case noFreeNumber
}
