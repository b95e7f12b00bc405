#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Delivery: to aiosmtpd, to Postfix and its smtp-sink, and to next hops that misbehave on purpose."""
import contextlib
import email
import email.utils
import json
import os
import re
import ssl
import time

from hop import ALL, DROP, Hop, address_of
from postfix import Postfix
from support import (BUILD, PASSWORD, USER, Place, Process, Sink, Skip, Suite, accepts, free_port,
                     message, parse, program, submission, submit, until)
from talk import Talk

RETRY = {"first": "300ms", "factor": 1, "max": "300ms"}


def route(port, domain="*", **more):
    return {"domain": domain, "hosts": ["127.0.0.1"], "port": port, "tls": "none", **more}


@contextlib.contextmanager
def relay(place, *routes, retry=(), **relay_options):
    """A server with these routes; retries come fast, and reports about failures go where "*" goes."""
    home = next((row for row in routes if row["domain"] == "*"), None)
    if home and not any(row["domain"] == "example.test" for row in routes):
        routes += ({**home, "domain": "example.test"},)
    config = {"relay": {"routes": list(routes), "retry": {**RETRY, **dict(retry)}, **relay_options}}
    with submission(place, config) as server:
        yield server


def queue_is_empty(server):
    """Nothing waits any more: every recipient has its final result."""
    until(lambda: server.cli_json("queue", "count")["recipients"] == 0, "an empty queue")


def body_of(data):
    return data.split(b"\r\n\r\n", 1)[1]


def rcpts_refused(word, reply):
    return lambda hop, session, verb, line: reply if verb == "RCPT" and word in line else None


suite = Suite()


# --- Next hops that others wrote ---------------------------------------------------------------


@suite.test
def smtp_sink_takes_a_hundred():
    sink_program = program("smtp-sink", "postfix")
    with Place() as place:
        port = free_port()
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        sink = Process(place, "smtp-sink", [sink_program, *user, "-c", f"127.0.0.1:{port}", "100"])
        try:
            until(lambda: sink.check_alive() and accepts(port), "smtp-sink")
            with relay(place, route(port)) as server:
                for number in range(100):
                    if number % 25 == 0:
                        submit(server, message(subject=f"batch {number}"),
                               [f"r{n}@d{n}.example.org" for n in range(number, number + 25)])
                queue_is_empty(server)
        finally:
            sink.stop()


@suite.test
def real_postfix_is_the_next_hop():
    with Place() as place, Place() as there, Sink() as sink, \
            Postfix(there, relay_to=sink.port, tls=True,
                    options={"smtpd_tls_received_header": "yes"}) as postfix:
        with relay(place, route(postfix.port, tls="required")) as server:
            submit(server, message(subject="eight", body="Grüße\n"), ["b@example.org", "c@example.org"],
                   mail_options=["BODY=8BITMIME"])
            submit(server, message(subject="plain"), ["b@example.org"])
            queue_is_empty(server)
        got = sink.wait(2)
        assert {tuple(sorted(m["recipients"])) for m in got} == \
            {("b@example.org", "c@example.org"), ("b@example.org",)}, got
        assert any("Grüße".encode() in body_of(m["data"]) for m in got)
        assert all(b"(using TLSv1." in m["data"] for m in got)


@suite.test
def aiosmtpd_is_the_next_hop():
    with Place() as place, Sink() as sink, relay(place, route(sink.port)) as server:
        submit(server, message(), ["b@example.org", "c@example.org"])
        assert sink.wait(1)[0]["recipients"] == ["b@example.org", "c@example.org"]


# --- Routes ----------------------------------------------------------------------------------------


