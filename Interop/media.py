#!/usr/bin/env python3
"""Sends the fake camera and microphone of headless Chromium to `swarm connect --media echo`, and checks what returns.

    Interop/media.py --swarm .build/release/swarm [--only TEXT]

Both offer. The browser's own statistics count: frames decoded against frames sent, samples, losses, reports. A data
channel works beside the media, except where it is left out. The way between the two may lose one datagram in twenty,
and counts those of the DTLS handshake (middle.py). Prints one line per case and `N passed, M failed`.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys

from browser import BrowserRun, PageServer
from cases import check
from chromium import FOLDER, LABEL, PATIENCE, Session
from connect import ConnectError
from middle import Middle

WHOLE_RUN = 300  # seconds until the run is ended from outside
FLAGS = [
    "--use-fake-device-for-media-stream=fps=30", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",  # what is not played has no sound
]
# A ClientHello without a post-quantum key share then, which fits a datagram.
SMALL_HELLO_FLAGS = ["--disable-features=WebRtcPqcForDtls"]
ENOUGH = 0.95  # of the frames and packets sent, decoded and received
SETTLING = 1_000  # milliseconds that the last frames may take to come back
RATE = 30  # frames that the camera makes in a second
SAMPLE_RATE = 48_000
LOSS = 0.05
ENOUGH_AUDIO = 0.85  # of its packets where one in twenty is lost each way: nobody asks for them again
FEW = 2  # packets lost, freezes, or frames in a second or two, on a way that loses nothing
UNDER_WAY = 5  # frames that may have been sent before the count began, and come after
LONG = 5  # seconds after which there must have been reports
BOTH = ("audio", "video")


class MediaSession(Session):
    """The page and `swarm connect --media echo`, which returns what it is sent."""

    def __init__(self, run, chromium_offers, kinds=BOTH, codec="", with_channel=True, middle=None, client="",
                 layers=False, spoils=False):
        self.kinds, self.with_channel, self.middle, self.spoils = kinds, with_channel, middle, spoils
        self.plan = {"kinds": kinds, "codec": codec, "data": with_channel, "layers": layers}
        self.tracks = []
        # Whoever answers is the client of DTLS, unless the offer says on its way that the offering side will be.
        self.offering_client = client == ("chromium" if chromium_offers else "swarm")
        arguments = self.media_arguments()
        if not chromium_offers:
            arguments += ["--media-kinds", ",".join(kinds), *([] if with_channel else ["--no-channel"])]
        super().__init__(run, chromium_offers, *arguments, alter=lambda value: self.on_the_way("chromium", value))

    def media_arguments(self):
        return ["--media", "echo", "--echo"]

    def page_peer(self):
        return "new MediaPeer(%d, %s)" % (self.number, json.dumps(self.plan))

    def from_swarm(self, value):
        self.exchanged.append(("swarm", value))
        for line in self.on_the_way("swarm", value):
            self.browser.post("peer.receive(%s)" % json.dumps(line))

    def on_the_way(self, sender, value):
        if self.offering_client and value.get("type") == "offer":
            value = {**value, "sdp": value["sdp"].replace("a=setup:actpass", "a=setup:active")}
        if sender == "swarm" and value.get("type") == "offer" and self.plan["codec"]:
            value = {**value, "sdp": preferring(self.plan["codec"], value["sdp"])}
        if self.spoils and sender == "chromium" and "sdp" in value:
            value = {**value, "sdp": re.sub("(a=fingerprint:sha-256 )(..)", self.other_digit, value["sdp"])}
        return self.middle.alter(sender, value) if self.middle else [value]

    def other_digit(self, match):
        return match[1] + "%02X" % (int(match[2], 16) ^ 1)

    def open(self):
        if self.with_channel:
            channel = self.evaluate("peer.opened(%d)" % (PATIENCE * 1000))
            check(channel["label"] == LABEL, "label %r" % channel["label"])
        check(not self.page_errors, "; ".join(self.page_errors))

    def flows(self, kinds=None):
        counts = self.evaluate("peer.flows(%s, %d)" % (json.dumps(kinds or self.kinds), PATIENCE * 1000))
        check(not self.page_errors, "; ".join(self.page_errors))
        return counts

    def watch(self, seconds):
        return self.browser.evaluate(
            "peer.watch(%d, %d)" % (seconds * 1000, SETTLING), timeout=seconds + PATIENCE)

    def conversation(self, least):
        """Ends it, and says how it went."""
        talk = self.evaluate("peer.conversation()")
        check(not talk["fault"] and talk["sent"] == talk["received"] >= least, str(talk))
        return "%(received)d messages beside" % talk

    def swarm_reports(self):
        """What swarm says about each section, and the tracks it has told of."""
        self.swarm.write({"stats": True})
        reports = {}
        while len(reports) < len(self.kinds):
            event = self.swarm.next_event(PATIENCE)
            if event["event"] == "media":
                reports[event["kind"]] = event
            elif event["event"] == "track":
                self.tracks.append(event)
            elif event["event"] in ("failed", "error", "closed"):
                raise ConnectError("swarm says %s" % event)
        return reports

    def swarm_ends(self):
        self.swarm.end_input()
        status = self.swarm.exit_status(PATIENCE)
        check(status == 0, "exit status %d%s" % (status, self.swarm.last_words()))


def preferring(codec, offer):
    """The same offer with a codec of video before the others: Chromium sends the first that it is offered and knows,
    whatever the preferences are from which it answers."""
    first = [line.split(":")[1].split()[0] for line in offer.split("\r\n")
             if line.startswith("a=rtpmap:") and line.split()[1].split("/")[0] == codec]
    check(first, "%s is not offered" % codec)

    def reordered(line):
        if not line.startswith("m=video "):
            return line
        head, numbers = line.split()[:3], line.split()[3:]
        return " ".join([*head, *first, *(number for number in numbers if number not in first)])

    return "\r\n".join(map(reordered, offer.split("\r\n")))


def grown(watched, kind, name, until="after"):
    """How much a count has grown since the media began to flow; what was still under way then counts for it too."""
    return watched[until][kind].get(name, 0) - watched["before"][kind].get(name, 0)


def judge_video(watched, seconds):
    """Whether enough of the video has come back, in words that say how much it was."""
    video = watched["after"]["video"]
    sent, decoded = grown(watched, "video", "framesSent"), grown(watched, "video", "framesDecoded")
    words = "%d of %d frames decoded, from the first on %d of %d; %d of %d packets, %d lost, %d freezes, %s" % (
        decoded, sent, video["framesDecoded"], video["framesSent"], grown(watched, "video", "packetsReceived"),
        grown(watched, "video", "packetsSent"), video["packetsLost"], video["freezeCount"], video.get("codecReturned"))
    words += "; NACK, PLI, FIR came %(nackCount)d, %(pliCount)d, %(firCount)d" % video
    words += ", went %(ownnackCount)d, %(ownpliCount)d, %(ownfirCount)d" % video
    words += "; resent %(retransmittedPacketsSent)d, %(retransmittedPacketsReceived)d" % video
    check(sent >= RATE * seconds / 2, "the page sent little; " + words)
    check(ENOUGH * sent - (0 if seconds >= LONG else FEW) <= decoded <= sent + UNDER_WAY, words)
    if seconds >= LONG:
        check(video["framesDecoded"] >= ENOUGH * video["framesSent"], words)
    return words


def judge_audio(watched, seconds, loss):
    audio = watched["after"]["audio"]
    sent, received = grown(watched, "audio", "packetsSent"), grown(watched, "audio", "packetsReceived")
    samples = grown(watched, "audio", "totalSamplesReceived", "middle")
    invented = grown(watched, "audio", "concealedSamples", "middle")
    words = "%d of %d packets, %d lost, %.2f s of sound of which %.1f %% made up, %s" % (
        received, sent, audio["packetsLost"], samples / SAMPLE_RATE, 100 * invented / max(1, samples),
        audio.get("codecReturned"))
    check(received >= (ENOUGH if loss == 0 else ENOUGH_AUDIO) * sent > 0, words)
    check(samples >= ENOUGH * SAMPLE_RATE * seconds, words)
    check(loss or invented <= (1 - ENOUGH) * samples, words)
    check(grown(watched, "audio", "totalAudioEnergy") > 0, "silence returned; " + words)
    return words


def judge(session, watched, seconds, loss=0.0):
    words = []
    if "video" in session.kinds:
        words.append("video: " + judge_video(watched, seconds))
        check(loss or watched["after"]["video"]["freezeCount"] <= FEW, words[-1])
    if "audio" in session.kinds:
        words.append("audio: " + judge_audio(watched, seconds, loss))
    lost = sum(watched["after"][kind]["packetsLost"] for kind in session.kinds)
    check(loss or lost <= FEW, "; ".join(words))
    return words


def reports_about(session, watched):
    """The other side's reports, without which the browser knows neither losses nor round trip."""
    words = []
    for kind in session.kinds:
        counts = watched["after"][kind]
        check(counts.get("receiverReports", 0) > 0, "no receiver report about the %s sent" % kind)
        check(counts.get("senderReports", 0) > 0, "no sender report about the %s returned" % kind)
        trip = counts.get("roundTripTime") or 0
        check(0 <= trip < 1, "round trip of %s %s s" % (kind, trip))
        words.append("%s %d and %d, %.1f ms" % (kind, counts["receiverReports"], counts["senderReports"], 1000 * trip))
    return "reports by receiver and sender, round trip: " + "; ".join(words)


