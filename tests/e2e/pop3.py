#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Maildrops as poplib, curl, fetchmail, mpop and getmail read them, and as raw sockets abuse them."""
import base64
import contextlib
import os
import poplib
import ssl

from stage import Stage, mail, staged
from support import (PASSWORD, PATIENCE_S, USER, Place, Ringpost, Suite, program, run, until)
from talk import Talk, insecure_context

BOB = "bob@example.test"
SERVICES = ("smtp", "pop3", "pop3s")
CONFIG = {"auth": {"fail_delay": "10ms", "fail_delay_max": "20ms"}, "pop3": {"plain_login": True}}


class Maildrops(Stage):
    def login(self, name, tls=False):
        if tls:
            context = ssl.create_default_context(cafile=self.ca)
            client = poplib.POP3_SSL("localhost", self.ports["pop3s"], timeout=PATIENCE_S,
                                     context=context)
        else:
            client = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=PATIENCE_S)
        client.user(name)
        client.pass_(PASSWORD)
        return client


suite = Suite(staged(CONFIG, SERVICES, Maildrops))


@suite.test
def a_maildrop_is_read_and_emptied(st):
    name = st.account()
    st.deliver(name, mail("one"), mail("two", ".dot\n..two\n"), mail("three"))
    client = st.login(name, tls=True)
    count, size = client.stat()
    assert count == 3
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    assert sum(sizes) == size
    for number in (1, 2, 3):
        answer, lines, octets = client.retr(number)
        assert octets == sizes[number - 1], (answer, octets, sizes)
        assert int(answer.split()[1]) == octets
    text = b"\r\n".join(client.retr(2)[1])
    assert text.startswith(b"Return-Path: <sender@example.org>\r\n"), text[:200]
    assert f"Delivered-To: {name}".encode() in text
    assert text.endswith(b"\r\n\r\n.dot\r\n..two"), text[-60:]
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(ids)) == 3
    client.dele(1)
    client.dele(3)
    assert client.stat() == (1, sizes[1])
    client.rset()
    assert client.stat() == (3, size)
    client.dele(2)
    client.quit()
    client = st.login(name)
    assert [line.split()[1] for line in client.uidl()[1]] == [ids[0], ids[2]]
    client.quit()


@suite.test
def unique_ids_are_imported_and_stay(_):
    given = ["from-qpopper.1", "x" * 70, "with space", "x" * 71]  # RFC 1939 7: 1 to 70 of 0x21 to 0x7E
    mbox = "".join(f"From a@example.org Fri Jan  1 00:00:00 2021\nSubject: {n}\nX-UIDL: {uid}\n\n{n}\n\n"
                   for n, uid in enumerate(given))
    with Place() as place, Ringpost(place, CONFIG, services=SERVICES) as server:
        def seen():
            client = Maildrops(place, server).login(USER)
            return [line.split()[1].decode() for line in client.uidl()[1]], client.list()[1], client.retr(1)[1]

        server.add_accounts(USER)
        drop = Maildrops(place, server)
        drop.deliver(USER, mail("delivered"))
        server.cli("import", USER, place.file("old.mbox", mbox))
        server.cli("message", "copy", USER, "INBOX", "2", "--to", "INBOX")
        before = seen()
        ids = before[0]
        assert len(set(ids)) == 6 and ids[1:3] == given[:2], ids
        assert all(0 < len(uid) <= 70 and uid.isascii() and " " not in uid for uid in ids), ids
        rows = server.cli_json("message", "list", USER, "INBOX")
        assert ids[5].endswith(f".{rows[5]['uid']}"), (ids, rows)
        server.stop()
        server.cli("fsck", "--rebuild")
        server.start()
        assert seen() == before


def with_ids(*ids):
    """An mbox: different messages, whatever their ids."""
    return "".join(f"From a@example.org Fri Jan  1 00:00:00 2021\nSubject: s{n}\nX-UIDL: {uid}\n\n{n}\n\n"
                   for n, uid in enumerate(ids))


