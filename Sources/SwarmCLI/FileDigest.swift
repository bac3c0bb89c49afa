// FileDigest.swift — the SHA-256 of a file, read piece by piece.

import Digest
import Foundation
import Wire

enum FileDigest {
  /// - Returns: the size in bytes, and the hash in hexadecimal.
  static func sha256(ofFileAt path: String) throws -> (size: Int, sha256: String) {
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    var hash = SHA256()
    var size = 0
    while let piece = try file.read(upToCount: pieceBytes), !piece.isEmpty {
      hash.update([UInt8](piece).rawSpan)
      size += piece.count
    }
    try file.close()
    return (size, hash.finalize().hexText)
  }

  private static let pieceBytes = 1 << 20
}

extension [UInt8] {
  /// Two lower-case digits a byte.
  var hexText: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
