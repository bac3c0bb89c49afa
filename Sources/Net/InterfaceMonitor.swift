// InterfaceMonitor.swift — tells participants when the host's addresses change.

extension EventLoopRegistration {
  /// From now on `interfacesChanged` tells this participant of every change.
  ///
  /// - Returns: the addresses as they are now.
  package func watchInterfaces() throws(NetError) -> [InterfaceAddress] {
    throw NetError("socket", code: 38)
  }

  package func stopWatchingInterfaces() {}
}
