#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that we did not write submit mail; what arrives at the sink is compared byte by byte."""
import base64
import contextlib
import email.utils
import re
import select
import smtplib
import socket
import ssl
import time

import scram
from support import (PASSWORD, PATIENCE_S, USER, Place, Ringpost, Sink, Suite, message, parse, program,
                     run, submission, until)
from talk import Talk

OTHER = "carol@other.test"


class Stage:
    """What all tests here share: a server for two accounts, and a sink behind it."""

    def __init__(self, place, sink, server):
        self.place, self.sink, self.server = place, sink, server
        self.ports, self.ca = server.ports, place.certificate()[0]
        self.count = 0

    def context(self):
        return ssl.create_default_context(cafile=self.ca)

    def client(self, service="submission", login=True):
        if service == "submissions":
            client = smtplib.SMTP_SSL("localhost", self.ports[service], timeout=PATIENCE_S,
                                      context=self.context())
        else:
            client = smtplib.SMTP("localhost", self.ports[service], timeout=PATIENCE_S)
        if service == "submission":
            client.starttls(context=self.context())
        if login and service != "smtp":
            client.login(USER, PASSWORD)
        return client

    def arrival(self, subject):
        """The one message with this subject."""
        wanted = f"Subject: {subject}\r\n".encode()
        found = lambda: [m for m in self.sink.messages if wanted in m["data"]]
        return until(found, f"{subject} at the sink")[0]

    def subject(self):
        self.count += 1
        return f"number {self.count}"


@contextlib.contextmanager
def stage():
    rows = {"smtp": {"relay_from": ["127.0.0.1/32"]}}
    config = {"smtp": {"size": "1M"}, "auth": {"fail_delay": "10ms", "fail_delay_max": "20ms"},
              "relay": {"routes": [{"domain": "friend.test", "accept": True, "hosts": ["127.0.0.1"]}]}}
    with Place() as place, Sink() as sink:
        route = config["relay"]["routes"][0]
        route |= {"port": sink.port, "tls": "none"}
        config["relay"]["routes"].append({"domain": "*", "hosts": ["127.0.0.1"], "port": sink.port,
                                          "tls": "none"})
        with submission(place, config, rows=rows, accounts=(USER, OTHER)) as server:
            yield Stage(place, sink, server)


suite = Suite(stage)

RECEIVED = re.compile(rb"Received: .*?\r\n(?=[^ \t])", re.S)


def split_received(data):
    """Our trace field, unfolded, and what follows it."""
    found = RECEIVED.match(data)
    assert found, data[:400]
    return re.sub(r"\r\n[ \t]+", " ", found.group().decode()), data[found.end():]


def check_received(field, protocol, **more):
    assert re.fullmatch(r"Received: (from \S+ \((?:\[[0-9.]+\]|local)\) )?by mx\.example\.test with (\S+)"
                        r"( \(TLS\S* \S+\))? id [0-9a-z]+( for <[^>]+>)?; (.+)\r\n", field), field
    assert f" with {protocol} " in field, field
    date = email.utils.parsedate_to_datetime(field.rsplit(";", 1)[1].strip())
    assert date.tzinfo is not None
    for text in more.values():
        assert text in field, field


def swaks(stage, subject, *args, port="submission", check=True):
    return run("swaks", "--server", "localhost", "--port", stage.ports[port], "--from", USER, "--to",
               "bob@example.org", "--auth-user", USER, "--auth-password", PASSWORD, "--ehlo",
               "swaks.example.test", "--header", f"Subject: {subject}", "--body", "Hello from swaks.",
               "--timeout", PATIENCE_S, *args, check=check)


@suite.test
def swaks_submits_in_every_way(stage):
    ways = [("submission", ["-tls", "--auth", "PLAIN"]), ("submission", ["-tls", "--auth", "LOGIN"]),
            ("submissions", ["--tls-on-connect", "--auth", "PLAIN"]),
            ("submission", ["-tls", "--auth", "PLAIN", "--pipeline"]),
            ("submission", ["-tls", "--auth", "LOGIN", "--pipeline", "--to", "a@example.org,b@example.org"])]
    for port, args in ways:
        subject = stage.subject()
        said = swaks(stage, subject, *args, port=port).stdout
        assert re.search(r"<~\*? +250 2\.0\.0 OK id=\S+", said) or "250 2.0.0 OK id=" in said, said
        got = stage.arrival(subject)
        assert got["sender"] == USER and b"\r\nHello from swaks.\r\n" in got["data"]
        check_received(split_received(got["data"])[0], "ESMTPSA", name="swaks.example.test")
    assert got["recipients"] == ["a@example.org", "b@example.org"]
    assert " for " not in split_received(got["data"])[0]  # one would learn of the other


