# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of ./dev bench about whole mailboxes that come in and go out as files, by `ringpost import` and `export` with
a server running, and by `doveadm import` and `backup` beside them.

CPU is that of the server and of the program, apart: with us the server does most of it, with Dovecot the program.
"""
import contextlib
import itertools
import json
import os
import subprocess
import tempfile
import time

from measure import ran_ns, ran_s, support
from sides import ALICE, DOMAIN, both, in_turns

SIZES = {"4k": (4096, 20000), "1m": (1 << 20, 200)}  # bytes, messages
SMALL_JOURNAL = {"store": {"segment": "4M", "journal_max": "32M", "cache": "4M"}}


def mails(size, count):
    line = b"x" * 76 + b"\n"
    for n in range(count):
        head = (f"From: a{n}@example.org\nTo: {ALICE}\nSubject: number {n}\nDate: Sat, 29 Feb 2020 12:00:00 +0000\n"
                f"Message-ID: <{n}.{size}@example.org>\n\n").encode()
        yield head + line * ((size - len(head)) // len(line))


class Source:
    """The same mails in an mbox and in a Maildir."""

    def __init__(self, folder, size, count):
        self.count = count
        self.paths = {"mbox": os.path.join(folder, f"{size}-{count}.mbox"), "maildir": os.path.join(folder, f"{size}-{count}")}
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.paths["maildir"], sub))
        self.bytes = 0
        with open(self.paths["mbox"], "wb") as mbox:
            for n, mail in enumerate(mails(size, count)):
                mbox.write(b"From a@example.org Sat Feb 29 12:00:00 2020\n" + mail + b"\n")
                with open(os.path.join(self.paths["maildir"], "cur", f"1582977600.{n:06d}.host:2,S"), "wb") as f:
                    f.write(mail)
                self.bytes += len(mail)


def timed(side, command, source):
    """Run it to its end; what it printed, and what it cost by message."""
    before, began = ran_ns(side.pid), time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=support.foreign_env())
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        out.seek(0)
        said = out.read()
    if status:
        raise RuntimeError(f"{command}: {status}: {said[-2000:]}")
    return said, {"rate": source.count / seconds, "mbs": source.bytes / seconds / 1e6,
                  "us": ran_s(side.pid, before) / source.count * 1e6, "own": (used.ru_utime + used.ru_stime) / source.count * 1e6}


def ours(side, verb, user, path, *words):
    server = side.server
    return [server.binary, verb, user, path, *words, "--json", "--config", server.config_path]


def doveadm(side, *words):
    peer = side.server
    return [*peer.namespace(), "doveadm", "-c", peer.place.file("dovecot.conf"), *words]


class Files:
    """Mails of each size in files, and a side's accounts, of which each is filled once."""

    def __init__(self, args, folder, part=1):
        self.folder, self.numbers = folder, itertools.count()
        self.sources = {name: Source(folder, size, args.messages(count * 10) // 10 // part)
                        for name, (size, count) in SIZES.items()}
        if part > 1 and os.geteuid() == 0:  # Dovecot is somebody else, who writes beside what it reads
            subprocess.run(["chown", "-R", "mail:mail", folder], check=True)

    def fresh(self):
        return f"u{next(self.numbers)}@{DOMAIN}"

    def import_into(self, side, name, kind, user):
        source = self.sources[name]
        path = source.paths[kind]
        if side.name == "ringpost":
            said, found = timed(side, ours(side, "import", user, path, "--state", os.path.join(self.folder, user)), source)
            return {**found, "lost": source.count - json.loads(said)["imported"]}
        place = f"mbox:{self.folder}/boxes:INBOX={path}" if kind == "mbox" else f"maildir:{path}"
        _, found = timed(side, doveadm(side, "import", "-u", user, place, "", "ALL"), source)
        held = subprocess.run(doveadm(side, "mailbox", "status", "-u", user, "messages", "INBOX"), check=True,
                              env=support.foreign_env(), stdout=subprocess.PIPE, text=True).stdout
        return {**found, "lost": source.count - int(held.rsplit("=", 1)[1])}

    def export_from(self, side, name, kind, user):
        source = self.sources[name]
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            path = os.path.join(folder, "out")
            if side.name == "ringpost":
                said, found = timed(side, ours(side, "export", user, path, "--format", kind, "--mailbox", "INBOX"), source)
                return {**found, "lost": source.count - json.loads(said)["exported"]}
            os.chmod(folder, 0o777)
            _, found = timed(side, doveadm(side, "backup", "-u", user, f"{kind}:{path}"), source)
            return {**found, "lost": source.count - len(os.listdir(os.path.join(path, "cur")))}


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="ringpost-bench-") as path:
        os.chmod(path, 0o755)
        yield path


