#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Delivery by MX, with answers from a real authoritative server (knot) on loopback."""
import contextlib
import os
import signal
import socket

from hop import Hop
from support import (Dns, Place, Process, Ringpost, Skip, Suite, accepts, message, parse, submission,
                     submit, until)
from talk import Talk

suite = Suite()

RETRY = {"first": "300ms", "factor": 1, "max": "300ms"}


@contextlib.contextmanager
def world(place, zones, port, home=None, **retry):
    """ringpost that asks our name server; exchangers listen on `port`, reports go to `home`."""
    with Dns(place, zones) as dns:
        routes = [{"domain": "example.test", "hosts": ["127.0.0.1"], "port": home.port, "tls": "none"}] \
            if home else []
        config = {"resolver": {"servers": [dns.server]},
                  "relay": {"port": port, "routes": routes, "retry": {**RETRY, **retry}}}
        with submission(place, config) as server:
            server.dns = dns
            yield server


def reason(mail):
    """Action, status and recipient of a report about one recipient."""
    status = [p for p in parse(mail.data).walk() if p.get_content_type() == "message/delivery-status"][0]
    rcpt = status.get_payload()[1]
    return rcpt["Action"], rcpt["Status"], rcpt["Final-Recipient"].split(";")[1].strip()


@suite.test
def the_best_preference_comes_first():
    zone = "@ MX 20 b\n@ MX 10 a\n@ MX 30 c\na A 127.0.0.2\nb A 127.0.0.3\nc A 127.0.0.4"
    with Place() as place, Hop(address="127.0.0.2") as a, Hop(address="127.0.0.3", port=a.port) as b:
        with world(place, {"example.org": zone}, a.port) as server:
            for number in range(3):
                submit(server, message(subject=str(number)))
            a.wait(3)
        assert b.sessions == []


@suite.test
def equal_preferences_share():
    zone = "@ MX 10 a\n@ MX 10 b\na A 127.0.0.2\nb A 127.0.0.3"
    with Place() as place, Hop(address="127.0.0.2") as a, Hop(address="127.0.0.3", port=a.port) as b:
        zones = {f"d{n}.org": zone for n in range(24)}
        with world(place, zones, a.port) as server:
            submit(server, message(), [f"bob@d{n}.org" for n in range(24)])
            until(lambda: sum(len(m.rcpts) for m in a.messages + b.messages) == 24, "all recipients")
        assert a.messages and b.messages  # alike with a chance of 2^-23


@suite.test
def the_next_exchanger_helps_out():
    zone = "@ MX 10 dead\n@ MX 20 busy\n@ MX 25 noaddress\n@ MX 30 good\n" \
        "dead A 127.0.0.9\nbusy A 127.0.0.2\ngood A 127.0.0.3"
    busy_says = lambda hop, session, verb, line: "421 4.3.2 busy" if verb == "CONNECT" else None
    with Place() as place, Hop(busy_says, address="127.0.0.2") as busy, \
            Hop(address="127.0.0.3", port=busy.port) as good:
        with world(place, {"example.org": zone}, busy.port, first="1h", max="1h") as server:
            submit(server, message())
            good.wait(1)
        assert len(busy.sessions) == 1


@suite.test
def a_refused_recipient_is_not_taken_elsewhere():
    zone = "@ MX 10 a\n@ MX 20 b\na A 127.0.0.2\nb A 127.0.0.3"
    says = lambda hop, session, verb, line: "550 5.1.1 no" if verb == "RCPT" else None
    with Place() as place, Hop(says, address="127.0.0.2") as a, Hop() as home, \
            Hop(address="127.0.0.3", port=a.port) as b:
        with world(place, {"example.org": zone}, a.port, home) as server:
            submit(server, message())
            assert reason(home.wait(1)[0])[:2] == ("failed", "5.1.1")
        assert b.sessions == []


@suite.test
def a_domain_without_exchanger_serves_itself():
    with Place() as place, Hop(address="127.0.0.2") as hop:
        with world(place, {"example.org": "@ A 127.0.0.2\nwww A 127.0.0.3"}, hop.port) as server:
            submit(server, message())
            assert hop.wait(1)[0].recipients == ["bob@example.org"]


