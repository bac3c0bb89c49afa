"""Records the UDP datagrams on the loopback interface and writes STUN, DTLS handshakes and SCTP down as vectors.

SCTP is encrypted on the wire; its packets come from Chromium's log.

Uses a packet socket: needs CAP_NET_RAW, and nothing installed.
"""

import os
import re
import select
import socket
import struct
import threading

EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING: the loopback shows every packet twice, once as it leaves and once as it arrives
UDP = 17
STUN_KEPT = 16  # distinct enough for a decoder; a session repeats itself after that
DTLS_KEPT = 24
SCTP_KEPT = 32
SCTP_LINE = re.compile(r"^([IO]) \S+ 0000((?: [0-9a-f]{2})+) # SCTP_PACKET", re.MULTILINE)


class Capture:
    def __enter__(self):
        self.datagrams = []  # (source port, destination port, payload)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERY_PROTOCOL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self.socket.bind(("lo", EVERY_PROTOCOL))
        self.done_read, self.done_write = os.pipe()
        self.thread = threading.Thread(target=self.receive, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        os.write(self.done_write, b"x")
        self.thread.join()
        self.socket.close()
        os.close(self.done_read)
        os.close(self.done_write)

    def receive(self):
        while True:
            readable, _, _ = select.select([self.socket, self.done_read], [], [])
            if self.socket in readable:
                packet, address = self.socket.recvfrom(1 << 17)
                if address[2] == OUTGOING and (datagram := udp_of(packet)):
                    self.datagrams.append(datagram)
            elif self.done_read in readable:
                return

    def write(self, folder, version, exchanged, log):
        """Files of one session: descriptions as they were sent, candidate lines, and the datagrams in hexadecimal."""
        os.makedirs(folder, exist_ok=True)
        passwords, ports = {}, {}
        candidates = []
        for sender, value in exchanged:
            sender = "chromium" if sender == "chromium" else "peer"
            if "type" in value:
                with open(os.path.join(folder, value["type"] + ".sdp"), "w", newline="") as file:
                    file.write(value["sdp"])
                for line in value["sdp"].split("\r\n"):
                    if line.startswith("a=ice-pwd:"):
                        passwords[sender] = line[len("a=ice-pwd:"):]
                    if line.startswith("a=candidate:"):
                        ports[int(line.split()[5])] = sender
            elif value["candidate"]:
                candidates.append((sender, value["candidate"]))
                ports[int(value["candidate"].split()[5])] = sender
        with open(os.path.join(folder, "candidates.txt"), "w") as file:
            file.writelines("%s\n" % line for sender, line in candidates if sender == "chromium")

        stun, dtls = [], []
        for source, destination, payload in self.datagrams:
            if not payload or source not in ports or destination not in ports:
                continue
            if payload[0] < 4 and len(stun) < STUN_KEPT:
                stun.append((ports[source], payload))
            elif 20 <= payload[0] < 64 and payload[3:5] == b"\0\0" and len(dtls) < DTLS_KEPT:  # epoch 0: not encrypted
                dtls.append((ports[source], payload))
        session = "chromium-" + os.path.basename(folder)
        with open(os.path.join(folder, "stun.txt"), "w") as file:
            file.write("# STUN messages of one session with %s, in order.\n" % version)
            file.write("# A request, and the answer to it, is keyed with the password of the side that is asked.\n")
            for number, (sender, payload) in enumerate(stun):
                asked = sender if payload[0] & 1 else other(sender)  # bit 8 of the type: a response
                write_record(file, session, number, sender, payload, password=passwords.get(asked))
        with open(os.path.join(folder, "dtls.txt"), "w") as file:
            file.write("# Datagrams of the DTLS handshake of one session with %s, up to the first encrypted record.\n"
                       % version)
            for number, (sender, payload) in enumerate(dtls):
                write_record(file, session, number, sender, payload)
        packets = [("chromium" if way == "O" else "peer", bytes.fromhex(text)) for way, text in SCTP_LINE.findall(log)]
        with open(os.path.join(folder, "sctp.txt"), "w") as file:
            file.write("# SCTP packets of one session with %s, as its own SCTP logged them.\n" % version)
            for number, (sender, payload) in enumerate(packets[:SCTP_KEPT]):
                write_record(file, session, number, sender, payload)


def other(sender):
    return "peer" if sender == "chromium" else "chromium"


def write_record(file, session, number, sender, payload, **values):
    file.write("\nname: %s-%02d\nsender = %s\n" % (session, number, sender))
    file.writelines("%s = %s\n" % pair for pair in values.items() if pair[1])
    file.write("message (%d bytes) =\n" % len(payload))
    text = payload.hex()
    file.writelines(text[at:at + 96] + "\n" for at in range(0, len(text), 96))


def udp_of(packet):
    """(source port, destination port, payload) of an IP packet, or None when it carries no whole UDP datagram."""
    if not packet:
        return None
    if packet[0] >> 4 == 4 and len(packet) >= 28 and packet[9] == UDP:
        start = (packet[0] & 15) * 4
    elif packet[0] >> 4 == 6 and len(packet) >= 48 and packet[6] == UDP:
        start = 40
    else:
        return None
    source, destination, length = struct.unpack_from("!HHH", packet, start)
    return source, destination, packet[start + 8:start + length]
