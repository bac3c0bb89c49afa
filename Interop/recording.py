#!/usr/bin/env python3
"""Records what a browser sends, and sends recordings to it: `swarm connect --media record=FILE` and `play=FILE`.

    Interop/recording.py --swarm .build/release/swarm

GStreamer makes a recording of its own, and decodes those that swarm has made: every picture counts. Chromium films, and
looks at what is played to it. Prints one line per case and `N passed, M failed`. Needs Chromium, and what
Interop/gstreamer/recording.py names.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

import media
import rtpdump
from browser import Chromium, PageServer
from cases import check
from chromium import FOLDER, PATIENCE
from connect import ConnectError, SwarmConnect

FRAMES = 60
RATE = 30
SECONDS = 3  # that are filmed
SETTLING = 0.5
PAYLOAD_TYPE = 96  # of VP8 in what swarm offers
TOOL = os.path.join(FOLDER, "gstreamer", "recording.py")


def gstreamer(*arguments):
    """What the tool says, which Debian's Python runs."""
    done = subprocess.run(
        ["/usr/bin/python3", TOOL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise ConnectError("%s: %s" % (" ".join(arguments), done.stderr[-300:]))
    return json.loads(done.stdout)


def wait_for(swarm, name):
    """The next event of this name, whatever comes before it."""
    ends = time.monotonic() + PATIENCE
    while (event := swarm.next_event(max(0.1, ends - time.monotonic())))["event"] != name:
        check(event["event"] not in ("failed", "error"), str(event))
    return event


def from_one_to_the_other(run):
    """A recording that GStreamer has made is played by one swarm and recorded by another."""
    original, copy = (os.path.join(run.folder, name) for name in ("original.rtpdump", "copy.rtpdump"))

    def story():
        gstreamer("make", original, "--frames", str(FRAMES), "--payload-type", str(PAYLOAD_TYPE))
        peers = {}
        peers["record"] = SwarmConnect(
            run.swarm, ["--answer", "--media", "record=" + copy], lambda value: peers["play"].write(value), run.trace)
        peers["play"] = SwarmConnect(
            run.swarm, ["--offer", "--media", "play=" + original, "--media-kinds", "video"],
            lambda value: peers["record"].write(value), run.trace)
        try:
            wait_for(peers["play"], "played")
            time.sleep(SETTLING)
        finally:
            for peer in peers.values():
                peer.close()
        sent, received = (rtpdump.read(path) for path in (original, copy))
        check(list(rtpdump.contents(received)) == list(rtpdump.contents(sent)),
              "%d packets played, %d recorded, or others" % (len(sent), len(received)))
        frames = gstreamer("decode", copy)["frames"]
        run.note("%d packets, %d pictures decoded" % (len(received), frames))
        check(frames == FRAMES, "%d of %d pictures decoded" % (frames, FRAMES))

    run.case("GStreamer's recording is played, recorded and decoded", story)


class RecordingSession(media.MediaSession):
    """The page films for, or looks at, a swarm that has but one direction."""

    def __init__(self, run, chromium_offers, mode, path):
        self.mode, self.path = mode, path
        super().__init__(run, chromium_offers, ("video",))

    def media_arguments(self):
        return ["--media", "%s=%s" % (self.mode, self.path)]


def play_to_chromium(run, path):
    """How many frames the recording has, and how many the page decodes of it."""
    frames = rtpdump.frames(rtpdump.read(path))
    with RecordingSession(run, False, "play", path) as session:
        session.flows()
        wait_for(session.swarm, "played")
        time.sleep(SETTLING)
        video = session.evaluate("peer.counts()")["video"]
        words = "%d of %d frames decoded, %d packets lost" % (video["framesDecoded"], frames, video["packetsLost"])
        check(media.ENOUGH * frames <= video["framesDecoded"] <= frames, words)
        return words


def gstreamer_to_chromium(run):
    path = os.path.join(run.folder, "pattern.rtpdump")

    def story():
        gstreamer("make", path, "--frames", str(FRAMES), "--payload-type", str(PAYLOAD_TYPE))
        run.note(play_to_chromium(run, path))

    run.case("Chromium decodes a recording of GStreamer's", story)


def filmed_and_shown(run):
    path = os.path.join(run.folder, "camera.rtpdump")

    def story():
        # swarm offers, so that the payload types of the recording are those of its next offer.
        with RecordingSession(run, False, "record", path) as session:
            session.open()
            watched = session.browser.evaluate(
                "peer.watch(%d, %d)" % (SECONDS * 1000, SETTLING * 1000), timeout=SECONDS + PATIENCE)
        sent = watched["after"]["video"].get("framesSent", 0)
        check(sent >= SECONDS * RATE / 2, "the page sent only %d frames" % sent)
        recorded, decoded = rtpdump.frames(rtpdump.read(path)), gstreamer("decode", path)["frames"]
        words = "%d frames sent, %d recorded, %d decoded" % (sent, recorded, decoded)
        check(recorded >= media.ENOUGH * sent and decoded >= media.ENOUGH * sent, words)
        run.note(words + "; played back: " + play_to_chromium(run, path))

    run.case("the camera is recorded, decoded by GStreamer, and played back to Chromium", story)


def all_cases(run):
    run.role = "recording"
    server = PageServer(FOLDER)
    with contextlib.closing(server), tempfile.TemporaryDirectory(prefix="interop-recording-") as run.folder:
        from_one_to_the_other(run)
        with contextlib.closing(Chromium(run.options.chromium, flags=media.FLAGS)) as run.browser:
            run.browser.open_page(server.origin)
            for scenario in (gstreamer_to_chromium, filmed_and_shown):
                scenario(run)


if __name__ == "__main__":
    sys.exit(media.main(__doc__, all_cases))
