// Two peers in one process: exchange descriptions and candidates, open a channel, send a message, get it back.

import WebRTC

let caller = try PeerConnection()
let callee = try PeerConnection()
let channel = try await caller.createDataChannel("greetings")

let offer = try await caller.createOffer()
try await caller.setLocalDescription(offer)
try await callee.setRemoteDescription(offer)
let answer = try await callee.createAnswer()
try await callee.setLocalDescription(answer)
try await caller.setRemoteDescription(answer)
Task { for await candidate in caller.localCandidates { try await callee.addICECandidate(candidate) } }
Task { for await candidate in callee.localCandidates { try await caller.addICECandidate(candidate) } }
Task {
  for await echo in callee.incomingChannels {
    for await message in echo.messages { try await echo.send(message) }
  }
}

try await channel.waitUntilOpen()
try await channel.send(.text("hello"))
for await message in channel.messages {
  guard message == .text("hello") else { break }
  print("delivered")
  break
}
await caller.close()
await callee.close()
