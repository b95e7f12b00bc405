#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Import and export: mbox and Maildir as Python's mailbox module writes and reads them."""
import calendar
import contextlib
import json
import mailbox
import os
import signal
import socket
import subprocess
import time

from support import PATIENCE_S, Place, Suite, submission, until

NAMES = ["ann", "ben", "cat", "dog", "eve", "fay", "gus", "hal", "ida", "jim", "kay", "lou", "may", "nat",
         "oda", "pam"]
T0 = calendar.timegm((2020, 2, 29, 12, 0, 0))


class Stage:
    def __init__(self, place, server):
        self.place, self.server, self.used = place, server, 0

    def account(self):
        self.used += 1
        return NAMES[self.used - 1] + "@own.test"

    def boxes(self, account):
        return {r["mailbox"]: r["messages"]
                for r in self.server.cli_json("mailbox", "list", account)}

    def rows(self, account, box="INBOX"):
        return self.server.cli_json("message", "list", account, box)

    def show(self, account, uid, box="INBOX"):
        done = subprocess.run([self.server.binary, "message", "show", account, box, str(uid),
                               "--config", self.server.config_path], stdout=subprocess.PIPE,
                              check=True, timeout=PATIENCE_S)
        return done.stdout

    def transfer(self, verb, account, path, *flags):
        return json.loads(self.server.cli(verb, account, path, *flags, "--json").stdout)


@contextlib.contextmanager
def stage():
    accounts = [name + "@own.test" for name in NAMES]
    with Place() as place, submission(place, accounts=accounts) as server:
        yield Stage(place, server)


suite = Suite(stage)


def content(n, extra=b""):
    return (f"From: a{n}@b.test\nTo: c@d.test\nSubject: number {n}\nMessage-ID: <{n}@b.test>\n\n"
            f"line one of {n}\n").encode() + extra


def crlf(data):
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


FLAGS = [("", []), ("R", [r"\Seen"]), ("RA", [r"\Seen", r"\Answered"]),
         ("FD", [r"\Flagged", r"\Deleted"])]


def make_mbox(path, count, start=0, extra=b""):
    """Through the module, with lines that look like separators."""
    box = mailbox.mbox(path)
    for n in range(start, start + count):
        message = mailbox.mboxMessage(content(n, b"From here on\n>From there\n\nFrom nowhere\n" + extra))
        message.set_from("x@y.test", time.gmtime(T0 + n))
        message.set_flags(FLAGS[n % 4][0])
        message["X-Keywords"] = "Work $Junk" if n % 5 == 0 else ""
        if n % 5:
            del message["X-Keywords"]
        box.add(message)
    box.close()


def check_imported(s, account, count, box="INBOX"):
    rows = s.rows(account, box)
    assert [r["subject"] for r in rows] == [f"number {n}" for n in range(count)], rows
    for n, row in enumerate(rows):
        wanted = FLAGS[n % 4][1] + (["Work", "$Junk"] if n % 5 == 0 else [])
        assert sorted(row["flags"]) == sorted(wanted), (n, row)
        assert row["received"].startswith(
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(T0 + n))), (n, row)
    return rows


@suite.test
def an_mbox_comes_in_whole(s):
    account, path = s.account(), s.place.file("one.mbox")
    make_mbox(path, 24)
    assert s.transfer("import", account, path) == {
        "imported": 24, "already_there": 0, "failed": 0, "mailboxes": 1}
    rows = check_imported(s, account, 24)
    # The module marks "From " alone (mboxo); we take a mark away wherever one may have been put.
    wanted = crlf(content(3, b"From here on\nFrom there\n\nFrom nowhere\n"))
    assert s.show(account, rows[3]["uid"]) == wanted, s.show(account, rows[3]["uid"])
    # Again: nothing. With more behind: only that.
    assert s.transfer("import", account, path)["imported"] == 0
    make_mbox(path, 6, start=24)
    assert s.transfer("import", account, path)["imported"] == 6
    check_imported(s, account, 30)


