#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input over raw sockets: each has its code, ends nothing too early, and loses nothing."""
import contextlib
import socket
import time

from hop import Hop
from support import PASSWORD, USER, Place, Suite, submission, until
from talk import Talk

HEAD = b"From: a@example.test\r\nSubject: bad\r\n\r\n"


class Stage:
    def __init__(self, place, hop, server):
        self.place, self.hop, self.server = place, hop, server
        self.port, self.ports = server.ports["smtp"], server.ports

    @contextlib.contextmanager
    def talk(self, ready=True):
        """On 25; `ready`: EHLO was said. What was sent in it must not have broken the server."""
        with Talk(self.port) as talk:
            if ready:
                talk.ehlo()
            yield talk
        self.server.process.check_alive()

    def delivered(self):
        """What reached the next hop, when nothing is on its way any more."""
        until(lambda: self.server.cli_json("queue", "count")["recipients"] == 0, "an empty queue")
        return list(self.hop.messages)


@contextlib.contextmanager
def stage(relay_from="127.0.0.0/8", **smtp):
    rows = {"smtp": {"relay_from": [relay_from]}}
    config = {"smtp": {"size": "1M", "errors": 10, "commands": 30, "recipients": 100, **smtp}}
    with Place() as place, Hop() as hop:
        with submission(place, config, rows=rows, route_to=hop.port) as server:
            yield Stage(place, hop, server)


suite = Suite(stage)

# Whatever stands here in place of a line end must not end a message (RFC 5321 2.3.8).
FALSE_ENDS = [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\r\n.\r\r\n",
              b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\n\r.\n\r", b"\n.\r", b"\r.\n",
              b"\r\n.\n\r\n"]
INNER = b"MAIL FROM:<evil@example.test>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nFrom: evil\r\n\r\nx"


@suite.test
def smuggling_is_refused_behind_the_true_end(stage):
    before = len(stage.delivered())
    for end in FALSE_ENDS:
        with stage.talk() as talk:
            talk.envelope("a@example.test", "b@example.org")
            talk.expect(354, "DATA")
            talk.send(HEAD + b"first" + end + INNER + b"\r\n.\r\n")
            code, text = talk.reply()
            assert code == 550 and text.startswith(("5.5.2", "5.6.0")), (end, code, text)
            talk.expect(250, "NOOP")  # one reply to one message, and the session goes on
            talk.expect(221, "QUIT")
            assert talk.closed() == b""
    assert len(stage.delivered()) == before


@suite.test
def smuggling_split_at_every_byte(stage):
    before = len(stage.delivered())
    for end in FALSE_ENDS[:5]:
        with stage.talk() as talk:
            talk.envelope("a@example.test", "b@example.org")
            talk.expect(354, "DATA")
            talk.send(HEAD + b"first")
            for at in range(len(end)):
                talk.send(end[at:at + 1])
                time.sleep(0.002)
            talk.send(INNER + b"\r\n")
            talk.send(b".")
            talk.send(b"\r\n")
            assert talk.reply()[0] == 550
            talk.expect(250, "NOOP")
    assert len(stage.delivered()) == before


@suite.test
def bare_newlines_are_put_right_when_told():
    with stage(bare_newline="fix") as other:
        for end in FALSE_ENDS:
            if b"\0" in end:
                continue
            with other.talk() as talk:
                talk.envelope("a@example.test", "b@example.org")
                assert talk.data(HEAD + b"first" + end + b"second\r\n")[0] == 250, end
        got = other.delivered()
        assert len(got) == len([end for end in FALSE_ENDS if b"\0" not in end])
        for mail in got:
            bare = mail.data.replace(b"\r\n", b"")
            assert b"\r" not in bare and b"\n" not in bare, mail.data
            assert b"first" in mail.data and mail.data.endswith(b"second\r\n")


@suite.test
def nul_in_a_message(stage):
    before = len(stage.delivered())
    for content in (HEAD + b"a\0b\r\n", b"Sub\0ject: x\r\n\r\nx\r\n", b"\0" * 5000 + b"\r\n"):
        with stage.talk() as talk:
            talk.envelope("a@example.test", "b@example.org")
            code, text = talk.data(content)
            assert code == 550 and text.startswith(("5.6.0", "5.6.9")), (code, text)
            talk.expect(250, "NOOP")
    assert len(stage.delivered()) == before


