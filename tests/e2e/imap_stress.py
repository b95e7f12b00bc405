#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fifty clients in shared mailboxes, each holding what it is told against a model of what it was told
before; then the same under kill -9. STRESS_SEED repeats a run, STRESS_SECONDS makes it longer."""
import contextlib
import os
import random
import re
import threading
import time

from imap_wire import Imap, pairs
from support import PASSWORD, Place, Ringpost, Suite

SEED = int(os.environ.get("STRESS_SEED") or random.SystemRandom().randrange(1 << 30))
SECONDS = float(os.environ.get("STRESS_SECONDS") or 12)
KILLS = int(os.environ.get("STRESS_KILLS") or 4)
CLIENTS = int(os.environ.get("STRESS_CLIENTS") or 50)
ACCOUNTS = [f"user{n}@example.test" for n in range(3)]
BOXES = ["INBOX", "Archive", "shared/one"]
FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$a", "$b"]
CONFIG = {"imap": {"plain_login": True, "sessions": 0}, "limits": {"client_connections": 0},
          "store": {"segment": "4M"}}

suite = Suite()


class Wrong(AssertionError):
    """The server said something that cannot be."""


def uid_set(text):
    out = []
    for piece in text.split(b","):
        first, _, last = piece.partition(b":")
        out.extend(range(int(first), int(last or first) + 1))
    return out


class View:
    """One selected mailbox, as a client knows it."""

    def __init__(self, qresync):
        self.uids, self.flags = [], {}  # a uid is None until it was told
        self.qresync, self.validity, self.uidnext, self.modseq = qresync, None, 0, 0
        self.no_expunge = False

    def exists(self, count):
        if count < len(self.uids):
            raise Wrong(f"EXISTS fell from {len(self.uids)} to {count}")
        self.uids += [None] * (count - len(self.uids))

    def expunge(self, number):
        if self.no_expunge:
            raise Wrong("EXPUNGE while numbers are in use (RFC 9051 7.5.1)")
        if not 1 <= number <= len(self.uids):
            raise Wrong(f"EXPUNGE {number} of {len(self.uids)}")
        self.flags.pop(self.uids.pop(number - 1), None)

    def vanished(self, uids, earlier):
        gone = set(uids)
        if earlier:
            return
        if self.no_expunge:
            raise Wrong("VANISHED while numbers are in use (RFC 7162 3.2.10)")
        if None in self.uids:
            # Those that were not fetched yet cannot be told apart: the numbers count.
            known = [u for u in self.uids if u is not None]
            extra = gone - set(known)
            unknown = self.uids.count(None)
            if len(extra) > unknown:
                raise Wrong(f"VANISHED of {len(extra)} that are not here, {unknown} unknown")
            self.uids = [u for u in self.uids if u not in gone]
            for uid in sorted(extra):
                at = max((n + 1 for n, u in enumerate(self.uids) if u is not None and u < uid), default=0)
                if self.uids[at:at + 1] != [None]:
                    raise Wrong(f"VANISHED {uid}, and no unknown message can have been that")
                self.uids.pop(at)
        else:
            if not gone <= set(self.uids):
                raise Wrong(f"VANISHED {sorted(gone - set(self.uids))[:5]} that are not here")
            self.uids = [u for u in self.uids if u not in gone]
        for uid in gone:
            self.flags.pop(uid, None)

    def fetch(self, number, items):
        if not 1 <= number <= len(self.uids):
            raise Wrong(f"FETCH {number} of {len(self.uids)}")
        if b"UID" in items:
            uid = int(items[b"UID"])
            if self.uids[number - 1] not in (None, uid):
                raise Wrong(f"number {number} was uid {self.uids[number - 1]}, now {uid}")
            below = [u for u in self.uids[:number - 1] if u is not None]
            above = [u for u in self.uids[number:] if u is not None]
            if (below and below[-1] >= uid) or (above and above[0] <= uid):
                raise Wrong(f"uids do not ascend at {number}: {below[-1:]} {uid} {above[:1]}")
            self.uids[number - 1] = uid
        uid = self.uids[number - 1]
        if uid is not None and b"FLAGS" in items:
            self.flags[uid] = frozenset(items[b"FLAGS"]) - {b"\\Recent"}

    def line(self, line):
        if len(line) > 1 and line[1] == b"EXISTS":
            self.exists(line[0])
        elif len(line) > 1 and line[1] == b"EXPUNGE":
            self.expunge(line[0])
        elif len(line) > 2 and line[1] == b"FETCH":
            self.fetch(line[0], pairs(line[2]))
        elif line[0] == b"VANISHED":
            earlier = line[1] == [b"EARLIER"]
            self.vanished(uid_set(line[2] if earlier else line[1]), earlier)
        elif line[0] == b"BYE":
            raise EOFError("BYE")


class Ledger:
    """What was acknowledged, by (account, mailbox): what must be there, what must not, for the end."""

    def __init__(self):
        self.lock = threading.Lock()
        self.validity, self.here, self.gone, self.marks = {}, {}, set(), {}
        self.unsure = set()  # removed or moved by a command whose answer never came

    def note_validity(self, box, value):
        with self.lock:
            if self.validity.setdefault(box, value) != value:
                raise Wrong(f"UIDVALIDITY of {box} was {self.validity[box]}, now {value}")

    def added(self, box, uids, marks):
        with self.lock:
            for uid, mark in zip(uids, marks):
                known = self.here.setdefault((box, uid), mark)
                if None not in (known, mark) and known != mark:
                    raise Wrong(f"uid {uid} of {box} was given twice: {known}, {mark}")

    def removed(self, box, uids):
        with self.lock:
            self.gone.update((box, uid) for uid in uids)

    def marked(self, box, uids, flag, there):
        """`there` None: not known until the command is answered."""
        with self.lock:
            for uid in uids:
                self.marks[box, uid, flag] = there

    def may_remove(self, box, uids):
        with self.lock:
            self.unsure.update((box, uid) for uid in uids)


class Client(threading.Thread):
    def __init__(self, stage, number):
        super().__init__(daemon=True)
        self.stage, self.number = stage, number
        self.dice = random.Random(f"{stage.seed} {number}")
        self.account = ACCOUNTS[number % len(ACCOUNTS)]
        self.errors, self.counts, self.serial = [], {}, 0
        self.qresync = number % 3 == 0
        self.imap = self.box = None
        self.last = {}  # of QRESYNC: box -> (validity, modseq, view)

    def run(self):
        while not self.stage.ended.is_set():
            try:
                self.session()
            except (EOFError, OSError):
                if not self.stage.may_break:
                    self.errors.append(f"client {self.number}: the connection broke")
                    return
                time.sleep(0.02)
            except Exception as error:
                self.errors.append(f"client {self.number} ({self.account} {self.box}): {type(error).__name__} {error}")
                self.stage.ended.set()
                self.stage.barrier.abort()
                return
            finally:
                if self.imap:
                    self.imap.close()
                    self.imap = None

    def session(self):
        self.view = None
        self.imap = Imap(self.stage.port, self.account, PASSWORD,
                         on_line=lambda line: self.view and self.view.line(line))
        if self.qresync:
            self.imap.good(b"ENABLE QRESYNC")
        if self.dice.random() < 0.2:
            self.imap.compress()
        self.select()
        while not self.stage.ended.is_set():
            self.step()
        with contextlib.suppress(threading.BrokenBarrierError):
            self.stage.barrier.wait(30)  # nobody changes anything any more
            self.compare()
        self.view = None
        self.imap.ask(b"LOGOUT")

    def ask(self, command, expunges=True):
        """No EXPUNGE may come while a command runs that names numbers."""
        self.view.no_expunge = not expunges
        try:
            answer = self.imap.ask(command)
        finally:
            self.view.no_expunge = False
        words = (command if isinstance(command, bytes) else command[0]).split()
        word = words[words[0] == b"UID"]
        self.counts[word] = self.counts.get(word, 0) + 1
        if answer.status == "BAD":
            raise Wrong(f"{command}: {answer}")
        return answer

    def select(self):
        name = self.dice.choice(BOXES)
        self.box = f"{self.account} {name}"
        view, params = View(self.qresync), b""
        known = self.last.get(self.box)
        if self.qresync and known and self.dice.random() < 0.8:
            validity, modseq, old = known
            params = b" (QRESYNC (%d %d))" % (validity, modseq)
            view.uids, view.flags = [u for u in old.uids if u is not None], dict(old.flags)
        resync = bool(params)
        self.view = None
        answer = self.imap.ask(b'SELECT "%s"' % name.encode() + params)
        if not answer.ok:
            raise Wrong(f"SELECT: {answer}")
        count = 0
        for line in answer.untagged:
            if len(line) > 1 and line[1] == b"EXISTS":
                count = line[0]
            elif line[0] == b"OK" and line[1] and line[1][0] == b"UIDVALIDITY":
                view.validity = int(line[1][1])
            elif line[0] == b"OK" and line[1] and line[1][0] == b"UIDNEXT":
                view.uidnext = int(line[1][1])
            elif line[0] == b"OK" and line[1] and line[1][0] == b"HIGHESTMODSEQ":
                view.modseq = int(line[1][1])
        self.stage.ledger.note_validity(self.box, view.validity)
        if resync:
            self.resync(view, answer, count)
        else:
            view.uids = [None] * count
        self.view = view
        self.fill()

    def resync(self, view, answer, count):
        """What went and what changed since (RFC 7162 3.2.5), then the new ones are what is missing."""
        for line in answer.named(b"VANISHED"):
            gone = set(uid_set(line[1]))
            view.uids = [u for u in view.uids if u not in gone]
        told = [(number, pairs) for number, pairs in answer.fetched()]
        new = sorted(int(items[b"UID"]) for _, items in told if int(items[b"UID"]) not in view.uids)
        view.uids = sorted(view.uids + new)
        if len(view.uids) != count:
            raise Wrong(f"after QRESYNC {len(view.uids)} are known, EXISTS says {count}")
        for number, items in told:
            view.fetch(number, items)

    def fill(self):
        """All uids and flags of what is not known yet."""
        if not self.view.uids:
            return
        if None in self.view.uids:
            first = self.view.uids.index(None) + 1
            self.ask(b"FETCH %d:* (UID FLAGS)" % first, expunges=False)
        self.ask(b"NOOP")

    def compare(self):
        """A model that heard everything is as the server says."""
        self.fill()
        while None in self.view.uids:
            self.fill()
        uids, flags = list(self.view.uids), dict(self.view.flags)
        if not uids:
            return
        self.view.no_expunge = True
        answer = self.imap.good(b"FETCH 1:* (UID FLAGS)")
        self.view.no_expunge = False
        now = {int(items[b"UID"]): frozenset(items[b"FLAGS"]) - {b"\\Recent"} for _, items in answer.fetched()
               if b"UID" in items and b"FLAGS" in items}
        if sorted(now) != uids[:len(now)] and set(now) != set(uids):
            raise Wrong(f"uids are {sorted(now)[:20]}, the model has {uids[:20]}")
        if any(flags.get(uid) not in (None, now[uid]) for uid in now):
            odd = [(uid, now[uid], flags.get(uid)) for uid in now if flags.get(uid) not in (None, now[uid])]
            raise Wrong(f"flags differ: {odd[:3]}")

    # --- what it does ---

    def step(self):
        dice = self.dice
        kind = dice.random()
        if kind < 0.25:
            self.append()
        elif kind < 0.45:
            self.store()
        elif kind < 0.55:
            self.copy(b"COPY")
        elif kind < 0.62:
            self.copy(b"MOVE")
        elif kind < 0.68:
            self.expunge()
        elif kind < 0.80:
            self.fetch()
        elif kind < 0.84:
            self.search()
        elif kind < 0.90:
            self.idle()
        elif kind < 0.94:
            if self.qresync and None not in self.view.uids:
                # Of its last SELECT: what a later FETCH says may be ahead of what was told (RFC 7162 3.1.5).
                self.last[self.box] = (self.view.validity, self.view.modseq, self.view)
            self.select()
        else:
            self.ask(b"NOOP")
            self.fill()

    def some(self, most=5):
        known = [u for u in self.view.uids if u is not None]
        return sorted(self.dice.sample(known, min(len(known), self.dice.randrange(1, most + 1)))) if known else []

    def append(self):
        self.serial += 1
        mark = f"{self.number}.{self.serial}"
        name = self.dice.choice(BOXES)
        flags = b" ".join(f.encode() for f in self.dice.sample(FLAGS[:3] + FLAGS[4:], self.dice.randrange(3)))
        size = self.dice.choice([1, 1, 20, 400])
        mail = f"From: a@b.test\r\nSubject: {mark}\r\n\r\n".encode() + b"line of text\r\n" * size
        answer = self.ask([b'APPEND "%s" (%s) ' % (name.encode(), flags), mail])
        if not answer.ok:
            raise Wrong(f"APPEND: {answer}")
        box = f"{self.account} {name}"
        self.stage.ledger.note_validity(box, int(answer.code[1]))
        self.stage.ledger.added(box, [int(answer.code[2])], [mark])

    def store(self):
        uids = self.some()
        if not uids:
            return
        sign = self.dice.choice([b"+", b"-"])
        own = f"$own{self.number}"  # nobody else touches it, so it is as the last OK says
        flags = b" ".join(f.encode() for f in [*self.dice.sample(FLAGS, self.dice.randrange(2)), own])
        ledger = self.stage.ledger
        ledger.marked(self.box, uids, own, None)
        if self.dice.random() < 0.5:
            numbers = b",".join(b"%d" % (self.view.uids.index(u) + 1) for u in uids)
            answer = self.ask(b"STORE %s %sFLAGS (%s)" % (numbers, sign, flags), expunges=False)
        else:
            answer = self.ask(b"UID STORE %s %sFLAGS (%s)" % (b",".join(b"%d" % u for u in uids), sign, flags))
        if answer.ok:
            ledger.marked(self.box, uids, own, sign == b"+")

    def copy(self, verb):
        uids = self.some()
        if not uids:
            return
        name = self.dice.choice(BOXES)
        if verb == b"MOVE":
            self.stage.ledger.may_remove(self.box, uids)
        answer = self.ask(b'UID %s %s "%s"' % (verb, b",".join(b"%d" % u for u in uids), name.encode()))
        codes = [answer.code] + [line[1] for line in answer.untagged if line[0] == b"OK"]
        code = next((c for c in codes if c and c[0] == b"COPYUID"), None)
        if not answer.ok:
            raise Wrong(f"{verb}: {answer}")
        if code:
            old, new = uid_set(code[2]), uid_set(code[3])
            if len(old) != len(new) or not set(old) <= set(uids):
                raise Wrong(f"COPYUID {code} for {uids}")
            self.stage.ledger.added(f"{self.account} {name}", new, [self.stage.mark(self.box, uid) for uid in old])
            if verb == b"MOVE":
                self.stage.ledger.removed(self.box, old)

    def expunge(self):
        uids = self.some()
        if not uids:
            return
        text = b",".join(b"%d" % u for u in uids)
        self.stage.ledger.may_remove(self.box, uids)
        self.ask(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % text)
        before = set(self.view.uids)
        self.ask(b"UID EXPUNGE %s" % text)
        self.stage.ledger.removed(self.box, (before - set(self.view.uids)) & set(uids))

    def fetch(self):
        if self.view.uids:
            number = self.dice.randrange(1, len(self.view.uids) + 1)
            items = self.dice.choice([b"(UID FLAGS)", b"(UID BODY.PEEK[])", b"(UID ENVELOPE BODYSTRUCTURE)", b"(UID BODY[])"])
            self.ask(b"FETCH %d:%d %s" % (number, min(number + 5, len(self.view.uids)), items), expunges=False)

    def search(self):
        answer = self.ask(b"SEARCH UNDELETED", expunges=False)
        for numbers in answer.named(b"SEARCH"):
            if any(not 1 <= int(n) <= len(self.view.uids) for n in numbers):
                raise Wrong(f"SEARCH {numbers[-3:]} of {len(self.view.uids)}")

    def idle(self):
        tag = self.imap.begin(b"IDLE")
        while not (line := self.imap.response()).startswith(b"+"):
            self.take(line)
        self.imap.socket.settimeout(self.dice.random() * 0.3 + 0.01)
        with contextlib.suppress(TimeoutError):
            while not self.stage.ended.is_set():
                self.take(self.imap.response())
        self.imap.socket.settimeout(60)
        self.imap.send(b"DONE\r\n")
        self.imap.end(tag)

    def take(self, data):
        from imap_wire import untagged
        self.view.line(untagged(data[2:]))


class Stage:
    def __init__(self, server, seed, may_break=False):
        self.server, self.seed, self.may_break = server, seed, may_break
        self.port = server.ports["imap"]
        self.ended, self.ledger, self.barrier = threading.Event(), Ledger(), threading.Barrier(CLIENTS)

    def mark(self, box, uid):
        with self.ledger.lock:
            return self.ledger.here.get((box, uid))

    def start(self):
        self.clients = [Client(self, number) for number in range(CLIENTS)]
        for client in self.clients:
            client.start()

    def end(self):
        self.ended.set()
        for client in self.clients:
            client.join(60)
        errors = [error for client in self.clients for error in client.errors]
        assert not errors, f"{len(errors)} errors, STRESS_SEED={self.seed}:\n  " + "\n  ".join(errors[:6])
        assert not any(client.is_alive() for client in self.clients), "a client hangs"
        counts = {}
        for client in self.clients:
            for word, count in client.counts.items():
                counts[word.decode()] = counts.get(word.decode(), 0) + count
        print(f"  {counts}", flush=True)
        assert sum(counts.values()) > CLIENTS

    def contents(self):
        """{(box, uid): (mark, flags)} of everything, and the UIDVALIDITY of each."""
        out, validity = {}, {}
        for account in ACCOUNTS:
            with Imap(self.port, account, PASSWORD) as imap:
                for name in BOXES:
                    box = f"{account} {name}"
                    answer = imap.good(b'SELECT "%s"' % name.encode())
                    validity[box] = next(int(line[1][1]) for line in answer.untagged
                                         if line[0] == b"OK" and line[1][0] == b"UIDVALIDITY")
                    for _, items in imap.good(b"UID FETCH 1:* (UID FLAGS BODY.PEEK[])").fetched():
                        mark = re.search(rb"Subject: (\S+)\r\n", items[b"BODY[]"])[1].decode()
                        out[box, int(items[b"UID"])] = mark, frozenset(items[b"FLAGS"])
        return out, validity

    def check(self):
        contents, validity = self.contents()
        ledger = self.ledger
        lost = [key for key, mark in ledger.here.items() if key not in contents and key not in ledger.gone
                and key not in ledger.unsure]
        assert not lost, f"{len(lost)} of {len(ledger.here)} acknowledged are lost: {lost[:5]}, STRESS_SEED={self.seed}"
        back = [key for key in ledger.gone if key in contents]
        assert not back, f"{len(back)} removed are there: {back[:5]}, STRESS_SEED={self.seed}"
        other = [(key, mark, contents[key][0]) for key, mark in ledger.here.items()
                 if mark and key in contents and contents[key][0] != mark]
        assert not other, f"{other[:5]}, STRESS_SEED={self.seed}"
        flags = [(box, uid, flag) for (box, uid, flag), there in ledger.marks.items() if there is not None and
                 (box, uid) in contents and (flag.encode() in contents[box, uid][1]) != there]
        assert not flags, f"{len(flags)} STOREs are lost: {flags[:5]}, STRESS_SEED={self.seed}"
        assert all(validity[box] == value for box, value in ledger.validity.items())
        print(f"  {len(ledger.here)} added, {len(ledger.gone)} removed, {len(contents)} are there", flush=True)
        return contents, validity


@contextlib.contextmanager
def running(place):
    with Ringpost(place, CONFIG, services=("imap",)) as server:
        server.add_accounts(*ACCOUNTS)
        for account in ACCOUNTS:
            with Imap(server.ports["imap"], account, PASSWORD) as imap:
                imap.good(b'CREATE "shared/one"')
        yield server


def fsck(server, *more):
    done = server.cli("fsck", *more, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@suite.test
def everybody_is_told_the_truth():
    print(f"  STRESS_SEED={SEED}", flush=True)
    with Place() as place:
        with running(place) as server:
            stage = Stage(server, SEED)
            stage.start()
            stage.ended.wait(SECONDS)
            stage.end()
            stage.check()
        fsck(server)


@suite.test
def what_was_acknowledged_survives():
    print(f"  STRESS_SEED={SEED}", flush=True)
    dice = random.Random(SEED)
    with Place() as place:
        with running(place) as server:
            stage = Stage(server, SEED, may_break=True)
            stage.start()
            for _ in range(KILLS):
                stage.ended.wait(0.3 + dice.random() * SECONDS / KILLS)
                server.kill()
                server.start()
            stage.ended.wait(1)
            stage.end()
            before = stage.check()
            server.kill()
            fsck(server)
            server.start()
            assert stage.contents() == before
        fsck(server, "--rebuild")
        with server:
            assert stage.contents() == before
        fsck(server)


if __name__ == "__main__":
    suite.main()