@suite.test
def routes_choose_by_domain():
    with Place() as place, Hop() as one, Hop() as rest, \
            Hop(auth=("relay", "secret"), tls=place.certificate()) as two:
        login = {"user": "relay", "password": "secret"}
        rows = [route(one.port, "one.test"), route(rest.port),
                route(two.port, "two.test", login=login, ehlo="me.test", tls="required")]
        with relay(place, *rows) as server:
            submit(server, message(), ["a@one.test", "b@two.test", "c@three.test", "d@ONE.test"])
            assert sorted(r.lower() for r in one.wait(1)[0].recipients) == ["a@one.test", "d@one.test"]
            assert two.wait(1)[0].recipients == ["b@two.test"]
            assert two.sessions[0].login == "relay" and two.sessions[0].lines[0] == "EHLO me.test"
            assert rest.wait(1)[0].recipients == ["c@three.test"]
            assert one.sessions[0].lines[0] == "EHLO mx.example.test"


@suite.test
def a_route_has_its_own_source_and_name():
    with Place() as place, Hop() as hop:
        rows = [route(hop.port, "one.test", source="127.0.0.5", ehlo="one.example.test"),
                route(hop.port, "two.test", source="127.0.0.6"),
                route(hop.port, "three.test", ehlo="three.example.test"), route(hop.port)]
        with relay(place, *rows, source="127.0.0.7", ehlo="all.example.test", idle="1m") as server:
            for domain in ("one.test", "two.test", "three.test", "four.test"):
                for number in range(2):  # the second goes over what the first left open
                    submit(server, message(), [f"b{number}@{domain}"])
            hop.wait(8)
            came = {(address_of(mail.rcpts[0]).split("@")[1], mail.session.client, mail.session.lines[0][5:])
                    for mail in hop.messages}
            assert came == {("one.test", "127.0.0.5", "one.example.test"),
                            ("two.test", "127.0.0.6", "all.example.test"),
                            ("three.test", "127.0.0.7", "three.example.test"),
                            ("four.test", "127.0.0.7", "all.example.test")}, came
            assert len(hop.sessions) <= 8


@suite.test
def tls_sessions_are_resumed():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Place() as place, Hop(tls=place.certificate()) as hop:
            hop.tls.maximum_version = version
            config = {"workers": 1, "relay": {"messages_per_connection": 1, "routes": [
                route(hop.port, tls="required"), route(hop.port, "else.test", tls="opportunistic")]}}
            with submission(place, config) as server:
                for number in range(3):
                    submit(server, message(), [f"b{number}@example.org"])
                    hop.wait(number + 1)
                submit(server, message(), ["b@else.test"])
                hop.wait(4)
            assert [s.resumed for s in hop.sessions][:3] == [False, True, True], version


@suite.test
def passwords_are_not_sent_in_clear():
    with Place() as place, Hop(auth=("relay", "secret")) as hop, Hop() as home:
        row = route(hop.port, "example.org", login={"user": "relay", "password": "secret"})
        with relay(place, row, route(home.port), retry={"expire": "1s"}) as server:
            submit(server, message())
            assert failed_of(parse(home.wait(1)[0].data))["bob@example.org"][0] == "failed"
        assert hop.heard("AUTH") == [] and hop.heard("MAIL") == []


@suite.test
def lmtp_over_tcp_and_unix_socket():
    def says(hop, session, verb, line):
        if verb == "DOT" and "full" in line:
            return "552 5.2.2 mailbox full"
        return "450 4.2.0 not yet" if verb == "DOT" and "later" in line and len(hop.messages) < 1 else None

    with Place() as place, Hop(says, lmtp=True) as tcp, Hop() as rest, \
            Hop(lmtp=True, unix=place.file("lmtp.sock")) as unix:
        rows = [route(tcp.port, "tcp.test", protocol="lmtp"), route(rest.port),
                {"domain": "unix.test", "hosts": ["unix:" + unix.unix], "protocol": "lmtp", "tls": "none"}]
        with relay(place, *rows) as server:
            submit(server, message(), ["a@tcp.test", "full@tcp.test", "later@tcp.test", "b@unix.test"])
            assert unix.wait(1)[0].recipients == ["b@unix.test"]
            got = tcp.wait(2)
            assert got[0].recipients == ["a@tcp.test"] and got[1].recipients == ["later@tcp.test"]
            report = parse(rest.wait(1)[0].data)
            assert "full@tcp.test" in report.as_string() and "a@tcp.test" not in failed_of(report)
            queue_is_empty(server)
        assert len(tcp.messages) == 2 and tcp.sessions[0].lines[0].startswith("LHLO ")


