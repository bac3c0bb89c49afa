// NetError.swift — the one error that the operating system can cause.

import CPosix
import Glibc

/// A system call that failed while something was set up. What fails on the data path is counted, not thrown.
public struct NetError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The call, for example `bind`.
  public let operation: String
  /// The value of `errno`.
  public let code: Int32
  /// What the call was about, as an address; nil when `operation` says it all.
  public let detail: String?

  package init(_ operation: String, code: Int32, detail: String? = nil) {
    self.operation = operation
    self.code = code
    self.detail = detail
  }

  /// The failure that `errno` describes now.
  static func current(_ operation: String, _ detail: String? = nil) -> NetError {
    NetError(operation, code: errno, detail: detail)
  }

  public var description: String {
    let call = detail.map { "\(operation) \($0)" } ?? operation
    guard let text = unsafe strerror(code) else { return "\(call): error \(code)" }
    return "\(call): \(unsafe String(cString: text))"
  }
}
