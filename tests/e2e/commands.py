#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, the configuration, signals, metrics and what stands in front: PROXY headers."""
import base64
import contextlib
import ctypes
import imaplib
import json
import os
import poplib
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.request

from hop import Hop
from support import (BUILD, PASSWORD, USER, Place, Process, Ringpost, Skip, Suite, accepts, message, parse, ringpost,
                     submission, submit, until)
from talk import Talk, insecure_context

suite = Suite()

COMMANDS = ["serve", "check", "domain add", "domain list", "domain remove", "account add", "account list",
            "account passwd", "account remove", "dkim add", "dkim list", "dkim dns", "dkim remove",
            "queue list", "queue show", "queue count", "queue retry", "queue hold", "queue release",
            "queue bounce", "queue remove", "stats", "top", "snapshot", "fsck", "version"]


# --- Words and statuses --------------------------------------------------------------------------


@suite.test
def help_is_everywhere():
    for name in COMMANDS:
        done = ringpost(*name.split(), "--help")
        assert done.returncode == 0 and done.stdout.startswith(f"usage: ringpost {name}"), (name, done)
        assert "--config" in done.stdout and "--json" in done.stdout
    done = ringpost("--help")
    assert done.returncode == 0 and all(f"ringpost {name}" in done.stdout for name in COMMANDS)


@suite.test
def wrong_use_ends_with_2():
    for args in ([], ["nonsense"], ["domain"], ["domain", "nonsense"], ["domain", "add"],
                 ["domain", "list", "--nonsense"], ["queue", "list", "--age"], ["version", "--json=1"],
                 ["stats", "surplus"]):
        done = ringpost(*args)
        assert done.returncode == 2 and done.stderr and not done.stdout, (args, done)


@suite.test
def version_is_told():
    assert re.fullmatch(r"ringpost \d+\.\d+\.\d+\nRSA signatures by (ifma|wolfcrypt)\n",
                        ringpost("version").stdout)
    told = json.loads(ringpost("version", "--json").stdout)
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"]) and told["rsa_engine"]


# --- Configuration -----------------------------------------------------------------------------------

SAMPLE = """hostname: mx.example.test
data: /srv/ringpost
control: /srv/ringpost/control.sock
tls:
  certificates: [ { cert: cert.pem, key: key.pem } ]     # paths relative to this file
listen:                                                    # services: smtp submission submissions lmtp pop3 pop3s imap imaps http https
  - { address: 127.0.0.1, port: 2525, service: smtp }
  - { address: 127.0.0.1, port: 2587, service: submission }
  - { address: 127.0.0.1, port: 2465, service: submissions }
resolver: { servers: [ "127.0.0.1@5353" ] }                # absent: recursive with DNSSEC
relay:
  retry: { first: 15m, factor: 2, max: 4h, expire: 5d }    # units s m h d; tests set them to seconds
  routes:
    - { domain: "*", hosts: [ 127.0.0.1 ], port: 2600, tls: opportunistic }
"""


@suite.test
def the_sample_file_works():
    with Place() as place, Hop() as hop:
        cert, key = place.certificate()
        os.rename(cert, place.file("cert.pem"))
        os.rename(key, place.file("key.pem"))
        path = place.file("sample.yaml", SAMPLE)
        done = ringpost("check", "--config", path)
        assert done.returncode == 0, done
        text = SAMPLE.replace("/srv/ringpost", place.path)
        ports = {number: place.ports.reserve() for number in ("2525", "2587", "2465")}
        for old, new in {**ports, "2600": hop.port}.items():
            text = text.replace(f"port: {old}", f"port: {new}")
        path = place.file("ringpost.yaml", text)
        # ./ringpost.yaml is found without being named.
        binary = os.path.abspath(os.path.join(BUILD, "ringpost"))
        here = lambda *args, **more: subprocess.run([binary, *args], cwd=place.path, check=True, text=True,
                                                    capture_output=True, timeout=60, **more)
        here("domain", "add", "example.test")
        here("account", "add", USER, "--password-stdin", input=PASSWORD + "\n")
        here("dkim", "add", "example.test", "--selector", "s1", "--type", "rsa", "--bits", "2048")
        server = Process(place, "serve", [binary, "serve"], env=dict(os.environ))
        until(lambda: server.check_alive() and all(map(accepts, ports.values())), "the server")
        with Talk(ports["2465"], tls=True) as talk:
            talk.ehlo()
            talk.login(USER, PASSWORD)
            talk.envelope(USER, "bob@example.org")
            assert talk.data(message())[0] == 250
        assert b"DKIM-Signature:" in hop.wait(1)[0].data
        assert server.stop() == 0, server.log()


@suite.test
def all_mistakes_are_told_at_once():
    mistakes = """hostname: mx.example.test
data: /tmp/nowhere
wrong_key: 1
listen:
  - { address: 127.0.0.1, port: 70000, service: smtp }
  - { address: 127.0.0.1, port: 2525, service: fax }
  - { address: 300.0.0.1, port: 2525, service: smtp }
smtp:
  size: many
  errors: 0
relay:
  retry: { first: 15x }
  routes:
    - { domain: "*", accept: true, hosts: [ 127.0.0.1 ] }
    - { hosts: [ 127.0.0.1 ] }
"""
    with Place() as place:
        path = place.file("bad.yaml", mistakes)
        for command in (["check"], ["serve"], ["domain", "list"]):
            done = ringpost(*command, "--config", path)
            assert done.returncode == 1, done
            lines = {int(n) for n in re.findall(rf"(?m)^{re.escape(path)}:(\d+): \S", done.stderr)}
            assert lines == {3, 5, 6, 7, 9, 10, 12, 14, 15}, done.stderr
        assert "smtp, submission, submissions" in done.stderr  # what is allowed
        for text, line in (("hostname: [", None), ("hostname: a\n\tdata: b\n", 2), ("hostname: a.test\n", None),
                           ("hostname: a.test\nhostname: b.test\ndata: /tmp/x\n", 2), ("", None), ("- a\n", 1)):
            done = ringpost("check", "--config", place.file("bad.yaml", text))
            assert done.returncode == 1 and done.stderr.startswith(path), (text, done)
            if line:
                assert re.search(rf"(?m)^{re.escape(path)}:{line}: ", done.stderr), (text, done.stderr)
        done = ringpost("check", "--config", place.file("absent.yaml"))
        assert done.returncode == 1 and "absent.yaml" in done.stderr


