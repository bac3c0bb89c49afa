// LocalAddresses.swift — which of this machine's addresses become host candidates, and under which names
// (RFC 8445 §5.1.1.1).

package import Net
package import Wire

/// Which network interfaces have candidates.
public struct InterfaceFilter: Sendable, Hashable {
  /// Leaves out interfaces made of software: bridges of containers and virtual machines, and tunnels.
  public var excludesVirtual = false
  /// Leaves out link-local addresses (169.254/16 and fe80::/10).
  public var excludesLinkLocal = true
  /// Leaves out tunnels, and other interfaces with two ends only.
  public var excludesPointToPoint = false
  public var excludesIPv4 = false
  public var excludesIPv6 = false
  /// Only interfaces whose name is here, or begins as an entry that ends in `*`; empty: all.
  public var only: [String] = []
  /// No interface whose name is here, or begins as an entry that ends in `*`.
  public var except: [String] = []

  public init() {}

  func includes(_ address: InterfaceAddress) -> Bool {
    if address.isTentative || excludesVirtual && address.isVirtual { return false }
    if excludesLinkLocal, address.isLinkLocal { return false }
    if excludesPointToPoint, address.isPointToPoint { return false }
    if address.address.isV4 ? excludesIPv4 : excludesIPv6 { return false }
    return (only.isEmpty || Self.matches(address.name, only)) && !Self.matches(address.name, except)
  }

  /// Those addresses that may have candidates, in their order.
  func addresses(
    among all: [InterfaceAddress], loopback: PeerConnectionConfiguration.Loopback
  ) -> [IPAddress] {
    let wanted = all.filter { includes($0) }
    let inner = wanted.filter { $0.isLoopback && !$0.isLinkLocal }.map(\.address)
    let outer = wanted.filter { !$0.isLoopback }.map(\.address)
    return switch loopback {
    case .automatic: outer.isEmpty ? inner : outer
    case .included: outer + inner
    case .only: inner
    case .excluded: outer
    }
  }

  private static func matches(_ name: String, _ patterns: [String]) -> Bool {
    patterns.contains { $0.hasSuffix("*") ? name.hasPrefix($0.dropLast()) : name == $0 }
  }
}

/// A public address that a cloud maps one to one to an address of this machine.
public struct AddressRewriting: Sendable, Hashable {
  public enum Mode: String, Sendable {
    /// The public address takes the place of the private one.
    case replace
    /// Peers are told both: for those in the same private network.
    case add
  }

  /// The private address; nil: every private address of the public one's family.
  public var from: String?
  public var to: String
  public var mode: Mode

  public init(from: String? = nil, to: String, mode: Mode = .replace) {
    self.from = from
    self.to = to
    self.mode = mode
  }
}

/// The rules of `AddressRewriting`, read.
package struct AddressRewriter: Sendable {
  struct Rule: Sendable {
    var from: IPAddress?
    var to: IPAddress
    var mode: AddressRewriting.Mode
  }

  /// What peers are told of one address of this machine.
  package enum Name: Equatable {
    case asItIs
    case replaced(IPAddress)
    case added(IPAddress)
  }

  private var rules: [Rule] = []

  package init(_ rewriting: [AddressRewriting]) throws(PeerConnectionError) {
    for rewrite in rewriting {
      guard let to = IPAddress(rewrite.to), !to.isUnspecified, !to.isMulticast else {
        throw .invalidParameter("addressRewriting: '\(rewrite.to)' is no address")
      }
      var from: IPAddress?
      if let text = rewrite.from {
        guard let address = IPAddress(text), address.isV4 == to.isV4 else {
          throw .invalidParameter("addressRewriting: '\(text)' is no address of the same family as \(to)")
        }
        from = address
      }
      rules.append(Rule(from: from, to: to, mode: rewrite.mode))
    }
  }

  /// The first rule that names the address; rules for all addresses leave loopback and link-local ones alone.
  package func name(of address: IPAddress) -> Name {
    for rule in rules where rule.to.isV4 == address.isV4 {
      guard rule.from == address || rule.from == nil && !address.isLoopback && !address.isLinkLocal else { continue }
      return rule.mode == .replace ? .replaced(rule.to) : .added(rule.to)
    }
    return .asItIs
  }
}

extension PeerConnectionConfiguration {
  /// This machine's addresses that the configuration allows, in the system's order.
  package func hostAddresses() throws(NetError) -> [IPAddress] {
    hostAddresses(among: try NetworkInterfaces.addresses())
  }

  package func hostAddresses(among all: [InterfaceAddress]) -> [IPAddress] {
    if let sharedPort { return sharedPort.interfaces.addresses(among: all, loopback: sharedPort.loopback) }
    return interfaces.addresses(among: all, loopback: loopback)
  }
}
