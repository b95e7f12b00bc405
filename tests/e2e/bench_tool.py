#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ringpost-bench as people use it: generator against sink, against a real Postfix, and a sink that
misbehaves by its script, talked to by Python's smtplib; readers against our mailboxes and Dovecot's."""
import json
import os
import re
import smtplib
import subprocess
import time

import dovecot
import postfix
from support import BUILD, PASSWORD, USER, Place, Process, Ringpost, Skip, Suite, run, until

suite = Suite()
BENCH = os.path.join(BUILD, "ringpost-bench")


class BenchSink:
    """`ringpost-bench sink` on a free port of loopback."""

    def __init__(self, place, *words, script=None):
        if not os.access(BENCH, os.X_OK):
            raise Skip("ringpost-bench is not built")
        self.place, self.words = place, list(words)
        if script is not None:
            self.words += ["--script", place.file("script.txt", script)]

    def __enter__(self):
        self.process = Process(self.place, f"sink-{len(os.listdir(self.place.path))}",
                               [BENCH, "sink", "--listen", "127.0.0.1:0", "--json", "--every", "50ms",
                                *self.words])
        line = until(lambda: self.process.check_alive() and '"listening"' in self.process.log()
                     and self.process.log().splitlines()[0], "the sink")
        self.port = int(json.loads(line)["listening"].rsplit(":", 1)[1])
        return self

    def final(self):
        """Ends the sink; its account."""
        self.process.stop()
        return json.loads([line for line in self.process.log().splitlines() if '"final"' in line][-1])

    def __exit__(self, *_):
        self.process.stop()


def generate(port, *words, check=True):
    done = run(BENCH, "smtp", "--target", f"127.0.0.1:{port}", "--json", *words, check=check)
    return json.loads(done.stdout.splitlines()[-1]), done.returncode


@suite.test
def every_way_of_sending_arrives_once():
    ways = [[], ["--no-pipelining"], ["--bdat"], ["--recipients", "3", "--template", "mix"],
            ["--size", "1K:5,300K:1", "--template", "attachment"], ["--per-connection", "1"],
            ["--rate", "400"], ["--workers", "2"]]
    for way in ways:
        with Place() as place, BenchSink(place) as sink:
            report, status = generate(sink.port, "--messages", "120", "--connections", "4", *way)
            account = sink.final()
        assert status == 0 and report["accepted"] == 120, (way, report)
        assert account["seen"] == 120 and not account["doubles"] and not account["missing"], (way, account)
        assert not account["no_sequence"], (way, account)


@suite.test
def due_times_that_pass_while_they_are_looked_at_end():
    """The sooner the next one is due, the more often it passes between two looks at the clock."""
    with Place() as place, BenchSink(place) as sink:
        report, status = generate(sink.port, "--messages", "30000", "--connections", "4", "--size", "100",
                                  "--rate", "12000")
    assert status == 0 and report["accepted"] == 30000, report


@suite.test
def tls_and_login_work():
    with Place() as place:
        cert, key = place.certificate()
        for tls in ([], ["--tls", "starttls", "--host", "localhost"]):
            with BenchSink(place, "--cert", cert, "--key", key, "--auth", "bob:geheim") as sink:
                report, _ = generate(sink.port, "--messages", "20", "--connections", "2", "--auth", "bob:geheim", *tls)
                wrong, status = generate(sink.port, "--messages", "2", "--connections", "1", "--auth", "bob:no",
                                         "--duration", "1s", *tls, check=False)
            assert report["accepted"] == 20 and report["auth_us"]["count"] == 2, report
            assert status == 1 and wrong["accepted"] == 0 and wrong["replies"][0]["code"] == 535, wrong


@suite.test
def the_open_loop_counts_from_the_due_time():
    # The sink holds every message back for 50 ms; one connection can do 20 a second, 60 are due.
    with Place() as place, BenchSink(place, script="dot delay 50ms\n") as sink:
        report, _ = generate(sink.port, "--messages", "60", "--connections", "1", "--rate", "60")
    # Sent as fast as possible the last one is about two seconds late, and the report must say so.
    assert report["message_us"]["max"] > 1500000, report["message_us"]


@suite.test
def the_page_stands_alone():
    with Place() as place, BenchSink(place) as sink:
        page = place.file("report.html")
        generate(sink.port, "--messages", "50", "--html", page)
        with open(page, encoding="utf-8") as f:
            text = f.read()
    assert text.startswith("<!doctype html>") and text.count("<svg") == 2
    assert not re.search(r"(src|href)\s*=|https?://", text), "it asks a network"


@suite.test
def postfix_takes_what_we_generate():
    with Place() as place, BenchSink(place) as sink, postfix.Postfix(place, sink.port) as server:
        report, status = generate(server.port, "--messages", "50", "--connections", "5", "--template", "mix")
        assert status == 0 and report["accepted"] == 50, report
        until(lambda: len([1 for line in sink.process.log().splitlines() if '"seen":50,' in line]), "all at the sink")
        account = sink.final()
    assert account["seen"] == 50 and account["doubles"] == 0, account


SCRIPT = """# every verb in turn
connect    delay 10ms
ehlo       delay 10ms
mail       reply 421 4.7.0 slow down after 1 for 1s
rcpt       greylist 300ms
dot        reply 452 4.3.1 full share 0%
"""


@suite.test
def a_script_greylists_and_throttles():
    with Place() as place, BenchSink(place, script=SCRIPT) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=20) as client:
            client.ehlo()
            client.mail("a@example.test")
            assert client.rcpt("b@example.test")[0] == 451
            time.sleep(0.4)
            assert client.rcpt("b@example.test")[0] == 250
            assert client.data(b"Subject: x\r\n\r\nhello\r\n")[0] == 250
            assert client.mail("a@example.test")[0] == 421
        time.sleep(1.1)
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=20) as client:
            client.ehlo()
            assert client.mail("a@example.test")[0] == 250
        account = sink.final()
    assert account["greylisted"] == 1 and account["no_sequence"] == 1, account


@suite.test
def a_script_drops_in_the_middle():
    with Place() as place, BenchSink(place, script="body drop\n") as sink:
        report, status = generate(sink.port, "--messages", "5", "--connections", "1", "--size", "200K", check=False)
        account = sink.final()
    assert status == 1 and report["accepted"] == 0 and report["broken"] == 5, report
    assert account["dropped"] == 5 and account["accepted"] == 0, account


@suite.test
def starttls_may_be_absent_or_broken():
    with Place() as place:
        cert, key = place.certificate()
        with BenchSink(place, "--cert", cert, "--key", key, script="starttls absent\n") as sink, \
                smtplib.SMTP("127.0.0.1", sink.port, timeout=20) as client:
            client.ehlo()
            assert not client.has_extn("starttls")
        with BenchSink(place, "--cert", cert, "--key", key, script="starttls broken\n") as sink:
            report, status = generate(sink.port, "--messages", "1", "--tls", "starttls", "--duration", "1s", check=False)
        assert status == 1 and report["connections"] == 0, report


def load(kind, port, *words, check=True):
    done = run(BENCH, kind, "--target", f"127.0.0.1:{port}", "--json", "--auth", f"{USER}:{PASSWORD}", *words,
               check=check)
    return json.loads(done.stdout.splitlines()[-1]), done.returncode


IMAP = ("login", "noop=3,status=2,list", "select", "select-fetch", "fetch-flags", "fetch-envelope", "fetch-structure",
        "fetch-body", "fetch-one", "store", "search", "sort", "thread", "copy", "append", "idle")
POP3 = ("login", "noop", "stat", "list", "uidl", "top", "retr", "retr-all")


def read_in_all_ways(imap, pop3, imaps):
    """A mailbox of thirty messages, through a server's three ways to begin TLS."""
    for mix in IMAP:
        report, status = load("imap", imap, "--mix", mix, "--operations", "6", "--connections", "2", "--idle", "10ms")
        assert status == 0 and report["accepted"] == 6 and not report["replies"], (mix, report)
        if mix in ("fetch-flags", "fetch-body", "select-fetch"):
            assert report["verbs"][mix]["items"] == 6 * 30, report
    for mix in POP3:
        report, status = load("pop3", pop3, "--mix", mix, "--operations", "4", "--connections", "2")
        assert status == 0 and report["accepted"] == 4 and not report["replies"], (mix, report)
        if mix == "retr-all":
            assert report["verbs"][mix]["items"] >= 4 * 30 and report["bytes"] > 4 * 30 * 1024, report
    for port, tls in ((imap, "starttls"), (imaps, "implicit")):
        report, status = load("imap", port, "--mix", "fetch-one", "--operations", "10", "--tls", tls, "--mechanism", "PLAIN")
        assert status == 0 and report["tls_us"]["count"] == 10 and report["accepted"] == 10, report
    report, status = load("imap", imap, "--mix", "command", "--command", "NOSUCH %m", "--operations", "3", "--connections",
                          "1", check=False)
    assert status == 1 and report["replies"][0]["code"] == 500 and report["refused"] == 3, report


