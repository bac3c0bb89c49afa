"""Tracks of aiortc whose pictures carry a number, and what becomes of them on their way there and back.

Each picture is white but for a row of black squares, the bits of its number: a decoder that has lost or mixed anything
up shows others, or none. The sound is a tone.
"""

import asyncio
import fractions
import math
import struct
import time

import lines
from aiortc import RTCRtpSender, mediastreams, rtcdtlstransport
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, RATE = 320, 240, 30
SQUARE = 16  # pixels; a macroblock, so that coding one leaves its neighbours alone
BITS = 16
WHITE, BLACK, GREY = 235, 16, 128  # of Y, and no colour
SAMPLES, SAMPLE_RATE, TONE, LOUDNESS = 960, 48_000, 400, 8_000
SETTLING = 1.0  # seconds for the last pictures to come back


def picture(number):
    bits = number | (number ^ 0xFF) << 16  # the low byte again, inverted, against pictures that show nothing
    row = b"".join(bytes([BLACK if bits >> bit & 1 else WHITE]) * SQUARE for bit in range(BITS))
    row = row.ljust(WIDTH, bytes([WHITE]))
    inverse = b"".join(bytes([BLACK if bits >> 16 >> bit & 1 else WHITE]) * SQUARE for bit in range(8))
    inverse = inverse.ljust(WIDTH, bytes([WHITE]))
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    luma = row * SQUARE + inverse * SQUARE + bytes([WHITE]) * WIDTH * (HEIGHT - 2 * SQUARE)
    for plane, content in zip(frame.planes, (luma, *[bytes([GREY]) * (WIDTH * HEIGHT // 4)] * 2)):
        rows = (content[at:at + plane.width] for at in range(0, len(content), plane.width))
        plane.update(b"".join(line.ljust(plane.line_size, b"\0") for line in rows))
    return frame


def number_in(frame):
    """The number that a picture carries, or None when it carries none."""
    frame = frame.reformat(WIDTH, HEIGHT, "yuv420p")
    luma, stride = bytes(frame.planes[0]), frame.planes[0].line_size

    def bits(row, count):
        at = (row * SQUARE + SQUARE // 2) * stride + SQUARE // 2
        return sum((luma[at + bit * SQUARE] < 128) << bit for bit in range(count))

    number, inverse = bits(0, BITS), bits(1, 8)
    return number if number & 0xFF == inverse ^ 0xFF else None


class Pictures(mediastreams.MediaStreamTrack):
    kind = "video"

    def __init__(self):
        super().__init__()
        self.sent, self.began, self.over = 0, None, asyncio.Event()

    async def recv(self):
        if self.over.is_set():
            await asyncio.Event().wait()  # no more, without ending the stream
        now = time.monotonic()
        self.began = self.began or now
        await asyncio.sleep(max(0, self.began + self.sent / RATE - now))
        frame = picture(self.sent)
        frame.pts, frame.time_base = self.sent * 90_000 // RATE, fractions.Fraction(1, 90_000)
        self.sent += 1
        return frame


class Tone(mediastreams.MediaStreamTrack):
    kind = "audio"

    def __init__(self):
        super().__init__()
        self.sent, self.began, self.over = 0, None, asyncio.Event()
        self.samples = struct.pack("<%dh" % SAMPLES, *(
            int(LOUDNESS * math.sin(2 * math.pi * TONE * at / SAMPLE_RATE)) for at in range(SAMPLES)))

    async def recv(self):
        if self.over.is_set():
            await asyncio.Event().wait()
        now = time.monotonic()
        self.began = self.began or now
        await asyncio.sleep(max(0, self.began + self.sent * SAMPLES / SAMPLE_RATE - now))
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(self.samples)
        frame.pts, frame.sample_rate = self.sent * SAMPLES, SAMPLE_RATE
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self.sent += 1
        return frame


class Media:
    """The tracks of one connection; what came of them is told `lasting` seconds after the first has come back."""

    def __init__(self, connection, options):
        self.connection, self.lasting, self.codec = connection, options.lasting, options.codec
        self.sources = {"video": Pictures(), "audio": Tone()}
        self.kinds = options.media_kinds.split(",")
        self.came = {kind: {"received": 0, "damaged": 0, "late": 0, "codec": ""} for kind in self.sources}
        self.numbers, self.highest, self.loudness = set(), -1, 0
        self.tasks, self.first = [], {}
        connection.on("track", self.track)

    def offer(self):
        for kind in self.kinds:
            self.prefer(self.connection.addTransceiver(self.sources[kind], direction="sendrecv"))

    def adopt(self):
        """Sends on every section of an offer that has come, before it is answered."""
        self.kinds = []
        for transceiver in self.connection.getTransceivers():
            transceiver.sender.replaceTrack(self.sources[transceiver.kind])
            transceiver.direction = "sendrecv"
            self.kinds.append(transceiver.kind)
            self.prefer(transceiver)

    def prefer(self, transceiver):
        if self.codec and transceiver.kind == "video":
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [codec for codec in known if codec.mimeType.lower() in ("video/" + self.codec.lower(), "video/rtx")])

    def track(self, track):
        lines.write(event="track", kind=track.kind)
        self.tasks.append(asyncio.ensure_future(self.consume(track)))
        if len(self.tasks) == len(self.kinds):
            self.tasks.append(asyncio.ensure_future(self.conclude()))

    async def consume(self, track):
        counts = self.came[track.kind]
        try:
            while True:
                frame = await track.recv()
                self.first.setdefault(track.kind, asyncio.get_running_loop().time())
                if track.kind == "audio":
                    counts["received"] += 1
                    self.loudness = max(self.loudness, *struct.unpack_from("<240h", bytes(frame.planes[0])))
                    continue
                number = number_in(frame)
                if number is None or number in self.numbers:
                    counts["damaged"] += 1
                    continue
                self.numbers.add(number)
                counts["received"] += 1
                counts["late"] += number < self.highest
                self.highest = max(self.highest, number)
        except mediastreams.MediaStreamError:
            pass

    async def conclude(self):
        while len(self.first) < len(self.kinds):
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.lasting)
        for kind in self.kinds:
            self.sources[kind].over.set()
        await asyncio.sleep(SETTLING)
        dtls = self.connection.getTransceivers()[0].sender.transport
        seconds = max(self.first.values()) - min(source.began for source in self.sources.values() if source.began)
        for kind in self.kinds:
            reports = await self.connection.getTransceivers()[self.kinds.index(kind)].sender.getStats()
            remote = [report for report in reports.values() if report.type == "remote-inbound-rtp"]
            lines.write(
                event="media", kind=kind, sent=self.sources[kind].sent, **self.came[kind],
                first=min(self.numbers, default=-1), last=self.highest, loudness=self.loudness, untilFirst=round(seconds * 1000), profile=profile_of(dtls),
                roundTrip=remote[0].roundTripTime if remote else None, reports=len(remote))


def profile_of(transport):
    profile = transport._ssl.get_selected_srtp_profile() if transport._ssl else b""
    return profile.decode()


def allow_only(profile):
    """Restricts what DTLS offers and takes to one profile of SRTP, by OpenSSL's name."""
    known = rtcdtlstransport.SRTP_PROFILES
    known[:] = [one for one in known if one.openssl_profile.decode() == profile]
    if not known:
        raise SystemExit("no SRTP profile " + profile)