@suite.test
def the_smallest_file_is_good():
    with Place() as place:
        cert, key = place.certificate()
        text = f"hostname: a.test\ndata: {place.file('data')}\ntls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ] }}\n"
        done = ringpost("check", "--config", place.file("small.yaml", text))
        assert done.returncode == 0, done


@suite.test
def the_file_of_the_documentation_is_good():
    source = os.path.join(os.environ.get("RINGPOST_SOURCE", "."), "docs")
    path = os.path.join(source, "ringpost.yaml")
    if not os.path.exists(path):
        raise Skip("docs/ringpost.yaml is not here")
    with Place() as place, open(path, encoding="utf-8") as f:
        cert, key = place.certificate()
        text = re.sub(r"(?<=cert: )\S+\.pem", cert, f.read())
        text = re.sub(r"(?<=key: )\S+\.(pem|key)", key, text)
        done = ringpost("check", "--config", place.file("documented.yaml", text))
        assert done.returncode == 0, done.stderr


@suite.test
def printed_pages_are_what_the_program_prints():
    docs = os.path.join(os.environ.get("RINGPOST_SOURCE", "."), "docs")
    if not os.path.isdir(docs):
        raise Skip("docs/ is not here")
    for name, flag in (("configuration.md", "--docs"), ("metrics.md", "--metrics")):
        with open(os.path.join(docs, name), encoding="utf-8") as f:
            page, done = f.read(), ringpost("check", flag)
        assert done.returncode == 0 and "| `" in done.stdout, done
        assert page == done.stdout, f"docs/{name} is old: run ./dev docs"


# --- Names: with and without a server ------------------------------------------------------------------


def manage_names(server):
    cli, rows = server.cli, server.cli_json
    cli("domain", "add", "one.test")
    cli("domain", "add", "TWO.test", "--sign", "required", "--scram", "off")
    cli("domain", "add", "bücher.test")
    assert cli("domain", "add", "one.test", check=False).returncode == 1
    assert cli("domain", "add", "not a domain", check=False).returncode == 1
    assert [row["domain"] for row in rows("domain", "list")] == ["one.test", "two.test", "xn--bcher-kva.test"]
    assert [row["sign"] for row in rows("domain", "list")] == ["optional", "required", "optional"]
    assert "two.test" in cli("domain", "list").stdout
    cli("account", "add", "alice@one.test", "--password-stdin", input="secret one\n")
    made = rows("account", "add", "bob@one.test")
    assert len(made["password"]) >= 16
    assert re.search(r"(?m)^password: \S{16,}$", cli("account", "add", "eve@two.test").stdout)
    assert cli("account", "add", "alice@one.test", check=False).returncode == 1
    assert cli("account", "add", "alice@three.test", check=False).returncode == 1
    assert cli("account", "add", "carol@one.test", "--password-stdin", input="\n", check=False).returncode == 1
    assert [row["account"] for row in rows("account", "list", "one.test")] == ["alice@one.test", "bob@one.test"]
    assert [row["scram"] for row in rows("account", "list", "two.test")] == [False]
    cli("account", "passwd", "alice@one.test", "--password-stdin", input="secret two\n")
    assert cli("account", "passwd", "nobody@one.test", check=False).returncode == 1
    cli("account", "remove", "bob@one.test")
    assert cli("account", "remove", "bob@one.test", check=False).returncode == 1
    added = rows("dkim", "add", "one.test", "--selector", "s1", "--type", "ed25519")
    assert added["name"] == "s1._domainkey.one.test" and added["record"].startswith("v=DKIM1;")
    assert cli("dkim", "add", "one.test", "--selector", "s1", check=False).returncode == 1
    assert cli("dkim", "add", "one.test", check=False).returncode == 1
    assert cli("dkim", "add", "one.test", "--selector", "x", "--type", "dsa", check=False).returncode == 1
    assert rows("dkim", "list", "one.test")[0]["type"] == "ed25519"
    assert added["record"] in cli("dkim", "dns", "one.test").stdout.replace('" "', "")
    cli("dkim", "remove", "one.test", "--selector", "s1")
    assert rows("dkim", "list", "one.test") == []
    assert cli("domain", "remove", "one.test", check=False).returncode == 1  # it has accounts
    cli("domain", "remove", "one.test", "--with-accounts")
    cli("domain", "remove", "bücher.test")
    assert [row["domain"] for row in rows("domain", "list")] == ["two.test"]


@suite.test
def names_are_managed_through_a_running_server():
    with Place() as place, Ringpost(place) as server:
        manage_names(server)


@suite.test
def names_are_managed_without_a_server():
    with Place() as place:
        server = Ringpost(place)
        server.write_config()
        manage_names(server)
        # What was written stands when a server begins.
        server.cli("account", "add", USER.replace("example", "two"), "--password-stdin", input=PASSWORD + "\n")
        with server, Talk(server.ports["submissions"], tls=True) as talk:
            talk.ehlo()
            talk.login(USER.replace("example", "two"), PASSWORD)


