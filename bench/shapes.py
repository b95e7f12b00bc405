# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of ./dev bench about mailboxes that are not as mailboxes are: full of holes, with one huge part, asked for a
thousand things at once, filled by those who send little that becomes much.

What one command costs is less than the kernel's ticks can tell, so CPU is what threads ran, in nanoseconds.
"""
import base64
import contextlib
import multiprocessing
import re
import threading
import time
import zlib

from measure import Peak, ran_ns, ran_s
from sides import Imap, both, in_turns, load

MB = 1 << 20
UIDS = 8000  # in one set: a command may have 64 KB
SETTLE_S = 0.3  # what a command leaves to do, as writing the index
STEP = 256 * 1024
FIELDS = 990  # of one FETCH: it may have 1,000 items


def cost(side, client, command, count):
    """A command's CPU, in ms and in us for each of `count`, and ms until its first byte and its last."""
    before = ran_ns(side.pid)
    answer = client.ask(command)
    time.sleep(SETTLE_S)
    cpu = ran_s(side.pid, before)
    return {"cpu": cpu * 1e3, "us": cpu / count * 1e6, "first": answer.first * 1e3, "ms": answer.whole * 1e3, "lost": 0}, answer


def told(data, word):
    """How many numbers stand in the sets behind a word: 1,3:5 is four."""
    sets = b",".join(re.findall(word + rb" ([\d,: ]+)", data)).replace(b" ", b",")
    ends = [part.split(b":") for part in sets.split(b",") if part]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


# --- Holes ---

class Holed:
    """A side's mailbox of which every second message is expunged, and what that cost."""

    def __init__(self, side, messages):
        self.side, self.kept = side, messages // 2
        load(side, "imap", "append", "--size", "1K", "--operations", messages, "--connections", 20 if side.name == "ringpost" else 4)
        client = Imap(side.ports["imap"])
        opened = client.do("SELECT INBOX")
        self.validity, self.before = client.number(opened, "UIDVALIDITY"), client.number(opened, "HIGHESTMODSEQ")
        self.last = client.number(opened, "UIDNEXT") - 1
        for first in range(1, self.last + 1, 2 * UIDS):
            uids = ",".join(map(str, range(first, min(first + 2 * UIDS, self.last + 1), 2)))
            client.do(f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
        self.expunge, answer = cost(side, client, f"UID EXPUNGE 1:{self.last}", self.kept)
        self.expunge["lost"] = self.kept - told(answer.data, rb"VANISHED")
        client.close()

    def select(self):
        with contextlib.closing(Imap(self.side.ports["imap"])) as client:
            return cost(self.side, client, "SELECT INBOX", self.kept)[0]

    def gone(self, command, selected):
        """Whoever was away during it all comes back."""
        with contextlib.closing(Imap(self.side.ports["imap"])) as client:
            if selected:
                client.do("SELECT INBOX")
            found, answer = cost(self.side, client, command, self.kept)
        found["lost"] = self.kept - told(answer.data, rb"VANISHED \(EARLIER\)")
        return found

    def qresync(self):
        return self.gone(f"SELECT INBOX (QRESYNC ({self.validity} {self.before} 1:{self.last}))", False)

    def changed(self):
        return self.gone(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.before} VANISHED)", True)

    def asked(self, command, count):
        """A command to the selected mailbox; `count` says of how many messages its answer tells."""
        with contextlib.closing(Imap(self.side.ports["imap"])) as client:
            client.do("SELECT INBOX")
            found, answer = cost(self.side, client, command, self.kept)
        found["lost"] = self.kept - count(answer.data)
        return found

    def store(self):
        found = self.asked("STORE 1:* +FLAGS.SILENT (\\Flagged)", lambda data: self.kept)
        self.asked("STORE 1:* -FLAGS.SILENT (\\Flagged)", lambda data: self.kept)
        return found


