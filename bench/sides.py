# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rows of ./dev bench about mailboxes stand on: our server and its peers as sides of a comparison, a session by
hand, and figures as cells of a table.

Both sides are measured in turns, so that what else the machine does weighs on both. A figure is CPU of all server
processes, or what the generator's clock said. Dovecot writes with mail_fsync=always where durability counts, and
without while it is only filled to be read.
"""
import contextlib
import json
import os
import re
import socket
import statistics
import sys
import time

from measure import PASSWORD, QUIET, bench_json, cpu_group, cpu_tree, support
import dovecot as dovecot_peer  # from tests/e2e, where measure looks
import postfix as postfix_peer

CONFIG = {**QUIET, "limits": {"client_connections": 0}, "imap": {"plain_login": True, "sessions": 0},
          "pop3": {"plain_login": True}, "auth": {"scram_iterations": 4096, "cache": "1d", "cache_entries": 100000}}
SERVICES = ("smtp", "imap", "imaps", "pop3", "pop3s")
DOMAIN = "example.test"
ALICE = "u0@" + DOMAIN


class Ours:
    name = "ringpost"

    def __init__(self, place, accounts=1, config=None):
        self.server = support.Ringpost(place, config=support.merge(CONFIG, config or {}), services=SERVICES)
        self.accounts, self.ports = accounts, self.server.ports

    @property
    def pid(self):
        return self.server.process.pid

    def __enter__(self):
        self.server.start()
        self.server.cli("domain", "add", DOMAIN)
        self.ask([{"do": "account add", "name": f"u{n}@{DOMAIN}", "password": PASSWORD}
                  for n in range(self.accounts)])
        return self

    def ask(self, requests):
        """Over the control socket itself: a thousand programs would take longer."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.connect(self.server.config["control"])
            answers = s.makefile("rb")
            for request in requests:
                s.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(answers.readline())
                if "error" in answer:
                    raise RuntimeError(f"{request}: {answer}")

    def restart(self):
        self.server.stop()
        drop_caches()
        self.server.start()

    def fill(self, messages, *words, accounts=1):
        return bench_json("smtp", "--target", f"127.0.0.1:{self.ports['smtp']}", "--messages", messages,
                          "--connections", min(100, messages), "--domains", accounts, "--to", "u%d@" + DOMAIN, *words)

    def __exit__(self, kind, *_):
        if kind is None:
            self.server.stop()
        else:
            print(self.server.log()[-3000:])
            self.server.kill()


class Dovecot:
    name = "Dovecot"

    def __init__(self, place, durable=False):
        self.server = dovecot_peer.Dovecot(place, tls=True, fsync="always" if durable else "never")

    @property
    def pid(self):
        return self.server.process.pid

    def __enter__(self):
        self.server.__enter__()
        self.ports = {name: getattr(self.server, name) for name in ("imap", "imaps", "pop3", "pop3s", "lmtp")}
        with contextlib.closing(Imap(self.ports["imap"])) as client:
            client.do("SELECT INBOX")  # makes it: of two that append at once, one would be refused
        return self

    def restart(self):
        self.server.__exit__()
        drop_caches()
        self.__enter__()

    def fill(self, messages, *words, accounts=1):
        """By APPEND: the quickest way in that leaves what a delivery leaves."""
        load(self, "imap", "append", "--operations", messages, "--connections", max(accounts, 2), "--users", accounts,
             *words, user="u%d@" + DOMAIN)

    def __exit__(self, *_):
        self.server.__exit__()


class PostfixLmtp:
    """Postfix takes mail to its queue and hands it to Dovecot's LMTP: the usual pair, both durable."""
    name = "Postfix + LMTP"

    def __init__(self, place, other_place):
        self.dovecot = Dovecot(place, durable=True)
        self.place = other_place

    def __enter__(self):
        self.dovecot.__enter__()
        options = {"default_transport": f"lmtp:inet:127.0.0.1:{self.dovecot.ports['lmtp']}", "relayhost": "",
                   "smtpd_client_connection_rate_limit": "0", "smtpd_client_message_rate_limit": "0",
                   "default_process_limit": "150", "lmtp_destination_concurrency_limit": "20"}
        self.postfix = postfix_peer.Postfix(self.place, 0, options=options)
        try:
            self.postfix.__enter__()
        except BaseException:
            self.dovecot.__exit__()
            raise
        self.group = os.getpgid(self.postfix.process.pid)
        return self

    def cpu(self):
        return cpu_group(self.group) + cpu_tree(self.dovecot.pid)

    def fill(self, messages, accounts):
        """Until all of it lies in mailboxes."""
        report = bench_json("smtp", "--target", f"127.0.0.1:{self.postfix.port}", "--messages", messages, "--connections",
                            min(100, messages), "--no-pipelining", "--domains", accounts, "--to", "u%d@" + DOMAIN)
        support.until(lambda: not self.postfix.queued(), "an empty queue", 300)
        if "status=bounced" in self.postfix.log() or "status=deferred" in self.postfix.log():
            raise RuntimeError(self.postfix.log()[-2000:])
        return report

    def __exit__(self, *_):
        self.postfix.__exit__()
        self.dovecot.__exit__()


