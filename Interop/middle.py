"""A way between two peers of which each knows only this end: it counts what passes, and may lose some of it.

Signalling goes through the driver, which replaces the candidates: each peer is told of one, a socket of ours on the
loopback. Neither needs to know, and no network has to be set up.
"""

import random
import select
import socket
import threading
from collections import Counter

CLIENT_HELLO = 1
HANDSHAKE_RECORD = 22


def kind_of(datagram):
    """What a datagram is, by its first byte (RFC 7983 §7) and, of media, the second (RFC 5761 §4)."""
    first = datagram[0] if datagram else 255
    if first < 4:
        return "STUN"
    if 20 <= first < 64:
        return "DTLS"
    if 128 <= first < 192 and len(datagram) > 1:
        return "RTCP" if 192 <= datagram[1] < 224 else "RTP"
    return "other"


def has_client_hello(datagram):
    """Whether a handshake record that is not encrypted carries a ClientHello, or a fragment of one."""
    return (len(datagram) > 13 and datagram[0] == HANDSHAKE_RECORD and datagram[3:5] == b"\0\0"
            and datagram[13] == CLIENT_HELLO)


def fragments_of(datagram):
    """The lengths of a handshake message and of what a datagram has of it, which may be several records."""
    total = int.from_bytes(datagram[14:17], "big")
    at = has = 0
    first = int.from_bytes(datagram[19:22], "big")
    while at + 25 <= len(datagram) and datagram[at] == HANDSHAKE_RECORD:
        has += int.from_bytes(datagram[at + 22:at + 25], "big")
        at += 13 + int.from_bytes(datagram[at + 11:at + 13], "big")
    return total, first, has


def is_usable(line):
    """Whether it is a candidate over UDP and IPv4."""
    words = line.split()
    return "candidate:" in line and len(words) > 7 and words[2].lower() == "udp" and words[4].count(".") == 3 and (
        words[7] == "host" and not words[4].endswith(".local"))


class Side:
    """The socket that one peer takes for the other."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.peer = None  # where the peer really is
        self.passed, self.lost = Counter(), Counter()
        self.hellos = []  # the length of a ClientHello, and the range of it that a datagram has

    def hello_datagrams(self):
        """The length of the first ClientHello, and in how many datagrams it came."""
        length, count, seen = self.hellos[0][0], 0, 0
        for total, first, has in self.hellos:
            if total != length or first != seen:
                break
            count, seen = count + 1, seen + has
        return length, count

    def candidate(self):
        return "candidate:1 1 udp 2130706431 127.0.0.1 %d typ host" % self.port


class Middle:
    """`loss` of the datagrams of the kinds in `lossy` go no further, whichever way they go."""

    def __init__(self, names, loss=0.0, lossy=("RTP", "RTCP"), seed=1):
        self.sides = {name: Side(name) for name in names}
        self.loss, self.lossy = loss, lossy
        self.random = random.Random(seed)
        self.told = set()
        self.wake, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.waker.send(b"x")
        self.thread.join()
        for one in (self.wake, self.waker, *(side.socket for side in self.sides.values())):
            one.close()

    def other(self, side):
        return next(other for other in self.sides.values() if other is not side)

    def alter(self, sender, value):
        """- Returns: what the other peer is told instead of a line of `sender`'s signalling."""
        side = self.sides[sender]
        if "type" in value:
            kept = []
            for line in value["sdp"].split("\r\n"):
                if line.startswith("a=candidate:"):
                    self.learn(side, line, "127.0.0.1")
                elif not line.startswith(("a=end-of-candidates", "a=ice-options:renomination")):
                    kept.append(line)
            self.learn(side, next((line for line in value["sdp"].split("\r\n") if is_usable(line)), ""))
            told = [{**value, "sdp": "\r\n".join(kept)}]
        else:
            self.learn(side, value["candidate"], "127.0.0.1")
            told = []
        if side.peer and sender not in self.told:
            self.told.add(sender)
            told.append({"candidate": self.other(side).candidate(), "sdpMid": value.get("sdpMid", "0"),
                         "sdpMLineIndex": 0})
        return told

    def learn(self, side, line, address=""):
        """Takes the first candidate, on the loopback when there is one there, for where the peer is."""
        if side.peer is None and is_usable(line):
            _, _, _, _, host, port = line.split()[:6]
            if host == (address or host):
                side.peer = (host, int(port))

    def carry(self):
        by_socket = {side.socket: side for side in self.sides.values()}
        while True:
            readable, _, _ = select.select([self.wake, *by_socket], [], [])
            if self.wake in readable:
                return
            for one in readable:
                side = by_socket[one]
                try:
                    datagram, source = one.recvfrom(1 << 16)
                except ConnectionError:
                    continue  # an earlier datagram found nobody
                if source == side.peer:
                    self.forward(side, datagram)

    def forward(self, side, datagram):
        kind = kind_of(datagram)
        if has_client_hello(datagram):
            side.hellos.append(fragments_of(datagram))
        if kind in self.lossy and self.random.random() < self.loss:
            side.lost[kind] += 1
            return
        other = self.other(side)
        if other.peer:
            side.passed[kind] += 1
            try:
                other.socket.sendto(datagram, other.peer)
            except ConnectionError:
                pass  # an earlier datagram found nobody
