// swift-tools-version: 6.2
import PackageDescription

// A stranger's app that wants data channels and nothing else: built and run by Scripts/consumer-test.
let package = Package(
  name: "Consumer",
  dependencies: [
    .package(name: "swift-webrtc-swarm", path: "../..", traits: [])
  ],
  targets: [
    .executableTarget(name: "Consumer", dependencies: [.product(name: "WebRTC", package: "swift-webrtc-swarm")])
  ]
)
