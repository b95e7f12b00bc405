# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of ./dev bench about mailboxes: delivery, IMAP and POP3, beside a Dovecot run in the same call.

One function fills both servers and measures several figures, ours and Dovecot's in turns.
"""
import contextlib
import resource
import statistics
import time

from measure import BENCH, PASSWORD, bench_json, cpu_tree, kernel_kb, memory_kb, support
from sides import ALICE, DOMAIN, Imap, PostfixLmtp, both, in_turns, load, verb

# --- What is measured. Each gives {row: {side: {figure: number}}} ---

def deliver(args):
    """The pair is given a tenth, and its time ends when its queue is empty: its 250 says only that the message
    lies in the queue, ours that it lies in the mailbox."""
    messages, accounts = args.messages(60000), max(args.messages(1000), 100)
    with both(accounts=accounts, peer=False) as sides, contextlib.ExitStack() as stack:
        try:
            sides.append(stack.enter_context(PostfixLmtp(stack.enter_context(support.Place()),
                                                         stack.enter_context(support.Place()))))
        except support.Skip as why:
            print(f"no Postfix + LMTP: {why}")
        for side in sides:
            side.fill(accounts, accounts=accounts)  # every account was met once

        def measure(side):
            ours = side is sides[0]
            count = messages if ours else messages // 10
            cpu = (lambda: cpu_tree(side.pid)) if ours else side.cpu
            before, began = cpu(), time.monotonic()
            report = side.fill(count, accounts=accounts)
            seconds = time.monotonic() - began
            return {"rate": report["rate"] if ours else report["accepted"] / seconds,
                    "us": (cpu() - before) / report["accepted"] * 1e6,
                    "p99": report["message_us"]["p99"] / 1000, "lost": count - report["accepted"]}
        found = in_turns(args, sides, measure)
    for name in found.keys() - {"ringpost"}:
        found[name]["faster"] = found["ringpost"]["rate"] / found[name]["rate"]
        found[name]["cheaper"] = found[name]["us"] / found["ringpost"]["us"]
    return {"deliver": found}


def envelopes(side, messages, times):
    report = load(side, "imap", "select-fetch", "--operations", times, "--connections", 1)
    found = verb(report, "select-fetch")
    return {"us": report["cpu"] / (times * messages) * 1e6, "first": found["first_us"]["p50"] / 1000,
            "ms": found["done_us"]["p50"] / 1000, "lost": times * messages - found["items"]}


def bodies(side, messages, tls, user=ALICE, connections=1, times=10):
    report = load(side, "imap", "fetch-body", "--operations", times * connections, "--connections", connections, tls=tls,
                  user=user)
    found = verb(report, "fetch-body")
    return {"mbs": found["bytes"] / report["cpu"] / 1e6, "wire": found["bytes"] / report["seconds"] / 1e6,
            "lost": times * connections * messages - found["items"]}


def maildrop(side, messages, tls):
    times = 5
    report = load(side, "pop3", "retr-all", "--operations", times, "--connections", 1, tls=tls)
    found = verb(report, "retr-all")
    return {"ms": found["done_us"]["p50"] / 1000, "us": report["cpu"] / found["items"] * 1e6,
            "lost": times * messages - found["items"]}


def logins(side, times):
    load(side, "imap", "login", "--operations", 2, "--connections", 1)
    report = load(side, "imap", "login", "--operations", times, "--connections", 4)
    return {"ms": report["cpu"] / times * 1e3, "rate": report["rate"], "lost": times - report["accepted"]}


def carried(runs):
    """What the machine would allow, in these minutes: its figures and ours go up and down together."""
    found = [bench_json("carry", "--bytes", "512M")["mb_per_cpu_second"] for _ in range(3 * runs)]
    return {"ringpost": {"mbs": statistics.median(found), "lost": 0}}


def read(args):
    """All is read once before it is measured: what was written past the page cache, passwords that were not seen."""
    small, large = args.messages(10000), args.messages(2000)
    big = "u1@" + DOMAIN
    with both(accounts=2) as sides:
        for side in sides:
            side.fill(small)
            load(side, "imap", "append", "--size", "50K", "--operations", large, "--connections", 4, user=big)
            bodies(side, small, "none", times=1)
            bodies(side, large, "none", big, 4, 1)
        rows = {"carry": carried(args.runs), "fetch": in_turns(args, sides, lambda s: envelopes(s, small, 20))}
        for tls, name in (("none", ""), ("implicit", "-tls")):
            rows["body-4k" + name] = in_turns(args, sides, lambda s: bodies(s, small, tls))
            rows["body-50k" + name] = in_turns(args, sides, lambda s: bodies(s, large, tls, big, 4, 5))
            rows["retr" + name] = in_turns(args, sides, lambda s: maildrop(s, small, tls))
        rows["login"] = in_turns(args, sides, lambda s: logins(s, args.messages(5000) // (20 if s.name == "Dovecot" else 1)))
    return rows


def cold(args):
    """100 mailboxes filled in turns; Dovecot's only three, or filling them would take an hour."""
    each, ours_count, peer_count = args.messages(10000), 100, 3
    with both(accounts=ours_count) as sides:
        for side in sides:
            count = ours_count if side.name == "ringpost" else peer_count
            side.fill(each * count, accounts=count)

        def measure(side):
            side.restart()
            load(side, "imap", "login", "--operations", 1, "--connections", 1, user="u7@" + DOMAIN)
            got = envelopes(side, each, 1)
            # Dovecot's three were filled by three connections, each as fast as it could: about so many.
            return {"s": got["ms"] / 1000, "first": got["first"], "lost": got["lost"] if side.name == "ringpost" else 0}
        return {"cold": in_turns(args, sides, measure)}


