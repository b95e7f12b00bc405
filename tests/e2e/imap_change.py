#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""IMAP that changes mailboxes: APPEND, STORE, COPY, MOVE, EXPUNGE, alone and side by side."""
import contextlib
import imaplib
import os
import re
import threading

import imap_wire
from stage import Stage, staged
from support import PASSWORD, PATIENCE_S, Suite, until
from talk import Talk

SERVICES = ("imap",)
CONFIG = {"auth": {"fail_delay": "10ms", "fail_delay_max": "20ms"},
          "imap": {"plain_login": True, "append": "60M"},
          "store": {"body_ram": "8M", "cache": "4M", "mailboxes": 20}, "local": {"quota_messages": 250000}}
MB = 1 << 20


class Imap(Talk):
    """Commands with tags; untagged lines as they came."""

    def __init__(self, port, name=None, mailbox=None):
        super().__init__(port, greet=False)
        self.count = 0
        assert self.line().startswith("* OK")
        if name:
            self.ok(f"LOGIN {name} \"{PASSWORD}\"")
        if mailbox:
            self.ok(f"SELECT {mailbox}")

    def ask(self, command, *literals):
        """Untagged lines and the tagged one without its tag. Literals are sent with LITERAL+."""
        self.count += 1
        tag = f"t{self.count}"
        data = f"{tag} {command}".encode()
        for literal in literals:
            if isinstance(literal, str):
                data += literal.encode()
            else:
                data += b"{%d+}\r\n" % len(literal) + literal
        self.send(data + b"\r\n")
        return self.answer(tag)

    def answer(self, tag):
        untagged = []
        while not (line := self.line()).startswith(tag + " "):
            untagged.append(line)
        return untagged, line[len(tag) + 1:]

    def ok(self, command, *literals):
        untagged, end = self.ask(command, *literals)
        assert end.startswith("OK"), (command, end)
        return untagged

    def end(self, command, *literals):
        return self.ask(command, *literals)[1]

    def append(self, mailbox, *bodies, more=""):
        """The uids the messages got."""
        parts = []
        for body in bodies:
            parts += [" " + more, body]
        end = self.end(f"APPEND {mailbox}", *parts)
        found = re.match(r"OK \[APPENDUID \d+ (\d+)(?::(\d+))?\]", end)
        assert found, end
        first = int(found[1])
        return list(range(first, int(found[2] or first) + 1))

    def flags(self, uid):
        line = [l for l in self.ok(f"UID FETCH {uid} (FLAGS)") if f"UID {uid}" in l][0]
        return set(re.search(r"FLAGS \(([^)]*)\)", line)[1].split())

    def modseq(self, uid):
        line = [l for l in self.ok(f"UID FETCH {uid} (MODSEQ)") if f"UID {uid}" in l][0]
        return int(re.search(r"MODSEQ \((\d+)\)", line)[1])

    def uids(self):
        lines = self.ok("UID FETCH 1:* (UID)")
        return [int(m[1]) for l in lines if (m := re.match(r"\* \d+ FETCH \(UID (\d+)\)", l))]

    def status(self, mailbox, item="MESSAGES"):
        line, = [l for l in self.ok(f"STATUS {mailbox} ({item})") if l.startswith("* STATUS")]
        return int(re.search(item + r" (\d+)", line)[1])


class Changing(Stage):
    @property
    def port(self):
        return self.ports["imap"]

    def imap(self, name, mailbox=None):
        return Imap(self.port, name, mailbox)

    def rss(self):
        """Anonymous memory of the server, in bytes."""
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) * 1024


def mail(subject, body="Hello.\r\n", **headers):
    rows = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    return f"From: s@example.org\r\nTo: r@example.test\r\nSubject: {subject}\r\n{rows}\r\n{body}".encode()


# What a sanitizer keeps of freed memory would hide what the server holds.
ENV = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"}
suite = Suite(staged(CONFIG, SERVICES, Changing, env=ENV))


# --- APPEND -------------------------------------------------------------------------------------