@suite.test
def a_unique_id_belongs_to_the_first_who_brings_it(_):
    with Place() as place, Ringpost(place, CONFIG, services=SERVICES) as server:
        server.add_accounts(USER)
        drop = Maildrops(place, server)

        def ids():
            client = drop.login(USER)
            found = [line.split()[1].decode() for line in client.uidl()[1]]
            client.quit()
            assert len(set(found)) == len(found), found
            return found

        def imported(path, *flags):
            return server.cli_json("import", USER, path, *flags)["imported"]

        drop.deliver(USER, mail("delivered"))
        own = ids()[0]
        # An id of ours is no one's to bring; nor is one twice.
        path = place.file("one.mbox", with_ids("same", "other", "same", "same", own, own + ".3"))
        assert imported(path) == 6
        first = ids()
        assert first[:3] == [own, "same", "other"] and len(first) == 7, first
        # Nor from another file, nor with the same file once more.
        assert imported(place.file("two.mbox", with_ids("same", "third", "third"))) == 3
        assert imported(path, "--state", place.file("again.state")) == 6
        second = ids()
        assert second[:7] == first and second[8] == "third" and "same" not in second[7:], second
        # Nor from elsewhere, whoever copies or moves it here.
        assert imported(place.file("old.mbox", with_ids("same", "fourth")), "--mailbox", "Old") == 2
        server.cli("message", "copy", USER, "Old", "1:*", "--to", "INBOX")
        server.cli("message", "copy", USER, "Old", "1:*", "--to", "INBOX", "--move")
        server.cli("message", "copy", USER, "INBOX", "2", "--to", "INBOX")
        third = ids()
        assert third[:len(second)] == second and len(third) == len(second) + 5, third
        # The first goes: nobody becomes it.
        client = drop.login(USER)
        client.dele(2)
        client.quit()
        assert ids() == third[:1] + third[2:]
        server.stop()
        server.cli("fsck", "--rebuild")
        server.start()
        assert ids() == third[:1] + third[2:]
        # What came with an id goes out with it; copies share their body's.
        out = place.file("out")
        server.cli("export", USER, out, "--format", "mbox")
        with open(os.path.join(out, "INBOX") if os.path.isdir(out) else out, encoding="ascii") as f:
            told = [line.split()[1] for line in f if line.startswith("X-UIDL:")]
        assert sorted(told) == ["fourth"] * 2 + ["other"] + ["same"] * 3 + ["third"], told


@suite.test
def what_is_not_confirmed_stays(st):
    name = st.account()
    st.deliver(name, mail("kept"))
    client = st.login(name)
    client.dele(1)
    client.close()
    client = st.login(name)
    assert client.stat()[0] == 1
    client.quit()


@suite.test
def sessions_go_side_by_side(st):
    name = st.account()
    st.deliver(name, mail("a"), mail("b"))
    first, second = st.login(name), st.login(name)
    st.deliver(name, mail("c"))
    assert first.stat()[0] == 2 and second.stat()[0] == 2
    first.dele(1)
    second.dele(1)  # marked by both: passed over at QUIT
    first.quit()
    second.rset()
    try:
        second.retr(1)
        raise AssertionError("a removed message was read")
    except poplib.error_proto as error:
        assert b"removed" in error.args[0]
    with contextlib.suppress(poplib.error_proto):
        second.dele(1)
    second.dele(2)
    second.quit()
    third = st.login(name)
    assert third.stat()[0] == 1 and b"Subject: c" in third.retr(1)[1]
    third.quit()


@suite.test
def top_and_pipelines(st):
    name = st.account()
    st.deliver(name, *[mail(f"n{i}", "line\n" * i) for i in range(1, 151)])
    with Talk(st.ports["pop3"], greet=False) as talk:
        talk.line()
        talk.send(f"USER {name}\r\nPASS {PASSWORD}\r\n".encode())
        assert talk.line().startswith("+OK") and talk.line().startswith("+OK 150 ")
        batch = b"".join(b"RETR %d\r\n" % n for n in range(1, 151))
        talk.send(batch + b"TOP 3 1\r\nNOOP\r\nRETR 151\r\nDELE 1\r\nRETR 1\r\nSTAT\r\nLIST 1\r\nUIDL 2\r\n")

        def multi():
            assert talk.line().startswith("+OK")
            lines = []
            while (line := talk.line()) != ".":
                lines.append(line)
            return lines

        for n in range(1, 151):
            lines = multi()
            assert f"Subject: n{n}" in lines and lines.count("line") == n, n
        assert multi()[-1] == "line"
        assert talk.line() == "+OK"
        assert talk.line().startswith("-ERR")
        assert talk.line() == "+OK"
        assert talk.line().startswith("-ERR")
        assert talk.line().startswith("+OK 149 ")
        assert talk.line().startswith("-ERR")
        assert talk.line().startswith("+OK 2 ")


@suite.test
def a_large_message_passes_in_pieces(st):
    name = st.account()
    body = "x" * 70 + "\n"
    st.deliver(name, mail("large", body * 120000))
    client = st.login(name, tls=True)
    _, lines, octets = client.retr(1)
    assert octets == client.stat()[1] and sum(len(l) + 2 for l in lines) == octets
    assert lines.count(b"x" * 70) == 120000
    client.quit()


