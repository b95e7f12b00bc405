#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host does to a server: few descriptors, floods, systemd's sockets and messages, and strange
names in its log. And what programs are told with --json."""
import contextlib
import json
import os
import re
import resource
import select
import shutil
import socket
import threading
import urllib.request

from hop import Hop
from support import (BUILD, USER, Place, Process, Ready, Ringpost, Sink, Skip, Suite, accepts, message, program,
                     ringpost, run, until)
from talk import Talk

suite = Suite()

OPEN = {"smtp": {"relay_from": ["127.0.0.1/32"]}}


# --- Overload --------------------------------------------------------------------------------------


@suite.test
def descriptors_run_out():
    """Whatever `connections` asks for, some are left for the commands and for deliveries; clients wait and
    get in later."""
    with Place() as place, Sink() as sink:
        route = {"domain": "*", "hosts": ["127.0.0.1"], "port": sink.port, "tls": "none"}
        limits = {"connections": 5000, "client_connections": 0, "outgoing": 2}
        server = Ringpost(place, {"workers": 2, "limits": limits, "relay": {"routes": [route], "idle": "0"}},
                          rows=OPEN)
        server.write_config()
        os.makedirs(server.config["data"])
        few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
        server.process = Process(place, "few", [server.binary, "serve", "--config", server.config_path],
                                 env=dict(os.environ), preexec_fn=few)
        until(lambda: server.process.check_alive() and accepts(server.ports["smtp"]), "the server")
        first = Talk(server.ports["smtp"])
        first.ehlo()
        clients = [socket.create_connection(("127.0.0.1", server.ports["smtp"]), 60) for _ in range(450)]
        sessions = lambda: server.cli_json("stats")["smtp"]["sessions"]
        places = int(re.search(r"places .*connections=(\d+)", server.log())[1])
        until(lambda: sessions() >= places - 2, "a full house")
        assert sessions() < 400
        first.envelope("a@example.org", "b@example.net")
        first.data(b"Subject: out\r\n\r\nthrough a full house\r\n")
        sink.wait(1)
        first.close()
        for client in clients:
            client.close()
        with Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
        server.stop()


@suite.test
def memory_has_a_limit():
    """Half a command from each of many clients fills it: those who come later wait, the operator does not,
    and all get in when it is free again."""
    limits = {"memory": "4M", "connections": 1000, "client_connections": 0}
    with Place() as place:
        port = place.ports.reserve()
        config = {"workers": 1, "limits": limits, "metrics": f"127.0.0.1:{port}"}

        def number(name):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                return int(re.search(rf"(?m)^ringpost_{name} (\d+)", answer.read().decode())[1])

        errors = lambda: number("conn_accept_errors_total")
        with Ringpost(place, config) as server, contextlib.ExitStack() as ends:
            clients = [ends.enter_context(Talk(server.ports["smtp"])) for _ in range(300)]
            for client in clients:
                client.socket.sendall(b"NOOP " + b"x" * 3000)
            until(lambda: number("worker_buffers_bytes") > 4 << 20, "buffers in use")
            late = [ends.enter_context(socket.create_connection(("127.0.0.1", server.ports["smtp"]), 60))
                    for _ in range(20)]
            before = errors()
            until(lambda: errors() > before + 1, "the next look")
            server.cli("queue", "count")
            served = select.select(late, [], [], 0)[0]
            assert len(served) <= 4, served  # what was under way
            for client in clients:
                client.socket.sendall(b"\r\n")
                assert client.reply()[0] == 250
            for client in late:
                assert client.recv(1000).startswith(b"220 ")


def flood(port, opening, blob, stop):
    """As much as it takes, until told to stop."""
    with socket.create_connection(("127.0.0.1", port), 60) as s:
        s.recv(1000)
        for line in opening:
            s.sendall(line)
            s.recv(5000)
        s.setblocking(False)
        while not stop.is_set():
            try:
                s.send(blob)
            except BlockingIOError:
                stop.wait(0.001)
            try:
                s.recv(1 << 20)
            except BlockingIOError:
                pass


@suite.test
def a_flood_starves_nobody():
    """On one worker: others are answered between the commands of one and the bytes of another."""
    with Place() as place, Ringpost(place, {"workers": 1, "smtp": {"commands": 100000, "size": "4G"}},
                                    rows=OPEN) as server:
        port, stop = server.ports["smtp"], threading.Event()
        hello = [b"EHLO a.test\r\n"]
        data = hello + [b"MAIL FROM:<a@example.test>\r\n", b"RCPT TO:<b@example.org>\r\n", b"DATA\r\n"]
        floods = [threading.Thread(target=flood, args=(port, hello, b"NOOP\r\n" * 5000, stop)),
                  threading.Thread(target=flood, args=(port, data, (b"x" * 70 + b"\r\n") * 2000, stop))]
        for thread in floods:
            thread.start()
        try:
            bytes_in = lambda: server.cli_json("stats")["smtp"]["sessions"]
            until(lambda: bytes_in() >= 2, "both floods")
            with Talk(port) as talk:
                talk.ehlo()
                for _ in range(100):
                    talk.expect(250, "NOOP")
        finally:
            stop.set()
            for thread in floods:
                thread.join()


@suite.test
def what_is_not_as_it_should_be_is_told():
    with Place() as place:
        server = Ringpost(place, {"store": {"nosync": True}}).start()
        process = server.process
        server.stop()  # the log is written by a thread of its own: whole only now
        assert ("running as root" in process.log()) == (os.getuid() == 0)
        assert "store.nosync" in process.log()


@suite.test
def a_listener_without_address_is_everywhere():
    with Place() as place:
        server = Ringpost(place, services=())
        port = place.ports.reserve(address="0.0.0.0")
        server.config["listen"] = [{"port": port, "service": "smtp"}]
        with server:
            for address in ("127.0.0.1", "::1"):
                with socket.create_connection((address, port), 60) as s:
                    assert s.recv(1000).startswith(b"220 "), address


# --- systemd -----------------------------------------------------------------------------------------


@suite.test
def systemd_hands_over_a_socket():
    """As systemd does it: descriptor 3, and the process id in the environment."""
    with Place() as place, socket.create_server(("127.0.0.1", 0)) as there:
        port, fd = there.getsockname()[1], there.fileno()
        server = Ringpost(place, services=())
        server.config["listen"] = [{"address": "127.0.0.1", "port": port, "service": "smtp"}]
        server.write_config()
        os.makedirs(server.config["data"])
        script = f'exec 3<&{fd}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        server.process = Process(place, "activated", ["bash", "-c", script, "bash", server.binary, "serve",
                                                      "--config", server.config_path],
                                 env=dict(os.environ), pass_fds=[fd])
        with Talk(port) as talk:
            talk.ehlo()
        server.stop()
        assert accepts(port)  # it is systemd's, and waits for the next start


@suite.test
def systemd_is_told_of_every_change():
    with Place() as place:
        server = Ringpost(place, services=("smtp",))
        server.write_config()
        os.makedirs(server.config["data"])
        with Ready(place) as ready:
            ready.socket.settimeout(60)
            hear = lambda: dict(line.split("=", 1) for line in ready.socket.recv(4096).decode().splitlines())
            server.process = Process(place, "told", [server.binary, "serve", "--config", server.config_path],
                                     env={**os.environ, "NOTIFY_SOCKET": ready.path})
            assert hear().get("READY") == "1"
            server.reload()
            told = hear()
            assert told.get("RELOADING") == "1" and int(told["MONOTONIC_USEC"]) > 0, told
            assert hear().get("READY") == "1"
            server.process.send_signal(15)
            assert hear().get("STOPPING") == "1"
            server.stop()


@suite.test
def keys_come_as_credentials():
    """Read as root, also at a reload, by a server that has become another user."""
    with Place() as place:
        server = Ringpost(place, services=("submissions",))
        os.makedirs(server.config["data"])
        if os.getuid() == 0:
            os.chmod(place.path, 0o755)
            server.config.update(user="nobody", group="nogroup", control=place.file("data/control.sock"))
            shutil.chown(server.config["data"], "nobody", "nogroup")
            place.ports.close()  # kept for root's own processes
        os.makedirs(place.file("credentials"), 0o500)
        row = server.config["tls"]["certificates"][0]
        os.rename(row["key"], place.file("credentials/key.pem"))
        row["key"] = "credential:key.pem"
        server.env["CREDENTIALS_DIRECTORY"] = place.file("credentials")
        server.start(wait=False)
        until(lambda: server.process.check_alive() and accepts(server.ports["submissions"]), "the server")
        for _ in range(2):
            with Talk(server.ports["submissions"], tls=True) as talk:
                talk.ehlo()
            server.reload()
            until(lambda: "reloaded" in server.log() or "reload failed" in server.log(), "the reload")
        assert "reload failed" not in server.log(), server.log()
        server.env.clear()
        server.cli("domain", "add", "one.test")  # commands do not see the folder
        server.stop()
        done = server.cli("check", check=False)
        assert done.returncode == 1 and "credential:key.pem" in done.stderr, done


@suite.test
def the_unit_file_is_good():
    unit = os.path.join(BUILD, "dist", "ringpost.service")
    if not os.path.exists(unit):
        raise Skip("there is no unit file")
    verify = program("systemd-analyze", "systemd")
    with Place() as place:
        with open(unit, encoding="utf-8") as f:
            text = re.sub(r"(?m)^(Exec\w+=)\S+/ringpost ", rf"\g<1>{os.path.abspath(BUILD)}/ringpost ", f.read())
        done = run(verify, "verify", "--man=no", place.file("ringpost.service", text), check=False,
                   env=dict(os.environ))
        about_us = [line for line in (done.stdout + done.stderr).splitlines() if "ringpost" in line]
        assert not about_us, about_us


# --- The log -------------------------------------------------------------------------------------------


NAMES = [b'x"_id=1_event=accepted', b"x\\n", b"x=y", b"[127.0.0.1]", b"\x1b[31mred", b"\xff\xfe", b"a\rb", b"a\0b"]
SENDERS = [b'<"a\\" id=9 x"@example.test>', b"<a=b@example.test>", b'<"\\\\"@example.test>']


@suite.test
def nobody_writes_our_log_lines():
    for form in ("text", "json"):
        with Place() as place, Hop() as hop, Ringpost(place, {"log": {"format": form, "level": "debug"}},
                                                      route_to=hop.port, rows=OPEN) as server:
            for number, (name, sender) in enumerate((n, s) for n in NAMES for s in SENDERS):
                with Talk(server.ports["smtp"]) as talk:
                    talk.socket.sendall(b"EHLO " + name + b"\r\n")
                    if talk.reply()[0] != 250:
                        continue
                    talk.socket.sendall(b"MAIL FROM:" + sender + b"\r\n")
                    assert talk.reply()[0] == 250, sender
                    talk.expect(250, f'RCPT TO:<"b {number}"@example.org>')
                    assert talk.data(message())[0] == 250
            hop.wait(4 * len(SENDERS))
            until(lambda: server.log().count("delivered") >= 4 * len(SENDERS), "the lines")
            for line in server.log().splitlines():
                assert line.isprintable(), line
                if form == "json":
                    event = json.loads(line)
                    assert event["time"] and event["event"] and event["level"], line
                else:
                    assert re.fullmatch(r'\S+Z \w+ [\w.]+( [a-z_]+=([^"= ]\S*|"([^"\\]|\\.)*"|))*', line), line


@suite.test
def a_message_is_named_on_every_line_of_its_life():
    later = lambda hop, session, verb, line: None if hop.open or verb != "RCPT" else "451 4.2.1 later"
    never = lambda hop, session, verb, line: "550 5.1.1 no" if verb == "RCPT" and "never" in line else \
        later(hop, session, verb, line)
    config = {"log": {"format": "json"}, "relay": {"retry": {"first": "100ms", "factor": 1, "max": "100ms"}}}
    with Place() as place, Hop(never) as hop, Ringpost(place, config, route_to=hop.port, rows=OPEN) as server:
        hop.open = False
        with Talk(server.ports["smtp"]) as talk:
            talk.ehlo()
            talk.envelope(USER, "later@example.org", "never@example.org")
            code, text = talk.data(message())
            assert code == 250
        name = re.search(r"id=(\w+)", text)[1]
        events = lambda: [json.loads(line) for line in server.log().splitlines()]
        about = lambda number: {e["event"] for e in events() if e.get("id") in (name, f"{name}.{number}")}
        until(lambda: {"received", "deferred"} <= about(0), "the first attempt")
        hop.open = True
        until(lambda: {"received", "deferred", "delivered"} <= about(0), "the delivery")
        until(lambda: {"received", "bounced"} <= about(1), "the bounce")
        assert [e["attempts"] for e in events() if e["event"] == "bounced"] == [1]
        life = {"received", "attempt", "deferred", "delivered", "bounced", "dsn"}
        assert all(e.get("id") for e in events() if e["event"] in life)
        report = until(lambda: [e["dsn"] for e in events() if e["event"] == "dsn" and e["id"] == name], "a report")
        until(lambda: {"delivered", "dsn"} <= {e["event"] for e in events()
                                              if report[0] in (e.get("id", "").split(".")[0], e.get("dsn"))},
              "what became of the report")
        received = [e for e in events() if e["event"] == "received"]
        assert [e["id"] for e in received] == [name] and received[0]["trace"], received
        assert "accepted" not in {e["event"] for e in events()}  # it would say the same once more


@suite.test
def a_message_is_received_before_it_is_delivered():
    """With more workers than one, the lines come from different threads."""
    count = 400
    with Place() as place, Hop() as hop, Ringpost(place, {"workers": 4, "log": {"format": "json"}}, route_to=hop.port,
                                                  rows=OPEN) as server:
        for _ in range(4):
            with Talk(server.ports["smtp"]) as talk:
                talk.ehlo()
                for n in range(count // 4):
                    talk.envelope("a@example.test", f"r{n}@d{n}.example.org")
                    assert talk.data(message())[0] == 250
        hop.wait(count)
        lines = lambda: [json.loads(line) for line in server.log().splitlines()]
        until(lambda: sum(e["event"] == "delivered" for e in lines()) == count, "all lines")
        seen, late = set(), 0
        for event in lines():
            if event["event"] == "received":
                seen.add(event["id"])
            elif event["event"] in ("attempt", "delivered"):
                late += event["id"].split(".")[0] not in seen
        assert len(seen) == count and late == 0, late


# --- For programs ------------------------------------------------------------------------------------------


@suite.test
def json_tells_failures_too():
    with Place() as place:
        server = Ringpost(place)
        server.write_config()
        bad = place.file("bad.yaml", "hostname: a.test\nsmtp: { siez: 1M }\nlgo: 1\n")
        done = ringpost("check", "--json", "--config", bad)
        answer = json.loads(done.stdout)
        assert done.returncode == 1 and not answer["ok"] and answer["file"] == bad and not done.stderr, done
        assert any(re.search(r":2: .*siez.* did you mean `size`", line) for line in answer["errors"]), answer
        assert json.loads(ringpost("check", "--json", "--config", server.config_path).stdout)["ok"]
        for status, args in ((1, ["domain", "remove", "no.test"]), (1, ["domain", "add", "no domain"]),
                             (1, ["account", "passwd", "a@no.test"]),
                             (1, ["dkim", "add", "no.test", "--selector", "s1"]), (2, ["queue", "list", "--what"]),
                             (2, ["nonsense"]), (2, ["stats", "surplus"])):
            done = ringpost(*args, "--json", "--config", server.config_path)
            assert done.returncode == status and not done.stdout, (args, done)
            assert json.loads(done.stderr)["error"], (args, done)


@suite.test
def the_file_of_the_documentation_is_complete():
    path = os.path.join(os.environ.get("RINGPOST_SOURCE", "."), "docs", "ringpost.yaml")
    if not os.path.exists(path):
        raise Skip("docs/ringpost.yaml is not here")
    with open(path, encoding="utf-8") as f:
        named = set(re.findall(r"(\w+):(?=[ \n])", f.read()))
    rows = re.findall(r"(?m)^\| `([\w.]+)", ringpost("check", "--docs").stdout)
    assert len(rows) > 100
    missing = [row for row in rows if row.split(".")[-1] not in named]
    assert not missing, missing


suite.main()
