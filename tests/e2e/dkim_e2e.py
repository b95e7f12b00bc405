#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every signature of a run of varied messages is checked by python3-dkim and by OpenDKIM."""
import concurrent.futures
import contextlib
import itertools
import re
import smtplib
import ssl
import urllib.request

import opendkim
from hop import ALL, Hop
from support import (PASSWORD, USER, Place, Skip, Suite, free_port, message, parse, run, submission,
                     submit, until)
from talk import Talk

suite = Suite()


@contextlib.contextmanager
def signing(hop, keys=(("s1", "rsa"), ("s2", "ed25519")), config=None, accounts=(USER,), domain="example.test"):
    """A server whose domain has these keys; `server.records` holds what is to be published."""
    with Place() as place, submission(place, config, route_to=hop.port, accounts=accounts) as server:
        server.records = {}
        for selector, kind in keys:
            add_key(server, domain, selector, kind)
        yield server


def add_key(server, domain, selector, kind, *more):
    answer = server.cli_json("dkim", "add", domain, "--selector", selector, "--type", kind, *more)
    server.records[answer["name"]] = answer["record"]
    return answer


def python_dkim():
    try:
        import dkim
    except ImportError:
        raise Skip("python3-dkim is not here") from None
    return dkim


def signatures(data):
    """Tags of each DKIM-Signature field, in order."""
    head = data.split(b"\r\n\r\n", 1)[0] + b"\r\n"
    fields = re.findall(rb"(?im)^DKIM-Signature:((?:.*\r\n)(?:[ \t].*\r\n)*)", head)
    return [dict(re.fullmatch(r"\s*(\w+)\s*=\s*(.*?)\s*", part, re.S).groups()
                 for part in field.decode().strip().rstrip(";").split(";")) for field in fields]


def verify(data, records):
    """Verdict of python3-dkim for each signature, in order."""
    dkim = python_dkim()
    find = lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode()
    verdicts = []
    for number in range(len(signatures(data))):
        try:
            verdicts.append(dkim.DKIM(data).verify(idx=number, dnsfunc=find))
        except dkim.ValidationError:
            verdicts.append(False)
    return verdicts


VARIED = {
    "plain": message(subject="plain"),
    "no body": "From: alice@example.test\r\nSubject: no body\r\n\r\n",
    "empty lines": message(subject="empty lines", body="\n\n\ntext\n\n\n\n"),
    "only empty lines": message(subject="only empty lines", body="\n\n\n"),
    "trailing blanks": message(subject="trailing  blanks \t ", body="a  b\t\tc  \n \n\t\n"),
    "dots": message(subject="dots", body=".\n..\n.x\n"),
    "folded": message(subject="folded\n\tover\n   lines", body="x\n", X_Other="a\n b"),
    "many of a kind": message(subject="many", To2="x", Comments="one") + "Comments: no header\r\n",
    "odd names": "FROM:alice@example.test\r\nsUbJeCt:  odd  \r\nTo:b@example.org\r\n\r\nx\r\n",
    "list": message(subject="list", List_Unsubscribe="<https://example.test/u/1>",
                    List_Unsubscribe_Post="List-Unsubscribe=One-Click", Reply_To="r@example.test",
                    Cc="c@example.org", MIME_Version="1.0", Content_Type="text/plain; charset=utf-8"),
    "display name": message(sender='"Alice, \\"A\\" (x)" <alice@example.test>', subject="display"),
    "group of cc": message(subject="groups", Cc="friends: a@example.org, b@example.org;"),
    "encoded": message(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", body="=E4=B8=AD\n"),
    "long lines": message(subject="long " + "w " * 400, body=("y" * 990 + "\n") * 20),
    "large": message(subject="large", body="0123456789 " * 9 + "\n" * 3 + ("line of text\n" * 60000)),
    "colons": message(subject="a:b;c=d", X_C="v=1; a=b;"),
    "two subjects": "From: alice@example.test\r\nSubject: one\r\nSubject: two\r\n\r\nx\r\n",
    "no end": "From: alice@example.test\r\nSubject: no end\r\n\r\nno line end",
    "8 bit": message(subject="8 bit", body="Grüße, 中文\n"),
    "utf-8 header": message(subject="Grüße", body="x\n"),
}


def send_all(server, texts):
    for text in texts:
        eight = not text.isascii()
        head = text.split("\r\n\r\n", 1)[0]
        options = ["BODY=8BITMIME"] * eight + ["SMTPUTF8"] * (not head.isascii())
        submit(server, text, mail_options=options)


@suite.test
def both_signatures_of_varied_messages_verify():
    with Hop() as hop, signing(hop) as server:
        send_all(server, VARIED.values())
        got = [mail.data for mail in hop.wait(len(VARIED))]
        for data in got:
            kinds = sorted(s["a"] for s in signatures(data))
            assert kinds == ["ed25519-sha256", "rsa-sha256"], data[:2000]
            assert verify(data, server.records) == [True, True], data[:2000]
        # OpenDKIM of Debian 12 knows no Ed25519: what it says is about the RSA signature.
        rsa = {name: record for name, record in server.records.items() if name.startswith("s1.")}
        # A second Subject is a syntax error to it, whoever signed.
        once = [only(data, "rsa-sha256") for data in got if data.count(b"\r\nSubject: ") == 1]
        assert len(once) > 15
        said = opendkim.verify(server.place, once, rsa)
        assert said == [""] * len(once), [why for why in said if why]


def only(data, algorithm):
    """The message with the signatures of one algorithm."""
    fields = re.compile(rb"(?im)^DKIM-Signature:(?:.*\r\n)(?:[ \t].*\r\n)*")
    keep = lambda match: match.group() if b"a=" + algorithm.encode() in match.group() else b""
    head, body = data.split(b"\r\n\r\n", 1)
    return fields.sub(keep, head + b"\r\n") + b"\r\n" + body


RUN, SENDERS = 240, 8


def send_run(server):
    """From several connections at once, so that signatures gather into batches; no two messages alike."""
    texts = [message(subject=f"{name} {number}", body=f"{number}\n" + "line of text\n" * (number * 7 % 400))
             for number, name in zip(range(RUN), itertools.cycle(VARIED))]

    def send(part):
        with smtplib.SMTP("localhost", server.ports["submission"]) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login(USER, PASSWORD)
            for text in part:
                client.sendmail(USER, ["bob@example.org"], text)

    with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, [texts[n::SENDERS] for n in range(SENDERS)]))


