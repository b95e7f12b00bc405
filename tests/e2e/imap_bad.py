#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input to IMAP over raw sockets: each is answered, ends nothing too early, and costs little."""
import contextlib
import random
import re
import socket
import zlib

from imap_wire import Imap
from support import PASSWORD, USER, Place, Ringpost, Suite
from talk import insecure_context

CONFIG = {"imap": {"plain_login": True, "append": "1M", "sessions": 0}, "limits": {"client_connections": 0},
          "auth": {"fail_delay": "10ms", "fail_delay_max": "20ms"}, "workers": 1}
RSS_GROWS_KB = 200 << 10  # under ASan, which keeps what was freed


class Stage:
    def __init__(self, server):
        self.server, self.port = server, server.ports["imap"]

    @contextlib.contextmanager
    def imap(self, login=True, select=False):
        """What is done in it must break neither the server nor others."""
        with Imap(self.port, *((USER, PASSWORD) if login else ())) as imap:
            if select:
                imap.good(b"SELECT INBOX")
            yield imap
        self.server.process.check_alive()
        with Imap(self.port, USER, PASSWORD) as other:
            other.good(b"NOOP")

    def rss_kb(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])


@contextlib.contextmanager
def stage():
    with Place() as place, Ringpost(place, CONFIG, services=("imap",)) as server:
        server.add_accounts(USER)
        with Imap(server.ports["imap"], USER, PASSWORD) as imap:
            for number in range(5):
                imap.good([b"APPEND INBOX ", b"Subject: %d\r\n\r\nbody\r\n" % number])
        yield Stage(server)


suite = Suite(stage)

COMMANDS = [b"NOOP", b"SELECT INBOX", b"FETCH 1:* (FLAGS BODY.PEEK[])", b"STORE 1 +FLAGS (x)", b"LIST \"\" *",
            b"APPEND INBOX {20}\r\nSubject: x\r\n\r\nbody\r\n", b"SEARCH OR TEXT {3}\r\nabc SUBJECT x", b"IDLE\r\nDONE",
            b"UID SEARCH RETURN (ALL) 1:*", b"COMPRESS DEFLATE", b"LOGOUT", b"STATUS INBOX (MESSAGES)"]


@suite.test
def cut_off_anywhere(st):
    """Half commands and half literals, then the end: nobody else notices, and nothing half is kept."""
    for command in COMMANDS:
        whole = b"x " + command + b"\r\n"
        for cut in {1, 2, 5, len(whole) // 2, len(whole) - 2, len(whole) - 1, len(whole)}:
            with Imap(st.port, USER, PASSWORD) as imap:
                imap.good(b"SELECT INBOX")
                imap.send(whole[:cut])
    with st.imap() as imap:
        imap.send(b"x APPEND INBOX {1000000+}\r\n" + b"y" * 500000)
    with st.imap(select=True) as imap:
        assert not imap.ask(b"SEARCH LARGER 1000").named(b"SEARCH")[0]


@suite.test
def literals_too_large(st):
    before = st.rss_kb()
    with st.imap() as imap:
        for size in (b"99999999999999999999", b"4294967296", b"2000000000", b"100000"):
            imap.send(b"x SEARCH SUBJECT {" + size + b"}\r\n")
            assert re.match(rb"(x|\*) (BAD|NO) ", imap.response())
            imap.send(b"x APPEND INBOX {" + size + b"00}\r\n")
            assert re.match(rb"x (BAD|NO) ", imap.response())
            imap.good(b"NOOP")
    with st.imap() as imap:  # what comes anyway is passed over, or the connection ends
        imap.send(b"x APPEND INBOX {3000000+}\r\n" + b"z" * 3000000 + b"\r\n")
        assert re.match(rb"(x NO|x BAD|\* BYE) ", imap.response())
    with st.imap() as imap:
        with contextlib.suppress(OSError):
            imap.send(b"x SEARCH SUBJECT {99999999999999+}\r\n" + b"z" * 3000000 + b"\r\n")
        assert re.match(rb"(x BAD|\* BYE|x NO|\* BAD) ", imap.response())
    assert st.rss_kb() - before < RSS_GROWS_KB


@suite.test
def ten_in_a_row_are_enough(st):
    with st.imap() as imap:
        for _ in range(5):
            for number in range(9):
                assert imap.ask(b"NONSENSE").status == "BAD"
            imap.good(b"NOOP")
        tag = b""
        for number in range(10):
            tag = imap.begin(b"NONSENSE")
        said = imap.closed()
        assert said.count(b" BAD ") == 10 and b"* BYE" in said and tag in said, said[-300:]


@suite.test
def a_thousand_at_once(st):
    with st.imap(select=True) as imap:
        dice, tags, blob = random.Random(1), [], b""
        for number in range(1000):
            command = dice.choice([b"NOOP", b"FETCH 1 FLAGS", b"UID FETCH 2 BODY.PEEK[]", b"SEARCH ALL", b"STORE 1 +FLAGS (p)",
                                   b'STATUS "Sent" (MESSAGES)', b"CAPABILITY", b"SEARCH SUBJECT {1+}\r\nx"])
            tags.append(b"p%d" % number)
            blob += tags[-1] + b" " + command + b"\r\n"
        imap.send(blob)
        for tag in tags:
            assert imap.end(tag).ok, tag


@suite.test
def a_bomb_in_compression(st):
    before = st.rss_kb()
    for content in (b"a" * (1 << 20), b"a NOOP " * (1 << 17), b"\0" * (1 << 20)):
        with st.imap() as imap:
            imap.compress()
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
            with contextlib.suppress(OSError):
                for _ in range(50):  # 50 MB each
                    imap.socket.sendall(deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH))
    with st.imap() as imap:  # not deflate at all
        imap.compress()
        imap.socket.sendall(b"\xff" * 1000)
        with contextlib.suppress(zlib.error):
            imap.closed()
    assert st.rss_kb() - before < RSS_GROWS_KB, (before, st.rss_kb())


