// Fuzz.swift — libFuzzer's entry for the target `media`.

import FuzzEntry

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  FuzzTarget.media.run(unsafe UnsafeRawBufferPointer(start: start, count: count).bytes)
  return 0
}
