#!/usr/bin/env python3
"""Opens data channels between `swarm connect` and headless Chromium, in both roles, and checks every byte.

    Interop/chromium.py --swarm .build/release/swarm

Prints one line per case and `N passed, M failed`; exits 0 only when nothing failed. Needs Chromium and Python 3.
"""

import argparse
import base64
import json
import os
import shutil
import sys
import threading

from browser import SCTP_LOG_FLAGS, SNAP_FLAGS, BrowserRun, PageServer
from capture import SCTP_LINE, Capture
from cases import SIZES, binary_of, check, compare, contents
from connect import ConnectError, SwarmConnect

FOLDER = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 20  # seconds that any one wait may take
WHOLE_RUN = 480  # seconds until the run is ended from outside
LABEL = "interop — ünïcode"
PACKET_EDGES = range(1_191, 1_301)  # around the sizes at which a message takes a second packet


class Session:
    """One connection between the page and a `swarm connect` process; signalling flows from the start."""

    count = 0

    def __init__(self, run, chromium_offers, *arguments, channel=None, alter=None):
        Session.count += 1
        self.number = Session.count
        self.browser = run.browser
        self.trace = run.trace
        self.alter = alter or (lambda value: [value])
        self.page_errors = []
        self.exchanged = []
        self.has_started = threading.Event()
        self.browser.on_signal = self.from_page
        self.browser.evaluate("peer = %s; undefined" % self.page_peer())
        role = "--answer" if chromium_offers else "--offer"
        self.swarm = SwarmConnect(
            run.swarm, [role, "--label", LABEL, *arguments], on_signal=self.from_swarm, trace=self.trace)
        self.has_started.set()
        if chromium_offers:
            self.evaluate("peer.offer(%s, %s)" % (json.dumps(LABEL), json.dumps(channel or {})))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.swarm.close()
        self.browser.post("peer.end()")

    def page_peer(self):
        return "new Peer(%d)" % self.number

    # Signalling

    def from_page(self, message):
        if message["peer"] != self.number:
            return  # a late word of an earlier connection
        value = message["value"]
        self.trace("< page", value)
        if "error" in value:
            self.page_errors.append(value["error"])
        elif "state" not in value:
            self.exchanged.append(("chromium", value))
            # The page may answer what the program has said before it is known here.
            self.has_started.wait(PATIENCE)
            for line in self.alter(value):
                self.swarm.write(line)

    def from_swarm(self, value):
        self.exchanged.append(("swarm", value))
        self.browser.post("peer.receive(%s)" % json.dumps(value))

    # Steps

    def evaluate(self, expression):
        return self.browser.evaluate(expression, timeout=PATIENCE + 5)

    def open(self):
        channel = self.evaluate("peer.opened(%d)" % (PATIENCE * 1000))
        label = self.swarm.expect("open", PATIENCE).get("label")
        check(label == LABEL and channel["label"] == LABEL, "labels %r and %r" % (label, channel["label"]))
        check(not self.page_errors, "; ".join(self.page_errors))
        return channel

    def page_sends(self, content):
        if isinstance(content, str):
            self.evaluate("peer.sendText(%s)" % json.dumps(content))
        else:
            self.evaluate("peer.sendBinary('%s')" % base64.b64encode(content).decode())

    def swarm_sends(self, content):
        if isinstance(content, str):
            self.swarm.send_text(content)
        else:
            self.swarm.send_binary(content)

    def swarm_has(self, content):
        compare(self.swarm.expect("message", PATIENCE), content)

    def page_has(self, content):
        compare(self.evaluate("peer.next(%d)" % (PATIENCE * 1000)), content)

    def page_sees_close(self):
        state = self.evaluate("peer.closed(%d)" % (PATIENCE * 1000))
        check(state == "closed", "the page's channel is %s" % state)

    def swarm_sees_close(self):
        self.swarm.expect("closed", PATIENCE)

    def swarm_ends_well(self):
        self.swarm.end_input()
        status = self.swarm.exit_status(PATIENCE)
        check(status == 0, "exit status %d%s" % (status, self.swarm.last_words()))
        unread = self.swarm.unread_events()
        check(not unread, "said more than it should: %.300s" % unread)


# Cases: each function takes the run and the role, and reports through `run.case`.


