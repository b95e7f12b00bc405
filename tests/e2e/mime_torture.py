#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken, odd and hostile mails: each is stored, every section of it is read back, and where Python's
email package reads such a mail as the standards do, ours says the same. Dovecot is asked for a second
opinion about the structure. Nothing takes long or much memory.

The samples are those of Python's own tests, of enmime and of wildduck, used where they are installed;
the bombs are made here."""
import contextlib
import email
import email.header
import email.policy
import glob
import os
import re
import time

from dovecot import Dovecot
from imap_wire import Imap
from support import PASSWORD, USER, Place, Ringpost, Skip, Suite

CONFIG = {"imap": {"plain_login": True}, "workers": 1}
RSS_MAX_KB = 600 << 10  # of a server under ASan; copies of the large ones or of the bombs would pass it
SECONDS_MAX = 30  # for one mail with all its sections, on a busy machine, under ASan

SAMPLES = {
    "python": [os.path.join(os.path.dirname(os.__file__), "test/test_email/data/*.txt"),
               "/usr/lib/python3*/test/test_email/data/*.txt"],
    "enmime": ["/usr/share/gocode/src/github.com/jhillyerd/enmime/testdata/*/*.raw",
               "/usr/share/gocode/src/github.com/jhillyerd/enmime/testdata/*/*.golden",
               "/usr/share/gocode/src/github.com/jhillyerd/enmime/testdata/*/*.eml"],
    "wildduck": [os.path.join(os.environ.get("RINGPOST_NODE", ""), "archives/wildduck/imap-core/test/fixtures/*.eml")],
}


class Stage:
    def __init__(self, place, server):
        self.place, self.server = place, server
        self.imap = Imap(server.ports["imap"], USER, PASSWORD)
        self.imap.good(b"SELECT INBOX")
        self.count = 0

    def rss_kb(self):
        """Of all processes of the server; the highest so far."""
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])

    def keep(self, data):
        """APPEND; the message's number."""
        self.imap.good([b"APPEND INBOX ", data])
        self.count = self.count + 1
        return self.count

    def item(self, number, *items):
        names = b" ".join(items)
        start = time.monotonic()
        found = self.imap.good(b"FETCH %d (%s)" % (number, names)).fetched()
        assert time.monotonic() - start < SECONDS_MAX, (number, names)
        return {key: value for _, pairs in found for key, value in pairs.items()}


@contextlib.contextmanager
def stage():
    with Place() as place, Ringpost(place, CONFIG, services=("imap", "smtp")) as server:
        server.add_accounts(USER)
        yield Stage(place, server)
        server.process.check_alive()


suite = Suite(stage)


def samples(kind):
    """{name: bytes with CRLF}, each once."""
    found = {}
    for pattern in SAMPLES[kind]:
        for path in sorted(glob.glob(pattern)):
            with open(path, "rb") as f:
                data = re.sub(rb"\r?\n|\r", b"\r\n", f.read())
            if data and b"\0" not in data:
                found.setdefault(os.path.basename(path), data)
    if not found:
        raise Skip(f"the samples of {kind} are not here")
    return found


# --- Sections -------------------------------------------------------------------------------------------


def parts_of(structure, path=()):
    """(path, kind, structure) of every part that has a number (RFC 9051 6.4.5.1)."""
    stack, out = [(structure, path)], []
    while stack:
        node, path = stack.pop()
        if isinstance(node[0], list):
            children = [n for n in node if isinstance(n, list)]
            subtype = next(i for i, n in enumerate(node) if not isinstance(n, list))
            if path:
                out.append((path, "multipart", node))
            stack += [(child, (*path, n + 1)) for n, child in enumerate(children[:subtype])]
        else:
            kind = f"{node[0].decode()}/{node[1].decode()}".lower()
            here = path or (1,)
            out.append((here, kind, node))
            if kind in ("message/rfc822", "message/global") and len(node) > 8 and isinstance(node[8], list):
                inner = node[8]
                stack.append((inner, here if isinstance(inner[0], list) else (*here, 1)))
    return out


def number_of(path):
    return ".".join(map(str, path)).encode()


