#!/usr/bin/env python3
"""Opens data channels between `swarm connect` and Pion, in both roles, and checks every byte.

    Interop/pion.py --swarm .build/release/swarm

Debian's Pion (3.1.56, with SCTP 1.8.6) drops an INIT with a parameter that it does not know, such as the one for zero
checksums, where RFC 9260 §3.2.1 has it skipped. Usually its own INIT saves the day; a second build, which waits for ours,
shows that one that offers less follows soon.

Needs golang-go and golang-github-pion-webrtc.v3-dev. Prints one line per case and `N passed, M failed`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cases import SIZES, PeerError, Report, binary_of, check, compare, contents
from connect import SwarmConnect

FOLDER = Path(__file__).resolve().parent
GOPATH = Path("/usr/share/gocode")  # where Debian's packages put the sources of Go libraries
TRANSPORT = GOPATH / "src/github.com/pion/webrtc/sctptransport.go"
PATIENCE = 20  # seconds that any one wait may take
WHOLE_RUN = 300  # seconds until the run is ended from outside
LABEL = "interop — ünïcode"
LARGEST = 262_144
# What Pion says about an INIT that it drops.
REFUSAL = "unhandled ParamType"
# How long a peer that drops our INIT, and sends none, may keep us from opening.
FALLBACK = 1.5


def build(folder, name, replacements):
    """The peer, with some words of Pion's SCTP transport replaced: the source itself stays as it is installed."""
    text = TRANSPORT.read_text()
    for old, new in replacements:
        if old not in text:
            raise PeerError("%s is not the version that is known: no '%s'" % (TRANSPORT, old))
        text = text.replace(old, new)
    changed, overlay, program = folder / (name + ".go"), folder / (name + ".json"), folder / name
    changed.write_text(text)
    overlay.write_text(json.dumps({"Replace": {str(TRANSPORT): str(changed)}}))
    sources = [FOLDER / "pion" / source for source in ("peer.go", "media.go")]
    built = subprocess.run(
        ["go", "build", "-overlay", overlay, "-o", program, *sources], stderr=subprocess.PIPE, text=True,
        env=os.environ | {"GO111MODULE": "off", "GOPATH": str(GOPATH)})
    if built.returncode != 0:
        raise PeerError("peer.go does not build: " + built.stderr.strip())
    return str(program)


class Session:
    """One connection between a Pion and a `swarm connect` process; signalling flows from the start."""

    def __init__(self, run, pion_offers, swarm=(), pion=(), program=None):
        self.ready = threading.Event()
        roles = ["--answer", "--offer"] if pion_offers else ["--offer", "--answer"]
        self.began = time.monotonic()
        self.swarm = SwarmConnect(
            run.swarm, [roles[0], *(() if pion_offers else ("--label", LABEL)), *swarm], on_signal=self.from_swarm,
            trace=run.trace)
        self.pion = SwarmConnect(
            program or run.pion, [roles[1], *(("-label", LABEL) if pion_offers else ()), *pion], on_signal=self.from_pion,
            trace=run.trace)
        self.ready.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pion.close()
        self.swarm.close()

    def from_swarm(self, value):
        self.ready.wait(PATIENCE)
        self.pion.write(value)

    def from_pion(self, value):
        self.ready.wait(PATIENCE)
        # Pion takes longer messages than the 64 KiB that its silence stands for (RFC 8841 §6.1).
        if "sdp" in value and "a=max-message-size:" not in value["sdp"]:
            value["sdp"] += "a=max-message-size:%d\r\n" % LARGEST
        self.swarm.write(value)

    def open(self):
        """- Returns: what Pion says of the channel, and how many seconds after both had started it was open at both."""
        channel = self.pion.expect("open", PATIENCE)
        label = self.swarm.expect("open", PATIENCE)["label"]
        check(label == LABEL and channel["label"] == LABEL, "labels %r and %r" % (label, channel["label"]))
        return channel, time.monotonic() - self.began

    def exchange(self, content):
        for sender, receiver in ((self.pion, self.swarm), (self.swarm, self.pion)):
            send(sender, content)
            compare(receiver.expect("message", PATIENCE), content)

    def ends(self):
        """Both have noticed the end of the channel, and end."""
        for peer in (self.pion, self.swarm):
            peer.expect("closed", PATIENCE)
            peer.end_input()
        for name, peer in (("pion", self.pion), ("swarm", self.swarm)):
            status = peer.exit_status(PATIENCE)
            check(status == 0, "exit status %d of %s%s" % (status, name, peer.last_words()))


def send(peer, content):
    if isinstance(content, str):
        peer.send_text(content)
    else:
        peer.send_binary(content)


# Cases: each function takes the run and the role, and reports through `run.case`.


