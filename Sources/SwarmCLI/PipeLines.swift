// PipeLines.swift — what another process writes, line by line.
//
// A thread that blocks in read(2), not `FileHandle.readabilityHandler`: with many processes starting and ending at once
// that one has been seen to lose the end of a pipe, and whoever waits for it then waits for ever.

import Foundation

/// The lines of a pipe, without their line feeds; a last one without a line feed counts. Ends when every writer has closed.
enum PipeLines {
  /// Reads from now on, on a thread of its own, and closes nothing: the handle belongs to the caller, and is kept until the end.
  static func lines(of file: FileHandle) -> AsyncStream<[UInt8]> {
    let (lines, sink) = AsyncStream<[UInt8]>.makeStream()
    let thread = Thread {
      var rest: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 16_384)
      while let count = fill(&buffer, from: file) {
        rest += buffer[..<count]
        var start = rest.startIndex
        while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
          sink.yield(Array(rest[start..<end]))
          start = end + 1
        }
        rest.removeSubrange(..<start)
      }
      if !rest.isEmpty { sink.yield(rest) }
      sink.finish()
    }
    thread.name = "pipe-lines"
    thread.start()
    return lines
  }

  /// Reads some bytes, as soon as there are any.
  ///
  /// - Returns: how many; nil at the end.
  private static func fill(_ buffer: inout [UInt8], from file: FileHandle) -> Int? {
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(file.fileDescriptor, $0.baseAddress, $0.count) }
      if count > 0 { return count }
      if count == 0 { return nil }
      guard errno == EINTR else {
        StandardError.write("swarm: cannot read from a process: \(unsafe String(cString: strerror(errno)))")
        return nil
      }
    }
  }
}