@suite.test
def null_mx_is_an_answer():
    with Place() as place, Hop() as home:
        with world(place, {"example.org": "@ MX 0 .\n@ A 127.0.0.1"}, home.port, home) as server:
            submit(server, message())
            assert reason(home.wait(1)[0]) == ("failed", "5.1.10", "bob@example.org")


@suite.test
def names_that_do_not_exist_bounce():
    with Place() as place, Hop() as home:
        zone = "text TXT nothing\nbad MX 10 nowhere\nwild MX 10 localhost."
        with world(place, {"example.org": zone}, home.port, home) as server:
            submit(server, message(), ["bob@none.example.org"])
            assert reason(home.wait(1)[0]) == ("failed", "5.1.2", "bob@none.example.org")
            submit(server, message(), ["bob@text.example.org"])
            assert reason(home.wait(2)[1]) == ("failed", "5.1.2", "bob@text.example.org")
            submit(server, message(), ["bob@bad.example.org"])
            action, status, rcpt = reason(home.wait(3)[2])
            assert (action, rcpt) == ("failed", "bob@bad.example.org") and status in ("5.1.2", "5.4.4")


@suite.test
def a_name_server_in_trouble_is_waited_for():
    zone = "@ MX 10 a\na A 127.0.0.2"
    with Place() as place, Hop(address="127.0.0.2") as hop, Hop() as home:
        with world(place, {"example.org": zone}, hop.port, home) as server:
            dns = server.dns
            dns.process.stop()  # no answer at all
            submit(server, message())
            rows = lambda: [row for row in server.cli_json("queue", "list") if row["attempts"] > 0]
            row = until(rows, "a first attempt")[0]
            assert row["state"] in ("parked", "ready", "active"), row
            assert home.messages == [] and hop.messages == []
            restart(dns)
            hop.wait(1)
        assert home.messages == []


def restart(dns):
    """The same server on the same port."""
    dns.process = Process(dns.place, "knotd-again", list(dns.process.child.args))
    until(lambda: dns.process.check_alive() and accepts(dns.port), "knotd")


@suite.test
def servfail_is_waited_for():
    with Place() as place, Hop(address="127.0.0.2") as hop, Hop() as home:
        with world(place, {"example.org": "@ MX 10 a ; broken\n(((", "other.org": "@ A 127.0.0.2"}, hop.port,
                   home) as server:
            submit(server, message(), ["bob@example.org", "bob@other.org"])
            assert hop.wait(1)[0].recipients == ["bob@other.org"]
            until(lambda: [row for row in server.cli_json("queue", "list") if row["attempts"] > 0],
                  "a first attempt")
            zone = Dns.HEAD.format(zone="example.org") + "@ MX 10 a\na A 127.0.0.2\n"
            place.file("knot/example.org.zone", zone)
            server.dns.process.send_signal(signal.SIGHUP)
            assert hop.wait(2)[1].recipients == ["bob@example.org"]
        assert home.messages == []


@suite.test
def we_are_no_exchanger_for_ourselves():
    zones = {"loop.org": "@ MX 10 mx.example.test.", "backup.org": "@ MX 20 mx.example.test.\n"
             "@ MX 30 later\nlater A 127.0.0.3\n@ MX 10 best\nbest A 127.0.0.2",
             "second.org": "@ MX 10 mx.example.test.\n@ MX 20 later\nlater A 127.0.0.3",
             # By another name, which only the address gives away; and an alias of our name.
             "other.org": "@ MX 10 we\n@ MX 20 later\nwe A 127.0.0.1\nlater A 127.0.0.3",
             "named.org": "@ MX 10 alias\n@ MX 20 later\nalias CNAME mx.example.test.\nlater A 127.0.0.3",
             "example.test": "mx A 127.0.0.1"}
    with Place() as place, Hop(address="127.0.0.2") as best, Hop() as home, \
            Hop(address="127.0.0.3", port=best.port) as later:
        with world(place, zones, best.port, home) as server:
            submit(server, message(), ["bob@loop.org"])
            assert reason(home.wait(1)[0]) == ("failed", "5.4.6", "bob@loop.org")
            submit(server, message(), ["bob@second.org"])
            assert reason(home.wait(2)[1]) == ("failed", "5.4.6", "bob@second.org")
            submit(server, message(), ["bob@backup.org"])
            best.wait(1)
            server.config["relay"]["port"] = server.ports["smtp"]  # the port of all exchangers, and ours
            server.write_config()
            server.reload()
            until(lambda: "configuration reloaded" in server.log(), "the reload")
            for number, domain in enumerate(("other.org", "named.org")):
                submit(server, message(), [f"bob@{domain}"])
                assert reason(home.wait(3 + number)[2 + number]) == ("failed", "5.4.6", f"bob@{domain}")
        assert later.sessions == []


