# SPDX-License-Identifier: GPL-2.0-or-later
"""An SMTP client that says exactly what a test wants said, byte by byte.

    with Talk(port) as talk:
        talk.ehlo()
        assert talk.ask("MAIL FROM:<a@example.test>")[0] == 250
"""
import base64
import socket
import ssl


def insecure_context():
    """TLS with a certificate that is nobody's business here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Talk:
    """`greet` reads the greeting into `greeting`; `tls` begins with a handshake; `address` may be a
    path of a unix socket, with port None."""

    def __init__(self, port, address="127.0.0.1", tls=False, greet=True, timeout=60, before=b""):
        if port is None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection((address, port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        if before:  # what a proxy says
            self.socket.sendall(before)
        if tls:
            self.handshake()
        self.greeting = self.reply() if greet else None

    @classmethod
    def over(cls, connected):
        """Over something that sends and receives like a socket."""
        talk = cls.__new__(cls)
        talk.socket, talk.rest = connected, b""
        talk.greeting = talk.reply()
        return talk

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def handshake(self):
        assert not self.rest, self.rest
        self.socket = insecure_context().wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        while b"\n" not in self.rest:
            try:
                got = self.socket.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                raise EOFError(f"closed; left: {self.rest!r}")
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        assert line.endswith(b"\r"), line
        return line[:-1].decode()

    def reply(self):
        """Code and the lines of text, joined."""
        texts = []
        while True:
            line = self.line()
            assert line[:3].isdigit() and line[3:4] in " -", line
            texts.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(texts)

    def ask(self, command):
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.reply()

    def expect(self, code, command=None):
        """The text of the reply, which must have this code (and this enhanced status)."""
        got, text = self.ask(command) if command is not None else self.reply()
        wanted, _, status = str(code).partition(" ")
        assert got == int(wanted) and text.startswith(status), (command, got, text)
        return text

    def ehlo(self, name="client.example.test", verb="EHLO"):
        """The extensions by name, each with its parameters."""
        lines = self.expect(250, f"{verb} {name}").split("\n")[1:]
        return {line.split()[0].upper(): line.split()[1:] for line in lines}

    def starttls(self):
        self.expect(220, "STARTTLS")
        self.handshake()

    def login(self, user, password):
        token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.expect(235, f"AUTH PLAIN {token}")

    def envelope(self, sender, *recipients, params=""):
        self.expect(250, f"MAIL FROM:<{sender}>{params}")
        for recipient in recipients:
            self.expect(250, f"RCPT TO:<{recipient}>")

    def data(self, content):
        """The reply to a message whose lines end with CRLF and need no stuffing."""
        self.expect(354, "DATA")
        self.send(content)
        self.send(b".\r\n")
        return self.reply()

    def closed(self):
        """Wait for the other side to close; whatever else it still says is returned."""
        said, self.rest = self.rest, b""
        while True:
            try:
                got = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                return said
            if not got:
                return said
            said += got