def failed_of(report):
    """Recipients that a report names, with action and status."""
    status = report.get_payload()[1]
    if status.get_content_type() == "message/global-delivery-status":  # RFC 6533, unknown to Python
        text = status.as_string().replace("\r\n", "\n").split("\n\n", 1)[1]
        groups = [email.message_from_string(block) for block in text.strip().split("\n\n")]
    else:
        assert status.get_content_type() == "message/delivery-status"
        groups = status.get_payload()
    rows = {}
    for group in groups[1:]:
        name = group["Final-Recipient"].split(";", 1)[1].strip()
        rows[name] = (group["Action"], group["Status"])
    return rows


# --- TLS ------------------------------------------------------------------------------------------------


@suite.test
def opportunistic_tls_and_its_fall_back():
    refuse = lambda hop, session, verb, line: "454 4.7.0 not now" if verb == "STARTTLS" else None

    def broken(hop, session, verb, line):
        if verb != "STARTTLS":
            return None
        session.say("220 go")
        return DROP

    with Place() as place, Hop(tls=place.certificate()) as good, Hop() as without, \
            Hop(refuse, tls=place.certificate()) as refusing, \
            Hop(broken, tls=place.certificate()) as breaking, Hop() as rest:
        rows = [route(good.port, "good.test"), route(without.port, "without.test"),
                route(refusing.port, "refusing.test"), route(breaking.port, "breaking.test"), route(rest.port)]
        for row in rows:
            row["tls"] = "opportunistic"
        with relay(place, *rows) as server:
            submit(server, message(), [f"a@{name}.test" for name in ("good", "without", "refusing", "breaking")])
            assert good.wait(1)[0].session.tls
            assert not without.wait(1)[0].session.tls
            assert not refusing.wait(1)[0].session.tls
            assert not breaking.wait(1)[0].session.tls
            queue_is_empty(server)
        assert rest.messages == []


@suite.test
def required_tls_is_never_given_up():
    with Place() as place, Hop() as without, Hop(tls=place.certificate()) as good, Hop() as rest:
        rows = [route(without.port, "without.test"), route(good.port, "good.test")]
        for row in rows:
            row["tls"] = "required"
        rows.append(route(rest.port))
        with relay(place, *rows, retry={"expire": "1s"}) as server:
            submit(server, message(), ["a@without.test", "a@good.test"])
            assert good.wait(1)[0].session.tls
            report = parse(rest.wait(1)[0].data)
            assert failed_of(report)["a@without.test"][0] == "failed"
        assert without.messages == [] and without.heard("MAIL") == []


@suite.test
def verified_tls_wants_the_right_name():
    with Place() as place, Hop(tls=place.certificate("good", "127.0.0.1")) as good, \
            Hop(tls=place.certificate("strange", "strange.test")) as unknown, Hop() as rest:
        rows = [route(good.port, "good.test", tls="verify"), route(unknown.port, "unknown.test", tls="verify"),
                route(rest.port), route(rest.port, "example.test")]
        config = {"relay": {"routes": rows, "retry": {**RETRY, "expire": "1s"}},
                  "tls": {"ca_file": place.certificate("good", "127.0.0.1")[0]}}
        with submission(place, config) as server:
            submit(server, message(), ["a@good.test", "a@unknown.test"])
            assert good.wait(1)[0].session.tls
            assert failed_of(parse(rest.wait(1)[0].data))["a@unknown.test"][0] == "failed"
        assert unknown.heard("MAIL") == []


# --- Failures and reports -------------------------------------------------------------------------------


@suite.test
def temporary_failures_are_tried_again():
    def says(hop, session, verb, line):
        tries = len(hop.heard("RCPT"))
        return "451 4.7.1 greylisted" if verb == "RCPT" and tries <= 3 else None

    with Place() as place, Hop(says) as hop, relay(place, route(hop.port)) as server:
        submit(server, message())
        assert hop.wait(1)[0].recipients == ["bob@example.org"]
        queue_is_empty(server)
        assert len(hop.messages) == 1 and len(hop.heard("RCPT")) == 4


