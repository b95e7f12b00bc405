#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Quotas are met exactly: whoever sends at the same time, by whatever way, and over a kill -9."""
import contextlib
import os
import smtplib
import threading

from imap_wire import Imap
from support import PASSWORD, PATIENCE_S, Place, Ringpost, Sink, Suite, until

SENDERS = 20
CONFIG = {"imap": {"plain_login": True, "sessions": 0}, "store": {"shards": 2, "segment": "4M"},
          "limits": {"client_connections": 0}, "auth": {"fail_delay": "10ms"}}
TEXT = b"From: <eve@far.test>\r\nSubject: one of many\r\n\r\n" + b"x" * 400 + b"\r\n"


class Stage:
    def __init__(self, server, sink):
        self.server, self.sink, self.count = server, sink, 0
        self.ports = server.ports

    def domain(self, *limits):
        self.count += 1
        name = f"d{self.count}.test"
        self.server.cli("domain", "add", name)
        if limits:
            self.server.cli("domain", "set", name, *limits)
        return name

    def account(self, *limits, domain=None):
        self.count += 1
        name = f"u{self.count}@{domain or self.domain()}"
        self.server.add_accounts(name)
        if limits:
            self.server.cli("account", "set", name, *limits)
        return name

    def recount(self, name):
        """How many messages are counted; and the counters are right."""
        count = self.server.cli_json("quota", "recount", name)
        assert count["right"], count
        return count["counted_messages"]


@contextlib.contextmanager
def stage():
    with Place() as place, Sink() as sink:
        routes = {"relay": {"routes": [{"domain": "*", "hosts": ["127.0.0.1"], "port": sink.port,
                                        "tls": "none"}]}}
        with Ringpost(place, {**CONFIG, **routes}, services=("smtp", "lmtp", "imap")) as server:
            yield Stage(server, sink)
            server.stop()
            report = server.cli_json("fsck")
            assert report["result"] == "clean", report


suite = Suite(stage)


class Sender(threading.Thread):
    """Sends until it was refused twice; all begin their messages together. `taken`: how many were
    acknowledged; `codes`: of the refusals."""

    def __init__(self, target, gate, most):
        super().__init__()
        self.taken, self.codes, self.failed = 0, set(), None
        self.target, self.gate, self.most = target, gate, most
        self.start()

    def run(self):
        refused = 0
        try:
            self.gate.wait(PATIENCE_S)
            while refused < 2 and self.taken < self.most:
                code = self.target()
                if code == 250:
                    self.taken += 1
                else:
                    refused += 1
                    self.codes.add(code)
        except (OSError, EOFError, smtplib.SMTPException, threading.BrokenBarrierError) as why:
            self.failed = why


def mailer(port, recipient, client_class=smtplib.SMTP, text=TEXT):
    """One connection; each call sends a message: the code of its end, or of RCPT."""
    client = client_class("127.0.0.1", port, timeout=PATIENCE_S, local_hostname="far.test")
    client.ehlo()

    def send():
        assert client.mail("eve@far.test")[0] == 250
        code = client.rcpt(recipient)[0]
        if code == 250:
            code = client.data(text)[0]
        if code != 250:
            client.rset()
        return code
    return send


def appender(port, name, messages=1):
    client = Imap(port, name, PASSWORD)

    def append():
        parts = [b"APPEND INBOX ", TEXT]
        for _ in range(1, messages):
            parts += [b" ", TEXT]
        return answer_code(client.ask(parts))
    return append


def answer_code(answer):
    if answer.ok:
        return 250
    assert answer.status == "NO" and answer.code == [b"OVERQUOTA"], answer
    return 552


def copier(port, name, which):
    client = Imap(port, name, PASSWORD)
    assert client.ask(b"SELECT Archive").ok
    return lambda: answer_code(client.ask(b"UID COPY %s Sent" % which))


def together(targets, most=1000):
    """The codes of refusals; how many were taken, by target."""
    gate = threading.Barrier(len(targets))
    senders = [Sender(target, gate, most) for target in targets]
    for sender in senders:
        sender.join(PATIENCE_S)
        assert not sender.is_alive() and not sender.failed, sender.failed
    return set().union(*(s.codes for s in senders)), [s.taken for s in senders]


