#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""./dev bench: measure the release build, and write what came out into docs/benchmarks.md.

    ./dev bench                      all rows, three runs each, medians
    ./dev bench intake relay-rsa     only these; with --write, their lines are written
    ./dev bench --runs 1 --quick     a smoke: small numbers (a twentieth), nothing written

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

import mailboxes
import shapes
import sides
import transfer
from measure import (BENCH, NOBODY, PASSWORD, ROOT, USER, BenchSink, add_account, bench_json, cpu_group, cpu_tree,
                     kernel_kb, memory_kb, ringpost, support)
import postfix as postfix_peer  # from tests/e2e

DOC = os.path.join(ROOT, "docs", "benchmarks.md")


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


# Families of rows about mailboxes, each with the function that measures them.
FAMILIES = {**mailboxes.FAMILIES, **transfer.FAMILIES, **shapes.FAMILIES}
MAILBOX_HEAD = "| what | to reach | ringpost | Dovecot beside it | command |\n|---|---|---|---|---|"

# Where a table stands in the page: mark, head, and the rows' order.
TABLES = {
    "figures": ("| what | to reach | found | command |\n|---|---|---|---|", list(ROWS)),
    "mailboxes": (MAILBOX_HEAD, list(mailboxes.FAMILIES)),
    "transfer": (MAILBOX_HEAD, list(transfer.FAMILIES)),
    "shapes": (MAILBOX_HEAD, list(shapes.FAMILIES)),
}


def write_table(name, lines, machine):
    """New lines take the place of those that measured the same; the others stay."""
    head, order = TABLES[name]
    with open(DOC, encoding="utf-8") as f:
        text = f.read()
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, rest = text.split(begin, 1)
    old, after = rest.split(end, 1)
    # A line is known by its row of the command and, as a row may have many lines, by what it measured.
    key = lambda text: (order.index(re.search(r"`./dev bench ([\w-]+) [^`]*` \|$", text).group(1)), text.split(" | ")[0])
    rows = {}
    for row in [*old.splitlines(), *lines]:
        if re.search(r"`./dev bench (%s) [^`]*` \|$" % "|".join(order), row):
            rows[key(row)] = row
    # Sorting is stable: within a command the order is that of its lines.
    table = "\n".join([f"Measured {time.strftime('%Y-%m-%d')} on {machine}.", "", head,
                       *(rows[k] for k in sorted(rows, key=lambda k: k[0]))])
    with open(DOC, "w", encoding="utf-8") as f:
        f.write(before + begin + table + "\n" + end + after)


def measure_row(args, name):
    results = []
    runs = 1 if name in SLOW else args.runs
    for _ in range(runs):
        results.append(ROWS[name][2](args))
        print(f"{name}: {json.dumps(results[-1])}", file=sys.stderr, flush=True)
    return [line(name, describe(results), runs)]


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*ROWS, *FAMILIES]
    parser.add_argument("rows", nargs="*", choices=[[], *known], metavar="ROW", help=", ".join(known))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_const", const=20, dest="part", help="the same as --part 20")
    parser.add_argument("--part", type=int, metavar="N", help="an N-th of each row's messages: a smoke, nothing is written")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    args.messages = lambda n: max(n // args.part, 100) if args.part else n
    names = args.rows or known
    machine = subprocess.run(["uname", "-rm"], capture_output=True, text=True, check=True).stdout.strip()
    machine = f"{os.cpu_count()} cores, Linux {machine}"
    for name in names:
        table = next(t for t, (_, order) in TABLES.items() if name in order)
        lines = sides.lines(args, name, *FAMILIES[name]) if name in FAMILIES else measure_row(args, name)
        print("\n".join(lines), flush=True)
        if not args.part and (args.write or not args.rows):
            write_table(table, lines, machine)
    if args.part:
        print(f"1/{args.part} of each row's messages: this is a smoke, not a measurement", file=sys.stderr)


if __name__ == "__main__":
    main()
