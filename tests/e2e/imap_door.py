#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The doors of IMAP over real sockets: compression, IDLE over many sessions, limits, and the stop."""
import contextlib
import smtplib
import socket
import ssl
import threading
import zlib

from support import PASSWORD, PATIENCE_S, Place, Ringpost, Suite

USER = "user@example.test"
MAIL = "From: s@example.org\nSubject: s\n\nHello.\n"


class Client:
    """A line at a time, by zlib's own DEFLATE once asked to."""

    def __init__(self, port, tls=False):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        if tls:
            self.sock = ssl._create_unverified_context().wrap_socket(self.sock)
        self.data, self.packer, self.unpacker, self.count = b"", None, None, 0
        self.greeting = self.line()

    def line(self):
        while b"\r\n" not in self.data:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError
            self.data += self.unpacker.decompress(got) if self.unpacker else got
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def send(self, data):
        if self.packer:
            data = self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        self.sock.sendall(data)

    def ask(self, command):
        self.count += 1
        tag = b"c%d" % self.count
        self.send(tag + b" " + command + b"\r\n")
        lines = [self.line()]
        while not lines[-1].startswith((tag, b"+")):
            lines.append(self.line())
        return lines

    def login(self):
        assert b" OK" in self.ask(b"LOGIN %s \"%s\"" % (USER.encode(), PASSWORD.encode()))[-1]
        return self

    def compress(self):
        assert b" OK" in self.ask(b"COMPRESS DEFLATE")[-1]
        self.packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.unpacker = zlib.decompressobj(-15)
        return self

    def idle(self):
        assert b" OK" in self.ask(b"SELECT INBOX")[-1]
        assert self.ask(b"IDLE")[-1].startswith(b"+")
        return self

    def until(self, what):
        while what not in (line := self.line()):
            pass
        return line


def deliver(ports):
    with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=PATIENCE_S) as client:
        client.sendmail("s@example.org", [USER], MAIL)


@contextlib.contextmanager
def stage():
    with Place() as place, \
            Ringpost(place, {"imap": {"plain_login": True, "sessions": 40}, "workers": 2},
                     services=("smtp", "imap", "imaps")) as server:
        server.add_accounts(USER)
        yield server


suite = Suite(stage)


@suite.test
def compression(server):
    for tls in (False, True):
        client = Client(server.ports["imaps" if tls else "imap"], tls).login().compress()
        assert b"COMPRESSIONACTIVE" in client.ask(b"COMPRESS DEFLATE")[-1]
        assert len(client.ask(b'LIST "" *')) == 7
        for i in range(200):
            client.send(b'p%d LIST "" *\r\n' % i)
        client.until(b"p199 OK")
        client.idle()
        deliver(server.ports)
        client.until(b"EXISTS")
        client.send(b"DONE\r\n")
        client.until(b"OK")
        assert b"BYE" in client.ask(b"LOGOUT")[0]


@suite.test
def one_message_wakes_all_who_idle(server):
    clients = [Client(server.ports["imap"]).login().idle() for _ in range(30)]
    deliver(server.ports)
    assert len({client.until(b"EXISTS") for client in clients}) == 1
    for client in clients:
        client.sock.close()


@suite.test
def an_account_has_so_many_sessions(server):
    clients = [Client(server.ports["imap"]) for _ in range(60)]
    answers = [c.ask(b"LOGIN %s \"%s\"" % (USER.encode(), PASSWORD.encode()))[-1] for c in clients]
    assert 0 < sum(b"NO [LIMIT]" in a for a in answers) <= 20 + 31, answers[-1]
    for client in clients:
        client.sock.close()


@suite.test
def a_stop_says_bye(_):
    with stage() as server:
        client = Client(server.ports["imap"]).login().idle()
        end = threading.Thread(target=server.stop)
        end.start()
        assert client.until(b"BYE").startswith(b"* BYE")
        client.sock.close()
        end.join()


if __name__ == "__main__":
    suite.main()