@suite.test
def imaplib_appends_and_reads_back(st):
    name = st.account()
    client = imaplib.IMAP4("127.0.0.1", st.port, timeout=PATIENCE_S)
    client.login(name, PASSWORD)
    first = mail("first")
    status, data = client.append("Drafts", r"(\Draft \Seen work)",
                                 '"17-Jul-2020 02:44:25 -0700"', first)
    assert status == "OK" and b"APPENDUID" in data[0], data
    assert client.select("Drafts")[1] == [b"1"]
    status, data = client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    assert data[0][1] == first and b"RFC822.SIZE %d" % len(first) in data[0][0]
    assert b"17-Jul-2020 09:44:25 +0000" in data[0][0], data
    for flag in (rb"\Draft", rb"\Seen", b"work"):
        assert flag in data[0][0], data
    # the mailbox is open: the new message is told with the OK
    client.append("Drafts", None, None, mail("second"))
    assert client.response("EXISTS")[1][-1] == b"2"
    assert client.append("Nowhere", None, None, first)[0] == "NO"
    assert client.select("INBOX")[1] == [b"0"]
    client.logout()


@suite.test
def refused_before_it_is_sent(st):
    name = st.account()
    with st.imap(name) as talk:
        talk.send(b"a APPEND Nowhere {10}\r\nb NOOP\r\n")
        assert talk.answer("a")[1].startswith("NO [TRYCREATE]")
        assert talk.answer("b")[1].startswith("OK")
        talk.send(b"c APPEND INBOX {%d}\r\nd NOOP\r\n" % (61 * MB))
        assert talk.answer("c")[1].startswith("NO [TOOBIG]")
        assert talk.answer("d")[1].startswith("OK")
        # what comes unasked is swallowed
        assert talk.end("APPEND Nowhere ", mail("x") * 100).startswith("NO [TRYCREATE]")
        assert talk.end("APPEND INBOX ", b"").startswith("NO")
        assert talk.end("APPEND INBOX ", b"a\0b").startswith("BAD")
        assert talk.end("APPEND INBOX ()", b"x").startswith("BAD")
        assert talk.end("APPEND INBOX (\\Seen) ").startswith("BAD")
        assert talk.end("APPEND INBOX ", mail("x"), " garbage").startswith("BAD")
        assert talk.status("INBOX") == 0
        # literal8 may hold anything
        body = mail("nul", "\0\1\2")
        talk.send(b"e APPEND INBOX ~{%d+}\r\n" % len(body) + body + b"\r\n")
        assert "APPENDUID" in talk.answer("e")[1]
        talk.send(b"f APPEND INBOX UTF8 (~{%d+}\r\n" % len(body) + body + b")\r\n")
        assert "APPENDUID" in talk.answer("f")[1]
        assert talk.status("INBOX", "UIDNEXT") == 3
    no_nul_goes_out_in_a_literal(st, name, body)


def no_nul_goes_out_in_a_literal(st, name, body):
    """Sizes stay as they are (RFC 9051 4.3.1); BINARY shows what came."""
    shown = body.replace(b"\0", b"\x80")
    with imap_wire.Imap(st.port, name, PASSWORD) as talk:
        assert talk.ask(b"SELECT INBOX").ok

        def fetched(item):
            (_, items), = talk.ask(b"FETCH 1 (RFC822.SIZE %s)" % item).fetched()
            assert int(items.pop(b"RFC822.SIZE")) == len(body)
            items.pop(b"FLAGS", None)
            return list(items.values())[0]

        assert fetched(b"BODY.PEEK[]") == fetched(b"RFC822") == shown
        assert fetched(b"BODY.PEEK[TEXT]") == fetched(b"BODY.PEEK[1]") == b"\x80\1\2"
        assert fetched(b"BODY.PEEK[]<20.4000>") == shown[20:]
        assert fetched(b"BINARY.PEEK[1]") == b"\0\1\2"


