// PurposeTests.swift — the list of purposes in `Vectors/conformance/purposes.txt` is whole, and its groups are the suites.

import Foundation
import TestSupport
import Testing

/// One line of the list.
struct Purpose {
  var group: String
  var number: String
  /// Why it does not apply; nil: it does.
  var notApplicable: String?

  static func read() throws -> [Purpose] {
    var result: [Purpose] = []
    var group = ""
    for line in try Vectors.text("conformance/purposes.txt").split(separator: "\n") where !line.hasPrefix("#") {
      if line.hasPrefix("[") {
        group = String(line.dropFirst().dropLast())
      } else {
        let parts = line.split(separator: " ", maxSplits: 1)
        let words = parts.count > 1 ? parts[1].drop { $0 == " " } : ""
        let reason = words.hasPrefix("n/a: ") ? String(words.dropFirst(5)) : nil
        result.append(Purpose(group: group, number: String(parts[0]), notApplicable: reason))
      }
    }
    return result
  }
}

@Suite("List of purposes") struct PurposeTests {
  private let etsi: [Purpose]
  /// The test sources of the ETSI suites.
  private let sources: [String]

  init() throws {
    etsi = try Purpose.read().filter { $0.group.hasPrefix("ETSI ") }
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("ETSI")
    sources = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
      .filter { $0.pathExtension == "swift" }.map { try String(contentsOf: $0, encoding: .utf8) }
  }

  @Test("the 121 purposes of ETSI TS 102 369 are listed, each once, in its 11 groups")
  func whole() {
    #expect(etsi.count == 121 && Set(etsi.map(\.number)).count == 121)
    let sizes = Dictionary(grouping: etsi) { $0.group }.mapValues(\.count)
    #expect(sizes.values.sorted() == [3, 3, 4, 6, 8, 8, 10, 15, 15, 16, 33])
    #expect(etsi.filter { $0.notApplicable != nil }.map(\.number) == ["1-9-2", "1-15", "5-3-5", "d-8-10", "rt-11-3"])
  }

  @Test("each purpose that applies has a test in the suite of its group, and no other has")
  func tested() throws {
    for purpose in etsi {
      let name = "@Test(\"\(purpose.number): "
      let holders = sources.filter { $0.contains(name) }
      #expect(holders.count == (purpose.notApplicable == nil ? 1 : 0), "\(purpose.number)")
      if let holder = holders.first { #expect(holder.contains("@Suite(\"\(purpose.group)\")"), "\(purpose.number)") }
    }
    let known = Set(etsi.map(\.number))
    for source in sources {
      for line in source.split(separator: "\n") {
        guard let start = line.range(of: "@Test(\"") else { continue }
        let number = line[start.upperBound...].prefix { $0 != ":" }
        #expect(known.contains(String(number)), "\(line)")
      }
    }
  }
}
