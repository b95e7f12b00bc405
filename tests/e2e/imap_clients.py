#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Mailboxes as real mail programs use them: imaplib, curl, mbsync, offlineimap, mutt, imapflow."""
import contextlib
import email
import imaplib
import mailbox
import os
import pty
import shutil
import ssl
import subprocess
import threading

from stage import Stage, mail, staged
from support import PASSWORD, PATIENCE_S, Skip, Suite, program, run

SERVICES = ("smtp", "imap", "imaps")
CONFIG = {"auth": {"fail_delay": "10ms", "fail_delay_max": "20ms"}, "imap": {"plain_login": True}}


class Clients(Stage):
    def login(self, name, box=None):
        context = ssl.create_default_context(cafile=self.ca)
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=context,
                                   timeout=PATIENCE_S)
        client.login(name, PASSWORD)
        if box:
            good(client.select(box))
        return client


suite = Suite(staged(CONFIG, SERVICES, Clients))


def good(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def subjects(client, box="INBOX"):
    good(client.select(box))
    numbers = good(client.search(None, "ALL"))[0].split()
    found = []
    for number in numbers:
        data = good(client.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
        found.append(email.message_from_bytes(data[0][1])["Subject"])
    return found


@suite.test
def imaplib_walks_through_a_session(st):
    name = st.account()
    st.deliver(name, mail("one"), mail("two"))
    client = st.login(name)
    boxes = b"\n".join(good(client.list()))
    for use in (b"\\Drafts", b"\\Sent", b"\\Junk", b"\\Trash", b"\\Archive"):
        assert use in boxes, boxes
    assert good(client.select())[0] == b"2"
    good(client.append("INBOX", "(\\Flagged $Todo)", '"17-Jul-1996 02:44:25 -0700"',
                       mail("three").replace("\n", "\r\n").encode()))
    assert good(client.search(None, "FLAGGED", "KEYWORD", "$Todo"))[0] == b"3"
    date = good(client.fetch("3", "(INTERNALDATE)"))[0]
    assert b"17-Jul-1996 09:44:25 +0000" in date, date
    good(client.store("1", "+FLAGS", "(\\Seen \\Deleted)"))
    good(client.create("Work/2026"))
    good(client.copy("2:3", "Work/2026"))
    assert good(client.expunge()) == [b"1"]
    assert subjects(client, "Work/2026") == ["two", "three"]
    good(client.rename("Work", "Play"))
    assert subjects(client, "Play/2026") == ["two", "three"]
    good(client.select("INBOX"))
    good(client.uid("MOVE", "2", "Play/2026"))
    assert subjects(client) == ["three"]
    assert subjects(client, "Play/2026") == ["two", "three", "two"]
    good(client.subscribe("Play/2026"))
    assert b"Play/2026" in b"".join(good(client.lsub()))
    good(client.select("INBOX"))
    good(client.delete("Play/2026"))
    assert client.select("Play/2026")[0] == "NO"
    quota = good(client.getquotaroot("INBOX"))
    assert quota
    client.logout()


@suite.test
def a_large_message_comes_back_as_it_went(st):
    name = st.account()
    body = b"Subject: large\r\n\r\n" + b"".join(b"%070d\r\n" % i for i in range(200000))
    client = st.login(name)
    good(client.append("INBOX", None, None, body))
    good(client.select())
    data = good(client.fetch("1", "(RFC822.SIZE BODY.PEEK[])"))
    assert data[0][1] == body
    part = good(client.fetch("1", "(BODY.PEEK[TEXT]<1000000.100>)"))
    at = body.index(b"\r\n\r\n") + 4 + 1000000
    assert part[0][1] == body[at:at + 100]
    client.logout()


@suite.test
def curl_reads_and_writes(st):
    name = st.account()
    st.deliver(name, mail("for curl"))
    url = f"imaps://localhost:{st.ports['imaps']}/"
    common = (program("curl"), "-sS", "--cacert", st.ca, "-u", f"{name}:{PASSWORD}")
    assert "INBOX" in run(*common, url).stdout
    assert "Subject: for curl" in run(*common, url + "INBOX;MAILINDEX=1").stdout
    assert run(*common, url + "INBOX", "-X", "SEARCH ALL").stdout.strip() == "* SEARCH 1"
    upload = st.place.file("upload", mail("uploaded").replace("\n", "\r\n"))
    run(*common, "-T", upload, url + "Archive")
    client = st.login(name)
    assert subjects(client, "Archive") == ["uploaded"]
    client.logout()


MBSYNC = """
IMAPAccount ours
Host localhost
Port {port}
User {name}
Pass "{password}"
SSLType IMAPS
CertificateFile {ca}
PipelineDepth 50

IMAPStore far
Account ours

MaildirStore near
Path {near}/
Inbox {near}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
CopyArrivalDate yes
"""


@suite.test
def mbsync_goes_both_ways(st):
    name = st.account()
    st.deliver(name, *[mail(f"far {i}") for i in range(30)])
    near = st.folder("mbsync")
    rc = st.secret("mbsyncrc", MBSYNC.format(port=st.ports["imaps"], name=name, password=PASSWORD,
                                             ca=st.ca, near=near))
    sync = lambda: run(program("mbsync", "isync"), "-V", "-c", rc, "-a")
    sync()
    inbox = mailbox.Maildir(os.path.join(near, "INBOX"), create=False)
    assert sorted(m["Subject"] for m in inbox) == sorted(f"far {i}" for i in range(30))
    assert os.path.isdir(os.path.join(near, "Sent"))
    # Here: one read, one removed, one new. There: one flagged, one removed, one new.
    by_subject = {m["Subject"]: key for key, m in inbox.iteritems()}
    read = inbox[by_subject["far 1"]]
    read.set_subdir("cur")
    read.add_flag("S")
    inbox[by_subject["far 1"]] = read
    inbox.remove(by_subject["far 2"])
    inbox.add(mailbox.MaildirMessage(mail("near 1")))
    client = st.login(name, "INBOX")
    good(client.store(good(client.search(None, "SUBJECT", '"far 3"'))[0].split()[0], "+FLAGS",
                      "(\\Flagged)"))
    good(client.store(good(client.search(None, "SUBJECT", '"far 4"'))[0].split()[0], "+FLAGS",
                      "(\\Deleted)"))
    good(client.expunge())
    st.deliver(name, mail("far 30"))
    sync()
    inbox = mailbox.Maildir(os.path.join(near, "INBOX"), create=False)
    want = sorted([f"far {i}" for i in range(31) if i not in (2, 4)] + ["near 1"])
    assert sorted(m["Subject"] for m in inbox) == want
    assert sorted(subjects(client)) == want
    seen = good(client.search(None, "SEEN"))[0].split()
    assert [email.message_from_bytes(good(client.fetch(n, "(BODY.PEEK[HEADER])"))[0][1])["Subject"]
            for n in seen] == ["far 1"]
    flagged = [m for m in inbox if m["Subject"] == "far 3"][0]
    assert "F" in flagged.get_flags()
    before = state_of(near)
    sync()
    assert state_of(near) == before, "a second run changed something"
    client.logout()


def state_of(folder):
    return sorted(os.path.join(where, file) for where, _, files in os.walk(folder) for file in files
                  if not file.startswith("."))


OFFLINEIMAP = """
[general]
accounts = ours
metadata = {place}/offlineimap-meta
maxsyncaccounts = 1
ui = quiet

[Account ours]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {near}

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {name}
remotepass = {password}
ssl = yes
sslcacertfile = {ca}
"""


@suite.test
def offlineimap_goes_both_ways(st):
    name = st.account()
    st.deliver(name, *[mail(f"far {i}") for i in range(5)])
    near = st.folder("offlineimap")
    rc = st.secret("offlineimaprc", OFFLINEIMAP.format(
        place=st.place.path, near=near, port=st.ports["imaps"], name=name, password=PASSWORD,
        ca=st.ca))
    sync = lambda: run(program("offlineimap", "offlineimap3"), "-c", rc, "-o",
                       env={**os.environ, "HOME": str(st.place.path)})
    sync()
    inbox = mailbox.Maildir(os.path.join(near, "INBOX"), create=False)
    assert len(inbox) == 5
    inbox.add(mailbox.MaildirMessage(mail("near")))
    sync()
    client = st.login(name)
    assert sorted(subjects(client)) == sorted([f"far {i}" for i in range(5)] + ["near"])
    client.logout()


def on_screen(command, env):
    """What a program shows on a terminal at which nobody types. Its own: `script` types an end of file,
    which is a key or the end of the terminal, as it comes."""
    screen, inside = pty.openpty()
    shown = bytearray()
    with subprocess.Popen(command, env=env, stdin=inside, stdout=inside, stderr=inside,
                          start_new_session=True) as child, os.fdopen(screen, "rb", 0) as out:
        os.close(inside)
        ender = threading.Timer(PATIENCE_S, child.kill)
        ender.start()
        with contextlib.suppress(OSError):  # EIO: the last one that had it open is gone
            while got := out.read(65536):
                shown += got
        child.wait()
        ender.cancel()
    return bytes(shown)


@suite.test
def mutt_lists_and_moves(st):
    name = st.account()
    st.deliver(name, mail("stay"), mail("go"))
    rc = st.secret("muttrc", f"""
set folder="imaps://localhost:{st.ports['imaps']}/"
set spoolfile="+INBOX"
set imap_user="{name}"
set imap_pass="{PASSWORD}"
set ssl_force_tls=yes
set certificate_file="{st.ca}"
set quit=yes delete=yes confirmappend=no confirmcreate=no
set header_cache=
set wait_key=no
push "<limit>~s go<enter><save-message>=Archive<enter><sync-mailbox><quit>"
""")
    env = {**os.environ, "TERM": "xterm", "HOME": str(st.place.path)}
    shown = on_screen([program("mutt"), "-F", rc], env)
    assert b"Press any key" not in shown, shown  # nobody would: it does not understand its file
    client = st.login(name)
    assert subjects(client) == ["stay"]
    assert subjects(client, "Archive") == ["go"]
    client.logout()


@suite.test
def imapflow_runs_its_course(st):
    modules = os.path.join(os.environ.get("RINGPOST_NODE", ""), "node_modules")
    node = shutil.which("node") or shutil.which("nodejs")
    if not node or not os.path.isdir(os.path.join(modules, "imapflow")):
        raise Skip("imapflow is not here")
    name = st.account()
    st.deliver(name, *[mail(f"flow {i}") for i in range(10)])
    done = run(node, os.path.join(os.path.dirname(os.path.abspath(__file__)), "imapflow.js"), env={
        **os.environ, "NODE_PATH": modules, "IMAP_PORT": str(st.ports["imaps"]),
        "IMAP_USER": name, "IMAP_PASSWORD": PASSWORD, "IMAP_CA": st.ca,
        "SMTP_PORT": str(st.ports["smtp"])})
    assert done.stdout.strip().endswith("all well"), done.stdout + done.stderr


if __name__ == "__main__":
    suite.main()
