#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The helpers themselves: a sink that keeps mail, a name server that answers, processes that end."""
import base64
import smtplib
import socket
import struct
import sys

import opendkim
from postfix import Postfix
from support import Dns, Place, Process, Sink, Skip, Suite, accepts, message, merge, program, run, until

suite = Suite()


@suite.test
def sink_keeps_what_smtplib_sends():
    with Sink() as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=30) as client:
            client.sendmail("a@example.test", ["b@example.org"], message(subject="one"))
        got = sink.wait(1)[0]
        assert got["recipients"] == ["b@example.org"] and b"Subject: one\r\n" in got["data"]


@suite.test
def sink_replies_as_told():
    with Sink(on_rcpt=lambda address, _: "450 4.2.1 later" if "slow" in address else None) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=30) as client:
            refused = client.sendmail("a@example.test", ["b@example.org", "slow@example.org"],
                                      message())
        assert refused["slow@example.org"][0] == 450
        assert sink.wait(1)[0]["recipients"] == ["b@example.org"]


@suite.test
def postfix_programs_reach_the_sink():
    with Sink() as sink:
        run(program("smtp-source", "postfix"), "-m", 7, "-s", 2, "-f", "a@example.test",
            "-t", "b@example.org", f"127.0.0.1:{sink.port}")
        assert len(sink.wait(7)) == 7


@suite.test
def real_postfix_relays_to_the_sink():
    with Place() as place, Sink() as sink, Postfix(place, relay_to=sink.port, tls=True) as postfix:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=30) as client:
            client.starttls()
            client.sendmail("a@example.test", ["b@example.org"], message(subject="through postfix"))
        assert b"through postfix" in sink.wait(1)[0]["data"]
        until(lambda: not postfix.queued(), "an empty queue of Postfix")


@suite.test
def name_server_answers():
    with Place() as place, Dns(place, {"example.org": "@ MX 10 mx\nmx A 127.0.0.9"}) as dns:
        question = struct.pack(">6H", 77, 0, 1, 0, 0, 0) + b"\x02mx\x07example\x03org\0" \
            + struct.pack(">2H", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.sendto(question, ("127.0.0.1", dns.port))
            answer = s.recv(512)
        assert socket.inet_aton("127.0.0.9") in answer


@suite.test
def opendkim_tells_good_from_altered():
    try:
        import dkim
    except ImportError:
        raise Skip("python3-dkim is not here") from None
    with Place() as place:
        key = place.file("dkim.key")
        run("openssl", "genrsa", "-out", key, "2048")
        run("openssl", "rsa", "-in", key, "-pubout", "-outform", "DER", "-out", key + ".der")
        with open(key, "rb") as private, open(key + ".der", "rb") as public:
            record = "v=DKIM1; k=rsa; p=" + base64.b64encode(public.read()).decode()
            text = message(Date="Sat, 21 Nov 2026 10:00:00 +0000", Message_ID="<1@example.test>")
            signed = dkim.sign(text.encode(), b"s1", b"example.test", private.read(),
                               canonicalize=(b"relaxed", b"relaxed")) + text.encode()
        altered = signed.replace(b"Hello", b"Hullo")
        said = opendkim.verify(place, [signed, altered, signed, text.encode()],
                               {"s1._domainkey.example.test": record})
        assert [why == "" for why in said] == [True, False, True, False], said


@suite.test
def processes_end_with_their_block():
    with Place() as place:
        port = place.ports.reserve()
        text = (f"import socket, signal\ns = socket.socket()\n"
                f"s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
                f"s.bind(('127.0.0.1', {port}))\ns.listen()\nsignal.pause()")
        process = Process(place, "listener", [sys.executable, "-c", text])
        until(lambda: process.check_alive() and accepts(port), "the listener")
        assert process.stop() == -15
        assert not accepts(port)


@suite.test
def merging_is_deep():
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}, "d": [4]}) == \
        {"a": {"b": 1, "c": 3}, "d": [4]}


suite.main()