@suite.test
def passwords_change_and_accounts_go_at_once():
    with Place() as place, submission(place, {"auth": {"fail_delay": "1ms"}}) as server:
        def code(password):
            with Talk(server.ports["submissions"], tls=True) as talk:
                talk.ehlo()
                token = base64.b64encode(f"\0{USER}\0{password}".encode()).decode()
                return talk.ask(f"AUTH PLAIN {token}")[0]

        assert (code(PASSWORD), code("other")) == (235, 535)
        server.cli("account", "passwd", USER, "--password-stdin", input="other\n")
        assert (code(PASSWORD), code("other")) == (535, 235)
        server.cli("account", "remove", USER)
        assert code("other") == 535


def logged_in(server, user):
    """A session of each protocol, one in a message, one in IDLE."""
    smtp = Talk(server.ports["submissions"], tls=True)
    smtp.ehlo()
    smtp.login(user, PASSWORD)
    data = Talk(server.ports["submissions"], tls=True)
    data.ehlo()
    data.login(user, PASSWORD)
    for line, code in ((f"MAIL FROM:<{user}>", 250), (f"RCPT TO:<{user}>", 250), ("DATA", 354)):
        assert data.ask(line)[0] == code
    data.send(b"Subject: never ended\r\n")
    imap, idle = (imaplib.IMAP4_SSL("localhost", server.ports["imaps"], timeout=60,
                                    ssl_context=insecure_context()) for _ in range(2))
    for client in (imap, idle):
        client.login(user, PASSWORD)
        client.select()
    idle.send(b"i IDLE\r\n")
    assert idle.readline().startswith(b"+")
    pop = poplib.POP3_SSL("localhost", server.ports["pop3s"], timeout=60, context=insecure_context())
    pop.user(user)
    pop.pass_(PASSWORD)
    return smtp.socket, data.socket, imap.sock, idle.sock, pop.sock


@suite.test
def who_may_log_in_no_more_is_logged_out():
    # RFC 5321 3.8, RFC 9051 3.4, RFC 3206 4.
    words = {"smtp": b"421 4.7.0 ", "data": b"421 4.7.0 ", "imap": b"* BYE ", "idle": b"* BYE ",
             "pop3": b"-ERR [SYS/PERM] "}

    def ends(sockets):
        for name, s in zip(words, sockets):
            said = b""
            with contextlib.suppress(ConnectionResetError, ssl.SSLError):
                while got := s.recv(65536):
                    said += got
            assert said.startswith(words[name]) and said.count(b"\r\n") == 1, (name, said)

    with Place() as place, submission(place, services=(*Ringpost.SERVICES, "imaps", "pop3s"),
                                      accounts=(USER, "bob@example.test", "eve@two.test")) as server:
        idle = logged_in(server, "bob@example.test")[3]
        for what in (["account", "set", USER, "--disable"], ["account", "remove", USER],
                     ["domain", "set", "two.test", "--disable"],
                     ["domain", "remove", "two.test", "--with-accounts"]):
            user = USER if what[0] == "account" else "eve@two.test"
            sockets = logged_in(server, user)
            server.cli(*what)
            ends(sockets)
            assert f"sessions_ended account={user if what[0] == 'account' else '@two.test'} count=5" \
                in server.log()
            if what[1] == "set":
                server.cli(*what[:-1], "--enable")
        idle.sendall(b"DONE\r\n")  # nobody else has noticed
        assert idle.recv(1000).startswith(b"i OK")


@suite.test
def an_account_is_told_whom_it_may_send_as():
    def code(sender):
        with Talk(server.ports["submissions"], tls=True) as talk:
            talk.ehlo()
            talk.login(USER, PASSWORD)
            return talk.ask(f"MAIL FROM:<{sender}>")[0]

    with Place() as place, submission(place) as server:
        may = lambda: [code(s) == 250 for s in ("bob@example.test", "a@two.test", "a@three.test")]
        assert may() == [True, False, False]
        for flags, result in ([["--from-domains", "two.test"], [True, True, False]],
                              [["--from-any"], [True, True, True]], [["--from-own"], [True, True, False]],
                              [["--from-domains", "none"], [True, False, False]]):
            server.cli("account", "set", USER, *flags)
            assert may() == result, flags
        assert server.cli_json("account", "list")[0]["from_domains"] == []


@suite.test
def what_root_does_belongs_to_the_user():
    if os.getuid() != 0:
        raise Skip("becoming another user wants root")
    with Place() as place:
        os.chmod(place.path, 0o755)
        data = place.file("data")
        server = Ringpost(place, {"user": "nobody", "group": "nogroup"})
        server.write_config()
        done = server.cli("domain", "list", check=False)  # nobody may not make the folder
        assert done.returncode == 1 and data in done.stderr, done
        os.mkdir(data, 0o700)
        shutil.chown(data, "nobody", "nogroup")
        owners = lambda: {os.stat(os.path.join(folder, name)).st_uid for folder, _, names in os.walk(data)
                          for name in names}
        server.cli("domain", "add", "one.test")
        server.cli("fsck")
        assert owners() == {os.stat(data).st_uid}
        place.ports.close()  # they are shared with servers of the same user only
        server.start(wait=False)
        until(lambda: server.process.check_alive() and accepts(server.ports["smtp"]), "the server")
        server.cli("domain", "add", "two.test")
        assert len(server.cli_json("domain", "list")) == 2
        server.stop()
        server.cli("fsck", "--rebuild")
        assert owners() == {os.stat(data).st_uid}


