#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign through the real engine: submission with STARTTLS and AUTH, durable queue, DKIM with two
keys, delivery over TLS to a sink that plays the world and verifies every signature. Then mail for mailboxes
of our own, by ports 25 and 587, all of it read back by POP3 and IMAP over TLS.

Makes a throw-away instance on free ports, needs no privileges, asks nothing. `--stay` leaves it
running until Ctrl-C and says how to connect. Exit status 0 only when nothing was lost, nothing came
twice and every signature was good.
"""
import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

DOMAIN = "example.test"
USER = f"alice@{DOMAIN}"
READERS = 20  # mailboxes
SERVICES = ("smtp", "submission", "submissions", "pop3", "pop3s", "imap", "imaps")

CONFIG = """\
hostname: mx.{domain}
data: {folder}/data
control: {folder}/control.sock
tls:
  certificates:
    - {{ cert: ecdsa.pem, key: ecdsa.key }}
    - {{ cert: rsa.pem, key: rsa.key }}
listen:
{listen}
relay:
  retry: {{ first: 2s, factor: 2, max: 1m, expire: 5d }}
  routes:
    - {{ domain: "*", hosts: [ 127.0.0.1 ], port: {sink}, tls: opportunistic }}
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def cpu_seconds(pid):
    """User and system time of a process and of the children it has waited for."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(n) for n in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def tree_cpu(pid):
    """The server is a worker process and its small helper: both count."""
    total = cpu_seconds(pid)
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            total += sum(tree_cpu(int(child)) for child in f.read().split())
    except OSError:
        pass
    return total


class Lines:
    """A program that prints JSON lines; the latest of each kind is kept."""

    def __init__(self, *command):
        self.latest, self.final = {}, {}
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.child.stdout:
            value = json.loads(line)
            self.latest = value
            if "final" in value or "title" in value:
                self.final = value

    def ended(self):
        return self.child.poll() is not None and not self.thread.is_alive()


class Demo:
    def __init__(self, args):
        self.args = args
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.build = os.environ.get("RINGPOST_BUILD") or os.path.join(root, "build")
        self.folder = tempfile.mkdtemp(prefix="ringpost-demo-")
        self.children = []
        self.password = secrets.token_urlsafe(12)
        self.ports = dict(zip((*SERVICES, "sink"), free_ports(len(SERVICES) + 1)))

    def path(self, name):
        return os.path.join(self.folder, name)

    def cli(self, *words, **more):
        command = [f"{self.build}/ringpost", *words, "--config", self.path("ringpost.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
        if done.returncode:
            sys.exit(f"demo: {' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def certificate(self, name, *kind):
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout",
                        self.path(name + ".key"), "-out", self.path(name + ".pem"), "-days", "30", "-subj",
                        f"/CN=mx.{DOMAIN}", "-addext", f"subjectAltName=DNS:mx.{DOMAIN},DNS:localhost"],
                       check=True, capture_output=True)

    def prepare(self):
        self.certificate("ecdsa", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        self.certificate("rsa", "rsa:2048")
        with open(self.path("ringpost.yaml"), "w", encoding="ascii") as f:
            listen = "\n".join(f"  - {{ address: 127.0.0.1, port: {self.ports[s]}, service: {s} }}" for s in SERVICES)
            f.write(CONFIG.format(folder=self.folder, domain=DOMAIN, listen=listen, sink=self.ports["sink"]))
        self.cli("domain", "add", DOMAIN)
        self.cli("account", "add", USER, "--password-stdin", input=self.password + "\n")
        for n in range(READERS):
            self.cli("account", "add", f"reader{n}@{DOMAIN}", "--password-stdin", input=self.password + "\n")
        self.cli("dkim", "add", DOMAIN, "--selector", "s1", "--type", "rsa", "--bits", "2048")
        self.cli("dkim", "add", DOMAIN, "--selector", "s2", "--type", "ed25519")
        with open(self.path("keys.txt"), "w", encoding="ascii") as f:
            f.write(self.cli("dkim", "dns", DOMAIN))

    def start_server(self):
        log = open(self.path("ringpost.log"), "wb")
        self.server = subprocess.Popen([f"{self.build}/ringpost", "serve", "--config", self.path("ringpost.yaml")],
                                       stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.children.append(self.server)
        for _ in range(200):
            if self.server.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.ports["submission"]), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        with open(self.path("ringpost.log"), encoding="utf-8", errors="replace") as f:
            sys.exit("demo: the server did not start\n" + f.read()[-4000:])

    def start_sink(self):
        # Without --expect when it is to stay: then it goes on taking what you send.
        self.sink = Lines(f"{self.build}/ringpost-bench", "sink", "--listen", f"127.0.0.1:{self.ports['sink']}",
                          "--cert", self.path("ecdsa.pem"), "--key", self.path("ecdsa.key"), "--keys",
                          self.path("keys.txt"), "--every", "100ms", "--json")
        self.children.append(self.sink.child)

    def start_campaign(self):
        count = str(self.args.messages)
        self.load = Lines(f"{self.build}/ringpost-bench", "smtp", "--target", f"127.0.0.1:{self.ports['submission']}",
                          "--tls", "starttls", "--host", "localhost", "--auth", f"{USER}:{self.password}",
                          "--messages", count, "--connections", "40", "--template", "mix",
                          "--size", "2K:50,5K:40,25K:10", "--from", USER, "--to", "reader%n@d%d.world.test",
                          "--domains", "25", "--every", "100ms", "--json")
        self.children.append(self.load.child)

    def bar(self, name, count, rate):
        done = min(1.0, count / self.args.messages)
        return f"{name} [{'#' * int(done * 16):16}] {count:>6} {rate:>6.0f}/s"

    def show(self, began, last):
        now, accepted = time.monotonic(), self.load.latest.get("accepted", 0)
        seen, signed = self.sink.latest.get("seen", 0), self.sink.latest.get("signatures_good", 0)
        step = max(now - last["at"], 0.001)
        if sys.stderr.isatty():
            line = "  ".join(self.bar(name, count, (value - last[name]) / step) for name, count, value in
                             (("accepted", accepted, accepted), ("signed", signed // 2, signed // 2),
                              ("delivered", seen, seen)))
            print("\r" + line, end="", file=sys.stderr, flush=True)
        elif now - last["said"] > 2:
            print(f"{now - began:5.1f} s  accepted {accepted}  signed {signed // 2}  delivered {seen}", file=sys.stderr)
            last["said"] = now
        last.update({"at": now, "accepted": accepted, "signed": signed // 2, "delivered": seen})

    def run_campaign(self):
        self.cpu_before = tree_cpu(self.server.pid)
        began = time.monotonic()
        last = {"at": began, "said": began, "accepted": 0, "signed": 0, "delivered": 0}
        stalled_at, progress = began, -1
        self.start_campaign()
        while self.sink.latest.get("seen", 0) < self.args.messages:
            time.sleep(0.2)
            self.show(began, last)
            if self.server.poll() is not None or self.sink.child.poll() is not None:
                break
            if last["accepted"] + last["delivered"] != progress:
                stalled_at, progress = time.monotonic(), last["accepted"] + last["delivered"]
            elif time.monotonic() - stalled_at > 30:
                break
        self.seconds = time.monotonic() - began
        self.show(began, last)
        print(file=sys.stderr)
        try:
            self.load.child.wait(30)
        except subprocess.TimeoutExpired:
            self.load.child.terminate()
        self.load.thread.join(10)
        time.sleep(0.3)  # a double would come now
        self.cpu = tree_cpu(self.server.pid) - self.cpu_before if self.server.poll() is None else 0

    def bench(self, *words):
        """To its end; the report."""
        done = subprocess.run([f"{self.build}/ringpost-bench", *map(str, words), "--json"], stdout=subprocess.PIPE, text=True,
                              check=False)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}

    def run_mailboxes(self):
        """To local accounts by both ways in, then every mailbox read by both protocols over TLS."""
        half = max(self.args.messages // 8, READERS)
        self.local = 2 * half
        to = ["--messages", half, "--connections", 20, "--from", USER, "--to", f"reader%d@{DOMAIN}", "--domains", READERS]
        cpu, began = tree_cpu(self.server.pid), time.monotonic()
        ways = [self.bench("smtp", "--target", f"127.0.0.1:{self.ports['smtp']}", *to),
                self.bench("smtp", "--target", f"127.0.0.1:{self.ports['submission']}", "--tls", "starttls", "--auth",
                           f"{USER}:{self.password}", *to)]
        self.local_seconds = time.monotonic() - began
        self.local_cpu = tree_cpu(self.server.pid) - cpu
        self.local_accepted = sum(way.get("accepted", 0) for way in ways)
        # One after the other: with several at once a slow one's mailbox could be read by nobody, another's twice.
        each = ["--auth", f"reader%d@{DOMAIN}:{self.password}", "--users", READERS, "--operations", READERS, "--per-connection",
                1, "--connections", 1]
        self.read = {}
        for name, service, mix, tls in (("POP3S", "pop3s", "retr-all", "implicit"), ("IMAPS", "imaps", "fetch-body", "implicit"),
                                        ("STLS", "pop3", "stat", "starttls"), ("STARTTLS", "imap", "select", "starttls")):
            report = self.bench(service.rstrip("s"), "--target", f"127.0.0.1:{self.ports[service]}", "--tls", tls, "--mix", mix,
                                *each)
            self.read[name] = {"accepted": report.get("accepted", 0), "seconds": report.get("seconds", 0),
                               **report.get("verbs", {}).get(mix, {"items": 0, "bytes": 0})}

    def mailbox_rows(self):
        """Lines of the table, and whether all came back."""
        rows = [("local (25; 587, STARTTLS, AUTH)", f"{self.local_accepted} messages to {READERS} mailboxes in "
                 f"{self.local_seconds:.1f} s, server CPU {self.local_cpu / max(self.local_accepted, 1) * 1e6:.0f} us each")]
        good = self.local_accepted == self.local
        for name in ("POP3S", "IMAPS"):
            got = self.read[name]
            rows.append((f"read back by {name}", f"{got['items']} messages of {READERS} mailboxes, "
                         f"{got['bytes'] / 1e6:.1f} MB in {got['seconds']:.1f} s, first logins in it"))
            good = good and got["items"] == self.local
        ways = [name for name in ("STLS", "STARTTLS") if self.read[name]["accepted"] == READERS]
        rows.append(("logins by STLS (POP3), STARTTLS (IMAP)", " and ".join(ways) or "none"))
        return rows, good and len(ways) == 2

    def table(self):
        load, sink, wanted = self.load.final, self.sink.latest, self.args.messages
        seen, doubles = sink.get("seen", 0), sink.get("doubles", 0)
        good, bad = sink.get("signatures_good", 0), sink.get("signatures_bad", 0)
        intake, travel = load.get("message_us", {}), sink.get("end_to_end_us", {})
        ms = lambda value: f"{value / 1000:.1f} ms"
        rows = [
            ("submitted (587, STARTTLS, AUTH)", f"{load.get('accepted', 0)} messages, {load.get('rate', 0):.0f} per second"),
            ("delivered", f"{seen} messages in {self.seconds:.1f} s = {seen / self.seconds:.0f} per second"),
            ("intake, MAIL to durable 250", "p50 %s  p99 %s  p99.9 %s" % tuple(ms(intake.get(p, 0)) for p in ("p50", "p99", "p99.9"))),
            ("end to end, to the sink's dot", "p50 %s  p99 %s  p99.9 %s" % tuple(ms(travel.get(p, 0)) for p in ("p50", "p99", "p99.9"))),
            ("signatures verified by the sink", f"{good} good, {bad} bad (RSA-2048 and Ed25519 on each message)"),
            ("server CPU per message", f"{self.cpu / max(seen, 1) * 1e6:.0f} us"),
            ("lost / twice", f"{wanted - seen} / {doubles}"),
        ]
        local, all_back = self.mailbox_rows()
        rows += local
        width = max(len(name) for name, _ in rows)
        print()
        for name, value in rows:
            print(f"  {name:{width}}  {value}")
        print()
        return seen == wanted and doubles == 0 and bad == 0 and good == 2 * wanted and load.get("accepted") == wanted and all_back

    def stay(self):
        print(f"""The instance stays. Its folder is {self.folder}
  configuration  {self.path('ringpost.yaml')}
  port 25        127.0.0.1:{self.ports['smtp']}
  submission     127.0.0.1:{self.ports['submission']} (STARTTLS), 127.0.0.1:{self.ports['submissions']} (TLS)
  mailboxes      POP3 127.0.0.1:{self.ports['pop3']} (STLS), {self.ports['pop3s']} (TLS); IMAP {self.ports['imap']} (STARTTLS), {self.ports['imaps']} (TLS)
  login          {USER} / {self.password}, and reader0@{DOMAIN} to reader{READERS - 1}@{DOMAIN} with the same
  look           build/ringpost top --config {self.path('ringpost.yaml')}
  send           build/ringpost-bench smtp --target 127.0.0.1:{self.ports['submission']} --tls starttls \\
                       --auth {USER}:{self.password} --from {USER} --to you@world.test --messages 1000
                 or any mail program; what is not for {DOMAIN} goes to the demo's sink
Ctrl-C ends it and removes the folder.""", flush=True)
        while self.server.poll() is None:
            time.sleep(0.5)

    def end(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave it running")
    parser.add_argument("--messages", type=int, default=20000)
    demo = Demo(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    good = False
    try:
        demo.prepare()
        demo.start_sink()
        demo.start_server()
        demo.run_campaign()
        demo.run_mailboxes()
        good = demo.table()
        if demo.args.stay:
            demo.stay()
    except KeyboardInterrupt:
        print()
    finally:
        if not good and os.path.exists(demo.path("ringpost.log")):
            with open(demo.path("ringpost.log"), encoding="utf-8", errors="replace") as f:
                print("last lines of the server:\n" + "".join(f.readlines()[-15:]), file=sys.stderr)
        demo.end()
    print("demo: all is well" if good else "demo: something went wrong")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