@suite.test
def what_stands_behind_starttls_is_not_run(st):
    for split in (False, True):
        with st.imap(login=False) as imap:
            if split:
                imap.send(b"x STARTTLS\r\n")
                assert imap.response().startswith(b"x OK")
                imap.send(b"y NOOP\r\n")
                assert b"y OK" not in imap.closed()
                continue
            imap.send(b"x STARTTLS\r\ny NOOP\r\n")
            assert imap.response().startswith(b"x ")
            with contextlib.suppress(OSError):
                with insecure_context().wrap_socket(imap.socket, server_hostname="localhost") as tls:
                    tls.sendall(b"z NOOP\r\n")
                    said = tls.recv(1000)
                    assert b"y OK" not in said and (b"z OK" in said or not said), said
        with st.imap(login=False) as imap:
            assert imap.ask([b"LOGIN ", USER.encode(), b" ", b"wrong"]).status == "NO"


GARBAGE = [b"\0", b"x \0", b"x NO\0OP", b"\xff\xfe\xfd", b"x \xff\xff", b"x LIST \"\" \"\xff\xfe\"", b"x NOOP\0", b"(", b")", b"x (",
           b"\"", b"x \"abc", b"{5}", b"x {", b"x {}", b"x {-1}", b"x {5", b"x {a}", b"x {5+", b"~{5}", b"x SELECT {3}x", b" ", b"",
           b"  NOOP", b"x", b"x ", b"x  NOOP", b"+ NOOP", b"* NOOP", b"x UID", b"x UID NOOP", b"x UID UID FETCH 1 FLAGS",
           b"x FETCH", b"x FETCH 1", b"x FETCH 0 FLAGS", b"x FETCH 1 ()", b"x FETCH 4294967296 FLAGS", b"x FETCH 1 BODY[",
           b"x FETCH 1 BODY[]<", b"x FETCH 1 BODY[]<1.0>", b"x FETCH 1 BODY[0]", b"x FETCH 1 BODY[1.]", b"x FETCH 1 BODY[MIME]",
           b"x FETCH 1 BODY[99999999999]", b"x FETCH 1:2:3 FLAGS", b"x FETCH 1, FLAGS", b"x FETCH : FLAGS",
           b"x SEARCH", b"x SEARCH NOT", b"x SEARCH OR ALL", b"x SEARCH ON 32-Jan-2020", b"x SEARCH LARGER -1",
           b"x SEARCH CHARSET", b"x SEARCH RETURN", b"x SEARCH HEADER", b"x STORE 1 FLAGS (\\\\x", b"x STORE 1 FLAGS (\\Recent)",
           b"x APPEND INBOX", b"x APPEND INBOX (", b"x APPEND INBOX \"32-Jan-2020 00:00:00 +0000\" {1}", b"x CREATE \"\"",
           b"x CREATE &&", b"x CREATE \"&*-\"", b"x RENAME INBOX", b"x STATUS INBOX", b"x STATUS INBOX ()", b"x ENABLE", b"x ID (a)",
           b"x SORT", b"x SORT () UTF-8 ALL", b"x THREAD NOTHING UTF-8 ALL", b"x COPY 1", b"x LSUB", b"x LIST", b"x SETQUOTA \"\" (",
           b"x SELECT INBOX (QRESYNC)", b"x SELECT INBOX (QRESYNC (0 0))", b"x SELECT INBOX (QRESYNC (1 1 1:* (1 2)))"]