@suite.test
def an_mbox_with_crlf_keeps_no_blank_line_more(s):
    account, path = s.account(), s.place.file("crlf.mbox")
    messages = [crlf(content(n, b"\nthe end\n" * n)) for n in range(4)]
    head = b"From x@y.test Fri Jan  1 00:00:00 2021\r\n"
    with open(path, "wb") as f:
        f.write(b"\r\n".join(head + m for m in messages[:3])[:-2])  # its last line has no end
    assert s.transfer("import", account, path)["imported"] == 3
    with open(path, "ab") as f:
        f.write(b"\r\n\r\n" + head + messages[3])
    assert s.transfer("import", account, path)["imported"] == 1
    got = [s.show(account, row["uid"]) for row in s.rows(account)]
    assert got == [messages[0], messages[1], messages[2][:-2], messages[3]], got


@suite.test
def a_unique_id_that_stands_twice_is_two_messages(s):
    account, path, state = s.account(), s.place.file("twice.mbox"), s.place.file("twice.state")
    head = "From x@y.test Fri Jan  1 00:00:00 2021\nX-UIDL: {}\nSubject: {}\n\nbody\n\n"
    s.place.file("twice.mbox", head.format("one", 0))
    assert s.transfer("import", account, path, "--state", state)["imported"] == 1
    with open(path, "a", encoding="ascii") as f:
        f.write("".join(head.format("same", n) for n in (1, 2, 3)))
    with open(state, encoding="ascii") as f:
        before = f.read()
    assert s.transfer("import", account, path, "--state", state)["imported"] == 3
    s.place.file("twice.state", before)  # as if it had been killed before it noted anything
    done = s.transfer("import", account, path, "--state", state)
    assert (done["imported"], done["already_there"]) == (0, 3), done
    assert [row["subject"] for row in s.rows(account)] == ["0", "1", "2", "3"]


def make_maildir(path):
    tree = mailbox.Maildir(path)
    folders = {"": tree, "Work": tree.add_folder("Work"),
               "Work.Old &- odd": tree.add_folder("Work.Old &- odd")}
    for name, folder in folders.items():
        for n in range(12):
            message = mailbox.MaildirMessage(content(n))
            message.set_flags("".join(sorted("SRFTD"[: n % 6])))
            message.set_date(T0 + n)
            message.set_subdir("new" if n % 6 == 0 else "cur")
            folder.add(message)
    return folders


@suite.test
def a_maildir_comes_in_with_its_folders(s):
    account, path = s.account(), s.place.file("maildir")
    folders = make_maildir(path)
    # A keyword, as Dovecot writes it.
    some = os.listdir(os.path.join(path, "cur"))[0]
    with open(os.path.join(path, "dovecot-keywords"), "w", encoding="utf-8") as f:
        f.write("0 $MDNSent\n1 Blue\n")
    os.rename(os.path.join(path, "cur", some), os.path.join(path, "cur", some + "b"))
    answer = s.transfer("import", account, path)
    assert answer == {"imported": 36, "already_there": 0, "failed": 0, "mailboxes": 3}, answer
    boxes = s.boxes(account)
    assert boxes["INBOX"] == boxes["Work"] == boxes["Work/Old & odd"] == 12, boxes
    assert sum("Blue" in row["flags"] for row in s.rows(account)) == 1
    letters = {"S": r"\Seen", "R": r"\Answered", "F": r"\Flagged", "T": r"\Deleted", "D": r"\Draft"}
    for row in s.rows(account, "Work"):
        n = int(row["subject"].split()[1])
        assert sorted(row["flags"]) == sorted(letters[c] for c in "SRFTD"[: n % 6]), row
        assert row["received"].startswith(
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(T0 + n))), row
        assert s.show(account, row["uid"], "Work") == crlf(content(n))
    assert s.transfer("import", account, path)["imported"] == 0
    name = folders["Work"].add(mailbox.MaildirMessage(content(99)))
    # Names of the same second need not be in order of time.
    here = os.path.join(path, ".Work", "new")
    os.rename(os.path.join(here, name), os.path.join(here, "9" + name))
    assert s.transfer("import", account, path)["imported"] == 1
    assert s.boxes(account)["Work"] == 13