@suite.test
def odd_command_lines(stage):
    with stage.talk() as talk:
        for line, codes in ((b"NO\0OP", {500, 501}), (b"MAIL FROM:<a\0@b.test>", {500, 501}), (b"\xff\xfe", {500}),
                            (b"MAIL FROM:<\xc3\xa9@b.test>", {553, 501}), (b"MAIL FROM:<\xff@b.test> SMTPUTF8",
                                                                         {501, 553})):
            code, text = talk.ask(line)
            assert code in codes, (line, code, text)
        talk.expect(250, "NOOP")
    for end in (b"\n", b"\r"):
        with stage.talk() as talk:
            talk.send(b"NOOP" + end + b"MAIL FROM:<a@b.test>\r\n")
            code, text = talk.reply()
            assert code == 500 and text.startswith("5.5.2"), (end, code, text)
            talk.expect(250, "NOOP")


@suite.test
def over_long_lines(stage):
    with stage.talk() as talk:
        code, text = talk.ask(b"NOOP " + b"x" * 100000)
        assert code == 500 and text.startswith("5.5.6"), (code, text)
        talk.expect(250, "NOOP")
        talk.expect(501, b"MAIL FROM:<" + b"l" * 300 + b"@example.test>")
        talk.expect(501, b"MAIL FROM:<a@" + b"d." * 127 + b"test>")
    with stage.talk() as talk:
        talk.send(b"x" * (1 << 20))  # no line end ever: bounded memory, one refusal
        talk.send(b"\r\n")
        assert talk.reply()[0] == 500
        talk.expect(250, "NOOP")


@suite.test
def utf8_needs_the_extension(stage):
    with stage.talk() as talk:
        talk.expect("553 5.6.7", "MAIL FROM:<jörg@example.test>")
        talk.expect(250, "MAIL FROM:<a@example.test>")
        talk.expect("553 5.6.7", "RCPT TO:<jörg@example.org>")
        talk.expect(250, "RSET")
        talk.expect(250, "MAIL FROM:<jörg@example.test> SMTPUTF8")
        talk.expect(250, "RCPT TO:<jörg@example.org>")
        talk.expect(250, "RSET")
        talk.envelope("a@example.test", "b@example.org")
        code, text = talk.data(b"From: a@example.test\r\nSubject: \xff\xfe\r\n\r\nx\r\n")
        assert code == 550 and text.startswith("5.6.9"), (code, text)


@suite.test
def commands_behind_starttls(stage):
    with Talk(stage.ports["submission"]) as talk:
        talk.ehlo()
        talk.send(b"STARTTLS\r\nEHLO evil.test\r\n")
        code, text = talk.reply()
        assert code in (503, 554) and text.startswith("5.5"), (code, text)
        with contextlib.suppress(EOFError):
            while True:
                code, text = talk.reply()
                assert code in (250, 421), (code, text)
                if code == 250 and "mx.example.test" in text:
                    break  # not TLS, so the second command was an ordinary one
    with Talk(stage.ports["submission"]) as talk:  # arrives a moment later, still before the handshake
        talk.ehlo()
        talk.expect(220, "STARTTLS")
        talk.send(b"MAIL FROM:<evil@example.test>\r\n")
        assert b"250" not in talk.closed()
    stage.server.process.check_alive()


@suite.test
def state_is_forgotten_at_starttls(stage):
    with Talk(stage.ports["submission"]) as talk:
        talk.ehlo()
        talk.starttls()
        talk.expect(503, "AUTH PLAIN AGEAYg==")
        talk.expect(503, f"MAIL FROM:<{USER}>")
        talk.ehlo()
        talk.expect(503, "STARTTLS")
        talk.expect("530 5.7.0", f"MAIL FROM:<{USER}>")
        talk.login(USER, PASSWORD)
        talk.expect(503, "AUTH PLAIN AGEAYg==")
        talk.envelope(USER, "b@example.org")


@suite.test
def bdat_beyond_size(stage):
    before = len(stage.delivered())
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        talk.send(b"BDAT %d\r\n" % (2 << 20) + b"x" * (2 << 20))
        talk.expect("552 5.3.4")
        assert talk.ask("BDAT 0 LAST")[0] == 503
        talk.expect(250, "NOOP")
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        part = (b"y" * 68 + b"\r\n") * 1000
        codes = []
        for _ in range(20):
            talk.send(b"BDAT %d\r\n" % len(part) + part)
            codes.append(talk.reply()[0])
        assert codes[:14] == [250] * 14 and codes[14] == 552 and set(codes[15:]) <= {503}, codes
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        for line in ("BDAT", "BDAT x", "BDAT -1", "BDAT 99999999999999999999999", "BDAT 3 FIRST"):
            code, _ = talk.ask(line)
            assert code in (501, 552), (line, code)
    assert len(stage.delivered()) == before


