#!/usr/bin/env python3
"""Writes written.txt: packets that this package writes, with what Pion, aiortc and tshark read from them.

    ./make_written.py < PACKETS > written.txt

PACKETS are lines of a name, a tab, and hexadecimal digits: what WrittenPackets.all() of Tests/RTPTests returns. A witness that
cannot say what is in a packet (aiortc: APP, FIR, transport-wide feedback, two SDES chunks, NACKs over the wrap, why somebody
leaves; Pion 1.2.10: APP) is left out for it.
"""
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from aiortc.rtp import RtpPacket, unpack_header_extensions

from make_aiortc import rtcp_summary

HERE = Path(__file__).resolve().parent
# What a witness is known not to read.
SILENT = {
    "aiortc": ["APP", "FIR", "transport-wide", "two sources", "NACK across", "BYE"],
    "pion": ["APP"],
}


def is_rtcp(data):
    return 192 <= data[1] <= 223


class AnyExtensions:
    """Stands in for aiortc's map of extensions, to see all elements."""

    def get(self, profile, value):
        self.elements = unpack_header_extensions(profile, value)
        return None


def aiortc_summary(data):
    if is_rtcp(data):
        return rtcp_summary(data)
    extensions = AnyExtensions()
    extensions.elements = []
    p = RtpPacket.parse(data, extensions)
    elements = ",".join(f"{number}:{value.hex()}" for number, value in extensions.elements)
    return (f"rtp m={p.marker} pt={p.payload_type} seq={p.sequence_number} ts={p.timestamp} ssrc={p.ssrc}"
            f" csrcs=[{','.join(map(str, p.csrc))}] ext=[{elements}] padding={p.padding_size} payload={p.payload.hex()}")


def pion_summaries(packets):
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
    done = subprocess.run(
        ["go", "run", HERE / "make_pion.go", "read"], input="\n".join(data.hex() for data in packets) + "\n", text=True,
        stdout=subprocess.PIPE, env=environment, check=True)
    return done.stdout.splitlines()


