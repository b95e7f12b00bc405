#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Mail for own domains: by port 25, LMTP and submission, into mailboxes and on to others."""
import contextlib
import json
import os
import smtplib

from support import PATIENCE_S, Place, Sink, Suite, submission, submit, until

BOB, CAROL = "bob@own.test", "carol@own.test"
SUBMITTER = "alice@example.test"  # support's USER


class Stage:
    def __init__(self, server, sink):
        self.server, self.sink, self.count = server, sink, 0
        self.ports = server.ports

    def send(self, recipients, service="smtp", sender="eve@far.test", headers="", body="text\r\n"):
        """One message; its subject, and what smtplib says of refused recipients."""
        self.count += 1
        subject = f"mail {self.count}"
        data = f"{headers}From: <{sender or 'MAILER-DAEMON'}>\r\nSubject: {subject}\r\n\r\n{body}"
        if service == "lmtp":
            return subject, self.lmtp(sender, recipients, data)
        with smtplib.SMTP("127.0.0.1", self.ports[service], timeout=PATIENCE_S) as client:
            refused = client.sendmail(sender, recipients, data.encode())
        return subject, refused

    def lmtp(self, sender, recipients, data):
        """The reply for each recipient: smtplib reads but one at the end."""
        with smtplib.LMTP("127.0.0.1", self.ports["lmtp"], timeout=PATIENCE_S) as client:
            client.ehlo()
            client.mail(sender)
            replies = {to: client.rcpt(to) for to in recipients}
            client.putcmd("data")
            assert client.getreply()[0] == 354
            client.send(smtplib._quote_periods(data.encode()) + b".\r\n")
            for to in [to for to in recipients if replies[to][0] == 250]:
                replies[to] = client.getreply()
        return replies

    def rows(self, account, mailbox="INBOX"):
        return self.server.cli_json("message", "list", account, mailbox)

    def uids(self, account, subject, mailbox="INBOX"):
        return [row["uid"] for row in self.rows(account, mailbox) if row.get("subject") == subject]

    def show(self, account, uid, mailbox="INBOX"):
        return self.server.cli("message", "show", account, mailbox, str(uid)).stdout

    def arrivals(self, subject, count=1):
        wanted = f"Subject: {subject}\r\n".encode()
        found = lambda: [m for m in self.sink.messages if wanted in m["data"]]
        return until(lambda: len(found()) >= count and found(), f"{subject} at the sink")


@contextlib.contextmanager
def stage():
    config = {"local": {"postmaster": CAROL}, "auth": {"fail_delay": "10ms"}}
    services = ("smtp", "submission", "submissions", "lmtp")
    with Place() as place, Sink() as sink:
        config["relay"] = {"routes": [{"domain": "*", "hosts": ["127.0.0.1"], "port": sink.port,
                                       "tls": "none"}]}
        yield from run(place, sink, config, services)


def run(place, sink, config, services):
    with submission(place, config, services=services,
                    accounts=(SUBMITTER, BOB, CAROL)) as server:
        server.cli("alias", "add", "team@own.test", f"{BOB},{CAROL},team@far.test")
        yield Stage(server, sink)


suite = Suite(stage)


@suite.test
def a_message_is_there_byte_by_byte(s):
    subject, _ = s.send([BOB], body="one\r\n..two\r\n")
    [uid] = s.uids(BOB, subject)
    text = s.show(BOB, uid)
    head, body = text.replace("\r\n", "\n").split("\n\n", 1)
    lines = head.split("\n")
    assert lines[0] == "Return-Path: <eve@far.test>", text
    assert lines[1] == f"Delivered-To: {BOB}", text
    assert lines[2].startswith("Received: from "), text
    assert f"Subject: {subject}" in lines and body == "one\n..two\n", text
    [row] = [r for r in s.rows(BOB) if r["uid"] == uid]
    assert row["from"] == "eve@far.test" and row["flags"] == [], row


@suite.test
def lmtp_answers_for_each(s):
    subject, replies = s.send([BOB, "nobody@own.test", CAROL], service="lmtp")
    assert {to: code for to, (code, _) in replies.items()} == \
        {BOB: 250, "nobody@own.test": 550, CAROL: 250}, replies
    assert s.uids(BOB, subject) and s.uids(CAROL, subject)


