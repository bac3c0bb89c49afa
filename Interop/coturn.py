"""A coturn server of one's own: STUN and TURN over UDP, TCP and TLS, for as long as the `with` lasts."""

import os
import re
import shutil
import subprocess
import tempfile
import time

USER, PASSWORD, REALM = "swarm", "keep it secret", "swarm.example"
SECRET = "shared with the application"  # of time-limited credentials
PORT, TLS_PORT = 3478, 5349
PATIENCE = 10  # seconds until it must listen


PREFIX = "interop-coturn-"


class CoturnError(Exception):
    """It is not installed, does not start, or ended."""


class Coturn:
    """Listens on each address; with two of them and `discovery` it answers RFC 5780's questions too.

    `prefix` is a command that runs another, such as `ip netns exec NAME`; `names` go into the certificate, whose
    issuer is in the file `authority`. With `is_rest` credentials are derived from `SECRET` and limited in time.
    """

    def __init__(self, addresses, prefix=(), port=PORT, tls_port=TLS_PORT, is_rest=False, discovery=False, names=()):
        if not shutil.which("turnserver"):
            raise CoturnError("no 'turnserver' here; the package coturn has it")
        remove_leftovers()
        self.folder = tempfile.mkdtemp(prefix="%s%d-" % (PREFIX, os.getpid()))
        self.addresses, self.port, self.tls_port = addresses, port, tls_port
        self.authority = os.path.join(self.folder, "certificate.pem")
        self.log = os.path.join(self.folder, "log")
        try:
            self.make_certificate(names)
            path = os.path.join(self.folder, "turnserver.conf")
            with open(path, "w") as file:
                file.write("\n".join(self.settings(is_rest, discovery)) + "\n")
            # Its own process group is not enough: should we be killed, it must not stay.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *prefix, "turnserver", "-c", path], stdin=subprocess.DEVNULL,
                stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, cwd=self.folder)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        try:
            self.wait_until_it_listens()
        except BaseException:
            self.close()
            raise

    def settings(self, is_rest, discovery):
        yield from ("listening-ip=" + address for address in self.addresses)
        yield "relay-ip=" + self.addresses[0]
        yield "listening-port=%d" % self.port
        yield "tls-listening-port=%d" % self.tls_port
        yield "cert=" + self.authority
        yield "pkey=" + os.path.join(self.folder, "key.pem")
        yield "realm=" + REALM
        yield from (["use-auth-secret", "static-auth-secret=" + SECRET] if is_rest else
                    ["lt-cred-mech", "user=%s:%s" % (USER, PASSWORD)])
        # A user may hold many allocations at once: all peers of a lab are the same user.
        yield from ("fingerprint", "no-cli", "no-multicast-peers", "allow-loopback-peers", "log-file=stdout",
                    "simple-log", "pidfile=" + os.path.join(self.folder, "pid"),
                    "userdb=" + os.path.join(self.folder, "turndb"))
        yield "relay-threads=1"
        if not discovery:
            yield "no-rfc5780"

    def make_certificate(self, names):
        subject = ",".join(["IP:" + address for address in self.addresses] + ["DNS:" + name for name in names])
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=coturn of a test", "-addext", "subjectAltName=" + subject,
             "-keyout", os.path.join(self.folder, "key.pem"), "-out", self.authority],
            check=True, stderr=subprocess.DEVNULL)

    def wait_until_it_listens(self):
        """A TCP listener on every address and port; the UDP ones are made before."""
        wanted = {(address, port) for address in self.addresses for port in (self.port, self.tls_port)}
        ends = time.monotonic() + PATIENCE
        while not wanted <= self.listening():
            if self.process.poll() is not None or time.monotonic() > ends:
                raise CoturnError("turnserver does not listen%s" % self.last_words())
            time.sleep(0.02)

    def listening(self):
        found = set()
        try:
            with open("/proc/%d/net/tcp" % self.process.pid) as table:
                for line in list(table)[1:]:
                    _, local, _, state, *_ = line.split()
                    if state == "0A":
                        address, port = local.split(":")
                        found.add((".".join(str(byte) for byte in reversed(bytes.fromhex(address))), int(port, 16)))
        except FileNotFoundError:
            pass
        return found

    def last_words(self):
        with open(self.log, errors="replace") as log:
            text = log.read()[-600:].strip()
        return "\n" + text if text else ""

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def remove_leftovers():
    """Folders of processes that were killed."""
    for name in os.listdir(tempfile.gettempdir()):
        found = re.match(PREFIX + r"(\d+)-", name)
        if found and not os.path.exists("/proc/" + found.group(1)):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)
