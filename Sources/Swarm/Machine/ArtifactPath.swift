// ArtifactPath.swift — decides which ids and names from the network may come near a file system.

package enum ArtifactPath {
  /// Whether `id` is a path of plain components, such as `/data/report.json`. Nothing in it climbs, hides a separator
  /// or ends a C string early.
  package static func isSafeID(_ id: String) -> Bool {
    guard (1...maximumBytes).contains(id.utf8.count) else { return false }
    let relative = id.utf8.first == slash ? id.utf8.dropFirst() : id.utf8[...]
    return relative.split(separator: slash, omittingEmptySubsequences: false).allSatisfy(isSafeComponent)
  }

  /// Whether `name` can be stored as one file inside a folder.
  package static func isSafeName(_ name: String) -> Bool { isSafeComponent(name.utf8[...]) }

  private static func isSafeComponent(_ component: Substring.UTF8View) -> Bool {
    guard (1...maximumComponentBytes).contains(component.count) else { return false }
    guard !component.elementsEqual(".".utf8), !component.elementsEqual("..".utf8) else { return false }
    return component.allSatisfy { $0 >= 0x20 && $0 != 0x7f && $0 != slash && $0 != backslash }
  }

  private static let slash = UInt8(ascii: "/")
  private static let backslash = UInt8(ascii: "\\")
  private static let maximumBytes = 512
  private static let maximumComponentBytes = 255  // NAME_MAX
}