@suite.test
def an_account_takes_as_many_messages_as_it_may(st):
    for room in (1, 7, 33):
        name = st.account("--quota-messages", str(room))
        codes, taken = together([mailer(st.ports["smtp"], name) for _ in range(SENDERS)])
        assert sum(taken) == room and codes == {552}, (room, taken, codes)
        assert st.recount(name) == room


@suite.test
def one_message_goes_over_the_bytes(st):
    name = st.account("--quota-messages", "1")
    together([mailer(st.ports["smtp"], name)])
    size = st.server.cli_json("quota", "show", name)["bytes"]
    name = st.account("--quota", str(size * 10 + size // 2))
    codes, taken = together([mailer(st.ports["smtp"], name) for _ in range(SENDERS)])
    assert sum(taken) == 11 and codes == {552}, (taken, codes)
    assert st.recount(name) == 11


@suite.test
def a_domain_is_full_as_a_whole(st):
    domain = st.domain("--quota-messages", "41")
    names = [st.account(domain=domain) for _ in range(5)]
    codes, taken = together([mailer(st.ports["smtp"], names[n % 5]) for n in range(SENDERS)])
    assert sum(taken) == 41 and codes == {552}, (taken, codes)
    assert sum(st.recount(name) for name in names) == 41
    assert st.server.cli_json("quota", "show", domain)["messages"] == 41


@suite.test
def every_way_in_counts(st):
    name = st.account()
    imap, smtp, lmtp = (st.ports[service] for service in ("imap", "smtp", "lmtp"))
    with Imap(imap, name, PASSWORD) as client:
        for _ in range(2):
            assert client.ask([b"APPEND Archive ", TEXT]).ok
    st.server.cli("account", "set", name, "--quota-messages", "61")
    targets = [mailer(smtp, name) for _ in range(5)]
    targets += [mailer(lmtp, name, smtplib.LMTP) for _ in range(3)]
    targets += [appender(imap, name) for _ in range(5)]
    targets += [copier(imap, name, b"1") for _ in range(3)]
    pairs = [appender(imap, name, 2), appender(imap, name, 2), copier(imap, name, b"1:2"),
             copier(imap, name, b"1:*")]
    codes, taken = together(targets + pairs)
    # The first of a pair must fit, the second may not go over: they see the limit one earlier.
    assert 2 + sum(taken[:16]) + 2 * sum(taken[16:]) == 61 and codes == {552}, (taken, codes)
    assert st.recount(name) == 61
    with Imap(imap, name, PASSWORD) as client:
        assert client.ask(b"SELECT Archive").ok and client.ask(b"UID MOVE 1:* Sent").ok
    assert st.recount(name) == 61


@suite.test
def what_was_freed_is_free_at_once(st):
    name = st.account("--quota-messages", "5")
    together([mailer(st.ports["smtp"], name)])
    send = mailer(st.ports["smtp"], name)
    with Imap(st.ports["imap"], name, PASSWORD) as client:
        for _ in range(10):
            assert client.ask(b"SELECT INBOX").ok
            assert client.ask(b"STORE 1 +FLAGS.SILENT (\\Deleted)").ok
            assert client.ask(b"EXPUNGE").ok
            assert (send(), send()) == (250, 552)


@suite.test
def an_import_stops_at_the_limit(st):
    name = st.account("--quota-messages", "3")
    path = st.server.place.file("many.mbox", "".join(
        f"From eve@far.test Sat Jan  3 01:05:34 2026\nSubject: {n}\n\ntext\n\n" for n in range(5)))
    done = st.server.cli("import", name, path, check=False)
    assert done.returncode and "quota exceeded" in done.stderr, done
    assert st.recount(name) == 3
    st.server.cli("account", "set", name, "--quota-messages", "none")
    assert st.server.cli_json("import", name, path)["imported"] == 2
    assert st.recount(name) == 5


@suite.test
def an_operators_copy_stops_at_the_limit(st):
    name = st.account("--quota-messages", "4")
    together([mailer(st.ports["smtp"], name)], most=2)
    done = st.server.cli("message", "copy", name, "INBOX", "1:2", "--to", "Archive")
    assert done.returncode == 0 and st.recount(name) == 4
    done = st.server.cli("message", "copy", name, "INBOX", "1", "--to", "Archive", check=False)
    assert done.returncode and "quota exceeded" in done.stderr, done
    st.server.cli("message", "copy", name, "INBOX", "1", "--to", "Archive", "--move")
    assert st.recount(name) == 4


@suite.test
def one_of_two_recipients_is_full_at_the_end(st):
    full, other = st.account("--quota-messages", "1"), st.account()
    with smtplib.SMTP("127.0.0.1", st.ports["smtp"], timeout=PATIENCE_S) as client, \
            smtplib.LMTP("127.0.0.1", st.ports["lmtp"], timeout=PATIENCE_S) as local:
        for talk in (client, local):
            talk.ehlo()
            talk.mail("eve@far.test")
            for name in (full, other):
                assert talk.rcpt(name)[0] == 250
            talk.putcmd("data")
            assert talk.getreply()[0] == 354
        assert mailer(st.ports["smtp"], full)() == 250
        # One answer for both: nobody has it, and the next RCPT tells.
        client.send(TEXT + b".\r\n")
        assert client.getreply()[0] == 452
        assert (client.mail("eve@far.test")[0], client.rcpt(full)[0]) == (250, 552)
        local.send(TEXT + b".\r\n")
        assert (local.getreply()[0], local.getreply()[0]) == (552, 250)
    assert (st.recount(full), st.recount(other)) == (1, 1)


@suite.test
def a_full_member_of_an_alias_is_left_out_and_the_sender_told(st):
    domain = st.domain()
    full, other = st.account("--quota-messages", "1", domain=domain), st.account(domain=domain)
    team = f"team@{domain}"
    st.server.cli("alias", "add", team, f"{full},{other}")
    send = mailer(st.ports["smtp"], team)
    assert (send(), send(), send()) == (250, 250, 250)
    assert (st.recount(full), st.recount(other)) == (1, 3)
    reports = until(lambda: len(st.sink.messages) >= 2 and st.sink.messages, "two reports")
    text = reports[0]["data"].decode()
    assert "Status: 5.2.2" in text and f"rfc822;{team}" in text.replace(" ", ""), text
    assert full not in text, text
    # Everybody is full: so is the alias.
    st.server.cli("account", "set", other, "--quota-messages", "3")
    assert send() == 552


@suite.test
def a_crash_changes_nothing(st):
    name = st.account("--quota-messages", "400")
    targets = [mailer(st.ports["smtp"], name) for _ in range(10)]
    targets += [appender(st.ports["imap"], name) for _ in range(10)]
    gate = threading.Barrier(len(targets) + 1)
    senders = [Sender(target, gate, 1000) for target in targets]
    gate.wait(PATIENCE_S)
    until(lambda: sum(s.taken for s in senders) >= 60, "mail under way")
    st.server.kill()
    for sender in senders:
        sender.join(PATIENCE_S)
        assert not sender.is_alive()
    st.server.start()
    acknowledged, stored = sum(s.taken for s in senders), st.recount(name)
    assert acknowledged <= stored <= acknowledged + len(targets), (acknowledged, stored)
    st.server.cli("account", "set", name, "--quota-messages", str(stored + 25))
    codes, taken = together([mailer(st.ports["smtp"], name) for _ in range(SENDERS)])
    assert sum(taken) == 25 and codes == {552}, (taken, codes)
    assert st.recount(name) == stored + 25


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def damage(server, *held):
    """All rows that keep one of these sums (bytes, messages) say five bytes more; how many."""
    index, found = os.path.join(server.config["data"], "index"), 0
    for path in (os.path.join(index, shard, "data.mdb") for shard in os.listdir(index)):
        with open(path, "r+b") as f:
            rows = f.read()
            for size, messages in held:
                # Accounts and domains: the messages come behind; mailboxes: an empty log before.
                for before, behind in ((b"", varint(messages)), (b"\0", b"")):
                    found += rows.count(before + varint(size) + behind)
                    rows = rows.replace(before + varint(size) + behind,
                                        before + varint(size + 5) + behind)
            f.seek(0)
            f.write(rows)
    return found


@suite.test
def a_recount_puts_right_what_is_wrong(st):
    domain = st.domain("--quota", "100M")
    name = st.account("--quota", "50M", domain=domain)
    # Longer than all others, so that no other sum is the same.
    together([mailer(st.ports["smtp"], name, text=TEXT + b"longer\r\n" * 71)], most=37)
    held = st.server.cli_json("quota", "show", name)["bytes"]
    assert 1 << 14 < held < (1 << 21) - 5, held
    for running in (True, False):
        st.server.stop()
        assert damage(st.server, (held, 37)) >= 3  # mailbox, account, domain
        report = st.server.cli("fsck", "--json", check=False)
        assert report.returncode == 1, report
        if running:
            st.server.start()
        assert st.server.cli_json("quota", "show", name)["bytes"] == held + 5
        count = st.server.cli_json("quota", "recount", name)
        assert count["put_right"] == 1 and not count["right"], count
        assert (count["bytes"], count["counted_bytes"]) == (held + 5, held), count
        assert st.server.cli_json("quota", "recount", name)["right"]
        assert st.server.cli_json("quota", "recount", domain)["counted_bytes"] == held
        for what in (name, domain):
            assert st.server.cli_json("quota", "show", what)["bytes"] == held
        if running:  # it is in the journal, whatever the index says
            st.server.kill()
            st.server.start()
            assert st.server.cli_json("quota", "show", name)["bytes"] == held
        else:
            st.server.start()
    st.server.stop()
    assert st.server.cli_json("fsck")["result"] == "clean"
    st.server.start()


@suite.test
def a_recount_puts_a_domains_sums_right(st):
    domain = st.domain()
    names = [st.account(domain=domain) for _ in range(3)]
    sizes = []
    for n, name in enumerate(names):  # two of the three share a shard
        together([mailer(st.ports["smtp"], name, text=TEXT + b"long\r\n" * 71)], most=30 + 3 * n)
        sizes.append(st.server.cli_json("quota", "show", name)["bytes"])
    a, b, c = sizes
    st.server.stop()
    assert damage(st.server, (a + b, 63), (a + c, 66), (b + c, 69), (a + b + c, 99))
    assert st.server.cli("fsck", check=False).returncode == 1
    st.server.start()
    assert st.server.cli_json("quota", "show", domain)["bytes"] == a + b + c + 5
    count = st.server.cli_json("quota", "recount", domain)
    assert (count["put_right"], count["bytes"], count["counted_bytes"]) == (1, a + b + c + 5, a + b + c)
    assert st.server.cli_json("quota", "recount", names[0])["right"]
    assert st.server.cli_json("quota", "show", domain)["bytes"] == a + b + c


@suite.test
def a_client_sees_both_limits(st):
    domain = st.domain("--quota-messages", "9", "--quota", "1M")
    name, other = st.account("--quota-messages", "3", domain=domain), st.account(domain=domain)
    together([mailer(st.ports["smtp"], name), mailer(st.ports["smtp"], other)], most=2)
    with Imap(st.ports["imap"], name, PASSWORD) as client:
        answer = client.good(b"GETQUOTAROOT INBOX")
        own, all_of_it = name.encode(), domain.encode()
        assert answer.named(b"QUOTAROOT") == [[b"INBOX", own, all_of_it]], answer
        until(lambda: client.good(b"GETQUOTA " + all_of_it).named(b"QUOTA") == [
            [all_of_it, [b"STORAGE", b"3", b"1024", b"MESSAGE", b"4", b"9"]]], "the usage")
        assert client.good(b"GETQUOTAROOT INBOX").named(b"QUOTA") == [
            [own, [b"MESSAGE", b"2", b"3"]],
            [all_of_it, [b"STORAGE", b"3", b"1024", b"MESSAGE", b"4", b"9"]]]
        assert client.ask(b"SETQUOTA %s (MESSAGE 100)" % all_of_it).code == [b"NOPERM"]
        assert client.ask(b"GETQUOTA " + other.encode()).code == [b"NONEXISTENT"]
    with Imap(st.ports["imap"], other, PASSWORD) as client:
        answer = client.good(b"GETQUOTAROOT INBOX")
        assert answer.named(b"QUOTAROOT") == [[b"INBOX", all_of_it]], answer


if __name__ == "__main__":
    suite.main()
