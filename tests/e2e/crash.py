#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 at random moments under load, again and again; then nothing acknowledged is missing.

What may happen twice is known: a recipient whose 250 the sink sent in the last 100 ms before a kill,
because results are durable within 20 ms and nobody is faster than his disk. On a machine so busy
that a thread of ours needs longer for one durable write, the window is longer by that much: a probe
beside the test measures it. CRASH_ROUNDS (200) and
CRASH_SECONDS (110) bound the first test, CRASH_SEED repeats its choices.
"""
import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

from hop import Hop
from support import BUILD, USER, Place, Ringpost, Skip, Suite, message, run, until
from talk import Talk

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "200"))
SECONDS = float(os.environ.get("CRASH_SECONDS", "110"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
WINDOW_S = 0.1
CONNECTIONS = 8
MAIL_MAX = 4 << 20

suite = Suite()


class Probe:
    """How long the machine takes, all the time, to let a thread make one small write durable."""

    def __init__(self, place):
        self.path, self.stalls, self.going = place.file("probe"), [], True

    def run(self):
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        while self.going:
            began = time.monotonic()
            time.sleep(0.01)
            os.pwrite(fd, b"x" * 4096, 0)
            os.fdatasync(fd)
            self.stalls.append((began, time.monotonic()))
        os.close(fd)

    def longest(self, began, ended):
        return max((end - start for start, end in self.stalls if start <= ended and end >= began), default=0)

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


class World:
    """Sends numbered messages to ringpost and takes them back, in one loop in a thread of its own."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.port_in = None  # of ringpost
        self.sent, self.acked = 0, {}  # number -> recipients
        self.got = {}  # (number, recipient) -> times of its connection and of its 250, pairs
        self.damaged, self.refused = [], 0
        self.sending = True
        self.deferred_once = set()

    # --- the sink ---

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.session(reader, writer)
        writer.close()

    async def session(self, reader, writer):
        rcpts, body, began = [], b"", time.monotonic()
        writer.write(b"220 sink\r\n")
        while True:
            line = (await reader.readuntil(b"\r\n")).decode().strip()
            verb = line[:4].upper()
            if verb == "EHLO":
                writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING\r\n")
            elif verb == "MAIL":
                rcpts, body = [], b""
                writer.write(b"250 ok\r\n")
            elif verb == "RCPT":
                writer.write(self.take_rcpt(line, rcpts))
            elif verb == "DATA":
                writer.write(b"354 go\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                self.take(text[:-3].replace(b"\r\n..", b"\r\n."), rcpts, writer, began)
            elif verb == "BDAT":
                body += await reader.readexactly(int(line.split()[1]))
                if line.upper().endswith("LAST"):
                    self.take(body, rcpts, writer, began)
                else:
                    writer.write(b"250 more\r\n")
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 ok\r\n")
            await writer.drain()

    def take_rcpt(self, line, rcpts):
        name = re.search("<(.*)>", line).group(1)
        if self.random.random() < 0.1 and name not in self.deferred_once:
            self.deferred_once.add(name)
            return b"451 4.7.1 later\r\n"
        rcpts.append(name)
        return b"250 ok\r\n"

    def take(self, text, rcpts, writer, began):
        if not rcpts:
            writer.write(b"554 5.5.1 no valid recipients\r\n")
            return
        if self.random.random() < 0.05:
            writer.write(b"452 4.3.1 no room\r\n")
            return
        number, digest = re.search(rb"X-Crash: (\d+) (\w+)\r\n", text).groups()
        if hashlib.sha256(text.split(b"\r\n\r\n", 1)[1]).hexdigest().encode() != digest:
            self.damaged.append(int(number))
        now = time.monotonic()
        for name in rcpts:
            self.got.setdefault((int(number), name), []).append((began, now))
        writer.write(b"250 kept\r\n")

    # --- the load ---

    def make(self):
        self.sent += 1
        number, dice = self.sent, self.random.random()
        lines = 3 if dice < 0.7 else 150 if dice < 0.95 else 8000 if dice < 0.99 else 30000
        body = b"".join(b"line %d of message %d\r\n" % (n, number) for n in range(lines))
        rcpts = [f"m{number}.{n}@d{self.random.randrange(4)}.test" for n in range(self.random.choice((1, 1, 1, 3)))]
        head = f"From: a@s.test\r\nX-Crash: {number} {hashlib.sha256(body).hexdigest()}\r\n\r\n"
        return number, rcpts, head.encode() + body

    async def send_one(self, reader, writer):
        number, rcpts, text = self.make()
        bdat = self.random.random() < 0.3
        writer.write(b"MAIL FROM:<a@s.test>\r\n" + b"".join(b"RCPT TO:<%s>\r\n" % r.encode() for r in rcpts))
        writer.write(b"BDAT %d LAST\r\n" % len(text) + text if bdat else b"DATA\r\n")
        codes = [await self.code(reader) for _ in range(len(rcpts) + 2)]
        if codes[-1] == 354:
            writer.write(text + b".\r\n")
            codes.append(await self.code(reader))
        if codes[-1] == 250:
            self.acked[number] = rcpts
            return
        self.refused += 1
        writer.write(b"RSET\r\n")
        await self.code(reader)
        await asyncio.sleep(0.02)

    async def code(self, reader):
        while True:
            line = await reader.readuntil(b"\r\n")
            if line[3:4] != b"-":
                return int(line[:3])

    async def client(self):
        while self.sending:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port_in)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self.code(reader)
                writer.write(b"EHLO load\r\n")
                await self.code(reader)
                for _ in range(self.random.randrange(1, 50)):
                    if self.sending:
                        await self.send_one(reader, writer)
            writer.close()

    async def main(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=MAIL_MAX, backlog=512)
        self.port = self.server.sockets[0].getsockname()[1]
        self.ready.set()
        self.clients = []
        while not self.ended:
            if self.port_in and not self.clients:
                self.clients = [asyncio.create_task(self.client()) for _ in range(CONNECTIONS)]
            await asyncio.sleep(0.05)
        await asyncio.gather(*self.clients)
        self.server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def __enter__(self):
        self.ready, self.ended, self.errors = threading.Event(), False, []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        self.ready.wait()
        return self

    def run(self):
        try:
            asyncio.run(self.main())
        except Exception as error:  # told by the thread that waits
            self.errors.append(error)
            self.ready.set()

    def __exit__(self, *_):
        self.sending, self.ended = False, True
        self.thread.join()