def returns(run, name, chromium_offers, seconds, kinds=BOTH, codec="", with_channel=True, loss=0.0):
    """A connection whose media come back for some seconds."""
    middle = Middle(["chromium", "swarm"], loss=loss) if loss else None
    with middle or contextlib.nullcontext(), MediaSession(
            run, chromium_offers, kinds, codec, with_channel, middle) as session:

        def story():
            session.open()
            first = session.flows()
            if with_channel:
                session.evaluate("peer.converse()")
            watched = session.watch(seconds)
            after = watched["after"]
            words = judge(session, watched, seconds, loss)
            if seconds >= LONG:
                words.append(reports_about(session, watched))
            if with_channel:
                words.append(session.conversation(10 * seconds))
            check(after["transports"] == 1, "%d transports" % after["transports"])
            words.append("%(srtpCipher)s" % after["transport"])
            words.append("first seen after %.0f ms" % first["waited"])
            if codec:
                sent, returned = after["video"].get("codec"), after["video"].get("codecReturned")
                check(sent == returned == "video/" + codec, "sent %s, returned %s" % (sent, returned))
            if middle:
                words += ["lost from %s: %s" % (side.name, dict(side.lost)) for side in middle.sides.values()]
                check(all(side.lost["RTP"] for side in middle.sides.values()), "nothing was lost")
                check(after["video"]["nackCount"] > 0, "no NACK came")
            run.note("; ".join(words))
            reports = session.swarm_reports()
            run.trace("swarm reports", reports)
            check({track["kind"] for track in session.tracks} == set(kinds), "tracks %s" % session.tracks)
            session.swarm_ends()

        return run.case(name, story)


