// DemoRun.swift — the demo from beginning to end: server, processes, the swarm's work step by step, and the clearing away.
//
// The steps, the children's deaths and the signals of the terminal run side by side; the first of them to end decides.
// Invariant: when `perform` returns, no child runs, the server is down and no received file is left.

import Foundation
import Signaling
import SignalingTransport

struct DemoRun: Sendable {
  let peerCount: Int
  let path: String

  func perform(endingOn signals: AsyncStream<CInt>) async -> Result<DemoReport, DemoFailure> {
    let start = ContinuousClock.now
    let server = SignalingServer(configuration: SignalingServer.Configuration(port: 0))
    let (deaths, deathSink) = AsyncStream<DemoFailure>.makeStream()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swarm-demo-\(UUID().uuidString)")
    var peers: [DemoPeer] = []
    var result: Result<DemoReport, DemoFailure>
    do {
      try FileManager.default.createDirectory(
        at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
      let address = try await server.start()
      Self.say("signalling server on \(address.url)")
      for number in 1...peerCount {
        let arguments = Self.arguments(url: address.url, number: number, of: peerCount)
        peers.append(try DemoPeer(id: "peer-\(number)", arguments: arguments, deaths: deathSink))
      }
      let steps = DemoSteps(peers: peers, path: path, folder: folder.path)
      result = await Self.first(steps: steps, deaths: deaths, signals: signals)
    } catch {
      result = .failure(.setUp("\(error)"))
    }
    await withTaskGroup(of: Void.self) { group in
      for peer in peers { group.addTask { await peer.end() } }
    }
    await server.shutdown()
    do { try FileManager.default.removeItem(at: folder) } catch {
      StandardError.write("swarm demo: cannot remove \(folder.path): \(error.localizedDescription)")
    }
    if case .success(var report) = result {
      report.duration = ContinuousClock.now - start
      result = .success(report)
    }
    return result
  }

  private static func first(
    steps: DemoSteps, deaths: AsyncStream<DemoFailure>, signals: AsyncStream<CInt>
  ) async -> Result<DemoReport, DemoFailure> {
    await withTaskGroup(of: Result<DemoReport, DemoFailure>?.self) { group in
      group.addTask {
        do {
          return .success(try await steps.run())
        } catch let failure as DemoFailure {
          return .failure(failure)
        } catch {
          return error is CancellationError ? nil : .failure(.setUp("\(error)"))
        }
      }
      group.addTask {
        for await death in deaths { return .failure(death) }
        return nil
      }
      group.addTask {
        for await signal in signals { return .failure(.interrupted(signal)) }
        return nil
      }
      for await result in group {
        guard let result else { continue }
        group.cancelAll()
        return result
      }
      return .failure(.setUp("nothing was done"))
    }
  }

  /// The last peer alone can do the demo's task; nobody else in the room knows its name.
  private static func arguments(url: String, number: Int, of count: Int) -> [String] {
    let capability = number == count ? DemoSteps.capability : "peer-\(number)"
    return [
      "--room", "reploid-swarm-demo", "--signaling", url, "--capability", capability, "--loopback", "only",
      "--ice-server", "none", "--json",
    ]
  }

  static func say(_ line: String) { StandardError.write(line) }
}
