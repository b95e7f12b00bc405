#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""./dev bench: measure the release build, and write what came out into docs/benchmarks.md.

    ./dev bench                      all rows, three runs each, medians
    ./dev bench intake relay-rsa     only these; with --write, their lines are written
    ./dev bench --runs 1 --quick     a smoke: small numbers, nothing written

Server, generator and sink share the machine, so figures are for comparing, not for bragging: Postfix
is run beside ringpost in the same call where ./dev has unpacked it. CPU is that of all server
processes, from /proc. There is no floor here and no assertion on time.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
os.environ.setdefault("RINGPOST_BUILD", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import postfix as postfix_peer  # noqa: E402
import support  # noqa: E402

BENCH = os.path.join(ROOT, "build", "ringpost-bench")
DOC = os.path.join(ROOT, "docs", "benchmarks.md")
USER, PASSWORD = "alice@example.test", "correct horse battery"
TICKS = os.sysconf("SC_CLK_TCK")

# Messages wait for a destination that never greets: what is measured is intake alone.
NOBODY = "connect delay 3600s\n"
# Large enough that nothing is moved to the index for lack of room while a run lasts.
ROOMY = {"relay": {"queue": {"ram": "4G", "path_ready": 10000000, "ready": 10000000, "park_after": "10m"}}}
QUIET = {"log": {"level": "warn"}}


def cpu_tree(pid, step=1):
    """CPU seconds of a process and all its living descendants, reaped children included; with step 2 in
    user mode only."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            total = sum(int(n) for n in f.read().rsplit(")", 1)[1].split()[11:15:step]) / TICKS
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return total + sum(cpu_tree(int(child), step) for child in f.read().split())
    except OSError:
        return 0.0


def bench_json(*words, timeout=600):
    """Run ringpost-bench to its end and return its last JSON line."""
    done = subprocess.run([BENCH, *map(str, words), "--json"], stdout=subprocess.PIPE, text=True,
                          timeout=timeout, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines or "title" not in lines[-1] and "final" not in lines[-1]:
        raise RuntimeError(f"{words}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return lines[-1]


class BenchSink:
    """ringpost-bench sink on a free port, its lines in a file."""

    def __init__(self, place, *words, script=None):
        self.place, self.words = place, list(words)
        if script:
            self.words += ["--script", place.file("script.txt", script)]

    def __enter__(self):
        self.process = support.Process(self.place, "sink", [BENCH, "sink", "--listen", "127.0.0.1:0", "--json",
                                                            "--every", "100ms", *self.words])
        line = support.until(lambda: self.process.check_alive() and '"listening"' in self.process.log()
                             and self.process.log().splitlines()[0], "the sink")
        self.port = int(json.loads(line)["listening"].rsplit(":", 1)[1])
        return self

    def latest(self):
        lines = [line for line in self.process.log().splitlines() if line.startswith('{"seen"') and line.endswith("}")]
        return json.loads(lines[-1]) if lines else {"seen": 0}

    def __exit__(self, *_):
        self.process.stop()


def ringpost(place, sink_port, tls="none", config=None, **more):
    base = support.merge(support.merge(ROOMY, QUIET), {
        "relay": {"routes": [{"domain": "*", "hosts": ["127.0.0.1"], "port": sink_port, "tls": tls}]}})
    server = support.Ringpost(place, config=support.merge(base, config or {}), **more)
    for row in server.config["listen"]:
        if row["service"] == "smtp":
            row["relay_from"] = ["127.0.0.0/8"]
    return server


def add_account(server, keys=()):
    server.write_config()
    server.cli("domain", "add", "example.test")
    server.cli("account", "add", USER, "--password-stdin", input=PASSWORD + "\n")
    for selector, kind in keys:
        server.cli("dkim", "add", "example.test", "--selector", selector, "--type", kind)


def intake(args, service, *words, connections=100, per_connection=100, config=None):
    """Accepted and on disk, never delivered."""
    messages = args.messages(30000 if per_connection > 1 else 10000)
    with support.Place() as place, BenchSink(place, script=NOBODY) as sink:
        server = ringpost(place, sink.port, config=config)
        if service != "smtp":
            add_account(server)
        server.start()
        try:
            before = cpu_tree(server.process.pid)
            report = bench_json("smtp", "--target", f"127.0.0.1:{server.ports[service]}", "--messages", messages,
                                "--connections", connections, "--per-connection", per_connection,
                                "--from", USER, "--to", "user%n@d%d.test", *words)
            used = cpu_tree(server.process.pid) - before
        finally:
            server.kill()  # what waits is not to be delivered
    return {"rate": report["rate"], "cpu_us": used / max(report["accepted"], 1) * 1e6,
            "p50_us": report["message_us"]["p50"], "p99_us": report["message_us"]["p99"],
            "lost": messages - report["accepted"]}


def relay(args, keys=(), domains=1, tls="none", config=None):
    """Accepted, signed, delivered: the rate is that of the sink."""
    messages = args.messages(6000 if ("s1", "rsa") in keys else 20000)
    with support.Place() as place:
        with BenchSink(place) as sink:
            server = ringpost(place, sink.port, tls=tls, config=config)
            add_account(server, keys)
            with server:
                before, began = cpu_tree(server.process.pid), time.monotonic()
                bench_json("smtp", "--target", f"127.0.0.1:{server.ports['submission']}", "--messages", messages,
                           "--connections", 20, "--from", USER, "--to", "user%n@d%d.test", "--domains", domains,
                           "--tls", "starttls", "--auth", f"{USER}:{PASSWORD}")
                support.until(lambda: sink.latest()["seen"] >= messages, "the last message", 120)
                seconds = time.monotonic() - began
                used = cpu_tree(server.process.pid) - before
            got = sink.latest()
    return {"rate": messages / seconds, "cpu_us": used / messages * 1e6, "p50_us": got["end_to_end_us"]["p50"],
            "p99_us": got["end_to_end_us"]["p99"], "lost": messages - got["seen"]}


def memory_kb(pid):
    """PSS of a process tree, in KB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        total = int(re.search(r"^Pss: +(\d+) kB", f.read(), re.M).group(1))
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return total + sum(memory_kb(int(child)) for child in f.read().split())


def kernel_kb():
    """Slab and socket buffers of the whole machine."""
    with open("/proc/meminfo", encoding="ascii") as f:
        slab = int(re.search(r"^Slab: +(\d+) kB", f.read(), re.M).group(1))
    with open("/proc/net/sockstat", encoding="ascii") as f:
        pages = int(re.search(r"^TCP: .* mem (\d+)", f.read(), re.M).group(1))
    return slab + pages * os.sysconf("SC_PAGESIZE") // 1024


def idle(args, tls):
    """(server PSS + half of the kernel's growth) / sessions: both ends of a loopback session are here."""
    sessions = args.messages(9000)
    service = "submissions" if tls == "implicit" else "smtp"
    with support.Place() as place, BenchSink(place, script=NOBODY) as sink:
        limits = {"limits": {"client_connections": 0}}
        with ringpost(place, sink.port, config=limits) as server:
            time.sleep(1)
            before, kernel = memory_kb(server.process.pid), kernel_kb()
            client = support.Process(place, "idle", [BENCH, "idle", "--target", f"127.0.0.1:{server.ports[service]}",
                                                     "--sessions", sessions, "--tls", tls])
            support.until(lambda: client.check_alive() and "ready" in client.log(), "idle sessions", 300)
            time.sleep(3)
            after, kernel_after = memory_kb(server.process.pid), kernel_kb()
            opened = int(client.log().split()[1])
            client.stop()
    user, system = (after - before) / opened, (kernel_after - kernel) / 2 / opened
    return {"kb": user + system, "user_kb": user, "kernel_kb": system, "lost": sessions - opened}


def handshakes(args, engine):
    """Full TLS 1.3 handshakes, 128 at a time, with a server that has an RSA certificate only. The CPU is in user
    mode and all there is of a connection: accepted, handshake, tickets, greeting, EHLO."""
    sessions = args.messages(8000)
    with support.Place() as place, BenchSink(place, script=NOBODY) as sink:
        cert, key = place.certificate("rsa", rsa=True)
        config = {"limits": {"client_connections": 0}, "sign": {"engine": engine},
                  "tls": {"certificates": [{"cert": cert, "key": key}]}}
        with ringpost(place, sink.port, config=config) as server:
            before, began = cpu_tree(server.process.pid, 2), time.monotonic()
            client = support.Process(place, "idle", [BENCH, "idle", "--target", f"127.0.0.1:{server.ports['submissions']}",
                                                     "--sessions", sessions, "--tls", "implicit", "--at-once", 128])
            support.until(lambda: client.check_alive() and "ready" in client.log(), "sessions", 300)
            seconds, used = time.monotonic() - began, cpu_tree(server.process.pid, 2) - before
            opened = int(client.log().split()[1])
            client.stop()
    return {"handshakes": opened / seconds, "user_us": used / opened * 1e6, "lost": sessions - opened}


def cpu_group(pgid):
    """CPU seconds of all processes of one group: Postfix is many, short-lived among them."""
    total = 0.0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pgid:
            total += sum(int(n) for n in fields[11:15]) / TICKS
    return total


def postfix(args, deliver):
    """The peer: the same generator, the same sink, in the same minutes."""
    messages = args.messages(10000 if deliver else 20000)
    script = None if deliver else NOBODY
    with support.Place() as place, BenchSink(place, script=script) as sink:
        options = {"smtpd_client_connection_count_limit": "0", "smtpd_client_connection_rate_limit": "0",
                   "default_process_limit": "150", "smtpd_client_message_rate_limit": "0"}
        if not deliver:
            options["defer_transports"] = "smtp"
        with postfix_peer.Postfix(place, sink.port, options=options) as server:
            group = os.getpgid(server.process.pid)
            before, began = cpu_group(group), time.monotonic()
            report = bench_json("smtp", "--target", f"127.0.0.1:{server.port}", "--messages", messages,
                                "--connections", 20 if deliver else 100, "--per-connection", 100,
                                "--no-pipelining", "--from", USER, "--to", "user%n@d%d.test")
            if deliver:
                support.until(lambda: sink.latest()["seen"] >= report["accepted"], "the last message", 300)
            seconds = time.monotonic() - began
            used = cpu_group(group) - before
        got = sink.latest()
    rate = got["seen"] / seconds if deliver else report["rate"]
    latency = got["end_to_end_us"] if deliver else report["message_us"]
    return {"rate": rate, "cpu_us": used / max(report["accepted"], 1) * 1e6, "p50_us": latency["p50"],
            "p99_us": latency["p99"], "lost": messages - report["accepted"]}


def restart(args):
    """A queue of deferred mail: how soon the server is ready again, and in how much memory."""
    messages = args.messages(1000000)
    config = {"relay": {"queue": {"ram": "64M", "path_ready": 1000, "ready": 2000, "park_after": "1s"},
                        "retry": {"first": "12h", "max": "12h"}}}
    with support.Place() as place:
        dead = support.free_port()  # nobody listens there: every attempt is refused at once
        server = ringpost(place, dead, config=config)
        server.start()
        try:
            bench_json("smtp", "--target", f"127.0.0.1:{server.ports['smtp']}", "--messages", messages, "--size", "1K",
                       "--connections", 50, "--from", USER, "--to", "user%n@d%d.test", "--domains", 1000, timeout=1800)
            waiting = lambda: sum(server.cli_json("queue", "count").get(k, 0) for k in ("parked", "held"))
            support.until(lambda: waiting() >= messages, "all messages parked", 900)
            server.stop()
            began = time.monotonic()
            server.start()
            seconds = time.monotonic() - began
            time.sleep(1)
            with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
                anonymous = int(re.search(r"^RssAnon:\s+(\d+)", f.read(), re.M).group(1))
            found = waiting()
        finally:
            server.kill()
    return {"seconds": seconds, "mb": anonymous / 1024, "lost": messages - found}


# name: (what is measured, what to reach, function)
ROWS = {
    "intake": ("intake on 25, plain, no pipelining, 4 KiB, 100 connections x 100 messages",
               "12,000/s, 60 us", lambda a: intake(a, "smtp", "--no-pipelining")),
    "intake-tls": ("the same on 587 with TLS 1.3 and AUTH", "8,000/s, 100 us",
                   lambda a: intake(a, "submission", "--no-pipelining", "--tls", "starttls", "--auth", f"{USER}:{PASSWORD}")),
    "intake-1": ("on 25, one message per connection", "6,000/s, 120 us",
                 lambda a: intake(a, "smtp", "--no-pipelining", per_connection=1)),
    "intake-nosync": ("intake on 25 with the journal's sync off (test option)", "sync costs at most 15 %",
                      lambda a: intake(a, "smtp", "--no-pipelining", config={"store": {"nosync": True}})),
    "relay": ("587 to the sink, no DKIM, one destination", "7,000/s, 130 us", lambda a: relay(a)),
    "relay-100": ("587 to the sink, no DKIM, 100 destinations", "7,000/s, 130 us", lambda a: relay(a, domains=100)),
    "relay-rsa": ("the same with DKIM RSA-2048", "1,700/s", lambda a: relay(a, keys=[("s1", "rsa")])),
    "relay-ed25519": ("the same with DKIM Ed25519", "6,000/s", lambda a: relay(a, keys=[("s2", "ed25519")])),
    "relay-rsa-wolfcrypt": ("the same with DKIM RSA-2048, `sign.engine: wolfcrypt`", "-",
                            lambda a: relay(a, keys=[("s1", "rsa")], config={"sign": {"engine": "wolfcrypt"}})),
    "tls-rsa": ("full TLS 1.3 handshakes with an RSA-2048 certificate, 128 at a time: server's user CPU each",
                "300 us", lambda a: handshakes(a, "auto")),
    "tls-rsa-wolfcrypt": ("the same with `sign.engine: wolfcrypt`", "-", lambda a: handshakes(a, "wolfcrypt")),
    "restart": ("restart with 1,000,000 deferred messages queued: ready after, anonymous memory",
                "5 s, 300 MB", restart),
    "postfix-intake": ("peer: Postfix takes 4 KiB to its queue, 100 connections x 100 messages", "-",
                       lambda a: postfix(a, False)),
    "postfix-relay": ("peer: Postfix takes and delivers to the sink, no DKIM", "-", lambda a: postfix(a, True)),
    "idle-plain": ("memory of an idle plain session, 9,000 of them", "8 KB", lambda a: idle(a, "none")),
    "idle-tls": ("memory of an idle TLS session, 9,000 of them", "14 KB", lambda a: idle(a, "implicit")),
}


# Minutes each: run once, whatever --runs says.
SLOW = {"restart", "postfix-intake", "postfix-relay"}


def describe(results):
    """The median of each number over the runs."""
    return {key: statistics.median(r[key] for r in results) for key in results[0]}


def line(name, row, runs):
    what, goal, _ = ROWS[name]
    if "seconds" in row:
        found = f"{row['seconds']:.2f} s, {row['mb']:.0f} MB"
    elif "handshakes" in row:
        found = f"{row['user_us']:.0f} us, {row['handshakes']:,.0f}/s"
    elif "kb" in row:
        found = f"{row['kb']:.1f} KB ({row['user_kb']:.1f} process + {row['kernel_kb']:.1f} kernel)"
    else:
        found = (f"{row['rate']:,.0f}/s, {row['cpu_us']:.0f} us CPU; p50 {row['p50_us'] / 1000:.1f} ms, "
                 f"p99 {row['p99_us'] / 1000:.1f} ms")
    lost = f" **lost {row['lost']:.0f}**" if row["lost"] else ""
    return f"| {what} | {goal} | {found}{lost} | `./dev bench {name} --runs {runs}` |"


def write_table(lines, machine):
    """New lines take the place of those of the same rows; the others stay."""
    with open(DOC, encoding="utf-8") as f:
        text = f.read()
    begin, end = "<!-- figures -->\n", "\n<!-- end -->"
    head, rest = text.split(begin, 1)
    old, tail = rest.split(end, 1)
    row_of = lambda text: re.search(r"`./dev bench ([\w-]+) [^`]*` \|$", text)
    rows = {row_of(text).group(1): text for text in [*old.splitlines(), *lines] if row_of(text)}
    table = "\n".join([f"Measured {time.strftime('%Y-%m-%d')} on {machine}.", "",
                       "| what | to reach | found | command |", "|---|---|---|---|",
                       *(rows[name] for name in ROWS if name in rows)])
    with open(DOC, "w", encoding="utf-8") as f:
        f.write(head + begin + table + end + tail)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    args.messages = lambda n: max(n // 20, 100) if args.quick else n
    lines, names = [], args.rows or list(ROWS)
    machine = subprocess.run(["uname", "-rm"], capture_output=True, text=True, check=True).stdout.strip()
    machine = f"{os.cpu_count()} cores, Linux {machine}"
    for name in names:
        results = []
        runs = 1 if name in SLOW else args.runs
        for _ in range(runs):
            results.append(ROWS[name][2](args))
            print(f"{name}: {json.dumps(results[-1])}", file=sys.stderr, flush=True)
        lines.append(line(name, describe(results), runs))
        print(lines[-1], flush=True)
    if args.quick:
        print("quick: a twentieth of each row's messages, so this is a smoke, not a measurement", file=sys.stderr)
    elif args.write or not args.rows:
        write_table(lines, machine)


if __name__ == "__main__":
    main()