@suite.test
def many_messages_or_none(st):
    name = st.account()
    with st.imap(name) as talk, st.imap(name, "Archive") as other:
        bodies = [mail(f"m{i}", "x" * (i * 37)) for i in range(50)]
        uids = talk.append("Archive", *bodies, more="(\\Flagged) ")
        assert len(uids) == 50 and other.ok("NOOP")[0] == "* 50 EXISTS"
        sizes = [int(re.search(r"SIZE (\d+)", l)[1]) for l in other.ok("FETCH 1:* (RFC822.SIZE)")]
        assert sizes == [len(b) for b in bodies]
        # a bad one at the end, and an empty one in the middle
        assert talk.end("APPEND Archive ", bodies[0], " ", bodies[1], " ", b"a\0b").startswith("BAD")
        assert talk.end("APPEND Archive ", bodies[0], " ", b"", " ", bodies[1]).startswith("NO")
        # and one that never comes whole
        breaking = st.imap(name)
        breaking.send(b"x APPEND Archive {%d+}\r\n" % len(bodies[0]) + bodies[0] +
                      b" {%d+}\r\n" % len(bodies[1]) + bodies[1] + b" {100+}\r\nhalf")
        breaking.close()
        single = st.imap(name)
        single.send(b"x APPEND Archive {100+}\r\nhalf")
        single.close()
        assert other.ok("NOOP") == []
        assert talk.status("Archive") == 50 and talk.status("Archive", "UIDNEXT") == uids[-1] + 1
    assert st.server.cli_json("quota", "show", name)["messages"] == 50