@suite.test
def root_opens_what_a_user_may_not():
    if os.getuid() != 0:
        raise Skip("low ports and becoming another user want root")
    nobody = pwd.getpwnam("nobody")
    address = "127.77.{}.{}".format(*random.sample(range(1, 255), 2))  # nobody else listens there
    listen = lambda port, service: {"address": address, "port": port, "service": service,
                                    "relay_from": ["127.0.0.0/8"]}
    with Place() as place, Hop() as hop:
        os.chmod(place.path, 0o755)
        os.mkdir(place.file("data"), 0o700)
        os.chown(place.file("data"), nobody.pw_uid, nobody.pw_gid)
        server = Ringpost(place, {"user": "nobody", "listen": [listen(25, "smtp")]}, route_to=hop.port)
        server.write_config()
        os.chmod(server.config_path, 0o600)
        server.start(wait=False)
        until(lambda: server.process.check_alive() and accepts(25, address), "port 25")
        for thread in os.listdir(f"/proc/{server.process.pid}/task"):
            with open(f"/proc/{server.process.pid}/task/{thread}/status", encoding="ascii") as f:
                status = f.read()
            assert re.findall(r"(?m)^(?:Uid|Gid):(.*)$", status) == ["".join(f"\t{n}" for n in [number] * 4) for number
                                                                    in (nobody.pw_uid, nobody.pw_gid)], status
            assert re.search(r"(?m)^NoNewPrivs:\s*1$", status) and re.search(r"(?m)^CapEff:\s*0+$", status), status
        server.cli("domain", "add", "example.test")
        server.cli("account", "add", USER, "--password-stdin", input=PASSWORD + "\n")
        cert, key = place.certificate("second")
        for path in (cert, key):
            os.chmod(path, 0o600)
        server.config["tls"]["certificates"] = [{"cert": cert, "key": key}]
        server.config["listen"].append({"address": address, "port": 465, "service": "submissions"})
        server.reload()
        until(lambda: server.process.check_alive() and accepts(465, address), "port 465")
        with open(cert, encoding="ascii") as f:
            assert served_certificate(465, address) == ssl.PEM_cert_to_DER_cert(f.read())
        with Talk(465, address=address, tls=True) as talk:
            talk.ehlo()
            talk.login(USER, PASSWORD)
            talk.envelope(USER, "bob@example.org")
            assert talk.data(message())[0] == 250
        with Talk(25, address=address) as talk:
            talk.ehlo()
            talk.envelope("a@example.test", "bob@example.org")
            assert talk.data(message())[0] == 250
        assert len(hop.wait(2)) == 2
        server.stop()


# --- The queue ---------------------------------------------------------------------------------------------


@suite.test
def the_queue_is_seen_and_moved():
    says = lambda hop, session, verb, line: "451 4.2.1 busy today" \
        if verb == "RCPT" and "later" in line and not hop.open else None
    config = {"relay": {"retry": {"first": "1h", "max": "1h"}}}
    with Place() as place, Hop(says) as hop, submission(place, config, route_to=hop.port) as server:
        hop.open = False
        submit(server, message(), ["later1@example.org", "later2@example.org"])
        submit(server, message(), ["later3@example.com", "later4@example.net"])
        rows = until(lambda: [r for r in server.cli_json("queue", "list") if r["attempts"] == 1] if
                     server.cli_json("queue", "count")["parked"] == 4 else None, "four parked")
        assert sorted(r["recipient"] for r in rows) == ["later1@example.org", "later2@example.org",
                                                        "later3@example.com", "later4@example.net"], rows
        see = lambda *args: sorted(r["recipient"][5] for r in server.cli_json("queue", "list", *args))
        one = rows[0]
        assert see("--domain", "example.org") == ["1", "2"] and see("--recipient", "later3@example.com") == ["3"]
        assert see("--sender", USER) == list("1234") == see("--sender", "@example.test")
        assert see("--sender", "<>") == [] and see("--age", "1h") == [] and see("--newer", "1h") == list("1234")
        assert len(see("--id", one["id"])) == 1 and len(see(one["id"].split(".")[0])) == 2
        text = server.cli("queue", "show", one["id"]).stdout
        assert "busy today" in text and "parked" in text
        assert "busy today" in one["last_reply"] and one["next_attempt"] and one["waits_for"]
        server.cli("queue", "hold", "--domain", "example.org")
        assert see("--state", "held") == ["1", "2"]
        hop.open = True
        assert server.cli("queue", "retry", check=False).returncode == 1  # of what?
        server.cli("queue", "retry", "--domain", "example.com")
        assert hop.wait(1)[0].recipients == ["later3@example.com"]
        server.cli("queue", "release", "--recipient", "later1@example.org")
        assert hop.wait(2)[1].recipients == ["later1@example.org"]
        server.cli("queue", "remove", "--recipient", "later2@example.org")
        server.cli("queue", "bounce", "--recipient", "later4@example.net")
        report = parse(hop.wait(3)[2].data)
        assert report["To"] == USER and "later4@example.net" in report.as_string()
        until(lambda: server.cli_json("queue", "count")["recipients"] == 0, "an empty queue")
        assert server.cli_json("queue", "list") == [] and len(hop.messages) == 3
        assert server.cli("queue", "list", "nonsense!", check=False).returncode == 1


