#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Several IMAP sessions on one mailbox: what each is told and when, and what a big message costs."""
import contextlib

from imap_wire import Imap
from support import PASSWORD, Place, Ringpost, Suite, until

USER = "user@example.test"
MAIL = b"Subject: s\r\n\r\nbody\r\n"
BIG = 200 << 20
MAY_GROW = 120 << 20  # less than the message


@contextlib.contextmanager
def stage():
    with Place() as place, \
            Ringpost(place, {"imap": {"plain_login": True, "append": 256 << 20}, "workers": 2},
                     services=("imap",), env={"ASAN_OPTIONS": "quarantine_size_mb=1"}) as server:
        server.add_accounts(USER)
        yield server


suite = Suite(stage)


@contextlib.contextmanager
def mailbox(server, name, mails=4):
    """Two sessions that have it selected, most likely on different workers."""
    with Imap(server.ports["imap"], USER, PASSWORD) as a, \
            Imap(server.ports["imap"], USER, PASSWORD) as b:
        must(a, b"CREATE " + name)
        for _ in range(mails):
            must(a, [b"APPEND " + name + b" ", MAIL, b""])
        must(a, b"SELECT " + name)
        must(b, b"SELECT " + name)
        yield a, b


def must(imap, command):
    answer = imap.ask(command)
    assert answer.ok, (command, answer)
    return answer


def numbers(answer):
    return [number for number, _ in answer.fetched()]


def expunged(answer):
    return [line[0] for line in answer.untagged if line[1:] == [b"EXPUNGE"]]


@suite.test
def numbers_stay_until_they_may_change(server):
    with mailbox(server, b"stay") as (a, b):
        must(a, rb"STORE 2 +FLAGS.SILENT (\Deleted)")
        assert expunged(must(a, b"EXPUNGE")) == [2]
        for command in (b"FETCH 3:4 UID", b"SEARCH ALL", b"FETCH 4 FLAGS", b"SORT (DATE) UTF-8 ALL"):
            assert not expunged(must(b, command)), command  # RFC 9051 7.5.1
        assert numbers(must(b, b"FETCH 4 UID")) == [4]
        assert expunged(must(b, b"NOOP")) == [2]
        assert b.ask(b"FETCH 4 UID").status == "BAD"
        assert numbers(must(b, b"FETCH 1:* UID")) == [1, 2, 3]


@suite.test
def a_command_by_uid_tells_what_is_gone(server):
    with mailbox(server, b"byuid") as (a, b):
        must(a, rb"STORE 1,4 +FLAGS.SILENT (\Deleted)")
        must(a, b"EXPUNGE")
        must(b, b"NOOP")
        must(a, rb"STORE 1 +FLAGS.SILENT (\Deleted)")
        must(a, b"EXPUNGE")
        answer = b.ask(b"COPY 1:2 INBOX")  # all or none, RFC 9051 6.4.7
        assert answer.ok or answer.code == [b"EXPUNGEISSUED"], answer
        must(b, b"NOOP")
        assert numbers(must(b, b"UID FETCH 1:* UID")) == [1]


@suite.test
def close_is_silent_about_what_others_did(server):
    with mailbox(server, b"closing") as (a, b):
        must(a, b"ENABLE QRESYNC")
        must(a, rb"STORE 1 +FLAGS.SILENT (\Deleted)")
        must(b, rb"STORE 2 +FLAGS.SILENT (\Flagged)")
        answer = must(a, b"CLOSE")
        assert not answer.untagged and not answer.code, answer
        must(a, b"SELECT closing")
        must(a, rb"STORE 1 +FLAGS.SILENT (\Deleted)")
        answer = must(a, b"CLOSE")
        assert not answer.untagged and not answer.code, answer  # RFC 7162 3.2.8


@suite.test
def what_another_made_is_listed_at_once(server):
    with mailbox(server, b"made", mails=0) as (a, b):
        for n in range(12):
            name = b"made/%d" % n
            must(a, b"CREATE " + name)
            assert must(b, b'LIST "" ' + name).named(b"LIST")[0][-1] == name
            must(a, b"DELETE " + name)
            assert not must(b, b'LIST "" ' + name).named(b"LIST")
            must(a, b"SUBSCRIBE " + name)
            assert must(b, b'LSUB "" ' + name).named(b"LSUB")[0][-1] == name


@suite.test
def expunge_tells_others_changes_before_it_says_how_far(server):
    with mailbox(server, b"howfar") as (a, b):
        must(a, b"ENABLE QRESYNC")
        must(a, rb"STORE 1 +FLAGS.SILENT (\Deleted)")
        must(b, rb"STORE 2 +FLAGS.SILENT (\Flagged)")
        answer = must(a, b"EXPUNGE")
        assert answer.code[0] == b"HIGHESTMODSEQ", answer
        changed = [items for _, items in answer.fetched() if items[b"UID"] == b"2"]
        assert changed and changed[0][b"FLAGS"] == [rb"\Flagged"], answer


