#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that do not come to an end: what is kept of them is bounded, and nothing is lost by it."""
import collections
import contextlib
import os
import re
import smtplib
import urllib.request

from imap_wire import Imap
from support import PASSWORD, PATIENCE_S, Place, Ringpost, Suite, until
from talk import Talk

BUDGET = 2 << 20
CLIENTS = 24
CONFIG = {"workers": 2, "imap": {"plain_login": True, "sessions": 0}, "limits": {"client_connections": 0},
          "store": {"body_ram": "2M"}, "auth": {"fail_delay": "10ms"}}


class Stage:
    def __init__(self, server, metrics_port):
        self.server, self.ports, self.count = server, server.ports, 0
        self.metrics = f"http://127.0.0.1:{metrics_port}/metrics"

    def account(self):
        self.count += 1
        name = f"user{self.count}@own.test"
        self.server.add_accounts(name)
        return name

    def open(self, service):
        return Imap(self.ports[service]) if service == "imap" else Talk(self.ports[service])

    def switches(self):
        """How often each worker has slept."""
        tasks, found = f"/proc/{self.server.process.pid}/task", {}
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/status", encoding="ascii") as status:
                text = status.read()
            if text.startswith("Name:\tworker-"):
                found[task] = int(re.search(r"(?m)^voluntary_ctxt_switches:\s*(\d+)", text)[1])
        return found

    def worker_of(self, client):
        """The one that answers it has slept between all the questions."""
        before = self.switches()
        for _ in range(40):
            client.good(b"NOOP") if isinstance(client, Imap) else client.ask("NOOP")
        after = self.switches()
        return max(after, key=lambda task: after[task] - before[task])

    def on_one_worker(self, service, count):
        """A worker, and so many clients of it."""
        by_worker = collections.defaultdict(list)
        while not by_worker or max(map(len, by_worker.values())) < count:
            client = self.open(service)
            by_worker[self.worker_of(client)].append(client)
        worker = max(by_worker, key=lambda task: len(by_worker[task]))
        for task in set(by_worker) - {worker}:
            for client in by_worker[task]:
                client.close()
        return worker, by_worker[worker]

    def on_another(self, service, worker):
        while True:
            client = self.open(service)
            if self.worker_of(client) != worker:
                return client
            client.close()

    def unfinished(self):
        """Bytes of bodies, and of what is known of them."""
        with urllib.request.urlopen(self.metrics, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        return int(re.search(r"(?m)^ringpost_store_body_ram_bytes (\d+)", text)[1])


@contextlib.contextmanager
def stage(store=None):
    config = {**CONFIG, "store": {**CONFIG["store"], **(store or {})}}
    with Place() as place:
        port = place.ports.reserve()
        with Ringpost(place, {**config, "metrics": f"127.0.0.1:{port}"},
                      services=("smtp", "lmtp", "imap")) as server:
            yield Stage(server, port)
            server.stop()
            # Compares each summary with its body, and recounts conversations.
            report = server.cli_json("fsck")
            assert report["result"] == "clean", report


suite = Suite(stage)


def header(i, size=200_000):
    """It has not ended: a field may follow."""
    fields = f"From: <s{i}@far.test>\r\nSubject: number {i}\r\nMessage-ID: <m{i}@far.test>\r\n"
    line = "X-Long: " + "x" * 60 + "\r\n"
    return (fields + line * (size // len(line))).encode()


REST = b"To: <somebody@own.test>\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"


def check_all(st, name, numbers):
    """Each has come, and what lists show of it is right."""
    with Imap(st.ports["imap"], name, PASSWORD) as client:
        client.good(b"SELECT INBOX")
        rows = client.good(b"FETCH 1:* (ENVELOPE RFC822.SIZE)").fetched()
        seen = {row[b"ENVELOPE"][1]: row[b"ENVELOPE"] for _, row in rows}
        assert set(seen) == {b"number %d" % i for i in numbers}, sorted(seen)
        for i in numbers:
            envelope = seen[b"number %d" % i]
            assert envelope[9] == b"<m%d@far.test>" % i, envelope
            assert envelope[5][0][2] == b"somebody", envelope
        found = client.good(b'SEARCH HEADER Message-ID "m%d@far.test"' % numbers[-1])
        assert len(found.named(b"SEARCH")[0]) == 1, found


@suite.test
def what_is_known_of_a_body_counts_too(st):
    name, size = st.account(), len(header(0))
    with Imap(st.ports["imap"], name, PASSWORD) as client:
        client.send(b"x APPEND INBOX {%d+}\r\n" % (2 * size) + header(0))
        until(lambda: st.unfinished() >= 2 * size, "the body, and its header for the summary")
    until(lambda: st.unfinished() == 0, "the end of it")
    talk = begin(st, "smtp", name, 0)
    until(lambda: st.unfinished() >= size, "a header that may be refused")
    talk.close()
    until(lambda: st.unfinished() == 0, "the end of it")


@suite.test
def appends_with_large_headers(st):
    name = st.account()
    clients = [Imap(st.ports["imap"], name, PASSWORD) for _ in range(CLIENTS)]
    numbers = range(CLIENTS)
    for i, client in zip(numbers, clients):
        whole = len(header(i)) + len(REST)
        client.send(b"x APPEND INBOX {%d+}\r\n" % whole)
        client.send(header(i))
        assert st.unfinished() <= 2 * BUDGET  # some of it on the way to the disk
    # All has been read, and waits for nobody.
    until(lambda: 0 < st.unfinished() <= BUDGET, "the memory they share")
    for client in clients:
        client.send(REST + b"\r\n")
        assert client.end(b"x").ok
    assert st.unfinished() == 0
    check_all(st, name, numbers)
    for client in clients:
        client.close()


@suite.test
def several_in_one_append(st):
    name = st.account()
    clients = [Imap(st.ports["imap"], name, PASSWORD) for _ in range(CLIENTS // 2)]
    for i, client in enumerate(clients):
        for at, begin in ((2 * i, b"x APPEND INBOX"), (2 * i + 1, b"")):
            client.send(begin + b" {%d+}\r\n" % (len(header(at)) + len(REST)) + header(at) +
                        (REST if begin else b""))
    until(lambda: 0 < st.unfinished() <= BUDGET, "the memory they share")
    for client in clients:
        client.send(REST + b"\r\n")
        assert client.end(b"x").ok
    assert st.unfinished() == 0
    check_all(st, name, range(len(clients) * 2))
    for client in clients:
        client.close()


WIDE = 20  # messages of one command


def wide(i):
    """A message of which much is to be known."""
    more = ", ".join(f'"{"name " * 20}" <a{k}@far.test>' for k in range(200))
    return (header(i, 0) + b"To: <somebody@own.test>" +
            f", {more}".replace(", ", ",\r\n ").encode() + b"\r\n\r\nHello.\r\n")


def append_many(client, first):
    """All of them have come; the command goes on."""
    for i in range(first, first + WIDE):
        message = wide(i)
        client.send((b" " if i > first else b"x APPEND INBOX ") + b"{%d+}\r\n" % len(message) + message)


@suite.test
def what_is_known_of_those_before_counts_too(st):
    name = st.account()
    with Imap(st.ports["imap"], name, PASSWORD) as client:
        append_many(client, 0)
        until(lambda: st.unfinished() >= (WIDE - 1) * 20_000, "what is known of them")
    until(lambda: st.unfinished() == 0, "the end of it")


@suite.test
def many_in_one_append(st):
    """What is known of them is made again, of those that had to forget it."""
    name = st.account()
    clients = [Imap(st.ports["imap"], name, PASSWORD) for _ in range(CLIENTS // 3)]
    for at, client in enumerate(clients):
        append_many(client, at * WIDE)
    until(lambda: BUDGET / 2 < st.unfinished() <= BUDGET, "the memory they share")
    for client in clients:
        client.send(b"\r\n")
        assert client.end(b"x").ok
    assert st.unfinished() == 0
    check_all(st, name, range(len(clients) * WIDE))
    for client in clients:
        client.close()


@suite.test
def large_bodies_behind_large_headers(st):
    """The header is given back before the body comes."""
    name, body = st.account(), (b"y" * 70 + b"\r\n") * 20_000
    with Imap(st.ports["imap"], name, PASSWORD) as client:
        client.send(b"x APPEND INBOX {%d+}\r\n" % (len(header(0)) + len(REST) + len(body)))
        client.send(header(0) + REST + body[:-100])
        until(lambda: st.unfinished() <= 300_000, "the header's memory")
        client.send(body[-100:] + b"\r\n")
        assert client.end(b"x").ok
    check_all(st, name, [0])


def begin(st, service, name, i):
    """A message whose header has not ended."""
    talk = Talk(st.ports[service])
    talk.ehlo(verb="LHLO" if service == "lmtp" else "EHLO")
    talk.envelope("eve@far.test", name)
    talk.expect(354, "DATA")
    talk.send(header(i))
    return talk


def messages(st, service):
    name = st.account()
    talks = [begin(st, service, name, i) for i in range(CLIENTS)]
    until(lambda: 0 < st.unfinished() <= BUDGET, "the memory they share")
    taken = []
    for i, talk in enumerate(talks):
        talk.send(REST + b".\r\n")
        code, text = talk.reply()[:2]
        assert code in (250, 452), (code, text)
        if code == 250:
            taken.append(i)
        talk.close()
    assert st.unfinished() == 0
    # Those that memory was left for; the others may come again.
    assert CLIENTS // 5 <= len(taken) < CLIENTS, taken
    with smtplib.SMTP("127.0.0.1", st.ports["smtp"], timeout=PATIENCE_S) as client:
        for i in set(range(CLIENTS)) - set(taken):
            client.sendmail("eve@far.test", [name], header(i) + REST)
    check_all(st, name, range(CLIENTS))


@suite.test
def messages_by_smtp(st):
    messages(st, "smtp")


@suite.test
def messages_by_lmtp(st):
    messages(st, "lmtp")


@suite.test
def a_small_message_among_large_ones(st):
    """Who has an ordinary header is not asked to come again."""
    name, other = st.account(), st.account()
    talks = [begin(st, "smtp", name, i) for i in range(CLIENTS)]
    until(lambda: 0 < st.unfinished() <= BUDGET, "the memory they share")
    with smtplib.SMTP("127.0.0.1", st.ports["smtp"], timeout=PATIENCE_S) as client:
        for i in range(10):
            client.sendmail("eve@far.test", [other], header(i, 2000) + REST)
    check_all(st, other, range(10))
    for talk in talks:
        talk.close()
    until(lambda: st.unfinished() == 0, "the end of all")


LINE, SLOW = b"y" * 98 + b"\r\n", b"Subject: slow\r\n\r\n"


def fill_by_append(st, name, clients):
    """All of the budget but a little; none of it has to go to the disk. How many lines each was sent."""
    most, sent = (BUDGET - 150_000) // len(clients) // len(LINE), []
    for client in clients:
        client.good(f'LOGIN {name} "{PASSWORD}"'.encode())
        client.send(b"x APPEND INBOX {%d+}\r\n" % (len(SLOW) + 3000 * len(LINE)) + SLOW + most * LINE)
        sent.append(most)
    until(lambda: st.unfinished() >= len(clients) * most * len(LINE), "all bytes but some")
    for i, client in enumerate(clients):
        before = st.unfinished()
        more = (BUDGET - before) // len(LINE) // 2
        client.send(more * LINE)
        sent[i] += more
        until(lambda: st.unfinished() >= before + more * len(LINE), "some more")
    before = st.unfinished()
    assert BUDGET - 1500 < before <= BUDGET, (BUDGET, before)
    return sent


def deliver(talk, name, i, size):
    content = header(i, 500) + REST + (b"a" * 70 + b"\r\n") * (size // 72)
    talk.envelope("eve@far.test", name)
    assert talk.data(content)[0] == 250


SIZES = [1000] * 9 + [30_000, 1000, 3000, 1_000_000, 1000, 100_000]


@suite.test
def one_worker_holds_all_the_memory(st):
    """Clients of another one go on: it is asked to write down what it has."""
    name, other = st.account(), st.account()
    worker, clients = st.on_one_worker("imap", 9)
    talks = [st.on_another(service, worker) for service in ("smtp", "lmtp")]
    sent = fill_by_append(st, name, clients)
    for at, (talk, verb) in enumerate(zip(talks, ("EHLO", "LHLO"))):
        talk.ehlo(verb=verb)
        for i, size in enumerate(SIZES):
            deliver(talk, other, at * len(SIZES) + i, size)
        talk.close()
    check_all(st, other, range(2 * len(SIZES)))
    # And those that were slow have lost nothing.
    for client, lines in zip(clients, sent):
        client.send((3000 - lines) * LINE + b"\r\n")
        assert client.end(b"x").ok
        client.close()
    assert st.unfinished() == 0


@suite.test
def one_worker_holds_all_the_memory_in_headers(st):
    """They cannot be written down: the largest is refused, not the one that comes elsewhere."""
    name, other = st.account(), st.account()
    worker, talks = st.on_one_worker("smtp", 15)
    talk = st.on_another("smtp", worker)
    for i, slow in enumerate(talks):
        slow.ehlo()
        slow.envelope("eve@far.test", name)
        slow.expect(354, "DATA")
        slow.send(header(i, 200_000))
    until(lambda: BUDGET / 2 < st.unfinished() <= BUDGET, "the memory they share")
    talk.ehlo()
    for i in range(3):
        talk.envelope("eve@far.test", other)
        assert talk.data(header(i, 100_000) + REST)[0] == 250
    check_all(st, other, range(3))
    for client in [talk, *talks]:
        client.close()
    until(lambda: st.unfinished() == 0, "the end of all")


@suite.test
def many_small_ones_hold_all_the_memory(st):
    """Of each there is too little to be worth a write; nobody waits for them all the same."""
    name, other = st.account(), st.account()
    slow, content = [], SLOW + 39 * LINE
    while len(slow) * len(content) < BUDGET - 2 * len(content):
        talk = Talk(st.ports["lmtp"])
        talk.ehlo(verb="LHLO")
        talk.envelope("eve@far.test", name)
        talk.expect(354, "DATA")
        talk.send(content)
        slow.append(talk)
    until(lambda: st.unfinished() >= len(slow) * len(content), "all of their bytes")
    for at, (service, verb) in enumerate((("smtp", "EHLO"), ("lmtp", "LHLO"))):
        with Talk(st.ports[service]) as talk:
            talk.ehlo(verb=verb)
            for i, size in enumerate(SIZES):
                deliver(talk, other, at * len(SIZES) + i, size)
    check_all(st, other, range(2 * len(SIZES)))
    for talk in slow:
        talk.close()
    until(lambda: st.unfinished() == 0, "the end of all")


@suite.test
def slow_ones_do_not_keep_the_journal(_):
    """What of them is on the disk is moved on, so that what stands behind it can be freed."""
    with stage({"segment": "1M", "journal_max": "8M", "reserve": "0"}) as st:
        name, other = st.account(), st.account()
        slow = begin(st, "smtp", name, 0)
        slow.send(REST + 4000 * LINE)
        client = Imap(st.ports["imap"], name, PASSWORD)
        client.send(b"x APPEND INBOX {%d+}\r\n" % (len(SLOW) + 5000 * len(LINE)) + SLOW + 4000 * LINE)
        several = Imap(st.ports["imap"], name, PASSWORD)
        message = header(1, 0) + REST
        several.send(b"x APPEND INBOX {%d+}\r\n" % len(message) + message +
                     b" {%d+}\r\n" % (len(SLOW) + 10_000 * len(LINE)) + SLOW)
        until(lambda: st.unfinished() > 0, "what is not on the disk")

        lines = iter(range(10_000))

        def taken(i):
            several.send(LINE)
            next(lines)
            with Talk(st.ports["lmtp"]) as talk:
                talk.ehlo(verb="LHLO")
                code = talk.ask("MAIL FROM:<eve@far.test>")[0]
                if code != 250:
                    return False
                talk.expect(250, f"RCPT TO:<{other}>")
                return talk.data(header(i, 500) + REST + 5000 * LINE)[0] == 250

        for i in range(40):
            until(lambda number=i: taken(number), "room for a message")
        check_all(st, other, range(40))
        # They have been kept, unless all went so fast that there was no room to move them to.
        slow.send(b".\r\n")
        client.send(1000 * LINE + b"\r\n")
        several.send((10_000 - next(lines)) * LINE + b"\r\n")
        assert slow.reply()[0] in (250, 452)
        assert client.end(b"x").status in ("OK", "NO")
        assert several.end(b"x").status == "NO"
        for talk in (slow, client, several):
            talk.close()
        until(lambda: st.unfinished() == 0, "the end of all")


if __name__ == "__main__":
    suite.main()