def drop_caches():
    """Nothing of the files stays in memory; only root can."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3\n")


def load(side, service, mix, *words, tls="none", user=ALICE):
    """The generator's report, and with it the CPU seconds of the server."""
    port = side.ports[service + "s" if tls == "implicit" else service]
    before = cpu_tree(side.pid)
    report = bench_json(service, "--target", f"127.0.0.1:{port}", "--auth", f"{user}:{PASSWORD}", "--mix", mix, "--tls", tls,
                        *words)
    time.sleep(0.2)  # processes of a session end behind it
    report["cpu"] = cpu_tree(side.pid) - before
    if report["refused"] or report["broken"] or report["replies"]:
        raise RuntimeError(f"{side.name}: {mix}: {report['replies']}")
    return report


def verb(report, name):
    return report["verbs"][name]


@contextlib.contextmanager
def both(accounts=1, durable=False, peer=True, config=None):
    """Ours, and Dovecot where it is to be had."""
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(Ours(stack.enter_context(support.Place()), accounts, config))]
        if peer:
            try:
                sides.append(stack.enter_context(Dovecot(stack.enter_context(support.Place()), durable)))
            except support.Skip as why:
                print(f"no Dovecot: {why}")
        yield sides


def in_turns(args, sides, measure):
    """The medians of what measure(side) says, by side and figure."""
    found = {side.name: [] for side in sides}
    for _ in range(args.runs):
        for side in sides:
            found[side.name].append(measure(side))
    return {name: {key: statistics.median(r[key] for r in results) for key in results[0]}
            for name, results in found.items()}


class Answer:
    """What a command brought: its bytes, and the seconds to the first and to the last of them."""

    def __init__(self, data, first, whole):
        self.data, self.first, self.whole = data, first, whole


class Imap:
    """A session by hand: for what must be read, and timed by itself."""

    def __init__(self, port, user=ALICE):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.recv(4096)  # the greeting
        self.do(f'LOGIN "{user}" "{PASSWORD}"')
        self.do("ENABLE QRESYNC")

    def take(self, command, began, ends):
        """Until what has come ends as `ends` says of its last line."""
        data, first = bytearray(), 0
        while not (data.endswith(b"\r\n") and ends(data[data.rfind(b"\n", 0, -2) + 1:])):
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise RuntimeError(f"{command[:80]}: the connection broke")
            first = first or time.monotonic() - began
            data += piece
        return Answer(bytes(data), first, time.monotonic() - began)

    def ask(self, command, literal=None):
        """The answer, up to its tagged line, which is an OK. A literal is sent behind the command, when it may."""
        began = time.monotonic()
        self.socket.sendall(b"x " + command.encode() + b"\r\n")
        if literal is not None:
            self.take(command, began, lambda line: line.startswith(b"+"))
            self.socket.sendall(literal + b"\r\n")
        answer = self.take(command, began, lambda line: line.startswith(b"x "))
        words = answer.data[answer.data.rfind(b"\n", 0, -2) + 1:]
        if not words.startswith(b"x OK"):
            raise RuntimeError(f"{command[:80]}: {words.decode()}")
        return answer

    def do(self, command):
        return self.ask(command).data.decode()

    def number(self, text, word):
        return int(re.search(rf"\[{word} (\d+)", text).group(1))

    def close(self):
        self.socket.close()


def put(form, figures):
    """A cell: what was found, and how many answers were missing."""
    if figures is None or form == "":
        return "-"
    lost = f" **lost {figures['lost']:.0f}**" if figures["lost"] else ""
    return form.format(**figures) + lost


def lines(args, family, function, rows):
    """The rows of a family as lines of the table. A row is (what, what to reach, our cell, Dovecot's when it is another)."""
    found = function(args)
    print(f"{family}: {json.dumps(found)}", file=sys.stderr, flush=True)
    out = []
    for name, (what, goal, ours, peer) in rows.items():
        beside = next((found[name][side] for side in found[name] if side != "ringpost"), None)
        cells = [what, goal, put(ours, found[name].get("ringpost")), put(ours if peer is None else peer, beside),
                 f"`./dev bench {family} --runs {args.runs}`"]
        out.append("| " + " | ".join(cells) + " |")
    return out
