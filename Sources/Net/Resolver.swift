// Resolver.swift — names to addresses, on threads of their own because the system's resolver blocks.

package import Wire

extension EventLoop {
  /// The addresses of `host`, in the order in which they are to be tried (RFC 6724). A literal is its own address.
  ///
  /// Called, and returns, on the loop's thread. Cancelling the task ends it at once.
  ///
  /// - Throws: `NetError` named `resolve`: ETIMEDOUT, ECANCELED, EBUSY when too many names wait, ENOENT when there is no
  ///   such name.
  package nonisolated(nonsending) func resolve(
    _ host: String, timeout: Interval = .seconds(5)
  ) async throws(NetError) -> [IPAddress] {
    throw NetError("resolve", code: 38)
  }
}
