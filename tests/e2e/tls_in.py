#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS as OpenSSL sees it: versions, certificates by name and by key, tickets, resumption."""
import contextlib
import re
import socket
import ssl

from support import PASSWORD, USER, Place, Suite, accepts, run, submission, until
from talk import Talk, insecure_context


class Stage:
    def __init__(self, place, server):
        self.place, self.server = place, server
        self.port, self.starttls = server.ports["submissions"], server.ports["submission"]

    def s_client(self, *args, port=None, check=True):
        """What openssl tells about a handshake; it says QUIT at once."""
        return run("openssl", "s_client", "-connect", f"127.0.0.1:{port or self.port}", *args, input="QUIT\r\n",
                   check=check)

    def subject(self, *args):
        found = re.search(r"subject=CN = (\S+)", self.s_client(*args).stdout)
        return found and found.group(1)


@contextlib.contextmanager
def stage():
    with Place() as place:
        pairs = [place.certificate("ecdsa", "mx.example.test"), place.certificate("rsa", "mx.example.test", rsa=True),
                 place.certificate("other", "other.test")]
        rows = [{"cert": cert, "key": key} for cert, key in pairs]
        with submission(place, {"tls": {"certificates": rows}},
                        route_to=place.ports.reserve()) as server:
            yield Stage(place, server)


suite = Suite(stage)


@suite.test
def only_new_versions_are_spoken(stage):
    assert "TLSv1.3" in stage.s_client("-tls1_3").stdout
    assert "TLSv1.2" in stage.s_client("-tls1_2").stdout
    for old in ("-tls1_1", "-tls1"):
        done = stage.s_client(old, "-cipher", "DEFAULT@SECLEVEL=0", check=False)
        assert "Cipher is (NONE)" in done.stdout or done.returncode, done.stdout
        assert "alert protocol version" in done.stderr, done.stderr
    done = stage.s_client("-starttls", "smtp", "-tls1_3", port=stage.starttls)
    assert "TLSv1.3" in done.stdout


@suite.test
def weak_ciphers_are_refused(stage):
    for cipher in ("AES128-SHA", "AES128-GCM-SHA256", "DES-CBC3-SHA:@SECLEVEL=0", "aNULL:@SECLEVEL=0"):
        done = stage.s_client("-tls1_2", "-cipher", cipher, check=False)
        # Told, not hung up on; some are unknown to the client's own library by now.
        assert re.search("alert handshake failure|no cipher match", done.stderr), (cipher, done.stderr)
        assert "Cipher is ECDHE" not in done.stdout and "BEGIN CERTIFICATE" not in done.stdout, cipher


@suite.test
def the_certificate_fits_the_client(stage):
    for version in ("-tls1_2", "-tls1_3"):
        said = stage.s_client(version, "-servername", "mx.example.test").stdout
        assert "Peer signature type: ECDSA" in said, said
        said = stage.s_client(version, "-servername", "mx.example.test", "-sigalgs",
                              "rsa_pss_rsae_sha256:RSA+SHA256").stdout
        assert "Peer signature type: RSA" in said, said
    said = stage.s_client("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256").stdout
    assert "Cipher is ECDHE-RSA-AES128-GCM-SHA256" in said


@suite.test
def the_certificate_fits_the_name(stage):
    for version in ("-tls1_2", "-tls1_3"):
        assert stage.subject(version, "-servername", "other.test") == "other.test"
        assert stage.subject(version, "-servername", "OTHER.test") == "other.test"
        assert stage.subject(version, "-servername", "mx.example.test") == "mx.example.test"
        assert stage.subject(version, "-servername", "unknown.test") == "mx.example.test"
        assert stage.subject(version, "-noservername") == "mx.example.test"


@suite.test
def sessions_are_resumed_on_every_core(stage):
    for version in ("-tls1_2", "-tls1_3"):
        ticket = stage.place.file("ticket" + version)
        # Saved when the server's ticket came: so something must have been read.
        run("sh", "-c", f"(sleep 1; printf 'QUIT\\r\\n') | openssl s_client -connect 127.0.0.1:{stage.port} "
            f"{version} -sess_out {ticket} -ign_eof")
        said = [stage.s_client(version, "-sess_in", ticket).stdout for _ in range(8)]
        assert all("Reused, TLS" in text for text in said), said[0]


@suite.test
def a_ticket_outlives_a_reload(stage):
    context = insecure_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def connect(session=None):
        with socket.create_connection(("127.0.0.1", stage.port), 60) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as s:
                assert s.recv(4096).startswith(b"220")
                return s.session, s.session_reused

    session, _ = connect()
    extra = stage.place.ports.reserve()
    stage.server.config["listen"].append({"address": "127.0.0.1", "port": extra, "service": "smtp"})
    stage.server.reload()
    until(lambda: accepts(extra), "the reload")
    assert connect(session)[1]


@suite.test
def handshakes_that_break_off(stage):
    hello = bytes.fromhex("160301")
    said = b""
    for text in (b"", b"EHLO x\r\n", hello, hello + b"\xff\xff", hello + b"\x00\x05\x01\x00\x00\x01\x00",
                 b"\x80\x2e\x01\x00\x02" + b"\0" * 40, b"\x16" * 70000):
        with contextlib.suppress(OSError), Talk(stage.port, greet=False) as talk:
            talk.send(text)
            talk.socket.shutdown(socket.SHUT_WR)
            said = talk.closed()
        assert b"220" not in said
    stage.server.process.check_alive()
    with Talk(stage.port, tls=True) as talk:
        talk.ehlo()
        talk.login(USER, PASSWORD)


@suite.test
def large_mail_through_tls_in_odd_pieces(stage):
    """Records of every size, commands and bodies across their borders."""
    text = b"From: alice@example.test\r\n\r\n" + b"0123456789abcdef\r\n" * 20000
    with Talk(stage.port, tls=True) as talk:
        talk.ehlo()
        talk.login(USER, PASSWORD)
        stream = (f"MAIL FROM:<{USER}>\r\nRCPT TO:<b@example.org>\r\nBDAT {len(text)} LAST\r\n").encode() + text
        size, at = 1, 0
        while at < len(stream):
            talk.send(stream[at:at + size])
            at, size = at + size, size * 3 % 17011 + 1
        assert [talk.reply()[0] for _ in range(3)] == [250] * 3
        stage.server.cli("queue", "remove", "--all")


suite.main()