@suite.test
def swaks_finds_no_cram(stage):
    done = swaks(stage, "no", "-tls", "--auth", "CRAM-MD5", check=False)
    assert done.returncode == 28, done  # "no such authentication"


@suite.test
def swaks_without_tls_gets_no_auth(stage):
    done = swaks(stage, "no", "--auth", "PLAIN", check=False)
    assert done.returncode == 28, done
    done = run("swaks", "--server", "localhost", "--port", stage.ports["submission"], "--from", USER,
               "--to", "bob@example.org", check=False)
    assert "530 5.7.0" in done.stdout and done.returncode == 23, done  # 23: MAIL refused


@suite.test
def swaks_is_told_that_the_password_is_wrong(stage):
    done = swaks(stage, "no", "-tls", "--auth", "PLAIN", "--auth-password", "wrong", check=False)
    assert "535 5.7.8" in done.stdout and done.returncode == 28, done


@suite.test
def curl_submits(stage):
    for scheme, service in (("smtp", "submission"), ("smtps", "submissions")):
        subject = stage.subject()
        text = stage.place.file("curl.eml", message(subject=subject, body="Line\n.dot\n\n..two\nend\n"))
        run("curl", "-sS", "--url", f"{scheme}://localhost:{stage.ports[service]}", "--ssl-reqd", "--cacert",
            stage.ca, "--user", f"{USER}:{PASSWORD}", "--mail-from", USER, "--mail-rcpt",
            "bob@example.org", "--mail-rcpt", "eve@example.org", "-T", text)
        got = stage.arrival(subject)
        assert got["recipients"] == ["bob@example.org", "eve@example.org"]
        assert got["data"].endswith(b"\r\n\r\nLine\r\n.dot\r\n\r\n..two\r\nend\r\n"), got["data"]


@suite.test
def msmtp_submits(stage):
    for args in (["--auth=plain"], ["--auth=login"], ["--auth=scram-sha-256"],
                 ["--auth=on", "--tls-starttls=off"]):
        service = "submissions" if "--tls-starttls=off" in args else "submission"
        subject = stage.subject()
        run("msmtp", "--file=/dev/null", "--host=localhost", f"--port={stage.ports[service]}", "--tls=on",
            f"--tls-trust-file={stage.ca}", f"--user={USER}", f"--passwordeval=echo '{PASSWORD}'",
            f"--from={USER}", *args, "--", "bob@example.org",
            input=message(subject=subject).replace("\r\n", "\n"))
        assert stage.arrival(subject)["recipients"] == ["bob@example.org"]


@suite.test
def smtp_source_sends_through_port_25(stage):
    before = len(stage.sink.messages)
    run(program("smtp-source", "postfix"), "-m", 50, "-s", 5, "-l", 3000, "-f", "x@elsewhere.test", "-t",
        "many@example.org", "-M", "source.example.test", f"inet:127.0.0.1:{stage.ports['smtp']}")
    got = stage.sink.wait(before + 50)[before:]
    assert len(got) == 50 and all(m["recipients"] == ["many@example.org"] for m in got)
    check_received(split_received(got[0]["data"])[0], "SMTP", ip="[127.0.0.1]",
                   rcpt="for <many@example.org>")  # it says HELO


# --- What is changed on the way, and what is not -------------------------------------------------


