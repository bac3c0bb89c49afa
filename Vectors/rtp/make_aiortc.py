#!/usr/bin/env python3
"""Writes aiortc.txt: RTP and RTCP packets as aiortc makes them, with what aiortc's own parser says of each.

    pip install aiortc && ./make_aiortc.py > aiortc.txt

The line "parsed" is in the words of Tests/RTPTests/Summary.swift.
"""
from importlib.metadata import version
import os

os.urandom = lambda count: bytes(range(1, count + 1))  # padding that is the same every time

from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import (
    HeaderExtensionsMap, RtcpByePacket, RtcpPacket, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpRtpfbPacket,
    RtcpSdesPacket, RtcpSenderInfo, RtcpSourceInfo, RtcpSrPacket, RtpPacket, pack_header_extensions, pack_remb_fci,
    unpack_header_extensions, unpack_remb_fci, unwrap_rtx, wrap_rtx,
)

IDS = {
    1: "urn:ietf:params:rtp-hdrext:sdes:mid",
    2: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    3: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    4: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    5: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    6: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
}
EXTENSIONS = HeaderExtensionsMap()
EXTENSIONS.configure(
    RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=n, uri=uri) for n, uri in IDS.items()]))


def record(name, data, parsed, **more):
    print(f"\nname: {name}\nparsed = {parsed}")
    for key, value in more.items():
        print(f"{key} = {value}")
    text = data.hex()
    print("bytes =\n" + "\n".join(text[at:at + 112] for at in range(0, len(text), 112)))


def rtp_summary(data):
    packet = RtpPacket.parse(data, EXTENSIONS)
    e = packet.extensions
    values = []
    for name, value in [
        ("mid", e.mid), ("rid", e.rtp_stream_id), ("rrid", e.repaired_rtp_stream_id), ("abs", e.abs_send_time),
        ("level", e.audio_level and f"{int(e.audio_level[0])}/{e.audio_level[1]}"), ("tsn", e.transport_sequence_number),
    ]:
        if value is not None:
            values.append(f"{name}:{value}")
    return (
        f"rtp m={packet.marker} pt={packet.payload_type} seq={packet.sequence_number} ts={packet.timestamp}"
        f" ssrc={packet.ssrc} csrcs=[{','.join(map(str, packet.csrc))}] ext=[{','.join(values)}]"
        f" padding={packet.padding_size} payload={packet.payload.hex()}")


def blocks(reports):
    return "[" + ",".join(
        ":".join(map(str, (r.ssrc, r.fraction_lost, r.packets_lost, r.highest_sequence, r.jitter, r.lsr, r.dlsr)))
        for r in reports) + "]"


def rtcp_summary(data):
    parts = []
    for p in RtcpPacket.parse(data):
        match p:
            case RtcpSrPacket():
                i = p.sender_info
                parts.append(
                    f"sr {p.ssrc} {i.ntp_timestamp} {i.rtp_timestamp} {i.packet_count} {i.octet_count} {blocks(p.reports)}")
            case RtcpRrPacket():
                parts.append(f"rr {p.ssrc} {blocks(p.reports)}")
            case RtcpSdesPacket():
                chunks = (f"{c.ssrc}:" + "+".join(f"{t}={v.decode()}" for t, v in c.items) for c in p.chunks)
                parts.append(f"sdes [{','.join(chunks)}]")
            case RtcpByePacket():
                parts.append(f"bye [{','.join(map(str, p.sources))}] -")
            case RtcpRtpfbPacket(fmt=1):
                parts.append(f"nack {p.ssrc} {p.media_ssrc} [{','.join(map(str, p.lost))}]")
            case RtcpPsfbPacket(fmt=1):
                parts.append(f"pli {p.ssrc} {p.media_ssrc}")
            case RtcpPsfbPacket(fmt=15):
                bitrate, ssrcs = unpack_remb_fci(p.fci)
                parts.append(f"remb {p.ssrc} {bitrate} [{','.join(map(str, ssrcs))}]")
            case _:
                raise SystemExit(f"no words for {p}")
    return "; ".join(parts)


def rtp(name, data):
    record(name, data, rtp_summary(data))


def rtcp(name, *packets):
    data = b"".join(map(bytes, packets))
    record(name, data, rtcp_summary(data))


def packet(**fields):
    extensions = fields.pop("extensions", {})
    csrc = fields.pop("csrc", [])
    padding = fields.pop("padding", 0)
    p = RtpPacket(**fields)
    p.csrc, p.padding_size = csrc, padding
    for name, value in extensions.items():
        setattr(p.extensions, name, value)
    return p


