"""The matrix: every kind of NAT against every kind, two peers in each cell, connected or not and how."""

import asyncio
import time
from dataclasses import dataclass, field

from coturn import PASSWORD, PORT, USER
from natlab.network import (
    FULL_CONE, HAIRPINNING, KINDS, NO_HAIRPINNING, NONE, PORT_RESTRICTED, SERVER, SYMMETRIC, Kind, Namespaces, Site,
    can_connect_directly)
from natlab.peers import opened, pair_of, start_both

STUN = "stun:%s:%d" % (SERVER, PORT)
TURN = "turn:%s:%d,%s,%s" % (SERVER, PORT, USER, PASSWORD)
TURN_TCP = "turn:%s:%d?transport=tcp,%s,%s" % (SERVER, PORT, USER, PASSWORD)


@dataclass
class Cell:
    """Two peers, and what theory says of them."""

    a: Kind
    b: Kind
    with_turn: bool
    name: str = ""
    networks: tuple = (1, 2)
    shares_nat: bool = False
    apart: bool = False
    direct: bool = None
    is_patient: bool = False
    outcome: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.direct is None:
            self.direct = can_connect_directly(self.a, self.b)

    @property
    def must_connect(self):
        return self.direct or self.with_turn

    @property
    def title(self):
        return self.name or "%s and %s" % (self.a.name, self.b.name)

    @property
    def fault(self):
        """Why the outcome is not what theory says, or nothing."""
        pair, reason = self.outcome.get("pair"), self.outcome.get("reason", "")
        if pair is None:
            return reason if self.must_connect or self.outcome.get("is_broken") else ""
        if not self.must_connect:
            return "connected by %s, though theory forbids it" % "-".join(pair)
        if not self.direct and "relay" not in pair:
            return "connected by %s, though only a relay should do" % "-".join(pair)
        return ""


def cells(with_turn):
    return [Cell(a, b, with_turn) for a in KINDS for b in KINDS]


def further_cells(with_turn):
    return [
        Cell(NONE, NONE, with_turn),
        Cell(NONE, SYMMETRIC, with_turn),
        Cell(SYMMETRIC, NONE, with_turn),
        Cell(FULL_CONE, PORT_RESTRICTED, with_turn, "the same private address at both ends", networks=(1, 1)),
        Cell(SYMMETRIC, SYMMETRIC, with_turn, "one network, behind a symmetric NAT", shares_nat=True, direct=True),
        Cell(HAIRPINNING, HAIRPINNING, with_turn, "hosts kept apart, hairpinning NAT", shares_nat=True, apart=True,
             direct=True),
        Cell(NO_HAIRPINNING, NO_HAIRPINNING, with_turn, "hosts kept apart, no hairpinning", shares_nat=True, apart=True,
             direct=False),
    ]


async def story(a, b, patience, better=lambda pair: True):
    """Both channels open and a message goes each way; the pair as `a` sees it, and the milliseconds it took."""

    is_open = await opened((a, b), patience)
    opened_at = time.monotonic()
    if not is_open:
        # A peer may wait, or say that it has failed; it may not just end.
        is_broken = any(process.over.is_set() and not process.reason for process in (a, b))
        return {"reason": "%s; %s" % (a.complaint(), b.complaint()), "is_broken": is_broken}
    for sender, receiver in ((a, b), (b, a)):
        text = "from %s to %s" % (id(sender), id(receiver))
        sender.say(send=text)
        try:
            received = await asyncio.wait_for(receiver.messages.get(), patience)
        except asyncio.TimeoutError:
            return {"reason": "open, but a message does not arrive", "is_broken": True}
        if received.get("text") != text:
            return {"reason": "open, but something else arrives: %r" % received, "is_broken": True}
    return {"pair": await pair_of(a, better), "ms": 1000 * (opened_at - a.first_signal)}


class Matrix:
    """Runs cells side by side, each in namespaces of its own."""

    def __init__(self, internet, offering, answering, at_once, patience, forbidden_patience):
        self.internet, self.peers = internet, (offering, answering)
        self.patience, self.forbidden_patience = patience, forbidden_patience
        self.places = asyncio.Semaphore(at_once)
        self.numbers = 0

    def servers(self, peer, kind, with_turn):
        if not with_turn:
            return [STUN]
        if not peer.has_one_relay:
            return [STUN, TURN, TURN_TCP]
        return [TURN_TCP] if kind.is_udp_blocked else [STUN, TURN]

    async def run(self, cells):
        await asyncio.gather(*(self.run_cell(cell) for cell in cells))

    async def run_cell(self, cell):
        async with self.places:
            self.numbers += 1
            with Namespaces("%d-" % self.numbers) as namespaces:
                hosts = await asyncio.to_thread(self.build, namespaces, cell)
                both = await start_both(hosts, self.peers, ((), ()), [
                    self.servers(peer, kind, cell.with_turn) for peer, kind in zip(self.peers, (cell.a, cell.b))])
                cell.is_patient = all(peer.is_patient for peer in self.peers)
                try:
                    # A relay may carry the first bytes where a direct way takes longer to find.
                    waits = cell.direct and cell.is_patient
                    cell.outcome = await story(
                        *both, self.patience if cell.must_connect else self.forbidden_patience,
                        lambda pair: not waits or "relay" not in pair)
                finally:
                    await asyncio.gather(*(process.end() for process in both))

    def build(self, namespaces, cell):
        """The two hosts' namespaces."""
        if cell.shares_nat:
            return Site(self.internet, namespaces, "", cell.a, hosts=2, apart=cell.apart).hosts
        return [Site(self.internet, namespaces, name, kind, network).hosts[0]
                for name, kind, network in zip("ab", (cell.a, cell.b), cell.networks)]


def text_of(cell):
    pair = cell.outcome.get("pair")
    text = "%s-%s %.0f" % (*pair, cell.outcome["ms"]) if pair else "-"
    return "!" + text if cell.fault else text


def show(title, matrix, further):
    print("\n%s; rows offer, columns answer; the offerer's pair and ms until the channel was open" % title)
    print("%-20s%s" % ("", "".join("%-19s" % kind.name for kind in KINDS)))
    for kind in KINDS:
        row = [cell for cell in matrix if cell.a is kind]
        print(("%-20s%s" % (kind.name, "".join("%-19s" % text_of(cell) for cell in row))).rstrip())
    for cell in further:
        print("%-58s %s" % (cell.title, text_of(cell)))
    print(summary(matrix + further), flush=True)


def summary(cells):
    connected = [cell for cell in cells if cell.outcome.get("pair")]
    relayed = [cell for cell in connected if "relay" in cell.outcome["pair"]]
    faults = [cell for cell in cells if cell.fault]
    needless = [cell for cell in relayed if cell.direct]
    lines = ["%d of %d connected, %d of these through a relay; %d as theory says" % (
        len(connected), len(cells), len(relayed), len(cells) - len(faults))]
    if needless:  # no fault: on a slow machine the direct way may come to work too late
        lines.append("relayed without need: " + "; ".join(cell.title for cell in needless))
    return "\n".join(lines + ["FAILED  %s: %s" % (cell.title, cell.fault) for cell in faults])