def read_all(st, number, data):
    """Every section, each held against the bytes of the message. The structure."""
    basic = st.item(number, b"ENVELOPE", b"BODYSTRUCTURE", b"BODY", b"PREVIEW", b"RFC822.SIZE", b"BODY.PEEK[]",
                    b"BODY.PEEK[HEADER]", b"BODY.PEEK[TEXT]", b"BINARY.PEEK[]", b"BINARY.SIZE[]")
    assert basic[b"BODY[]"] == data and basic[b"BINARY[]"] == data
    assert int(basic[b"RFC822.SIZE"]) == len(data) == int(basic[b"BINARY.SIZE[]"])
    assert basic[b"BODY[HEADER]"] + basic[b"BODY[TEXT]"] == data
    assert len(basic[b"ENVELOPE"]) == 10
    assert len((basic[b"PREVIEW"] or b"").decode()) <= 256
    parts = parts_of(basic[b"BODYSTRUCTURE"])
    for path, kind, node in parts[:200]:
        name = number_of(path)
        try:
            got = st.item(number, b"BODY.PEEK[%s]" % name, b"BODY.PEEK[%s.MIME]" % name, b"BINARY.SIZE[%s]" % name)
        except AssertionError as error:
            assert b"UNKNOWN-CTE" in str(error).encode(), error
            got = st.item(number, b"BODY.PEEK[%s]" % name, b"BODY.PEEK[%s.MIME]" % name)
        body = got[b"BODY[%s]" % name] or b""
        assert body in data and (got[b"BODY[%s.MIME]" % name] or b"") in data
        if kind != "multipart":
            assert int(node[6]) == len(body), (path, kind, node[6], len(body))
        if kind.startswith("text/"):
            assert int(node[7]) == body.count(b"\n"), (path, node[7])
        if kind == "message/rfc822":
            inner = st.item(number, b"BODY.PEEK[%s.HEADER]" % name, b"BODY.PEEK[%s.TEXT]" % name)
            assert inner[b"BODY[%s.HEADER]" % name] + inner[b"BODY[%s.TEXT]" % name] == body, path
    return basic


# --- Second opinions ---------------------------------------------------------------------------------------


def python_tree(message):
    """(type, [children]) as Python's parser sees it."""
    kind = message.get_content_type()
    if kind in ("message/delivery-status", "message/external-body"):
        return kind, []  # Python reads on, but IMAP has no sections there (RFC 9051 7.5.2)
    if message.is_multipart():
        return kind, [python_tree(child) for child in message.get_payload()]
    return kind, [("text/plain", [])] if kind.startswith("multipart/") else []  # one part at least, for BODYSTRUCTURE


def our_tree(structure):
    if isinstance(structure[0], list):
        children = []
        for n, node in enumerate(structure):
            if not isinstance(node, list):
                return f"multipart/{node.decode()}".lower(), children
            children.append(our_tree(node))
    kind = f"{structure[0].decode()}/{structure[1].decode()}".lower()
    inside = kind in ("message/rfc822", "message/global") and len(structure) > 8
    return kind, [our_tree(structure[8])] if inside and isinstance(structure[8], list) else []


# Python is not right, or not alone in being right, about these. Each with the reason.
SAME = "inner and outer boundary are the same or one begins the other: the innermost that fits counts, as in Dovecot"
OPEN = "the multipart has no end: the last line end is the part's, as in Dovecot"
TYPE = "a type that is no name: taken as far as it is one (RFC 2045 5.1)"
NO_BOUNDARY = "a multipart without a boundary is text (RFC 2046 5.1.1 wants one)"
NOT_AS_PYTHON = {
    ("python", "msg_15.txt"): SAME,
    ("python", "msg_25.txt"): NO_BOUNDARY,
    ("python", "msg_37.txt"): "every delimiter begins a part, also an empty one (RFC 2046 5.1.1)",
    ("python", "msg_39.txt"): SAME,
    ("python", "msg_41.txt"): NO_BOUNDARY,
    ("enmime", "epilogue-sample.raw"): "a delimiter may have more behind it (RFC 2046 5.1.1)",
    ("enmime", "mime-bad-content-type.raw"): TYPE,
    ("enmime", "mime-blank-media-name.raw"): TYPE,
    ("enmime", "badboundary.raw"): OPEN,
    ("enmime", "multimixed-no-closing-boundary.raw"): OPEN,
}


