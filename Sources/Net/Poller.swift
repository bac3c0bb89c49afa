// Poller.swift — waits for sockets, for a wake-up from another thread, and for a moment, whichever comes first.
//
// Level-triggered: what one turn leaves in a socket is reported again, so that a turn may stop after a bounded amount.
// The wake-up alone is edge-triggered, which spares reading the eventfd: every write is one edge.
// A wait ends at its deadline to the microsecond: epoll_pwait2 where the kernel has it, otherwise a timerfd;
// epoll_wait alone counts in milliseconds.

import CPosix
import Glibc
import Wire

@safe
struct Poller: ~Copyable {
  /// What a descriptor was registered with, and comes back with its events.
  struct Token: Hashable {
    var rawValue: UInt64
    static let wake = Token(rawValue: .max)
    static let timer = Token(rawValue: .max - 1)

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(socket: SocketID) { rawValue = UInt64(socket.rawValue) }
  }
  struct Event {
    var token: Token
    var isReadable: Bool
    var isWritable: Bool
  }

  private let epoll: Descriptor
  private let wake: Descriptor
  private let timer: Descriptor
  private let events: UnsafeMutablePointer<epoll_event>
  /// Whether epoll_pwait2 works here.
  let hasPreciseWait: Bool
  /// What the timer is set to.
  private var armed: Instant?

  /// - Parameter allowsPreciseWait: false takes the timerfd even where epoll_pwait2 works.
  init(allowsPreciseWait: Bool) throws(NetError) {
    let epoll = try Descriptor(epoll_create1(Int32(EPOLL_CLOEXEC)), "epoll_create1")
    let wake = try Descriptor(eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC)), "eventfd")
    let timer = try Descriptor(
      timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK) | Int32(TFD_CLOEXEC)), "timerfd_create")
    var none = unsafe epoll_event()
    let hasPreciseWait = unsafe allowsPreciseWait && swarm_epoll_wait_precise(epoll.rawValue, &none, 1, 0) >= 0
    try Self.control(epoll, EPOLL_CTL_ADD, wake.rawValue, EPOLLIN.rawValue | EPOLLET.rawValue, .wake)
    if !hasPreciseWait {
      try Self.control(epoll, EPOLL_CTL_ADD, timer.rawValue, EPOLLIN.rawValue | EPOLLET.rawValue, .timer)
    }
    self.epoll = epoll
    self.wake = wake
    self.timer = timer
    self.hasPreciseWait = hasPreciseWait
    unsafe events = .allocate(capacity: Self.eventCapacity)
    unsafe events.initialize(repeating: epoll_event(), count: Self.eventCapacity)
  }

  deinit { unsafe events.deallocate() }

  /// Other threads write to it; see `EventLoop.wakeUp`.
  var wakeDescriptor: Int32 { wake.rawValue }

  borrowing func add(_ descriptor: Int32, token: Token) throws(NetError) {
    try Self.control(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, token)
  }

  /// Starts or stops to report that the descriptor takes bytes again.
  borrowing func watchWritable(_ isWatched: Bool, _ descriptor: Int32, token: Token) throws(NetError) {
    try Self.control(
      epoll, EPOLL_CTL_MOD, descriptor, EPOLLIN.rawValue | (isWatched ? EPOLLOUT.rawValue : 0), token)
  }

  borrowing func remove(_ descriptor: Int32) {
    // Only a descriptor that was never added could be refused, and then there is nothing to remove.
    _ = swarm_epoll_control(epoll.rawValue, EPOLL_CTL_DEL, descriptor, 0, 0)
  }

  private static func control(
    _ epoll: borrowing Descriptor, _ operation: Int32, _ descriptor: Int32, _ events: UInt32, _ token: Token
  ) throws(NetError) {
    let result = swarm_epoll_control(epoll.rawValue, operation, descriptor, events, token.rawValue)
    guard result == 0 else { throw NetError("epoll_ctl", code: -result) }
  }

  /// Waits for the first event, at most until `deadline` (nil: without end); returns how many events there are.
  mutating func wait(until deadline: Instant?) -> Int {
    guard let deadline else { return wait(nanoseconds: -1) }
    // The turn may have taken longer than the deadline is away: how long to wait is counted from now, not from its
    // start. Only a loop that is about to sleep pays for this second reading.
    let remaining = deadline - MonotonicClock.now()
    return wait(nanoseconds: max(remaining.nanoseconds, 0), deadline: deadline)
  }

  /// Collects what is ready, without waiting.
  mutating func poll() -> Int { wait(nanoseconds: 0) }

  func event(_ index: Int) -> Event {
    let mask = unsafe swarm_event_mask(events + index)
    return Event(
      token: Token(rawValue: unsafe swarm_event_token(events + index)),
      // An error is fetched, and thereby cleared, by receiving.
      isReadable: mask & (EPOLLIN.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0,
      isWritable: mask & EPOLLOUT.rawValue != 0)
  }

  private mutating func wait(nanoseconds: Int64, deadline: Instant? = nil) -> Int {
    let result: Int32
    if nanoseconds == 0 {
      result = unsafe swarm_epoll_wait(epoll.rawValue, events, Int32(Self.eventCapacity), 0)
    } else if hasPreciseWait {
      result = unsafe swarm_epoll_wait_precise(epoll.rawValue, events, Int32(Self.eventCapacity), nanoseconds)
    } else {
      if let deadline, deadline != armed {
        armed = deadline
        let error = swarm_timer_arm(timer.rawValue, max(deadline.nanoseconds, 1))
        precondition(error == 0, "a future time on our own timer is always taken")
      }
      result = unsafe swarm_epoll_wait(epoll.rawValue, events, Int32(Self.eventCapacity), -1)
    }
    precondition(result >= 0 || result == -EINTR, "epoll_wait on our own descriptors fails only by a signal")
    return max(Int(result), 0)
  }

  private static let eventCapacity = 128  // more that are ready wait for the next turn
}

/// A file descriptor that is closed with its owner.
struct Descriptor: ~Copyable {
  let rawValue: Int32

  /// Takes the result of the call named `operation`, which has just returned.
  init(_ result: Int32, _ operation: String) throws(NetError) {
    guard result >= 0 else { throw .current(operation) }
    rawValue = result
  }

  deinit { _ = close(rawValue) }
}
