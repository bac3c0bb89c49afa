#!/usr/bin/env python3
"""aioice alone as a peer that speaks the lines of `swarm connect`, for another aioice: no DTLS and no SCTP.

Descriptions carry the lines of SDP that belong to ICE; messages are datagrams.
"""

import asyncio

import aioice
import lines
from aiortc.rtcicetransport import connection_kwargs
from aiortc import RTCIceServer

GREETING = b"\xffhello"  # sent until the other greets back: a nominated pair of ours may still be unknown there
INTERVAL = 0.02


def description(connection):
    return "\n".join(
        ["a=ice-ufrag:" + connection.local_username, "a=ice-pwd:" + connection.local_password]
        + ["a=candidate:" + candidate.to_sdp() for candidate in connection.local_candidates])


async def accept(connection, text):
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "a=ice-ufrag":
            connection.remote_username = value
        elif name == "a=ice-pwd":
            connection.remote_password = value
        elif name == "a=candidate":
            await connection.add_remote_candidate(aioice.Candidate.from_sdp(value))
    await connection.add_remote_candidate(None)


async def main():
    options = lines.options(__doc__)
    connection = aioice.Connection(
        ice_controlling=options.offer, use_ipv6=False, transport_policy=aioice.TransportPolicy[options.policy.upper()],
        **connection_kwargs([RTCIceServer(*server) for server in lines.servers(options.ice_servers)]))
    gathered = asyncio.ensure_future(connection.gather_candidates())
    incoming = lines.read()
    if options.offer:
        await gathered
        lines.write(type="offer", sdp=description(connection))
    async for value in incoming:
        if "sdp" in value:
            await accept(connection, value["sdp"])
            break
    if options.answer:
        await gathered
        lines.write(type="answer", sdp=description(connection))
    try:
        await connection.connect()
    except ConnectionError as error:
        lines.write(event="failed", reason=str(error))
        return 1

    async def greet():
        while True:
            await connection.send(GREETING)
            await asyncio.sleep(INTERVAL)

    async def receive():
        is_open = False
        while True:
            received = await connection.recv()
            if received != GREETING:
                lines.write(event="message", text=received.decode())
                if options.echo:
                    await connection.send(received)
            elif not is_open:
                is_open = True
                pair = connection._nominated[1]
                lines.write(event="pair", local=pair.local_candidate.type, remote=pair.remote_candidate.type)
                lines.write(event="open", label="aioice")

    others = [asyncio.ensure_future(greet()), asyncio.ensure_future(receive())]
    async for value in incoming:
        if "send" in value:
            await connection.send(value["send"].encode())
        elif value.get("close"):
            break
    for task in others:
        task.cancel()
    await connection.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