LENIENT = [b"x  NOOP"]  # what may pass though no grammar has it


@suite.test
def garbage_is_bad_and_nothing_else(st):
    for line in GARBAGE:
        with Imap(st.port, USER, PASSWORD) as imap:
            imap.good(b"SELECT INBOX")
            imap.send(line + b"\r\n")
            said = b""
            imap.send(b"last NOOP\r\n" * 3)  # the first may be taken for the rest of a literal
            while not re.search(rb"^(last (OK|BAD)|\* BYE)", said, re.M):
                said += imap.response() + b"\n"
            assert re.search(rb"^(x|\*|\+|\S+) (BAD|NO) ", said, re.M) or b"+ " in said or b"BYE" in said or \
                line in LENIENT, (line, said)
    st.server.process.check_alive()


@suite.test
def long_and_deep(st):
    before = st.rss_kb()
    lines = [b"t" * 10000 + b" NOOP", b"x " + b"N" * 100000, b"x SEARCH " + b"(" * 30000, b"x SEARCH " + b"NOT " * 15000 + b"ALL",
             b"x SEARCH " + b"OR ALL " * 9000 + b"ALL ALL", b"x FETCH 1 (" * 5000, b"x LIST (" + b"(" * 30000,
             b"x FETCH 1 (" + b"FLAGS " * 10000 + b")", b"x FETCH 1 BODY[" + b"1." * 20000 + b"1]", b"x UID FETCH " +
             b",".join(b"%d" % n for n in range(1, 60000, 7)) + b" FLAGS", b"x ID (" + b"\"a\" \"b\" " * 5000 + b")",
             b"x STORE 1 FLAGS (" + b" ".join(b"f%d" % n for n in range(5000)) + b")", b"x ENABLE " + b"X " * 20000,
             b"x LIST \"\" (" + b"\"*\" " * 10000 + b")", b"x LIST \"\" \"" + b"*%" * 20000 + b"\"",
             b"x SEARCH TEXT " + b"a" * 50000, b"x CREATE " + b"a/" * 20000 + b"b", b"x CREATE " + b"a" * 50000]
    for line in lines:
        with st.imap(select=True) as imap:
            with contextlib.suppress(OSError):
                imap.send(line + b"\r\nlast NOOP\r\n")
            said = b""
            while not re.search(rb"^(last OK|\* BYE)", said, re.M):
                said += imap.response()[:1000] + b"\n"
    with st.imap(login=False) as imap:  # no line end ever
        with contextlib.suppress(OSError):
            for _ in range(50):
                imap.send(b"x" * (1 << 20))
    assert st.rss_kb() - before < RSS_GROWS_KB, (before, st.rss_kb())


@suite.test
def idle_and_then_garbage(st):
    for line in (b"NOOP", b"done", b"DONE ", b"\0", b"\xff" * 100, b"x IDLE", b"y" * 100000, b"", b"DONEDONE", b"{5}"):
        with st.imap(select=True) as imap:
            imap.send(b"x IDLE\r\n")
            while not imap.response().startswith(b"+"):
                pass
            with contextlib.suppress(OSError):
                imap.send(line + b"\r\nlast NOOP\r\n")
            said = b""
            with contextlib.suppress(EOFError):
                while not re.search(rb"^(last OK|\* BYE)", said, re.M):
                    said += imap.response()[:300] + b"\n"
            assert b"x OK" in said or b"x BAD" in said or b"BYE" in said, (line, said)


@suite.test
def slow_readers_cost_themselves(st):
    """Who asks and does not read stops being read; others go on."""
    before = st.rss_kb()
    with Imap(st.port, USER, PASSWORD) as imap:
        imap.good([b"APPEND Archive ", b"Subject: large\r\n\r\n" + b"x" * 70 * 10000 + b"\r\n"])
    sockets = []
    for _ in range(10):
        imap = Imap(st.port, USER, PASSWORD)
        imap.good(b"SELECT Archive")
        imap.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        imap.socket.settimeout(1)
        with contextlib.suppress(OSError):
            imap.send(b"x FETCH 1 BODY.PEEK[]\r\n" * 2000)
        sockets.append(imap)
    with st.imap(select=True) as imap:
        for _ in range(20):
            imap.good(b"FETCH 1:* (FLAGS BODY.PEEK[])")
    assert st.rss_kb() - before < RSS_GROWS_KB, (before, st.rss_kb())
    for imap in sockets:
        imap.close()


if __name__ == "__main__":
    suite.main()
