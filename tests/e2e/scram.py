# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), from the standard library alone, and a
TLS connection that can tell its tls-exporter channel binding (RFC 9266)."""
import base64
import hashlib
import hmac
import os
import re
import subprocess
import threading

from support import PATIENCE_S, program, until
from talk import Talk


class Scram:
    def __init__(self, user, password, binding=None):
        self.user, self.password = user, password
        self.header = b"p=tls-exporter,," if binding else b"n,,"
        self.binding = binding or b""
        self.nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self):
        self.bare = f"n={self.user},r={self.nonce}".encode()
        return self.header + self.bare

    def final(self, server_first):
        """Answers the server's first message; remembers what the server must say at the end."""
        fields = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce), fields
        salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
        assert rounds >= 4096
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, rounds)
        client = mac(salted, b"Client Key")
        bound = base64.b64encode(self.header + self.binding)
        without_proof = b"c=" + bound + b",r=" + fields["r"].encode()
        text = b",".join([self.bare, server_first, without_proof])
        signature = mac(hashlib.sha256(client).digest(), text)
        proof = bytes(a ^ b for a, b in zip(client, signature))
        self.verifier = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), text))
        return without_proof + b",p=" + base64.b64encode(proof)


def mac(key, text):
    return hmac.digest(key, text, "sha256")


def log_in(talk, scram):
    """The whole exchange; the code of its last reply."""
    name = "SCRAM-SHA-256" + ("-PLUS" if scram.binding else "")
    code, text = talk.ask(f"AUTH {name} {base64.b64encode(scram.first()).decode()}")
    if code != 334:
        return code
    code, text = talk.ask(base64.b64encode(scram.final(base64.b64decode(text))))
    if code == 334:  # the server proves that it knows the password too
        assert base64.b64decode(text) == scram.verifier
        code, text = talk.ask("")
    return code


class ExporterTalk(Talk):
    """Talk over `openssl s_client` with implicit TLS 1.3: Python's ssl has no exporter."""

    def __init__(self, port):
        self.rest, self.seen, self.exported = b"", bytearray(), None
        self.child = subprocess.Popen(
            [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-ign_eof",
             "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        material = until(lambda: re.search(rb"Keying material: ([0-9A-F]{64})", self.seen),
                         "the exported keying material")
        self.exported = bytes.fromhex(material.group(1).decode())
        # What the server says begins behind what openssl tells about the session.
        greeting = until(lambda: re.search(rb"(?m)^220 .*\r\n", self.seen), "the greeting")
        self.used = greeting.end()

    def read(self):
        while got := self.child.stdout.read1(65536):
            self.seen += got

    def send(self, data):
        self.child.stdin.write(data if isinstance(data, bytes) else data.encode())
        self.child.stdin.flush()

    def line(self):
        """Replies look like replies; session tickets are told in between."""
        while True:
            found = until(lambda: re.compile(rb"(?m)^\d\d\d[ -][^\n]*\r\n").search(self.seen, self.used),
                          "a reply")
            self.used = found.end()
            return found.group()[:-2].decode()

    def close(self):
        self.child.stdin.close()
        self.child.terminate()
        self.child.wait(PATIENCE_S)
        self.reader.join()
        self.child.stdout.close()