@suite.test
def the_queue_is_seen_and_moved_without_a_server():
    later = lambda hop, session, verb, line: "451 4.2.1 busy today" if verb == "RCPT" and not hop.open else None
    config = {"relay": {"retry": {"first": "1h", "max": "1h"}}}
    with Place() as place, Hop(later) as hop:
        hop.open = False
        with submission(place, config, route_to=hop.port) as server:
            submit(server, message(), [f"to{n}@example.org" for n in range(1, 6)])
            until(lambda: server.cli_json("queue", "count")["parked"] == 5, "five parked")
        hop.open = True
        see = lambda *args: sorted(r["recipient"][2] for r in server.cli_json("queue", "list", *args))
        assert see() == list("12345") and see("--recipient", "to3@example.org") == ["3"]
        assert "busy today" in server.cli("queue", "show", "--recipient", "to3@example.org").stdout
        assert server.cli("queue", "remove", check=False).returncode == 1  # what?
        server.cli("queue", "hold", "--all")
        assert see("--state", "held") == list("12345")
        for verb, who in (("release", "1"), ("bounce", "2"), ("remove", "3"), ("release", "4")):
            done = server.cli_json("queue", verb, "--recipient", f"to{who}@example.org")
            assert done == {"changed": 1}, (verb, done)
        server.cli("queue", "hold", "--recipient", "to4@example.org")
        assert see("--state", "parked") == ["1"] and see("--state", "held") == ["4", "5"]
        # The report waits as well: it has no row yet, but is there.
        stats = server.cli_json("stats")
        assert stats["running"] is False and stats["relay"]["held"] == 2 and stats["relay"]["ready"] == 1, stats
        assert [r["recipient"] for r in server.cli_json("queue", "list", "--sender", "<>")] == [USER]
        top = server.cli("top", check=False)
        assert top.returncode == 1 and "not running" in top.stderr
        assert hop.messages == []
        assert server.cli_json("fsck")["result"] == "clean"
        with server:
            got = hop.wait(2)
            assert sorted(m.recipients for m in got) == sorted([["to1@example.org"], [USER]])
            assert b"to2@example.org" in next(m.data for m in got if m.recipients == [USER])
            until(lambda: server.cli_json("queue", "count")["recipients"] == 2, "the two that are held")
            assert see("--state", "held") == ["4", "5"]


@suite.test
def mail_of_a_crash_is_seen_without_a_server():
    stuck = threading.Event()
    waits = lambda hop, session, verb, line: stuck.wait(60) and None if verb == "RCPT" else None
    with Place() as place, Hop(waits) as hop, submission(place, route_to=hop.port) as server:
        submit(server, message(subject="survivor"), [f"to{n}@example.org" for n in range(1, 5)])
        server.kill()  # what it had accepted stands in the journal alone
        rows = server.cli_json("queue", "list")
        assert [(r["state"], r["waits_for"]) for r in rows] == [("ready", "a running server")] * 4, rows
        assert server.cli_json("queue", "count")["ready"] == 4
        assert server.cli_json("queue", "remove", "--recipient", "to1@example.org") == {"changed": 1}
        assert server.cli_json("queue", "hold", "--recipient", "to2@example.org") == {"changed": 1}
        see = lambda *args: sorted(r["recipient"][2] for r in server.cli_json("queue", "list", *args))
        assert see() == list("234") and see("--state", "held") == ["2"]
        stuck.set()
        server.start()
        got = until(lambda: hop.messages if sum(len(m.recipients) for m in hop.messages) == 2 else None, "the two")
        assert sorted(to for m in got for to in m.recipients) == ["to3@example.org", "to4@example.org"]
        until(lambda: see() == ["2"], "the rest of it")


# --- What the server tells ---------------------------------------------------------------------------------


@suite.test
def numbers_are_told():
    with Place() as place, Hop() as hop:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with submission(place, {"metrics": f"127.0.0.1:{port}", "log": {"format": "json"}},
                        route_to=hop.port) as server:
            submit(server, message())
            hop.wait(1)
            stats = server.cli_json("stats")
            assert stats["smtp"]["messages"] == 1 and stats["workers"] >= 1
            until(lambda: server.cli_json("stats")["relay"]["delivered"] == 1, "the delivery in stats")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain")
                check_prometheus(answer.read().decode())
            for more, first in ([], "ringpost"), (["--json"], "{"):
                top = subprocess.Popen([server.binary, "top", "--config", server.config_path, *more],
                                       text=True, stdout=subprocess.PIPE)
                seen = top.stdout.readline()  # a pipe gets each second's, too
                top.send_signal(signal.SIGINT)
                top.communicate(timeout=60)
                assert seen.startswith(first) and top.returncode == 0, (more, seen)
            check_log(server.log())


@suite.test
def a_full_disk_is_told():
    """Whoever reads the log learns why mail is refused, without looking at metrics."""
    with Place() as place, Ringpost(place, {"store": {"reserve": "1024G"}}) as server:
        server.cli("domain", "add", "example.test")
        server.cli("account", "add", USER, "--password-stdin", input=PASSWORD + "\n")
        until(lambda: "new mail is refused: the disk" in server.log(), "the complaint")
        assert not server.cli_json("stats")["store"]["accepting"]
        with Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
            talk.expect("452 4.3.1", "MAIL FROM:<eve@far.test>")


def check_prometheus(text):
    """The exposition format: HELP and TYPE before the samples of each name."""
    typed, documented, sampled = {}, set(), set()
    label = r"\{[a-z_]+=\"[^\"]*\"(,[a-z_]+=\"[^\"]*\")*\}"
    for line in text.splitlines():
        if found := re.fullmatch(r"# TYPE (\w+) (counter|gauge|histogram|summary)", line):
            assert found[1] not in typed, line
            typed[found[1]] = found[2]
        elif found := re.fullmatch(r"# HELP (\w+) \S.*", line):
            documented.add(found[1])
        else:
            found = re.fullmatch(rf"(\w+)({label})? (-?[0-9.e+]+|[+-]Inf)", line)
            assert found, line
            base = re.sub(r"_(bucket|sum|count)$", "", found[1])
            name = base if typed.get(base) in ("histogram", "summary") else found[1]
            assert name in typed and name in documented, line
            sampled.add(name)
    assert len(sampled) > 20 and sampled == set(typed), set(typed) - sampled
    # What docs/metrics.md promises is there, and nothing else.
    promised = set(re.findall(r"(?m)^\| `(\w+)", ringpost("check", "--metrics").stdout))
    assert sampled == promised, sampled ^ promised
    value = lambda name: int(re.search(rf"(?m)^{name} (\d+)$", text)[1])
    assert value("ringpost_store_batches_total") and value("ringpost_worker_turns_total")
    assert value("ringpost_conn_accepted_total") >= 2 and value("ringpost_conn_open") >= 1


