#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails beyond what is kept of them: headers of megabytes, thousands of addresses. IMAP and POP3 agree."""
import contextlib
import imaplib
import poplib
import re

from stage import Stage
from support import PASSWORD, PATIENCE_S, Place, Ringpost, Suite
from talk import Talk

CONFIG = {"auth": {"fail_delay": "10ms", "fail_delay_max": "20ms"}, "pop3": {"plain_login": True},
          "imap": {"plain_login": True}}
poplib._MAXLINE = 1 << 20
imaplib._MAXLINE = 8 << 20
imaplib.MapCRLF = re.compile(rb"(?!)")  # APPEND byte for byte
KB, MB = 1 << 10, 1 << 20
SEEN = 2 * MB  # of a header, by FETCH of fields and SEARCH


class Both(Stage):
    def imap(self, name):
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=PATIENCE_S)
        client.login(name, PASSWORD)
        return client

    def pop3(self, name):
        client = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=PATIENCE_S)
        client.user(name)
        client.pass_(PASSWORD)
        return client

    def filled(self, *messages):
        """Sessions of both kinds at a mailbox with these."""
        name = self.account()
        imap = self.imap(name)
        for message in messages:
            assert imap.append("INBOX", "", None, message)[0] == "OK"
        imap.select()
        return imap, self.pop3(name)


@contextlib.contextmanager
def stage():
    with Place() as place, Ringpost(place, CONFIG, services=("smtp", "imap", "pop3")) as server:
        yield Both(place, server)
        server.stop()
        # Compares what is kept of each message with its bytes.
        report = server.cli_json("fsck")
        assert report["result"] == "clean", report


suite = Suite(stage)


def fetch(imap, number, what):
    status, data = imap.fetch(str(number), f"({what})")
    assert status == "OK", data
    found = [item for item in data if isinstance(item, tuple)]
    return found[0][1] if found else data[0]


BODY = (b"--b\r\nContent-Type: text/plain\r\n\r\nneedle in the text\r\n--b\r\n"
        b"Content-Type: application/x-odd\r\n\r\nodd\r\n--b--\r\n")


