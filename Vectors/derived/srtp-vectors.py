#!/usr/bin/env python3
"""Prints Vectors/derived/srtp.txt: protected packets computed from the RFCs with Python's `cryptography`, without libsrtp.

    python3 Vectors/derived/srtp-vectors.py > Vectors/derived/srtp.txt
    GO111MODULE=off GOPATH=/usr/share/gocode go run Vectors/derived/srtp-pion.go Vectors/derived/srtp.txt
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROFILES = {1: ("SRTP_AES128_CM_HMAC_SHA1_80", 16, 14), 7: ("SRTP_AEAD_AES_128_GCM", 16, 12),
            8: ("SRTP_AEAD_AES_256_GCM", 32, 12)}
SSRC = 0x5EED0001


def stream(count, seed):
    """Bytes that look random and are always the same."""
    out = b""
    while len(out) < count:
        out += hashlib.sha256(b"%s %d" % (seed.encode(), len(out))).digest()
    return out[:count]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def counter_mode(key, start, data):
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update(data)


def derive(key, salt, label, count):
    """RFC 3711 §4.3.1 and §4.3.3 with a key derivation rate of 0; a salt of 12 bytes is extended by zeros (RFC 7714 §11)."""
    salt = salt.ljust(14, b"\0")
    return counter_mode(key, xor(salt, bytes(7) + bytes([label]) + bytes(6)) + b"\0\0", bytes(count))


class Keys:
    def __init__(self, profile):
        self.name, key_length, salt_length = PROFILES[profile]
        self.is_aead = profile != 1
        self.key, self.salt = stream(key_length, "key %d" % profile), stream(salt_length, "salt %d" % profile)
        labels = {name: derive(self.key, self.salt, label, count) for name, label, count in (
            ("rtp", 0, key_length), ("rtp-tag", 1, 20), ("rtp-salt", 2, salt_length),
            ("rtcp", 3, key_length), ("rtcp-tag", 4, 20), ("rtcp-salt", 5, salt_length))}
        self.labels = labels

    def rtp(self, packet, header_length, roc):
        sequence = packet[2:4]
        header, payload = packet[:header_length], packet[header_length:]
        key, salt = self.labels["rtp"], self.labels["rtp-salt"]
        if self.is_aead:  # RFC 7714 §8.1
            nonce = xor(b"\0\0" + packet[8:12] + struct.pack(">I", roc) + sequence, salt)
            return header + AESGCM(key).encrypt(nonce, payload, header)
        # RFC 3711 §4.1.1 and §4.2
        start = xor(bytes(4) + packet[8:12] + struct.pack(">I", roc) + sequence, salt + b"\0\0") + b"\0\0"
        sealed = header + counter_mode(key, start[:16], payload)
        return sealed + hmac.new(self.labels["rtp-tag"], sealed + struct.pack(">I", roc), "sha1").digest()[:10]

    def rtcp(self, packet, index):
        header, body, word = packet[:8], packet[8:], struct.pack(">I", 0x80000000 | index)
        key, salt = self.labels["rtcp"], self.labels["rtcp-salt"]
        if self.is_aead:  # RFC 7714 §9.1, §9.2
            nonce = xor(b"\0\0" + packet[4:8] + b"\0\0" + struct.pack(">I", index), salt)
            return header + AESGCM(key).encrypt(nonce, body, header + word) + word
        start = xor(bytes(4) + packet[4:8] + struct.pack(">Q", index << 16), salt + b"\0\0")
        sealed = header + counter_mode(key, start, body) + word
        return sealed + hmac.new(self.labels["rtcp-tag"], sealed, "sha1").digest()[:10]


def rtp(sequence, first=0x80, after_header=b"", payload_length=40):
    header = struct.pack(">BBHII", first, 0x80 | 96, sequence, 90_000 + sequence, SSRC) + after_header
    return header + stream(payload_length, "payload %d" % payload_length), len(header)


SHAPES = [  # in the order in which a sender sends them
    ("plain", 0, rtp(0x9000)),
    ("empty", 0, rtp(0x9001, payload_length=0)),
    ("contributing-sources", 0, rtp(0x9002, 0x83, bytes(range(12)))),
    ("one-byte-extension", 0, rtp(0x9003, 0x90, bytes.fromhex("bede0002306122aabbcc0000"))),
    ("two-byte-extension-and-source", 0, rtp(0x9004, 0x91, b"\1\2\3\4" + bytes.fromhex("100000010102aabb"))),
    ("padding", 0, rtp(0x9005, 0xA0, payload_length=36)),
    ("full", 0, rtp(0x9006, payload_length=1_188)),
    ("before-rollover", 0, rtp(0xFFFE)),
    ("after-rollover", 1, rtp(0x0001)),
    ("late", 0, rtp(0xFFFF)),
]
CONTROL = [
    ("receiver-report", 1, struct.pack(">BBHI", 0x80, 201, 1, SSRC)),
    ("sender-report-compound", 2, struct.pack(">BBHI", 0x80, 200, 6, SSRC) + stream(20, "report")
     + struct.pack(">BBHI", 0x81, 202, 3, SSRC) + bytes.fromhex("0104616263640000")),
    ("last-index", 0x7FFFFFFF, struct.pack(">BBHI", 0x81, 206, 2, SSRC) + struct.pack(">I", 0x0BADCAFE)),
]


def main():
    print("# Format as in Vectors/rfc. Made by Vectors/derived/srtp-vectors.py, which knows the RFCs and not libsrtp.\n"
          "# A packet of RTP has its rollover counter, one of RTCP its index; they are in the order of sending.")
    for profile in PROFILES:
        keys = Keys(profile)
        for kind, cases in (("rtp", SHAPES), ("rtcp", CONTROL)):
            for name, number, case in cases:
                packet, sealed = (case[0], keys.rtp(*case, number)) if kind == "rtp" else (case, keys.rtcp(case, number))
                print("\nname: %s-%d-%s\nstatus = derived\nchecked = python `cryptography`%s" % (
                    kind, profile, name, "; srtp-pion.go finds the same" if profile != 8 else ""))
                print("profile = %s\nmaster key = %s\nmaster salt = %s\nnumber = %d\nplain = %s\nprotected = %s" % (
                    keys.name, keys.key.hex(), keys.salt.hex(), number, packet.hex(), sealed.hex()))


if __name__ == "__main__":
    main()