@suite.test
def missing_fields_are_added_and_private_ones_removed(stage):
    subject = stage.subject()
    head = (f"Return-Path: <liar@example.test>\r\nFrom: Alice <{USER}>\r\nTo: bob@example.org\r\n"
            f"Bcc: hidden@example.org,\r\n\tdeep@example.org\r\nSubject: {subject}\r\nX-Odd:  two  \r\n"
            f"BCC : other@example.org\r\n")
    body = "\r\nBody with trailing blanks  \r\n\r\n\r\n"
    with stage.client() as client:
        client.sendmail(USER, ["bob@example.org", "hidden@example.org"], head + body)
    got = stage.arrival(subject)
    rest = split_received(got["data"])[1].decode()
    wanted = (f"From: Alice <{USER}>\r\nTo: bob@example.org\r\nSubject: {subject}\r\nX-Odd:  two  \r\n")
    assert rest.startswith(wanted) and rest.endswith(body), rest
    added = rest[len(wanted):-len(body)]
    assert re.fullmatch(r"Date: [^\r]+\r\nMessage-ID: <[^<>@\s]+@mx\.example\.test>\r\n", added), added
    assert email.utils.parsedate_to_datetime(parse(got["data"])["Date"])


@suite.test
def complete_messages_arrive_as_they_were(stage):
    bodies = ["", "\r\n", ".\r\n", ".", "..\r\n...\r\n", "no line end at the end", "a\r\n.\r\nb\r\n",
              "tab\tand blank \r\n\r\n\r\n", "x" * 998 + "\r\n" + "y" * 998, "Grüße 8 Bit\r\n",
              "\x01\x7f control\r\n", "line\r\n" * 20000]
    with stage.client() as client:
        for body in bodies:
            subject = stage.subject()
            text = (f"From: {USER}\r\nSubject: {subject}\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
                    f"message-id: <{stage.count}@example.test>\r\n\r\n{body}").encode()
            client.sendmail(USER, ["bob@example.org"], text,
                            ["BODY=8BITMIME"] if not text.isascii() else [])
            rest = split_received(stage.arrival(subject)["data"])[1]
            assert rest == text + (b"" if text.endswith(b"\r\n") else b"\r\n"), (body[:60], rest[:300])


@suite.test
def port_25_adds_nothing_but_the_trace(stage):
    subject = stage.subject()
    text = (f"Return-Path: <x@y.test>\r\nReceived: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
            f"Subject: {subject}\r\nBcc: kept@example.org\r\n\r\nbody\r\n")
    with stage.client("smtp") as client:
        client.sendmail("x@y.test", ["bob@example.org"], text)
    rest = split_received(stage.arrival(subject)["data"])[1]
    assert rest.decode() == text.split("\r\n", 1)[1], rest


@suite.test
def bdat_gives_the_same_as_data(stage):
    subject = stage.subject()
    text = message(subject=subject, body="one\n.\n.two\n", Date="Sat, 21 Nov 2026 10:00:00 +0000",
                   Message_ID="<b@example.test>").encode()
    with Talk(stage.ports["submissions"], tls=True) as talk:
        assert "CHUNKING" in talk.ehlo()
        talk.login(USER, PASSWORD)
        talk.envelope(USER, "bob@example.org")
        parts = [text[:7], text[7:90], b"", text[90:]]
        for part in parts[:-1]:
            talk.send(b"BDAT %d\r\n" % len(part) + part)
        talk.send(b"BDAT %d LAST\r\n" % len(parts[-1]) + parts[-1])
        assert [talk.reply()[0] for _ in parts] == [250] * 4
        talk.expect(221, "QUIT")
    assert split_received(stage.arrival(subject)["data"])[1] == text


# --- Extensions through smtplib ------------------------------------------------------------------


@suite.test
def smtplib_uses_the_extensions(stage):
    with stage.client() as client:
        client.ehlo()
        for name in ("pipelining", "size", "8bitmime", "enhancedstatuscodes", "chunking", "binarymime",
                     "dsn", "smtputf8", "auth", "limits"):
            assert client.has_extn(name) or name == "auth", name
        assert "starttls" not in client.esmtp_features
        assert client.esmtp_features["size"] == str(1 << 20)
        subject = stage.subject()
        text = f"From: {USER}\r\nTo: jörg@bücher.example\r\nSubject: {subject}\r\n\r\nGrüße\r\n".encode()
        client.sendmail(USER, ["jörg@bücher.example"], text, ["SMTPUTF8", "BODY=8BITMIME"])
        got = stage.arrival(subject)
        local, _, domain = got["recipients"][0].partition("@")
        assert local == "jörg" and domain in ("bücher.example", "xn--bcher-kva.example"), got["recipients"]
        assert "To: jörg@bücher.example\r\n".encode() in got["data"]


