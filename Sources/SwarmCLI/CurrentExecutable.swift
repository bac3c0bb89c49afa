// CurrentExecutable.swift — this program's own file, to start further processes of it.

import Foundation

enum CurrentExecutable {
  static var url: URL {
    get throws {
      let path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      return URL(fileURLWithPath: path)
    }
  }
}