def run_verifies(engine):
    """Every signature of a run; how many RSA signatures were made, and how many of them in lanes."""
    port = free_port()
    config = {"sign": {"engine": engine}, "metrics": f"127.0.0.1:{port}"}
    with Hop() as hop, signing(hop, config=config) as server:
        send_run(server)
        for mail in hop.wait(RUN):
            assert sorted(s["a"] for s in signatures(mail.data)) == ["ed25519-sha256", "rsa-sha256"]
            assert verify(mail.data, server.records) == [True, True], mail.data[:2000]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        count = lambda name: int(re.search(rf"(?m)^ringpost_rsa_{name}_total (\d+)$", text)[1])
        made, lanes, batches = count("signatures"), count("lane_signatures"), count("batches")
        told = server.cli_json("version")["rsa_engine"]
        print(f"  sign.engine {engine}, {told} here: {made} RSA signatures, {lanes} of them in lanes, "
              f"{batches} batches; {RUN} Ed25519; all verified by python3-dkim")
        assert count("redone") == 0 and count("failures") == 0
        return told, made, lanes


@suite.test
def every_signature_of_a_run_verifies():
    told, made, lanes = run_verifies("auto")
    # One a message, and none for TLS: that certificate is ECDSA.
    assert made == RUN and lanes == (RUN if told == "ifma" else 0)


@suite.test
def every_signature_of_a_run_by_wolfcrypt_verifies():
    _, made, lanes = run_verifies("wolfcrypt")
    assert made == RUN and lanes == 0


@suite.test
def signatures_say_what_the_rules_want():
    with Hop() as hop, signing(hop) as server:
        send_all(server, [VARIED["list"]])
        data = hop.wait(1)[0].data
        for tags in signatures(data):
            names = [name.strip().lower() for name in tags["h"].split(":")]
            assert tags["d"] == "example.test" and tags["c"] == "relaxed/relaxed" and "l" not in tags, tags
            assert names.count("from") == 2 and names.count("subject") == 2 and names.count("to") == 2
            assert names.count("date") == 2 and "list-unsubscribe" in names and "list-unsubscribe-post" in names
            assert not {"received", "return-path", "dkim-signature"} & set(names), names
        # Another From: added behind our back, or a changed body, is seen.
        for forged in (data.replace(b"\r\nFrom:", b"\r\nFrom: evil@example.org\r\nFrom:", 1),
                       data.replace(b"\r\nSubject:", b"\r\nSubject: evil\r\nSubject:", 1), data + b"more\r\n"):
            assert verify(forged, server.records) == [False, False], forged


@suite.test
def other_canonical_forms_verify():
    for form in ("simple", "relaxed"):
        config = {"relay": {"dkim": {"header": form, "body": "simple", "expire": "1d"}}}
        with Hop() as hop, signing(hop, config=config) as server:
            texts = [VARIED[name] for name in ("plain", "trailing blanks", "folded", "only empty lines", "no end",
                                               "odd names")]
            send_all(server, texts)
            for mail in hop.wait(len(texts)):
                tags = signatures(mail.data)
                assert {s["c"] for s in tags} <= {f"{form}/simple", form} and "x" in tags[0], tags
                assert verify(mail.data, server.records) == [True, True], mail.data[:1500]


