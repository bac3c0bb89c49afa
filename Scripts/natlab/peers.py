"""Peers of the lab: programs in namespaces that speak the lines of `swarm connect`, and what they say."""

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass


@dataclass
class Peer:
    """A program that speaks the lines of `swarm connect`."""

    name: str
    command: list
    has_one_relay: bool = False  # it takes no more than one TURN server: the one that can be reached
    is_patient: bool = False  # nominates a relayed pair only when no other works


class Process:
    """One peer: what it says about itself is kept here, or goes to `on_event`; the rest goes to the other peer."""

    def __init__(self, process, name):
        self.process, self.name, self.other = process, name, None
        self.opened, self.over, self.paired = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.pair, self.reason, self.messages, self.last_words = ("?", "?"), "", asyncio.Queue(), b""
        self.first_signal = None
        self.on_event = lambda event, value: None
        self.tasks = []

    @classmethod
    async def start(cls, peer, host, *arguments, servers=()):
        arguments += tuple(word for server in servers for word in ("--ice-server", server))
        place = ("ip", "netns", "exec", host) if host else ()
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", *place, *peer.command, *arguments, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 24)
        return cls(process, peer.name)

    def listen(self, other):
        """Begins to read; what `other` is to know goes there."""
        self.other = other
        self.tasks = [asyncio.ensure_future(self.read()), asyncio.ensure_future(self.read_errors())]

    async def read(self):
        async for line in self.process.stdout:
            try:
                value = json.loads(line)
            except ValueError:
                self.reason = self.reason or "not JSON: %r" % line[:100]
                continue
            event = value.get("event")
            if event is None:
                self.first_signal = self.first_signal or time.monotonic()
                self.other.write(line)
            elif event == "open":
                self.opened.set()
            elif event == "pair":
                self.pair = (value["local"], value["remote"])
                self.paired.set()
            elif event == "message":
                self.messages.put_nowait(value)
            else:
                self.on_event(event, value)
            if event in ("failed", "error"):
                self.reason = self.reason or value.get("reason", event)
                if event == "failed":
                    break
        self.over.set()

    async def read_errors(self):
        async for line in self.process.stderr:
            self.last_words = (self.last_words + line)[-300:]

    def write(self, line):
        with contextlib.suppress(ConnectionError, RuntimeError):
            self.process.stdin.write(line)

    def say(self, **value):
        self.write(json.dumps(value).encode() + b"\n")

    def complaint(self):
        words = self.reason or self.last_words.decode(errors="replace").strip().replace("\n", " ")
        return "%s: %s" % (self.name, words or "no connection, and no reason given")

    async def end(self):
        self.say(close=True)
        with contextlib.suppress(ConnectionError, RuntimeError):
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 2)
        except asyncio.TimeoutError:
            # Not by its own method, which would take the status away from whoever waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        for task in self.tasks:
            task.cancel()


async def start_both(hosts, commands, arguments, servers=((), ())):
    """The one that offers and the one that answers, which starts first: it waits."""
    answering = await Process.start(commands[1], hosts[1], "--answer", *arguments[1], servers=servers[1])
    try:
        offering = await Process.start(commands[0], hosts[0], "--offer", *arguments[0], servers=servers[0])
    except BaseException:
        await answering.end()
        raise
    offering.listen(answering)
    answering.listen(offering)
    return offering, answering


async def opened(processes, patience):
    """Whether all of them are open before one ends and before `patience` seconds are over."""

    async def all_open():
        for process in processes:
            await process.opened.wait()

    waits = [asyncio.ensure_future(wait) for wait in (all_open(), *(process.over.wait() for process in processes))]
    done, _ = await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return waits[0] in done


async def pair_of(process, better=lambda pair: True, patience=10):
    """The kinds of candidates in use: they may be told after the channel has opened, and become better ones."""
    ends = time.monotonic() + patience
    while not (process.paired.is_set() and better(process.pair)) and time.monotonic() < ends:
        process.paired.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.paired.wait(), ends - time.monotonic())
    return process.pair