@suite.test
def aliases_are_followed():
    zone = "alias CNAME real\nreal MX 10 host\nhost CNAME place\nplace A 127.0.0.2\n" \
        "far CNAME alias\nbare CNAME place\nelse CNAME alias.other.org.\n" \
        "none CNAME nobody\nround CNAME about\nabout CNAME round"
    other = "alias MX 10 host\nhost A 127.0.0.2"
    with Place() as place, Hop(address="127.0.0.2") as hop, Hop() as home:
        with world(place, {"example.org": zone, "other.org": other}, hop.port, home) as server:
            # To what has exchangers, over two steps, to what has an address alone, to another zone.
            for number, name in enumerate(("alias", "far", "bare", "else")):
                submit(server, message(), [f"bob@{name}.example.org"])
                # RFC 5321 5.1: the alias is only for the look-up; the address stays.
                assert hop.wait(number + 1)[number].recipients == [f"bob@{name}.example.org"]
            submit(server, message(), ["bob@none.example.org"])
            assert reason(home.wait(1)[0]) == ("failed", "5.1.2", "bob@none.example.org")
            submit(server, message(), ["bob@round.example.org"])
            row = until(lambda: [row for row in server.cli_json("queue", "list") if row["attempts"]], "an attempt")
            assert row[0]["recipient"] == "bob@round.example.org"
        assert len(home.messages) == 1


@suite.test
def ipv6_is_used_and_ipv4_helps():
    if not socket.has_ipv6:
        raise Skip("no IPv6")
    try:
        six = Hop(address="::1").__enter__()
    except OSError:
        raise Skip("no IPv6 on loopback") from None
    zone = "@ MX 10 six\nsix AAAA ::1\nboth MX 10 mixed\nmixed AAAA ::2\nmixed A 127.0.0.2"
    try:
        with Place() as place, Hop(address="127.0.0.2", port=six.port) as four:
            with world(place, {"example.org": zone}, six.port, first="1h", max="1h") as server:
                submit(server, message())
                six.wait(1)
                submit(server, message(), ["bob@both.example.org"])  # ::2 answers nobody
                four.wait(1)
    finally:
        six.__exit__(None, None, None)


@suite.test
def address_literals_need_no_name():
    with Place() as place, Hop(address="127.0.0.2") as hop:
        with world(place, {"example.org": ""}, hop.port) as server:
            submit(server, message(), ["bob@[127.0.0.2]"])
            assert hop.wait(1)[0].recipients == ["bob@[127.0.0.2]"]


@suite.test
def recursion_survives_without_a_network():
    """Our own resolver, from the root: in a network of its own, where nobody answers."""
    if os.getuid() != 0:
        raise Skip("namespaces want root")
    with Place() as place:
        path = place.file("lmtp.sock")
        config = {"relay": {"routes": [{"domain": "example.org", "accept": True}]},
                  "listen": [{"address": "unix:" + path, "service": "lmtp"}]}
        server = Ringpost(place, config, services=())
        server.prefix = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        with server, Talk(None, address=path) as talk:
            talk.ehlo(verb="LHLO")
            for number in range(3):
                talk.envelope("a@example.test", "r@example.org")
                assert talk.data(message(subject=str(number)))[0] == 250
            until(lambda: [row for row in server.cli_json("queue", "list") if row["attempts"]], "an attempt")


@suite.test
def a_stop_does_not_wait_for_names():
    with Place() as place, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        config = {"drain": "10m", "resolver": {"servers": [f"127.0.0.1@{silent.getsockname()[1]}"], "timeout": "10m"}}
        with submission(place, config) as server:
            submit(server, message())
            silent.settimeout(60)
            silent.recv(512)  # the question
            server.stop()  # or this ends in an error after a minute
            server.start()
            assert len(server.cli_json("queue", "list")) == 1


suite.main()
