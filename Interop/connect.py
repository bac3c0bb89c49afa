"""One `swarm connect` process: JSON lines in and out, with a limit on every wait."""

import base64
import json
import queue
import subprocess
import threading

from browser import end_group
from cases import PeerError


class ConnectError(PeerError):
    """`swarm connect` said something unexpected, ended, or was late."""


class SwarmConnect:
    """Starts `swarm connect`, or another program that speaks its lines: passes signalling to `on_signal(object)`, and
    keeps events in order.

    `on_signal` runs on the reader thread, for each description and candidate.
    """

    def __init__(self, executable, arguments, on_signal, trace=None, name="swarm"):
        command = executable if isinstance(executable, list) else [executable, "connect"]
        self.name = name
        self.on_signal = on_signal
        self.trace = trace or (lambda *_: None)
        self.events = queue.Queue()
        self.lines = queue.Queue()
        self.stderr = bytearray()
        self.pair = None
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self.read_output, self.read_errors, self.write_lines)
        ]
        for thread in self.threads:
            thread.start()

    # In

    def write(self, value):
        self.trace("> " + self.name, value)
        self.lines.put(json.dumps(value, ensure_ascii=False).encode() + b"\n")

    def send_text(self, text):
        self.write({"send": text})

    def send_binary(self, data):
        self.write({"sendBase64": base64.b64encode(data).decode()})

    def end_input(self):
        self.lines.put(None)

    # Out

    def next_event(self, timeout):
        try:
            event = self.events.get(timeout=timeout)
        except queue.Empty:
            raise ConnectError("no event in %s s%s" % (timeout, self.last_words())) from None
        if event is None:
            self.events.put(None)  # stays true for whoever asks next
            raise ConnectError("output ended, exit status %s%s" % (self.exit_status(5), self.last_words()))
        return event

    def unread_events(self):
        """What is left once the output has ended."""
        unread = []
        try:
            while (event := self.events.get(timeout=5)) is not None:
                unread.append(event)
        except queue.Empty:
            raise ConnectError("the process has ended, its output has not") from None
        self.events.put(None)
        return unread

    def expect(self, name, timeout):
        event = self.next_event(timeout)
        if event.get("event") != name:
            raise ConnectError("expected event %s, got %.300s" % (name, event))
        return event

    def exit_status(self, timeout):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ConnectError("still running after %s s%s" % (timeout, self.last_words())) from None

    def last_words(self):
        text = bytes(self.stderr[-600:]).decode(errors="replace").strip()
        return "\n" + text if text else ""

    def close(self):
        self.end_input()
        end_group(self.process)
        for thread in self.threads:
            thread.join(5)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass  # unsent lines of a process that has ended

    # Threads

    def read_output(self):
        for line in self.process.stdout:
            try:
                value = json.loads(line)
            except ValueError:
                self.events.put({"event": "not JSON", "line": repr(line[:200])})
                continue
            self.trace("< " + self.name, value)
            if value.get("event") == "pair":
                self.pair = value  # comes before or after the open channel, and again with every better way
            elif "event" in value:
                self.events.put(value)
            elif "type" in value or "candidate" in value:
                self.on_signal(value)
            else:
                self.events.put({"event": "unknown line", "line": value})
        self.events.put(None)

    def read_errors(self):
        for line in self.process.stderr:
            self.stderr += line
            del self.stderr[:-40000]

    def write_lines(self):
        while (line := self.lines.get()) is not None:
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                return  # the process has ended; the reader reports it
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