@suite.test
def an_import_that_was_killed_goes_on(s):
    account, path = s.account(), s.place.file("big.mbox")
    count = 700
    make_mbox(path, count, extra=b"so on and so on and so on\n" * 2000)
    for stop_at in (30, 250, 480):
        child = subprocess.Popen([s.server.binary, "import", account, path, "--config",
                                  s.server.config_path], stdout=subprocess.DEVNULL)

        def far_enough():
            child.send_signal(signal.SIGSTOP)  # or it would go on while we ask
            if s.boxes(account)["INBOX"] >= stop_at or child.poll() is not None:
                return True
            child.send_signal(signal.SIGCONT)
            time.sleep(0.005)
            child.send_signal(signal.SIGSTOP)
            return False

        until(far_enough, "messages")
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert s.boxes(account)["INBOX"] < count, "it was too fast to be killed"
    answer = s.transfer("import", account, path)
    assert answer["failed"] == 0 and answer["imported"] > 0, answer
    check_imported(s, account, count)


@suite.test
def a_server_that_was_killed_loses_and_doubles_nothing(s):
    account, path = s.account(), s.place.file("crash.mbox")
    make_mbox(path, 400, extra=b"so on and so on and so on\n" * 4000)
    child = subprocess.Popen([s.server.binary, "import", account, path, "--config",
                              s.server.config_path], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    until(lambda: s.boxes(account)["INBOX"] >= 100 or child.poll() is not None, "messages")
    s.server.kill()
    assert child.wait(PATIENCE_S) != 0, "it was too fast to be disturbed"
    s.server.start()
    assert s.transfer("import", account, path)["failed"] == 0
    check_imported(s, account, 400)


def comparable(s, account):
    """Everything that a transfer has to keep; a Maildir is in order of its names."""
    out = {}
    for box, count in s.boxes(account).items():
        if count:
            out[box] = sorted((r["subject"], sorted(r["flags"]), r["received"][:19],
                               s.show(account, r["uid"], box)) for r in s.rows(account, box))
    return out


def fill(s, account):
    folder = s.place.file(f"fill-{s.used}")
    make_maildir(folder)
    s.transfer("import", account, folder)
    s.server.cli("message", "flag", account, "Work", "1:3", "--add", "$Forwarded,Blue,Green")
    s.server.cli("mailbox", "create", account, "dotted.name/b\u00fccher")
    s.server.cli("message", "copy", account, "INBOX", "1:*", "--to", "dotted.name/b\u00fccher")


@suite.test
def what_goes_out_comes_in_the_same(s):
    first, second, third = s.account(), s.account(), s.account()
    fill(s, first)
    wanted = comparable(s, first)
    out = s.place.file("out")
    assert s.transfer("export", first, out, "--format", "maildir")["exported"] == 48
    tree = mailbox.Maildir(out, create=False)
    assert len(tree) == 12 and len(tree.get_folder("Work")) == 12
    assert sorted(m.get_date() for m in tree) == [T0 + n for n in range(12)]
    # Nothing twice, and what is new.
    assert s.transfer("export", first, out, "--format", "maildir")["exported"] == 0
    s.server.cli("message", "copy", first, "INBOX", "1", "--to", "Work")
    assert s.transfer("export", first, out, "--format", "maildir")["exported"] == 1
    s.server.cli("message", "delete", first, "Work", "13")
    for folder in os.listdir(os.path.join(out, ".Work", "cur")):
        if "U13V" in folder:
            os.unlink(os.path.join(out, ".Work", "cur", folder))
    s.transfer("import", second, out)
    assert comparable(s, second) == wanted
    # The same by files of mbox.
    files = s.place.file("files") + "/"
    assert s.transfer("export", first, files, "--format", "mbox")["exported"] == 48
    assert len(mailbox.mbox(files + "Work.mbox", create=False)) == 12
    assert s.transfer("export", first, files, "--format", "mbox")["exported"] == 0
    s.transfer("import", third, files)
    assert comparable(s, third) == wanted


@suite.test
def large_messages_pass_in_pieces_without_a_server(s):
    account, path = NAMES[0] + "@own.test", s.place.file("large.mbox")
    lines = b"".join(b"%08d and so on and so on and so on and so on\n" % n for n in range(60000))
    box = mailbox.mbox(path)
    box.add(mailbox.mboxMessage(content(1, lines)))
    box.close()
    s.server.stop()
    try:
        s.transfer("import", account, path, "--mailbox", "Large")
        assert s.show(account, 1, "Large") == crlf(content(1, lines))
        out = s.place.file("large-out.mbox")
        s.transfer("export", account, out, "--mailbox", "Large")
        assert mailbox.mbox(out)[0].get_payload() == content(1, lines).decode().split("\n\n", 1)[1]
    finally:
        s.server.start()
    assert s.show(account, 1, "Large") == crlf(content(1, lines))


@suite.test
def names_too_long_for_a_file_are_shortened(s):
    first, second = s.account(), s.account()
    names = ["\u00e9" * 110, "\u00e9" * 111, "a/" + "\u5c71" * 70, "zz"]
    path = s.place.file("one.mbox")
    for n, name in enumerate(names):
        with open(path, "wb") as f:
            f.write(b"From x@y.test Mon Nov  2 10:00:00 2020\n" + content(n))
        s.transfer("import", first, path, "--mailbox", name, "--state", s.place.file(f"long{n}"))
    out = s.place.file("long") + "/"
    for exported in (len(names), 0):
        done = s.server.cli("export", first, out, "--format", "maildir", "--json")
        assert json.loads(done.stdout)["exported"] == exported, done
        assert done.stderr.count("too long a name") == 2, done
    assert s.transfer("import", second, out)["imported"] == len(names)
    boxes = {box: s.rows(second, box)[0]["subject"] for box, count in s.boxes(second).items() if count}
    assert len(boxes) == len(names) and sorted(boxes.values()) == [f"number {n}" for n in range(4)]
    for box, subject in boxes.items():
        name = names[int(subject.split()[1])]
        assert box == name or name.startswith(box.rpartition("-")[0]), (box, name)


@suite.test
def a_header_that_looks_like_a_separator_comes_back(s):
    first, second = s.account(), s.account()
    heads = [b"From : a@b.test\r\n", b">From x@y.test Mon Nov  2 10:00:00 2020\r\n", b">>From : a@b.test\r\n",
             b"X: y\r\nFrom x@y.test Mon Nov  2 10:00:00 2020\r\n"]
    messages = [head + b"Subject: n\r\n\r\n>From here\r\n" for head in heads]
    box, out = s.place.file("heads"), s.place.file("heads.mbox")
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(box, sub))
    for n, message in enumerate(messages):
        with open(os.path.join(box, "cur", f"{T0 + n}.m.h:2,"), "wb") as f:
            f.write(message)
    assert s.transfer("import", first, box)["imported"] == len(messages)
    assert s.transfer("export", first, out, "--format", "mbox")["exported"] == len(messages)
    assert s.transfer("import", second, out)["imported"] == len(messages)
    for account in (first, second):
        got = [s.show(account, row["uid"]) for row in s.rows(account)]
        assert got == messages, got