def crash_config():
    return {"store": {"segment": "1M", "journal_max": "96M", "replay_max": "16M", "reserve": "1M"},
            "relay": {"retry": {"first": "200ms", "factor": 1, "max": "400ms"},
                      "queue": {"park_after": "300ms", "path_ready": 100}}}


def queue_is_empty(server):
    return server.cli_json("queue", "count")["recipients"] == 0


def lines_about(place, names):
    """What the server's logs say of these recipients, for a test that fails."""
    said = []
    for log in sorted(os.listdir(place.path)):
        if log.startswith("ringpost-"):
            with open(place.file(log), encoding="utf-8", errors="replace") as f:
                said += [f"{log}: {line}" for line in f if any(name in line for name in names)]
    return "".join(said[:60])


def check(place, world, kills, probe):
    wanted = {(number, name) for number, rcpts in world.acked.items() for name in rcpts}
    lost = sorted(wanted - world.got.keys())
    assert not lost, f"{len(lost)} of {len(wanted)} acknowledged are lost: {lost[:10]}\n" \
        + lines_about(place, [name for _, name in lost[:3]])
    assert not world.damaged, f"damaged: {world.damaged[:10]}"
    def near(began, at):
        """The 250 left shortly before a kill, or for somebody who had been killed meanwhile."""
        return any(0 <= kill - at <= WINDOW_S or began <= kill <= at for kill in kills)

    def late(at):
        """Shortly by the measure of what this machine took for a durable write just then."""
        return any(0 <= kill - at <= 5 and kill - at <= WINDOW_S + 2 * probe.longest(at, kill) for kill in kills)

    doubles = {key: pairs for key, pairs in world.got.items() if len(pairs) > 1}
    odd = {key: pairs for key, pairs in doubles.items() if not all(near(*pair) or late(pair[1]) for pair in pairs[:-1])}
    extra = sum(len(pairs) - 1 for pairs in doubles.values())
    windows = sum(near(*pair) for pairs in world.got.values() for pair in pairs)
    windows += sum(not near(*pair) and late(pair[1]) for pairs in doubles.values() for pair in pairs[:-1])
    print(f"  {len(kills)} kills, {len(wanted)} acknowledged recipients, {len(world.got)} arrived, {extra} twice; "
          f"{windows} in the windows, {world.refused} refused for a while", flush=True)
    told = {key: [[round(kill - at, 3) for kill in kills if kill >= at][:1] for _, at in pairs]
            for key, pairs in list(odd.items())[:10]}
    assert not odd, f"{len(odd)} doubles not next to a kill (seconds before it): {told}\n" \
        + lines_about(place, [name for _, name in list(odd)[:3]])
    assert extra <= windows, (extra, windows)


