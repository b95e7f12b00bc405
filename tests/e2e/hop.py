# SPDX-License-Identifier: GPL-2.0-or-later
"""The next hop: a server whose every reply a test can choose, and which remembers what was said.

    def says(hop, session, verb, line):
        return "450 4.2.1 later" if verb == "RCPT" and "slow@" in line else None

    with Hop(says, extensions=["8BITMIME"]) as hop:
        ... relay to 127.0.0.1 port hop.port ...
        hop.wait(1)[0].data

Small on purpose, a thread a connection: what arrives is checked, not how fast.
"""
import base64
import re
import socket
import ssl
import threading
import time

from support import until

ALL = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES",
       "CHUNKING", "BINARYMIME")
DROP = "drop"  # as a reply: close the connection without a word


class Mail:
    """One message as it came: MAIL's and RCPT's whole lines, content with CRLF, and where from."""

    def __init__(self, session):
        self.session = session
        self.mail = session.mail
        self.rcpts = list(session.rcpts)
        self.data = b""
        self.at = None  # when the last reply to it left

    @property
    def sender(self):
        return address_of(self.mail)

    @property
    def recipients(self):
        return [address_of(line) for line in self.rcpts]

    @property
    def params(self):
        return self.mail.split(">", 1)[1].split()


def address_of(line):
    return re.search(r"<([^>]*)>", line).group(1)


class Session:
    def __init__(self, hop, sock, number):
        self.hop, self.socket, self.number = hop, sock, number
        self.lines, self.tls, self.login = [], False, None
        self.client, self.resumed = None, None  # the client's address; of TLS: was it resumed?
        self.groups = []  # how many whole commands each read brought: pipelining seen from here
        self.reset()
        self.rest = b""

    def reset(self):
        self.mail, self.rcpts, self.chunks = None, [], None

    def read(self):
        got = self.socket.recv(65536)
        if not got:
            raise EOFError
        self.rest += got

    def line(self):
        if b"\n" not in self.rest:
            while b"\n" not in self.rest:
                self.read()
            self.groups.append(self.rest.count(b"\n"))
        line, self.rest = self.rest.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def exactly(self, count):
        while len(self.rest) < count:
            self.read()
        part, self.rest = self.rest[:count], self.rest[count:]
        return part

    def until_dot(self):
        whole = bytearray(b"\r\n" + self.rest)
        seen = 0
        while (at := whole.find(b"\r\n.\r\n", seen)) < 0:
            seen = max(0, len(whole) - 4)
            self.rest = b""
            self.read()
            whole += self.rest
        self.rest = bytes(whole[at + 5:])
        return bytes(whole[:at + 2]).replace(b"\r\n.", b"\r\n")[2:]

    def say(self, text):
        self.socket.sendall(text.encode() + b"\r\n")

    def answer(self, verb, line, normal):
        """Say what the test wants, else the normal reply; the reply said."""
        told = self.hop.says(self.hop, self, verb, line) if self.hop.says else None
        reply = normal if told is None else told
        if reply == DROP:
            raise EOFError
        if reply:
            self.say(reply)
        if reply and reply.startswith("421"):
            raise EOFError
        return reply or ""

    def run(self):
        if not self.answer("CONNECT", "", f"220 {self.hop.name} ready").startswith("2"):
            return
        while True:
            line = self.line()
            self.lines.append(line)
            verb = line.split(" ", 1)[0].upper()
            handler = getattr(self, "do_" + verb.lower(), None)
            if verb == "QUIT":
                self.answer(verb, line, "221 2.0.0 bye")
                return
            if handler:
                handler(line)
            else:
                self.answer(verb, line, "500 5.5.1 what?")

    def do_ehlo(self, line):
        self.reset()
        words = [self.hop.name] + list(self.hop.extensions)
        if self.hop.tls and not self.tls:
            words.append("STARTTLS")
        if self.hop.auth and (self.tls or not self.hop.tls):
            words.append("AUTH PLAIN LOGIN")
        lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
        self.answer("EHLO", line, "\r\n".join(lines))

    do_lhlo = do_ehlo

    def do_helo(self, line):
        self.answer("HELO", line, f"250 {self.hop.name}")

    def do_starttls(self, line):
        if self.answer("STARTTLS", line, "220 2.0.0 go").startswith("220"):
            self.socket = self.hop.tls.wrap_socket(self.socket, server_side=True)
            self.tls, self.rest, self.resumed = True, b"", self.socket.session_reused

    def do_auth(self, line):
        words = line.split()
        token = words[2] if len(words) > 2 else None
        if token is None:
            self.say("334 ")
            token = self.line()
        _, user, password = base64.b64decode(token).decode().split("\0")
        good = (user, password) == self.hop.auth
        self.login = user if good else None
        self.answer("AUTH", line, "235 2.7.0 welcome" if good else "535 5.7.8 no")

    def do_mail(self, line):
        if self.answer("MAIL", line, "250 2.1.0 ok").startswith("2"):
            self.mail, self.rcpts = line, []

    def do_rcpt(self, line):
        normal = "250 2.1.5 ok" if self.mail else "503 5.5.1 MAIL first"
        if self.answer("RCPT", line, normal).startswith("2"):
            self.rcpts.append(line)

    def do_rset(self, line):
        self.reset()
        self.answer("RSET", line, "250 2.0.0 ok")

    def do_noop(self, line):
        self.answer("NOOP", line, "250 2.0.0 ok")

    def do_data(self, line):
        normal = "354 go" if self.rcpts else "554 5.5.1 no valid recipients"
        if self.answer("DATA", line, normal).startswith("354"):
            self.finish(self.until_dot())

    def do_bdat(self, line):
        words = line.split()
        part = self.exactly(int(words[1]))
        if not self.rcpts:
            self.answer("BDAT", line, "503 5.5.1 RCPT first")
            return
        self.chunks = (self.chunks or b"") + part
        if len(words) > 2:
            self.finish(self.chunks)
        else:
            self.answer("BDAT", line, "250 2.0.0 more")

    def finish(self, content):
        mail = Mail(self)
        mail.data = content
        kept = []
        for rcpt in self.rcpts if self.hop.lmtp else [""]:
            reply = self.answer("DOT", rcpt or mail.mail, "250 2.0.0 kept")
            if reply.startswith("2") and rcpt:
                kept.append(rcpt)
            elif reply.startswith("2"):
                kept = mail.rcpts
        self.reset()
        if kept:
            mail.rcpts, mail.at = kept, time.monotonic()
            self.hop.keep(mail)


