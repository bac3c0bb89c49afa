"""Proves the lab: measures what each NAT really does, as RFC 5780 §4 would, and compares it with what it should.

The probe is independent of ICE and of the rules: plain sockets in a host and on four addresses and ports outside. The
same questions then go to coturn's `turnutils_natdiscovery`, a second witness.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import socket

from natlab.network import (
    ADDRESS_AND_PORT_DEPENDENT, ADDRESS_DEPENDENT, ENDPOINT_INDEPENDENT, HAIRPINNING, KINDS, NONE,
    NO_HAIRPINNING, SECOND_SERVER, SERVER, Namespaces, Site)

PORTS = 9001, 9002
PATIENCE = 0.3  # seconds that a datagram may take; what should not come is waited for as long
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace):
    """Sockets that are made within belong to that namespace for good."""
    with open("/proc/self/ns/net") as home, open("/run/netns/" + namespace) as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns to " + namespace)
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


class Probe:
    """Sockets outside, on both servers' addresses with two ports each, and what they see of a host."""

    def __init__(self, internet):
        self.outside = {}
        with inside(internet.namespace):
            for address in (SERVER, SECOND_SERVER):
                for port in PORTS:
                    self.outside[address, port] = udp(address, port)
            self.listener = socket.create_server((SERVER, PORTS[0]))
        self.listener.settimeout(PATIENCE)

    def close(self):
        for opened in [*self.outside.values(), self.listener]:
            opened.close()

    def host_socket(self, site, index=0):
        with inside(site.hosts[index]):
            return udp(site.host_addresses[index], 0)

    def mapped(self, host, outside):
        """The address that an outside socket sees of a host's; None when the datagram does not come."""
        return source(self.outside[outside], host, outside)

    def observe(self, site):
        """A dictionary like `expected` makes."""
        first, same_address, other, elsewhere = self.outside
        with self.host_socket(site) as host:
            mapping = self.mapped(host, first)
            if mapping is None:
                return {"udp": "blocked", "tcp": self.connects(site)}
            # Someone knocks before we send there: that must not change the mapping.
            reaches(self.outside[other], host, mapping)
            seen = [self.mapped(host, outside) for outside in (same_address, other)]
            behaviour = (ENDPOINT_INDEPENDENT if seen == [mapping, mapping] else
                         ADDRESS_DEPENDENT if seen[0] == mapping else ADDRESS_AND_PORT_DEPENDENT)
            keeps_port = mapping[1] == host.getsockname()[1]
        with self.host_socket(site) as host:
            mapping = self.mapped(host, first)
            answered = reaches(self.outside[first], host, mapping)
            lets_in = [reaches(self.outside[outside], host, mapping) for outside in (same_address, other, elsewhere)]
            filtering = {
                (True, True, True): ENDPOINT_INDEPENDENT, (True, False, False): ADDRESS_DEPENDENT,
                (False, False, False): ADDRESS_AND_PORT_DEPENDENT}.get(tuple(lets_in), str(lets_in))
            # After sending there, everybody's answer passes, to the mapping that they saw.
            theirs = self.mapped(host, elsewhere)
            opens = reaches(self.outside[elsewhere], host, theirs)
        return {
            "udp": "passes" if answered and opens else "does not answer", "mapping": behaviour, "filtering": filtering,
            "keeps port": keeps_port, "address": mapping[0], "tcp": self.connects(site)}

    def connects(self, site):
        """Whether TCP passes from inside to outside."""
        with inside(site.hosts[0]):
            host = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with host:
            host.settimeout(PATIENCE)
            try:
                host.connect((SERVER, PORTS[0]))
            except OSError:
                return False
            accepted, _ = self.listener.accept()
            accepted.close()
            return True

    def hairpin(self, site):
        """Whether two hosts reach each other by their outside addresses, and what the sender then looks like."""
        first = (SERVER, PORTS[0])
        with self.host_socket(site, 0) as one, self.host_socket(site, 1) as other:
            mapping, target = self.mapped(one, first), self.mapped(other, first)
            apart = not reaches(one, other, other.getsockname())
            seen = source(other, one, target)
            return {"hairpins": seen is not None, "from outside address": seen == mapping, "apart": apart}