@suite.test
def nothing_acknowledged_is_lost():
    dice, kills = random.Random(SEED), []
    print(f"  CRASH_SEED={SEED}", flush=True)
    with Place() as place, World(SEED) as world, Probe(place) as probe:
        server = Ringpost(place, crash_config(), route_to=world.port,
                          rows={"smtp": {"relay_from": ["127.0.0.1/32"]}})
        server.config["limits"] = {"client_connections": 0}
        end = time.monotonic() + SECONDS
        while len(kills) < ROUNDS and time.monotonic() < end:
            if dice.random() < 0.1:  # already while it starts
                server.start(wait=False)
                time.sleep(dice.random() * 0.3)
            else:
                server.start()
                world.port_in = server.ports["smtp"]
                time.sleep(dice.random() * 0.4)
            kills.append(time.monotonic())
            server.kill()
        assert not world.errors, world.errors
        with server:
            world.sending = False
            until(lambda: queue_is_empty(server), "an empty queue after the last crash")
            assert len(world.acked) > len(kills)  # there was load
        assert server.cli_json("fsck")["result"] == "clean"
        check(place, world, kills, probe)


# --- A rebuild that dies -----------------------------------------------------------------------------


@suite.test
def a_rebuild_may_be_killed():
    dice = random.Random(SEED)
    later = lambda hop, session, verb, line: None if hop.open or verb != "RCPT" else "451 4.2.1 later"
    with Place() as place, Hop(later) as hop:
        hop.open = False
        config = {"relay": {"retry": {"first": "1h", "max": "1h"}}, "store": {"segment": "1M"}}
        server = Ringpost(place, config, route_to=hop.port, rows={"smtp": {"relay_from": ["127.0.0.1/32"]}})
        with server:
            server.add_accounts(USER)
            with Talk(server.ports["smtp"]) as talk:
                talk.ehlo()
                for number in range(40):
                    talk.envelope("a@s.test", f"r{number}@example.org")
                    assert talk.data(message(subject=f"n {number}", body="x" * 70 + "\n" * 50))[0] == 250
            until(lambda: server.cli_json("queue", "count")["parked"] == 40, "forty parked")
        for _ in range(12):
            with subprocess.Popen([server.binary, "fsck", "--rebuild", "--config", server.config_path],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
                time.sleep(dice.random() * 0.4)
                child.send_signal(signal.SIGKILL)
        done = server.cli("fsck", "--rebuild", check=False)
        assert done.returncode == 0, done
        hop.open = True
        with server:
            assert [row["account"] for row in server.cli_json("account", "list", "example.test")] == [USER]
            assert server.cli_json("queue", "count")["recipients"] == 40
            server.cli("queue", "release", "--all")
            server.cli("queue", "retry", "--all")
            hop.wait(40)
            until(lambda: queue_is_empty(server), "an empty queue")
        assert len(hop.messages) == 40


# --- A full disk -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(place, megabytes):
    path = place.file("disk")
    os.makedirs(path)
    if os.getuid() != 0 or run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", path,
                               check=False).returncode:
        raise Skip("a file system of our own wants root")
    try:
        yield path
    finally:
        run("umount", "-l", path)


