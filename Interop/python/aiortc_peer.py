#!/usr/bin/env python3
"""aiortc as a peer that speaks the lines of `swarm connect`: one data channel, and with --media tracks."""

import asyncio
import base64
import sys

import lines
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from aiortc_media import Media, allow_only

LABEL = "swarm"


def use(channel, connection, options):
    """Reports what happens to the channel."""

    @channel.on("open")
    def opened():
        pair = connection.sctp.transport.transport._connection._nominated[1]
        lines.write(event="pair", local=pair.local_candidate.type, remote=pair.remote_candidate.type)
        lines.write(event="open", label=channel.label)

    @channel.on("message")
    def arrived(message):
        if options.echo:
            channel.send(message)
        elif isinstance(message, str):
            lines.write(event="message", text=message)
        else:
            lines.write(event="message", base64=base64.b64encode(message).decode())

    @channel.on("close")
    def closed():
        lines.write(event="closed")

    if channel.readyState == "open":
        opened()


def with_media(parser):
    parser.add_argument("--media", choices=["send"], help="send numbered pictures, and count those that come back")
    parser.add_argument("--media-kinds", default="audio,video", help="with --offer")
    parser.add_argument("--no-channel", action="store_true", help="with --offer: no data section")
    parser.add_argument("--lasting", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--codec", default="", help="VP8 or H264")
    parser.add_argument("--profile", default="", help="of SRTP, the only one, by OpenSSL's name")


async def main():
    options = lines.options(__doc__, with_media)
    if options.profile:
        allow_only(options.profile)
    connection = RTCPeerConnection(RTCConfiguration(
        iceServers=[RTCIceServer(*server) for server in lines.servers(options.ice_servers)],
        iceTransportPolicy=RTCIceTransportPolicy[options.policy.upper()]))
    channels = []
    media = None
    if options.media:
        media = Media(connection, options)

    @connection.on("datachannel")
    def announced(channel):
        channels.append(channel)
        use(channel, connection, options)

    @connection.on("connectionstatechange")
    def changed():
        if connection.connectionState == "failed":
            lines.write(event="failed", reason="ICE or DTLS failed")

    if options.offer:
        if media:
            media.offer()
        if not options.no_channel:
            channels.append(connection.createDataChannel(LABEL))
            use(channels[0], connection, options)
        await connection.setLocalDescription(await connection.createOffer())
        lines.write(type="offer", sdp=connection.localDescription.sdp)
    async for value in lines.read():
        if "sdp" in value:
            await connection.setRemoteDescription(RTCSessionDescription(value["sdp"], value["type"]))
            if value["type"] == "offer":
                if media:
                    media.adopt()
                await connection.setLocalDescription(await connection.createAnswer())
                lines.write(type="answer", sdp=connection.localDescription.sdp)
        elif "candidate" in value:
            await add(connection, value)
        elif "send" in value:
            channels[0].send(value["send"])
        elif "sendBase64" in value:
            channels[0].send(base64.b64decode(value["sendBase64"]))
        elif value.get("close"):
            break
    await connection.close()
    return 0


async def add(connection, value):
    text = value["candidate"].removeprefix("candidate:")
    if not text:
        await connection.addIceCandidate(None)
        return
    try:
        candidate = candidate_from_sdp(text)
    except (AssertionError, ValueError, IndexError) as error:
        print("candidate not understood: %s: %s" % (text, error), file=sys.stderr)
        return
    candidate.sdpMid, candidate.sdpMLineIndex = value.get("sdpMid"), value.get("sdpMLineIndex")
    await connection.addIceCandidate(candidate)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