@suite.test
def smtplib_speaks_of_size_and_dsn(stage):
    with stage.client() as client:
        code, text = client.mail(USER, [f"size={(1 << 20) + 1}"])
        assert code == 552 and text.startswith(b"5.3.4"), (code, text)
        for params in (["RET=HDRS", "ENVID=QQ314159"], ["RET=FULL"]):
            assert client.mail(USER, params)[0] == 250
            assert client.rcpt("bob@example.org", ["NOTIFY=SUCCESS,FAILURE,DELAY",
                                                   "ORCPT=rfc822;Bob+40example.org"])[0] == 250
            assert client.rcpt("bob@example.org", ["NOTIFY=NEVER"])[0] == 250
            assert client.rcpt("bob@example.org", ["NOTIFY=NEVER,DELAY"])[0] == 501
            assert client.rset()[0] == 250
        assert client.mail(USER, ["RET=SOME"])[0] == 501
        assert client.mail(USER, ["X-UNKNOWN=1"])[0] == 555
        try:
            client.sendmail(USER, ["bob@example.org"], message(body="x" * 900))
            client.mail(USER)
            client.rcpt("bob@example.org")
            code, text = client.data(b"Subject: bigger\r\n\r\n" + (b"x" * 70 + b"\r\n") * 15000)
            assert code == 552 and text.startswith(b"5.3.4"), (code, text)
            assert client.noop()[0] == 250
        except smtplib.SMTPServerDisconnected as error:
            raise AssertionError("too large a message ends no session") from error


# --- Who may send what to whom ------------------------------------------------------------------------


@suite.test
def only_the_owner_sends(stage):
    with stage.client(login=False) as client:
        client.ehlo()
        code, text = client.mail(USER)
        assert code == 530 and text.startswith(b"5.7.0"), (code, text)
    with stage.client() as client:
        code, text = client.mail(OTHER)
        assert code == 550 and text.startswith(b"5.7.1"), (code, text)
        for content in (message(sender=OTHER), message(sender=f"{USER}, {OTHER}"), "Subject: none\r\n\r\nx\r\n"):
            assert client.mail(USER)[0] == 250 and client.rcpt("bob@example.org")[0] == 250
            code, text = client.data(content.encode())
            assert code == 550 and text.startswith(b"5.7.1"), (content, code, text)


@suite.test
def strangers_may_not_relay(stage):
    with smtplib.SMTP("127.0.0.1", stage.ports["smtp"], timeout=PATIENCE_S,
                      source_address=("127.0.0.2", 0)) as client:
        client.ehlo()
        assert "auth" not in client.esmtp_features
        assert client.mail("x@y.test")[0] == 250
        code, text = client.rcpt("bob@example.org")
        assert code == 550 and text.startswith(b"5.7.1"), (code, text)
        code, text = client.rcpt("bob@example.test")  # own domain, nowhere to put it
        assert code == 550 and text.startswith(b"5.1.1"), (code, text)
        assert client.rcpt("bob@friend.test")[0] == 250
        subject = stage.subject()
        assert client.data(message(subject=subject).encode())[0] == 250
    assert stage.arrival(subject)["recipients"] == ["bob@friend.test"]
    with stage.client("smtp") as client:  # from an address that is listed
        client.ehlo()
        client.mail("x@y.test")
        assert client.rcpt("bob@example.org")[0] == 250


@suite.test
def lmtp_answers_for_each_recipient():
    with Place() as place, Sink() as sink:
        path = place.file("lmtp.sock")
        routes = [{"domain": name, "accept": True, "hosts": ["127.0.0.1"], "port": sink.port, "tls": "none"}
                  for name in ("friend.test", "other.test")]
        server = Ringpost(place, {"relay": {"routes": routes}}, services=("lmtp",))
        server.config["listen"].append({"address": "unix:" + path, "service": "lmtp"})
        with server:
            for where in ({"host": path}, {"host": "127.0.0.1", "port": server.ports["lmtp"]}):
                with smtplib.LMTP(**where, local_hostname="agent.test") as client:
                    assert client.sendmail("a@b.test", ["x@friend.test"], message(subject="by lmtp")) == {}
            got = sink.wait(2)
            with Talk(None, address=path) as talk:
                talk.expect(500, "EHLO x.test")
                talk.ehlo(verb="LHLO")
                talk.envelope("a@b.test", "x@friend.test")
                talk.expect("550 5.7.1", "RCPT TO:<y@nobody.test>")
                talk.expect(250, "RCPT TO:<z@other.test>")
                assert talk.data(message(subject="for two"))[0] == 250
                talk.expect(250)  # a reply for each that was accepted
                talk.expect(221, "QUIT")
            until(lambda: sum(len(m["recipients"]) for m in got) == 4, "all four")
            check_received(split_received(got[0]["data"])[0], "LMTP")