@suite.test
def submission_to_a_neighbour_uses_no_network(s):
    before = len(s.sink.messages)
    submit(s.server, f"From: {SUBMITTER}\r\nSubject: neighbour\r\n\r\nhi\r\n", recipients=[BOB])
    assert len(s.uids(BOB, "neighbour")) == 1
    assert len(s.sink.messages) == before


@suite.test
def here_and_elsewhere_get_it_once(s):
    submit(s.server, f"From: {SUBMITTER}\r\nSubject: both\r\n\r\nhi\r\n",
           recipients=[BOB, "x@far.test", "bob+none@own.test", "BOB@OWN.test"])
    assert len(s.uids(BOB, "both")) == 1
    [arrival] = s.arrivals("both")
    assert arrival["recipients"] == ["x@far.test"] and arrival["sender"] == SUBMITTER


@suite.test
def an_alias_delivers_and_sends_on(s):
    subject, _ = s.send(["team@own.test"])
    assert s.uids(BOB, subject) and s.uids(CAROL, subject)
    [arrival] = s.arrivals(subject)
    assert arrival["recipients"] == ["team@far.test"], arrival
    assert arrival["sender"].startswith("SRS0=") and arrival["sender"].endswith("@own.test")
    assert b"Delivered-To: team@own.test\r\n" in arrival["data"]
    # A report comes back to who sent it.
    report, _ = s.send([arrival["sender"]], sender="")
    [back] = s.arrivals(report)
    assert back["recipients"] == ["eve@far.test"], back
    # And what was sent on does not come in again.
    try:
        s.send(["team@own.test"], headers="Delivered-To: team@own.test\r\n")
        raise AssertionError("taken")
    except smtplib.SMTPDataError as error:
        assert error.smtp_code == 554 and b"5.4.6" in error.smtp_error, error


@suite.test
def a_forward_keeps_a_copy_or_not(s):
    s.server.cli("account", "set", CAROL, "--forward", "carol@far.test")
    kept, _ = s.send([CAROL])
    assert s.uids(CAROL, kept) and s.arrivals(kept)
    s.server.cli("account", "set", CAROL, "--no-copy")
    gone, _ = s.send([CAROL])
    assert s.arrivals(gone) and not s.uids(CAROL, gone)
    s.server.cli("account", "set", CAROL, "--forward", "none", "--copy")
    back, _ = s.send([CAROL])
    assert s.uids(CAROL, back)


@suite.test
def plus_addresses_find_their_folder(s):
    s.server.cli("mailbox", "create", BOB, "lists/git")
    subject, _ = s.send(["bob+lists/git@own.test"])
    assert s.uids(BOB, subject, "lists/git") and not s.uids(BOB, subject)
    subject, _ = s.send(["Bob+Lists/Git@own.test"])
    assert s.uids(BOB, subject, "lists/git") and not s.uids(BOB, subject)
    s.server.cli("mailbox", "create", BOB, "lists/Perl")
    subject, _ = s.send(["bob+lists/Perl@Own.Test", "bob+Sent@own.test"])
    assert s.uids(BOB, subject, "lists/Perl") and not s.uids(BOB, subject, "Sent")  # once
    subject, _ = s.send(["bob+Archive@own.test"], service="lmtp")
    assert s.uids(BOB, subject, "Archive")
    other, _ = s.send(["bob+nothing@own.test"])
    assert s.uids(BOB, other)


@suite.test
def quotes_are_a_spelling(s):
    """RFC 5321 4.1.2: a quoted local part means what stands in the quotes."""
    s.server.cli("mailbox", "create", BOB, "odd/my \"folder\", @home")
    subject, _ = s.send(['"bob+odd/my \\"folder\\", @home"@own.test'])
    assert s.uids(BOB, subject, 'odd/my "folder", @home') and not s.uids(BOB, subject)
    for local in ('"bob"', r'"b\ob"', '"bob+"', '"bob+ "', '"bob+../../etc/passwd"', '"bob+%s"' % ("x " * 60),
                  '"bob+//"', '"bob+*"', '"bob+INBOX"'):
        subject, _ = s.send([local + "@own.test"])
        assert len(s.uids(BOB, subject)) == 1, local
    # Names of accounts and aliases are kept without the quotes that they do not need.
    s.server.cli("alias", "add", '"quoted.name"@own.test', BOB)
    s.server.cli("alias", "add", '"quoted name"@own.test', BOB)
    assert s.server.cli("alias", "add", "a b@own.test", BOB, check=False).returncode == 1
    for local in ("quoted.name", '"quoted.name"', '"quoted\\ name"', '"quoted name+Archive"'):
        subject, _ = s.send([local + "@own.test"])
        assert len(s.uids(BOB, subject)) == 1, local
    names = [row["alias"] for row in s.server.cli_json("alias", "list", "own.test")]
    assert "quoted.name@own.test" in names and '"quoted name"@own.test' in names, names
    s.server.cli("alias", "remove", '"quoted.name"@own.test')
    s.server.cli("alias", "remove", '"quoted name"@own.test')