def transfer(args):
    """Dovecot has a tenth of the mails: it syncs them one by one."""
    with folder() as path, folder() as other, both(accounts=len(SIZES) * 2 * args.runs, durable=True) as sides:
        files = {"ringpost": Files(args, path), "Dovecot": Files(args, other, 10)}
        users, rows = {}, {}
        for name, kind in itertools.product(SIZES, ("mbox", "maildir")):
            def come(side):
                users[side.name] = files[side.name].fresh()
                return files[side.name].import_into(side, name, kind, users[side.name])

            def go(side):
                return files[side.name].export_from(side, name, kind, users[side.name])
            rows[f"import-{kind}-{name}"] = in_turns(args, sides, come)
            # doveadm backs up into a Maildir, not into an mbox.
            rows[f"export-{kind}-{name}"] = in_turns(args, sides if kind == "maildir" else sides[:1], go)
    return rows


def archived(args):
    """The journal is small, so that bodies leave it for the archive while more come in."""
    with folder() as path, both(accounts=20, peer=False, config=SMALL_JOURNAL) as sides:
        files, users, side = Files(args, path), {}, sides[0]
        for name in SIZES:
            users[name] = files.fresh()
            files.import_into(side, name, "mbox", users[name])
        wanted = sum(source.bytes for source in files.sources.values())
        while side.server.cli_json("stats")["store"]["archive_bytes"] < wanted:
            files.import_into(side, "1m", "mbox", files.fresh())

        def go(name):
            side.restart()
            return files.export_from(side, name, "mbox", users[name])
        return {f"export-cold-{name}": in_turns(args, sides, lambda _: go(name)) for name in SIZES}


EACH = "{rate:,.0f}/s, {us:.0f} + {own:.0f} us CPU"
BULK = "{mbs:,.0f} MB/s, {us:,.0f} + {own:,.0f} us CPU"
FAMILIES = {
    "mailbox-transfer": (transfer, {
        "import-mbox-4k": ("`import` of an mbox, 20,000 of 4 KiB, durable", "-", EACH, None),
        "import-maildir-4k": ("`import` of a Maildir, as many", "-", EACH, None),
        "export-mbox-4k": ("`export` into an mbox", "-", EACH, None),
        "export-maildir-4k": ("`export` into a Maildir", "-", EACH, None),
        "import-mbox-1m": ("`import` of an mbox, 200 of 1 MiB", "-", BULK, None),
        "import-maildir-1m": ("`import` of a Maildir, 200 of 1 MiB", "-", BULK, None),
        "export-mbox-1m": ("`export` into an mbox, 200 of 1 MiB", "-", BULK, None),
        "export-maildir-1m": ("`export` into a Maildir, 200 of 1 MiB", "-", BULK, None)}),
    "mailbox-archived": (archived, {
        "export-cold-4k": ("`export` into an mbox, 20,000 of 4 KiB: bodies in the archive, page cache dropped, server "
                           "restarted", "-", EACH, None),
        "export-cold-1m": ("the same, 200 of 1 MiB", "-", BULK, None)}),
}