class Hop:
    """`says(hop, session, verb, line)` returns a reply line, DROP, or None for the normal one; verbs
    are those of SMTP, CONNECT, and DOT for the end of a message (in LMTP once a recipient).
    `tls` is a (certificate, key) pair, `auth` a (user, password) pair, `unix` a path."""

    def __init__(self, says=None, extensions=ALL, tls=None, auth=None, lmtp=False,
                 address="127.0.0.1", port=0, unix=None, name="hop.example.test"):
        self.says, self.extensions, self.auth, self.lmtp = says, extensions, auth, lmtp
        self.address, self.port, self.unix, self.name = address, port, unix, name
        self.messages, self.sessions, self.threads = [], [], []
        self.lock, self.tls = threading.Lock(), None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)

    def __enter__(self):
        if self.unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.unix)
            self.listener.listen(64)
        else:
            family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
            self.listener = socket.create_server((self.address, self.port), family=family, backlog=64)
            self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()
        return self

    def accept(self):
        while True:
            try:
                sock, client = self.listener.accept()
            except OSError:
                return
            sock.settimeout(120)
            session = Session(self, sock, len(self.sessions))
            session.client = client[0] if client else None
            self.sessions.append(session)
            thread = threading.Thread(target=self.serve, args=[session], daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, session):
        try:
            session.run()
        except (EOFError, OSError):
            pass
        finally:
            session.socket.close()

    def keep(self, mail):
        with self.lock:
            self.messages.append(mail)

    def wait(self, count):
        until(lambda: len(self.messages) >= count, f"message {count} at the next hop")
        return self.messages

    def heard(self, verb):
        """All lines of a verb, in all sessions."""
        return [line for session in list(self.sessions) for line in list(session.lines)
                if line.upper().startswith(verb)]

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for session in self.sessions:
            try:
                session.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(10)