@suite.test
def what_the_machine_would_allow():
    said = subprocess.run([BENCH, "carry", "--bytes", "16M", "--json"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert json.loads(said)["mb_per_cpu_second"] > 0, said
    said = subprocess.run([BENCH, "carry", "--bytes", "1M", "--piece", "1000"], stdout=subprocess.PIPE, text=True, check=True)
    assert said.stdout.endswith(" MB per CPU second\n"), said.stdout
    assert subprocess.run([BENCH, "carry", "--piece", "0"], stderr=subprocess.DEVNULL, check=False).returncode == 2


@suite.test
def our_mailboxes_are_read():
    with Place() as place:
        server = Ringpost(place, {"imap": {"plain_login": True}, "pop3": {"plain_login": True}},
                          services=("smtp", "imap", "imaps", "pop3"))
        with server:
            server.add_accounts(USER)
            generate(server.ports["smtp"], "--messages", "30", "--to", USER)
            read_in_all_ways(server.ports["imap"], server.ports["pop3"], server.ports["imaps"])
            report, status = load("imap", server.ports["imap"], "--mix", "fetch-body", "--operations", "4", "--compress",
                                  "--mailbox", "INBOX", "--enable", "QRESYNC")
            assert status == 0 and report["accepted"] == 4, report
            idlers = Process(place, "idle", [BENCH, "idle", "--target", f"127.0.0.1:{server.ports['imaps']}", "--tls",
                                             "implicit", "--sessions", "8", "--auth", f"{USER}:{PASSWORD}", "--compress"])
            until(lambda: idlers.check_alive() and "ready 8 failed 0" in idlers.log(), "idle sessions")
            generate(server.ports["smtp"], "--messages", "1", "--to", USER)
            until(lambda: "woken 8 at" in idlers.log(), "that all are woken")
            assert idlers.stop() == 0, idlers.log()


@suite.test
def a_dovecot_is_read():
    with Place() as place, dovecot.Dovecot(place, tls=True) as server:
        run(BENCH, "smtp", "--lmtp", "--target", f"127.0.0.1:{server.lmtp}", "--messages", "30", "--to", USER)
        read_in_all_ways(server.imap, server.pop3, server.imaps)


ODD = {"mailbox-holes": 8, "mailbox-huge": 2, "mailbox-fields": 1, "mailbox-bombs": 2, "mailbox-transfer": 8,
       "mailbox-archived": 2}


@suite.test
def every_row_about_odd_mailboxes_can_be_measured():
    bench = os.path.join(os.environ.get("RINGPOST_SOURCE", "."), "bench", "run.py")
    for family, rows in ODD.items():
        said = run("/usr/bin/python3", bench, family, "--part", "5000", "--runs", "1", timeout=240).stdout
        lines = [line for line in said.splitlines() if line.startswith("| ")]
        assert len(lines) == rows and not any("**lost" in line for line in lines), said


@suite.test
def wrong_options_are_told():
    for words in (["smtp", "--nothing"], ["smtp", "--size", "big"], ["smtp", "--messages", "0"], ["sink"], ["what"], ["imap"],
                  ["imap", "--auth", "a:b", "--mix", "nothing"], ["pop3", "--auth", "a:b", "--mechanism", "X"],
                  ["imap", "--auth", "a:b", "--mix", "command"],
                  ["sink", "--listen", "nowhere"], ["sink", "--listen", "127.0.0.1:0", "--without", "NOTHING"]):
        done = run(BENCH, *words, check=False)
        assert done.returncode == 2 and done.stderr, (words, done)


suite.main()
