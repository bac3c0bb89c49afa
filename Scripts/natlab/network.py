"""Networks of the lab: namespaces for the Internet, for NATs and for hosts, and the nftables rules of each kind of NAT.

    host ── NAT ── (NAT) ──┐
                           ├── bridge "Internet" with coturn on two addresses
    host ── NAT ───────────┘

Each NAT is a namespace with interfaces `in` and `out`. What a kind does is said in the words of RFC 4787: *mapping* is
how an inside address and port become an outside one, *filtering* is whose datagrams come back in.
"""

import contextlib
import itertools
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

PREFIX = "swarm-nat-"
SERVER, SECOND_SERVER = "198.18.0.1", "198.18.0.2"  # RFC 2544: addresses for laboratories

plugs = itertools.count(1)

ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT = "endpoint", "address", "address+port"


@dataclass(frozen=True)
class Kind:
    """A kind of NAT, or of two in a row."""

    name: str
    mapping: str = ENDPOINT_INDEPENDENT
    filtering: str = ADDRESS_AND_PORT_DEPENDENT
    layers: int = 1
    is_udp_blocked: bool = False
    hairpins: bool = False


NONE = Kind("no NAT", filtering=ENDPOINT_INDEPENDENT, layers=0)
FULL_CONE = Kind("full cone", filtering=ENDPOINT_INDEPENDENT)
ADDRESS_RESTRICTED = Kind("address-restricted", filtering=ADDRESS_DEPENDENT)
PORT_RESTRICTED = Kind("port-restricted")
SYMMETRIC = Kind("symmetric", mapping=ADDRESS_AND_PORT_DEPENDENT)
DOUBLE = Kind("double NAT", layers=2)
UDP_BLOCKED = Kind("UDP blocked", is_udp_blocked=True)
HAIRPINNING = Kind("hairpinning", filtering=ENDPOINT_INDEPENDENT, hairpins=True)
NO_HAIRPINNING = Kind("no hairpinning", filtering=ENDPOINT_INDEPENDENT)
KINDS = [FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, SYMMETRIC, DOUBLE, UDP_BLOCKED]


class Refused(Exception):
    """The lab cannot be built here; the text says what is missing."""


def can_connect_directly(a, b):
    """Whether theory lets ICE connect a host behind `a` to one behind `b` without a relay, over UDP.

    Each side sends to the outside address that STUN told the other. That reaches a peer whose mapping does not depend
    on the destination, if its filter lets it in, which has seen its own side send to where this comes from.
    """
    if a.is_udp_blocked or b.is_udp_blocked:
        return False
    return reaches(a, b) or reaches(b, a)


def reaches(sender, receiver):
    """Whether a check of `sender` gets in at `receiver`, which then answers to where it came from."""
    if receiver.mapping != ENDPOINT_INDEPENDENT:
        return False  # nobody knows the port to send to
    if receiver.filtering == ADDRESS_AND_PORT_DEPENDENT:
        return sender.mapping == ENDPOINT_INDEPENDENT  # it opened for the port that STUN saw, and for no other
    return True


def rules(kind, outside):
    """The nftables rules of one NAT. Conntrack maps by 5-tuple and keeps the port; what differs is learnt in sets.

    Datagrams that nobody asked for are dropped in `forward` or `input`, so that conntrack forgets them: it would
    otherwise take them for a flow of the NAT's own, and give the host another port when it sends that way.
    """
    opened = {
        ENDPOINT_INDEPENDENT: "udp dport @mapped",
        ADDRESS_DEPENDENT: "udp dport . ip saddr @permitted",
    }.get(kind.filtering)
    arriving = 'iifname "out" ip daddr %s %s dnat to udp dport map @owner' % (outside, opened) if opened else ""
    # From inside to an outside address of this very NAT, which is only for those with endpoint-independent filtering.
    turning = 'iifname "in" ip daddr %s udp dport @mapped dnat to udp dport map @owner' % outside
    is_symmetric = kind.mapping != ENDPOINT_INDEPENDENT
    learning = """
        update @mapped { udp sport }
        update @owner { udp sport : ip saddr }
        update @permitted { udp sport . ip daddr }"""
    return f"""
table ip nat {{
  set mapped {{ type inet_service; flags dynamic,timeout; timeout 5m; size 65535; }}
  map owner {{ type inet_service : ipv4_addr; flags dynamic,timeout; timeout 5m; size 65535; }}
  set permitted {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout 5m; size 65535; }}
  chain arriving {{
    type nat hook prerouting priority dstnat; policy accept;
    {arriving}
    {turning if kind.hairpins else ""}
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "out" snat to {outside} {"fully-random" if is_symmetric else ""}
    {f'iifname "in" oifname "in" ct status dnat snat to {outside}' if kind.hairpins else ""}
  }}
  chain passing {{
    type filter hook forward priority filter; policy drop;
    {"meta l4proto udp drop" if kind.is_udp_blocked else ""}
    iifname "in" oifname "out" meta l4proto udp jump learning
    iifname "in" oifname "out" accept
    ct state established,related accept
    ct status dnat accept
  }}
  chain learning {{ {learning}
  }}
  chain own {{
    type filter hook input priority filter; policy drop;
    meta l4proto icmp accept
  }}
}}
"""