def messages_each_way(run, chromium_offers):
    with Session(run, chromium_offers) as session:
        if not run.case("channel opens", session.open):
            return
        for size in SIZES:
            for kind, content in contents(size):
                run.case("%s of %d bytes to swarm" % (kind, size),
                         lambda: (session.page_sends(content), session.swarm_has(content)))
                run.case("%s of %d bytes to chromium" % (kind, size),
                         lambda: (session.swarm_sends(content), session.page_has(content)))

        def every_size(send, receive):
            for size in PACKET_EDGES:
                for _, content in contents(size):
                    send(content)
            for size in PACKET_EDGES:
                for _, content in contents(size):
                    receive(content)

        edges = "each size of %d…%d bytes, without waiting, to " % (PACKET_EDGES[0], PACKET_EDGES[-1])
        run.case(edges + "swarm", lambda: every_size(session.page_sends, session.swarm_has))
        run.case(edges + "chromium", lambda: every_size(session.swarm_sends, session.page_has))
        run.case("chromium closes the channel", lambda: (
            session.evaluate("peer.channel.close()"), session.swarm_sees_close(), session.page_sees_close(),
            session.swarm_ends_well()))


def echo(run, chromium_offers):
    with Session(run, chromium_offers, "--echo") as session:
        if not run.case("channel with --echo opens", session.open):
            return
        for size in SIZES:
            for kind, content in contents(size):
                run.case("echo of %s, %d bytes" % (kind, size),
                         lambda: (session.page_sends(content), session.page_has(content)))

        def volley(count, largest):
            fault = session.evaluate("peer.volley(%d, %d, %d)" % (count, largest, PATIENCE * 1000))
            check(fault == "", fault)

        run.case("echo of 4,000 messages in flight", lambda: volley(4_000, 2_000))
        run.case("echo of 32 MB in messages of up to 256 KiB", lambda: volley(256, 262_140))
        run.case("end of input closes", lambda: (
            session.swarm.end_input(), session.page_sees_close(), session.swarm_sees_close(),
            session.swarm_ends_well()))


def flush_before_close(run, chromium_offers):
    sent = [binary_of(200_000 + number) for number in range(30)]
    with Session(run, chromium_offers) as session:

        def story():
            session.open()
            for content in sent:
                session.swarm_sends(content)
            session.swarm.write({"close": True})
            for content in sent:
                session.page_has(content)
            session.page_sees_close()
            session.swarm_sees_close()
            session.swarm_ends_well()

        run.case("close delivers 6 MB sent before it", story)


def browser_goes_away(run, chromium_offers):
    with Session(run, chromium_offers) as session:
        run.case("chromium closes the whole connection", lambda: (
            session.open(), session.evaluate("peer.end()"), session.swarm_sees_close(), session.swarm_ends_well()))


def unreliable_channel(run, chromium_offers):
    if not chromium_offers:
        return  # the options are the offering page's
    with Session(run, True, "--echo", channel={"ordered": False, "maxRetransmits": 0, "protocol": "p"}) as session:

        def story():
            channel = session.open()
            check(channel["maxRetransmits"] == 0 and not channel["ordered"], "not the channel asked for")
            session.page_sends(b"once or never")
            session.page_has(b"once or never")

        run.case("unordered channel without retransmission", story)


