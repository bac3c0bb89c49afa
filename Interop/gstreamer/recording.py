#!/usr/bin/python3
"""Makes a recording of VP8 in rtpdump's format, or decodes one and says how many pictures it holds: by GStreamer.

    recording.py make FILE --frames 150 --payload-type 96
    recording.py decode FILE

Debian's own Python runs it: gstreamer1.0-plugins-good, python3-gst-1.0.
"""

import argparse
import json
import struct
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import rtpdump  # noqa: E402

RATE = 30
PATIENCE = 60 * Gst.SECOND


def run(pipeline):
    """Until all has gone through it."""
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(PATIENCE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if message is None or message.type == Gst.MessageType.ERROR:
        sys.exit("recording: %s" % (message.parse_error() if message else "no end"))


def make(path, frames, payload_type):
    pipeline = Gst.parse_launch(
        "videotestsrc num-buffers=%d pattern=zone-plate kx2=20 ky2=20 kt=1"
        " ! video/x-raw,width=320,height=240,framerate=%d/1"
        " ! vp8enc deadline=1 target-bitrate=400000 ! rtpvp8pay pt=%d mtu=1150 picture-id-mode=15-bit"
        " ! fakesink name=end signal-handoffs=true" % (frames, RATE, payload_type))
    packets = []

    def packet(_, buffer, __):
        packets.append((buffer.pts // Gst.MSECOND, buffer.extract_dup(0, buffer.get_size())))

    pipeline.get_by_name("end").connect("handoff", packet)
    run(pipeline)
    rtpdump.write(path, packets)
    return len(packets)


def decode(path):
    packets = [packet for _, packet in rtpdump.read(path)]
    payload_type = packets[0][1] & 127
    pipeline = Gst.parse_launch(
        "appsrc name=begin format=time ! rtpvp8depay ! vp8dec ! fakesink name=end signal-handoffs=true")
    source, count = pipeline.get_by_name("begin"), [0]
    source.set_property("caps", Gst.Caps.from_string(
        "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=%d" % payload_type))

    def decoded(*_):
        count[0] += 1

    pipeline.get_by_name("end").connect("handoff", decoded)
    pipeline.set_state(Gst.State.PLAYING)
    first = struct.unpack_from("!I", packets[0], 4)[0]
    for packet in packets:
        buffer = Gst.Buffer.new_wrapped(packet)
        buffer.pts = (struct.unpack_from("!I", packet, 4)[0] - first) % (1 << 32) * Gst.SECOND // 90_000
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    run(pipeline)
    return count[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["make", "decode"])
    parser.add_argument("file")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--payload-type", type=int, default=96)
    options = parser.parse_args()
    Gst.init(None)
    if options.what == "make":
        print(json.dumps({"packets": make(options.file, options.frames, options.payload_type)}))
    else:
        print(json.dumps({"frames": decode(options.file)}))


if __name__ == "__main__":
    main()
