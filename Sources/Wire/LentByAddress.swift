// LentByAddress.swift — keeps the compiler from copying a large machine in order to ask it something.

/// A mark for large structs: one that has a member of this type is always lent by its address.
///
/// A struct whose layout is known is otherwise a value to the compiler (6.3), and a value of more than a few words is
/// copied to the stack, all of it, for each call of a function that does not change it: 6 KB for every datagram. What
/// holds an existential is lent instead. It is never read, and takes 32 bytes.
@frozen public struct LentByAddress: Sendable {
  private let nothing: (any Sendable)?

  public init() { nothing = nil }
}
