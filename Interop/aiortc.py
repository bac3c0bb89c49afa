#!/usr/bin/env python3
"""Opens data channels between `swarm connect` and aiortc, in both roles and over every kind of path.

    Interop/aiortc.py --swarm .build/release/swarm [--only TEXT]

The two are in network namespaces: on one network, behind NATs so that only server-reflexive addresses lead to the
other, or with a relay of coturn's at one end or at both. Without root only the first is tried, on this machine's own
addresses. Scripts/python-peers installs aiortc. Prints one line per case and `N passed, M failed`.
"""

import argparse
import asyncio
import base64
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "Scripts"), str(ROOT / "Interop")]
sys.dont_write_bytecode = True

from coturn import Coturn, CoturnError
from natlab import network
from natlab.matrix import STUN, TURN, TURN_TCP
from natlab.peers import Peer, opened, pair_of, start_both

PATIENCE = 20  # seconds that any one wait may take
SIZES = [1, 2, 1000, 1_188, 1_189, 16_384, 65_536, 262_144]
NONE = ["none"]  # swarm asks public servers when it is told of none
RELAY = ("--policy", "relay")


@dataclass
class Way:
    """Where the two are, what each is told, and what kind of candidate must then carry the bytes."""

    name: str
    kinds: tuple
    servers: tuple  # of swarm, of aiortc
    arguments: tuple = ((), ())
    must_have: str = ""


WAYS = [
    Way("host", (network.NONE, network.NONE), (NONE, ()), must_have="host"),
    Way("reflexive", (network.PORT_RESTRICTED, network.PORT_RESTRICTED), ([STUN], [STUN]), must_have="srflx"),
    Way("peer-reflexive", (network.SYMMETRIC, network.FULL_CONE), ([STUN], [STUN])),
    Way("our relay", (network.NONE, network.NONE), ([TURN], ()), (RELAY, ()), "relay"),
    Way("our relay, TCP", (network.UDP_BLOCKED, network.NONE), ([TURN_TCP], ()), (RELAY, ()), "relay"),
    Way("their relay", (network.NONE, network.UDP_BLOCKED), (NONE, [TURN_TCP]), ((), RELAY), "relay"),
    Way("two relays", (network.SYMMETRIC, network.SYMMETRIC), ([TURN], [TURN]), (RELAY, RELAY), "relay"),
]


class Mismatch(Exception):
    """The other side has something else than was sent, or nothing at all."""


async def received(process, what):
    try:
        return await asyncio.wait_for(process.messages.get(), PATIENCE)
    except asyncio.TimeoutError:
        raise Mismatch("no %s within %d s" % (what, PATIENCE)) from None


async def echo(sender):
    """Sends text and bytes to whoever sends them back."""
    for size in SIZES:
        content = random.Random(size).randbytes(size)
        sender.say(sendBase64=base64.b64encode(content).decode())
        answer = await received(sender, "echo of %d bytes" % size)
        if base64.b64decode(answer.get("base64", "")) != content:
            raise Mismatch("the echo of %d bytes has others" % size)
        text = ("a\u00e9\u6c34\U0001f600\"\\\n" * size)[:size // 3 + 1]
        sender.say(send=text)
        if (await received(sender, "echo of text")).get("text") != text:
            raise Mismatch("the echo of a text of %d characters is another" % len(text))


async def case(internet, peers, way, swarm_offers, swarm_echoes):
    """The pair that swarm reports, and the milliseconds until both were open."""
    order = (0, 1) if swarm_offers else (1, 0)
    arguments = [list(way.arguments[index]) for index in range(2)]
    arguments[0 if swarm_echoes else 1].append("--echo")
    with network.Namespaces("aiortc-") as namespaces:
        hosts = [internet and network.Site(internet, namespaces, name, kind, number).hosts[0]
                 for name, kind, number in zip("sa", way.kinds, (1, 2))]
        both = await start_both(
            *([items[index] for index in order] for items in (hosts, peers, arguments)),
            servers=[way.servers[index] for index in order])
        swarm, aiortc = both if swarm_offers else reversed(both)
        try:
            if not await opened(both, PATIENCE):
                raise Mismatch("does not open")
            took = time.monotonic() - both[0].first_signal
            await pair_of(swarm)
            if way.must_have and way.must_have not in swarm.pair:
                raise Mismatch("the pair is %s-%s, and should have %s" % (*swarm.pair, way.must_have))
            await echo(aiortc if swarm_echoes else swarm)
        except Mismatch as error:
            raise Mismatch("%s (%s; %s)" % (error, swarm.complaint(), aiortc.complaint())) from None
        finally:
            await asyncio.gather(*(process.end() for process in both))
        return "%s-%s, %.0f ms" % (*swarm.pair, took * 1000)


async def all_cases(internet, peers, only):
    """Without an Internet of namespaces only what needs none."""
    passed = failed = 0
    for way in WAYS if internet else WAYS[:1]:
        for swarm_offers in (True, False):
            for swarm_echoes in (True, False):
                name = "%s: swarm %s and %s" % (
                    way.name, "offers" if swarm_offers else "answers", "echoes" if swarm_echoes else "sends")
                if only not in name:
                    continue
                try:
                    outcome = await case(internet, peers, way, swarm_offers, swarm_echoes)
                    print("ok    aiortc %s (%s)" % (name, outcome), flush=True)
                    passed += 1
                except Mismatch as mismatch:
                    print("FAIL  aiortc %s: %s" % (name, mismatch), flush=True)
                    failed += 1
    print("%d passed, %d failed" % (passed, failed))
    return 0 if passed and not failed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--swarm", required=True, metavar="PATH", help="the command to test")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their name")
    options = parser.parse_args()
    if not os.access(options.swarm, os.X_OK):
        parser.error("%s cannot be run" % options.swarm)
    installed = subprocess.run([ROOT / "Scripts" / "python-peers"], check=True, stdout=subprocess.PIPE, text=True)
    python = installed.stdout.strip()
    peers = [Peer("swarm", [os.path.abspath(options.swarm), "connect"]),
             Peer("aiortc", [python, str(ROOT / "Interop" / "python" / "aiortc_peer.py")])]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    if os.geteuid() != 0:
        print("aiortc: network namespaces need root; NATs and relays are left out", flush=True)
        return asyncio.run(all_cases(None, peers, options.only))
    network.remove_leftovers()
    try:
        with network.Internet() as internet, Coturn(
                [network.SERVER], ["ip", "netns", "exec", internet.namespace]):
            return asyncio.run(all_cases(internet, peers, options.only))
    except (network.Refused, CoturnError) as error:
        sys.exit("aiortc: %s" % error)


if __name__ == "__main__":
    sys.exit(main())