def leaves(message):
    """Payloads, still encoded, of the parts without parts, in order."""
    if message.get_content_type() in ("message/delivery-status", "message/external-body"):
        return [None]
    if not message.is_multipart():
        if message.get_content_maintype() == "multipart":
            return [None]
        return [message._payload.encode("utf-8", "surrogateescape")]  # get_payload() decodes what it can
    return [leaf for child in message.get_payload() for leaf in leaves(child)]


def compare_leaves(st, number, message, structure):
    ours = [path for path, kind, _ in sorted(parts_of(structure)) if kind not in ("multipart", "message/rfc822")]
    for path, want in zip(ours, leaves(message)):
        have = st.item(number, b"BODY.PEEK[%s]" % number_of(path))[b"BODY[%s]" % number_of(path)] or b""
        if want is not None and have != want:
            yield path, have, want


def compare_with_python(st, number, name, data, got):
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    tree = python_tree(message)
    if tree != our_tree(got[b"BODYSTRUCTURE"]):
        yield f"{name}: structure {our_tree(got[b'BODYSTRUCTURE'])}, Python {tree}"
    else:
        for path, have, want in compare_leaves(st, number, message, got[b"BODYSTRUCTURE"]):
            yield f"{name}: part {path} {have[-80:]!r} ({len(have)}), Python {want[-80:]!r} ({len(want)})"
    envelope = got[b"ENVELOPE"]
    for at, field in ((0, "date"), (1, "subject"), (9, "message-id")):
        values = message.get_all(field) or [None]
        want = values[0]
        have = envelope[at].decode("utf-8", "surrogateescape") if envelope[at] is not None else None
        if want is not None:
            want = re.sub(r"\r\n(?=[ \t])", "", str(want)).strip(" \t\r\n")
        if (have or "").split() != (want or "").split():
            yield f"{name}: {field} {have!r}, Python {want!r}"


def sample_test(kind):
    def run(st):
        complaints, unused = [], {key for key in NOT_AS_PYTHON if key[0] == kind}
        for name, data in samples(kind).items():
            number = st.keep(data)
            got = read_all(st, number, data)
            said = list(compare_with_python(st, number, name, data, got))
            if (kind, name) in NOT_AS_PYTHON:
                unused.discard((kind, name))
                continue
            complaints += said
        assert not complaints, "\n  ".join([f"{len(complaints)} complaints"] + complaints)
        assert not unused, unused
        assert st.rss_kb() < RSS_MAX_KB, st.rss_kb()
    run.__name__ = f"samples_of_{kind}"
    return suite.test(run)


for one in SAMPLES:
    sample_test(one)


def plain(value):
    """Without what may differ everywhere: case, white space, the default charset, how a missing domain is shown."""
    if isinstance(value, list):
        out = [plain(v) for v in value]
        return None if out == ["charset", "us-ascii"] else out[:-2] if out[-2:] == ["charset", "us-ascii"] else out
    if value is None:
        return None
    return " ".join(value.decode("utf-8", "replace").lower().split()).replace("missing_domain", "").replace(
        "missing_mailbox", "")