def udp(address, port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    made.settimeout(PATIENCE)
    return made


def source(receiver, sender, destination):
    """Sends a datagram of its own kind to `destination`; where it came from for the receiver, or None."""
    content = os.urandom(8)
    with contextlib.suppress(OSError):
        sender.sendto(content, destination)
        while True:
            received, address = receiver.recvfrom(100)
            if received == content:
                return address
    return None


def reaches(sender, receiver, destination):
    return source(receiver, sender, destination) is not None


def expected(kind, address):
    if kind.is_udp_blocked:
        return {"udp": "blocked", "tcp": True}
    return {"udp": "passes", "mapping": kind.mapping, "filtering": kind.filtering,
            "keeps port": kind.mapping == ENDPOINT_INDEPENDENT, "address": address, "tcp": True}


WORDS = {"Endpoint Independent": ENDPOINT_INDEPENDENT, "Address Dependent": ADDRESS_DEPENDENT,
         "Address and Port Dependent": ADDRESS_AND_PORT_DEPENDENT}


async def witness(site):
    """What `turnutils_natdiscovery` makes of it: mapping and filtering."""
    found = []
    for option, what in (("-m", "Mapping"), ("-f", "Filtering")):
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", site.hosts[0], "turnutils_natdiscovery", option,
            SERVER, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), 20)
        except asyncio.TimeoutError:
            process.kill()
            return "no answer"
        words = re.findall("NAT with (.*) %s!" % what, out.decode(errors="replace"))
        found.append(WORDS.get(words[-1], words[-1]) if words else "?")
    return " and ".join(found)


def observe_all(internet, namespaces):
    """Sites of every kind, sites with two hosts, and what was observed of each."""
    sites = [Site(internet, namespaces, "k%d" % number, kind) for number, kind in enumerate([NONE, *KINDS])]
    pairs = [Site(internet, namespaces, "p%d" % number, kind, hosts=2, apart=True)
             for number, kind in enumerate([HAIRPINNING, NO_HAIRPINNING])]
    probe = Probe(internet)
    try:
        return sites, pairs, [probe.observe(site) for site in sites], [probe.hairpin(site) for site in pairs]
    finally:
        probe.close()


async def prove(internet):
    """Prints what each kind does; returns how many do not do what they should."""
    wrong = 0
    with Namespaces("probe-") as namespaces:
        sites, pairs, observed, hairpins = await asyncio.to_thread(observe_all, internet, namespaces)
        seen = await asyncio.gather(*(witness(site) for site in sites if not site.kind.is_udp_blocked))
    witnessed = dict(zip((site.kind for site in sites if not site.kind.is_udp_blocked), seen))
    print("%-19s %-13s %-13s %-9s %s" % ("NAT", "mapping", "filtering", "TCP", "turnutils_natdiscovery"))
    for site, result in zip(sites, observed):
        kind, should = site.kind, expected(site.kind, site.address)
        told = witnessed.get(kind, "")
        faults = ["%s is %s, not %s" % (key, result.get(key), value) for key, value in should.items()
                  if result.get(key) != value]
        if told and told != "%s and %s" % (kind.mapping, kind.filtering):
            faults.append("the witness says otherwise")
        wrong += bool(faults)
        print("%-19s %-13s %-13s %-9s %s%s" % (
            kind.name, result.get("mapping", "-"), result.get("filtering", "-"),
            "passes" if result["tcp"] else "blocked", told, "".join("   WRONG: " + fault for fault in faults)))
    for site, result in zip(pairs, hairpins):
        does = site.kind.hairpins
        is_right = result == {"hairpins": does, "from outside address": does, "apart": True}
        wrong += not is_right
        print("%-19s two hosts behind it %s%s" % (
            site.kind.name,
            "reach each other by outside addresses" if result["hairpins"] else "do not reach each other",
            "" if is_right else "   WRONG: %s" % result))
    return wrong