def main():
    print(f"""# RTP and RTCP packets made by aiortc {version('aiortc')} with make_aiortc.py beside this file; "parsed" is what aiortc's own
# parser reads from them. Extension ids: 1 mid, 2 rid, 3 repaired-rid, 4 abs-send-time, 5 audio level, 6 transport-wide.""")

    rtp("rtp: bare", packet(payload_type=0, sequence_number=65535, timestamp=0xfffffff0, ssrc=0x80000001, payload=b"\x7f" * 20)
        .serialize())
    rtp("rtp: no payload", packet(payload_type=127, marker=1, ssrc=1).serialize())
    audio = packet(payload_type=111, marker=1, sequence_number=1, timestamp=960, ssrc=1234567890, payload=b"opus frame",
                   extensions={"mid": "0", "audio_level": (True, 23), "transport_sequence_number": 65534})
    rtp("rtp: audio with mid, level and transport-wide number", audio.serialize(EXTENSIONS))
    video = packet(payload_type=96, sequence_number=4242, timestamp=3_000_000_000, ssrc=0xcafebabe, payload=bytes(range(64)),
                   extensions={"mid": "video1", "rtp_stream_id": "hi", "abs_send_time": 0xabcdef,
                               "transport_sequence_number": 258})
    rtp("rtp: video with four extensions", video.serialize(EXTENSIONS))
    rtp("rtp: fifteen contributing sources", packet(payload_type=8, ssrc=5, csrc=list(range(100, 115)), payload=b"x").serialize())
    rtp("rtp: padding of one", packet(payload_type=96, ssrc=7, payload=b"abc", padding=1).serialize())
    rtp("rtp: nothing but 255 of padding", packet(payload_type=97, ssrc=8, padding=255).serialize())
    rtp("rtp: everything at once",
        packet(payload_type=96, marker=1, sequence_number=32768, timestamp=1, ssrc=0xffffffff, csrc=[1, 2], payload=b"\xde\xad",
               padding=6, extensions={"mid": "a-very-long-mid-that-needs-the-two-byte-form", "audio_level": (False, 127)})
        .serialize(EXTENSIONS))
    rtx = wrap_rtx(video, payload_type=97, sequence_number=9, ssrc=0x0badf00d)
    record("rtx: the video packet repeated", rtx.serialize(EXTENSIONS), rtp_summary(rtx.serialize(EXTENSIONS)),
           original=rtp_summary(unwrap_rtx(rtx, payload_type=96, ssrc=0xcafebabe).serialize(EXTENSIONS)))

    info = RtcpSenderInfo(ntp_timestamp=0xe9d3a1b280000000, rtp_timestamp=90000, packet_count=1000, octet_count=1_200_000)
    first = RtcpReceiverInfo(ssrc=11, fraction_lost=64, packets_lost=-1, highest_sequence=0x2ffff, jitter=300, lsr=0xa1b28000,
                             dlsr=65536)
    second = RtcpReceiverInfo(ssrc=12, fraction_lost=255, packets_lost=8388607, highest_sequence=1, jitter=0xffffffff, lsr=0,
                              dlsr=0)
    third = RtcpReceiverInfo(ssrc=13, fraction_lost=0, packets_lost=-8388608, highest_sequence=0, jitter=0, lsr=1, dlsr=1)
    cname = RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=10, items=[(1, b"{7c1f1d6a-5d1c-4c02}")])])
    rtcp("rtcp: SR without blocks, SDES", RtcpSrPacket(ssrc=10, sender_info=info), cname)
    rtcp("rtcp: SR with three blocks, SDES, BYE", RtcpSrPacket(ssrc=10, sender_info=info, reports=[first, second, third]), cname,
         RtcpByePacket(sources=[10]))
    rtcp("rtcp: empty RR", RtcpRrPacket(ssrc=10))
    rtcp("rtcp: RR with 31 blocks", RtcpRrPacket(ssrc=10, reports=[first] * 31))
    rtcp("rtcp: SDES with several items", RtcpSdesPacket(
        chunks=[RtcpSourceInfo(ssrc=10, items=[(1, b"c"), (6, b"a tool"), (15, b"mid"), (12, b"")])]))
    rtcp("rtcp: RR, NACK", RtcpRrPacket(ssrc=1), RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[100, 101, 116, 117, 200]))
    rtcp("rtcp: NACK of seventeen", RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=list(range(1000, 1017))))
    rtcp("rtcp: PLI", RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=0xffffffff))
    rtcp("rtcp: REMB", RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(2_500_000, [2, 3])))
    rtcp("rtcp: REMB of 2^18 - 1", RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(262_143, [])))
    rtcp("rtcp: REMB that needs an exponent of 45",
         RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(0x3ffff << 45, [9])))
    rtcp("rtcp: BYE of 31", RtcpByePacket(sources=list(range(31))))
    rtcp("rtcp: BYE of nobody", RtcpByePacket(sources=[]))


if __name__ == "__main__":
    main()