# Dovecot reads these otherwise. Each with the reason.
GLUED = "what is no field ends the header, as in Python; Dovecot passes over it"
FIRST = "of a parameter or field that occurs twice the first counts, as in Python"
NO_TYPE = "a type that is no type is text/plain (RFC 2045 5.2); Dovecot shows an empty one"
EMPTY = "without any delimiter or part there is a text, and its bytes are counted"
DELIMITER = "the line end before a delimiter is the delimiter's, also behind an enclosed multipart (RFC 2046 5.1.1)"
CHARSETS = "parameters of RFC 2231 are read before they are used and shown anew"
NOT_AS_DOVECOT = {
    ("python", "msg_14.txt"): NO_TYPE,
    ("python", "msg_19.txt"): GLUED,
    ("python", "msg_25.txt"): NO_BOUNDARY,
    ("python", "msg_29.txt"): CHARSETS,
    ("python", "msg_33.txt"): CHARSETS,
    ("python", "msg_35.txt"): GLUED,
    ("python", "msg_38.txt"): SAME,
    ("python", "msg_41.txt"): EMPTY,
    ("python", "msg_43.txt"): "a From without an address is shown as it stands",
    ("python", "msg_47.txt"): "a boundary without quotes and a header without an end are as in Python",
    ("enmime", "bad-header-wrap.raw"): GLUED,
    ("enmime", "erroneous.raw"): EMPTY,
    ("enmime", "inlinemultipart.raw"): FIRST,
    ("enmime", "malformed-multiple-address-header-values.raw"): FIRST,
    ("enmime", "mime-bad-content-type.raw"): TYPE,
    ("enmime", "mime-blank-media-name.raw"): TYPE,
    ("enmime", "mime-duplicate-param.raw"): FIRST,
    ("enmime", "mime-unquoted-tspecials-param.raw"): "a file name without quotes is read to its end",
    ("enmime", "qp-utf8-header-no-break.raw"): "the first delimiter may be the first line of the body, as in Python",
    ("enmime", "barren-content-type.raw"): NO_TYPE,
    ("enmime", "empty-ctype-bad-content.raw"): NO_TYPE,
    ("enmime", "missing-closing-param-quote.raw"): "a string without an end goes to the end of the field",
    ("enmime", "unquoted-ctype-param-special.raw"): "a parameter without quotes is read to its end",
    ("wildduck", "fix2.eml"): DELIMITER,
    ("wildduck", "mimetorture.eml"): DELIMITER,
    ("wildduck", "ryan_finnie_mime_torture.eml"): DELIMITER,
    ("wildduck", "fix3.eml"): "a parameter without quotes is read to its end",
    ("enmime", "part-content-only-qp.golden"): "an encoding counts also without MIME-Version, as in Python",
}


@suite.test
def all_see_the_same_header_behind_a_stray_line(st):
    for first in (b"From jane@example.org Fri Nov 21 09:55:06 1997\r\n", b" folds nothing\r\n"):
        head = b"Subject: stray\r\nX-Other: kept\r\nTo: a@b.example\r\nTo: c@d.example\r\n\r\n"
        number = st.keep(first + head + b"text\r\n")
        fields = b"BODY[HEADER.FIELDS (SUBJECT)]"
        got = st.item(number, b"ENVELOPE", b"BODY.PEEK[HEADER]", b"BODY.PEEK[TEXT]", fields)
        assert got[b"ENVELOPE"][1] == b"stray", got
        assert [address[2] for address in got[b"ENVELOPE"][5]] == [b"a", b"c"], got
        assert got[b"BODY[HEADER]"] == first + head and got[b"BODY[TEXT]"] == b"text\r\n", got
        assert got[fields] == b"Subject: stray\r\n\r\n", got
        for key in (b"SUBJECT stray", b"HEADER X-Other kept", b"TEXT kept", b"TO c@d.example"):
            found = st.imap.good(b"SEARCH %d %s" % (number, key)).named(b"SEARCH")
            assert str(number) in str(found), (key, found)


@suite.test
def a_second_opinion(st):
    complaints = []
    with Dovecot(st.place) as dovecot, Imap(dovecot.imap, USER, "any") as other:
        other.good(b"SELECT INBOX")
        count = 0
        for kind in SAMPLES:
            with contextlib.suppress(Skip):
                for name, data in samples(kind).items():
                    other.good([b"APPEND INBOX ", data])
                    count += 1
                    theirs = other.good(b"FETCH %d (ENVELOPE BODYSTRUCTURE)" % count).fetched()[0][1]
                    ours = st.item(st.keep(data), b"ENVELOPE", b"BODYSTRUCTURE")
                    for item in (b"ENVELOPE", b"BODYSTRUCTURE"):
                        if plain(ours[item]) != plain(theirs[item]) and (kind, name) not in NOT_AS_DOVECOT:
                            complaints.append(f"{kind} {name}: {item.decode()}\n    {ours[item]}\n    {theirs[item]}")
    assert not complaints, "\n  ".join([f"{len(complaints)} complaints"] + complaints)


# --- Bombs -----------------------------------------------------------------------------------------------------


def nested(depth):
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    return b"Subject: nested\r\n" + head + b"\r\ninnermost\r\n"


def encapsulated(depth):
    return b"".join(b"Subject: level %d\r\nContent-Type: message/rfc822\r\n\r\n" % n for n in range(depth)) + \
        b"Subject: last\r\n\r\ninnermost\r\n"