@suite.test
def postmaster_and_the_rest(s):
    for name in ("Postmaster@own.test", "postmaster"):  # RFC 5321 4.5.1
        subject, _ = s.send([name])
        assert s.uids(CAROL, subject)
    s.server.cli("alias", "add", "@own.test", BOB)
    anyone, _ = s.send(["who.knows@own.test"])
    assert s.uids(BOB, anyone)
    many = ",".join(f"a-member-of-many-{n}@far.test" for n in range(100))
    told = s.server.cli("alias", "add", "many@own.test", many, check=False)
    assert told.returncode == 1 and "room for 1900 bytes" in told.stderr and "aliases" in told.stderr, told
    rows = s.server.cli_json("alias", "list", "own.test")
    assert {"alias": "@own.test", "targets": [BOB]} in rows, rows
    s.server.cli("alias", "remove", "@own.test")
    with contextlib.suppress(smtplib.SMTPRecipientsRefused):
        s.send(["who.knows@own.test"])
        raise AssertionError("taken")


def refusal(s, recipient):
    try:
        s.send([recipient])
    except smtplib.SMTPRecipientsRefused as refused:
        code, text = refused.recipients[recipient]
        return code, text.split()[0].decode()
    except smtplib.SMTPDataError as refused:  # what RCPT did not know yet
        return refused.smtp_code, refused.smtp_error.split()[0].decode()
    return 250, ""


@suite.test
def a_full_account_is_refused_more(s):
    s.server.add_accounts("dan@own.test")
    s.server.cli("account", "set", "dan@own.test", "--quota", "200")
    assert refusal(s, "dan@own.test") == (250, "")  # one may go over
    assert refusal(s, "dan@own.test") == (552, "5.2.2")
    quota = s.server.cli_json("quota", "show", "dan@own.test")
    assert quota["quota"] == 200 and quota["bytes"] >= 200, quota
    s.server.cli("account", "set", "dan@own.test", "--quota", "1M")
    assert refusal(s, "dan@own.test") == (250, "")
    s.server.cli("account", "set", "dan@own.test", "--quota", "none", "--disable")
    assert refusal(s, "dan@own.test") == (550, "5.2.1")
    s.server.cli("account", "remove", "dan@own.test")
    assert refusal(s, "dan@own.test") == (550, "5.1.1")


@suite.test
def a_full_domain_is_refused_more(s):
    s.server.add_accounts("x@small.test", "y@small.test")
    s.server.cli("domain", "set", "small.test", "--quota-messages", "1")
    assert refusal(s, "x@small.test") == (250, "")
    assert refusal(s, "y@small.test") == (552, "5.2.2")
    s.server.cli("domain", "set", "small.test", "--quota-messages", "none",
                 "--account-quota-messages", "1")
    assert refusal(s, "x@small.test") == (552, "5.2.2")


@suite.test
def reports_to_our_own_senders_stay_here(s):
    before = len(s.rows(SUBMITTER))
    s.sink.on_rcpt = lambda address, options: address == "no@far.test" and "550 5.1.1 no"
    submit(s.server, f"From: {SUBMITTER}\r\nSubject: lost\r\n\r\nhi\r\n", recipients=["no@far.test"])
    until(lambda: len(s.rows(SUBMITTER)) > before, "the report")
    uid = s.rows(SUBMITTER)[-1]["uid"]
    text = s.show(SUBMITTER, uid)
    assert text.startswith(f"Return-Path: <>\r\nDelivered-To: {SUBMITTER}\r\n") or \
        text.startswith(f"Return-Path: <>\nDelivered-To: {SUBMITTER}\n"), text
    assert "550 5.1.1 no" in text and "message/delivery-status" in text, text
    s.sink.on_rcpt = None


