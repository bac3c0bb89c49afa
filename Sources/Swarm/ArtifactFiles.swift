// ArtifactFiles.swift — where the bytes of artifacts come from and go to: files and memory.
//
// A file is read and written piece by piece. What is received is written beside its destination and takes its place only
// when it is complete and verified; a file that was there is never half overwritten.

import Digest
import Glibc
import Wire

/// Where the bytes of an artifact that we offer are.
enum ArtifactSource: Sendable {
  case memory([UInt8])
  case file(String)
}

/// An open source.
final class ArtifactReader {
  private enum Storage {
    case memory([UInt8])
    case file(CInt)
  }

  private let storage: Storage

  init(_ source: ArtifactSource) throws(ArtifactError) {
    switch source {
    case .memory(let bytes): storage = .memory(bytes)
    case .file(let path):
      let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
      guard file >= 0 else { throw .system("cannot open \(path)") }
      storage = .file(file)
    }
  }

  deinit { if case .file(let file) = storage { _ = close(file) } }

  /// - Returns: the bytes; fewer than `count` at the end.
  func read(at offset: Int64, count: Int) throws(ArtifactError) -> [UInt8] {
    switch storage {
    case .memory(let bytes):
      guard offset < bytes.count else { return [] }
      return Array(bytes[Int(offset)...].prefix(count))
    case .file(let file):
      var failure: ArtifactError?
      let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        filled = 0
        while filled < count {
          let read = unsafe pread(file, buffer.baseAddress! + filled, count - filled, Int(offset) + filled)
          if read < 0, errno == EINTR { continue }
          if read < 0 { failure = .system("cannot read") }
          if read <= 0 { return }
          filled += read
        }
      }
      if let failure { throw failure }
      return bytes
    }
  }

  /// Size and SHA-256 of everything.
  func measure() throws(ArtifactError) -> (size: Int64, sha256: [UInt8]) {
    var hash = SHA256()
    var size: Int64 = 0
    while true {
      let bytes = try read(at: size, count: Self.pieceBytes)
      guard !bytes.isEmpty else { break }
      hash.update(bytes.rawSpan)
      size += Int64(bytes.count)
    }
    return (size, hash.finalize())
  }

  private static let pieceBytes = 1 << 20
}

/// Takes a download's bytes in order.
final class ArtifactWriter {
  private enum Storage {
    case memory([UInt8])
    case file(CInt, temporary: String, destination: String)
    case ended
  }

  private var storage: Storage

  init(_ artifact: ArtifactDescription, to destination: ArtifactDestination, transfer: UInt64) throws(ArtifactError) {
    switch destination {
    case .memory:
      guard artifact.size <= Int64(SwarmPeer.maximumMemoryArtifact) else { throw .tooLarge }
      storage = .memory([])
    case .file(let path): storage = try Self.open(path, transfer)
    case .folder(let folder):
      // The name came from a stranger; the machine lets only plain ones through, and so does this.
      guard ArtifactPath.isSafeName(artifact.name) else { throw .unsafePath }
      storage = try Self.open(folder.hasSuffix("/") ? folder + artifact.name : "\(folder)/\(artifact.name)", transfer)
    }
  }

  deinit { discard() }

  private static func open(_ path: String, _ transfer: UInt64) throws(ArtifactError) -> Storage {
    let temporary = "\(path).\(String(transfer, radix: 16)).part"
    // Nothing that is there is followed or overwritten.
    let file = unsafe Glibc.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard file >= 0 else { throw .system("cannot create \(temporary)") }
    return .file(file, temporary: temporary, destination: path)
  }

  func write(_ bytes: ArraySlice<UInt8>) throws(ArtifactError) {
    switch storage {
    case .ended: break
    case .memory(var content):
      storage = .ended  // so that `content` is the only owner and grows in place
      content.append(contentsOf: bytes)
      storage = .memory(content)
    case .file(let file, _, _):
      var written = 0
      while written < bytes.count {
        let count = unsafe bytes.withUnsafeBytes { buffer in
          unsafe Glibc.write(file, buffer.baseAddress! + written, buffer.count - written)
        }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw .system("cannot write") }
        written += count
      }
    }
  }

  /// Everything has come and is genuine.
  func finish(_ artifact: ArtifactDescription) throws(ArtifactError) -> ReceivedArtifact {
    defer { discard() }
    switch storage {
    case .ended: throw .file("already ended")
    case .memory(let bytes): return ReceivedArtifact(artifact: artifact, path: nil, bytes: bytes)
    case .file(let file, let temporary, let destination):
      storage = .ended
      guard close(file) == 0, unsafe rename(temporary, destination) == 0 else {
        let error = ArtifactError.system("cannot store \(destination)")
        _ = unsafe unlink(temporary)
        throw error
      }
      return ReceivedArtifact(artifact: artifact, path: destination, bytes: nil)
    }
  }

  private func discard() {
    if case .file(let file, let temporary, _) = storage {
      _ = close(file)
      _ = unsafe unlink(temporary)
    }
    storage = .ended
  }
}

extension ArtifactError {
  /// The last system call's error.
  fileprivate static func system(_ what: String) -> ArtifactError {
    let code = errno
    return .file("\(what): \(unsafe String(cString: strerror(code)))")
  }
}
