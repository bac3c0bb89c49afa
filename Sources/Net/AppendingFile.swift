// AppendingFile.swift — a file to which lines are added, such as a key log. Each line is one write to the end, so that
// several processes may share the file.

import Glibc

package final class AppendingFile: Sendable {
  private let descriptor: Int32

  /// Opens the file; one that does not exist is made for its owner's eyes only.
  package init(_ path: String) throws(NetError) {
    descriptor = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .current("open", path) }
  }

  deinit { _ = close(descriptor) }

  package func append(line: String) throws(NetError) {
    let bytes = Array((line + "\n").utf8)
    let written = unsafe bytes.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
    guard written == bytes.count else { throw .current("write") }
  }
}
