#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our DKIM against dkimpy, both ways, over odd messages: dkim_cross.py DKIM-TOOL

Both sign every message with RSA and Ed25519 in all four canonical forms; the other verifies.
"""
import base64
import os
import subprocess
import sys
import tempfile

try:
    import dkim
except ImportError:
    print("dkimpy is not installed\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)

TOOL = sys.argv[1]
DOMAIN = "sender.example"
HEAD = b"From: Joe <joe@sender.example>\r\nTo: a@b.example\r\nSubject: hi\r\n"
FORMS = [(h, b) for b in (b"simple", b"relaxed") for h in (b"simple", b"relaxed")]

MESSAGES = {
    "plain": HEAD + b"\r\nHello\r\n",
    "no body": HEAD + b"\r\n",
    "only a line end": HEAD + b"\r\n\r\n",
    "only line ends": HEAD + b"\r\n\r\n\r\n\r\n",
    "trailing blank lines": HEAD + b"\r\nHello\r\n\r\n\r\n\r\n",
    "blank lines inside": HEAD + b"\r\n\r\n\r\nHello\r\n\r\n\r\nworld\r\n",
    "blanks at line ends": HEAD + b"\r\nHello \t \r\n \r\n\t\r\nworld  \r\n",
    "blank-only last line": HEAD + b"\r\nHello\r\n \r\n",
    "tabs and runs": HEAD + b"\r\n\ta \t b\t\tc\r\n    d  e\r\n",
    "dots": HEAD + b"\r\n.\r\n..\r\n.a\r\n",
    "8-bit": HEAD + "\r\nGrüße, 你好\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "long line": HEAD + b"\r\n" + b"0123456789 " * 90 + b"\r\n",
    "large": HEAD + b"\r\n" + b"".join(b"line %d  of\tmany \r\n" % i for i in range(3000)),
    "folded": b"From: Joe\r\n <joe@sender.example>\r\nSubject: a\r\n\tb \r\n  c\t\r\nTo: x@y\r\n\r\nx\r\n",
    "folded at once": b"From:\r\n Joe <joe@sender.example>\r\nSubject:\r\n hi\r\nTo: x@y\r\n\r\nx\r\n",
    "duplicates": b"To: one@x\r\n" + HEAD + b"To: two@x\r\nCc: c1@x\r\ncc: c2@x\r\nReceived: r1\r\n\r\nx\r\n",
    "empty subject": b"From: joe@sender.example\r\nSubject:\r\nTo: \r\n\r\nx\r\n",
    "8-bit header": "From: Jörg <joe@sender.example>\r\nSubject: Grüße\r\n\r\nx\r\n".encode(),
    "odd spelling": b"FROM: joe@sender.example\r\nsUBJECT: x\r\nMESSAGE-id: <a@b>\r\n\r\nx\r\n",
    "list": HEAD + b"List-Unsubscribe: <https://x.example/u>\r\n"
                   b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nx\r\n",
    "long header": HEAD + b"References: " + b"\r\n ".join(b"<%d@x.example>" % i for i in range(99))
                   + b"\r\n\r\nx\r\n",
}


def tool(*args, text=b""):
    done = subprocess.run([TOOL, *args], input=text, capture_output=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"dkim_tool {args[0]}: {done.returncode} {done.stderr.decode()}")
    return done.stdout


def make_key(folder, kind):
    lines = tool("generate", kind, "2048").decode().splitlines()
    path = os.path.join(folder, kind)
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines[:-1]) + "\n")
    return path, lines[-1]


def seed_of(path):
    """The base64 seed that dkimpy wants: the last 32 bytes of the PKCS#8 form."""
    with open(path, encoding="ascii") as file:
        der = base64.b64decode("".join(line for line in file if not line.startswith("-")))
    at = der.index(b"\x04\x22\x04\x20") + 4
    return base64.b64encode(der[at:at + 32])


def theirs_verify(message, records):
    """dkimpy's verdict on each signature of the message; it raises what it finds changed."""
    def txt(name, timeout=5):
        return records[name.decode().split(".")[0]].encode()

    def verdict(at):
        try:
            return dkim.DKIM(message).verify(idx=at, dnsfunc=txt)
        except dkim.ValidationError:
            return False

    checker = dkim.DKIM(message)
    count = sum(name.lower() == b"dkim-signature" for name, _ in checker.headers)
    return [verdict(i) for i in range(count)]


def theirs_sign(message, rsa_pem, ed_seed):
    fields = b""
    for canon in FORMS:
        fields += dkim.sign(message, b"r", DOMAIN.encode(), rsa_pem, canonicalize=canon)
        fields += dkim.sign(message, b"e", DOMAIN.encode(), ed_seed, canonicalize=canon,
                            signature_algorithm=b"ed25519-sha256")
    return fields + message


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        rsa, rsa_record = make_key(folder, "rsa")
        ed, ed_record = make_key(folder, "ed25519")
        records = {"r": rsa_record, "e": ed_record}
        with open(rsa, "rb") as file:
            rsa_pem = file.read()
        for why, message in MESSAGES.items():
            for way in ("we sign", "they sign", "changed"):
                try:
                    if way == "they sign":
                        signed = theirs_sign(message, rsa_pem, seed_of(ed))
                        lines = tool("verify", rsa_record, ed_record, text=signed).splitlines()
                        verdicts = [line.startswith(b"pass") for line in lines]
                    else:
                        signed = tool("sign", DOMAIN, rsa, ed, text=message)
                        if way == "changed":
                            signed += b"x\r\n"
                        verdicts = theirs_verify(signed, records)
                    good = verdicts == [way != "changed"] * 8
                except Exception as problem:  # a crash of either side is a failure of this row
                    good, verdicts = False, repr(problem)
                passed += good
                failed += not good
                if not good:
                    print(f"{why}, {way}: {verdicts}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