@suite.test
def a_mailbox_goes_while_it_is_open(server):
    with mailbox(server, b"goes", mails=2) as (a, b):
        must(a, b"DELETE goes")
        assert expunged(must(b, b"NOOP")) == [1, 1]
        assert not b.ask(rb"UID STORE 1 +FLAGS (\Seen)").fetched()
        must(a, b"CREATE goes")
        must(a, [b"APPEND goes ", MAIL, b""])
        assert not must(b, b"NOOP").untagged  # another mailbox of that name
        assert b.ask(b"FETCH 1 UID").status == "BAD"
        must(b, b"SELECT goes")
        assert numbers(must(b, b"FETCH 1:* UID")) == [1]
        must(a, b"RENAME goes went")
        assert numbers(must(b, b"FETCH 1:* UID")) == [1]


MANY = 2500  # enough for several helper threads to go over them at once


def one_of_many(i):
    """Texts that begin alike, few senders, conversations of five; what has a digit 7 says so in its body."""
    first = i - i % 5
    refs = " ".join(f"<{n}@many>" for n in range(first, i))
    return (f"From: user{i % 40:02}@example.org\r\nSubject: {'Re: ' if i % 5 else ''}all of them say this, {first * 7919 % 5003}\r\n"
            f"Date: {1 + i % 28} Jan 2020 {i // 3600:02}:{i // 60 % 60:02}:{i % 60:02} +0000\r\nMessage-ID: <{i}@many>\r\n"
            + (f"References: {refs}\r\n" if refs else "") + f"\r\n{'quince' if '7' in str(i) else 'walnut'}\r\n").encode()


def fill(imap, name):
    must(imap, b"CREATE " + name)
    for at in range(0, MANY, 500):
        parts = [b"APPEND " + name + b" "]
        for i in range(at, at + 500):
            parts += [one_of_many(i), b" "]
        must(imap, [*parts[:-1], b""])
    must(imap, b"SELECT " + name)


def found(imap, command, word=b"SEARCH"):
    return [int(n) for n in must(imap, command).named(word)[0]]


def are_found(imap, numbers):
    """`numbers`: those of the messages that are there, in order, and their place in one_of_many."""
    def those(want):
        return [n for n, i in numbers if want(i)]

    def ordered(key):
        return [n for n, _ in sorted(numbers, key=lambda pair: key(pair[1]))]

    assert found(imap, b"SEARCH SUBJECT them") == those(lambda i: True)
    assert found(imap, b'SEARCH FROM "user07@"') == those(lambda i: i % 40 == 7)
    assert found(imap, b"SEARCH OR FROM user07 NOT SUBJECT re:") == those(lambda i: i % 40 == 7 or i % 5 == 0)
    assert found(imap, b"SEARCH BODY quince NOT FROM user07") == those(lambda i: "7" in str(i) and i % 40 != 7)
    assert found(imap, b"SORT (SUBJECT) UTF-8 ALL", b"SORT") == ordered(lambda i: str((i - i % 5) * 7919 % 5003))
    assert found(imap, b"SORT (FROM REVERSE DATE) UTF-8 ALL", b"SORT") == ordered(lambda i: (i % 40, -(i % 28), -i))
    assert found(imap, b"SORT (REVERSE SUBJECT) UTF-8 FROM user07", b"SORT") == \
        [n for n, _ in sorted([pair for pair in numbers if pair[1] % 40 == 7],
                              key=lambda pair: [-ord(c) for c in str((pair[1] - pair[1] % 5) * 7919 % 5003)] + [0])]


@suite.test
def a_large_mailbox_is_searched_in_parts(server):
    with mailbox(server, b"parts", mails=0) as (a, b):
        fill(a, b"many")
        must(b, b"SELECT many")
        are_found(a, [(i + 1, i) for i in range(MANY)])
        answer = must(a, b"SEARCH RETURN (MIN MAX COUNT) MODSEQ 1 BODY quince").named(b"ESEARCH")[0]
        want = [i + 1 for i in range(MANY) if "7" in str(i)]
        said = dict(zip(answer[1::2], answer[2::2]))
        assert [int(said[w]) for w in (b"MIN", b"MAX", b"COUNT")] == [want[0], want[-1], len(want)], answer
        threads = must(a, b"THREAD REFERENCES UTF-8 ALL").named(b"THREAD")[0]
        assert sorted(threads, key=lambda one: int(one[0])) == \
            [[b"%d" % (first + n + 1) for n in range(5)] for first in range(0, MANY, 5)]
        must(b, rb"STORE %s +FLAGS.SILENT (\Deleted)" % b",".join(b"%d" % n for n in range(7, MANY, 7)))
        must(b, b"EXPUNGE")
        must(b, b"NOOP")  # until whoever reads sees it
        left = [(n, n - 1) for n in range(1, MANY + 1) if n % 7]
        are_found(a, left)  # by the numbers it knows
        are_found(b, [(place + 1, i) for place, (_, i) in enumerate(left)])