@suite.test
def the_postmaster_needs_no_domain():
    with Place() as place, Sink() as sink:
        routes = [{"domain": "*", "hosts": ["127.0.0.1"], "port": sink.port, "tls": "none"},
                  {"domain": "friend.test", "hosts": ["127.0.0.1"], "port": sink.port, "tls": "none"},
                  {"domain": "other.test", "hosts": ["127.0.0.1"], "port": sink.port, "tls": "none"}]
        with Ringpost(place, {"relay": {"routes": routes}}) as server, Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
            talk.expect(250, "MAIL FROM:<x@y.test>")
            talk.expect("550 5.7.1", "RCPT TO:<postmaster>")  # no mail is taken here at all
            server.cli("domain", "add", "other.test")
            talk.expect(250, "RCPT TO:<Postmaster>")
            assert talk.data(message())[0] == 250
            assert sink.wait(1)[0]["recipients"] == ["postmaster@other.test"]
            server.cli("domain", "add", "example.test")  # the host is mx.example.test
            server.cli("account", "add", "postmaster@example.test")
            talk.expect(250, "MAIL FROM:<x@y.test>")
            talk.expect(250, "RCPT TO:<POSTMASTER>")
            assert talk.data(message())[0] == 250
            assert len(server.cli_json("message", "list", "postmaster@example.test", "INBOX")) == 1


# --- What may be asked for, and what is bounded ------------------------------------------------------


@suite.test
def a_message_may_be_held(stage):
    with stage.client() as client:
        client.ehlo()
        longest = int(client.esmtp_features["futurerelease"].split()[0])
        assert client.mail(USER, [f"HOLDFOR={longest + 60}"])[0] == 501
        subject, began = stage.subject(), time.monotonic()
        client.sendmail(USER, ["bob@example.org"], message(subject=subject), ["HOLDFOR=2"])
    stage.arrival(subject)
    assert time.monotonic() - began >= 1.9


@suite.test
def priority_is_for_who_logged_in(stage):
    with stage.client() as client:
        assert client.mail(USER, ["MT-PRIORITY=4"])[0] == 250
        client.rset()
        assert client.mail(USER, ["MT-PRIORITY=10"])[0] == 501
    with smtplib.SMTP("127.0.0.1", stage.ports["smtp"], source_address=("127.0.0.2", 0)) as client:
        client.ehlo()
        assert client.mail("x@y.test", ["MT-PRIORITY=4"])[0] == 555


@suite.test
def the_submitter_may_stay_unnamed():
    with Place() as place, Sink() as sink, \
            submission(place, {"smtp": {"trace_client": False}}, route_to=sink.port) as server:
        with smtplib.SMTP_SSL("localhost", server.ports["submissions"], local_hostname="secret.example.test",
                              context=ssl.create_default_context(cafile=place.certificate()[0])) as client:
            client.login(USER, PASSWORD)
            client.sendmail(USER, ["bob@example.org"], message())
        field, _ = split_received(sink.wait(1)[0]["data"])
        check_received(field, "ESMTPSA")
        assert "127.0.0.1" not in field and "secret" not in field


@suite.test
def connections_of_a_client_are_bounded():
    with Place() as place, Ringpost(place, {"limits": {"client_connections": 3}}) as server:
        port = server.ports["smtp"]
        with Talk(port), Talk(port), Talk(port) as third:
            with Talk(port, greet=False) as fourth:
                fourth.expect("421 4.7.0")
                assert fourth.closed() == b""
            third.expect(221, "QUIT")
            third.closed()

            def free():
                with Talk(port, greet=False) as again:
                    return again.reply()[0] == 220

            until(free, "the place of the third")