def holes(args):
    """Dovecot's has a 25th of it, or filling it would take minutes."""
    full = args.messages(500000) // 2 * 2
    with both() as sides:
        boxes = {side.name: Holed(side, full if side.name == "ringpost" else full // 25) for side in sides}
        turns = lambda ask: in_turns(args, sides, lambda side: ask(boxes[side.name]))
        return {"expunge": {name: box.expunge for name, box in boxes.items()},
                "select": turns(Holed.select), "qresync": turns(Holed.qresync), "changed": turns(Holed.changed),
                "flags": turns(lambda box: box.asked("FETCH 1:* FLAGS", lambda data: data.count(b" FETCH ("))),
                "search": turns(lambda box: box.asked("UID SEARCH ALL", lambda data: told(data, rb"\* SEARCH"))),
                "esearch": turns(lambda box: box.asked("UID SEARCH RETURN (ALL) ALL", lambda data: told(data, rb" ALL"))),
                "store": turns(Holed.store)}


# --- Beside it ---

def ask_often(side, over, found):
    """In a process of its own, as this program is not what is measured. Eight, so that each worker has some."""
    clients, waited, ran = [Imap(side.ports["imap"]) for _ in range(8)], 0, 0
    found.put(None)
    while not over.wait(0.01):
        for client in clients:
            before = ran_ns(side.pid)
            waited = max(waited, client.ask("NOOP").whole)
            ran = max(ran, *(ns - before.get(thread, 0) for thread, ns in ran_ns(side.pid).items()))
    found.put({"wait": waited * 1e3, "ran": ran / 1e6})


class Innocents:
    """Sessions that only say NOOP while others keep the server busy: the longest wait of one, in ms, and how long a
    thread of the server was at work meanwhile, which other programs have no part in."""

    def __init__(self, side):
        self.over, self.found = multiprocessing.Event(), multiprocessing.Queue()
        self.process = multiprocessing.Process(target=ask_often, args=(side, self.over, self.found), daemon=True)

    def __enter__(self):
        self.process.start()
        self.found.get()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.figures = self.found.get()
        self.process.join()


# --- One huge part ---

def huge(args):
    size = args.messages(36 * MB) // 57 * 57  # decoded; 49 MB of base64 in lines of 76
    lines = base64.encodebytes(bytes(range(256)) * (size // 256 + 1))[: size // 57 * 77].replace(b"\n", b"\r\n")
    text = (b"From: a@example.org\r\nSubject: huge\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + lines)
    with both() as sides:
        for side in sides:
            with contextlib.closing(Imap(side.ports["imap"])) as client:
                client.ask(f"APPEND INBOX {{{len(text)}}}", text)

        def steps(side):
            with contextlib.closing(Imap(side.ports["imap"])) as client, Peak(side.pid) as peak:
                client.do("SELECT INBOX")
                before, times, got = ran_ns(side.pid), [], 0
                for at in range(0, len(lines), STEP):
                    answer = client.ask(f"FETCH 1 BODY.PEEK[1]<{at}.{STEP}>")
                    times.append(answer.whole * 1e3)
                    got += int(re.search(rb"\{(\d+)\}", answer.data).group(1))
                cpu = ran_s(side.pid, before)
            return {"us": cpu / len(times) * 1e6, "mbs": got / cpu / 1e6, "slowest": max(times), "peak": peak.mb,
                    "lost": len(lines) - got}

        def sizes(side):
            with contextlib.closing(Imap(side.ports["imap"])) as client:
                client.do("SELECT INBOX")
                found, first = cost(side, client, "FETCH 1 BINARY.SIZE[1]", 1)
                again, second = cost(side, client, "FETCH 1 BINARY.SIZE[1]", 1)
            right = b"BINARY.SIZE[1] %d" % size
            return {"cpu": found["cpu"], "ms": found["ms"], "again_cpu": again["cpu"], "again_ms": again["ms"],
                    "lost": (right not in first.data) + (right not in second.data)}
        return {"steps": in_turns(args, sides, steps), "sizes": in_turns(args, sides, sizes)}


# --- A thousand things at once ---

def fields(args):
    """Each of 990 items asks for another field of a header that has them all."""
    messages = args.messages(2000) // 20
    text = b"".join(b"X-Field-%d: %s\r\n" % (n, b"v" * 50) for n in range(FIELDS)) + b"\r\nbody\r\n"
    items = " ".join(f"BODY.PEEK[HEADER.FIELDS (X-Field-{n})]" for n in range(FIELDS))
    with both() as sides:
        for side in sides:
            with contextlib.closing(Imap(side.ports["imap"])) as client:
                for _ in range(messages):
                    client.ask(f"APPEND INBOX {{{len(text)}}}", text)

        def measure(side):
            with contextlib.closing(Imap(side.ports["imap"])) as client:
                client.do("SELECT INBOX")
                with Innocents(side) as innocents, Peak(side.pid) as peak:
                    found, answer = cost(side, client, f"FETCH 1:* ({items})", messages * FIELDS)
            return {**found, **innocents.figures, "peak": peak.mb, "lost": messages * FIELDS - answer.data.count(b": vvv")}
        return {"fields": in_turns(args, sides, measure)}


# --- Bombs ---

class Deflated:
    """A session that says what was compressed before it came here."""

    def __init__(self, port, bomb):
        self.bomb, self.client = bomb, Imap(port)
        self.client.do("COMPRESS DEFLATE")

    def send(self):
        """Until the server has taken all of it and said OK, or has closed."""
        inflate, said = zlib.decompressobj(-15), b""
        with contextlib.suppress(OSError):
            self.client.socket.sendall(self.bomb)
            while b"\nx OK" not in b"\n" + said:
                piece = self.client.socket.recv(1 << 20)
                if not piece:
                    break
                said = (said + inflate.decompress(piece))[-65536:]
        self.good = b"\nx OK" in b"\n" + said
        self.client.close()


def bomb(side, packed):
    """Four connections at once."""
    with Innocents(side) as innocents, Peak(side.pid) as peak:
        guilty = [Deflated(side.ports["imap"], packed) for _ in range(4)]
        before, began = ran_ns(side.pid), time.monotonic()
        senders = [threading.Thread(target=one.send) for one in guilty]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join()
        seconds, cpu = time.monotonic() - began, ran_s(side.pid, before)
    return {"kb": len(packed) / 1024, "s": seconds, "cpu": cpu, "peak": peak.mb, **innocents.figures,
            "lost": sum(not one.good for one in guilty)}


def bombs(args):
    size, rows = args.messages(48 * MB), {}
    with both(peer=False) as sides:
        for name, text in (("literal", b"x APPEND INBOX {%d+}\r\n" % size + b"\r\n" * (size // 2) + b"\r\n"),
                           ("noops", b"y NOOP\r\n" * (size // 48) + b"x NOOP\r\n")):
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
            rows[name] = in_turns(args, sides, lambda side: bomb(side, packed))
    return rows


COST = "{cpu:,.1f} ms CPU ({us:.2f} us each), first byte {first:,.1f} ms, all {ms:,.1f} ms"
NOOP = "memory + {peak:.1f} MB; a NOOP beside it waits {wait:.0f} ms at most, {ran:.0f} of them for the server"
BOMB = "{kb:.0f} KB each: {s:.1f} s, {cpu:.1f} s CPU, " + NOOP
FAMILIES = {
    "mailbox-holes": (holes, {
        "expunge": ("UID EXPUNGE of every second of 500,000 (Dovecot: of 20,000); the others are what the rows below count",
                    "-", COST, None),
        "select": ("SELECT of what is left", "-", COST, None),
        "qresync": ("SELECT (QRESYNC), all holes since, told for `1:500000`", "-", COST, None),
        "changed": ("`UID FETCH 1:* (FLAGS) (CHANGEDSINCE n VANISHED)`, the same holes", "-", COST, None),
        "flags": ("`FETCH 1:* FLAGS`", "-", COST, None),
        "search": ("`UID SEARCH ALL`", "-", COST, None),
        "esearch": ("`UID SEARCH RETURN (ALL) ALL`", "-", COST, None),
        "store": ("`STORE 1:* +FLAGS.SILENT`", "-", COST, None)}),
    "mailbox-huge": (huge, {
        "steps": ("`BODY.PEEK[1]<a.262144>` in steps through a base64 part of 49 MB", "-",
                  "{us:.0f} us CPU a step, {mbs:,.0f} MB per CPU second, slowest step {slowest:.1f} ms, memory + {peak:.1f} MB", None),
        "sizes": ("`BINARY.SIZE[1]` of it, and once more", "-",
                  "{ms:.0f} ms, {cpu:.0f} ms CPU; then {again_ms:.1f} ms, {again_cpu:.1f} ms CPU", None)}),
    "mailbox-fields": (fields, {
        "fields": ("`FETCH 1:*` of 990 `BODY.PEEK[HEADER.FIELDS (...)]`, 100 messages with as many fields", "-",
                   COST + ", " + NOOP, None)}),
    "mailbox-bombs": (bombs, {
        "literal": ("four sessions send 48 MB of empty lines each, by APPEND through COMPRESS=DEFLATE", "-", BOMB, None),
        "noops": ("the same with a million NOOPs each", "-", BOMB, None)}),
}