@suite.test
def fields_too_long_to_be_kept_are_searched_whole(server):
    people = ",\r\n ".join(f"Person {n} <p{n}@example.org>" for n in range(1500))
    refs = "\r\n ".join(f"<r{n}@example.org>" for n in range(800))
    long = (f"From: a@example.org\r\nTo: {people}\r\nCc: =?utf-8?q?last=C3=A9?= <c@example.org>\r\n"
            f"Subject: {'word ' * 3000}omega\r\nReferences: {refs}\r\n\r\nbody\r\n").encode()
    with mailbox(server, b"long", mails=0) as (a, _):
        must(a, [b"APPEND long ", long, b" ", b"To: p1499@example.net\r\nSubject: o\r\n\r\nomega\r\n", b""])
        must(a, b"SELECT long")
        for key, which in ((b"TO p1499@", [1, 2]), (b"TO Person", [1]), (b"TO p1500@", []), (b"TO p1499 NOT TO p1498", [2]),
                           (b"SUBJECT omega", [1]), (b"NOT SUBJECT omega", [2]), (b"SUBJECT \"word omega\"", [1]),
                           (b"HEADER References <r799@", [1]), (b"HEADER References <r800@", []),
                           (b"CC \"\"", [1]), (b"BCC \"\"", []), (b"FROM p1499@", [])):
            assert found(a, b"SEARCH " + key) == which, key
        assert found(a, [b"SEARCH CHARSET UTF-8 CC ", b"LAST\xc3\x89 <c@", b""]) == [1]


def memory(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["RssAnon"].split()[0]) << 10


@suite.test
def a_big_message_passes_through_little_memory(server):
    with mailbox(server, b"big", mails=1) as (a, slow):
        before = memory(server)
        a.socket.sendall(b"big APPEND big {%d+}\r\n" % BIG)
        block = (b"x" * 78 + b"\r\n") * 1024
        for at in range(0, BIG, len(block)):
            a.socket.sendall(block[:BIG - at])
        a.socket.sendall(b"\r\n")
        assert a.end(b"big").ok
        must(slow, b"NOOP")
        slow.socket.sendall(b"slow FETCH 2 BODY.PEEK[]\r\n")  # and reads nothing
        assert must(a, b"FETCH 2 RFC822.SIZE").fetched()[0][1][b"RFC822.SIZE"] == b"%d" % BIG
        for _ in range(20):  # nobody waits for it
            must(a, rb"STORE 2 +FLAGS (\Flagged)")
            must(a, rb"STORE 2 -FLAGS (\Flagged)")
        assert memory(server) - before < MAY_GROW
        left = BIG
        while left > 0:
            got = len(slow.socket.recv(1 << 20))
            assert got, left
            left -= got
        assert memory(server) - before < MAY_GROW


def numbered(n):
    """Short ones, which are read many at a time, and some longer than a piece of an answer."""
    return b"Subject: no. %d\r\n\r\n" % n + b"%06d %s\r\n" % (n, b"x" * 60) * (2, 40, 300, 4000)[n % 4]


@suite.test
def bodies_in_the_archive_are_read_among_others(_server):
    """The oldest have left the journal, the youngest are in it."""
    count = 160
    store = {"segment": "1M", "journal_max": "8M", "cache": "4M", "reserve": "1M", "map": "4M"}
    with Place() as place, Ringpost(place, {"imap": {"plain_login": True}, "store": store}, services=("imap",)) as server:
        server.add_accounts(USER)
        with mailbox(server, b"old", mails=0) as (a, b):
            for n in range(count):
                must(a, [b"APPEND old ", numbered(n), b""])
            until(lambda: server.cli_json("stats")["store"]["archive_bytes"] > 0, "bodies in the archive")
            must(b, b"NOOP")
            for session, command, what in ((a, b"BODY.PEEK[]", lambda mail: mail),
                                           (b, b"BODY.PEEK[TEXT]", lambda mail: mail.partition(b"\r\n\r\n")[2]),
                                           (b, b"BODY.PEEK[]<100.30000>", lambda mail: mail[100:30100])):
                got = must(session, b"FETCH 1:* " + command).fetched()
                assert [number for number, _ in got] == list(range(1, count + 1))
                for number, items in got:
                    assert list(items.values())[0] == what(numbered(number - 1)), (command, number)


if __name__ == "__main__":
    suite.main()
