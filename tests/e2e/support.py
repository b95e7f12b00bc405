# SPDX-License-Identifier: GPL-2.0-or-later
"""What end-to-end tests stand on: ringpost and foreign servers in a folder of their own.

    from support import Place, Ringpost, Sink, Suite

    suite = Suite()

    @suite.test
    def mail_goes_through():
        with Place() as place, Sink() as sink, Ringpost(place, route_to=sink.port) as server:
            server.add_accounts("alice@example.test")
            ...
            sink.wait(1)

    suite.main()

Nothing here uses a fixed port or the network beyond loopback. Every process that is started is
ended by its id when its `with` block ends, and a sanitizer report in its output is a failure.
"""
import asyncio
import contextlib
import email
import email.policy
import inspect
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = os.environ.get("RINGPOST_BUILD", "build")
# Where ./dev unpacked the foreign servers.
FOREIGN = os.environ.get("RINGPOST_FOREIGN") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ringpost", "foreign")
PATIENCE_S = 60  # how long to wait for what must happen; never a measure of speed
REPORT = re.compile(r"ERROR: (?:Leak|Address)Sanitizer|: runtime error: |WARNING: ThreadSanitizer")


class Skip(Exception):
    """Raise it in a test that cannot run here; say what is missing."""


class Suite:
    """Runs tests in the order of their definition and prints the line that the runner reads.

    `shared` makes a context manager: tests with an argument get what it yields, one for all of
    them; its end is a test too."""

    def __init__(self, shared=None):
        self.tests, self.shared = [], shared

    def test(self, function):
        self.tests.append(function)
        return function

    def main(self):
        only = sys.argv[1:]
        counts = dict.fromkeys(("ok", "FAILED", "skipped"), 0)
        self.stack = contextlib.ExitStack()
        self.made = None
        for function in self.tests:
            if not only or function.__name__ in only:
                self.run(function, function.__name__, counts)
        if self.shared:
            self.run(self.stack.close, "the end of what they share", counts)
        print("{ok} passed, {FAILED} failed, {skipped} skipped".format(**counts), flush=True)
        sys.exit(1 if counts["FAILED"] else 0)

    def run(self, function, name, counts):
        start, why = time.monotonic(), ""
        try:
            if inspect.signature(function).parameters:
                self.made = self.made or self.stack.enter_context(self.shared())
                function(self.made)
            else:
                function()
            word = "ok"
        except Skip as reason:
            word, why = "skipped", f": {reason}"
        except Exception:  # whatever it was, the next test still runs
            word = "FAILED"
            traceback.print_exc(file=sys.stdout)
        counts[word] += 1
        print(f"{name}: {word}{why} ({time.monotonic() - start:.1f} s)", flush=True)


