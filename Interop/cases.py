"""What every driver of another implementation needs: messages to send, their comparison, and the tally of cases."""

import base64
import os
import random
import signal
import sys
import time

SIZES = [0, 1, 2, 1000, 16_384, 65_535, 65_536, 262_143, 262_144]


class Mismatch(Exception):
    """The other side has something else than was sent."""


class PeerError(Exception):
    """One of the programs did not start, went away, answered with an error, or was late."""


def text_of(size):
    """Text of exactly `size` UTF-8 bytes, with characters of every length and those that JSON must escape."""
    characters, left = [], size
    while left > 0:
        character = "a\u00e9\u6c34\U0001f600\"\\\n\u0000\u007f\u2028"[len(characters) % 10]
        if len(character.encode()) > left:
            character = "x"
        characters.append(character)
        left -= len(character.encode())
    return "".join(characters)


def binary_of(size):
    return random.Random(size).randbytes(size)


def contents(size):
    return [("text", text_of(size)), ("binary", binary_of(size))]


def check(condition, otherwise):
    if not condition:
        raise Mismatch(otherwise)


def compare(message, content):
    """Whether a message as `{"text":…}` or `{"base64":…}` is what was sent."""
    if isinstance(content, str):
        received = message.get("text")
        check(received is not None, "binary came where text was sent")
    else:
        received = message.get("base64")
        check(received is not None, "text came where binary was sent")
        received = base64.b64decode(received)
    if received != content:
        same = len(os.path.commonprefix([received, content]))
        raise Mismatch("%d of %d sent arrived, different from position %d" % (len(received), len(content), same))


class Report:
    """Prints a line for each case, and counts."""

    def __init__(self, peer, verbose=False):
        self.peer = peer
        self.role = ""
        self.passed = 0
        self.failed = 0
        self.verbose = verbose
        self.started = time.monotonic()

    def trace(self, direction, value):
        if self.verbose:
            print("      %7.3f %s %.200s" % (time.monotonic() - self.started, direction, value), file=sys.stderr)

    def case(self, name, body):
        """- Returns: whether `body` ran without a complaint."""
        started = time.monotonic()
        try:
            body()
        except (Mismatch, PeerError) as error:
            self.failed += 1
            print("FAIL  %s %s: %s: %s" % (self.peer, self.role, name, error), flush=True)
            return False
        self.passed += 1
        took = (time.monotonic() - started) * 1000
        print("ok    %s %s: %s (%.0f ms)" % (self.peer, self.role, name, took), flush=True)
        return True

    def note(self, text):
        print("--    %s %s: %s" % (self.peer, self.role, text), flush=True)

    def within(self, seconds, body):
        """Runs `body`, which is ended after so many seconds; a peer that fails outside of a case counts, too.

        - Returns: the exit status."""

        def too_late(*_):
            raise PeerError("the whole run took more than %d s" % seconds)

        signal.signal(signal.SIGALRM, too_late)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # run the clean-up, which ends our children
        signal.alarm(seconds)
        try:
            body()
        except PeerError as error:
            self.failed += 1
            print("FAIL  " + str(error))
        return self.conclude()

    def conclude(self):
        """- Returns: the exit status."""
        print("%d passed, %d failed" % (self.passed, self.failed))
        return 0 if self.passed and not self.failed else 1
