// SilentServer.swift — a server that takes connections and says nothing, before or after the WebSocket handshake.

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket

struct SilentServer {
  let port: Int
  private let channel: any Channel

  init(shakesHands: Bool) async throws {
    channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard shakesHands else { return }
          let upgrader = NIOWebSocketServerUpgrader(
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(
            withServerUpgrade: ([upgrader], { _ in }))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    port = channel.localAddress?.port ?? 0
  }

  func stop() async throws { try await channel.close() }
}