@suite.test
def each_verb_may_fail_for_a_while():
    for verb in ("CONNECT", "EHLO", "MAIL", "DATA", "DOT"):
        count = []

        def says(hop, session, heard, line, verb=verb, count=count):
            if heard != verb or len(count) >= 2:
                return None
            count.append(1)
            return "450 4.3.0 come back" if verb != "CONNECT" else "421 4.3.2 come back"

        extensions = [name for name in ALL if name != "CHUNKING"]
        with Place() as place, Hop(says, extensions) as hop, relay(place, route(hop.port)) as server:
            submit(server, message(subject=verb))
            hop.wait(1)
            queue_is_empty(server)
            assert len(hop.messages) == 1 and len(count) == 2, (verb, count)


@suite.test
def a_permanent_failure_is_reported():
    says = rcpts_refused("nobody", "550 5.1.1 No such user here")
    with Place() as place, Hop(says) as hop, Hop(extensions=("8BITMIME",)) as home:
        with relay(place, route(hop.port, "example.org"), route(home.port)) as server:
            submit(server, message(subject="to nobody", body="Secret body\n"),
                   ["nobody@example.org", "bob@example.org"], mail_options=["RET=HDRS", "ENVID=Q+2B42"],
                   rcpt_options=["NOTIFY=FAILURE", "ORCPT=rfc822;first+2Blast@example.org"])
            assert hop.wait(1)[0].recipients == ["bob@example.org"]
            mail = home.wait(1)[0]
            queue_is_empty(server)
    assert mail.sender == "" and mail.recipients == [USER]
    check_report(parse(mail.data))


def check_report(report):
    assert report.get_content_type() == "multipart/report" and not report.defects
    assert report.get_param("report-type") == "delivery-status"
    assert report["To"] == USER and "MAILER-DAEMON@mx.example.test" in report["From"]
    assert report["Message-ID"] and report["Auto-Submitted"].startswith("auto-")
    assert email.utils.parsedate_to_datetime(report["Date"])
    text, status, original = report.get_payload()
    assert text.get_content_type() == "text/plain" and "nobody@example.org" in text.get_content()
    assert status.get_content_type() == "message/delivery-status"
    about, rcpt = status.get_payload()
    assert about["Reporting-MTA"] == "dns; mx.example.test" or \
        re.fullmatch(r"dns; ?mx\.example\.test", about["Reporting-MTA"])
    assert about["Original-Envelope-Id"] == "Q+42" and about["Arrival-Date"]
    assert rcpt["Final-Recipient"].replace(" ", "") == "rfc822;nobody@example.org"
    assert rcpt["Original-Recipient"].replace(" ", "") == "rfc822;first+last@example.org"
    assert rcpt["Action"] == "failed" and rcpt["Status"] == "5.1.1"
    assert "550 5.1.1 No such user here" in rcpt["Diagnostic-Code"]
    assert rcpt["Diagnostic-Code"].startswith("smtp;") and rcpt["Remote-MTA"]
    assert original.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers")
    assert "Subject: to nobody" in original.as_string() and "Secret body" not in report.as_string()


@suite.test
def ret_full_brings_the_message_back():
    says = rcpts_refused("nobody", "550 no")
    with Place() as place, Hop(says) as hop, relay(place, route(hop.port)) as server:
        submit(server, message(subject="whole", body="The body\n"), ["nobody@example.org"],
               mail_options=["RET=FULL"])
        report = parse(hop.wait(1)[0].data)
        original = report.get_payload()[2]
        assert original.get_content_type() == "message/rfc822"
        assert original.get_payload()[0]["Subject"] == "whole"
        assert "The body" in original.get_payload()[0].get_content()
        assert failed_of(report)["nobody@example.org"] == ("failed", "5.0.0")