def long_header(size, line=b"X-Long: " + b"x" * 62 + b"\r\n", end=b"\r\n"):
    """Its first and last fields count; what is between them is `size` bytes."""
    head = b"From: a@far.test\r\nSubject: first\r\nContent-Type: multipart/mixed; boundary=b\r\n"
    return head + line * (size // len(line)) + b"X-Last: the last one\r\nTo: last@far.test\r\n" + end


HEADERS = {"200 KB": long_header(200 * KB), "300 KB": long_header(300 * KB), "1 MB": long_header(MB),
           "10 MB": long_header(10 * MB), "a line": long_header(300 * KB, b"X-Line: " + b"y" * 290 * KB + b"\r\n"),
           "folded": long_header(400 * KB, b"X-Fold: a\r\n b\r\n"),
           "no blank line": long_header(300 * KB, end=b"")}


@suite.test
def long_headers_end_where_they_end(st):
    imap, pop = st.filled(*(head + BODY for head in HEADERS.values()))
    for number, (why, head) in enumerate(HEADERS.items(), 1):
        whole = head + BODY
        assert fetch(imap, number, "BODY.PEEK[HEADER]") == head, why
        assert fetch(imap, number, "BODY.PEEK[TEXT]") == BODY, why
        assert fetch(imap, number, "RFC822.HEADER") == head, why
        assert fetch(imap, number, "BODY.PEEK[]") == whole, why
        assert fetch(imap, number, "BODY.PEEK[TEXT]<5.10>") == BODY[5:15], why
        assert fetch(imap, number, "BODY.PEEK[1]") == b"needle in the text", why
        assert fetch(imap, number, "BODY.PEEK[2.MIME]") == b"Content-Type: application/x-odd\r\n\r\n", why
        structure = fetch(imap, number, "BODYSTRUCTURE")
        assert b'"x-odd"' in structure and b'"mixed"' in structure, (why, structure)
        assert f"RFC822.SIZE {len(whole)})".encode() in fetch(imap, number, "RFC822.SIZE"), why
        if why != "no blank line":  # for POP3 a header ends with one
            top = b"\r\n".join(pop.top(number, 0)[1]) + b"\r\n"
            assert top == head, (why, len(top), len(head))
        assert b"\r\n".join(pop.retr(number)[1]) + b"\r\n" == whole, why


@suite.test
def fields_behind_what_is_kept_are_found(st):
    imap, _ = st.filled(*(head + BODY for head in HEADERS.values()))
    near = [n for n, head in enumerate(HEADERS.values(), 1) if len(head) < SEEN]

    def search(*criteria):
        return [int(n) for n in imap.search(None, *criteria)[1][0].split()]

    for n, head in enumerate(HEADERS.values(), 1):
        want = b"X-Last: the last one\r\nTo: last@far.test\r\n\r\n" if len(head) < SEEN else b"\r\n"
        assert fetch(imap, n, "BODY.PEEK[HEADER.FIELDS (X-Last To)]") == want, n
        want = b"From: a@far.test\r\nSubject: first\r\nContent-Type: multipart/mixed; boundary=b\r\n" + want
        assert fetch(imap, n, "BODY.PEEK[HEADER.FIELDS.NOT (X-Long X-Line X-Fold)]") == want, n
    assert search("HEADER", "X-Last", "last") == near
    assert search("HEADER", "To", "last@far") == near
    assert search("TO", "last@far") == near
    assert search("SUBJECT", "first") == search("BODY", "needle") == search("TEXT", "needle") == \
        search("ALL")


def envelope(imap, number):
    """Its text, literals put in their places, as a nested list."""
    _, data = imap.fetch(str(number), "(ENVELOPE)")
    items, text = [], b""
    for item in data:
        if isinstance(item, tuple):
            head, literal = item
            text += re.sub(rb"\{\d+\}$", b"\x00%d\x00" % len(items), head)
            items.append(literal)
        else:
            text += item
    tokens = re.findall(rb'[()]|"(?:[^"\\]|\\.)*"|\x00\d+\x00|[^()\s]+', text)
    stack = [[]]
    for token in tokens:
        if token == b"(":
            stack.append([])
        elif token == b")":
            done = stack.pop()
            stack[-1].append(done)
        elif token[:1] == b"\x00":
            stack[-1].append(items[int(token[1:-1])])
        else:
            stack[-1].append(None if token == b"NIL" else token.strip(b'"'))
    return stack[0][1][1]


@suite.test
def envelopes_are_whole(st):
    people = [b"Some Body %d <user.%d@host%d.example>" % (n, n, n % 7) for n in range(5000)]
    words = b"word " * 4000
    messages = [
        b"From: f@x.test\r\nSubject: many\r\nTo: " + b",\r\n ".join(people) + b"\r\nCc: " + b", ".join(people[:1500]) +
        b"\r\nMessage-ID: <many@x.test>\r\n\r\ntext\r\n",
        b"From: f@x.test\r\nSubject: " + words + b"\r\nTo: a@b.test\r\n\r\ntext\r\n",
        # Behind the 256 KB that are kept of it.
        long_header(600 * KB, end=b"Message-ID: <late@x.test>\r\nCc: Late <late@x.test>\r\n\r\n") + BODY]
    # What takes the most room: is cut, and answered.
    for worst in (b'"\\"' + b'\\"' * 3000 + b'" <x@y.test>', b"a@b"):
        lines = b",\r\n ".join([worst] * ((MB - 10000) // (len(worst) + 4)))
        messages += [b"From: " + lines + b"\r\nSubject: worst\r\n\r\ntext\r\n"]
    imap, _ = st.filled(*messages)
    for number in (4, 5):
        assert envelope(imap, number)[1] == b"worst"
    for _ in range(2):
        many, long_subject, late = (envelope(imap, n) for n in (1, 2, 3))
        assert many[1] == b"many" and many[9] == b"<many@x.test>", (many[1], many[9])
        assert many[2] == many[3] == many[4] == [[None, None, b"f", b"x.test"]], many[2]
        want = [[b"Some Body %d" % n, None, b"user.%d" % n, b"host%d.example" % (n % 7)] for n in range(5000)]
        assert many[5] == want and many[6] == want[:1500], (len(many[5]), len(many[6]))
        assert long_subject[1] == words.strip(), len(long_subject[1])
        assert late[5] == [[None, None, b"last", b"far.test"]] and late[9] == b"<late@x.test>", late
        assert late[6] == [[b"Late", None, b"late", b"x.test"]], late

    def numbers(answer):
        return [int(n) for n in answer[1][0].split()]

    assert numbers(imap.search(None, "TO", "user.4999@")) == [1]
    assert numbers(imap.search(None, "CC", "late@x.test")) == [3]
    assert numbers(imap.search(None, "SUBJECT", '"word word"')) == [2]
    assert numbers(imap.sort("(SUBJECT)", "UTF-8", "1:3")) == [3, 1, 2]


ENDS = [b"A: b\r\n\r\nwhole\r\n", b"A: b\r\n\r\nopen", b"A: b\r\n\r\nLF\n", b"A: b\r\n\r\nCR\r", b"A: b\r\n\r\n",
        b"A: b\r\n", b"A: b", b"\n", b"A: b\r\n\r\n" + b"long " * 100000, b"A: b\r\n\r\n.\r\n.",
        b"A: b\r\n\r\nwhole\r\n" * 20000]


def retrieved(pop, command):
    """The answer and the bytes behind it, as they are: poplib takes LF for a line end."""
    pop._putcmd(command)
    answer, lines = pop._getresp(), []
    while (line := pop.file.readline()) != b".\r\n" or (lines and not lines[-1].endswith(b"\r\n")):
        begins = not lines or lines[-1].endswith(b"\r\n")
        lines.append(line[1:] if begins and line.startswith(b".") else line)
    return answer, b"".join(lines)


def check_sizes(st, name, messages):
    """What POP3 tells of sizes is what it sends (RFC 1939 11); the line end it adds is not the message's."""
    imap, pop = st.imap(name), st.pop3(name)
    imap.select()
    sizes = [int(line.split()[1]) for line in pop.list()[1]]
    assert pop.stat() == (len(messages), sum(sizes)), (pop.stat(), sizes)
    for number, message in enumerate(messages, 1):
        answer, sent = retrieved(pop, f"RETR {number}")
        assert sent == message + (b"" if message.endswith(b"\r\n") else b"\r\n"), message[-20:]
        assert sizes[number - 1] == len(sent) == int(answer.split()[1]), (message[-20:], sizes[number - 1], answer)
        assert int(pop.list(number).split()[2]) == len(sent)
        assert retrieved(pop, f"TOP {number} 1000000") == (answer, sent)
        assert fetch(imap, number, "BODY.PEEK[]") == message
        assert f"RFC822.SIZE {len(message)})".encode() in fetch(imap, number, "RFC822.SIZE")
    for number, size in enumerate(sizes, 1):
        pop.dele(number)
        assert pop.stat() == (len(messages) - number, sum(sizes[number:]))
    pop.rset()
    assert pop.stat() == (len(messages), sum(sizes))
    pop.quit()


@suite.test
def messages_without_an_end_have_the_sizes_that_are_sent(st):
    name = st.account()
    imap = st.imap(name)
    for message in ENDS:
        assert imap.append("INBOX", "", None, message)[0] == "OK"
    check_sizes(st, name, ENDS)
    many = st.account()
    imap = st.imap(many)
    imap.send(b"m APPEND INBOX" + b"".join(b" {%d+}\r\n" % len(data) + data for data in ENDS) + b"\r\n")
    while not (line := imap.readline()).startswith(b"m "):
        pass
    assert line.startswith(b"m OK"), line
    check_sizes(st, many, ENDS)
    # Those that were elsewhere before.
    other = st.account()
    imap = st.imap(other)
    for n, message in enumerate(ENDS):
        assert imap.append("Archive", "", None, message)[0] == "OK"
        imap.select("Archive")
        assert imap.copy("1", "INBOX")[0] == "OK"
        imap.store("1", "+FLAGS", r"\Deleted")
        imap.expunge()
    check_sizes(st, other, ENDS)
    imap.select()
    imap._simple_command("MOVE", "1:*", "Drafts")
    imap.select("Drafts")
    imap._simple_command("MOVE", "1:*", "INBOX")
    check_sizes(st, other, ENDS)
    # From a Maildir, with LF as line ends.
    third, folder = st.account(), st.folder("ends")
    for sub in ("cur", "new", "tmp"):
        st.folder(f"ends/{sub}")
    files = [b"A: b\n\nwhole\n", b"A: b\n\nopen", b"A: b\n\n", b"A: b", b"A: b\n\nCRLF\r\n"]
    for n, data in enumerate(files):
        with open(f"{folder}/cur/{1000 + n}.x:2,S", "wb") as f:
            f.write(data)
    st.server.cli("import", third, folder)
    wanted = [data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for data in files]
    check_sizes(st, third, wanted)
    # Not one of those that are there is open any more.
    pop = st.pop3(third)
    pop.dele(2)
    pop.dele(4)
    pop.quit()
    check_sizes(st, third, [wanted[0], wanted[2], wanted[4]])
    with Talk(st.ports["smtp"]) as talk:
        talk.ehlo()
        body = b"Subject: x\r\n\r\nopen"
        for line in ("MAIL FROM:<a@far.test>", f"RCPT TO:<{third}>"):
            assert talk.ask(line)[0] == 250
        talk.send(b"BDAT %d LAST\r\n" % len(body) + body)
        assert talk.reply()[0] == 250
    imap = st.imap(third)
    imap.select()
    check_sizes(st, third, [wanted[0], wanted[2], wanted[4], fetch(imap, 4, "BODY.PEEK[]")])
    assert fetch(imap, 4, "BODY.PEEK[]").endswith(b"open")


@suite.test
def what_is_known_of_ends_survives_a_rebuild(_):
    with Place() as place, Ringpost(place, CONFIG, services=("smtp", "imap", "pop3")) as server:
        st = Both(place, server)
        name = st.account()
        imap = st.imap(name)
        for message in ENDS:
            imap.append("INBOX", "", None, message)
        imap.logout()
        server.stop()
        server.cli("fsck", "--rebuild")
        server.start()
        check_sizes(st, name, ENDS)


if __name__ == "__main__":
    suite.main()