@suite.test
def odd_names_are_files_of_their_own(s):
    account = s.account()
    names = [".x", "_.x", "__.x", "_x", "y" * 250, "y" * 249 + "z", "\u00e9" * 120, "..", "a/..", "z" * 245 + "/b"]
    path, out = s.place.file("one.mbox"), s.place.file("odd") + "/"
    for n, name in enumerate(names):
        with open(path, "wb") as f:
            f.write(b"From x@y.test Mon Nov  2 10:00:00 2020\n" + content(n))
        s.transfer("import", account, path, "--mailbox", name, "--state", s.place.file(f"odd{n}"))
    for exported in (len(names), 0):
        assert s.transfer("export", account, out, "--format", "mbox")["exported"] == exported
    found = [m["Subject"] for folder, _, files in os.walk(out) for file in files
             if file.endswith(".mbox") for m in mailbox.mbox(os.path.join(folder, file), create=False)]
    assert sorted(found) == [f"number {n}" for n in range(len(names))], found


SIZES = [0, 1, 10, 300000, 5, 250000, 20000, 700000] + [3000] * 150 + [262144, 0]


def make_sized(path):
    """A Maildir whose messages are together, alone or in pieces on their way."""
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, sub))
    for n, size in enumerate(SIZES):
        with open(os.path.join(path, "cur", f"{T0 + n}.M{n:03}.here:2,"), "wb") as f:
            f.write((b"X: %06d\n" % n * (size // 10 + 1))[:size])


def sized(n):
    size = SIZES[n]
    return crlf((b"X: %06d\n" % n * (size // 10 + 1))[:size])


@suite.test
def messages_of_all_sizes_keep_their_order(s):
    account, path = s.account(), s.place.file("sized")
    make_sized(path)
    assert s.transfer("import", account, path)["imported"] == len(SIZES)
    assert [row["size"] for row in s.rows(account)] == [len(sized(n)) for n in range(len(SIZES))]
    out = s.place.file("sized-out") + "/"
    assert s.transfer("export", account, out, "--format", "maildir", "--mailbox",
                      "INBOX")["exported"] == len(SIZES)
    here = os.path.join(out, "cur")
    for name in os.listdir(here):
        with open(os.path.join(here, name), "rb") as f:
            assert crlf(f.read()) == sized(int(name.split("U")[1].split("V")[0]) - 1), name
    out = s.place.file("sized-out.mbox")
    assert s.transfer("export", account, out)["exported"] == len(SIZES)
    for n in (0, 3, 7, 40, len(SIZES) - 2):
        assert s.show(account, n + 1) == sized(n), n


@suite.test
def an_import_that_met_the_quota_goes_on_with_more(s):
    account, path = s.account(), s.place.file("sized")
    s.server.cli("account", "set", account, "--quota-messages", "50")
    done = s.server.cli("import", account, path, check=False)
    assert done.returncode and "quota" in done.stderr + done.stdout, done
    assert s.boxes(account)["INBOX"] == 50
    s.server.cli("account", "set", account, "--quota-messages", "none")
    answer = s.transfer("import", account, path)
    assert answer["already_there"] == 50 and answer["imported"] == len(SIZES) - 50, answer
    assert [row["size"] for row in s.rows(account)] == [len(sized(n)) for n in range(len(SIZES))]


@suite.test
def what_stands_behind_a_request_belongs_to_it(s):
    ping = b'{"do":"ping"}\n'
    path = next(os.path.join(folder, name) for folder, _, names in os.walk(s.place.path)
                for name in names if name.endswith(".sock") and "control" in name)
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(PATIENCE_S)
        control.connect(path)
        control.sendall(b'{"do":"ping","behind":28}\n' + ping * 2 + ping)
        seen = b""
        while seen.count(b"\n") < 2:
            seen += control.recv(4096)
        control.sendall(ping)
        assert control.recv(4096).count(b"\n") == 1 and seen.count(b"\n") == 2, seen
        for bytes_ in (-1, 1 << 30):
            with socket.socket(socket.AF_UNIX) as wrong:
                wrong.settimeout(PATIENCE_S)
                wrong.connect(path)
                wrong.sendall(b'{"do":"ping","behind":%d}\n' % bytes_)
                with contextlib.suppress(ConnectionResetError):
                    assert wrong.recv(4096) == b""


@suite.test
def wrong_sources_are_told(s):
    account = NAMES[0] + "@own.test"
    for path, words in ((s.place.file("nothing"), "No such file"),
                        (s.place.file("text", "hello\n"), "neither")):
        done = s.server.cli("import", account, path, check=False)
        assert done.returncode == 1 and words in done.stderr, done
    # A name that is cut would be another mailbox's.
    done = s.server.cli("import", account, s.place.file("empty", ""), "--mailbox", "x" * 256, check=False)
    assert done.returncode == 1 and "too long a name" in done.stderr, done
    assert not any(box.startswith("xxx") for box in s.boxes(account))
    done = s.server.cli("import", "nobody@own.test", s.place.file("empty", ""), check=False)
    assert done.returncode == 1 and "not found" in done.stderr, done


if __name__ == "__main__":
    suite.main()
