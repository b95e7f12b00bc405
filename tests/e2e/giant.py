#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A message of a gigabyte: taken in by APPEND and by SMTP, fetched whole and in part, by a slow reader and by
several. The server's own memory stays where it was; a slow reader costs only himself.

    ./dev giant [MEGABYTES]     not a part of ./dev test: it writes and reads several times that
"""
import hashlib
import re
import socket
import sys
import threading
import time

from support import PASSWORD, Place, Ringpost
from talk import Talk

MB = 1 << 20
NAME = "giant@example.test"
ROOM = 64 * MB  # what its own memory may grow by, whatever the size of a message
CONFIG = {"imap": {"plain_login": True, "append": "4G"}, "smtp": {"size": "4G"}, "limits": {"client_connections": 0},
          "store": {"body_ram": "16M", "cache": "16M", "journal_max": "8G"}}
HEAD = b"From: a@example.org\r\nTo: giant@example.test\r\nSubject: a giant\r\n\r\n"


def block(number):
    """A megabyte of lines, each block another one."""
    line = (f"{number:08d} ".encode() + bytes(65 + (number + i) % 26 for i in range(69)))[:78] + b"\r\n"
    return (line * (MB // len(line) + 1))[:MB - 2] + b"\r\n"


def pieces(blocks):
    yield HEAD
    for number in range(blocks):
        yield block(number)


def memory(server):
    """Anonymous memory, in bytes."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) * 1024


class Watch:
    """The most memory the server had while this was open; more than ROOM above `base` is a failure."""

    def __init__(self, server, what, base):
        self.server, self.what, self.base, self.peak, self.over = server, what, base, 0, threading.Event()

    def look(self):
        while not self.over.wait(0.05):
            self.peak = max(self.peak, memory(self.server))

    def __enter__(self):
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        self.peak = max(self.peak, memory(self.server))
        print(f"{self.what}: {time.monotonic() - self.began:.1f} s, memory at most {self.peak / MB:.1f} MB "
              f"({(self.peak - self.base) / MB:+.1f})", flush=True)
        assert kind or self.peak < self.base + ROOM, "the server's memory grew"


class Imap:
    def __init__(self, port, mailbox="INBOX", window=None):
        self.socket = socket.socket()
        if window:  # what the kernel takes for a slow reader is little
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(600)
        self.socket.connect(("127.0.0.1", port))
        self.file = self.socket.makefile("rb", 64 * 1024)
        self.file.readline()
        self.ok(f'LOGIN {NAME} "{PASSWORD}"')
        self.ok(f"SELECT {mailbox}")

    def send(self, command):
        self.socket.sendall(b"x " + command.encode() + b"\r\n")

    def end(self):
        while not (line := self.file.readline()).startswith(b"x "):
            assert line, "the connection broke"
        assert line.startswith(b"x OK"), line

    def ok(self, command):
        self.send(command)
        self.end()

    def append(self, blocks, size):
        self.socket.sendall(f"x APPEND INBOX {{{size}}}\r\n".encode())
        assert self.file.readline().startswith(b"+")
        for piece in pieces(blocks):
            self.socket.sendall(piece)
        self.socket.sendall(b"\r\n")
        self.end()

    def fetch(self, item, pause_s=0, slow_bytes=0, uid="1"):
        """Its length and hash; `slow_bytes` of it are read 64 KB at a time with pauses."""
        self.send(f"FETCH {uid} ({item})")
        size = int(re.search(rb"\{(\d+)\}", self.file.readline())[1])
        left, digest = size, hashlib.sha256()
        while left:
            data = self.file.read(min(left, 64 * 1024))
            assert data, "the connection broke"
            digest.update(data)
            left -= len(data)
            if size - left < slow_bytes:
                time.sleep(pause_s)
        self.end()
        return size, digest.hexdigest()


def deliver(port, blocks):
    with Talk(port) as talk:
        talk.ehlo()
        talk.envelope("a@example.org", NAME)
        talk.expect(354, "DATA")
        for piece in pieces(blocks):
            talk.send(piece)
        talk.send(b".\r\n")
        assert talk.reply()[0] == 250


def readers(port, count, size, digest):
    """Each reads slowly first, all at the same time."""
    wrong = []

    def one():
        if Imap(port, window=16 * 1024).fetch("BODY.PEEK[]", 0.02, 8 * MB) != (size, digest):
            wrong.append(1)
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, "another message came"


def main():
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    whole = hashlib.sha256()
    for piece in pieces(blocks):
        whole.update(piece)
    size, digest = len(HEAD) + blocks * MB, whole.hexdigest()
    with Place() as place, Ringpost(place, CONFIG, services=("smtp", "imap")) as server:
        server.cli("domain", "add", "example.test")
        server.cli("account", "add", NAME, "--password-stdin", input=PASSWORD + "\n")
        port = server.ports["imap"]
        Imap(port).ok("NOOP")
        base = memory(server)
        print(f"{size / MB:.0f} MB; the server begins with {base / MB:.1f} MB of its own", flush=True)
        with Watch(server, "APPEND", base):
            Imap(port).append(blocks, size)
        with Watch(server, "SMTP, to the mailbox", base):
            deliver(server.ports["smtp"], blocks)
        with Watch(server, "FETCH BODY[]", base):
            assert Imap(port).fetch("BODY.PEEK[]") == (size, digest)
        with Watch(server, "FETCH BODY[], first 64 MB by a slow reader", base):
            assert Imap(port, window=16 * 1024).fetch("BODY.PEEK[]", 0.02, 64 * MB) == (size, digest)
        with Watch(server, "FETCH BODY[]<all but a byte>, slow", base):
            assert Imap(port, window=16 * 1024).fetch(f"BODY.PEEK[]<1.{size}>", 0.02, 16 * MB)[0] == size - 1
        with Watch(server, "the last megabyte", base):
            expected = hashlib.sha256(block(blocks - 1)).hexdigest()
            assert Imap(port).fetch(f"BODY.PEEK[]<{size - MB}.{MB}>") == (MB, expected)
        with Watch(server, "8 readers, each slow at first", base):
            readers(port, 8, size, digest)
        with Watch(server, "the delivered one: SEARCH BODY, and its end", base):
            Imap(port).ok('SEARCH BODY "nowhere to be found"')
            assert Imap(port).fetch(f"BODY.PEEK[TEXT]<{(blocks - 1) * MB}.{MB}>", uid="2") == (MB, expected)


if __name__ == "__main__":
    main()