@suite.test
def every_service_says_that_there_are_too_many():
    words = {"smtp": "421 4.7.0", "submission": "421 4.7.0", "lmtp": "421 4.7.0",
             "pop3": "-ERR [SYS/TEMP]", "imap": "* BYE [UNAVAILABLE]",
             "submissions": "", "pop3s": "", "imaps": ""}
    with Place() as place, Ringpost(place, {"limits": {"client_connections": 2}},
                                    services=tuple(words)) as server:
        for service, refusal in words.items():
            with contextlib.ExitStack() as stack:
                talks = [stack.enter_context(Talk(server.ports[service], greet=False))
                         for _ in range(3)]
                if not refusal:  # on a TLS port nothing is said: there was no handshake
                    closed, _, _ = select.select([t.socket for t in talks], [], [], PATIENCE_S)
                    assert [s.recv(100) for s in closed] == [b""], service
                    continue
                # Whichever of them is accepted last.
                lines = [talk.line() for talk in talks]
                refused = [n for n, line in enumerate(lines) if line.startswith(refusal)]
                assert len(refused) == 1, (service, lines)
                assert lines[refused[0]].endswith("Too many connections from your address"), lines
                assert talks[refused[0]].closed() == b""


@suite.test
def the_rate_of_a_client_is_one_over_all_workers():
    config = {"workers": 4, "limits": {"client_rate": 10}}
    with Place() as place, Ringpost(place, config) as server:
        began = time.monotonic()
        taken = 0
        for _ in range(60):
            with Talk(server.ports["smtp"], greet=False) as talk:
                code, text = talk.reply()
                assert code == 220 or (code, text[:5]) == (421, "4.7.0"), (code, text)
                taken += code == 220
        assert 10 <= taken <= 11 + (time.monotonic() - began) / 6, taken


@suite.test
def who_comes_too_often_to_a_tls_port_is_told_nothing():
    # Plain words before the handshake would be taken for a broken record.
    services = ("submissions", "pop3s", "imaps")
    with Place() as place, Ringpost(place, {"limits": {"client_rate": 1}}, services=services) as server:
        for service in services:
            for _ in range(3):
                with Talk(server.ports[service], greet=False) as talk:
                    talk.socket.settimeout(PATIENCE_S)
                    last = select.select([talk.socket], [], [], 0.3)[0] and talk.socket.recv(100)
                    assert last in ([], b""), (service, last)
            assert last == b"", service


def metric(path, name):
    with socket.socket(socket.AF_UNIX) as scrape:
        scrape.connect(path)
        scrape.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with scrape.makefile() as answer:
            return int(re.search(rf"(?m)^{name} (\d+)$", answer.read())[1])


@suite.test
def a_password_costs_one_hash_over_all_workers():
    with Place() as place:
        path = place.file("metrics.sock")
        hashes = lambda: metric(path, "ringpost_login_hashes_total")
        with submission(place, {"workers": 4, "metrics": "unix:" + path}) as server, contextlib.ExitStack() as stack:
            talks = [stack.enter_context(Talk(server.ports["submissions"], tls=True)) for _ in range(24)]
            login = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
            for talk in talks:
                talk.ehlo()
            for talk in talks:  # none waits for the answer of another
                talk.send(f"AUTH PLAIN {login}\r\n")
            for talk in talks:
                talk.expect(235)
            assert hashes() == 1, hashes()
            wrong = base64.b64encode(f"\0{USER}\0wrong".encode()).decode()
            with Talk(server.ports["submissions"], tls=True) as talk:
                talk.ehlo()
                talk.expect(535, f"AUTH PLAIN {wrong}")
            assert hashes() == 2, hashes()


# --- SCRAM ------------------------------------------------------------------------------------------------


@suite.test
def scram_proves_both_sides(stage):
    with Talk(stage.ports["submission"]) as talk:
        assert "AUTH" not in talk.ehlo()
        talk.starttls()
        offered = talk.ehlo()["AUTH"]
        assert {"PLAIN", "LOGIN", "SCRAM-SHA-256"} <= set(offered) and "CRAM-MD5" not in offered
        assert scram.log_in(talk, scram.Scram(USER, PASSWORD)) == 235
        talk.envelope(USER, "bob@example.org")
    with Talk(stage.ports["submissions"], tls=True) as talk:
        talk.ehlo()
        assert scram.log_in(talk, scram.Scram(USER, "wrong")) == 535
        assert scram.log_in(talk, scram.Scram("nobody@example.test", PASSWORD)) == 535
        assert scram.log_in(talk, scram.Scram(USER, PASSWORD)) == 235