@suite.test
def capabilities_are_complete(st):
    client = poplib.POP3("127.0.0.1", st.ports["pop3"], timeout=PATIENCE_S)
    before = client.capa()
    for name in ("TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE",
                 "LOGIN-DELAY", "SASL", "STLS", "UTF8", "LANG", "IMPLEMENTATION"):
        assert name in before, (name, before)
    assert "SCRAM-SHA-256" in before["SASL"] and "SCRAM-SHA-256-PLUS" not in before["SASL"]
    client.stls(context=insecure_context())
    after = client.capa()
    assert "STLS" not in after and "SCRAM-SHA-256-PLUS" in after["SASL"]
    client.utf8()
    client.quit()


@suite.test
def logins_of_every_kind(st):
    name = st.account()
    with Talk(st.ports["pop3"], greet=False) as talk:
        talk.line()
        plain = base64.b64encode(f"\0{name}\0{PASSWORD}".encode())
        wrong = base64.b64encode(f"\0{name}\0nonsense".encode())
        talk.send(b"AUTH PLAIN " + wrong + b"\r\n")
        assert talk.line().startswith("-ERR [AUTH] ")
        talk.send(b"AUTH PLAIN\r\n")
        assert talk.line() == "+ "
        talk.send(b"*\r\n")
        assert talk.line().startswith("-ERR")
        talk.send(b"PASS x\r\n")
        assert talk.line().startswith("-ERR")
        talk.send(b"STAT\r\n")
        assert talk.line().startswith("-ERR")
        talk.send(b"APOP a b\r\nAUTH PLAIN\r\n")
        assert talk.line().startswith("-ERR") and talk.line() == "+ "
        talk.send(plain + b"\r\nSTAT\r\nLANG\r\nLANG de\r\nQUIT\r\n")
        assert talk.line().startswith("+OK 0 ")
        assert talk.line() == "+OK 0 0"
        assert talk.line().startswith("+OK")
        while talk.line() != ".":
            pass
        assert talk.line().startswith("-ERR")
        assert talk.line().startswith("+OK")
        talk.closed()
    for user in ("nobody@example.test", "nonsense"):
        client = poplib.POP3("127.0.0.1", st.ports["pop3"], timeout=PATIENCE_S)
        client.user(user)
        try:
            client.pass_("x")
            raise AssertionError("let in")
        except poplib.error_proto as error:
            assert b"[AUTH]" in error.args[0]
        client.close()


@suite.test
def curl_reads(st):
    name = st.account()
    st.deliver(name, mail("for curl"))
    url = f"pop3s://localhost:{st.ports['pop3s']}/"
    listing = run(program("curl"), "-sS", "--cacert", st.ca, "-u", f"{name}:{PASSWORD}", url)
    assert listing.stdout.split()[0] == "1"
    got = run(program("curl"), "-sS", "--cacert", st.ca, "-u", f"{name}:{PASSWORD}", url + "1")
    assert "Subject: for curl" in got.stdout


@suite.test
def fetchmail_fetches_and_keeps(st):
    name = st.account()
    st.deliver(name, mail("f1"), mail("f2", ".x\n"))
    out = st.place.file("fetched", "")
    rc = st.secret("fetchmailrc", f"""
poll localhost protocol pop3 port {st.ports['pop3s']} uidl
  user "{name}" password "{PASSWORD}" ssl sslcertck sslcertfile "{st.ca}" keep
  mda "cat >> {out}"
""")
    env = {"HOME": str(st.place.path), "FETCHMAILHOME": str(st.place.path)}
    ids = st.place.file("fetchids")
    command = (program("fetchmail"), "-f", rc, "--idfile", ids, "--pidfile",
               st.place.file("fetchmail.pid"), "--nosyslog", "-v")
    run(*command, env=os.environ | env)
    text = open(out).read()
    assert text.count("Subject: f") == 2 and "\n.x\n" in text
    again = run(*command, env=os.environ | env, check=False)
    assert again.returncode == 1 and open(out).read() == text, again.stdout[-2000:]


@suite.test
def mpop_and_getmail_fetch(st):
    name = st.account()
    st.deliver(name, mail("m1"), mail("m2"))
    maildir = os.path.join(st.place.path, "mpop")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(maildir, part))
    rc = st.secret("mpoprc", f"""
account default
host localhost
port {st.ports['pop3s']}
user {name}
password {PASSWORD}
tls on
tls_starttls off
tls_trust_file {st.ca}
delivery maildir {maildir}
keep on
uidls_file {st.place.path}/uidls
""")
    run(program("mpop"), f"--file={rc}")
    assert len(os.listdir(os.path.join(maildir, "new"))) == 2
    run(program("mpop"), f"--file={rc}")
    assert len(os.listdir(os.path.join(maildir, "new"))) == 2
    box = st.place.file("getmail")
    rc = st.secret("getmailrc", f"""
[retriever]
type = SimplePOP3SSLRetriever
server = localhost
port = {st.ports['pop3s']}
username = {name}
password = {PASSWORD}
[destination]
type = MDA_external
path = /usr/bin/tee
arguments = ("-a", "{box}")
allow_root_commands = true
[options]
read_all = false
delete = true
""")
    run(program("getmail", "getmail6"), "--getmaildir", st.place.path, "--rcfile", rc)
    assert open(box).read().count("Subject: m") == 2
    client = st.login(name)
    assert client.stat() == (0, 0)
    client.quit()