@suite.test
def bdat_without_recipients_swallows_its_bytes(stage):
    before = len(stage.delivered())
    with stage.talk() as talk:
        inner = b"MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.org>\r\n"
        talk.send(b"BDAT %d LAST\r\n" % len(inner) + inner)
        talk.expect(503)
        talk.expect(250, "MAIL FROM:<a@example.test>")
        talk.send(b"BDAT %d LAST\r\n" % len(inner) + inner)
        talk.expect(503)
        talk.expect(250, "NOOP")
    assert len(stage.delivered()) == before


@suite.test
def pipelining_before_ehlo(stage):
    with Talk(stage.port) as talk:
        talk.send(b"MAIL FROM:<a@example.test>\r\nRCPT TO:<b@example.org>\r\nNOOP\r\n")
        assert [talk.reply()[0] for _ in range(3)] == [503, 503, 250]
    with Talk(stage.port) as talk:
        talk.send(b"EHLO x.test\r\nMAIL FROM:<a@example.test>\r\n")
        assert talk.reply()[0] == 503  # EHLO must be the last of its group
        assert talk.reply()[0] == 503


@suite.test
def who_talks_before_the_greeting_is_refused():
    with stage(relay_from="192.0.2.0/24", greet_delay="3s") as other:
        with Talk(other.port, greet=False) as talk:
            talk.send(b"EHLO x.test\r\n")
            talk.expect("554 5.5.0")
            assert talk.closed() == b""


@suite.test
def data_without_recipients(stage):
    with stage.talk() as talk:
        talk.expect(503, "DATA")
        talk.expect(250, "MAIL FROM:<a@example.test>")
        talk.expect(503, "DATA")
        talk.expect(503, "MAIL FROM:<a@example.test>")
        talk.expect(501, "RCPT TO:<not an address>")
        code, _ = talk.ask("DATA")
        assert code in (503, 554)
        talk.expect(250, "RCPT TO:<b@example.org>")
        talk.expect(354, "DATA")
        talk.send(HEAD + b"x\r\n.\r\n")
        talk.expect(250)


@suite.test
def half_a_message_is_no_message(stage):
    before = len(stage.delivered())
    for half in (b"", HEAD, HEAD + b"half", HEAD + b"half\r\n", HEAD + b"half\r\n.", HEAD + b"half\r\n.\r",
                 HEAD + b"z" * 700000):
        with stage.talk() as talk:
            talk.envelope("a@example.test", "b@example.org")
            talk.expect(354, "DATA")
            talk.send(half)
            if len(half) % 2:
                talk.socket.shutdown(socket.SHUT_WR)
                talk.closed()
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        talk.send(b"BDAT 100 LAST\r\n" + b"x" * 99)
    assert len(stage.delivered()) == before


@suite.test
def slow_clients_are_dropped():
    with stage(idle="1s", data="1s", message_time="10s") as other:
        with Talk(other.port) as talk:
            said = talk.closed()
            assert said.startswith(b"421 4.4.2"), said
        with Talk(other.port) as talk:
            talk.ehlo()
            talk.envelope("a@example.test", "b@example.org")
            talk.expect(354, "DATA")
            talk.send(b"Subject: x\r\n")
            assert talk.closed().startswith(b"421 4.4.2")
        with Talk(other.port) as talk:  # a byte at a time is no command
            with contextlib.suppress(OSError):
                for _ in range(60):
                    talk.send(b"N")
                    time.sleep(0.1)
            said = talk.closed()
            assert said.startswith(b"421 4.4.2") or said == b"", said
        assert other.delivered() == []


@suite.test
def too_many_errors(stage):
    with stage.talk() as talk:
        codes = []
        with contextlib.suppress(EOFError):
            while len(codes) < 50:
                codes.append(talk.ask("NONSENSE")[0])
                if codes[-1] == 500 and len(codes) == 10:
                    codes.append(talk.reply()[0])
        assert codes == [500] * 10 + [421], codes
    with stage.talk() as talk:
        codes = []
        with contextlib.suppress(EOFError):
            while len(codes) < 100:
                codes.append(talk.ask("RSET")[0])
        assert codes[-1] == 421 and len(codes) < 35 and set(codes[:-1]) == {250}, codes


@suite.test
def too_many_recipients(stage):
    with stage.talk() as talk:
        talk.expect(250, "MAIL FROM:<a@example.test>")
        codes = [talk.ask(f"RCPT TO:<r{n}@example.org>")[0] for n in range(103)]
        assert codes == [250] * 100 + [452] * 3, codes
        talk.expect(354, "DATA")
        talk.send(HEAD + b"many\r\n.\r\n")
        talk.expect(250)
    until(lambda: sum(len(m.rcpts) for m in stage.hop.messages if b"\r\n\r\nmany\r\n" in m.data) == 100,
          "all hundred recipients")


