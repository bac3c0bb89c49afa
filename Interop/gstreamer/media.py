#!/usr/bin/python3
"""GStreamer's webrtcbin as a peer that speaks the lines of `swarm connect`: a test picture in VP8 and a tone in Opus.

    media.py --offer|--answer --media send [--lasting SECONDS]

What comes back is decoded; {"event":"media",…} says how much it was. Its encoders, RTP, ICE (libnice), DTLS and SRTP
are none of those that the other peers have. Debian's own Python runs it: gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad,
gstreamer1.0-nice, python3-gst-1.0, gir1.2-gst-plugins-bad-1.0.
"""

import base64
import json
import re
import sys
import threading
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import lines  # noqa: E402

PATIENCE = 30
SETTLING = 1.0  # seconds for the last frames to come back
SOURCES = {
    "video": ("videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1"
              " ! valve name=end ! vp8enc name=encoder deadline=1 target-bitrate=400000 keyframe-max-dist=90 error-resilient=partitions"
              " ! rtpvp8pay name=payloader picture-id-mode=15-bit mtu=1150 ! capsfilter name=out"),
    "audio": ("audiotestsrc is-live=true wave=sine freq=400 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1"
              " ! valve name=end ! opusenc name=encoder ! rtpopuspay name=payloader ! capsfilter name=out"),
}
CAPS = {
    "video": "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=%d",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=%d",
}
SINKS = {
    "video": "rtpvp8depay name=in ! vp8dec ! fakesink name=end signal-handoffs=true sync=false",
    "audio": "rtpopusdepay name=in ! opusdec ! fakesink name=end signal-handoffs=true sync=false",
}
PAYLOADS = {"video": 96, "audio": 111}
NAMES = {"video": "VP8/90000", "audio": "opus/48000"}


def said_of(kind):
    return {"event": "media", "kind": kind, "sent": 0, "received": 0, "firstAt": 0, "keyframeRequests": 0, "codec": ""}