def tshark(packets, protocol):
    """The decoded layers of each packet, as text."""
    with tempfile.TemporaryDirectory() as folder:
        dump, capture = Path(folder) / "dump", Path(folder) / "capture"
        with open(dump, "w") as out:
            for data in packets:
                for at in range(0, len(data), 16):
                    out.write(f"{at:06x} {data[at:at + 16].hex(' ')}\n")
                out.write("\n")
        subprocess.run(["text2pcap", "-q", "-u", "5004,5004", dump, capture], check=True, stderr=subprocess.DEVNULL)
        text = subprocess.run(
            ["tshark", "-r", capture, "-d", f"udp.port==5004,{protocol}", "-V", "-O", protocol], check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    frames = re.split(r"^Frame \d+:.*\n", text, flags=re.MULTILINE)[1:]
    assert len(frames) == len(packets), "tshark shows every packet"
    return frames


def number(text, label):
    return int(re.search(rf"{label}: (?:0x\S+ \()?(-?\d+)", text)[1])


def tshark_rtp(text):
    elements = re.findall(r"Identifier: (\d+)\n\s+Length: (\d+)\n(?:\s+Extension Data: (\w+))?", text)
    sources = re.findall(r"CSRC item \d+: 0x(\w+)", text)
    payload = re.search(r"Payload: (\w+)", text)
    payload_type = re.search(r"Payload type: .*[(](\d+)[)]", text)
    padding = re.search(r"Padding count: (\d+)", text)
    return (f"rtp m={int('Marker: True' in text)} pt={payload_type[1]}"
            f" seq={number(text, 'Sequence number')} ts={number(text, 'Timestamp')}"
            f" ssrc={number(text, 'Synchronization Source identifier')} csrcs=[{','.join(str(int(s, 16)) for s in sources)}]"
            f" ext=[{','.join(f'{i}:{value}' for i, _, value in elements)}]"
            f" padding={padding[1] if padding else 0} payload={payload[1] if payload else ''}")


def tshark_blocks(text):
    blocks = []
    for b in re.split(r"^    Source \d+\n", text, flags=re.MULTILINE)[1:]:
        blocks.append(":".join(str(number(b, label)) for label in [
            "Identifier", "Fraction lost", "Cumulative number of packets lost", "Extended highest sequence number received",
            "Interarrival jitter", "Last SR timestamp", "Delay since last SR timestamp"]))
    return f"[{','.join(blocks)}]"


def tshark_rtcp(text):
    assert "frame length check: OK" in text, text
    parts = []
    for layer in re.split(r"^Real-time Transport Control Protocol ", text, flags=re.MULTILINE)[1:]:
        kind = re.match(r"\(([^)]*)\)", layer)[1]
        sender = re.search(r"Sender SSRC: \S+ \((\d+)\)", layer)
        media = re.search(r"Media source SSRC: \S+ \((\d+)\)", layer)
        if kind == "Sender Report":
            ntp = number(layer, "Timestamp, MSW") << 32 | number(layer, "Timestamp, LSW")
            parts.append(f"sr {sender[1]} {ntp} {number(layer, 'RTP timestamp')} {number(layer, 'packet count')}"
                         f" {number(layer, 'octet count')} {tshark_blocks(layer)}")
        elif kind == "Receiver Report":
            parts.append(f"rr {sender[1]} {tshark_blocks(layer)}")
        elif kind == "Source description":
            chunks = []
            for chunk in re.split(r"^    Chunk \d+,.*\n", layer, flags=re.MULTILINE)[1:]:
                items = re.findall(r"Type: [^\n]*\((\d+)\)\n\s+Length: \d+\n(?:\s+Text: (.*)\n)?", chunk)
                chunks.append(f"{number(chunk, 'Identifier')}:" + "+".join(f"{t}={value}" for t, value in items))
            parts.append(f"sdes [{','.join(chunks)}]")
        elif kind == "Goodbye":
            sources = re.findall(r"Identifier: \S+ \((\d+)\)", layer)
            reason = re.search(r"Text: (.*)", layer)
            parts.append(f"bye [{','.join(sources)}] {reason[1] if reason else '-'}")
        elif kind == "Application specific":
            name = int.from_bytes(re.search(r"Name \(ASCII\): (.*)", layer)[1].encode(), "big")
            data = re.search(r"specific data: (.*)", layer)[1]
            parts.append(f"app {number(layer, 'Subtype')} {number(layer, 'Identifier')} {name} {data}")
        elif "(NACK)" in layer:
            lost = []
            for pid, also in re.findall(r"NACK PID: (\d+)\n.*BLP.*\n((?:\s+Frame \d+ also lost\n)*)", layer):
                lost += [int(pid)] + [int(n) & 0xffff for n in re.findall(r"Frame (\d+)", also)]
            parts.append(f"nack {sender[1]} {media[1]} [{','.join(map(str, lost))}]")
        elif "Transport-cc)" in layer:
            base, count = number(layer, "Base Sequence Number"), number(layer, "Packet Status Count")
            words = ["-"] * count
            for sequence, delta in re.findall(r"\[seq: (\d+)\] (-?[\d.]+) ms", layer):
                words[(int(sequence) - base) & 0xffff] = str(round(float(delta) * 4))
            parts.append(f"tcc {sender[1]} {media[1]} base={base} ref={number(layer, 'Reference Time')}"
                         f" count={number(layer, 'Feedback Packets Count')} [{','.join(words)}]")
        elif "Picture Loss Indication" in layer:
            parts.append(f"pli {sender[1]} {media[1]}")
        elif "Full Intra Request" in layer:
            entries = re.findall(r"SSRC: \S+ \((\d+)\)\n\s+Command Sequence Number: (\d+)", layer)
            parts.append(f"fir {sender[1]} [{','.join(f'{s}:{n}' for s, n in entries)}]")
        elif "REMB" in layer:
            sources = re.findall(r"^        SSRC: \S+ \((\d+)\)", layer, flags=re.MULTILINE)
            parts.append(f"remb {sender[1]} {number(layer, 'Maximum bit rate')} [{','.join(sources)}]")
        else:
            raise SystemExit(f"no words for {layer}")
    return "; ".join(parts)


def main():
    names, packets = [], []
    for line in sys.stdin:
        name, digits = line.rstrip("\n").split("\t")[:2]
        names.append(name)
        packets.append(bytes.fromhex(digits))
    witnesses = {"tshark": {}, "pion": {}, "aiortc": {}}
    for protocol, words in [("rtp", tshark_rtp), ("rtcp", tshark_rtcp)]:
        mine = [at for at, data in enumerate(packets) if is_rtcp(data) == (protocol == "rtcp")]
        for at, text in zip(mine, tshark([packets[at] for at in mine], protocol)):
            witnesses["tshark"][at] = words(text)
    heard = [at for at, name in enumerate(names) if not any(word in name for word in SILENT["pion"])]
    witnesses["pion"] = dict(zip(heard, pion_summaries([packets[at] for at in heard])))
    for at, name in enumerate(names):
        if not any(word in name for word in SILENT["aiortc"]):
            witnesses["aiortc"][at] = aiortc_summary(packets[at])

    about = subprocess.run(["tshark", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    print(f"""# Packets that this package writes (WrittenPackets.swift in Tests/RTPTests), and what others read from them, put into the words
# of Summary.swift by make_written.py beside this file: tshark {about[2]} (text2pcap, then tshark -d udp.port==5004,rtp or rtcp),
# Pion (Debian golang-github-pion-rtp-dev 1.7.13-1, golang-github-pion-rtcp-dev 1.2.10-1), aiortc {version('aiortc')}.""")
    for at, name in enumerate(names):
        print(f"\nname: {name}")
        for witness, said in witnesses.items():
            if at in said:
                print(f"{witness} = {said[at]}")
        text = packets[at].hex()
        print("bytes =\n" + "\n".join(text[cut:cut + 112] for cut in range(0, len(text), 112)))


main()