@suite.test
def an_unknown_user_has_a_stable_salt(stage):
    salts = []
    for user in ("nobody@example.test", "nobody@example.test", "nobody2@example.test"):
        with Talk(stage.ports["submissions"], tls=True) as talk:
            talk.ehlo()
            first = base64.b64encode(scram.Scram(user, "x").first()).decode()
            text = talk.expect(334, f"AUTH SCRAM-SHA-256 {first}")
            salts.append(re.search(r"s=([^,]+)", base64.b64decode(text).decode()).group(1))
            talk.expect(501, "*")
    assert salts[0] == salts[1] != salts[2]


@suite.test
def new_iterations_tell_nothing_about_old_accounts():
    def rounds(server, user):
        with Talk(server.ports["submissions"], tls=True) as talk:
            talk.ehlo()
            first = base64.b64encode(scram.Scram(user, "x").first()).decode()
            text = talk.expect(334, f"AUTH SCRAM-SHA-256 {first}")
            talk.expect(501, "*")
            return re.search(r"i=(\d+)", base64.b64decode(text).decode()).group(1)

    with Place() as place, submission(place, {"auth": {"scram_iterations": 5000}}) as server:
        seen = lambda: [rounds(server, user) for user in (USER, "nobody@example.test")]
        assert seen() == ["5000", "5000"]
        server.config["auth"]["scram_iterations"] = 6000
        server.write_config()
        server.reload()
        until(lambda: "configuration reloaded" in server.log(), "the reload")
        assert seen() == ["5000", "5000"]
        server.stop()
        server.start()
        assert seen() == ["5000", "5000"]


@suite.test
def scram_plus_binds_the_channel(stage):
    with scram.ExporterTalk(stage.ports["submissions"]) as talk:
        assert "SCRAM-SHA-256-PLUS" in talk.ehlo()["AUTH"]
        false = bytes([talk.exported[0] ^ 1]) + talk.exported[1:]
        assert scram.log_in(talk, scram.Scram(USER, PASSWORD, false)) == 535
        assert scram.log_in(talk, scram.Scram(USER, PASSWORD, talk.exported)) == 235
        talk.envelope(USER, "bob@example.org")
    context = ssl.create_default_context(cafile=stage.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # no exporter that is safe to bind to
    with smtplib.SMTP_SSL("localhost", stage.ports["submissions"], context=context) as client:
        client.ehlo()
        assert "SCRAM-SHA-256-PLUS" not in client.esmtp_features["auth"]
        client.login(USER, PASSWORD)


@suite.test
def failed_logins_lock(stage):
    """Ten wrong passwords from one address lock that pair; the same account elsewhere is free."""
    codes = []
    with contextlib.suppress(EOFError):
        for _ in range(4):
            with Talk(stage.ports["submissions"], tls=True) as talk:
                talk.ehlo()
                for _ in range(4):
                    token = base64.b64encode(f"\0{OTHER}\0wrong".encode()).decode()
                    codes.append(talk.ask(f"AUTH PLAIN {token}")[0])
    assert codes[0] == 535 and codes[-1] == 454, codes
    with stage.client() as client:
        assert client.noop()[0] == 250


@suite.test
def case_tells_nothing_about_a_user(stage):
    """The salt of a known name is the same however it is spelt; so must be that of one made up."""
    for name in (USER, "nobody@example.test"):
        seen = set()
        for user in (name, name.upper(), name.title()):
            with Talk(stage.ports["submissions"], tls=True) as talk:
                talk.ehlo()
                first = base64.b64encode(scram.Scram(user, "x").first()).decode()
                text = base64.b64decode(talk.expect(334, f"AUTH SCRAM-SHA-256 {first}")).decode()
                seen.add(re.search(r"s=([^,]+,i=\d+)", text).group(1))
                talk.expect(501, "*")
        assert len(seen) == 1, (name, seen)


suite.main()
