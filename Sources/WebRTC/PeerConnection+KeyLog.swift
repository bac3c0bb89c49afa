// PeerConnection+KeyLog.swift — the secrets of a connection, for those who debug it.

import Logging
import Net
import Peer

extension PeerConnection {
  static func openKeyLog(_ path: String?) throws(PeerConnectionError) -> AppendingFile? {
    guard let path else { return nil }
    do { return try AppendingFile(path) } catch { throw .system("keyLogFile: \(error)") }
  }

  func takeKeyLog(_ file: AppendingFile) {
    while let line = machine.pollKeyLog() {
      do { try file.append(line: line) } catch { configuration.logger.warning("the key log is incomplete: \(error)") }
    }
  }
}