def append(args):
    count = args.messages(10000)
    with both(durable=True) as sides:
        rows = {}
        for connections in (1, 20):
            def measure(side):
                times = count if side.name == "ringpost" else count // 10
                report = load(side, "imap", "append", "--operations", times, "--connections", connections)
                return {"rate": report["rate"], "us": report["cpu"] / times * 1e6, "lost": times - report["accepted"]}
            rows[f"append-{connections}"] = in_turns(args, sides, measure)
    return rows


def find(args):
    messages = args.messages(100000)
    with both() as sides:
        for side in sides:
            load(side, "imap", "append", "--operations", messages, "--connections", 20 if side.name == "ringpost" else 2,
                 "--thread", 5, "--size", "1K")
        rows = {}
        for name in ("search", "sort", "thread"):
            def measure(side):
                report = load(side, "imap", name, "--operations", 5, "--connections", 1, "--key", 'SUBJECT "no. 4711"')
                return {"ms": verb(report, name)["done_us"]["p50"] / 1000, "first_ms": verb(report, name)["done_us"]["max"] / 1000,
                        "lost": 0}
            rows[name] = in_turns(args, sides, measure)
    return rows


def resync(side, messages, restarted):
    """Milliseconds from SELECT (QRESYNC) to its answer, when one message changed."""
    client = Imap(side.ports["imap"])
    answer = client.do("SELECT INBOX")
    validity, before = client.number(answer, "UIDVALIDITY"), client.number(answer, "HIGHESTMODSEQ")
    client.do(f"STORE {messages // 2} +FLAGS (k{time.monotonic_ns() % 40})")
    client.do(f"STORE {messages // 2} -FLAGS (\\Flagged)")
    client.do(f"STORE {messages // 2} +FLAGS (\\Flagged)")
    if restarted:
        client.close()
        side.restart()
        client = Imap(side.ports["imap"])
    times = []
    for _ in range(1 if restarted else 20):
        client.do("UNSELECT") if times else None
        began = time.monotonic()
        answer = client.do(f"SELECT INBOX (QRESYNC ({validity} {before}))")
        times.append((time.monotonic() - began) * 1000)
    changed = answer.count(" FETCH ")
    client.close()
    return {"ms": statistics.median(times), "lost": 1 - changed}


def appended(side, count, user):
    """The rate of 20 connections to one mailbox."""
    return load(side, "imap", "append", "--connections", 20, "--operations", count, user=f"{user}@{DOMAIN}")["rate"]


GROWN_ROUNDS = 12