def messages_each_way(run, pion_offers):
    with Session(run, pion_offers) as session:
        if not run.case("channel opens", session.open):
            return
        for size in SIZES:
            for kind, content in contents(size):
                run.case("%s of %d bytes each way" % (kind, size), lambda: session.exchange(content))
        run.case("pion closes the channel", lambda: (session.pion.write({"close": True}), session.ends()))


def many_in_flight(run, pion_offers):
    """Everything is sent before anything is read, and comes in order."""
    sent = [binary_of(size) for size in [*range(1_100, 1_200), *(50_000 + number for number in range(60))]]
    with Session(run, pion_offers) as session:

        def story():
            session.open()
            for sender, receiver in ((session.pion, session.swarm), (session.swarm, session.pion)):
                for content in sent:
                    send(sender, content)
                for content in sent:
                    compare(receiver.expect("message", PATIENCE), content)

        run.case("3 MB each way, all in flight", story)
        run.case("swarm closes the channel", lambda: (session.swarm.write({"close": True}), session.ends()))


def limited_channels(run, pion_offers):
    kinds = [
        ("unordered", ["unordered"], {"ordered": False}),
        ("unordered, without retransmission", ["unordered", "max-retransmits=0"], {"ordered": False, "maxRetransmits": 0}),
        ("ordered, three retransmissions", ["max-retransmits=3"], {"ordered": True, "maxRetransmits": 3}),
        ("unordered, one second", ["unordered", "max-packet-life-time=1000"],
         {"ordered": False, "maxPacketLifeTime": 1000}),
    ]
    for name, options, wanted in kinds:
        arguments = ["--" + option for option in options]
        if pion_offers:
            session = Session(run, True, pion=arguments)
        else:
            session = Session(run, False, swarm=arguments)
        with session:

            def story():
                channel, _ = session.open()
                for key, value in wanted.items():
                    check(channel.get(key) == value, "%s is %r" % (key, channel.get(key)))
                for content in (b"", b"short", binary_of(100_000)):
                    session.exchange(content)
                session.swarm.write({"close": True})
                session.ends()

            run.case("channel that is %s" % name, story)


def refused_initiation(run, pion_offers):
    """Pion drops our INIT; its own, or one of ours that offers less, leads to the association."""
    for name, program, limit in (("and sends its own", run.pion, PATIENCE), ("and sends none", run.waiting, None)):
        with Session(run, pion_offers, program=program) as session:

            def story():
                _, took = session.open()
                session.exchange(binary_of(100_000))
                refused = REFUSAL in bytes(session.pion.stderr).decode(errors="replace")
                check(refused or program == run.pion, "Pion has not refused our INIT, so that nothing is shown")
                run.times.append((run.role + ", " + name, took))
                run.note("open after %.0f ms; INIT of ours refused: %s" % (took * 1000, "yes" if refused else "no"))
                check(limit or took <= run.usual + FALLBACK, "%.0f ms to open" % (took * 1000))
                run.usual = took if program == run.pion else run.usual

            run.case("a Pion that drops our INIT, " + name, story)


SCENARIOS = [refused_initiation, messages_each_way, many_in_flight, limited_channels]


class Run(Report):
    def __init__(self, options):
        super().__init__("pion", options.verbose)
        self.swarm = os.path.abspath(options.swarm)
        self.only = options.only
        self.times = []
        self.usual = 0.0  # seconds that opening takes when nothing is in the way

    def all(self, folder):
        # A message beyond 64 KiB is refused by Pion's sender, which takes its limit from here only.
        longer = ("NetConn:", "MaxMessageSize: %d,\n\t\tNetConn:" % LARGEST)
        self.pion = build(folder, "pion", [longer])
        self.waiting = build(folder, "waiting", [longer, ("sctp.Client(", "sctp.Server(")])
        for pion_offers in (True, False):
            self.role = "offers" if pion_offers else "answers"
            for scenario in SCENARIOS:
                if self.only in scenario.__name__:
                    scenario(self, pion_offers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--swarm", required=True, metavar="PATH", help="the command to test")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios with this in their name: "
                        + ", ".join(scenario.__name__ for scenario in SCENARIOS))
    parser.add_argument("--verbose", action="store_true", help="print every line that passes")
    options = parser.parse_args()
    if not os.access(options.swarm, os.X_OK):
        parser.error("%s cannot be run" % options.swarm)
    if not shutil.which("go") or not TRANSPORT.exists():
        parser.error("needs golang-go and golang-github-pion-webrtc.v3-dev: Scripts/setup installs them")

    os.environ["PION_LOG_WARN"] = "sctp"
    run = Run(options)
    with tempfile.TemporaryDirectory(prefix="interop-pion-") as folder:
        return run.within(WHOLE_RUN, lambda: run.all(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