# Cases: each function takes the run and the role, and reports through `run.case`.


def camera_and_microphone(run, chromium_offers):
    returns(run, "95 % of the frames of 10 s return, with sound, messages beside", chromium_offers, 10)


def pictures(run, chromium_offers):
    """Not only frames: the pictures themselves."""
    with MediaSession(run, chromium_offers) as session:

        def story():
            session.open()
            session.flows()
            seen = session.evaluate("peer.compare()")
            words = "mean difference %(difference).1f of 255, spread %(spread).1f sent, %(returned).1f returned" % seen
            check(seen["spread"] > 10 and seen["returned"] > 10 and seen["difference"] < seen["spread"] / 2, words)
            run.note(words)

        run.case("the pictures that return are those sent", story)


def codecs(run, chromium_offers):
    known = run.browser.evaluate("new MediaPeer(0, {}).codecs()")
    for codec in ("VP9", "H264", "AV1"):
        if codec in known:
            returns(run, codec, chromium_offers, 1, codec=codec)
        else:
            run.note("this build has no " + codec)


def parts(run, chromium_offers):
    returns(run, "audio alone, without a data channel", chromium_offers, 1, kinds=("audio",), with_channel=False)
    returns(run, "video alone, without a data channel", chromium_offers, 1, kinds=("video",), with_channel=False)