def check_log(text):
    """One JSON object a line; the message's id stands in every event of its life."""
    events = [json.loads(line) for line in text.splitlines() if line.strip()]
    life = [e for e in events if "id" in e or "message" in e]
    assert len(events) >= 5 and life, events
    ids = {str(e.get("id") or e.get("message")).split(".")[0] for e in life}
    assert ids, life


# --- Signals ----------------------------------------------------------------------------------------------------


def served_certificate(port, address="127.0.0.1"):
    with socket.create_connection((address, port), 60) as s:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(s, server_hostname="localhost") as t:
            return t.getpeercert(binary_form=True)


@suite.test
def a_reload_drops_no_session():
    with Place() as place, Hop() as hop, submission(place, route_to=hop.port) as server:
        old = served_certificate(server.ports["submissions"])
        with Talk(server.ports["submissions"], tls=True) as open_session, Talk(server.ports["smtp"]) as leaving:
            open_session.ehlo()
            open_session.login(USER, PASSWORD)
            open_session.envelope(USER, "bob@example.org")
            open_session.expect(354, "DATA")
            open_session.send(message()[:20])
            cert, key = place.certificate("second")
            extra = place.ports.reserve()
            server.config["tls"]["certificates"] = [{"cert": cert, "key": key}]
            server.config["listen"] = [row for row in server.config["listen"] if row["service"] != "smtp"] + [
                {"address": "127.0.0.1", "port": extra, "service": "smtp"}]
            server.config["smtp"] = {"size": "2M"}
            server.reload()
            until(lambda: accepts(extra), "the new listener")
            until(lambda: served_certificate(server.ports["submissions"]) != old, "the new certificate")
            until(lambda: not accepts(server.ports["smtp"]), "the end of the old listener")
            with Talk(extra) as talk:
                assert talk.ehlo()["SIZE"] == [str(2 << 20)]
            open_session.send(message()[20:] + ".\r\n")
            open_session.expect(250)
            open_session.expect(221, "QUIT")
            code, _ = leaving.ask("NOOP") if not leaving.rest else (421, "")
            assert code in (250, 421)
        hop.wait(1)
        # A file with mistakes changes nothing and ends nothing.
        good = dict(server.config)
        server.config["nonsense"] = True
        server.reload()
        until(lambda: "nonsense" in server.log(), "the complaint in the log")
        with Talk(extra) as talk:
            talk.ehlo()
        server.config = good


@suite.test
def a_stop_finishes_what_is_in_flight():
    with Place() as place, Hop() as hop:
        server = Ringpost(place, {"drain": "30s"}, route_to=hop.port,
                          rows={"smtp": {"relay_from": ["127.0.0.1/32"]}}).start()
        with Talk(server.ports["smtp"]) as busy, Talk(server.ports["smtp"]) as idle:
            busy.ehlo()
            idle.ehlo()
            busy.envelope("a@example.test", "bob@example.org")
            busy.expect(354, "DATA")
            busy.send(message()[:20])
            server.process.send_signal(signal.SIGTERM)
            idle.expect("421 4.3.2")
            assert idle.closed() == b""
            until(lambda: not accepts(server.ports["smtp"]), "no new connections")
            busy.send(message()[20:] + ".\r\n")
            busy.expect(250)
            busy.expect("421 4.3.2")
        server.stop()
        # Delivered before the end, or by the next start.
        if not hop.messages:
            server.start()
            hop.wait(1)
            server.stop()
        assert len(hop.messages) == 1


@suite.test
def a_stop_does_not_wait_for_ever():
    with Place() as place:
        server = Ringpost(place, {"drain": "1s"}, rows={"smtp": {"relay_from": ["127.0.0.1/32"]}}).start()
        with Talk(server.ports["smtp"]) as stuck:
            stuck.ehlo()
            stuck.envelope("a@example.test", "bob@example.org")
            stuck.expect(354, "DATA")
            stuck.send(message()[:20])
            server.stop()  # with status 0, or this raises
            stuck.closed()


@suite.test
def one_folder_has_one_server():
    with Place() as place, Ringpost(place) as server:
        second = Ringpost(place)
        second.config["data"], second.config["control"] = server.config["data"], place.file("second.sock")
        place.file("second.yaml", json.dumps(second.config))
        done = ringpost("serve", "--config", place.file("second.yaml"))
        assert done.returncode == 1 and server.config["data"] in done.stderr, done
        done = server.cli("fsck", check=False)
        assert done.returncode != 0 and done.stderr
        server.process.check_alive()


@suite.test
def one_address_has_one_server():
    with Place() as place, Place() as other, Ringpost(place) as server:
        second = Ringpost(other)
        second.config["listen"] = [{"address": "127.0.0.1", "port": server.ports["smtp"], "service": "smtp"}]
        second.write_config()
        done = ringpost("serve", "--config", second.config_path)
        assert done.returncode == 1, done
        assert f"127.0.0.1:{server.ports['smtp']}: the address is in use" in done.stderr, done
        # A reload that wants it fails, and leaves everything as it was.
        second = Ringpost(other).start()
        good, extra = second.config, other.ports.reserve()
        second.config = {**good, "listen": [
            {"address": "127.0.0.1", "port": extra, "service": "smtp"},
            {"address": "0.0.0.0", "port": server.ports["smtp"], "service": "submission"}]}
        second.reload()
        until(lambda: "the address is in use" in second.log(), "the complaint")
        assert not accepts(extra)
        with Talk(second.ports["smtp"]) as talk:
            talk.ehlo()
        # Twice the same address is no better.
        second.config = {**good, "listen": [{"address": "127.0.0.1", "port": extra, "service": service}
                                            for service in ("smtp", "submission")]}
        second.reload()
        until(lambda: "two services" in second.log(), "the complaint")
        second.config = {**good, "listen": good["listen"] + [
            {"address": "127.0.0.1", "port": extra, "service": "smtp"}]}
        second.reload()
        until(lambda: accepts(extra), "the new listener")
        second.stop()