def log_in_all_at_once(server, name, count):
    """So many connections, each with its login under way before any is answered."""
    with contextlib.ExitStack() as stack:
        talks = [stack.enter_context(Talk(server.ports["pop3"], greet=False)) for _ in range(count)]
        for talk in talks:
            talk.line()
            talk.send(f"USER {name}\r\nPASS {PASSWORD}\r\n".encode())
        for talk in talks:
            assert talk.line().startswith("+OK")
        return [talk.line().split(" ")[1] for talk in talks]


@contextlib.contextmanager
def limited(config):
    more = {"workers": 3} | config
    with Place() as place, Ringpost(place, CONFIG | more, services=SERVICES + ("imap",)) as server:
        server.add_accounts(USER, BOB)
        yield server


@suite.test
def the_login_delay_holds_over_all_workers(st):
    del st
    with limited({"pop3": CONFIG["pop3"] | {"login_delay": "1h"}}) as server:
        words = log_in_all_at_once(server, USER, 12)
        assert sorted(words) == ["0"] + ["[LOGIN-DELAY]"] * 11, words
        assert log_in_all_at_once(server, USER, 1) == ["[LOGIN-DELAY]"]
        assert log_in_all_at_once(server, BOB, 1) == ["0"]
        client = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=PATIENCE_S)
        assert client.capa()["LOGIN-DELAY"] == ["3600"]
        client.quit()


@suite.test
def sessions_are_counted_with_those_of_imap(st):
    del st
    config = {"imap": {"sessions": 4, "plain_login": True}}
    with limited(config) as server, Talk(server.ports["imap"], greet=False) as imap:
        imap.line()
        imap.send(f"a LOGIN {USER} \"{PASSWORD}\"\r\n".encode())
        answer = imap.line()
        assert answer.startswith("a OK"), answer
        words = log_in_all_at_once(server, USER, 12)
        assert sorted(words) == ["0"] * 3 + ["[IN-USE]"] * 9, words
        # They have left: their seats are free once the server saw it.
        until(lambda: log_in_all_at_once(server, USER, 3) == ["0"] * 3)


@suite.test
def bodies_in_the_archive_are_read_among_others(st):
    """The oldest have left the journal, the youngest are in it: pipelined in any order, as asked one by one."""
    del st
    count = 120
    store = {"segment": "1M", "journal_max": "8M", "cache": "4M", "reserve": "1M", "map": "4M"}
    with limited({"store": store}) as server:
        drops = Maildrops(server.place, server)
        drops.deliver(USER, *[mail(f"n{n}", f".{n}\n{'x' * 60}\n" * (2, 300, 3000)[n % 3]) for n in range(count)])
        until(lambda: server.cli_json("stats")["store"]["archive_bytes"] > 0, "bodies in the archive")
        client = drops.login(USER)
        order = [n * 7 % count + 1 for n in range(count)] + list(range(1, count + 1))
        alone = [client.retr(n)[1] for n in order[count:]]
        for n, lines in enumerate(alone):
            assert f"Subject: n{n}".encode() in lines and lines.count(b"x" * 60) == (2, 300, 3000)[n % 3], n
            assert f".{n}".encode() in lines, n
        client.sock.sendall(b"".join(b"RETR %d\r\n" % n for n in order))
        for n in order:
            answer, lines, _ = client._getlongresp()  # pylint: disable=protected-access
            assert answer.startswith(b"+OK") and lines == alone[n - 1], n
        client.quit()


@suite.test
def bad_input_is_told(st):
    with Talk(st.ports["pop3"], greet=False) as talk:
        talk.line()
        talk.send(b"NONSENSE\r\nUSER\r\n" + b"x" * 5000 + b"\r\nCAPA\r\n")
        for _ in range(3):
            assert talk.line().startswith("-ERR")
        assert talk.line().startswith("+OK")
    with Talk(st.ports["pop3"], greet=False) as talk:
        talk.line()
        talk.send(b"BAD\r\n" * 30)
        assert sum(1 for _ in range(20) if talk.line().startswith("-ERR")) == 20
        assert "Too many" in talk.line()
        talk.closed()


if __name__ == "__main__":
    suite.main()
