#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The structure that a summary gives against Python's email package: mime_cross.py MIME-TOOL

Three sources: mails made here from a seed, mails that are made to be hard, and the samples of Python's
own tests (Debian's libpython3.11-testsuite) where they are installed. Where Python is known to see a
message otherwise the row is compared in what is left, or the sample is named in DIFFERENT with why.
"""
import email
import email.policy
import email.utils
import glob
import os
import random
import subprocess
import sys

TOOL = sys.argv[1]
SAMPLES = "/usr/lib/python3.11/test/test_email/data"

# Samples that Python reads in another way than RFC 2046 has it, or than we choose to.
DIFFERENT = {
    "msg_15.txt": "a multipart inside another with the same boundary: its end ends the inner one",
    "msg_39.txt": "the same",
    "msg_37.txt": "a boundary behind a boundary: an empty part between",
}


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def summary(self, message):
        self.process.stdin.write(b"%d\n" % len(message) + message)
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("mime_tool ended")
            if line == b".\n":
                return lines
            lines.append(line.decode().rstrip("\n"))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


def words(line):
    """name=hex words as a list of pairs."""
    return [tuple(word.split("=", 1)) for word in line.split(" ")[1:] if "=" in word]


def text(hexed):
    return bytes.fromhex(hexed).decode("utf-8", "surrogateescape")


class Part:
    def __init__(self, line):
        self.depth = int(line.split(" ", 1)[0])
        pairs = words(line)
        numbers = dict(pairs[:7])
        self.kind, self.children = int(numbers["kind"]), int(numbers["children"])
        self.header, self.body = int(numbers["header"]), int(numbers["body"])
        self.len, self.lines = int(numbers["len"]), int(numbers["lines"])
        strings = [(name, text(value)) for name, value in pairs[7:]]
        fields = dict(strings)
        self.type = (fields["type"] + "/" + fields["subtype"]).lower()
        self.encoding = fields["encoding"].lower()
        self.disposition = fields.get("disposition", "").lower() or None
        params = [value for name, value in strings if name == "param"]
        self.params = {params[i].lower(): params[i + 1] for i in range(0, len(params), 2)}
        self.inside = []


def read(lines):
    """(what the row says, its tree)"""
    if "damaged" in lines:
        raise ValueError("damaged row")
    row = dict(words("x " + lines[0]))
    stack, root = [], None
    for line in lines[3:]:
        part = Part(line)
        del stack[part.depth:]
        if stack:
            stack[-1].inside.append(part)
        else:
            root = part
        stack.append(part)
    return row, lines[1], root


def body_of(message, part):
    return message[part.body:part.body + part.len]


def is_unclosed(part, message):
    boundary = part.params.get("boundary", "").encode("utf-8", "surrogateescape")
    return part.kind == 1 and b"--" + boundary + b"--" not in body_of(message, part)


def raw_payload(theirs):
    """Python's payload of a leaf as bytes."""
    payload = theirs.get_payload()
    return payload.encode("ascii", "surrogateescape") if isinstance(payload, str) else None


def compare(ours, theirs, message, where="top", unclosed=False):
    """Yields what differs."""
    # Python looks into message/delivery-status and its like; IMAP only into message/rfc822.
    other = theirs.get_content_maintype() == "message" and theirs.get_content_type() != "message/rfc822"
    kids = theirs.get_payload() if theirs.is_multipart() and not other else []
    unclosed = unclosed or is_unclosed(ours, message)
    kind = theirs.get_content_type()
    if not theirs.is_multipart() and theirs.get_content_maintype() == "multipart":
        # Never opened: RFC 3501 has no multipart without parts; ours has one that is empty.
        if not (ours.type == "text/plain" or (len(ours.inside) == 1 and ours.inside[0].len == 0)):
            yield f"{where}: {ours.type} with {len(ours.inside)} parts, for a multipart without any"
        return
    if ours.type != kind:
        yield f"{where}: {ours.type}, not {kind}"
        return
    if len(ours.inside) != len(kids):
        yield f"{where}: {len(ours.inside)} parts, not {len(kids)}"
        return
    encoding = str(theirs.get("content-transfer-encoding", "7bit")).strip().lower()
    if ours.encoding != encoding.split(";")[0].split()[0] if encoding.split() else "7bit":
        yield f"{where}: encoding {ours.encoding}, not {encoding}"
    disposition = theirs.get_content_disposition()
    if ours.disposition != (disposition and disposition.strip()):
        yield f"{where}: disposition {ours.disposition}, not {disposition}"
    body = body_of(message, ours)
    if ours.lines != body.count(b"\n"):
        yield f"{where}: {ours.lines} lines, not {body.count(10)}"
    payload = raw_payload(theirs)
    # At the end of a multipart that is not closed Python takes a line end too many off.
    lost = [b"", b"\n", b"\r\n"] if unclosed else [b""]
    if not kids and payload is not None and body not in [payload + end for end in lost]:
        yield f"{where}: body {body[:60]!r}, not {payload[:60]!r}"
    for i, (our, their) in enumerate(zip(ours.inside, kids)):
        yield from compare(our, their, message, f"{where}.{i + 1}", unclosed)


def compare_head(row, sender, theirs):
    date = theirs.get("date")
    if date:
        try:
            when = email.utils.parsedate_to_datetime(str(date))
        except (ValueError, TypeError, IndexError):
            when = None
        if when is not None:
            if when.tzinfo is None:
                when = when.replace(tzinfo=email.utils.datetime.timezone.utc)
            if int(row["sent"]) != int(when.timestamp()) * 1000:
                yield f"date {row['sent']}, not {when} ({date})"
    name, address = email.utils.parseaddr(str(theirs.get("from", "")))
    mine = dict(words(sender))
    if "@" in address and "\n" not in address and sender.count("host=") == 1:
        ours = text(mine.get("local", "")) + "@" + text(mine.get("host", ""))
        if ours != address:
            yield f"from {ours}, not {address}"


def check(tool, message):
    """All that differs; [] when nothing does."""
    row, sender, root = read(tool.summary(message))
    theirs = email.message_from_bytes(message, policy=email.policy.compat32)
    return list(compare(root, theirs, message)) + list(compare_head(row, sender, theirs))


# Mails made from a seed ---------------------------------------------------------------------------

def leaf(rng, eol):
    kinds = [("text/plain", "7bit"), ("text/html", "quoted-printable"), ("image/png", "base64"),
             ("application/octet-stream", "base64"), (None, None), ("text/plain", "8bit")]
    kind, encoding = rng.choice(kinds)
    head = []
    if kind:
        head.append(f"Content-Type: {kind}" + rng.choice(["", "; charset=utf-8", ";\r\n\tname=\"a b.txt\"",
                    "; name*=utf-8''%c3%a4.txt", "; charset = \"us-ascii\" (a comment)"]))
        head.append(f"Content-Transfer-Encoding: {encoding}")
    if rng.random() < 0.3:
        head.append(rng.choice(["Content-Disposition: attachment; filename=\"x;y\\\"z.bin\"",
                                "Content-Disposition: inline", "Content-ID: <a@b>"]))
    lines = [rng.choice(["", "word", "-- ", "--", "--x", "-", "=3D", "a" * 90, "--b0", ".", "> --b1--", ">From x"])
             for _ in range(rng.randrange(6))]
    return "".join(h.replace("\r\n", eol) + eol for h in head) + eol + eol.join(lines)


def entity(rng, eol, depth=0):
    if depth < 4 and rng.random() < 0.6 - depth * 0.1:
        if rng.random() < 0.2:
            return "Content-Type: message/rfc822" + eol + eol + message(rng, eol, depth + 1)
        boundary = f"=_{depth}_{rng.randrange(10**9)}" + rng.choice(["", "'()+_,-./:=?", "a" * 40])
        kids = [entity(rng, eol, depth + 1) for _ in range(rng.randrange(1, 5))]
        text_of = "Content-Type: multipart/" + rng.choice(["mixed", "alternative", "related", "digest"])
        text_of += f"; boundary=\"{boundary}\"" + eol + eol + rng.choice(["", "preamble" + eol])
        text_of = text_of.replace("digest", "mixed") if depth > 2 else text_of
        for kid in kids:
            text_of += f"--{boundary}" + rng.choice(["", " ", "\t"]) + eol + kid + eol
        if rng.random() < 0.9:
            text_of += f"--{boundary}--" + eol + rng.choice(["", "epilogue" + eol])
        return text_of
    return leaf(rng, eol)


def message(rng, eol, depth=0):
    first = "" if depth else rng.choice(STRAY)
    return first + (eol if first else "") + fields(rng, eol) + entity(rng, eol, depth)


# Lines before the first field that are none.
STRAY = [""] * 8 + ["From jane@example.org Fri Nov 21 09:55:06 1997", " a line that folds nothing"]


def fields(rng, eol):
    head = ["From: \"Doe, Jane\" <jane@example.org>", "To: a@b.example, c@d.example",
            "Subject: Re: =?utf-8?q?gr=C3=BC=C3=9Fe?=",
            rng.choice(["Date: Fri, 21 Nov 1997 09:55:06 -0600", "Date: 21 Nov 97 09:55 EST",
                        "Date: Tue, 1 Jul 2003 10:52:37 +0200 (CEST)"])]
    return "".join(h + eol for h in head)


def generated(count):
    for seed in range(count):
        rng = random.Random(seed)
        eol = rng.choice(["\r\n", "\r\n", "\n"])
        yield f"seed {seed}", message(rng, eol).encode()


# Mails that are made to be hard: bounded, and never damaged; Python is not asked ------------------

def nested(count):
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
                    for i in range(count)) + b"\r\nhello\r\n"


