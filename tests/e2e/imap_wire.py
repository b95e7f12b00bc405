# SPDX-License-Identifier: GPL-2.0-or-later
"""An IMAP client that sends exactly what a test wants sent, and takes answers apart without knowing
what they mean.

    with Imap(port, user, password) as imap:
        answer = imap.ask(b"FETCH 1:* (UID FLAGS)")
        assert answer.ok
        for line in answer.untagged: ...  # [1, b"FETCH", [b"UID", b"7", b"FLAGS", [b"\\\\Seen"]]]

Values are bytes for atoms and numbers, Text for strings (so that NIL and "NIL" differ), None for NIL,
lists for parentheses. A command may have literals: a list of bytes, each but the first sent as one.
"""
import re
import socket
import zlib

LITERAL = re.compile(rb"~?\{(\d+)\}\r\n\Z")
# An atom with sections, as in BODY[HEADER.FIELDS (A "B")]<0>, is one; a flag may begin with \.
ATOM = re.compile(rb"(?:[^\s()\"\[\]{]|\[[^\]]*\](?:<\d+>)?)+")


class Text(bytes):
    """A quoted string or a literal."""


class Broken(Exception):
    """What came is no IMAP."""


def values(data, at=0, stop=b""):
    """The values from `at` up to `stop`, and where they end. Without recursion: answers may nest
    deeper than Python does."""
    stack, out = [], []
    while at < len(data):
        c = data[at:at + 1]
        if c == b" ":
            at += 1
        elif c == stop and not stack:
            return out, at + 1
        elif c == b"(":
            stack.append(out)
            out = []
            at += 1
        elif c == b")":
            if not stack:
                raise Broken(f"a closing parenthesis: {data!r}")
            stack[-1].append(out)
            out = stack.pop()
            at += 1
        elif c == b'"':
            at, text = quoted(data, at + 1)
            out.append(text)
        elif c == b"{" or data[at:at + 2] == b"~{":
            end = data.index(b"\r\n", at) + 2
            size = int(data[at:end].strip(b"~{}\r\n"))
            out.append(Text(data[end:end + size]))
            at = end + size
        else:
            match = ATOM.match(data, at)
            if not match:
                raise Broken(f"at {at}: {data[max(at - 60, 0):at + 60]!r}")
            out.append(None if match[0].upper() == b"NIL" else match[0])
            at = match.end()
    if stack or stop:
        raise Broken(f"something is not closed: {data[-200:]!r}")
    return out, at


def quoted(data, at):
    start = at
    while data[at:at + 1] != b'"':
        if at >= len(data):
            raise Broken(f"a string without an end: {data[start - 60:start + 60]!r}")
        at += 2 if data[at:at + 1] == b"\\" else 1
    return at + 1, Text(re.sub(rb"\\(.)", rb"\1", data[start:at]))


class Answer:
    """`status` OK, NO or BAD; `code` the values of the response code; `text`; `untagged` lines."""

    def __init__(self, status, code, text, untagged):
        self.status, self.code, self.text, self.untagged = status, code, text, untagged

    @property
    def ok(self):
        return self.status == "OK"

    def __repr__(self):
        return f"{self.status} {self.code} {self.text} {self.untagged}"

    def named(self, word):
        """The rest of every untagged line that begins with the word."""
        return [line[1:] for line in self.untagged if line and line[0] == word]

    def fetched(self):
        """[(number, {item: value})] of FETCH lines, in order."""
        return [(line[0], pairs(line[2])) for line in self.untagged
                if len(line) > 2 and line[1] == b"FETCH"]


def pairs(items):
    return {items[i].upper(): items[i + 1] for i in range(0, len(items) - 1, 2)}


def condition(data):
    """Status, code and text of OK, NO, BAD, PREAUTH and BYE."""
    match = re.match(rb"(\S+) ?(?s:(.*))", data)
    word, rest = match[1].decode(), match[2]
    code = None
    if rest.startswith(b"["):
        code, end = values(rest, 1, b"]")
        rest = rest[end:].lstrip()
    return word, code, rest


def untagged(data):
    """A line without its "* " and its line end."""
    word = data.split(b" ", 1)[0].upper()
    if word in (b"OK", b"NO", b"BAD", b"PREAUTH", b"BYE"):
        return [word, *condition(data)[1:]]
    line = values(data)[0]
    if line and isinstance(line[0], bytes) and line[0].isdigit():
        line[0] = int(line[0])
    return line


class Imap:
    """`on_line` sees every untagged line as it comes."""

    def __init__(self, port, user=None, password="any", timeout=60, on_line=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest, self.count, self.on_line = b"", 0, on_line
        self.inflate = self.deflate = None
        self.log = []
        self.greeting = self.response()
        if user:
            answer = self.ask([b"LOGIN ", user.encode(), b" ", password.encode()])
            assert answer.ok, answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    close = __exit__

    # --- bytes ---

    def send(self, data):
        if self.deflate:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(data)

    def more(self):
        try:
            got = self.socket.recv(1 << 18)
        except ConnectionResetError:
            got = b""
        if not got:
            raise EOFError(f"closed; left: {self.rest[-500:]!r}")
        self.rest += self.inflate.decompress(got) if self.inflate else got

    def response(self):
        """One whole response, literals included, without its last line end."""
        at = 0
        while True:
            end = self.rest.find(b"\n", at)
            if end < 0:
                self.more()
                continue
            if self.rest[end - 1:end] != b"\r":
                raise Broken(f"a bare LF: {self.rest[at:end + 1]!r}")
            match = LITERAL.search(self.rest, at, end + 1)
            if not match:
                break
            at = end + 1 + int(match[1])
            if len(self.rest) < at:
                self.fill(at)
        whole, self.rest = self.rest[:end - 1], self.rest[end + 1:]
        return whole

    def fill(self, size):
        """Large literals, without copying them with every read."""
        parts, have = [self.rest], len(self.rest)
        while have < size:
            self.rest = b""
            self.more()
            parts.append(self.rest)
            have += len(self.rest)
        self.rest = b"".join(parts)

    # --- commands ---

    def begin(self, command):
        """Send all of it, literals without waiting; the tag."""
        self.count += 1
        tag = b"a%d" % self.count
        parts = [command] if isinstance(command, bytes) else command
        line = tag + b" " + parts[0]
        for at, part in enumerate(parts[1:]):
            line += b"{%d+}\r\n" % len(part) + part if at % 2 == 0 else part
        self.send(line + b"\r\n")
        return tag

    def end(self, tag):
        lines = []
        while True:
            data = self.response()
            if data.startswith(b"* "):
                line = untagged(data[2:])
                lines.append(line)
                if self.on_line:
                    self.on_line(line)
            elif data.startswith(tag + b" "):
                return Answer(*condition(data[len(tag) + 1:]), lines)
            elif not data.startswith(b"+"):
                raise Broken(f"for {tag}: {data[:300]!r}")

    def ask(self, command):
        return self.end(self.begin(command))

    def good(self, command):
        answer = self.ask(command)
        assert answer.ok, (command, answer)
        return answer

    def compress(self):
        self.good(b"COMPRESS DEFLATE")
        self.inflate, self.deflate = zlib.decompressobj(-15), zlib.compressobj(wbits=-15)

    def closed(self):
        """Read until the other side closes; what it said."""
        try:
            while True:
                self.more()
        except (EOFError, OSError):
            return self.rest