def grow(side, full, rounds):
    """Mailboxes of three sizes in turns, on the server that keeps all of them: what the machine, the disk and the journal do
    in these seconds is the same for each. The small one is another one each time."""
    step, found = full // 200, {"10k": [], "100k": [], "1m": []}
    appended(side, full, "u0")
    appended(side, full // 10, "u1")
    for turn in range(rounds):
        small = f"u{turn + 2}"
        appended(side, full // 100 - step, small)
        order = [("10k", small), ("100k", "u1"), ("1m", "u0")]
        for name, user in order[turn % 3:] + order[:turn % 3]:
            found[name].append(appended(side, step, user))
    return {name: statistics.median(rates) for name, rates in found.items()} | {"lost": 0}


def million(args):
    """A mailbox of a million takes more, then who was away comes back to it. Dovecot's has a fiftieth of it, and is only
    filled: the whole would take an hour."""
    rows, full, rounds = {}, args.messages(1000000), GROWN_ROUNDS * args.runs
    with both(accounts=rounds + 2) as sides:
        rows["grow"] = {"ringpost": grow(sides[0], full, rounds)}
        for side in sides[1:]:
            side.fill(full // 50, "--size", "1K")
        sizes = {side.name: full + rounds * (full // 200) if side.name == "ringpost" else full // 50 for side in sides}
        rows["qresync"] = in_turns(args, sides, lambda s: resync(s, sizes[s.name], False))
        rows["qresync-restart"] = in_turns(args, sides, lambda s: resync(s, sizes[s.name], True))
    return rows


@contextlib.contextmanager
def idlers(place, side, sessions, *words):
    service = "imaps" if "implicit" in words else "imap"
    client = support.Process(place, f"idle-{time.monotonic_ns()}",
                             [BENCH, "idle", "--target", f"127.0.0.1:{side.ports[service]}", "--sessions", sessions, "--auth",
                              f"u%d@{DOMAIN}:{PASSWORD}", *words])
    try:
        support.until(lambda: client.check_alive() and "ready" in client.log(), "idle sessions", 300)
        yield client
    finally:
        client.stop()


def idle(args):
    """(server PSS + half of the kernel's growth) / sessions, as the rows of SMTP; 100 accounts of 90 sessions."""
    rows = {}
    for name, words in (("idle-plain", ["--tls", "none"]), ("idle-tls", ["--tls", "implicit"]),
                        ("idle-deflate", ["--tls", "implicit", "--compress"])):
        with both(accounts=100, peer=name != "idle-deflate") as sides, support.Place() as place:
            def measure(side):
                sessions = args.messages(9000 if side.name == "ringpost" else 400)
                if side.name == "ringpost":
                    for n in range(2):  # every account was met once, and buffers were made
                        load(side, "imap", "noop", "--operations", 100, "--connections", 50, "--users", 100,
                             user="u%d@" + DOMAIN)
                time.sleep(1)
                before, kernel = memory_kb(side.pid), kernel_kb()
                with idlers(place, side, sessions, "--users", "100", *words) as client:
                    time.sleep(4)
                    after, kernel_after = memory_kb(side.pid), kernel_kb()
                    opened = int(client.log().split()[1])
                time.sleep(2)
                user, system = (after - before) / opened, (kernel_after - kernel) / 2 / opened
                return {"kb": user + system, "user_kb": user, "kernel_kb": system, "lost": sessions - opened}
            rows[name] = {side.name: measure(side) for side in sides}
    return rows


def wake(args):
    """As many sessions as descriptors allow, each on a mailbox of its own; then one message to each. The generator
    is another process with as many descriptors of its own."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    accounts, goal_s, many = 100, 5, 100000
    with both(accounts=accounts, peer=False) as sides, support.Place() as place:
        ours = sides[0]
        places = ours.server.cli_json("stats")["places"]
        room = places["max"] - places["kept_outgoing"] - accounts - 20  # the messages come in beside them
        sessions = args.messages(min(room, many)) // accounts * accounts
        ours.ask([{"do": "mailbox create", "name": f"u{n % accounts}@{DOMAIN}", "mailbox": f"box{n}"}
                  for n in range(sessions)])
        with idlers(place, ours, sessions, "--tls", "implicit", "--users", str(accounts), "--mailbox", "box%n") as client:
            opened = int(client.log().split()[1])
            before, began = cpu_tree(ours.pid), time.monotonic()
            report = ours.fill(sessions, "--to", f"u%d+box%n@{DOMAIN}", accounts=accounts)
            woken = lambda: [line.split() for line in client.log().splitlines() if line.startswith("woken")]
            with contextlib.suppress(TimeoutError):
                support.until(lambda: woken() and int(woken()[-1][1]) >= opened, "that all are woken", 60)
            last = woken()[-1]
            used = cpu_tree(ours.pid) - before
            took = float(last[3]) - began
    return {"wake": {"ringpost": {"sessions": opened, "s": took, "rate": report["rate"],
                                  "us": used / sessions * 1e6, "limit": limit,
                                  "in_goal": sessions * goal_s / took, "goal_s": goal_s, "many": many,
                                  "many_s": took * many / sessions,
                                  "lost": sessions - int(last[1])}}}


# row: (what, what to reach, ours, Dovecot's when it is another)
RATE = "{rate:,.0f}/s, {us:.0f} us CPU"
KB = "{kb:.1f} KB ({user_kb:.1f} process + {kernel_kb:.1f} kernel)"
MBS = "{mbs:,.0f} MB per CPU second ({wire:,.0f} MB/s)"
FAMILIES = {
    "mailbox-deliver": (deliver, {
        "deliver": ("4 KiB messages to 1,000 mailboxes by port 25, 100 connections, on disk before `250`",
                    ">= 10,000/s, <= 100 us", RATE + "; p99 {p99:.1f} ms",
                    "Postfix + LMTP: " + RATE + "; ours {faster:,.0f} x the rate, 1/{cheaper:,.0f} of the CPU")}),
    "mailbox-read": (read, {
        "fetch": ("SELECT + `FETCH 1:* (FLAGS ENVELOPE)` of 10,000, warm", "<= 2.2 us CPU each, first byte < 5 ms",
                  "{us:.2f} us CPU each, first byte {first:.1f} ms, all {ms:.0f} ms", None),
        "body-4k": ("`FETCH 1:* BODY[]`, 10,000 of 4 KiB, one connection", ">= 1,000 MB per CPU second", MBS, None),
        "body-50k": ("`FETCH 1:* BODY[]`, 2,000 of 50 KiB, four connections", ">= 2,500 MB per CPU second", MBS, None),
        "carry": ("beside them: a bare loop that reads 256 KB from the page cache, sums and sends them", "-",
                  "{mbs:,.0f} MB per CPU second", ""),
        "body-4k-tls": ("the 4 KiB ones over TLS", ">= 500 MB per CPU second", MBS, None),
        "body-50k-tls": ("the 50 KiB ones over TLS", ">= 1,250 MB per CPU second", MBS, None),
        "retr": ("POP3 RETR of 10,000 of 4 KiB, pipelined", "<= 50 ms", "{ms:.0f} ms, {us:.1f} us CPU each", None),
        "retr-tls": ("the same over TLS", "-", "{ms:.0f} ms, {us:.1f} us CPU each", None),
        "login": ("LOGIN + LOGOUT, password seen before, no TLS", "<= 0.25 ms CPU", "{ms:.3f} ms CPU, {rate:,.0f}/s", None)}),
    "mailbox-cold": (cold, {
        "cold": ("SELECT + `FETCH 1:* (FLAGS ENVELOPE)` of 10,000, page cache dropped, server restarted; filled in turns with "
                 "99 other mailboxes (Dovecot's with 2)", "<= 0.2 s", "{s:.2f} s, first byte {first:.0f} ms", None)}),
    "mailbox-append": (append, {
        "append-1": ("APPEND of 4 KiB, durable, 1 connection", ">= 3,000/s", RATE, None),
        "append-20": ("the same, 20 connections", ">= 8,000/s", RATE, None)}),
    "mailbox-find": (find, {
        "search": ("SEARCH SUBJECT in 100,000", "< 50 ms", "{ms:.0f} ms (slowest of five {first_ms:.0f})", None),
        "sort": ("SORT (SUBJECT) of 100,000", "< 50 ms", "{ms:.0f} ms (slowest of five {first_ms:.0f})", None),
        "thread": ("THREAD REFERENCES of 100,000", "< 50 ms", "{ms:.0f} ms (slowest of five {first_ms:.0f})", None)}),
    "mailbox-million": (million, {
        "grow": ("APPEND, 20 connections, as the mailbox grows", "not slower at 1,000,000",
                 "{10k:,.0f}/s at 10,000, {100k:,.0f} at 100,000, {1m:,.0f} at 1,000,000", ""),
        "qresync": ("SELECT (QRESYNC), 1 change in 1,000,000 (Dovecot: in 20,000)", "< 10 ms", "{ms:.1f} ms", None),
        "qresync-restart": ("the same right after a restart, page cache dropped", "< 10 ms", "{ms:.1f} ms", None)}),
    "mailbox-idle": (idle, {
        "idle-plain": ("memory of a session in IDLE, 9,000 of them (Dovecot 400)", "<= 7 KB", KB, None),
        "idle-tls": ("the same with TLS", "<= 12 KB", KB, None),
        "idle-deflate": ("the same with TLS and COMPRESS", "<= 14 KB", KB, None)}),
    "mailbox-wake": (wake, {
        "wake": ("idle TLS sessions, each on its own mailbox; one message to each, until all were told", "<= 5 s",
                 "{sessions:,.0f} sessions (descriptor limit {limit:,.0f}): {s:.2f} s, {us:.0f} us CPU each with the delivery; "
                 "at this pace {in_goal:,.0f} in {goal_s} s, {many:,.0f} in {many_s:.0f} s",
                 None)}),
}