@suite.test
def what_is_recoded_is_signed_as_sent():
    with Hop(extensions=[name for name in ALL if name not in ("8BITMIME", "SMTPUTF8", "BINARYMIME")]) as hop, \
            signing(hop) as server:
        text = message(subject="recoded", body="Grüße\n" * 200, MIME_Version="1.0",
                       Content_Type="text/plain; charset=utf-8", Content_Transfer_Encoding="8bit")
        send_all(server, [text, VARIED["plain"]])
        for mail in hop.wait(2):
            assert mail.data.isascii()
            assert verify(mail.data, server.records) == [True, True], mail.data[:1500]


@suite.test
def parents_sign_for_their_children():
    sub = "carol@deep.sub.example.test"
    with Hop() as hop, signing(hop, accounts=(USER, sub)) as server:
        with smtplib.SMTP("localhost", server.ports["submission"]) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login(sub, PASSWORD)
            client.sendmail(sub, ["b@example.org"], message(sender=sub).encode())
        data = hop.wait(1)[0].data
        assert {s["d"] for s in signatures(data)} == {"example.test"}
        assert verify(data, server.records) == [True, True]


@suite.test
def relayed_mail_is_not_signed_and_reports_are():
    says = lambda hop, session, verb, line: "550 5.1.1 no" if verb == "RCPT" and "nobody" in line else None
    with Place() as place, Hop(says) as hop:
        config = {"relay": {"postmaster": "postmaster@example.test"}}
        with submission(place, config, route_to=hop.port,
                        rows={"smtp": {"relay_from": ["127.0.0.1/32"]}}) as server:
            server.records = {}
            add_key(server, "example.test", "s1", "rsa")
            with Talk(server.ports["smtp"]) as talk:
                talk.ehlo()
                talk.envelope("alice@example.test", "nobody@example.org", "bob@example.org")
                assert talk.data(message(subject="relayed"))[0] == 250
            got = {parse(m.data)["Subject"]: m.data for m in hop.wait(2)}
            relayed = got.pop("relayed")
            (report,) = got.values()
            assert signatures(relayed) == []
            assert [s["d"] for s in signatures(report)] == ["example.test"], report[:1500]
            assert verify(report, server.records) == [True]


@suite.test
def keys_come_and_go_while_it_runs():
    with Hop() as hop, signing(hop, keys=()) as server:
        send_all(server, [VARIED["plain"]])
        assert signatures(hop.wait(1)[0].data) == []
        add_key(server, "example.test", "a", "ed25519")
        count = [1]

        def selectors():
            count[0] += 1
            send_all(server, [VARIED["plain"]])
            data = hop.wait(count[0])[-1].data
            assert all(verify(data, server.records))
            return sorted(s["s"] for s in signatures(data))

        until(lambda: selectors() == ["a"], "a signature with the new key")
        add_key(server, "example.test", "b", "rsa", "--bits", "2048")
        until(lambda: selectors() == ["a", "b"], "both signatures")
        server.cli("dkim", "remove", "example.test", "--selector", "a")
        until(lambda: selectors() == ["b"], "one signature")


@suite.test
def imported_keys_sign():
    with Hop() as hop, signing(hop, keys=()) as server:
        for number, command in enumerate((["genrsa", "2048"], ["genpkey", "-algorithm", "ed25519"],
                                          ["genrsa", "-traditional", "1024"])):
            pem = server.place.file(f"key{number}.pem", run("openssl", *command).stdout)
            kind = "ed25519" if "ed25519" in command else "rsa"
            add_key(server, "example.test", f"k{number}", kind, "--key-file", pem)
        listed = server.cli_json("dkim", "list", "example.test")
        assert sorted(row["selector"] for row in listed) == ["k0", "k1", "k2"], listed
        dns = server.cli("dkim", "dns", "example.test").stdout
        assert all(f"k{n}._domainkey.example.test. IN TXT" in dns for n in range(3)), dns
        send_all(server, [VARIED["plain"]])
        data = hop.wait(1)[0].data
        assert len(signatures(data)) == 3
        assert verify(data, server.records) == [True] * 3


@suite.test
def required_and_without_a_key_it_is_held():
    with Place() as place, Hop() as hop, submission(place, route_to=hop.port, accounts=()) as server:
        server.records = {}
        server.cli("domain", "add", "example.test", "--sign", "required")
        server.cli("account", "add", USER, "--password-stdin", input=PASSWORD + "\n")
        send_all(server, [VARIED["plain"]])
        row = until(lambda: [r for r in server.cli_json("queue", "list") if r["state"] == "held"],
                    "a message that is held")[0]
        assert "sign" in row["held_by"], row
        assert hop.messages == []
        add_key(server, "example.test", "s1", "rsa")
        server.cli("queue", "release", "--id", row["id"], check=False)  # it may be on its way already
        data = hop.wait(1)[0].data
        assert verify(data, server.records) == [True]


suite.main()