def loss(run, chromium_offers):
    returns(run, "5 % of the media's datagrams lost each way, and sent again", chromium_offers, 5, loss=LOSS)


def keyframes(run, chromium_offers):
    """The page asks for keyframes of what returns: swarm has no encoder, and passes that on to the page's own."""
    with MediaSession(run, chromium_offers, ("video",)) as session:

        def story():
            session.open()
            session.flows()
            asked = session.evaluate("peer.askForKeyframes(3, 500)")
            said = grown(asked, "video", "ownpliCount") + grown(asked, "video", "ownfirCount")
            came = grown(asked, "video", "pliCount") + grown(asked, "video", "firCount")
            made, decoded = grown(asked, "video", "keyFramesEncoded"), grown(asked, "video", "keyFramesDecoded")
            words = "%d requests said, %d came back, %d keyframes made, %d decoded" % (said, came, made, decoded)
            check(said >= 3 and came >= 2 and made >= 2 and decoded >= 2, words)
            run.note(words)

        run.case("a request for a keyframe reaches the encoder", story)


def later_track(run, chromium_offers):
    """At first there is data only; where swarm offers, which must offer some media, audio."""
    at_first = () if chromium_offers else ("audio",)
    with MediaSession(run, chromium_offers, at_first) as session:

        def story():
            session.open()
            session.evaluate("peer.converse()")
            for kind in BOTH[len(at_first):]:
                session.evaluate("peer.add('%s')" % kind)
            session.kinds = BOTH
            session.flows()
            words = judge(session, session.watch(1), 1)
            run.note("; ".join([*words, session.conversation(10)]))
            session.swarm_reports()
            session.swarm_ends()

        run.case("tracks are added by other offers", story)


def hold(run, chromium_offers):
    with MediaSession(run, chromium_offers) as session:

        def story():
            session.open()
            session.flows()
            session.evaluate("peer.converse()")
            session.evaluate("peer.hold(true)")
            session.evaluate("peer.packetsIn(100)")  # what was under way
            held = session.evaluate("peer.packetsIn(400)")
            check(held == 0, "%d packets in 400 ms while all is held" % held)
            session.evaluate("peer.hold(false)")
            session.evaluate("peer.packetsIn(300)")
            resumed = session.evaluate("peer.packetsIn(500)")
            check(resumed > 25, "%d packets in 500 ms after that" % resumed)
            session.evaluate("peer.connection.restartIce()")
            session.evaluate("peer.negotiate()")
            session.evaluate("peer.packetsIn(300)")
            restarted = session.evaluate("peer.packetsIn(500)")
            check(restarted > 25, "%d packets in 500 ms after an ICE restart" % restarted)
            run.note("%d packets in 500 ms, and %d after an ICE restart; %s" % (
                resumed, restarted, session.conversation(10)))
            session.swarm_ends()

        run.case("held, resumed, and with ICE restarted, by further offers", story)


