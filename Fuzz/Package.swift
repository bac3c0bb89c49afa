// swift-tools-version: 6.2
import PackageDescription

// The fuzzers, apart from the package they test: they are built with `--sanitize fuzzer`, which gives every executable
// libFuzzer's main. `Scripts/fuzz` builds and runs them. With `traits: []` nothing that needs SwiftNIO is fetched.

let targets = [
  "stun", "turn", "srtp", "rtp", "rtcp", "sctp-packet", "dcep", "sdp", "candidate", "mdns", "signaling", "associations",
  "media",
]

let package = Package(
  name: "fuzz",
  dependencies: [.package(name: "swift-webrtc-swarm", path: "..", traits: [])],
  targets: targets.map { name in
    .executableTarget(
      name: "fuzz-\(name)",
      dependencies: [.product(name: "FuzzEntry", package: "swift-webrtc-swarm")],
      path: "Sources/\(name)",
      swiftSettings: [.unsafeFlags(["-parse-as-library"]), .strictMemorySafety()])
  },
  swiftLanguageModes: [.v6]
)