# --- fsck ---------------------------------------------------------------------------------------------------------


def files_below(folder):
    return [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names]


def truncate_all(index):
    for path in files_below(index):
        os.truncate(path, 0)


def scribble(index):
    for path in files_below(index):
        with open(path, "r+b") as f:
            f.write(b"\xa5" * min(os.path.getsize(path), 1 << 20))


@suite.test
def fsck_tells_and_rebuilds():
    later = lambda hop, session, verb, line: "451 4.2.1 later" if verb == "RCPT" and not hop.open else None
    config = {"relay": {"retry": {"first": "1h", "max": "1h"}}, "store": {"segment": "1M"}}
    for damage in (truncate_all, scribble, shutil.rmtree):
        with Place() as place, Hop(later) as hop:
            hop.open = False
            with submission(place, config, route_to=hop.port) as server:
                server.cli("dkim", "add", "example.test", "--selector", "s1", "--type", "ed25519")
                submit(server, message(subject="survivor"), ["later@example.org"])
                until(lambda: server.cli_json("queue", "count")["parked"] == 1, "a parked recipient")
            report = server.cli_json("fsck")
            assert report["result"] == "clean" and report["accounts"] == 1 and report["entries"] == 1, report
            damage(os.path.join(server.config["data"], "index"))
            assert server.cli("fsck", check=False).returncode in (1, 2)
            done = server.cli("fsck", "--rebuild", check=False)
            assert done.returncode == 0 and "repaired" in done.stdout, (damage, done)
            assert server.cli_json("fsck")["result"] == "clean"
            hop.open = True
            with server:
                assert [row["account"] for row in server.cli_json("account", "list", "example.test")] == [USER]
                assert len(server.cli_json("dkim", "list", "example.test")) == 1
                rows = server.cli_json("queue", "list")
                assert [row["recipient"] for row in rows] == ["later@example.org"], rows
                server.cli("queue", "release", "--all")
                server.cli("queue", "retry", "--all")
                assert b"Subject: survivor" in hop.wait(1)[0].data


@suite.test
def fsck_sees_a_damaged_journal():
    with Place() as place, Hop() as hop:
        later = lambda hop, session, verb, line: "451 4.2.1 later" if verb == "RCPT" else None
        hop.says = later
        with submission(place, {"store": {"segment": "1M"}}, route_to=hop.port) as server:
            submit(server, message(body="A line that is easily found\n" * 100))
            until(lambda: server.cli_json("queue", "count")["parked"] == 1, "a parked recipient")
        for path in files_below(os.path.join(server.config["data"], "journal")):
            with open(path, "r+b") as f:
                at = f.read().find(b"easily found")
                if at >= 0:
                    f.seek(at)
                    f.write(b"EASILY")
        done = server.cli("fsck", "--json", check=False)
        assert done.returncode in (1, 2) and json.loads(done.stdout)["result"] != "clean", done
        report = json.loads(done.stdout)
        assert report["findings"] and "journal" in " ".join(report["findings"]), report  # which file, and where
        assert not done.stderr, done


@suite.test
def another_format_is_named():
    """A folder that an older or a newer version wrote: neither damaged nor touched, and what to do is said."""
    with Place() as place:
        with submission(place) as server:
            pass
        data = server.config["data"]
        identity = os.path.join(data, "store")
        with open(identity, "rb") as f:
            ours = f.read()
        number = int(ours.split(b"\n")[0].split()[-1])
        state = lambda: sorted((path, os.path.getsize(path), os.stat(path).st_mtime_ns) for path in files_below(data))
        for other, advice in ((number - 1, "export the mailboxes"), (number + 1, "a newer version wrote it")):
            with open(identity, "wb") as f:
                f.write(ours.replace(b" %d\n" % number, b" %d\n" % other, 1))
            shutil.rmtree(os.path.join(data, "history"))  # nothing is made in a folder that is not understood
            before = state()
            for command in (("serve",), ("fsck",), ("fsck", "--json"), ("fsck", "--rebuild"), ("account", "list"), ("stats",)):
                done = server.cli(*command, check=False)
                assert done.returncode == 1, done
                said = done.stderr
                assert f"has format {other}, this version understands {number}" in said and advice in said, done
                assert "damaged" not in said + done.stdout and "not supported" not in said, done
            assert state() == before and not os.path.exists(os.path.join(data, "history"))
            os.mkdir(os.path.join(data, "history"))
        with open(identity, "wb") as f:
            f.write(ours)
        assert server.cli_json("fsck")["result"] == "clean"


@suite.test
def a_snapshot_is_made_when_asked_for():
    with Place() as place, submission(place) as server:
        names = []
        for _ in range(2):
            assert server.cli_json("snapshot")["snapshot"]
            with open(os.path.join(server.config["data"], "snapshot")) as f:
                names.append(f.readline().strip())
        assert sorted(names) == ["snapshot-a", "snapshot-b"], names
        server.stop()
        assert server.cli_json("snapshot")["data"] == server.config["data"]  # without a server too
        shutil.rmtree(os.path.join(server.config["data"], "index"))
        assert server.cli("fsck", "--rebuild", check=False).returncode == 0
        with server:
            assert [row["account"] for row in server.cli_json("account", "list", "example.test")] == [USER]


