#!/usr/bin/python3
"""The measurement of `swarm bench bulk`, done by GStreamer's webrtcbin (SCTP by libusrsctp). The listening end sends.

    bulk.py -listen ADDR:PORT -seconds 20 -warm-up 3 -size 16384
    bulk.py -connect ADDR:PORT

Descriptions with all candidates, and the plan and the result beside them, travel as JSON lines over one TCP connection.
Debian's own Python runs it: gstreamer1.0-plugins-bad, gstreamer1.0-nice, python3-gst-1.0, gir1.2-gst-plugins-bad-1.0.
"""

import argparse
import json
import socket
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

# How much waits in the channel, as for Pion.
MOST_BUFFERED = 1 << 20
LOW_BUFFERED = 1 << 19
PATIENCE = 30


def session_description(kind, text):
    _, message = GstSdp.SDPMessage.new_from_text(text)
    which = GstWebRTC.WebRTCSDPType.OFFER if kind == "offer" else GstWebRTC.WebRTCSDPType.ANSWER
    return GstWebRTC.WebRTCSessionDescription.new(which, message)


class End:
    """One webrtcbin, and the lines to the other."""

    def __init__(self, signaling):
        self.lines = signaling.makefile("rw")
        self.promises = []
        self.pipeline = Gst.Pipeline.new()
        self.bin = Gst.ElementFactory.make("webrtcbin")
        self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.bin)
        self.pipeline.set_state(Gst.State.PLAYING)

    def tell(self, value):
        self.lines.write(json.dumps(value) + "\n")
        self.lines.flush()

    def hear(self):
        line = self.lines.readline()
        if not line:
            sys.exit("bulk: the other end has gone")
        return json.loads(line)

    def ask(self, signal, *arguments):
        """Emits a signal that answers with a promise, and waits for the answer."""
        promise = Gst.Promise.new()
        self.bin.emit(signal, *arguments, promise)
        if promise.wait() != Gst.PromiseResult.REPLIED:
            sys.exit("bulk: no answer to " + signal)
        self.promises.append(promise)  # what is in the answer lives as long as the promise
        return promise.get_reply()

    def describe(self, kind):
        """Sets the local description, and returns its text once all candidates are in it."""
        complete = threading.Event()

        def changed(*_):
            if self.bin.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
                complete.set()

        self.bin.connect("notify::ice-gathering-state", changed)
        reply = self.ask("create-" + kind, None)
        text = reply.get_value(kind).sdp.as_text()
        self.ask("set-local-description", session_description(kind, text))
        changed()
        if not complete.wait(PATIENCE):
            sys.exit("bulk: no end of candidates")
        return self.bin.get_property("local-description").sdp.as_text()

    def take(self, kind, text):
        """Sets the remote description, candidates included."""
        self.ask("set-remote-description", session_description(kind, text))


def send(end, options):
    channel = end.bin.emit("create-data-channel", "flow", None)
    channel.set_property("buffered-amount-low-threshold", LOW_BUFFERED)
    low, opened = threading.Event(), threading.Event()
    channel.connect("on-buffered-amount-low", lambda _: low.set())
    channel.connect("on-open", lambda _: opened.set())
    end.tell({"seconds": options.seconds, "warmUp": options.warm_up, "offer": end.describe("offer")})
    end.take("answer", end.hear()["answer"])
    if not opened.wait(PATIENCE):
        sys.exit("bulk: no open channel")
    message = GLib.Bytes.new(bytes(options.size))
    until = time.monotonic() + options.seconds

    def feed():
        while time.monotonic() < until:
            low.clear()
            channel.emit("send-data", message)
            if channel.get_property("buffered-amount") > MOST_BUFFERED:
                low.wait(1)

    threading.Thread(target=feed, daemon=True).start()
    print(json.dumps(end.hear()), flush=True)


def receive(end):
    began, state = threading.Event(), {"bytes": 0}

    def arrived(_, data):
        state["bytes"] += data.get_size()
        began.set()

    def came(_, channel):
        state["channel"] = channel
        channel.connect("on-message-data", arrived)

    end.bin.connect("on-data-channel", came)
    plan = end.hear()
    end.take("offer", plan["offer"])
    end.tell({"answer": end.describe("answer")})
    if not began.wait(PATIENCE):
        sys.exit("bulk: nothing came")
    start = time.monotonic()

    def after(seconds):
        time.sleep(max(0, start + seconds - time.monotonic()))
        return state["bytes"]

    before = after(plan["warmUp"])
    total = after(plan["seconds"])
    end.tell({"mbit_per_s": (total - before) * 8 / (plan["seconds"] - plan["warmUp"]) / 1e6})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-listen")
    parser.add_argument("-connect")
    parser.add_argument("-seconds", type=float, default=20)
    parser.add_argument("-warm-up", type=float, default=3)
    parser.add_argument("-size", type=int, default=16_384)
    options = parser.parse_args()
    host, _, port = (options.listen or options.connect).rpartition(":")
    Gst.init(None)
    if options.connect:
        with socket.create_connection((host, int(port))) as signaling:
            receive(End(signaling))
    else:
        with socket.create_server((host, int(port))) as listener:
            signaling, _ = listener.accept()
        with signaling:
            send(End(signaling), options)


if __name__ == "__main__":
    main()
