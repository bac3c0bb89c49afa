// main.swift — runs the soak of two associations over a range of seeds, and tells what they have exercised.
//
//   SCTPSoak FIRST COUNT
//
// Before each seed it writes the seed's number to standard error, so that whoever started it knows which one trapped.

import Foundation
import Simulation

let numbers = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
guard numbers.count == 2, CommandLine.arguments.count == 3 else {
  print("SCTPSoak FIRST COUNT")
  exit(64)
}

var total = AssociationSoak.Counts()
for seed in numbers[0]..<(numbers[0] + numbers[1]) {
  FileHandle.standardError.write(Data("\(seed)\n".utf8))
  do throws(SoakFailure) {
    total.add(try soakAssociations(seed: seed))
  } catch {
    print("seed \(seed): \(error)")
    exit(1)
  }
}
print(
  """
  {"seeds":\(numbers[1]),"messages":\(total.messages),"packets":\(total.packets),"abandoned":\(total.abandoned),\
  "resets":\(total.resets),"restarts":\(total.restarts),"shutdowns":\(total.shutdowns),"aborts":\(total.aborts)}
  """)

extension AssociationSoak.Counts {
  mutating func add(_ other: AssociationSoak.Counts) {
    messages += other.messages
    packets += other.packets
    abandoned += other.abandoned
    resets += other.resets
    restarts += other.restarts
    shutdowns += other.shutdowns
    aborts += other.aborts
  }
}
