#!/usr/bin/env python3
"""Sends audio and video of Pion, aiortc and GStreamer to `swarm connect --media echo`, and checks what returns.

    Interop/media_peers.py --swarm .build/release/swarm [--only TEXT]

Pion sends packets with numbered contents, each of which is to come back byte for byte; aiortc sends pictures that carry
a number, of which 95 in 100 are to be decoded; of GStreamer's pictures and sound as much is to be decoded. Each of them
offers and answers. A data channel works beside, except where it is left out. The way between the two may lose one
datagram in twenty (middle.py).

Needs golang-go, golang-github-pion-webrtc.v3-dev and what Interop/gstreamer/media.py names; Scripts/python-peers
installs aiortc. Prints one line per case and `N passed, M failed`. To try out the drivers themselves, give as `--swarm`
a Pion that echoes (Interop/pion/media.go).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cases import PeerError, Report, binary_of, check, compare
from connect import SwarmConnect
from middle import Middle
from pion import build

FOLDER = Path(__file__).resolve().parent
PATIENCE = 20  # seconds that any one wait may take
WHOLE_RUN = 300  # seconds until the run is ended from outside
ENOUGH = 0.95  # of the pictures sent, decoded
LOSS = 0.05
BETWEEN_MESSAGES = 0.02
LASTING = 10  # seconds of the long cases
SHORT = 3
BOTH = ("audio", "video")


class Session:
    """One connection between a peer and `swarm connect --media echo --echo`; signalling flows from the start."""

    def __init__(self, run, peer, peer_offers, swarm=(), arguments=(), middle=None):
        self.ready = threading.Event()
        self.middle = middle
        self.peer_name = peer
        roles = ["--answer", "--offer"] if peer_offers else ["--offer", "--answer"]
        self.swarm = SwarmConnect(
            run.swarm, [roles[0], "--echo", "--media", "echo", *swarm],
            on_signal=lambda value: self.pass_on("swarm", value), trace=run.trace)
        self.peer = SwarmConnect(
            run.programs[peer], [roles[1], "--media", "send", *arguments],
            on_signal=lambda value: self.pass_on(peer, value), trace=run.trace, name=peer)
        self.ready.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()
        self.swarm.close()

    def pass_on(self, sender, value):
        self.ready.wait(PATIENCE)
        receiver = self.peer if sender == "swarm" else self.swarm
        for line in self.middle.alter(sender, value) if self.middle else [value]:
            receiver.write(line)

    def reports(self, kinds, patience, with_channel=True):
        """Sends a message whenever the last one is back, until the peer has told what became of its tracks.

        - Returns: what it told, by kind, and the number of messages that came back meanwhile.
        """
        reports, echoes, sent = {}, 0, None
        ends = time.monotonic() + patience
        while len(reports) < len(kinds) or (with_channel and echoes == 0):
            event = self.peer.next_event(max(0.1, ends - time.monotonic()))
            name = event["event"]
            if name == "media":
                reports[event["kind"]] = event
            elif name in ("failed", "error", "closed"):
                raise PeerError("%s: %s" % (self.peer_name, event))
            elif name == "message":
                compare(event, sent)
                echoes += 1
                time.sleep(BETWEEN_MESSAGES)
            if name in ("open", "message"):
                sent = binary_of(1 + echoes % 50 * 40)
                self.peer.send_binary(sent)
        return reports, echoes

    def swarm_ends(self, run, kinds):
        """What swarm says about each section, and it ends with its input."""
        self.swarm.write({"stats": True})
        reports = {}
        while len(reports) < len(kinds):
            event = self.swarm.next_event(PATIENCE)
            if event["event"] == "media":
                reports[event["kind"]] = event
        run.trace("reports", reports)
        self.swarm.end_input()
        status = self.swarm.exit_status(PATIENCE)
        check(status == 0, "exit status %d%s" % (status, self.swarm.last_words()))
        return reports


def plain(report):
    return ", ".join("%s %s" % pair for pair in report.items() if pair[0] not in ("event", "kind", "mid", "cname"))


# Pion


def pion_media(run, name, pion_offers, kinds=BOTH, loss=0.0, with_channel=True, seconds=SHORT, profile=""):
    arguments = ["-packets", str(400 * seconds), "-lasting", "%ds" % seconds, "-media-kinds", ",".join(kinds)]
    swarm = []
    if profile:
        arguments += ["-profile", profile]
    if not pion_offers:
        swarm += ["--media-kinds", ",".join(kinds)]
    if not with_channel:
        (arguments if pion_offers else swarm).append("-no-channel" if pion_offers else "--no-channel")
    with Middle(["swarm", "pion"], loss=loss) as middle, Session(
            run, "pion", pion_offers, swarm, arguments, middle if loss else None) as session:

        def story():
            reports, echoes = session.reports(kinds, PATIENCE + seconds, with_channel)
            for kind in kinds:
                report = reports[kind]
                run.note("%s: %s; %d messages beside" % (kind, plain(report), echoes))
                check(report["damaged"] == 0, "%d packets of %s are damaged" % (report["damaged"], kind))
                check(report["codec"].lower() == {"audio": "audio/opus", "video": "video/vp8"}[kind], report["codec"])
                check(report["receiverReports"] > 0, "no receiver report about the %s sent" % kind)
                check(report["senderReports"] > 0, "no sender report about the %s returned" % kind)
                if loss == 0:
                    check(report["received"] == report["sent"], "%(received)d of %(sent)d" % report)
                    check(report["repeated"] == report["late"] == 0, "%(repeated)d twice, %(late)d late" % report)
                if kind == "video":
                    check(report["received"] >= ENOUGH * report["sent"], "%(received)d of %(sent)d" % report)
                    check(report["keyframeRequests"] > 0, "of %(asked)d requests for a keyframe none came" % report)
                    check(loss == 0 or report["nacks"] > 0, "no NACK for packets that were lost")
            if loss:
                check(all(side.lost["RTP"] for side in middle.sides.values()), "nothing was lost")
            if with_channel:
                check(echoes > 10 * seconds, "%d messages came back" % echoes)
            for kind, own in session.swarm_ends(run, kinds).items():
                numbers = [own[name] for name in ("received", "lost", "sent")]
                if loss == 0:
                    check(numbers == [reports[kind]["sent"], 0, reports[kind]["sent"]], "swarm counts %s" % own)
                else:
                    check(own["retransmitted"] > 0 and own["nacks"] > 0, "swarm counts %s" % own)

        run.case(name, story)


def pion_numbered_packets(run, offers):
    pion_media(run, "every byte of 1,200 packets of each kind returns, messages beside", offers)


def pion_loss(run, offers):
    pion_media(run, "5 % of the packets lost each way, and sent again", offers, kinds=("video",), loss=LOSS)


def pion_parts(run, offers):
    pion_media(run, "audio alone, without a data channel", offers, kinds=("audio",), with_channel=False, seconds=1)
    profile = "AES128_CM_HMAC_SHA1_80" if offers else "AEAD_AES_128_GCM"
    pion_media(run, "SRTP by " + profile, offers, profile=profile, seconds=1)


# aiortc


def returned(report, loss):
    """Of how many, those in aiortc's jitter buffer left out: it lets one picture go for each packet that comes, so that
    it keeps, to the end, what has gathered while it waited for a lost one."""
    held_back = 4 if report["kind"] == "audio" else min(1 if loss == 0 else 30, report["sent"] - report["last"] - 1)
    return report["received"] / (report["sent"] - held_back)


def aiortc_media(run, name, aiortc_offers, *arguments, seconds=SHORT, loss=0.0, codec="VP8", profile=""):
    arguments = [*arguments, "--lasting", str(seconds), "--codec", codec]
    if profile:
        arguments += ["--profile", profile]
    with Middle(["swarm", "aiortc"], loss=loss) as middle, Session(
            run, "aiortc", aiortc_offers, (), arguments, middle if loss else None) as session:

        def story():
            reports, echoes = session.reports(BOTH, PATIENCE + seconds)
            for kind in BOTH:
                report = reports[kind]
                run.note("%s: %s; %d messages beside" % (kind, plain(report), echoes))
                if kind == "video" or loss == 0:
                    check(returned(report, loss) >= ENOUGH, "%(kind)s: %(received)d of %(sent)d" % report)
                check(not profile or report["profile"] == profile, "SRTP by " + report["profile"])
                check(report["reports"] > 0, "no report about the %s sent" % kind)
            video = reports["video"]
            check(video["sent"] >= ENOUGH * 30 * seconds, "%(sent)d pictures sent" % video)
            check(video["damaged"] <= (1 - ENOUGH) * video["sent"], "%(damaged)d pictures damaged" % video)
            check(video["late"] == 0, "%(late)d pictures late" % video)
            check(reports["audio"]["loudness"] > 4_000, "the tone returns with %(loudness)d" % video)
            check(echoes > 10 * seconds, "%d messages came back" % echoes)
            session.swarm_ends(run, BOTH)

        run.case(name, story)


def aiortc_pictures(run, offers):
    aiortc_media(run, "95 % of numbered pictures over 10 s return, a tone and messages beside", offers, seconds=LASTING)


def aiortc_loss(run, offers):
    aiortc_media(run, "5 % of the packets lost each way, and sent again", offers, loss=LOSS, seconds=SHORT)


def aiortc_profiles(run, offers):
    if offers:
        for profile in ("SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"):
            aiortc_media(run, "SRTP by " + profile[5:], offers, profile=profile, seconds=1)
    else:
        aiortc_media(run, "SRTP by AEAD_AES_128_GCM, and H264", offers, codec="H264", profile="SRTP_AEAD_AES_128_GCM",
                     seconds=1)


# GStreamer


def gstreamer_media(run, offers):
    with Session(run, "gstreamer", offers, (), ["--lasting", str(SHORT)]) as session:

        def story():
            reports, echoes = session.reports(BOTH, PATIENCE + SHORT)
            for kind, report in reports.items():
                run.note("%s: %s; %d messages beside" % (kind, plain(report), echoes))
                since = report["sent"] - report["firstAt"]
                check(since >= ENOUGH * SHORT * 30 and report["received"] >= ENOUGH * since,
                      "%s: %d of %d" % (kind, report["received"], since))
            check(reports["video"]["keyframeRequests"] > 0, "of three requests for a keyframe none came")
            check(echoes > 10 * SHORT, "%d messages came back" % echoes)
            session.swarm_ends(run, BOTH)

        run.case("95 % of the pictures return and are decoded, a tone and messages beside", story)


SCENARIOS = {
    "pion": [pion_numbered_packets, pion_loss, pion_parts],
    "aiortc": [aiortc_pictures, aiortc_loss, aiortc_profiles],
    "gstreamer": [gstreamer_media],
}


class Run(Report):
    def __init__(self, options):
        super().__init__("", options.verbose)
        self.swarm = options.swarm.split() if " " in options.swarm else os.path.abspath(options.swarm)
        self.only = options.only
        self.programs = {}

    def all(self, folder):
        wanted = {peer: [scenario for scenario in scenarios if self.only in scenario.__name__]
                  for peer, scenarios in SCENARIOS.items()}
        if wanted["pion"]:
            self.programs["pion"] = build(folder, "pion", [])
        if wanted["aiortc"]:
            python = subprocess.run(
                [FOLDER.parent / "Scripts" / "python-peers"], check=True, stdout=subprocess.PIPE, text=True)
            self.programs["aiortc"] = [python.stdout.strip(), str(FOLDER / "python" / "aiortc_peer.py")]
        self.programs["gstreamer"] = ["/usr/bin/python3", str(FOLDER / "gstreamer" / "media.py")]
        for self.peer, scenarios in wanted.items():
            for offers in (True, False):
                self.role = "offers" if offers else "answers"
                for scenario in scenarios:
                    scenario(self, offers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--swarm", required=True, metavar="PATH", help="the command to test")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios with this in their name: "
                        + ", ".join(one.__name__ for scenarios in SCENARIOS.values() for one in scenarios))
    parser.add_argument("--verbose", action="store_true", help="print every line that passes")
    options = parser.parse_args()

    run = Run(options)
    with tempfile.TemporaryDirectory(prefix="interop-media-") as folder:
        return run.within(WHOLE_RUN, lambda: run.all(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