def bombs():
    head = b"From: a@b.example\r\nSubject: x\r\n"
    part = b"--b\r\n\r\n"
    yield "10,000 multiparts in each other", head + nested(10000), True
    yield "10,000 messages in each other", b"Content-Type: message/rfc822\r\n\r\n" * 10000, True
    yield "100,000 parts", head + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 100000, True
    yield "endless header", head + b"X: y\r\n" * 200000, True
    yield "endless line in a header", head + b"X: " + b"y" * 2000000, True
    yield "endless header of a part", (head + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
                                       + b"Y: z\r\n" * 200000), True
    yield "100,000 addresses", head + b"To: " + b"a@b.c, " * 30000 + b"\r\n\r\nx", True
    yield "many references", head + b"References: " + b"<a@b> " * 30000 + b"\r\n\r\nx", True
    yield "many parameters", (head + b"Content-Type: text/plain; " + b"; ".join(
        b"a%d=%d" % (i, i) for i in range(10000)) + b"\r\n\r\nx"), False
    yield "comments in comments", head + b"To: " + b"(" * 100000 + b"\r\n\r\nx", True
    yield "blobs", b"Subject: " + b"[a]" * 30000 + b"Re: x\r\n\r\nx", True
    yield "words", b"Subject: " + b"=?utf-8?q?a?= " * 10000 + b"\r\n\r\nx", True
    yield "lines of hyphens", (head + b"Content-Type: multipart/mixed; boundary=\"" + b"-" * 70
                               + b"\"\r\n\r\n" + b"-" * 1000000 + b"\r\n-" * 100000), False
    yield "lines like boundaries, 40 deep", (b"".join(
        b"Content-Type: multipart/mixed; boundary=\"%s%d\"\r\n\r\n--%s%d\r\n" % (b"-" * 150, i, b"-" * 150, i)
        for i in range(40)) + b"\r\n" + (b"-" * 151 + b"\r\n") * 20000), False
    yield "short lines of hyphens, 40 deep", (b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i + 10, i + 10)
        for i in range(40)) + b"\r\n" + b"--\n" * 500000), False
    yield "all bytes", bytes(range(256)) * 1000, False
    yield "nothing", b"", False


def samples():
    for path in sorted(glob.glob(os.path.join(SAMPLES, "*.txt"))):
        with open(path, "rb") as file:
            yield os.path.basename(path), file.read()


def main():
    tool, passed, failed, skipped = Tool(), 0, 0, 0
    for name, mail in list(generated(400)) + list(samples()):
        if name in DIFFERENT:
            differs = [] if check(tool, mail) else ["this sample differs no more"]
        else:
            differs = check(tool, mail)
        passed += not differs
        failed += bool(differs)
        for line in differs:
            print(f"{name}: {line}")
    for name, mail, truncated in bombs():
        row, _, root = read(tool.summary(mail))
        good = row["truncated"] == str(int(truncated)) and int(row["row"]) < 400000 and root is not None
        passed += good
        failed += not good
        if not good:
            print(f"{name}: {row}")
    if not os.path.isdir(SAMPLES):
        print("libpython3.11-testsuite is not installed: its samples are left out")
        skipped = 1
    if tool.close() != 0:
        print("mime_tool failed")
        failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())
