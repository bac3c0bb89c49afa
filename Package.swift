// swift-tools-version: 6.2
import PackageDescription

// What an app pays for is what it asks for: with `traits: []` only the transport is built, and nothing is fetched but
// swift-log and swift-collections. SwiftNIO, swift-nio-ssl and swift-argument-parser stand behind the trait `Swarm`.
// Tests lend arrays to the parsers on every line; marking each loan `unsafe` would bury what they say.
let testSettings: [SwiftSetting] = [
  .enableExperimentalFeature("Lifetimes"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]
let settings: [SwiftSetting] = testSettings + [.strictMemorySafety()]

let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let heap: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")

func swarmOnly(_ product: String, _ package: String) -> Target.Dependency {
  .product(name: product, package: package, condition: .when(traits: ["Swarm"]))
}

let package = Package(
  name: "swift-webrtc-swarm",
  products: [
    .library(name: "WebRTC", targets: ["WebRTC"]),
    .library(name: "Swarm", targets: ["Swarm"]),
    .executable(name: "swarm", targets: ["SwarmCLI"]),
    .library(name: "FuzzEntry", targets: ["FuzzEntry"]),
  ],
  traits: [
    .default(enabledTraits: ["Swarm"]),
    .trait(name: "Swarm", description: "Signalling over SwiftNIO, the swarm on top of it, and the command `swarm`."),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
  ],
  targets: [
    .target(name: "CCRC32C"),
    .systemLibrary(name: "CPosix"),
    .systemLibrary(
      name: "COpenSSL", pkgConfig: "libssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
      name: "CSRTP2", pkgConfig: "libsrtp2", providers: [.apt(["libsrtp2-dev"])]),
    .target(name: "Wire", dependencies: ["CCRC32C"], swiftSettings: settings),
    .target(name: "Digest", dependencies: ["COpenSSL", "Wire"], swiftSettings: settings),
    .target(name: "STUN", dependencies: ["Wire", "Digest"], swiftSettings: settings),
    .target(name: "TURN", dependencies: ["Wire", "STUN", "Digest", deque], swiftSettings: settings),
    .target(name: "ICE", dependencies: ["Wire", "STUN", deque], swiftSettings: settings),
    .target(name: "DTLS", dependencies: ["Wire", "Digest", "COpenSSL"], swiftSettings: settings),
    .target(name: "TLS", dependencies: ["Wire", "Digest", "COpenSSL"], swiftSettings: settings),
    .target(name: "SRTP", dependencies: ["Wire", "CSRTP2"], swiftSettings: settings),
    .target(name: "RTP", dependencies: ["Wire"], swiftSettings: settings),
    .target(name: "Media", dependencies: ["Wire", "RTP", deque], swiftSettings: settings),
    .target(name: "SCTP", dependencies: ["Wire", "Digest", deque, heap], swiftSettings: settings),
    .target(name: "DataChannel", dependencies: ["Wire", "SCTP", deque], swiftSettings: settings),
    .target(name: "SDP", swiftSettings: settings),
    .target(name: "MDNS", dependencies: ["Wire", deque], swiftSettings: settings),
    .target(
      name: "Peer",
      dependencies: [
        "Wire", "STUN", "TURN", "ICE", "DTLS", "SRTP", "RTP", "Media", "SCTP", "DataChannel", "SDP", deque,
      ],
      swiftSettings: settings),
    .target(name: "Net", dependencies: ["Wire", "CPosix"], swiftSettings: settings),
    .target(
      name: "WebRTC",
      dependencies: [
        "Wire", "STUN", "TURN", "ICE", "DTLS", "SRTP", "RTP", "Media", "SCTP", "DataChannel", "SDP", "MDNS", "Peer",
        "Net", "TLS", deque, logging,
      ],
      swiftSettings: settings),
    .target(name: "Signaling", dependencies: ["Wire", "Digest", deque], swiftSettings: settings),
    .target(
      name: "SignalingTransport",
      dependencies: [
        "Signaling", "Wire", "Digest", deque, logging, swarmOnly("NIOCore", "swift-nio"),
        swarmOnly("NIOPosix", "swift-nio"),
        swarmOnly("NIOHTTP1", "swift-nio"), swarmOnly("NIOWebSocket", "swift-nio"),
        swarmOnly("NIOSSL", "swift-nio-ssl"),
      ], swiftSettings: settings),
    .target(
      name: "Swarm",
      dependencies: ["Wire", "Digest", "Net", "WebRTC", "Signaling", "SignalingTransport", deque, logging],
      swiftSettings: settings),
    .executableTarget(
      name: "SwarmCLI",
      dependencies: [
        "Wire", "Digest", "STUN", "DTLS", "SRTP", "Net", "Swarm", "WebRTC", "Signaling", "SignalingTransport", logging,
        swarmOnly("ArgumentParser", "swift-argument-parser"),
      ], swiftSettings: settings),
    .target(
      name: "Simulation", dependencies: ["Wire", "Peer", "ICE", "DTLS", "RTP", "Media", "SCTP", "DataChannel", "SDP"],
      swiftSettings: settings),
    .target(
      name: "FuzzEntry",
      dependencies: [
        "Wire", "STUN", "TURN", "ICE", "SRTP", "RTP", "Media", "SCTP", "DataChannel", "SDP", "MDNS", "Signaling",
      ],
      swiftSettings: settings),
    .target(name: "TestSupport", dependencies: ["Wire"], path: "Tests/TestSupport", swiftSettings: testSettings),
    .target(
      name: "SCTPTestSupport", dependencies: ["SCTP", "Wire"], path: "Tests/SCTPTestSupport",
      swiftSettings: testSettings),
    .target(name: "CVirtualClock", path: "Tests/CVirtualClock"),
    .executableTarget(
      name: "SCTPSoak", dependencies: ["Simulation"], path: "Tests/SCTPSoak", swiftSettings: testSettings),
    .testTarget(name: "WireTests", dependencies: ["Wire", "Digest", "TestSupport"], swiftSettings: testSettings),
    .testTarget(name: "STUNTests", dependencies: ["STUN", "TestSupport"], swiftSettings: testSettings),
    .target(
      name: "TURNTestSupport", dependencies: ["STUN", "Wire"], path: "Tests/TURNTestSupport",
      swiftSettings: testSettings),
    .testTarget(
      name: "TURNTests", dependencies: ["TURN", "STUN", "Wire", "TestSupport", "TURNTestSupport"],
      swiftSettings: testSettings),
    .testTarget(
      name: "PeerTests",
      dependencies: [
        "Peer", "ICE", "STUN", "DTLS", "SRTP", "RTP", "Media", "SDP", "Wire", "TestSupport", "TURNTestSupport",
        "CVirtualClock",
      ],
      swiftSettings: testSettings),
    .testTarget(
      name: "CoturnTests", dependencies: ["TURN", "STUN", "Wire", "TestSupport"], swiftSettings: testSettings),
    .testTarget(name: "ICETests", dependencies: ["ICE", "STUN", "TestSupport"], swiftSettings: testSettings),
    .testTarget(
      name: "DTLSTests", dependencies: ["DTLS", "TestSupport", "CVirtualClock"], swiftSettings: testSettings),
    .testTarget(
      name: "SRTPTests", dependencies: ["SRTP", "CSRTP2", "CVirtualClock", "RTP", "Wire", "TestSupport"],
      swiftSettings: testSettings),
    .testTarget(name: "RTPTests", dependencies: ["RTP", "Wire", "TestSupport"], swiftSettings: testSettings),
    .testTarget(
      name: "MediaTests", dependencies: ["Media", "RTP", "Wire", "TestSupport", "CVirtualClock"],
      swiftSettings: testSettings),
    .testTarget(
      name: "SCTPTests", dependencies: [deque, "SCTP", "SCTPTestSupport", "TestSupport"], swiftSettings: testSettings),
    .testTarget(
      name: "ConformanceTests", dependencies: ["SCTP", "SCTPTestSupport", "TestSupport", "Wire"],
      swiftSettings: testSettings),
    .target(name: "CUsrsctp", path: "Tests/CUsrsctp"),
    .testTarget(
      name: "UsrsctpTests", dependencies: ["CUsrsctp", "CVirtualClock", "SCTP", "TestSupport", "Wire"],
      swiftSettings: testSettings),
    .testTarget(
      name: "DataChannelTests", dependencies: ["DataChannel", "SCTP", "Wire", "TestSupport"],
      swiftSettings: testSettings),
    .testTarget(name: "MDNSTests", dependencies: ["MDNS", "Wire", "TestSupport"], swiftSettings: testSettings),
    .testTarget(name: "SDPTests", dependencies: ["SDP", "Wire", "TestSupport"], swiftSettings: testSettings),
    .testTarget(name: "NetTests", dependencies: ["Net", "TLS", "TestSupport"], swiftSettings: testSettings),
    .testTarget(
      name: "SignalingTests", dependencies: ["Signaling", "Wire", "TestSupport"], swiftSettings: testSettings),
    .testTarget(
      name: "WebRTCTests", dependencies: ["WebRTC", "DTLS", "RTP", "Net", "STUN", "Wire", "TestSupport"],
      swiftSettings: testSettings),
    .testTarget(
      name: "SignalingTransportTests",
      dependencies: [
        "Signaling", "SignalingTransport", "Wire", "TestSupport", logging, swarmOnly("NIOCore", "swift-nio"),
        swarmOnly("NIOPosix", "swift-nio"), swarmOnly("NIOHTTP1", "swift-nio"),
        swarmOnly("NIOWebSocket", "swift-nio"),
      ], swiftSettings: testSettings),
    .testTarget(name: "SwarmCLITests", dependencies: ["SwarmCLI", "Signaling"], swiftSettings: testSettings),
    .testTarget(
      name: "SwarmTests",
      dependencies: ["Swarm", "Signaling", "SignalingTransport", "WebRTC", "Wire", "Digest", "TestSupport"],
      swiftSettings: testSettings),
    .testTarget(name: "VectorTests", dependencies: ["FuzzEntry", "TestSupport"], swiftSettings: testSettings),
    .testTarget(
      name: "SimulationTests",
      dependencies: [
        "Simulation", "Peer", "DataChannel", "DTLS", "ICE", "SCTP", "Wire", "TestSupport", "CVirtualClock",
      ],
      swiftSettings: testSettings),
  ],
  swiftLanguageModes: [.v6]
)