def run(*command, input=None):
    result = subprocess.run(command, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise Refused("%s: %s" % (" ".join(command), (result.stderr or result.stdout).strip()))
    return result.stdout


class Namespaces:
    """Makes namespaces, and takes them away again at the end of the `with`, with the programs in them."""

    def __init__(self, label=""):
        self.prefix = "%s%d-%s" % (PREFIX, os.getpid(), label)
        self.made = []

    def add(self, name, forwards=False):
        namespace = self.prefix + name
        run("ip", "netns", "add", namespace)
        self.made.append(namespace)
        settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        if Path("/proc/sys/net/bridge").exists():
            settings.append("net.bridge.bridge-nf-call-iptables=0")  # what is bridged is nobody's to translate
        settings += ["net.ipv4.ip_forward=1"] if forwards else []
        run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", *settings)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        return namespace

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        while self.made:
            remove(self.made.pop())


def remove(namespace):
    """Ends what still runs in one of our namespaces, and deletes it; interfaces go with it."""
    for pid in subprocess.run(["ip", "netns", "pids", namespace], stdout=subprocess.PIPE, text=True).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)


def remove_leftovers():
    """What a run that was killed has left behind."""
    for line in run("ip", "netns", "list").splitlines():
        found = re.match(re.escape(PREFIX) + r"(\d+)-\S+", line)
        if found and not Path("/proc/" + found.group(1)).exists():
            remove(found.group())


class Internet:
    """A bridge that all public addresses are on, and a server with two of them."""

    def __init__(self):
        self.namespaces = Namespaces()
        self.sites = 0

    def __enter__(self):
        try:
            self.namespace = self.namespaces.add("internet")
            # What is for elsewhere vanishes. Without a route coturn could not send there, and would end the allocation.
            configure(self.namespace, *bridge(SERVER + "/15", SECOND_SERVER + "/15"), "link add sink type bridge",
                      "link set sink arp off up", "route add default dev sink")
        except BaseException:
            self.namespaces.remove()
            raise
        return self

    def __exit__(self, *_):
        self.namespaces.remove()

    def next_address(self):
        self.sites += 1
        return "198.18.%d.%d" % (1 + self.sites // 250, 1 + self.sites % 250)


class Site:
    """Hosts behind a NAT of some kind, or one host on the Internet itself. `hosts` are names of namespaces.

    `network` is the private network's third byte: two sites may have different private addresses, or the same. Hosts
    that are `apart` cannot send to each other, as guests of a wireless network.
    """

    def __init__(self, internet, namespaces, name, kind, network=1, hosts=1, apart=False):
        self.kind, self.nats, self.hosts, self.host_addresses = kind, [], [], []
        self.address = internet.next_address()
        outer, address, gateway = internet.namespace, self.address + "/15", None
        for layer in range(kind.layers):
            nat = namespaces.add("%snat%d" % (name, layer), forwards=True)
            self.nats.append(nat)
            plug_in(nat, "out", outer, address)
            # What is sent to private addresses vanishes at the edge of the Internet.
            route = "route add default via " + gateway if gateway else "route add blackhole default"
            # Between two NATs are the addresses that RFC 6598 gives to carriers.
            inside = ("192.168.%d" if layer == kind.layers - 1 else "100.64.%d") % network
            configure(nat, route, *bridge(inside + ".1/24"))
            run("ip", "netns", "exec", nat, "nft", "-f", "-", input=rules(kind, address.split("/")[0]))
            outer, address, gateway = nat, inside + ".2/24", inside + ".1"
        for index in range(hosts):
            if kind.layers > 0:
                address = "192.168.%d.%d/24" % (network, 10 + index)
            host = namespaces.add("%shost%d" % (name, index))
            plug = plug_in(host, "net", outer, address)
            if apart:
                configure(outer, "link set %s type bridge_slave isolated on" % plug)
            configure(host, "route add default via " + (gateway or SERVER))
            # Hosts behind one NAT take ports of their own, so that it can keep each.
            first = 32_768 + 14_000 * index
            run("ip", "netns", "exec", host, "sysctl", "-q", "-w",
                "net.ipv4.ip_local_port_range=%d %d" % (first, first + 13_999))
            self.hosts.append(host)
            self.host_addresses.append(address.split("/")[0])


def bridge(*addresses):
    """Lines for `ip` that make the interface `in`, which others are plugged into.

    Its hardware address is its own: it would otherwise be that of some plug, and change with that plug's going.
    """
    return ["link add in address 02:00:00:00:00:01 type bridge forward_delay 0", "link set in up",
            *("addr add %s dev in" % address for address in addresses)]


def configure(namespace, *lines):
    run("ip", "-n", namespace, "-batch", "-", input="\n".join(lines) + "\n")


def plug_in(namespace, interface, outer, address):
    """Connects a new interface to the bridge of `outer`; returns the plug's name there."""
    plug = "plug%d" % next(plugs)
    run("ip", "link", "add", plug, "netns", outer, "type", "veth", "peer", "name", interface, "netns", namespace)
    configure(outer, "link set %s master in" % plug, "link set %s up" % plug)
    configure(namespace, "addr add %s dev %s" % (address, interface), "link set %s up" % interface)
    return plug