def useless_candidates(run, chromium_offers):
    """Candidates that lead nowhere come first; the link must come up by the others."""
    useless = [
        "candidate:1 1 udp 2113937151 0a1b2c3d-0000-4000-8000-000000000000.local 48725 typ host generation 0",
        "candidate:2 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active generation 0",
        "candidate:3 2 udp 2113937150 127.0.0.1 9 typ host generation 0 network-cost 999",
        "candidate:4 1 udp 2113937149 127.0.0.1 9 typ host generation 0 ufrag none network-id 7",
    ]

    def alter(value):
        if "type" not in value:
            return [value]
        return [value, *({"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0} for line in useless)]

    with Session(run, chromium_offers, "--echo", alter=alter) as session:
        run.case("candidates of no use are passed over", lambda: (
            session.open(), session.page_sends("still here"), session.page_has("still here")))


def wrong_fingerprint(run, chromium_offers):
    """The description is changed on its way to swarm: the certificate that then comes must not be accepted."""

    def alter(value):
        if "type" not in value:
            return [value]
        head, mark, tail = value["sdp"].partition("a=fingerprint:sha-256 ")
        check(mark != "", "Chromium's description has no sha-256 fingerprint")
        digit = "0" if tail[0] != "0" else "1"
        return [{**value, "sdp": head + mark + digit + tail[1:]}]

    with Session(run, chromium_offers, alter=alter) as session:

        def story():
            names = []
            while "open" not in names:
                try:
                    names.append(session.swarm.next_event(PATIENCE)["event"])
                except ConnectError:
                    break
            check("open" not in names, "a channel opened to a certificate that was not announced")
            session.swarm.end_input()
            status = session.swarm.exit_status(PATIENCE)
            check(status > 0, "exit status %d, though no connection came up" % status)

        run.case("a wrong fingerprint is refused", story)


# Chunks of the handshake of SCTP.
HANDSHAKE = {1: "INIT", 2: "INIT-ACK", 10: "COOKIE-ECHO", 11: "COOKIE-ACK"}


def offers_initiation(browser):
    """Whether this Chromium, as it was started, begins SCTP in its offers."""
    return "a=sctp-init:" in browser.evaluate(
        "(async () => { const one = new RTCPeerConnection(); one.createDataChannel('');"
        " const offer = await one.createOffer(); one.close(); return offer.sdp; })()")


def initiation_is_not_taken_up(run, chromium_offers):
    """What `--sctp-init` offers is not known to a Chromium that was not told to: the usual handshake takes its place."""
    if chromium_offers:
        return
    with Session(run, False, "--echo", "--sctp-init") as session:

        def story():
            session.open()
            described = [sender for sender, value in session.exchanged if "a=sctp-init:" in value.get("sdp", "")]
            check(described == ["swarm"], "sctp-init from %s" % described)
            session.page_sends("after the handshake")
            session.page_has("after the handshake")

        run.case("sctp-init that is not taken up", story)


def handshake_in_the_descriptions(run, chromium_offers):
    """Both INIT chunks travel as `a=sctp-init`, and none in a packet (draft-hancke-tsvwg-snap)."""
    if not offers_initiation(run.browser):
        run.note("this version knows no a=sctp-init, nothing to test")
        return
    logged = len(run.browser.log_text())
    with Session(run, chromium_offers, *([] if chromium_offers else ["--sctp-init"])) as session:

        def opens():
            session.open()
            described = sorted(sender for sender, value in session.exchanged if "a=sctp-init:" in value.get("sdp", ""))
            check(described == ["chromium", "swarm"], "sctp-init from %s" % described)

        if not run.case("channel opens with both INIT chunks in the descriptions", opens):
            return
        for size in SIZES:
            for kind, content in contents(size):
                run.case("%s of %d bytes each way without a handshake" % (kind, size), lambda: (
                    session.page_sends(content), session.swarm_has(content),
                    session.swarm_sends(content), session.page_has(content)))
        run.case("chromium closes the channel", lambda: (
            session.evaluate("peer.channel.close()"), session.swarm_sees_close(), session.page_sees_close(),
            session.swarm_ends_well()))

        def no_handshake():
            types = [bytes.fromhex(text)[12] for _, text in SCTP_LINE.findall(run.browser.log_text()[logged:])]
            check(types, "Chromium has logged no packet")
            seen = sorted({HANDSHAKE[kind] for kind in types if kind in HANDSHAKE})
            check(not seen, "in spite of the descriptions: " + ", ".join(seen))

        run.case("no chunk of the handshake in any packet", no_handshake)


SCENARIOS = [
    messages_each_way, echo, flush_before_close, browser_goes_away, unreliable_channel, useless_candidates,
    wrong_fingerprint, initiation_is_not_taken_up,
]
# These need a Chromium that begins SCTP in its offers, and that writes its packets down.
SNAP_SCENARIOS = [handshake_in_the_descriptions]


class Run(BrowserRun):
    def __init__(self, options):
        super().__init__(options)

    def all(self):
        server = PageServer(FOLDER)
        try:
            if self.options.capture:
                self.with_browser(server, SCTP_LOG_FLAGS, [
                    lambda run, chromium_offers: run.case(
                        "short session is recorded", lambda: record(run, chromium_offers))])
                return
            for flags, scenarios in (([], SCENARIOS), (SNAP_FLAGS + SCTP_LOG_FLAGS, SNAP_SCENARIOS)):
                wanted = [scenario for scenario in scenarios if self.options.only in scenario.__name__]
                if wanted:
                    self.with_browser(server, flags, wanted)
        finally:
            server.close()


def record(run, chromium_offers):
    """A session of a few messages, written down as vectors."""
    logged = len(run.browser.log_text())
    with Capture() as capture, Session(run, chromium_offers, "--echo") as session:
        session.open()
        for content in ("hello", binary_of(1_500)):
            session.page_sends(content)
            session.page_has(content)
        session.evaluate("peer.channel.close()")
        session.swarm_sees_close()
    capture.write(os.path.join(run.options.capture, run.role), run.browser.version, session.exchanged,
                  run.browser.log_text()[logged:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--swarm", required=True, metavar="PATH", help="the command to test")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium", metavar="PATH")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios with this in their name: "
                        + ", ".join(scenario.__name__ for scenario in SCENARIOS + SNAP_SCENARIOS))
    parser.add_argument("--capture", metavar="DIR", help="record one short session per role instead of testing "
                        "(needs the right to open packet sockets)")
    parser.add_argument("--verbose", action="store_true", help="print every line that passes")
    options = parser.parse_args()
    for path in (options.swarm, options.chromium):
        if not os.access(path, os.X_OK):
            parser.error("%s cannot be run" % path)

    run = Run(options)
    return run.within(WHOLE_RUN, run.all)


if __name__ == "__main__":
    sys.exit(main())
