"""A headless Chromium, driven over the DevTools protocol on a pipe. Python standard library only.

Chromium reads commands from its descriptor 3 and writes answers and events to 4; each message is JSON text that ends in
a NUL byte. No port is opened, and nobody else can attach.
"""

import fcntl
import functools
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading

from cases import PeerError, Report

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # Without it, no candidate for 127.0.0.1 or ::1 is ever offered.
    "--allow-loopback-in-peer-connection",
    "--remote-debugging-pipe",
]
# Chromium's own SCTP then writes each packet to its log, before encryption and after decryption.
SCTP_LOG_FLAGS = ["--enable-logging=stderr", "--vmodule=*dcsctp*=4,*text_pcap*=4"]

# Offers then carry `a=sctp-init` (draft-hancke-tsvwg-snap), in versions that know it.
SNAP_FLAGS = ["--force-fieldtrials=WebRTC-Sctp-Snap/Enabled/"]


class BrowserError(PeerError):
    """Chromium did not start, went away, answered with an error, or was late."""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class PageServer:
    """Serves one folder on a free loopback port: permissions belong to an origin, and about:blank has none."""

    def __init__(self, folder):
        handler = functools.partial(QuietHandler, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Chromium:
    """One browser process with one page.

    `on_signal(object)` is called, on the reader thread, for everything the page passes to `signal(text)`.
    """

    def __init__(self, executable, flags=(), start_timeout=30):
        self.on_signal = lambda _: None
        self.profile = tempfile.mkdtemp(prefix="interop-chromium-")
        self.log = open(os.path.join(self.profile, "stderr.txt"), "w+b")
        self.answers = {}
        self.answers_lock = threading.Lock()
        self.write_lock = threading.Lock()
        self.next_id = 0
        self.session = None
        self.gone = False
        self.loaded = threading.Event()

        commands_read, commands_write = map(out_of_the_way, os.pipe())
        events_read, events_write = map(out_of_the_way, os.pipe())
        self.commands = os.fdopen(commands_write, "wb", buffering=0)
        self.events = os.fdopen(events_read, "rb", buffering=0)
        arguments = [executable, *FLAGS, *flags, "--user-data-dir=" + self.profile, "about:blank"]
        try:
            self.process = subprocess.Popen(
                ["bash", "-c", 'exec "$@" 3<&%d 4>&%d' % (commands_read, events_write), "bash", *arguments],
                pass_fds=(commands_read, events_write),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.log,
                start_new_session=True,  # its own process group, so that close() ends all of it and nothing else
            )
        finally:
            os.close(commands_read)
            os.close(events_write)
        threading.Thread(target=self.read_events, daemon=True).start()
        try:
            self.version = self.call("Browser.getVersion", timeout=start_timeout)["product"]
        except BrowserError:
            self.close()
            raise

    def open_page(self, origin, path="/page.html", timeout=20):
        """Opens the page with permissions that make Chromium offer real addresses, not `.local` names."""
        self.call("Browser.grantPermissions", origin=origin, permissions=["audioCapture", "videoCapture"])
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Runtime.addBinding", name="signal")
        self.loaded.clear()
        self.call("Page.navigate", url=origin + path)
        if not self.loaded.wait(timeout):
            raise BrowserError("the page did not load in %d s" % timeout)

    def evaluate(self, expression, timeout=20):
        """The value of a JavaScript expression; promises are awaited, exceptions raised here."""
        answer = self.call(
            "Runtime.evaluate", timeout=timeout, expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def post(self, expression):
        """Evaluates without waiting for the outcome; the page reports what goes wrong through `signal`."""
        self.send("Runtime.evaluate", {"expression": expression})

    def call(self, method, timeout=20, **parameters):
        answer = self.send(method, parameters)
        try:
            message = answer.get(timeout=timeout)
        except queue.Empty:
            raise BrowserError("%s: no answer in %s s%s" % (method, timeout, self.last_words())) from None
        if message is None:
            raise BrowserError("%s: Chromium went away%s" % (method, self.last_words()))
        if "error" in message:
            raise BrowserError("%s: %s" % (method, message["error"].get("message")))
        return message["result"]

    def send(self, method, parameters):
        answer = queue.Queue()
        with self.answers_lock:
            if self.gone:
                raise BrowserError("%s: Chromium is gone%s" % (method, self.last_words()))
            self.next_id += 1
            number = self.next_id
            self.answers[number] = answer
        message = {"id": number, "method": method, "params": parameters}
        if self.session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        try:
            with self.write_lock:
                view = memoryview(data)
                while view:
                    view = view[self.commands.write(view):]
        except OSError as error:
            raise BrowserError("%s: %s%s" % (method, error, self.last_words())) from None
        return answer

    def read_events(self):
        pending = bytearray()
        while True:
            try:
                data = self.events.read(1 << 16)
            except (OSError, ValueError):
                data = b""
            if not data:
                break
            start = len(pending)
            pending += data
            while (end := pending.find(b"\0", start)) >= 0:
                self.handle(json.loads(pending[:end]))
                del pending[: end + 1]
                start = 0
        with self.answers_lock:
            self.gone = True
            waiting = list(self.answers.values())
        for answer in waiting:
            answer.put(None)

    def handle(self, message):
        if "id" in message:
            with self.answers_lock:
                answer = self.answers.pop(message["id"], None)
            if answer:
                answer.put(message)
        elif message["method"] == "Page.loadEventFired":
            self.loaded.set()
        elif message["method"] == "Runtime.bindingCalled":
            self.on_signal(json.loads(message["params"]["payload"]))

    def log_text(self):
        with open(self.log.name, "rb") as log:
            return log.read().decode(errors="replace")

    def last_words(self):
        text = self.log_text()[-600:].strip()
        return "\n" + text if text else ""

    def close(self):
        end_group(self.process)
        for stream in (self.commands, self.events, self.log):
            stream.close()
        shutil.rmtree(self.profile, ignore_errors=True)


class BrowserRun(Report):
    """Cases with a browser; `options` has the paths of `swarm` and `chromium`."""

    def __init__(self, options):
        super().__init__("chromium", options.verbose)
        self.options = options
        self.swarm = os.path.abspath(options.swarm)
        self.browser = None

    def with_browser(self, server, flags, scenarios):
        try:
            self.browser = Chromium(self.options.chromium, flags=flags)
            print("%s against %s" % (" ".join([self.browser.version, *flags]), self.swarm), flush=True)
            self.browser.open_page(server.origin)
            for chromium_offers in (True, False):
                self.role = "offers" if chromium_offers else "answers"
                for scenario in scenarios:
                    scenario(self, chromium_offers)
        finally:
            if self.browser:
                self.browser.close()
                self.browser = None


def out_of_the_way(descriptor):
    """The same pipe end under a number that cannot be 3 or 4, which the child gives away."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


def end_group(process, patience=5):
    """Ends a child and all it started; it must lead its own process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait(patience)