@suite.test
def a_hung_server_is_given_up():
    with Place() as place, submission(place) as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            done = server.cli("queue", "count", "--timeout", "200ms", check=False)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert done.returncode == 1 and "does not answer" in done.stderr, done
        assert server.cli_json("queue", "count", "--timeout", "1m")["ready"] == 0
        done = server.cli("stats", "--timeout", "soon", check=False)
        assert done.returncode == 2 and "soon" in done.stderr, done


# --- In front of us -----------------------------------------------------------------------------------------------


def proxy_v2(source, port):
    body = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 40000, port)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(body)) + body


@suite.test
def proxy_headers_name_the_client():
    rows = {"smtp": {"proxy_from": ["127.0.0.1/32"], "relay_from": ["192.0.2.0/24"]}}
    with Place() as place, Hop() as hop, submission(place, route_to=hop.port, rows=rows) as server:
        port = server.ports["smtp"]
        headers = [b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 25\r\n", proxy_v2("192.0.2.8", port)]
        for number, header in enumerate(headers):
            with Talk(port, before=header) as talk:
                talk.ehlo()
                talk.envelope("a@example.test", "bob@example.org")
                assert talk.data(message(subject=str(number)))[0] == 250
        got = hop.wait(2)
        seen = [b"[192.0.2.7]" in got[0].data, b"[192.0.2.8]" in got[1].data]
        assert seen == [True, True] or {b"[192.0.2.7]" in m.data for m in got} == {True, False}
        with Talk(port, before=proxy_v2("198.51.100.1", port)) as talk:
            talk.ehlo()
            talk.expect(250, "MAIL FROM:<a@example.test>")
            talk.expect("550 5.7.1", "RCPT TO:<bob@example.org>")
        for bad in (b"EHLO x\r\n", b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
                    b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"):
            with Talk(port, before=bad, greet=False) as talk:
                assert not talk.closed().startswith(b"220")
        server.process.check_alive()


class Bio:
    """TLS whose bytes we place ourselves: `header` and the ClientHello go out together, cut at `cut`."""

    def __init__(self, port, header, cut):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        data = header + self.outgoing.read()
        for part in (data[:cut], data[cut:]):
            self.socket.sendall(part)
            time.sleep(0.05)  # a segment of its own
        self.drive(self.tls.do_handshake)

    def drive(self, what):
        while True:
            try:
                done = what()
                self.socket.sendall(self.outgoing.read())
                return done
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                got = self.socket.recv(65536)
                if not got:
                    raise EOFError from None
                self.incoming.write(got)

    def sendall(self, data):
        self.drive(lambda: self.tls.write(data))

    def recv(self, size):
        try:
            return self.drive(lambda: self.tls.read(size))
        except EOFError:
            return b""

    def close(self):
        self.socket.close()


@suite.test
def proxy_headers_stand_before_tls():
    rows = {"submissions": {"proxy_from": ["127.0.0.1/32"]}}
    with Place() as place, Hop() as hop, submission(place, route_to=hop.port, rows=rows) as server:
        port = server.ports["submissions"]
        headers = [b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 465\r\n", proxy_v2("192.0.2.7", port)]
        cuts = [(header, cut) for header in headers for cut in (0, 10, len(header), len(header) + 3)]
        for number, (header, cut) in enumerate(cuts):
            with Talk.over(Bio(port, header, cut)) as talk:
                talk.ehlo()
                talk.login(USER, PASSWORD)
                talk.envelope(USER, "bob@example.org")
                assert talk.data(message(subject=str(number)))[0] == 250, (header, cut)
        assert all(b"[192.0.2.7]" in m.data for m in hop.wait(len(cuts)))
        # Without one, or with something else, there is no session.
        for header in (b"", b"PROXY nonsense\r\n"):
            try:
                Bio(port, header, 0).close()
            except (EOFError, OSError):
                continue
            raise AssertionError(header)


@suite.test
def proxy_headers_of_strangers_are_no_proxy_headers():
    rows = {"smtp": {"proxy_from": ["192.0.2.0/24"]}}
    with Place() as place, submission(place, rows=rows) as server:
        with Talk(server.ports["smtp"], before=b"PROXY TCP4 192.0.2.7 127.0.0.1 40000 25\r\n", greet=False) as talk:
            code, _ = talk.reply()
            assert code in (220, 500, 554, 421)
            if code == 220:  # then the header was a command like any other
                assert talk.reply()[0] == 500
        with Talk(server.ports["smtp"]) as talk:
            talk.ehlo()


# --- A kernel that does not let us -----------------------------------------------------------------------------------


def forbid_io_uring():
    """In the child: seccomp answers io_uring_setup with EPERM, as containers do."""
    libc = ctypes.CDLL(None, use_errno=True)
    rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("HBBI", *row) for row in rows)
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    filters = Program(len(rows), ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(filters), 0, 0):
        os._exit(99)


@suite.test
def io_uring_may_be_forbidden():
    with Place() as place:
        server = Ringpost(place)
        server.write_config()
        os.makedirs(server.config["data"], exist_ok=True)
        done = subprocess.run([server.binary, "serve", "--config", server.config_path], text=True,
                              capture_output=True, preexec_fn=forbid_io_uring, timeout=60, check=False)
        if done.returncode == 99:
            raise Skip("no seccomp")
        lines = [line for line in done.stderr.splitlines() if "io_uring" in line]
        assert done.returncode == 1 and len(lines) == 1, done
        assert "seccomp" in lines[0] or "container" in lines[0], lines


suite.main()