@suite.test
def a_loop_is_ended(stage):
    hops = b"Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        code, text = talk.data(hops * 100 + HEAD + b"loop\r\n")
        assert code == 554 and text.startswith("5.4.6"), (code, text)
        talk.envelope("a@example.test", "b@example.org")
        assert talk.data(hops * 99 + HEAD + b"no loop\r\n")[0] == 250


@suite.test
def long_body_lines(stage):
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        code, text = talk.data(HEAD + b"x" * 999 + b"\r\n")
        assert code == 550 and text.startswith("5.6.0"), (code, text)
        talk.envelope("a@example.test", "b@example.org")
        assert talk.data(HEAD + b"x" * 998 + b"\r\n")[0] == 250
        talk.envelope("a@example.test", "b@example.org")
        assert talk.data(b"Subject: " + b"s" * 2000 + b"\r\n\r\nx\r\n")[0] == 550


@suite.test
def long_body_lines_are_wrapped_when_told():
    with stage(long_lines="wrap") as other:
        text = b"word " * 1000
        with other.talk() as talk:
            talk.envelope("a@example.test", "b@example.org")
            assert talk.data(HEAD + text + b"\r\n")[0] == 250
        body = other.delivered()[0].data.split(b"\r\n\r\n", 1)[1]
        assert max(map(len, body.split(b"\r\n"))) <= 998
        assert body.replace(b"\r\n", b"").replace(b" ", b"") == text.replace(b" ", b"")


@suite.test
def an_endless_header_is_bounded(stage):
    with stage.talk() as talk:
        talk.envelope("a@example.test", "b@example.org")
        code, text = talk.data(b"".join(b"X-%d: %s\r\n" % (n, b"v" * 900) for n in range(400)) + b"\r\nx\r\n")
        assert code == 552 and text.startswith("5.3.4"), (code, text)
        talk.expect(250, "NOOP")


@suite.test
def addresses_that_are_none(stage):
    with stage.talk() as talk:
        for line in ("MAIL FROM:", "MAIL FROM:<a@b", "MAIL FROM:<a@@b>", "MAIL FROM:<a@b..c>"):
            assert talk.ask(line)[0] == 501, line
        talk.expect(250, "MAIL FROM:<>")
    with stage.talk() as talk:
        talk.expect(250, "MAIL FROM:<a@example.test>")
        for line in ("RCPT TO:<>", "RCPT TO:<a>", "RCPT TO:<@b>", "RCPT TO:<a@-b.c>"):
            assert talk.ask(line)[0] == 501, line
        for line in ("RCPT TO:<Postmaster>", 'RCPT TO:<"odd \\" one"@example.org>',
                     "RCPT TO:<@hop.test:a@example.org>", "RCPT TO:<a@[127.0.0.1]>"):
            code, text = talk.ask(line)
            assert code in (250, 550), (line, code, text)


@suite.test
def a_refused_chunk_may_come_in_pieces(stage):
    """As it does behind a pipelined RCPT that was refused: nobody is cut off for a slow line."""
    with stage.talk() as talk:
        talk.expect(250, "MAIL FROM:<a@example.test>")
        talk.send(b"RCPT TO:<nonsense>\r\nBDAT 3000 LAST\r\n")
        assert talk.reply()[0] // 100 == 5
        for _ in range(3):
            time.sleep(0.1)
            talk.send(b"x" * 1000)
        assert talk.reply()[0] // 100 == 5
        talk.expect(250, "NOOP")


@suite.test
def refused_chunks_do_not_last_for_ever():
    with stage(message_time="10s", data="5s") as other, Talk(other.port) as talk:
        talk.ehlo()
        talk.send(b"BDAT 100000 LAST\r\n")
        with contextlib.suppress(OSError):
            for _ in range(60):
                talk.send(b"x")
                time.sleep(0.5)
        said = talk.closed()
        assert said.startswith(b"421 4.4.2") or said == b"", said


@suite.test
def a_handshake_that_drips_is_given_up():
    """A record whose bytes come one by one, all of them in time for a wait, none for the whole."""
    record = bytes.fromhex("16030100c8010000c40303") + bytes(200)
    with stage(start="1s") as other:
        with socket.create_connection(("127.0.0.1", other.ports["submissions"]), 20) as drip:
            with contextlib.suppress(ConnectionError):
                for at in range(30):
                    drip.send(record[at:at + 1])
                    time.sleep(0.1)
            with contextlib.suppress(ConnectionError):
                while drip.recv(100):  # TimeoutError: it still waits
                    pass


suite.main()
