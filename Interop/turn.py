#!/usr/bin/env python3
"""Two `swarm connect` that reach each other only through coturn, over UDP, TCP, TLS and DTLS.

    Interop/turn.py --swarm .build/release/swarm [--megabytes N] [--only TEXT]

Everything is on loopback and needs no rights. A channel must open within a second of the offer, the pair must be a
relayed one, what arrives must be what was sent, and over UDP at 100 Mbit/s or more. Prints one line per case and `N
passed, M failed`.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "Scripts"), str(ROOT / "Interop")]
sys.dont_write_bytecode = True

from coturn import PASSWORD, SECRET, USER, Coturn, CoturnError
from natlab.peers import Peer, opened, pair_of, start_both

PATIENCE = 20  # seconds that any one wait may take
FORBIDDEN_PATIENCE = 5  # seconds after which what has not opened never will
LONGEST_OPENING = 1.0  # seconds from the offer to open channels
LEAST_RATE = 100  # Mbit/s, over UDP
ADDRESS, NAME = "127.0.0.1", "localhost"


class Mismatch(Exception):
    """Not what should have happened."""


@dataclass
class Case:
    name: str
    servers: list
    policy: str = "relay"
    least_rate: float = 0
    must_fail: bool = False
    pair: str = "relay"


def free_port():
    """A port that nobody listens on; and the next one neither, which coturn takes as well."""
    while True:
        with socket.create_server((ADDRESS, 0)) as one:
            port = one.getsockname()[1]
            try:
                socket.create_server((ADDRESS, port + 1)).close()
                return port
            except OSError:
                continue


def temporary_credentials():
    """A name that says when it ends, and its password (draft-uberti-behave-turn-rest)."""
    user = "%d:somebody" % (time.time() + 600)
    return user, base64.b64encode(hmac.digest(SECRET.encode(), user.encode(), hashlib.sha1)).decode()


def cases(port, tls_port, rest_port):
    def turn(url, user=USER, password=PASSWORD):
        return "%s,%s,%s" % (url, user, password)

    udp = turn("turn:%s:%d" % (ADDRESS, port))
    return [
        Case("UDP", [udp], least_rate=LEAST_RATE),
        Case("TCP", [turn("turn:%s:%d?transport=tcp" % (ADDRESS, port))]),
        Case("TLS", [turn("turns:%s:%d?transport=tcp" % (NAME, tls_port))]),
        Case("DTLS", [turn("turns:%s:%d?transport=udp" % (NAME, tls_port))]),
        Case("UDP, server by name", [turn("turn:%s:%d" % (NAME, port))]),
        Case("time-limited credentials", [turn("turn:%s:%d" % (ADDRESS, rest_port), *temporary_credentials())]),
        Case("a wrong password", [turn("turn:%s:%d" % (ADDRESS, port), password="wrong")], must_fail=True),
        Case("a server that is not there, and one that is", [turn("turn:%s:9" % ADDRESS), udp]),
        # 192.0.2.1 is for documentation (RFC 5737): nobody answers, and nobody says that nobody is there.
        Case("servers that do not answer, without need", [
            "stun:192.0.2.1", turn("turn:192.0.2.1"), turn("turn:192.0.2.1?transport=tcp")], policy="all", pair="host"),
    ]


async def run(case, peer, megabytes):
    arguments = ["--policy", case.policy]
    sender, receiver = await start_both(
        (None, None), (peer, peer), (arguments, [*arguments, "--digest"]), servers=(case.servers, case.servers))
    ends = {}
    heard = asyncio.Event()

    def on_event(event, value):
        if event in ("sent", "digest"):
            ends[event] = value
            heard.set()

    sender.on_event = receiver.on_event = on_event
    try:
        is_open = await opened((sender, receiver), FORBIDDEN_PATIENCE if case.must_fail else PATIENCE)
        began = time.monotonic()
        if is_open == case.must_fail:
            raise Mismatch("it opens" if is_open else "does not open")
        if case.must_fail:
            return "does not open"
        took = began - sender.first_signal
        if took > LONGEST_OPENING:
            raise Mismatch("open after %.0f ms" % (1000 * took))
        if case.pair not in await pair_of(sender):
            raise Mismatch("the pair is %s-%s" % sender.pair)
        sender.say(sendBytes=megabytes * 1_000_000)
        while "sent" not in ends:
            heard.clear()
            await asyncio.wait_for(heard.wait(), PATIENCE + megabytes)
        sender.say(send="that was all")
        while "digest" not in ends:
            heard.clear()
            await asyncio.wait_for(heard.wait(), PATIENCE)
        rate = megabytes * 8 / (time.monotonic() - began)
        if ends["sent"]["sha256"] != ends["digest"]["sha256"]:
            raise Mismatch("something else arrived")
        if rate < case.least_rate:
            raise Mismatch("%.0f Mbit/s, less than %d" % (rate, case.least_rate))
        return "%s-%s, open after %.0f ms, %.0f Mbit/s" % (*sender.pair, 1000 * took, rate)
    except (asyncio.TimeoutError, Mismatch) as error:
        raise Mismatch("%s (%s; %s)" % (
            str(error) or "waited in vain", sender.complaint(), receiver.complaint())) from None
    finally:
        await asyncio.gather(sender.end(), receiver.end())


async def run_all(all_cases, peer, options):
    passed = failed = 0
    for case in all_cases:
        if options.only not in case.name:
            continue
        try:
            print("ok    coturn %s: %s" % (case.name, await run(case, peer, options.megabytes)), flush=True)
            passed += 1
        except Mismatch as mismatch:
            print("FAIL  coturn %s: %s" % (case.name, mismatch), flush=True)
            failed += 1
    print("%d passed, %d failed" % (passed, failed))
    return 0 if passed and not failed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--swarm", required=True, metavar="PATH", help="the command to test")
    parser.add_argument("--megabytes", type=int, default=64, help="how much goes through each relay")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their name")
    options = parser.parse_args()
    if not os.access(options.swarm, os.X_OK):
        parser.error("%s cannot be run" % options.swarm)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    port, tls_port, rest_port, rest_tls_port = (free_port() for _ in range(4))
    try:
        with Coturn([ADDRESS], port=port, tls_port=tls_port, names=[NAME]) as coturn, Coturn(
                [ADDRESS], port=rest_port, tls_port=rest_tls_port, is_rest=True):
            peer = Peer("swarm", [
                "env", "SSL_CERT_FILE=" + coturn.authority, os.path.abspath(options.swarm), "connect"])
            return asyncio.run(run_all(cases(port, tls_port, rest_port), peer, options))
    except CoturnError as error:
        sys.exit("turn: %s" % error)


if __name__ == "__main__":
    sys.exit(main())