def submit_numbered(talk, number, size):
    """True when it was accepted; 452 4.3.1 is the only other answer."""
    code, text = talk.ask("MAIL FROM:<a@s.test>")
    if code == 250:
        talk.expect(250, f"RCPT TO:<r{number}@example.org>")
        code, text = talk.data(message(subject=f"n {number}", body=("y" * 70 + "\n") * (size // 72)))
    assert code == 250 or (code == 452 and text.startswith("4.3.1")), (code, text)
    return code == 250


@suite.test
def a_full_disk_refuses_and_recovers():
    later = lambda hop, session, verb, line: None if hop.open or verb != "RCPT" else "451 4.2.1 later"
    with Place() as place, Hop(later) as hop, small_disk(place, 80) as disk:
        hop.open = False
        config = {"data": os.path.join(disk, "data"), "control": place.file("control.sock"),
                  "relay": {"retry": {"first": "500ms", "factor": 1, "max": "500ms"}},
                  "store": {"segment": "1M", "reserve": "4M", "map": "4M", "journal_max": "32M"},
                  "smtp": {"errors": 10000}}
        server = Ringpost(place, config, route_to=hop.port, rows={"smtp": {"relay_from": ["127.0.0.1/32"]}})
        accepted = []
        with server, Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
            for number in range(3):
                assert submit_numbered(talk, number, 20000)
                accepted.append(number)
            filler = os.path.join(disk, "filler")
            fill(disk, filler)
            for number in range(3, 400):
                if not submit_numbered(talk, number, 200000):
                    break
                accepted.append(number)
            else:
                raise AssertionError("a full disk was never noticed")
            # What is here is delivered all the same.
            hop.open = True
            until(lambda: subjects(hop) >= {f"n {n}" for n in accepted}, "what was accepted before")
            os.unlink(filler)
            until(lambda: submit_numbered(talk, 1000, 20000), "mail is taken again")
            until(lambda: "n 1000" in subjects(hop), "the message behind the trouble")
            until(lambda: queue_is_empty(server), "an empty queue")
        wanted = {f"n {n}" for n in accepted + [1000]}
        assert subjects(hop) >= wanted
        assert len(hop.messages) == len(subjects(hop))


@suite.test
def a_full_disk_obeys_its_operator():
    """Removing needs no room; a report does, so who is returned waits until there is some."""
    later = lambda hop, session, verb, line: None if hop.open or verb != "RCPT" else "451 4.2.1 later"
    with Place() as place, Hop(later) as hop, small_disk(place, 80) as disk:
        hop.open = False
        config = {"data": os.path.join(disk, "data"), "control": place.file("control.sock"),
                  "relay": {"retry": {"first": "1h", "max": "1h"}},
                  "store": {"segment": "1M", "reserve": "4M", "map": "4M", "journal_max": "32M"},
                  "smtp": {"errors": 10000}}
        server = Ringpost(place, config, route_to=hop.port, rows={"smtp": {"relay_from": ["127.0.0.1/32"]}})
        with server, Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
            for number in range(4):
                assert submit_numbered(talk, number, 20000)
            until(lambda: server.cli_json("queue", "count")["parked"] == 4, "four parked")
            filler = os.path.join(disk, "filler")
            fill(disk, filler)
            for number in range(100, 500):
                if not submit_numbered(talk, number, 200000):
                    break
            else:
                raise AssertionError("a full disk was never noticed")
            waiting = lambda: {row["recipient"] for row in server.cli_json("queue", "list")}
            assert server.cli_json("queue", "remove", "--recipient", "r0@example.org") == {"changed": 1}
            assert server.cli_json("queue", "hold", "--recipient", "r1@example.org") == {"changed": 1}
            assert server.cli_json("queue", "bounce", "--recipient", "r2@example.org") == {"changed": 1}
            left = waiting()
            assert "r0@example.org" not in left and {"r1@example.org", "r2@example.org"} <= left, left
            os.unlink(filler)
            until(lambda: submit_numbered(talk, 1000, 20000), "mail is taken again")
            hop.open = True
            server.cli("queue", "retry", "--all")
            # Who was to be returned is tried once more when its report could not be written.
            until(lambda: {"n 1000", "n 3"} <= subjects(hop), "the others")
            until(lambda: waiting() == {"r1@example.org"}, "the one that is held, alone")
        came = subjects(hop)
        assert "n 0" not in came and "n 1" not in came, came
        reports = [m for m in hop.messages if m.sender == ""]
        assert len(reports) == 1 and b"r2@example.org" in reports[0].data or "n 2" in came, came


def built_with_faults():
    with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json")) as options:
        return next(row["value"] for row in json.load(options) if row["name"] == "faults")


@suite.test
def a_broken_disk_refuses_and_recovers():
    """Every write and sync of the journal fails for a while, though bytes may get there."""
    if not built_with_faults():
        raise Skip("built without faults")
    later = lambda hop, session, verb, line: None if hop.open or verb != "RCPT" else "451 4.2.1 later"
    with Place() as place, Hop(later) as hop:
        hop.open = False
        broken = place.file("broken")
        config = {"relay": {"retry": {"first": "500ms", "factor": 1, "max": "500ms"}},
                  "store": {"segment": "1M"}, "smtp": {"errors": 10000}}
        server = Ringpost(place, config, route_to=hop.port, rows={"smtp": {"relay_from": ["127.0.0.1/32"]}},
                          env={"RINGPOST_BROKEN_DISK": broken})
        accepted, number = [], 0
        with server, Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
            for _ in range(3):  # breaks, heals, breaks ...
                for number in range(number + 1, number + 6):
                    assert submit_numbered(talk, number, 20000)
                    accepted.append(number)
                with open(broken, "w"):
                    pass
                for number in range(number + 1, number + 6):
                    assert not submit_numbered(talk, number, 20000)
                os.unlink(broken)

                def heals():
                    nonlocal number
                    number += 1
                    return submit_numbered(talk, number, 20000)

                until(heals, "mail is taken again")
                accepted.append(number)
            server.kill()
            hop.open = True
            server.start()
            until(lambda: subjects(hop) >= {f"n {n}" for n in accepted}, "what was accepted")
            until(lambda: queue_is_empty(server), "an empty queue")
        # What was refused must not come, or its sender would have sent it twice.
        assert subjects(hop) == {f"n {n}" for n in accepted}, subjects(hop) ^ {f"n {n}" for n in accepted}
        assert server.cli_json("fsck")["result"] in ("clean", "repaired")


def fill(disk, filler):
    """Leave three megabytes."""
    space = os.statvfs(disk)
    with open(filler, "wb") as f:
        for _ in range(space.f_bavail * space.f_frsize // (1 << 20) - 3):
            f.write(bytes(1 << 20))


def subjects(hop):
    return {re.search(rb"Subject: (n \d+)\r\n", m.data).group(1).decode() for m in list(hop.messages)}


suite.main()