class Peer:
    def __init__(self, options):
        self.options = options
        self.kinds = options.media_kinds.split(",")
        self.reports = {kind: said_of(kind) for kind in SOURCES}
        self.promises, self.ends, self.sinks = [], [], {}
        self.all_flow = threading.Event()
        self.pipeline = Gst.Pipeline.new()
        self.bin = Gst.ElementFactory.make("webrtcbin")
        self.bin.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.bin.connect("on-ice-candidate", lambda _, index, text: lines.write(
            candidate=text, sdpMLineIndex=index, sdpMid=self.mids[index] if index < len(self.mids) else None))
        self.bin.connect("pad-added", self.came)
        self.bin.connect("on-data-channel", lambda _, channel: self.use(channel))
        self.bin.connect("notify::connection-state", self.changed)
        self.pipeline.add(self.bin)
        self.mids, self.channel = [], None

    def changed(self, *_):
        if self.bin.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            lines.write(event="failed", reason="ICE or DTLS failed")

    # Media

    def send(self, kind, payload):
        report = self.reports[kind]
        source = Gst.parse_bin_from_description(SOURCES[kind], False)
        out = source.get_by_name("out")
        out.set_property("caps", Gst.Caps.from_string(CAPS[kind] % payload))
        source.get_by_name("payloader").set_property("pt", payload)
        pad = Gst.GhostPad.new("src", out.get_static_pad("src"))
        source.add_pad(pad)

        def encoded(*_):
            report["sent"] += 1
            return Gst.PadProbeReturn.OK

        def asked(_, info):
            if kind == "video" and info.get_event().get_structure().get_name() == "GstForceKeyUnit":
                report["keyframeRequests"] += 1
            return Gst.PadProbeReturn.OK

        encoder = source.get_by_name("encoder").get_static_pad("src")
        encoder.add_probe(Gst.PadProbeType.BUFFER, encoded)
        encoder.add_probe(Gst.PadProbeType.EVENT_UPSTREAM, lambda _, info: (
            asked(_, info) if info.get_event().type == Gst.EventType.CUSTOM_UPSTREAM else Gst.PadProbeReturn.OK))
        self.pipeline.add(source)
        sink = self.bin.request_pad_simple("sink_%u")
        if pad.link(sink) != Gst.PadLinkReturn.OK:
            sys.exit("media: webrtcbin takes no " + kind)
        sink.get_property("transceiver").set_property("do-nack", kind == "video")
        self.ends.append(source.get_by_name("end"))

    def came(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        structure = pad.get_current_caps().get_structure(0)
        kind = structure.get_string("media")
        report = self.reports[kind]
        report["codec"] = "%s/%s" % (kind, structure.get_string("encoding-name"))
        lines.write(event="track", kind=kind, codec=report["codec"])
        sink = Gst.parse_bin_from_description(SINKS[kind], False)
        entry = Gst.GhostPad.new("sink", sink.get_by_name("in").get_static_pad("sink"))
        sink.add_pad(entry)

        def decoded(*_):
            if report["received"] == 0:
                report["firstAt"] = report["sent"]
            report["received"] += 1
            if all(self.reports[one]["received"] > 0 for one in self.kinds):
                self.all_flow.set()

        sink.get_by_name("end").connect("handoff", decoded)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(entry)
        self.sinks[kind] = entry

    def conclude(self):
        if not self.all_flow.wait(PATIENCE):
            lines.write(event="failed", reason="not everything comes back: %s" % self.reports)
            return
        for _ in range(3):  # what a decoder says that needs a keyframe; a PLI leaves
            time.sleep(self.options.lasting / 3)
            if "video" in self.sinks:
                event = Gst.Structure.new_from_string("GstForceKeyUnit, all-headers=(boolean)true")
                self.sinks["video"].push_event(Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, event))
        for end in self.ends:
            end.set_property("drop", True)
        time.sleep(SETTLING)
        for kind in self.kinds:
            lines.write(**self.reports[kind])

    # Data

    def use(self, channel):
        self.channel = channel

        is_open = threading.Lock()

        def opened(*_):
            if is_open.acquire(blocking=False):  # once, whichever comes first
                lines.write(event="open", label=channel.get_property("label"))

        channel.connect("on-open", opened)
        channel.connect("on-message-string", lambda _, text: lines.write(event="message", text=text))
        channel.connect("on-message-data", lambda _, data: lines.write(
            event="message", base64=base64.b64encode(data.get_data() if data else b"").decode()))
        if channel.get_property("ready-state") == GstWebRTC.WebRTCDataChannelState.OPEN:
            opened()

    # Negotiation

    def ask(self, signal, *arguments):
        """Emits a signal that answers with a promise, and waits for the answer."""
        promise = Gst.Promise.new()
        self.bin.emit(signal, *arguments, promise)
        if promise.wait() != Gst.PromiseResult.REPLIED:
            sys.exit("media: no answer to " + signal)
        self.promises.append(promise)  # what is in the answer lives as long as the promise
        reply = promise.get_reply()
        if reply and reply.has_field("error"):
            sys.exit("media: %s: %s" % (signal, reply.get_value("error")))
        return reply

    def describe(self, kind):
        reply = self.ask("create-" + kind, None)
        made = reply.get_value(kind)  # a name for each, as what is in it lives no longer
        text = made.sdp.as_text()
        self.mids = re.findall(r"^a=mid:(\S+)", text, re.MULTILINE)
        lines.write(type=kind, sdp=text)
        self.ask("set-local-description", description(kind, text))

    def offer(self):
        for kind in self.kinds:
            self.send(kind, PAYLOADS[kind])
        self.pipeline.set_state(Gst.State.PLAYING)
        if not self.options.no_channel:
            self.use(self.bin.emit("create-data-channel", "swarm", None))
        time.sleep(0.5)  # until the sources have said what they make
        self.describe("offer")

    def take(self, kind, text):
        if kind == "offer":
            self.kinds = re.findall(r"^m=(audio|video) ", text, re.MULTILINE)
            for media in self.kinds:
                self.send(media, int(re.search(r"^a=rtpmap:(\d+) " + NAMES[media], text, re.MULTILINE)[1]))
            self.pipeline.set_state(Gst.State.PLAYING)
        self.ask("set-remote-description", description(kind, text))
        if kind == "offer":
            time.sleep(0.5)
            self.describe("answer")

    def obey(self, value):
        if "sdp" in value:
            self.take(value["type"], value["sdp"])
        elif value.get("candidate"):
            self.bin.emit("add-ice-candidate", value.get("sdpMLineIndex") or 0, value["candidate"])
        elif "send" in value:
            self.channel.emit("send-string", value["send"])
        elif "sendBase64" in value:
            self.channel.emit("send-data", GLib.Bytes.new(base64.b64decode(value["sendBase64"])))


def description(kind, text):
    _, message = GstSdp.SDPMessage.new_from_text(text)
    which = GstWebRTC.WebRTCSDPType.OFFER if kind == "offer" else GstWebRTC.WebRTCSDPType.ANSWER
    return GstWebRTC.WebRTCSessionDescription.new(which, message)


def with_media(parser):
    parser.add_argument("--media", choices=["send"], default="send")
    parser.add_argument("--media-kinds", default="audio,video", help="with --offer")
    parser.add_argument("--no-channel", action="store_true", help="with --offer: no data section")
    parser.add_argument("--lasting", type=float, default=5, metavar="SECONDS")


def main():
    options = lines.options(__doc__.split("\n")[0], with_media)
    Gst.init(None)
    peer = Peer(options)
    threading.Thread(target=peer.conclude, daemon=True).start()
    if options.offer:
        peer.offer()
    for line in sys.stdin:
        peer.obey(json.loads(line))
    peer.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