@suite.test
def notify_is_honoured():
    says = rcpts_refused("nobody", "550 5.1.1 no")
    with Place() as place, Hop(says, extensions=("PIPELINING",)) as hop, Hop() as home:
        with relay(place, route(hop.port, "example.org"), route(home.port)) as server:
            for subject, rcpt, notify in (("never", "nobody@example.org", "NEVER"),
                                          ("success only", "nobody@example.org", "SUCCESS"),
                                          ("success", "bob@example.org", "SUCCESS")):
                submit(server, message(subject=subject), [rcpt], rcpt_options=[f"NOTIFY={notify}"])
            queue_is_empty(server)
            # From <> nothing is reported, whatever happens.
            submit(server, message(subject="null sender"), ["nobody@example.org"], sender="")
            queue_is_empty(server)
        reports = [parse(m.data) for m in home.messages]
        assert len(reports) == 1 and failed_of(reports[0]) == {"bob@example.org": ("relayed", "2.0.0")}, \
            [r.as_string() for r in reports]


@suite.test
def dsn_parameters_go_on_to_who_knows_them():
    with Place() as place, Hop() as hop, relay(place, route(hop.port)) as server:
        submit(server, message(), mail_options=["RET=HDRS", "ENVID=Q+2B42"],
               rcpt_options=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;first+2Blast@example.org"])
        mail = hop.wait(1)[0]
        assert "RET=HDRS" in mail.params and "ENVID=Q+2B42" in mail.params, mail.mail
        words = mail.rcpts[0].split(">", 1)[1].split()
        assert "ORCPT=rfc822;first+2Blast@example.org" in words, mail.rcpts
        assert {w for w in words if w.startswith("NOTIFY=")} & {"NOTIFY=SUCCESS,DELAY", "NOTIFY=DELAY,SUCCESS"}
        queue_is_empty(server)
        assert len(hop.messages) == 1  # the next hop reports, not we


@suite.test
def what_expires_is_returned_after_a_warning():
    says = rcpts_refused("slow", "451 4.2.0 busy")
    with Place() as place, Hop(says) as hop, Hop() as home:
        with relay(place, route(hop.port, "example.org"), route(home.port),
                   retry={"warn": "500ms", "expire": "2s"}) as server:
            submit(server, message(), ["slow@example.org"])
            delayed, failed = [parse(m.data) for m in home.wait(2)]
            queue_is_empty(server)
        assert len(home.messages) == 2
    action, status = failed_of(delayed)["slow@example.org"]
    assert action == "delayed" and status.startswith("4."), (action, status)
    assert delayed.get_payload()[1].get_payload()[1]["Will-Retry-Until"]
    action, status = failed_of(failed)["slow@example.org"]
    assert action == "failed" and status[0] in "45", (action, status)
    assert "451 4.2.0 busy" in failed.get_payload()[1].get_payload()[1]["Diagnostic-Code"], failed.as_string()


@suite.test
def some_recipients_fail():
    def says(hop, session, verb, line):
        if verb == "RCPT" and "gone" in line:
            return "550 5.1.1 gone"
        if verb == "RCPT" and "later" in line and len(hop.messages) == 0:
            return "450 4.2.1 later"
        return None

    with Place() as place, Hop(says) as hop, Hop() as home:
        with relay(place, route(hop.port, "example.org"), route(home.port)) as server:
            submit(server, message(), ["a@example.org", "gone@example.org", "later@example.org", "b@example.org"])
            got = hop.wait(2)
            queue_is_empty(server)
            assert [sorted(m.recipients) for m in got] == [["a@example.org", "b@example.org"], ["later@example.org"]]
            assert set(failed_of(parse(home.wait(1)[0].data))) == {"gone@example.org"}
        assert len(home.messages) == 1 and len(got) == 2


@suite.test
def too_many_recipients_go_at_once_in_another_transaction():
    def says(hop, session, verb, line):
        return "452 4.5.3 too many" if verb == "RCPT" and len(session.rcpts) >= 3 else None

    with Place() as place, Hop(says) as hop:
        with relay(place, route(hop.port), retry={"first": "1h", "max": "1h"}) as server:
            submit(server, message(), [f"r{n}@example.org" for n in range(8)])
            until(lambda: sum(len(m.rcpts) for m in hop.messages) == 8, "all eight")
        assert sorted(r for m in hop.messages for r in m.recipients) == [f"r{n}@example.org" for n in range(8)]


@suite.test
def the_next_host_is_tried():
    with Place() as place, Hop() as hop:
        hosts = [f"127.0.0.1:{place.ports.reserve()}", f"127.0.0.1:{hop.port}"]
        row = {"domain": "*", "hosts": hosts, "tls": "none"}
        with relay(place, row, retry={"first": "1h", "max": "1h"}) as server:
            submit(server, message())
            hop.wait(1)


# --- What the next hop cannot do ------------------------------------------------------------------------


@suite.test
def eight_bit_mail_is_recoded():
    text = (f"From: {USER}\r\nTo: b@example.org\r\nSubject: recode\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/mixed; boundary=bb\r\n\r\n"
            "--bb\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            "Grüße aus Köln =3D . \r\n.dot\r\n"
            "--bb\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            f"<p>{'ü' * 400}</p>\r\n--bb--\r\n").encode()
    with Place() as place, Hop(extensions=("PIPELINING",)) as hop, relay(place, route(hop.port)) as server:
        submit(server, text, mail_options=["BODY=8BITMIME"])
        mail = hop.wait(1)[0]
    assert mail.data.isascii() and not [p for p in mail.params if p.startswith("BODY")], mail.data
    got = parse(mail.data)
    first, second = [part.get_payload(decode=True).decode() for part in got.iter_parts()]
    assert first.replace("\r\n", "\n").rstrip("\n") == "Grüße aus Köln =3D . \n.dot", first
    assert second.replace("\r\n", "\n").rstrip("\n") == f"<p>{'ü' * 400}</p>", second
    assert max(map(len, mail.data.split(b"\r\n"))) <= 998


@suite.test
def signed_parts_are_never_recoded():
    text = (f"From: {USER}\r\nTo: b@example.org\r\nSubject: signed\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/signed; boundary=bb; micalg=pgp-sha256;\r\n"
            " protocol=\"application/pgp-signature\"\r\n\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n--bb\r\n"
            "Content-Type: application/pgp-signature\r\n\r\nxx\r\n--bb--\r\n").encode()
    with Place() as place, Hop(extensions=("PIPELINING",)) as hop, Hop() as home:
        with relay(place, route(hop.port, "example.org"), route(home.port)) as server:
            submit(server, text, mail_options=["BODY=8BITMIME"])
            report = parse(home.wait(1)[0].data)
        assert failed_of(report)["bob@example.org"] == ("failed", "5.6.3") and hop.messages == []


@suite.test
def utf8_mail_meets_an_old_hop():
    old = [name for name in ALL if name != "SMTPUTF8"]
    with Place() as place, Hop(extensions=old) as hop, Hop() as home:
        with relay(place, route(hop.port, "example.org"), route(hop.port, "bücher.example"),
                   route(home.port)) as server:
            utf8 = ["SMTPUTF8", "BODY=8BITMIME"]
            plain = message(subject="plain")
            submit(server, plain, ["bob@bücher.example"], mail_options=utf8)
            mail = hop.wait(1)[0]
            assert mail.recipients == ["bob@xn--bcher-kva.example"] and "SMTPUTF8" not in mail.params
            submit(server, plain, ["jörg@example.org"], mail_options=utf8)
            submit(server, message(subject="Grüße"), ["bob@example.org"], mail_options=utf8)
            rows = {}
            for report in home.wait(2):
                rows |= failed_of(parse(report.data))
            assert sorted(status for _, status in rows.values()) == ["5.6.7", "5.6.9"], rows
        assert len(hop.messages) == 1


@suite.test
def utf8_mail_goes_on_with_the_extension():
    with Place() as place, Hop() as hop, relay(place, route(hop.port)) as server:
        submit(server, message(subject="Grüße"), ["jörg@bücher.example"],
               mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        mail = hop.wait(1)[0]
        assert "SMTPUTF8" in mail.params and mail.recipients[0].startswith("jörg@")
        assert "Subject: Grüße".encode() in mail.data


@suite.test
def size_of_the_hop_is_respected():
    small = ["SIZE 2000" if name.startswith("SIZE") else name for name in ALL]
    with Place() as place, Hop(extensions=small) as hop, Hop() as home:
        with relay(place, route(hop.port, "example.org"), route(home.port)) as server:
            submit(server, message(body="x" * 70 + "\n"))
            mail = hop.wait(1)[0]
            size = [p for p in mail.params if p.startswith("SIZE=")]
            assert size and int(size[0][5:]) >= len(mail.data), mail.mail
            submit(server, message(body=("x" * 70 + "\n") * 100))
            assert failed_of(parse(home.wait(1)[0].data))["bob@example.org"] == ("failed", "5.3.4")
        assert len(hop.messages) == 1 and len(hop.heard("MAIL")) == 1


@suite.test
def bodies_arrive_whole_by_data_and_bdat():
    without = [name for name in ALL if name not in ("CHUNKING", "BINARYMIME")]
    bodies = [".\r\n..\r\n", "", "x\r\n.", ("line .\r\n.\r\n" * 60000)]
    for extensions in (ALL, without, ()):
        with Place() as place, Hop(extensions=extensions) as hop, relay(place, route(hop.port)) as server:
            for number, body in enumerate(bodies):
                text = (f"From: {USER}\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@x>\r\n"
                        f"Subject: {number}\r\n\r\n{body}")
                submit(server, text)
                mail = hop.wait(number + 1)[number]
                wanted = body if body.endswith("\r\n") or not body else body + "\r\n"
                assert mail.data.decode().endswith(f"Subject: {number}\r\n\r\n{wanted}"), mail.data[-200:]
            assert bool(hop.heard("BDAT")) == ("CHUNKING" in extensions), hop.heard("BDAT")


@suite.test
def binary_mail_only_to_who_takes_it():
    content = bytes(range(256)) * 20
    text = (f"From: {USER}\r\nSubject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n").encode() + content
    for extensions in (ALL, ("8BITMIME", "PIPELINING")):
        with Place() as place, Hop(extensions=extensions) as hop, relay(place, route(hop.port)) as server:
            with Talk(server.ports["submissions"], tls=True) as talk:
                talk.ehlo()
                talk.login(USER, PASSWORD)
                talk.envelope(USER, "b@example.org", params=" BODY=BINARYMIME")
                talk.send(b"BDAT %d LAST\r\n" % len(text) + text)
                talk.expect(250)
            got = hop.wait(1)[0]
            if "BINARYMIME" in extensions:
                assert got.data.endswith(b"\r\n\r\n" + content) and "BODY=BINARYMIME" in got.params
            else:
                assert parse(got.data).get_payload(decode=True) == content
                assert "BODY=BINARYMIME" not in got.params


# --- Sessions -----------------------------------------------------------------------------------------------


@suite.test
def a_connection_is_used_again():
    with Place() as place, Hop() as hop:
        with relay(place, route(hop.port, connections=1, messages_per_connection=5)) as server:
            for number in range(12):
                submit(server, message(subject=str(number)))
            hop.wait(12)
        counts = [len([line for line in s.lines if line.startswith("MAIL")]) for s in hop.sessions]
        assert len(hop.messages) == 12 and max(counts) <= 5 and len(counts) <= 6, counts


@suite.test
def connections_are_bounded():
    open_now, most = [0], [0]

    def says(hop, session, verb, line):
        if verb == "CONNECT":
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        if verb == "DOT":
            time.sleep(0.05)
        if verb == "QUIT":
            open_now[0] -= 1
        return None

    with Place() as place, Hop(says) as hop:
        with relay(place, route(hop.port, connections=3)) as server:
            for number in range(30):
                submit(server, message(subject=str(number)))
            hop.wait(30)
        assert most[0] <= 3, most


@suite.test
def nothing_is_pipelined_to_who_does_not_want_it():
    with Place() as place, Hop(extensions=("8BITMIME", "SIZE")) as hop, \
            relay(place, route(hop.port)) as server:
        submit(server, message(), [f"r{n}@example.org" for n in range(5)])
        submit(server, message())
        hop.wait(2)
        assert all(count == 1 for s in hop.sessions for count in s.groups), \
            [s.groups for s in hop.sessions]


@suite.test
def a_421_in_mid_session_loses_nothing():
    def says(hop, session, verb, line):
        mails = len([heard for heard in session.lines if heard.startswith("MAIL")])
        return "421 4.3.2 enough" if verb == "MAIL" and mails > 2 else None

    with Place() as place, Hop(says) as hop:
        with relay(place, route(hop.port, connections=2)) as server:
            for number in range(10):
                submit(server, message(subject=f"m{number}"))
            hop.wait(10)
            queue_is_empty(server)
        subjects = sorted(parse(m.data)["Subject"] for m in hop.messages)
        assert subjects == sorted(f"m{n}" for n in range(10)), subjects


@suite.test
def connections_dropped_anywhere_lose_nothing():
    for verb in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA"):
        dropped = []

        def says(hop, session, heard, line, verb=verb, dropped=dropped):
            if heard == verb and len(dropped) < 2:
                dropped.append(1)
                return DROP
            return None

        extensions = [name for name in ALL if name not in ("CHUNKING", "BINARYMIME")]
        with Place() as place, Hop(says, extensions) as hop, relay(place, route(hop.port)) as server:
            submit(server, message(subject=verb))
            hop.wait(1)
            queue_is_empty(server)
            assert len(hop.messages) == 1 and len(dropped) == 2, (verb, dropped)


SCRIPT = """
connect    reply 421 4.3.2 busy        share 5%
starttls   broken                      share 20%
mail       reply 450 4.1.8 later       share 10%
rcpt       reply 451 4.7.1 try later   share 15%
body       drop                        share 5%
dot        reply 452 4.3.1 no room     share 10%
dot        delay 5ms                   share 20%
connect    delay 20ms                  share 20%
"""


@suite.test
def the_bench_sink_misbehaves():
    """A hundred messages through every misfortune at once; all come, and none is reported lost."""
    binary = os.path.join(BUILD, "ringpost-bench")
    if not os.access(binary, os.X_OK):
        raise Skip("ringpost-bench is not built")
    with Place() as place, Hop() as home:
        cert, key = place.certificate()
        port = place.ports.reserve()
        sink = Process(place, "sink", [binary, "sink", "--listen", f"127.0.0.1:{port}", "--cert", cert, "--key",
                                       key, "--script", place.file("script", SCRIPT), "--json", "--quiet"])
        try:
            until(lambda: sink.check_alive() and accepts(port), "the sink")
            row = route(port, tls="opportunistic")
            with relay(place, route(home.port, "example.test"), row) as server:
                load = Process(place, "load", [binary, "smtp", "--target",
                                               f"127.0.0.1:{server.ports['submissions']}", "--tls", "implicit",
                                               "--host", "localhost", "--auth", f"{USER}:{PASSWORD}", "--from",
                                               USER, "--to", "r%n@d%d.example.org", "--domains", "5",
                                               "--messages", "100", "--connections", "4", "--quiet", "--json"])
                assert load.child.wait(60) == 0, load.log()
                load.stop()
                queue_is_empty(server)
                assert home.messages == []
        finally:
            sink.stop()
        account = json.loads(sink.log().strip().splitlines()[-1])
        assert (account["seen"], account["missing"]) == (100, 0), account
        # A reply that was on its way when the sink broke the connection is lost with it.
        assert account["doubles"] <= account["dropped"], account


@suite.test
def who_logs_in_vouches_for_nobody():
    """RFC 4954 5: AUTH=<> where the relay logged in, and no word of it elsewhere."""
    with Place() as place, Hop(tls=place.certificate(), auth=("relay", "secret")) as hop, Hop() as rest:
        login = {"user": "relay", "password": "secret"}
        with relay(place, route(hop.port, "one.test", login=login, tls="required"),
                   route(rest.port)) as server:
            submit(server, message(), ["a@one.test", "b@two.test"])
            assert "AUTH=<>" in hop.wait(1)[0].mail
            assert "AUTH=" not in rest.wait(1)[0].mail


suite.main()