@suite.test
def large_messages_stay_out_of_memory(st):
    name = st.account()
    line = b"x" * 76 + b"\r\n"
    size = 50 * MB // len(line) * len(line)
    head = mail("large", "")
    with st.imap(name) as talk:
        before = st.rss()
        peak = before
        talk.send(b"a APPEND INBOX {%d}\r\n" % (len(head) + size))
        assert talk.line().startswith("+ ")
        talk.send(head)
        block = line * (256 * 1024 // len(line))
        left = size
        while left:
            talk.send(block[:left])
            left -= min(left, len(block))
            peak = max(peak, st.rss())
        talk.send(b"\r\n")
        assert "APPENDUID" in talk.answer("a")[1]
        assert peak - before < 40 * MB, (before, peak)
        talk.ok("SELECT INBOX")
        talk.send(b"b FETCH 1 (RFC822.SIZE BODY.PEEK[]<%d.100>)\r\n" % (len(head) + size - 100))
        untagged, end = talk.answer("b")
        assert f"RFC822.SIZE {len(head) + size}" in untagged[0] and end.startswith("OK")


@suite.test
def pipelined_appends_keep_their_order(st):
    name = st.account()
    with st.imap(name) as talk:
        count = 200
        data = b""
        for i in range(count):
            body = mail(f"p{i}", "y" * i)
            data += b"p%d APPEND INBOX {%d+}\r\n" % (i, len(body)) + body + b"\r\n"
        sender = threading.Thread(target=talk.send, args=(data + b"q SELECT INBOX\r\n",))
        sender.start()
        for i in range(count):
            _, end = talk.answer(f"p{i}")
            assert re.match(rf"OK \[APPENDUID \d+ {i + 1}\]", end), end
        untagged, end = talk.answer("q")
        sender.join()
        assert f"* {count} EXISTS" in untagged and end.startswith("OK")


# --- STORE --------------------------------------------------------------------------------------

@suite.test
def flags_are_stored_and_told(st):
    name = st.account()
    with st.imap(name, "INBOX") as a, st.imap(name, "INBOX") as b:
        uids = a.append("INBOX", mail("1"), mail("2"), mail("3"))
        assert "* 3 EXISTS" in b.ok("NOOP")
        told = a.ok("STORE 1:2 +FLAGS (\\Seen $Forwarded)")
        assert [l for l in told if l.startswith("* FLAGS") and "$Forwarded" in l], told
        assert told[-2:] == ["* 1 FETCH (UID 1 FLAGS (\\Seen $Forwarded))",
                             "* 2 FETCH (UID 2 FLAGS (\\Seen $Forwarded))"], told
        told = b.ok("NOOP")
        assert [l for l in told if "FETCH" in l] == [
            "* 1 FETCH (UID 1 FLAGS (\\Seen $Forwarded))",
            "* 2 FETCH (UID 2 FLAGS (\\Seen $Forwarded))"], told
        assert a.ok("NOOP") == []
        assert a.ok("UID STORE 2:3 FLAGS.SILENT (\\Deleted)") == []
        assert a.flags(2) == {"\\Deleted"} == a.flags(3)
        assert a.ok("STORE 1 -FLAGS ($forwarded)") == ["* 1 FETCH (UID 1 FLAGS (\\Seen))"]
        # told though it changes nothing
        assert a.ok("STORE 1 +FLAGS (\\Seen)") == ["* 1 FETCH (UID 1 FLAGS (\\Seen))"]
        # what another did is told also by a silent command that passes over it
        b.ok("NOOP")
        b.ok("STORE 1 +FLAGS (\\Flagged)")
        told = a.ok("STORE 1 +FLAGS.SILENT (\\Answered)")
        assert told == ["* 1 FETCH (UID 1 FLAGS (\\Answered \\Flagged \\Seen))"] or \
            a.flags(1) == {"\\Answered", "\\Flagged", "\\Seen"} and told, told
        a.ok("STORE 1:3 FLAGS.SILENT ($Junk)")
        a.ok("STORE 2 +FLAGS.SILENT ($notjunk)")
        a.ok("STORE 3 +FLAGS.SILENT ($Junk $NotJunk)")
        assert a.flags(1) == {"$Junk"} and a.flags(2) == {"$NotJunk"} == a.flags(3)
        assert a.end("STORE 4 +FLAGS (\\Seen)").startswith("BAD")
        assert a.end("UID STORE 99 +FLAGS (\\Seen)").startswith("OK")
        assert a.end("STORE 1 +FLAGS (\\Recent)").startswith("BAD")
        for i in range(80):
            end = a.end(f"STORE 1 +FLAGS.SILENT (word{i})")
            if not end.startswith("OK"):
                break
        assert end.startswith("NO [LIMIT]") and 50 < i < 70, (i, end)
        a.ok("EXAMINE INBOX")
        assert a.end("STORE 1 +FLAGS (\\Seen)").startswith("NO [READ-ONLY]")
        assert uids == [1, 2, 3]


@suite.test
def unchangedsince_has_one_winner(st):
    name = st.account()
    with contextlib.ExitStack() as stack:
        talks = [stack.enter_context(st.imap(name, "INBOX")) for _ in range(4)]
        a, b = talks[:2]
        a.append("INBOX", *[mail(str(i)) for i in range(5)])
        b.ok("NOOP")
        since = a.modseq(1)
        told, end = a.ask(f"UID STORE 1 (UNCHANGEDSINCE {since}) +FLAGS.SILENT (\\Seen)")
        assert end.startswith("OK") and "MODIFIED" not in end
        now = int(re.search(r"MODSEQ \((\d+)\)", told[-1])[1])
        assert told[-1] == f"* 1 FETCH (UID 1 MODSEQ ({now}))" and now > since, told
        # in the kind of numbers that came
        a.ok("STORE 4 +FLAGS.SILENT (\\Flagged)")
        assert "[MODIFIED 1,4]" in b.end(f"STORE 1:5 (UNCHANGEDSINCE {since}) +FLAGS (\\Draft)")
        assert "[MODIFIED 1:5]" in b.end("UID STORE 1:5 (UNCHANGEDSINCE 0) +FLAGS (\\Draft)")
        assert a.flags(2) == {"\\Draft"} and a.flags(1) == {"\\Seen"}
        # all at once: one of them
        for talk in talks:
            talk.ok("NOOP")
        for turn in range(20):
            since = a.modseq(3)
            for i, talk in enumerate(talks):
                talk.send(f"r{turn} UID STORE 3 (UNCHANGEDSINCE {since}) FLAGS (w{i})\r\n")
            ends = [talk.answer(f"r{turn}")[1] for talk in talks]
            won = [i for i, end in enumerate(ends) if "MODIFIED 3]" not in end]
            assert len(won) == 1 and all(end.startswith("OK") for end in ends), ends
            assert {talk.flags(3).pop() for talk in talks} == {f"w{won[0]}"}


# --- COPY, MOVE, EXPUNGE ------------------------------------------------------------------------

@suite.test
def copies_and_moves(st):
    name = st.account()
    with st.imap(name, "INBOX") as a, st.imap(name, "Archive") as b:
        a.append("INBOX", *[mail(str(i)) for i in range(6)], more="(\\Answered kw) ")
        assert re.match(r"OK \[COPYUID \d+ 2:3,5 1:3\]", a.end("COPY 2:3,5 Archive"))
        assert "* 3 EXISTS" in b.ok("NOOP")
        assert b.flags(2) == {"\\Answered", "kw"}
        assert a.end("COPY 1 Nowhere").startswith("NO [TRYCREATE]")
        assert a.end("MOVE 1 Nowhere").startswith("NO [TRYCREATE]")
        assert a.end("COPY 7 Archive").startswith("BAD")
        told, end = a.ask("MOVE 1:2,6 Archive")
        assert re.match(r"\* OK \[COPYUID \d+ 1:2,6 4:6\]", told[0]), told
        assert told[1:] == ["* 1 EXPUNGE", "* 1 EXPUNGE", "* 4 EXPUNGE"] and end.startswith("OK")
        assert a.uids() == [3, 4, 5]
        # to where it is: it comes again, with another uid
        told = a.ok("MOVE 1 INBOX")
        assert told[1:2] == ["* 1 EXPUNGE"] and "* 3 EXISTS" in told, told
        assert a.uids() == [4, 5, 7]
        assert "* 4 EXISTS" in a.ok("COPY 1 INBOX")
        assert a.uids() == [4, 5, 7, 8]
        # just made, and just deleted
        a.ok("CREATE Fresh")
        assert "COPYUID" in a.end("COPY 1 Fresh")
        assert len(a.append("Fresh", mail("x"))) == 1
        a.ok("DELETE Fresh")
        assert a.end("COPY 1 Fresh").startswith("NO [TRYCREATE]")
        assert a.end("APPEND Fresh ", mail("x")).startswith("NO [TRYCREATE]")
        assert a.end("UID COPY 999 Archive").startswith("OK")


@suite.test
def expunges_are_told_to_all(st):
    name = st.account()
    with st.imap(name, "INBOX") as a, st.imap(name, "INBOX") as b, st.imap(name) as c:
        a.append("INBOX", *[mail(str(i)) for i in range(10)])
        assert "* 10 EXISTS" in b.ok("NOOP")
        c.ok("ENABLE QRESYNC")
        c.ok("SELECT INBOX")
        a.ok("STORE 2:4,8 +FLAGS.SILENT (\\Deleted)")
        assert a.ok("UID EXPUNGE 3:5") == ["* 3 EXPUNGE", "* 3 EXPUNGE"]
        assert a.ok("EXPUNGE") == ["* 2 EXPUNGE", "* 5 EXPUNGE"]
        assert a.ok("EXPUNGE") == []
        # b does not know yet, and a FETCH may not tell it
        until(lambda: b.end("FETCH 2 (FLAGS)").startswith("NO [EXPUNGEISSUED]"), "the notice")
        assert b.end("STORE 2:3 +FLAGS (\\Seen)").startswith("NO [EXPUNGEISSUED]")
        assert b.end("COPY 2,9 Archive").startswith("NO [EXPUNGEISSUED]")
        assert "* 9 FETCH (UID 9 FLAGS (\\Flagged))" in b.ok("STORE 9 +FLAGS (\\Flagged)")
        assert [l for l in b.ok("NOOP") if "EXPUNGE" in l] == [
            "* 2 EXPUNGE", "* 2 EXPUNGE", "* 2 EXPUNGE", "* 5 EXPUNGE"]
        assert a.uids() == b.uids() == [1, 5, 6, 7, 9, 10]
        assert "* VANISHED 2:4,8" in c.ok("NOOP")
        c.ok("UID STORE 5,7 +FLAGS.SILENT (\\Deleted)")
        told, end = c.ask("EXPUNGE")
        assert "* VANISHED 5,7" in told
        seq = int(re.match(r"OK \[HIGHESTMODSEQ (\d+)\]", end)[1])
        assert seq == c.status("INBOX", "HIGHESTMODSEQ")
        told, end = c.ask("UID MOVE 9 Archive")
        assert "* VANISHED 9" in told and "HIGHESTMODSEQ" in end, (told, end)


@suite.test
def a_hundred_thousand_are_copied(st):
    name = st.account()
    with st.imap(name, "INBOX") as a:
        a.append("INBOX", *[mail(f"s{i}") for i in range(100)])
        while (have := a.status("INBOX")) < 100000:
            a.ok(f"COPY 1:{min(have, 100000 - have)} INBOX")
        told, end = a.ask("COPY 1:* Archive")
        assert re.match(r"OK \[COPYUID \d+ 1:100000 1:100000\]", end), end
        assert a.status("Archive") == 100000
        untagged, end = a.ask("STORE 1:* +FLAGS (\\Deleted)")
        fetches = [l for l in untagged if "FETCH" in l]
        assert len(fetches) == 100000 and fetches[-1] == "* 100000 FETCH (UID 100000 FLAGS (\\Deleted))"
        assert a.ok("NOOP") == []
        told = a.ok("EXPUNGE")
        assert told.count("* 1 EXPUNGE") == 100000
        assert a.status("INBOX") == 0 and a.status("Archive") == 100000
        a.ok("SELECT Archive")
        told, end = a.ask("MOVE 1:100000 INBOX")
        assert a.status("INBOX") == 100000 and a.status("Archive") == 0
    assert st.server.cli_json("quota", "show", name)["messages"] == 100000


@suite.test
def sets_full_of_holes(st):
    """Every second of a hundred thousand is gone: one command reaches all that are left, or none."""
    name = st.account()
    with st.imap(name, "INBOX") as a:
        for i in range(0, 100, 2):
            a.append("INBOX", mail(f"h{i}"))
            a.append("INBOX", mail(f"h{i + 1}"), more="(\\Deleted) ")
        while (have := a.status("INBOX")) < 100000:
            a.ok(f"COPY 1:{min(have, 100000 - have)} INBOX")
        a.ok("EXPUNGE")
        odd = ",".join(str(uid) for uid in range(1, 100000, 2))
        end = a.end("COPY 1:* Archive")
        assert re.match(rf"OK \[COPYUID \d+ {odd} 1:50000\]", end), end[:200]
        assert a.status("INBOX") == a.status("Archive") == 50000
        lines = [l for l in a.ok("STORE 1:* +FLAGS (\\Flagged)") if "FETCH" in l]
        assert len(lines) == 50000 and lines[-1] == "* 50000 FETCH (UID 99999 FLAGS (\\Flagged))", lines[-1]
        a.ok("UID STORE 1:100000 +FLAGS.SILENT (\\Seen)")
        assert a.ok("SEARCH RETURN (COUNT) SEEN FLAGGED")[0].endswith("COUNT 50000")
        told, end = a.ask("UID MOVE 1:100000 Trash")
        assert end.startswith("OK") and told.count("* 1 EXPUNGE") == 50000, (told[0][:200], end[:200])
        assert re.match(rf"\* OK \[COPYUID \d+ {odd} 1:50000\]", told[0]), told[0][:200]
        assert a.status("INBOX") == 0 and a.status("Trash") == 50000
    assert st.server.cli_json("quota", "show", name)["messages"] == 100000
    st.server.cli("account", "remove", name)


@suite.test
def quotas_hold(st):
    name = st.account()
    st.server.cli("account", "set", name, "--quota-messages", "3")
    with st.imap(name, "INBOX") as a:
        a.append("INBOX", mail("1"), mail("2"))
        # what the command brings counts
        assert a.end("APPEND INBOX ", mail("3"), " ", mail("4")).startswith("NO [OVERQUOTA]")
        a.append("INBOX", mail("3"))
        a.send(b"x APPEND INBOX {10}\r\n")
        assert a.answer("x")[1].startswith("NO [OVERQUOTA]")
        assert a.end("COPY 1 Archive").startswith("NO [OVERQUOTA]")
        assert "COPYUID" in a.ask("MOVE 1 Archive")[0][0]
        assert a.status("INBOX") == 2


@suite.test
def two_sessions_agree(st):
    """Random changes by two sessions, told by NOOP: both end up with what a third one reads."""
    import random
    dice = random.Random(7)
    name = st.account()
    with st.imap(name, "INBOX") as a, st.imap(name, "INBOX") as b:
        worlds = {a: {}, b: {}}  # number by number: what each was told

        def told(talk, lines):
            seen = worlds[talk].setdefault("list", [])
            for line in lines:
                if found := re.match(r"\* (\d+) EXPUNGE", line):
                    del seen[int(found[1]) - 1]
                elif found := re.match(r"\* (\d+) EXISTS", line):
                    assert int(found[1]) >= len(seen), line
                    seen += [None] * (int(found[1]) - len(seen))
                elif found := re.match(r"\* (\d+) FETCH \(UID (\d+).* FLAGS \(([^)]*)\)", line):
                    uid = (int(found[2]), frozenset(found[3].split()))
                    assert seen[int(found[1]) - 1] is None or \
                        seen[int(found[1]) - 1][0] == uid[0], (line, seen)
                    seen[int(found[1]) - 1] = uid
            return seen

        for turn in range(150):
            talk = dice.choice((a, b))
            count = len(told(talk, []))
            what = dice.randrange(7)
            seq = dice.randrange(count) + 1 if count else 0
            if what <= 1 or not count:
                lines, _ = talk.ask("APPEND INBOX ", mail(str(turn)))
            elif what == 2:
                lines, _ = talk.ask(f"STORE {seq}:* +FLAGS (\\Flagged k{dice.randrange(4)})")
            elif what == 3:
                lines, _ = talk.ask(f"STORE {seq} FLAGS.SILENT (\\Deleted)")
                lines += talk.ask(f"UID FETCH 1:* (FLAGS)")[0]
            elif what == 4 and count > 3:
                lines, _ = talk.ask("EXPUNGE")
            elif what == 5:
                lines, _ = talk.ask(f"COPY {seq} INBOX")
            else:
                lines, _ = talk.ask(f"MOVE {seq} INBOX")
            told(talk, lines)
        truth = None
        for talk in (a, b):
            told(talk, talk.ok("NOOP"))
            told(talk, talk.ok("FETCH 1:* (UID FLAGS)"))
            assert None not in told(talk, [])
            truth = truth or told(talk, [])
            assert told(talk, []) == truth
        with st.imap(name, "INBOX") as c:
            assert c.uids() == [uid for uid, _ in truth]


@suite.test
def an_account_has_only_so_many_mailboxes(st):
    with st.imap(st.account()) as a:
        for i in range(14):
            a.ok(f"CREATE n{i}")
        for command in ("CREATE more", "CREATE n0/more", "RENAME n0 two/levels"):
            assert a.end(command).startswith("NO [LIMIT]"), command
        a.ok("RENAME n0 other")
        a.ok("DELETE n1")
        a.ok("RENAME other two/levels")
        assert a.end("CREATE more").startswith("NO [LIMIT]")


# The last: it looks at what the others left.
@suite.test
def fsck_finds_everything_in_order(st):
    st.server.stop()
    report = st.server.cli_json("fsck")
    assert report["result"] == "clean", report
    st.server.start()


if __name__ == "__main__":
    suite.main()