def layers(run, chromium_offers):
    """Simulcast is offered, with a=rid; swarm takes one stream, and the page sends that."""
    if not chromium_offers:
        return
    with MediaSession(run, chromium_offers, ("video",), layers=True) as session:

        def story():
            session.open()
            check("a=simulcast:send" in session.exchanged[0][1]["sdp"], "no simulcast is offered")
            session.flows()
            run.note("; ".join(judge(session, session.watch(1), 1)))
            session.swarm_reports()
            session.swarm_ends()

        run.case("one stream of an offer of simulcast", story)


def wrong_fingerprint(run, chromium_offers):
    """No media either way when the certificate is not the one that was announced."""
    with MediaSession(run, chromium_offers, spoils=True) as session:

        def story():
            names = []
            try:
                while True:
                    names.append(session.swarm.next_event(PATIENCE)["event"])
            except ConnectError:
                pass  # the output has ended
            session.swarm.end_input()
            status = session.swarm.exit_status(PATIENCE)
            check(status > 0 and "open" not in names, "exit status %d after %s" % (status, names))
            counts = session.evaluate("peer.counts()")
            received = [counts[kind].get("packetsReceived", 0) for kind in BOTH]
            check(received == [0, 0], "packets came all the same: %s" % received)

        run.case("no media to a certificate that was not announced", story)


def client_hello(run, chromium_offers):
    """DTLS with either as client, and the datagrams of a browser's ClientHello, which may be too long for one."""
    for client in ("chromium",) if run.has_small_hello else ("chromium", "swarm"):
        with Middle(["chromium", "swarm"]) as middle, MediaSession(
                run, chromium_offers, ("video",), middle=middle, client=client) as session:

            def story():
                session.open()
                counts = session.flows()
                session.evaluate("peer.converse()")
                role = counts["transport"]["dtlsRole"]
                check((role == "client") == (client == "chromium"), "chromium is DTLS " + role)
                length, datagrams = middle.sides[client].hello_datagrams()
                words = judge(session, session.watch(1), 1)
                run.note("ClientHello of %d bytes in %d datagrams; %s; %s" % (
                    length, datagrams, session.conversation(10), "; ".join(words)))
                if client == "chromium":
                    check(datagrams == (1 if run.has_small_hello else 2), "%d datagrams" % datagrams)
                session.swarm_reports()
                session.swarm_ends()

            without = ", without post-quantum key share" if run.has_small_hello else ""
            run.case("DTLS with %s as client%s" % (client, without), story)


SCENARIOS = [camera_and_microphone, pictures, codecs, parts, loss, keyframes, later_track, hold, layers, wrong_fingerprint,
             client_hello]
# In a Chromium whose ClientHello is short.
SMALL_HELLO_SCENARIOS = [client_hello]


class Run(BrowserRun):
    def __init__(self, options):
        super().__init__(options)
        self.has_small_hello = False
        self.folder = ""  # of recordings

    def all(self):
        server = PageServer(FOLDER)
        try:
            for flags, scenarios in ((FLAGS, SCENARIOS), (FLAGS + SMALL_HELLO_FLAGS, SMALL_HELLO_SCENARIOS)):
                wanted = [scenario for scenario in scenarios if self.options.only in scenario.__name__]
                self.has_small_hello = flags != FLAGS
                if wanted:
                    self.with_browser(server, flags, wanted)
        finally:
            server.close()


def main(description, all_cases):
    parser = argparse.ArgumentParser(description=description.split("\n\n")[0])
    parser.add_argument("--swarm", required=True, metavar="PATH", help="the command to test")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium", metavar="PATH")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios with this in their name: "
                        + ", ".join(scenario.__name__ for scenario in SCENARIOS))
    parser.add_argument("--verbose", action="store_true", help="print every line that passes")
    options = parser.parse_args()
    for path in (options.swarm, options.chromium):
        if not os.access(path, os.X_OK):
            parser.error("%s cannot be run" % path)

    run = Run(options)
    return run.within(WHOLE_RUN, lambda: all_cases(run))


if __name__ == "__main__":
    sys.exit(main(__doc__, Run.all))
