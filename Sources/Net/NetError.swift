// NetError.swift — the one error that the operating system can cause.

import CPosix
import Glibc

/// A system call that failed while something was set up. What fails on the data path is counted, not thrown.
public struct NetError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The call, for example `bind`.
  public let operation: String
  /// The value of `errno`.
  public let code: Int32

  package init(_ operation: String, code: Int32) {
    self.operation = operation
    self.code = code
  }

  /// The failure that `errno` describes now.
  static func current(_ operation: String) -> NetError { NetError(operation, code: errno) }

  public var description: String {
    guard let text = unsafe strerror(code) else { return "\(operation): error \(code)" }
    return "\(operation): \(unsafe String(cString: text))"
  }
}