def until(question, what="the condition", patience_s=PATIENCE_S):
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + patience_s
    while not (answer := question()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come true within {patience_s} s")
        time.sleep(0.02)
    return answer


def program(name, package=None):
    """Full path of a foreign program, installed or unpacked; Skip when there is none."""
    folders = [os.path.join(FOREIGN, sub) for sub in ("usr/sbin", "usr/bin", "usr/lib/postfix/sbin")]
    path = os.pathsep.join(folders + [os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if not found:
        raise Skip(f"{package or name} is not here")
    return found


def foreign_env(**more):
    """The environment in which unpacked programs find their libraries."""
    libraries = [os.path.join(FOREIGN, sub) for sub in
                 ("usr/lib/postfix", f"usr/lib/{os.uname().machine}-linux-gnu",
                  f"lib/{os.uname().machine}-linux-gnu")]
    return {**os.environ, "LC_ALL": "C", "LD_LIBRARY_PATH": os.pathsep.join(libraries), **more}


def run(*command, input=None, check=True, env=None, timeout=PATIENCE_S):
    """Run to the end; the CompletedProcess with text output. With `check` a bad status raises."""
    done = subprocess.run([str(c) for c in command], input=input, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=env or foreign_env(),
                          timeout=timeout, **({} if input is not None
                                              else {"stdin": subprocess.DEVNULL}))
    if check and done.returncode:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Ports:
    """Free ports that stay ours: a bound, not listening socket with SO_REUSEPORT keeps each from
    everybody but a server of the same user that also asks for SO_REUSEPORT, as ringpost does."""

    def __init__(self):
        self.sockets = []

    def reserve(self, address="127.0.0.1", kind=socket.SOCK_STREAM):
        s = socket.socket(socket.AF_INET, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((address, 0))
        self.sockets.append(s)
        return s.getsockname()[1]

    def close(self):
        for s in self.sockets:
            s.close()
        self.sockets = []


def free_port(kind=socket.SOCK_STREAM):
    """For servers without SO_REUSEPORT: free now; try again with another if it is taken."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_ports(count):
    """No two the same: one that is given back may be given out again at once."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


class Place:
    """A folder for one test, with a certificate for localhost; removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="ringpost-e2e-")
        self.ports = Ports()
        return self

    def __exit__(self, *_):
        self.ports.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name, text=None):
        path = os.path.join(self.path, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        return path

    def certificate(self, name="cert", host="localhost", rsa=False):
        """Paths of certificate and key, self-signed."""
        cert, key = self.file(name + ".pem"), self.file(name + ".key")
        if not os.path.exists(cert):
            kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            run("openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", key, "-out", cert,
                "-days", "30", "-subj", f"/CN={host}", "-addext",
                f"subjectAltName=DNS:{host},IP:127.0.0.1")
        return cert, key


class Process:
    """A started program with its output in a file. Ended by its id, never by name."""

    def __init__(self, place, name, command, env=None, **more):
        self.name = name
        self.log_path = os.path.join(place.path, name + ".log")
        self.log_file = open(self.log_path, "ab")
        self.child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                                      stdout=self.log_file, stderr=subprocess.STDOUT,
                                      env=env or foreign_env(), cwd=place.path, **more)

    @property
    def pid(self):
        return self.child.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def check_alive(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.child.returncode}:\n{self.log()}")
        return True

    def send_signal(self, number):
        self.child.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        """Ask to end and wait; the exit status. A hanging process is killed and is an error."""
        if self.child.poll() is None:
            self.child.send_signal(number)
            try:
                self.child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise RuntimeError(f"{self.name} did not end:\n{self.log()[-4000:]}") from None
        self.log_file.close()
        return self.child.returncode


def ringpost(*args, **more):
    """The program by itself, in nobody's folder; the CompletedProcess."""
    binary = os.path.join(BUILD, "ringpost")
    if not os.access(binary, os.X_OK):
        raise Skip("ringpost is not built")
    return run(binary, *args, check=False, env=dict(os.environ), **more)


def accepts(port, address="127.0.0.1"):
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False


class Ringpost:
    """A running ringpost. `config` is merged over a small working configuration, deeply.

    `ports` maps each service to its port. Without `route_to` or a route in `config`, mail has
    nowhere to go. `rows` adds to the listeners' rows by service, as {"smtp": {"relay_from": [...]}}.
    As a context it starts at once and must end with status 0."""

    SERVICES = ("smtp", "submission", "submissions")

    def __init__(self, place, config=None, route_to=None, services=SERVICES, rows=None, binary=None,
                 env=None):
        self.place, self.env = place, env or {}
        self.binary = binary or os.path.join(BUILD, "ringpost")
        if not os.access(self.binary, os.X_OK):
            raise Skip("ringpost is not built")
        self.ports = {service: place.ports.reserve() for service in services}
        cert, key = place.certificate()
        self.config = {
            "hostname": "mx.example.test",
            "data": place.file("data"),
            "control": place.file("control.sock"),
            "tls": {"certificates": [{"cert": cert, "key": key}]},
            "listen": [{"address": "127.0.0.1", "port": port, "service": service,
                        **(rows or {}).get(service, {})} for service, port in self.ports.items()],
        }
        if route_to:
            # Reports go there too: a domain with a route of its own has no mailboxes here.
            self.config["relay"] = {"routes": [{"domain": domain, "hosts": ["127.0.0.1"],
                                                "port": route_to, "tls": "none"}
                                               for domain in ("*", "example.test")]}
        self.config = merge(self.config, config or {})
        self.config_path = place.file("ringpost.yaml")
        self.prefix = []  # what runs it: a command that ends in exec
        self.process = None
        self.starts = 0
        self.domains = set()  # made by add_accounts

    def write_config(self):
        """JSON is YAML too."""
        self.place.file("ringpost.yaml", json.dumps(self.config, indent=1) + "\n")

    def start(self, wait=True):
        """Until it is ready, unless told not to wait."""
        self.write_config()
        os.makedirs(self.config["data"], exist_ok=True)
        self.starts += 1
        with Ready(self.place) as ready:
            self.process = Process(self.place, f"ringpost-{self.starts}",
                                   [*self.prefix, self.binary, "serve", "--config", self.config_path],
                                   env={**os.environ, **self.env, "NOTIFY_SOCKET": ready.path})
            try:
                if wait:
                    until(lambda: self.process.check_alive() and ready.seen(), "ringpost's READY=1")
            except BaseException:  # nobody else would end it
                self.process.stop(signal.SIGKILL)
                raise
        return self

    def stop(self):
        """Drain and end; status 0 and no sanitizer report, or an error."""
        if not self.process:
            return
        process, self.process = self.process, None
        status = process.stop()
        log = process.log()
        if status or REPORT.search(log):
            found = REPORT.search(log)
            start = max(found.start() - 200, 0) if found else -8000
            raise RuntimeError(f"ringpost ended with {status}:\n{log[start:][:8000]}")

    def kill(self):
        """As a crash would: kill -9."""
        process, self.process = self.process, None
        process.stop(signal.SIGKILL)
        if REPORT.search(process.log()):
            raise RuntimeError(process.log()[-8000:])

    def reload(self):
        self.write_config()
        self.process.send_signal(signal.SIGHUP)

    def log(self):
        return self.process.log()

    def cli(self, *args, input=None, check=True):
        """ringpost ARGS --config ...; the CompletedProcess."""
        return run(self.binary, *args, "--config", self.config_path, input=input, check=check,
                   env={**os.environ, **self.env})

    def add_accounts(self, *names):
        """With PASSWORD; a domain that is not there yet is made, too."""
        for name in names:
            domain = name.split("@")[1]
            if domain not in self.domains:
                self.cli("domain", "add", domain, check=False)
                self.domains.add(domain)
            self.cli("account", "add", name, "--password-stdin", input=PASSWORD + "\n")

    def cli_json(self, *args):
        return json.loads(self.cli(*args, "--json").stdout)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        elif self.process:
            print(self.log()[-8000:])
            with contextlib.suppress(RuntimeError):
                self.stop()


def merge(base, more):
    """Dictionaries are merged, everything else is replaced."""
    out = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


class Ready:
    """The socket on which a service tells its manager that it is ready (sd_notify)."""

    def __init__(self, place):
        self.path = place.file("notify.sock")

    def __enter__(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        return self

    def __exit__(self, *_):
        self.socket.close()

    def seen(self):
        with contextlib.suppress(BlockingIOError):
            return b"READY=1" in self.socket.recv(4096).split(b"\n")
        return False


class Sink:
    """The world: accepts all mail through aiosmtpd and keeps it.

    `messages` holds dictionaries with sender, recipients, data (bytes) and peer. `on_rcpt` and
    `on_data` may return another reply line."""

    def __init__(self, on_rcpt=None, on_data=None, **smtp_options):
        self.messages = []
        self.on_rcpt, self.on_data = on_rcpt, on_data
        self.smtp_options = {"enable_SMTPUTF8": True, "hostname": "sink.example.test",
                             "data_size_limit": 64 << 20, **smtp_options}

    def __enter__(self):
        try:
            import aiosmtpd.smtp
        except ImportError:
            raise Skip("python3-aiosmtpd is not here") from None
        self.loop = asyncio.new_event_loop()
        make = lambda: aiosmtpd.smtp.SMTP(self, loop=self.loop, **self.smtp_options)
        self.server = self.loop.run_until_complete(
            self.loop.create_server(make, "127.0.0.1", 0, backlog=256))
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = self.on_rcpt and self.on_rcpt(address, options)
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        reply = self.on_data and self.on_data(envelope)
        if reply:
            return reply
        self.messages.append({"sender": envelope.mail_from, "recipients": envelope.rcpt_tos,
                              "data": envelope.content, "peer": session.peer})
        return "250 2.0.0 kept"

    def wait(self, count):
        until(lambda: len(self.messages) >= count, f"message {count} at the sink")
        return self.messages


class Dns:
    """An authoritative server (knot) on loopback. `zones`: name -> zone file text without SOA and
    NS, which are added. `config(dns)` for ringpost is {'resolver': {'servers': [dns.server]}}."""

    HEAD = "$TTL 60\n@ SOA ns.{zone}. root.{zone}. 1 60 60 60 60\n@ NS ns.{zone}.\nns A 127.0.0.1\n"

    def __init__(self, place, zones):
        self.place, self.zones = place, zones

    def __enter__(self):
        knotd, self.process = program("knotd", "knot"), None
        storage = self.place.file("knot")
        os.makedirs(storage, exist_ok=True)
        for zone, text in self.zones.items():
            self.place.file(f"knot/{zone}.zone", self.HEAD.format(zone=zone) + text + "\n")
        for _ in range(5):  # the port may be taken between our look and its bind
            self.port = free_port(socket.SOCK_DGRAM)
            rows = "".join(f"  - domain: {zone}\n    file: {zone}.zone\n    zonefile-load: whole\n"
                           f"    journal-content: none\n" for zone in self.zones)
            config = self.place.file("knot.conf", f"server:\n  rundir: {storage}\n"
                                     f"  listen: 127.0.0.1@{self.port}\n  udp-workers: 1\n"
                                     f"  tcp-workers: 1\n  background-workers: 1\n"
                                     f"database:\n  storage: {storage}\ntemplate:\n"
                                     f"  - id: default\n    storage: {storage}\nzone:\n{rows}")
            self.process = Process(self.place, "knotd", [knotd, "-c", config])
            if until(lambda: accepts(self.port) or self.process.child.poll() is not None,
                     "knotd") and self.process.child.poll() is None:
                self.server = f"127.0.0.1@{self.port}"
                return self
            self.process.stop()
        raise RuntimeError("knotd does not start:\n" + self.process.log())

    def __exit__(self, *_):
        self.process.stop()


def message(sender="alice@example.test", to="bob@example.org", subject="test", body="Hello.\n",
            **headers):
    """Text of a message with CRLF line ends. Header names: '_' becomes '-'."""
    rows = [("From", sender), ("To", to), ("Subject", subject)]
    rows += [(name.replace("_", "-"), value) for name, value in headers.items()]
    text = "".join(f"{name}: {value}\n" for name, value in rows) + "\n" + body
    return re.sub(r"\r?\n", "\r\n", text)


def parse(data):
    """A message's bytes as Python's email package sees them, with the modern policy."""
    return email.message_from_bytes(data, policy=email.policy.SMTP)


USER, PASSWORD = "alice@example.test", "correct horse 7"


@contextlib.contextmanager
def submission(place, config=None, route_to=None, accounts=(USER,), **more):
    """A running ringpost with the domains and accounts; password PASSWORD."""
    with Ringpost(place, config, route_to=route_to, **more) as server:
        server.add_accounts(*accounts)
        yield server


def submit(server, content, recipients=("bob@example.org",), sender=USER, mail_options=(),
           rcpt_options=()):
    """Through smtplib on 587; the refused recipients."""
    with smtplib.SMTP("localhost", server.ports["submission"], timeout=PATIENCE_S) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.login(USER, PASSWORD)
        if isinstance(content, str):
            content = content.encode()
        return client.sendmail(sender, list(recipients), content, mail_options, rcpt_options)
