"""Recorded RTP in the format of rtptools' rtpdump: a line, a header, and each packet after its length and time."""

import struct

FIRST_LINE = b"#!rtpplay1.0 127.0.0.1/5004\n"
HEADER = struct.Struct("!IIIHH")  # when it began, in seconds and microseconds; from which address and port; padding
RECORD = struct.Struct("!HHI")  # length with this header, length of the packet, milliseconds since the beginning


def write(path, packets):
    with open(path, "wb") as file:
        file.write(FIRST_LINE + HEADER.pack(0, 0, 0, 0, 0))
        for milliseconds, packet in packets:
            file.write(RECORD.pack(len(packet) + RECORD.size, len(packet), milliseconds) + packet)


def read(path):
    """Milliseconds and bytes of each RTP packet."""
    with open(path, "rb") as file:
        data = file.read()
    at, packets = data.index(b"\n") + 1 + HEADER.size, []
    while at + RECORD.size <= len(data):
        length, size, milliseconds = RECORD.unpack_from(data, at)
        if size:  # none is RTCP
            packets.append((milliseconds, data[at + RECORD.size:at + RECORD.size + size]))
        at += length
    return packets


def contents(packets):
    """What is the same wherever a packet has been: marker, sequence number, timestamp and payload, in order."""
    for _, packet in packets:
        start = 12 + 4 * (packet[0] & 15)
        marker_and_type, number, timestamp = struct.unpack_from("!BHI", packet, 1)
        yield marker_and_type >> 7, number, timestamp, packet[start:]


def frames(packets):
    """How many pictures: packets of one have one timestamp."""
    return len({packet[4:8] for _, packet in packets})