@suite.test
def success_is_reported_when_asked_for(s):
    before = len(s.rows(SUBMITTER))
    submit(s.server, f"From: {SUBMITTER}\r\nSubject: tell me\r\n\r\nhi\r\n",
           recipients=[BOB], rcpt_options=["NOTIFY=SUCCESS"])
    until(lambda: len(s.rows(SUBMITTER)) > before, "the report")
    text = s.show(SUBMITTER, s.rows(SUBMITTER)[-1]["uid"])
    assert "Action: delivered" in text and f"rfc822;{BOB}" in text.replace(" ", ""), text


@suite.test
def commands_change_messages(s):
    subject, _ = s.send([BOB])
    [uid] = s.uids(BOB, subject)
    flags = lambda box="INBOX": [r["flags"] for r in s.rows(BOB, box) if r.get("subject") == subject]
    s.server.cli("message", "flag", BOB, "INBOX", str(uid), "--add", r"\Seen,$Work")
    assert flags() == [[r"\Seen", "$Work"]], flags()
    s.server.cli("message", "flag", BOB, "INBOX", str(uid), "--set", r"\Flagged", "--add", "other")
    assert flags() == [[r"\Flagged", "other"]], flags()
    s.server.cli("mailbox", "create", BOB, "Keep")
    assert s.server.cli_json("message", "copy", BOB, "INBOX", str(uid), "--to", "Keep") == {"copied": 1}
    assert flags("Keep") == [[r"\Flagged", "other"]]
    s.server.cli("message", "copy", BOB, "Keep", "1:*", "--to", "Archive", "--move")
    assert not s.rows(BOB, "Keep") and flags("Archive")
    s.server.cli("mailbox", "rename", BOB, "Keep", "Kept/deep")
    names = [r["mailbox"] for r in s.server.cli_json("mailbox", "list", BOB)]
    assert "Kept/deep" in names and "Keep" not in names, names
    s.server.cli("mailbox", "delete", BOB, "Kept/deep")
    assert s.server.cli_json("message", "delete", BOB, "INBOX", f"{uid},999999") == {"deleted": 1}
    done = s.server.cli("message", "show", BOB, "INBOX", str(uid), check=False)
    assert done.returncode == 1 and f"message {uid} of INBOX: not found" in done.stderr, done
    assert not s.uids(BOB, subject)
    count = s.server.cli_json("quota", "recount", BOB)
    assert count["right"] and count["counted_messages"] > 0, count


@suite.test
def everything_is_there_after_a_crash_and_without_a_server(s):
    subject, _ = s.send([BOB])
    before = s.rows(BOB)
    s.server.kill()
    assert s.rows(BOB) == before
    s.server.cli("message", "flag", BOB, "INBOX", "1:*", "--add", r"\Seen")
    assert all(r"\Seen" in row["flags"] for row in s.rows(BOB))
    s.server.start()
    assert s.uids(BOB, subject)
    assert s.server.cli_json("quota", "recount", BOB)["right"]


@suite.test
def fsck_compares_what_is_kept_with_the_bodies(s):
    s.send([BOB], service="lmtp", headers="X-Fold: a\r\n b\r\n")
    subject, _ = s.send([BOB], body="A zebra in the preview.\r\n")
    s.server.stop()
    report = s.server.cli_json("fsck")
    assert report["result"] == "clean" and report["kept_messages"] >= 2 and report["mailboxes"] >= 18, report
    found = 0
    index = os.path.join(s.server.config["data"], "index")
    for path in (os.path.join(index, shard, "data.mdb") for shard in os.listdir(index)):
        with open(path, "r+b") as f:
            rows = f.read()
            found += rows.count(b"A zebra")
            f.seek(0)
            f.write(rows.replace(b"A zebra", b"A horse"))
    assert found, "the preview stands in no row"
    done = s.server.cli("fsck", check=False)
    assert done.returncode == 1 and "the summary is not that of the body" in done.stdout, done
    done = s.server.cli("fsck", "--json", check=False)
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["result"] == "damaged" and report["bad_rows"] == 1, report
    assert any("row 'E'" in line for line in report["findings"]), report
    done = s.server.cli("fsck", "--rebuild", check=False)
    assert done.returncode == 0 and "repaired" in done.stdout, done
    assert s.server.cli_json("fsck")["result"] == "clean"
    s.server.start()
    assert s.uids(BOB, subject)


if __name__ == "__main__":
    suite.main()