def with_head(field, body=b"text\r\n"):
    return b"From: a@b.test\r\n" + field + b"\r\n\r\n" + body


BOMBS = {
    "multiparts in multiparts": lambda: nested(10000),
    "messages in messages": lambda: encapsulated(10000),
    "one boundary for all": lambda: nested(5000).replace(b"boundary=b", b"boundary=b; x="),
    "boundaries that begin each other": lambda: b"".join(
        b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n" % (b"b" * n, b"b" * n) for n in range(1, 1000)),
    "many parts": lambda: with_head(b"Content-Type: multipart/mixed; boundary=x", b"--x\r\n\r\ntext\r\n" * 100000),
    "many fields": lambda: b"".join(b"X-F%d: value\r\n" % n for n in range(50000)) + b"\r\ntext\r\n",
    "a long field": lambda: with_head(b"Subject: " + b"x" * 2000000),
    "many folds": lambda: with_head(b"Subject: a" + b"\r\n b" * 200000),
    "many addresses": lambda: with_head(b"To: " + b", ".join(b"u%d@d.test" % n for n in range(100000))),
    "deep comments": lambda: with_head(b"To: " + b"(" * 200000 + b")" * 200000 + b" a@b.test"),
    "open comments and strings": lambda: with_head(b'To: ' + b'"(<' * 200000),
    "groups in groups": lambda: with_head(b"To: " + b"g:" * 100000 + b";" * 100000),
    "many parameters": lambda: with_head(b"Content-Type: text/plain" + b"".join(b"; p%d=v" % n for n in range(50000))),
    "many continuations": lambda: with_head(b"Content-Type: text/plain" + b"".join(
        b"; name*%d=\"part\"" % n for n in range(50000))),
    "many encoded words": lambda: with_head(b"Subject: " + b" ".join([b"=?utf-8?Q?=C3=A9?="] * 50000)),
    "encoded words that are none": lambda: with_head(b"Subject: " + b"=?utf-8?Q?" * 100000),
    "many references": lambda: with_head(b"References: " + b" ".join(b"<%d@x>" % n for n in range(100000))),
    "a subject of Re:": lambda: with_head(b"Subject: " + b"Re: [x] Fwd: " * 50000),
    "a long line": lambda: with_head(b"Content-Transfer-Encoding: base64", b"QUFB" * 4000000 + b"\r\n"),
    "quoted-printable of nothing": lambda: with_head(b"Content-Transfer-Encoding: quoted-printable", b"=\r\n" * 1000000),
    "tags in tags": lambda: with_head(b"Content-Type: text/html", b"<div>" * 500000 + b"</div>" * 500000),
    "a tag without an end": lambda: with_head(b"Content-Type: text/html", b"<" + b"x" * 2000000 + b"&" * 1000000),
    "a character set of no one": lambda: with_head(b"Content-Type: text/plain; charset=" + b"x" * 5000, b"\xff" * 100000),
}


@suite.test
def bombs(st):
    before = st.rss_kb()
    for name, make in BOMBS.items():
        data, start = make(), time.monotonic()
        number = st.keep(data)
        st.item(number, b"ENVELOPE", b"BODYSTRUCTURE", b"BODY", b"PREVIEW")
        got = st.item(number, b"BODY.PEEK[]", b"BODY.PEEK[HEADER.FIELDS (SUBJECT TO)]")
        assert got[b"BODY[]"] == data, name
        for path in (b"1", b"1.1", b".".join([b"1"] * 40), b"1.MIME", b"1.HEADER", b"2"):
            st.item(number, b"BODY.PEEK[%s]" % path)
        for command in (b"SEARCH %d TEXT innermost-of-nothing", b"SEARCH %d SUBJECT x TO y BODY z",
                        b"SORT (SUBJECT TO FROM DISPLAYTO) UTF-8 %d", b"THREAD REFERENCES UTF-8 %d"):
            st.imap.good(command % number)
        took = time.monotonic() - start
        print(f"  {name}: {len(data) >> 10} KB, {took:.1f} s, {st.rss_kb() >> 10} MB", flush=True)
        assert took < SECONDS_MAX, (name, took)
        assert st.rss_kb() < RSS_MAX_KB, (name, before, st.rss_kb())
    st.server.process.check_alive()


if __name__ == "__main__":
    suite.main()
