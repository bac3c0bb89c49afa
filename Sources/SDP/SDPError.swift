// SDPError.swift — what can be wrong with a description, the peer's or our own.

package enum SDPError: Error, Hashable, Sendable {
  // Before parsing: `SDPLimits`.
  case tooLong, tooManyLines, lineTooLong(line: Int), tooManySections, tooManyCandidates

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

  // Meaning.
  /// An attribute that may occur once occurs twice and says different things.
  case conflictingAttribute(name: String)
  case duplicateMid(String)
  case noDataSection
  /// The other side answered port 0.
  case dataSectionRejected
  case missingCredentials, missingFingerprint, missingSetup
  /// `a=setup` asks for a role that is not to be had: `holdconn`, an answer that says `actpass`, or the role we have.
  case setupConflict
  /// The answer's sections are not those of the offer.
  case answerMismatch

  // Writing.
  /// A field of our own would break out of its line or word.
  case unwritableField(String)
}
