#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The same random commands to Dovecot and to ringpost: the answers say the same.

Two sessions on each side go through the same stream, made from a seed, for some thousand commands: a
fixed one, or DIFFERENTIAL_SEED, or with DIFFERENTIAL_SEEDS=N so many new ones (./dev differential);
each is printed. DIFFERENTIAL_LOG=1 shows every command. Answers are compared by what they mean: order
of items, flags and lines, text, numbers that only one server knows (times of change, validities, save
dates) are not compared. ALLOWED lists what else may differ, and why; where one of two must be wrong,
imap_book says who. A Dovecot that breaks an assertion of its own begins anew with another account.
"""
import base64
import collections
import contextlib
import os
import quopri
import random
import re

import imap_book
import imap_mails
from dovecot import Dovecot
from imap_wire import Imap, Text
from support import PASSWORD, Place, Ringpost, Suite

SEEDS = [random.SystemRandom().randrange(1 << 30) for _ in range(int(os.environ.get("DIFFERENTIAL_SEEDS") or 0))] or \
    [int(os.environ.get("DIFFERENTIAL_SEED") or 2)]
STEPS = 4000
LOG = os.environ.get("DIFFERENTIAL_LOG")
MAILS = 60

suite = Suite()

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Label1", "work", "Play"]
TEXTS = (b"FROM", b"TO", b"CC", b"BCC", b"SUBJECT", b"BODY", b"TEXT", b"HEADER")
BOXES = ["INBOX", "a", "a/b", "a/b/c", "z", "ent\u00e4n", "with space", "Archive", "Trash"]


def utf7(name):
    """Modified UTF-7 (RFC 3501 5.1.3) of the names above."""
    return name.replace("\u00e4", "&AOQ-")


def box_name(name):
    return b'"%s"' % utf7(name).encode()


class View:
    """What one session was told of its mailbox."""

    def __init__(self):
        self.count, self.removed, self.flags = 0, [], {}
        self.here = []  # numbers that messages had when the command began

    def begin(self):
        self.here, self.removed, self.flags = list(range(1, self.count + 1)), [], {}

    def line(self, line):
        if len(line) > 1 and line[1] == b"EXISTS":
            self.here += [None] * (line[0] - self.count)
            self.count = line[0]
        elif len(line) > 1 and line[1] == b"EXPUNGE":
            self.removed.append(self.here.pop(line[0] - 1))
            self.count -= 1


class Anew(Exception):
    """The two sides are no more the same, and another account must be taken. Its argument: an allowed reason."""


class Side:
    """One server: its sessions and what they see. `log`: tells what the server logged."""

    def __init__(self, name, port, user, password, log=str):
        self.name, self.log = name, log
        self.panics = self.log().count("Panic:")
        self.views = [View(), View()]
        self.sessions = [Imap(port, user, password, on_line=view.line) for view in self.views]

    def ask(self, who, command):
        self.views[who].begin()
        try:
            return self.sessions[who].ask(command)
        except EOFError as error:
            if self.log().count("Panic:") > self.panics:
                raise Anew(f"{self.name} broke an assertion of its own and ended the session (RFC 9051 7.1.5: it is told "
                           "why)") from None
            raise EOFError(f"{self.name} closed session {who} at {command[:200]!r}: {error}") from None

    def close(self):
        for session in self.sessions:
            session.close()


# --- What is asked ---------------------------------------------------------------------------------


class Maker:
    """Random commands. `count` and `next_uid` say what numbers make sense."""

    def __init__(self, dice):
        self.dice, self.known = dice, []

    def number(self, top):
        dice = self.dice
        return b"*" if dice.random() < 0.08 else b"%d" % dice.randrange(1, max(top, 1) + 1)

    def numbers(self, top):
        out = []
        for _ in range(self.dice.choice([1, 1, 1, 2, 3])):
            one = self.number(top)
            out.append(one + b":" + self.number(top) if self.dice.random() < 0.5 else one)
        return b",".join(out)

    def flags(self, most=3):
        return b"(%s)" % b" ".join(f.encode() for f in self.dice.sample(FLAGS, self.dice.randrange(most + 1)))

    def box(self):
        name = self.dice.choice(BOXES)
        if self.dice.random() < 0.03:
            name = self.dice.choice(["nothere", "a/none", "inbox"])
        return name

    def day(self):
        return b"%d-%s-%d" % (self.dice.randrange(1, 29), self.dice.choice([b"Jan", b"Jun", b"Dec"]),
                              self.dice.choice([1999, 2020, 2021]))

    def append(self):
        dice = self.dice
        number = f"m{len(self.known)}"
        mail = imap_mails.message(dice, number=number, known=self.known)
        self.known.append(number)
        head = b"APPEND " + box_name(self.box())
        if dice.random() < 0.6:
            head += b" " + self.flags()
        head += b' "%02d-%s-%d %02d:%02d:%02d %s"' % (
            dice.randrange(1, 29), dice.choice([b"Jan", b"Jun", b"Dec"]), dice.choice([1999, 2020, 2021]),
            dice.randrange(24), dice.randrange(60), dice.randrange(60), dice.choice([b"+0000", b"-0700", b"+0530"]))
        return [head + b" ", mail]

    def section(self):
        dice = self.dice
        part = ".".join(str(dice.choice([1, 1, 2, 2, 3])) for _ in range(dice.randrange(0, 4)))
        fields = "(" + " ".join(dice.sample(["Subject", "FROM", "date", "X-Mixed", "References", "none"],
                                            dice.randrange(1, 4))) + ")"
        texts = ["HEADER", "TEXT", f"HEADER.FIELDS {fields}", f"HEADER.FIELDS.NOT {fields}"]
        if part:
            texts += ["MIME", "", "", ""]
        else:
            texts += [""]
        text = dice.choice(texts)
        return part + ("." if part and text else "") + text

    def fetch_item(self):
        dice = self.dice
        kind = dice.random()
        if kind < 0.5:
            return dice.choice(["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY",
                                "RFC822.HEADER", "RFC822", "RFC822.TEXT"])
        partial = f"<{dice.choice([0, 0, 1, 10, 100, 5000])}.{dice.choice([1, 7, 100, 100000])}>" \
            if dice.random() < 0.3 else ""
        if kind < 0.9:
            return dice.choice(["BODY", "BODY.PEEK", "BODY.PEEK"]) + f"[{self.section()}]{partial}"
        part = ".".join(str(dice.choice([1, 1, 2, 3])) for _ in range(dice.randrange(0, 3)))
        return dice.choice([f"BINARY.PEEK[{part}]{partial}", f"BINARY.SIZE[{part}]"])

    def fetch(self, top, uids):
        kind = self.dice.random()
        if kind < 0.1:
            items = self.dice.choice(["ALL", "FAST", "FULL"])
        else:
            items = "(" + " ".join(dict.fromkeys(self.fetch_item() for _ in range(self.dice.choice([1, 1, 2, 3, 4])))) + ")"
        return uids + b"FETCH " + self.numbers(top) + b" " + items.encode()

    def store(self, top, uids):
        sign = self.dice.choice([b"", b"+", b"-"])
        silent = self.dice.choice([b"", b"", b".SILENT"])
        return uids + b"STORE " + self.numbers(top) + b" " + sign + b"FLAGS" + silent + b" " + self.flags()

    def text(self):
        dice = self.dice
        word = dice.choice([*imap_mails.WORDS, "BETA", "gamm", "example.org", "report", "ann", "Müller", "", "TEST",
                            "p", "STRASSE", "тес", "nothing-at-all", "Invoice 42"])
        return word.encode()

    def key(self, top, depth=0):
        """A list of parts, as a command has them: texts beyond ASCII are literals."""
        dice = self.dice
        kind = dice.random()
        if depth < 3 and kind < 0.06:
            return [b"NOT "] + self.key(top, depth + 1)
        if depth < 3 and kind < 0.12:
            return [b"OR "] + self.key(top, depth + 1) + [b" "] + self.key(top, depth + 1)
        if depth < 3 and kind < 0.16:
            return [b"("] + self.keys(top, depth + 1) + [b")"]
        if kind < 0.40:
            return [dice.choice([b"ALL", b"ANSWERED", b"DELETED", b"DRAFT", b"FLAGGED", b"SEEN", b"UNANSWERED",
                                 b"UNDELETED", b"UNDRAFT", b"UNFLAGGED", b"UNSEEN", b"KEYWORD work", b"UNKEYWORD Play",
                                 b"KEYWORD $label1", b"KEYWORD none"])]
        if kind < 0.55:
            return [dice.choice([b"(BEFORE ", b"(ON ", b"(SINCE ", b"(SENTBEFORE ", b"(SENTON ",
                                 b"(SENTSINCE "]) + self.day() + b")"]
        if kind < 0.62:
            return [dice.choice([b"LARGER ", b"SMALLER "]) + b"%d" % dice.choice([0, 300, 500, 1000, 3000])]
        if kind < 0.68:
            return [self.numbers(top) if top and dice.random() < 0.5 else b"UID " + self.numbers(MAILS)]
        if kind < 0.70:
            return [dice.choice([b"OLDER 86400", b"YOUNGER 86400", b"OLDER 600000000", b"YOUNGER 600000000"])]
        if kind < 0.72:
            # RFC 9051 6.4.4 leaves open whether enclosed headers are of the body; Dovecot leaves them out.
            return [b"BODY ", dice.choice(["quince", "WALN", "größe", "ЖУК", "nothing"]).encode()]
        if kind < 0.77:
            return [b"HEADER " + dice.choice([b"X-Mixed", b"subject", b"Message-ID", b"References", b"Received"]) + b" ",
                    self.text()]
        return [dice.choice([b"FROM ", b"TO ", b"CC ", b"BCC ", b"SUBJECT ", b"SUBJECT ", b"TEXT "]),
                self.text()]

    def keys(self, top, depth=0):
        out = self.key(top, depth)
        for _ in range(self.dice.choice([0, 0, 0, 1, 2])):
            out += [b" "] + self.key(top, depth)
        return out

    def search(self, top, uids):
        dice = self.dice
        kind = dice.random()
        if kind < 0.6:
            ret = dice.choice([b"", b"", b" RETURN ()", b" RETURN (MIN MAX)", b" RETURN (COUNT)", b" RETURN (ALL)",
                               b" RETURN (MIN)", b" RETURN (MAX COUNT ALL)"])
            head = uids + b"SEARCH" + ret + b" CHARSET UTF-8 "
        elif kind < 0.85:
            keys = dice.sample([b"ARRIVAL", b"CC", b"DATE", b"FROM", b"SIZE", b"SUBJECT", b"TO", b"DISPLAYFROM",
                                b"DISPLAYTO"], dice.randrange(1, 4))
            head = uids + b"SORT (" + b" ".join(dice.choice([b"", b"REVERSE "]) + k for k in keys) + b") UTF-8 "
        else:
            head = uids + b"THREAD " + dice.choice([b"REFERENCES", b"ORDEREDSUBJECT"]) + b" UTF-8 "
        return literals([head] + self.keys(top))

    def folder(self):
        """Commands, to be sent in order."""
        dice = self.dice
        kind = dice.random()
        whole = self.box().split("/")
        name = box_name("/".join(whole))
        if kind < 0.25:  # those above it: made as mailboxes by us, as mere levels by Dovecot
            return [b"CREATE " + box_name("/".join(whole[:depth + 1])) for depth in range(len(whole))]
        if kind < 0.35:
            return [b"DELETE " + name]
        if kind < 0.45:
            return [b"RENAME " + name + b" " + box_name(self.box())] if name.lower() != b'"inbox"' else []
        if kind < 0.55:
            return [dice.choice([b"SUBSCRIBE ", b"UNSUBSCRIBE "]) + name]
        if kind < 0.75:
            return [b"STATUS " + name + b" (MESSAGES UIDNEXT UNSEEN SIZE)"]
        pattern = dice.choice([b"*", b"%", b"a/%", b"a*", b"*b", b"%/%", b"INBOX", b"inb*", b"none"])
        return [dice.choice([b'LIST "" ', b'LIST "" ', b'LIST "a/" ', b'LSUB "" ', b'LIST (SUBSCRIBED) "" ',
                             b'LIST (RECURSIVEMATCH SUBSCRIBED) "" ']) + b'"' + pattern + b'"']


def literals(parts):
    """Join the parts so that texts, which stand at odd places of [head, text, head, ...], are literals.

    A part that ends with a space wants a text behind it."""
    out, text = [b""], False
    for part in parts:
        if text:
            out += [part, b""]
            text = False
        else:
            out[-1] += part
            text = bool(re.search(rb"(FROM|TO|CC|BCC|SUBJECT|BODY|TEXT|HEADER \S+) \Z", part))
    if text:
        raise AssertionError(parts)
    return out


# --- What an answer means ---------------------------------------------------------------------------


def structure(value, extended):
    """BODY and BODYSTRUCTURE: names and encodings in one case (RFC 9051 7.5.2)."""
    if not isinstance(value, list):
        return value
    return [structure(v, extended) if isinstance(v, list) else v.lower() if isinstance(v, Text) else v for v in value]


def item(name, value):
    if name == b"FLAGS":
        return tuple(sorted(f.lower() for f in value if f != b"\\Recent"))
    if name in (b"BODY", b"BODYSTRUCTURE"):
        return structure(value, name == b"BODYSTRUCTURE")
    if name.startswith((b"BODY[", b"BINARY[", b"RFC822")) and value is None:
        return b""
    if name == b"INTERNALDATE":  # date-day-fixed may be either (RFC 9051 9)
        return value.replace(b" ", b"0", 1) if value.startswith(b" ") else value
    return value


def fetched(answer):
    """{number: {item: value}} of a FETCH, whatever number of lines it came in."""
    out = collections.defaultdict(dict)
    for number, items in answer.fetched():
        for name, value in items.items():
            name = re.sub(rb"\[(.*)\]", lambda m: b"[" + m[1].upper().replace(b'"', b"") + b"]", name)
            out[number][name] = item(name, value)
    return out


def threads(value):
    """Order of siblings without a date is nobody's business; the rest stays."""
    return tuple(threads(v) if isinstance(v, list) else v for v in value)


def meaning(command, answer):
    """What is compared of an answer, as a dictionary."""
    words = command.split()
    verb = words[1] if words[0] == b"UID" else words[0]
    out = {"status": answer.status}
    if answer.ok and answer.code and answer.code[0] in (b"APPENDUID", b"COPYUID"):
        out["code"] = answer.code[:1] + answer.code[2:]
    if not answer.ok:
        return out
    if verb == b"FETCH":
        out["fetch"] = fetched(answer)
    elif verb == b"SEARCH":
        out["search"] = [sorted(map(int, line)) for line in answer.named(b"SEARCH")]
        out["esearch"] = [esearch(line) for line in answer.named(b"ESEARCH")]
    elif verb == b"SORT":
        out["sort"] = answer.named(b"SORT")
    elif verb == b"THREAD":
        out["thread"] = threads(answer.named(b"THREAD"))
    elif verb in (b"LIST", b"LSUB"):
        out["list"] = sorted(listed(line) for line in answer.untagged if line[0] in (b"LIST", b"LSUB"))
    elif verb == b"STATUS":
        out["status items"] = [{k: v for k, v in zip(line[1][::2], line[1][1::2])} for line in answer.named(b"STATUS")]
    elif verb in (b"MOVE",):
        out["copied"] = [line[1][2:] for line in answer.untagged if line[0] == b"OK" and line[1][0] == b"COPYUID"]
    return out


def esearch(line):
    line = [value for value in line if not (isinstance(value, list) and value[0] == b"TAG")]
    uid = b"UID" in line
    line = [value for value in line if value != b"UID"]
    return uid, dict(zip(line[::2], line[1::2]))


def listed(line):
    """Name and those attributes that both tell."""
    told = {attribute.lower() for attribute in line[1]} & {b"\\haschildren", b"\\hasnochildren", b"\\subscribed"}
    gone = bool({a.lower() for a in line[1]} & {b"\\noselect", b"\\nonexistent"})
    return line[3], gone, tuple(sorted(told)), tuple(map(str, line[4:]))


# --- What may differ -----------------------------------------------------------------------------------

ALLOWED = []


def allowed(reason):
    """Mark a function (run, session, command, what ours means, what theirs) as one that knows it."""
    def add(function):
        ALLOWED.append((reason, function))
        return function
    return add


# --- By the book ------------------------------------------------------------------------------------------


def rows_of(run, who, command):
    """All messages by the number that the command uses."""
    items = b"UID INTERNALDATE RFC822.SIZE ENVELOPE BODY.PEEK[HEADER.FIELDS (REFERENCES)]"
    out = {}
    for number, row in run.ours.ask(who, b"FETCH 1:* (%s)" % items).fetched():
        row[b"REFERENCES"] = row.pop(b"BODY[HEADER.FIELDS (REFERENCES)]")
        out[row[b"UID"] if command.startswith(b"UID") else b"%d" % number] = row
    return out


def flat(value):
    return [one for v in value for one in (flat(v) if isinstance(v, tuple) else [v])]


def only(ours, theirs, *names):
    """Nothing differs but these."""
    return all(ours.get(key) == theirs.get(key) for key in {*ours, *theirs} - set(names))


@allowed("FETCH: BINARY of a multipart or of the message undoes its own encoding, and it has none (RFC 9051 6.4.5, "
         "RFC 3516 4.2), while Dovecot undoes that of the parts in it; there is no part 1 of a part that is neither "
         "multipart nor message (RFC 9051 6.4.5.1), while to Dovecot that is the part itself; the date of ENVELOPE is the "
         "message's own (RFC 9051 7.5.2), where Dovecot may have cached an enclosed message's")
def sections(run, who, command, ours, theirs):
    if not only(ours, theirs, "fetch") or ours["fetch"].keys() != theirs["fetch"].keys():
        return False
    for number, items in ours["fetch"].items():
        for name, value in items.items():
            if value == theirs["fetch"][number].get(name):
                continue
            if not any(knows(run, who, number, name, value) for knows in
                       (binary_of_many, part_of_leaf, decoded_part, piece_of_section)) and \
                    not (name == b"ENVELOPE" and own_date(run, who, number, value, theirs["fetch"][number][name])):
                return False
    return True


def peek(run, who, number, section):
    body = fetched(run.ours.ask(who, b"FETCH %d (BODY.PEEK[%s])" % (number, section)))
    return body[number][b"BODY[%s]" % section]


def own_date(run, who, number, ours, theirs):
    head = peek(run, who, number, b"HEADER")
    return ours[1:] == theirs[1:] and re.findall(rb"(?m)^Date: (.*)\r$", head) == ours[:1]


def binary_of_many(run, who, number, name, value):
    parts = re.match(rb"BINARY(\.SIZE)?\[(.*)\](?:<(\d+)>)?", name)
    if not parts:
        return False
    body = peek(run, who, number, parts[2])
    at = int(parts[3] or b"0")
    return int(value) == len(body) if parts[1] else body[at:at + len(value)] == value


def piece_of_section(run, who, number, name, value):
    """The whole section is the same on both sides, and ours is the piece; Dovecot misses some of few bytes."""
    parts = re.match(rb"BODY\[(.*)\]<(\d+)>", name)
    if not parts:
        return False
    ask = b"FETCH %d (BODY.PEEK[%s])" % (number, parts[1])
    ours, theirs = (fetched(side.ask(who, ask))[number][b"BODY[%s]" % parts[1]] for side in (run.ours, run.theirs))
    return ours == theirs and ours[int(parts[2]):][:len(value)] == value


def decoded_part(run, who, number, name, value):
    """Dovecot decodes too little or too much of some leaves of enclosed messages."""
    parts = re.match(rb"BINARY(\.SIZE)?\[([\d.]+)\](?:<(\d+)>)?", name)
    if not parts:
        return False
    mime, body = peek(run, who, number, parts[2] + b".MIME"), peek(run, who, number, parts[2])
    coding = re.search(rb"(?i)Content-Transfer-Encoding: (\S+)", mime)
    if coding and coding[1] == b"base64":
        body = base64.b64decode(body)
    elif coding and coding[1] == b"quoted-printable":
        body = quopri.decodestring(body)
    at = int(parts[3] or b"0")
    return int(value) == len(body) if parts[1] else body[at:at + len(value)] == value


def part_of_leaf(run, who, number, name, value):
    section = re.match(rb"(?:BODY|BINARY)(?:\.SIZE)?\[([\d.]+\.1)(\.|\])", name)
    if value not in (b"", b"0") or not section:
        return False
    above = section[1]
    while above.endswith(b".1"):
        above = above[:-2]
        mime = peek(run, who, number, above + b".MIME")
        if mime:
            return not re.search(rb"(?i)Content-Type: (multipart|message)/", mime)
    return True


@allowed("CREATE INBOX fails (RFC 9051 6.3.4: it is an error to create INBOX)")
def create_inbox(run, who, command, ours, theirs):
    return command.upper() == b'CREATE "INBOX"' and ours["status"] == "NO"


@allowed("`*` names nothing in an empty mailbox: OK, and nothing is done (RFC 9051 9, seq-number: BAD is a \"should\")")
def star_of_nothing(run, who, command, ours, theirs):
    return b"*" in command and ours["view"][0] == 0 and theirs["status"] == "BAD" and ours["status"] != "BAD" and \
        not any(ours.get(kind) for kind in ("fetch", "copied", "code"))


@allowed("STORE and EXPUNGE of what is open read-only are refused (RFC 9051 6.3.3: no changes are permitted), before "
         "their numbers are looked at; Dovecot says OK and does nothing")
def read_only(run, who, command, ours, theirs):
    return run.read_only[who] and only(ours, theirs, "status", "fetch") and ours["status"] == "NO"


@allowed("UID COPY of no message to no mailbox is refused (RFC 9051 6.4.7: NO if there is no such mailbox)")
def copy_to_nothing(run, who, command, ours, theirs):
    return command.startswith((b"UID COPY", b"UID MOVE")) and only(ours, theirs, "status", "copied") and \
        ours["status"] == "NO"


TWICE = "COPY copies once what its set names twice (RFC 9051 9, sequence-set); to Dovecot it is not there any more"


@allowed(TWICE)
def named_twice(run, who, command, ours, theirs):
    words = re.match(rb"((?:UID )?)COPY (\S+) ", command)
    if not words or not only(ours, theirs, "status", "code") or (ours["status"], theirs["status"]) != ("OK", "NO"):
        return False
    named = run.ours.ask(who, words[1] + b"FETCH " + words[2] + b" UID").fetched()
    runs = [list(map(int, one.split(b":"))) for one in ours["code"][1].split(b",")]
    if [int(items[b"UID"]) for _, items in named] != [uid for one in runs for uid in range(one[0], one[-1] + 1)]:
        return False
    raise Anew(TWICE)  # theirs has no copy


@allowed("SORT: equal texts are told apart by the next key (RFC 5256 3); Dovecot gives some of them numbers that differ")
def sorted_by_the_book(run, who, command, ours, theirs):
    return only(ours, theirs, "sort") and sorted(ours["sort"][0]) == sorted(theirs["sort"][0]) and \
        ours["sort"] == [imap_book.sort(re.search(rb"\(([^)]*)\)", command)[1], ours["sort"][0],
                                        rows_of(run, who, command))]


@allowed("THREAD is what the six steps of REFERENCES and the two of ORDEREDSUBJECT say (RFC 5256 3); Dovecot orders by its "
         "SORT, and hangs some under a message whose subject they share that is no root")
def threaded_by_the_book(run, who, command, ours, theirs):
    if not only(ours, theirs, "thread") or sorted(flat(ours["thread"])) != sorted(flat(theirs["thread"])):
        return False
    how = imap_book.ordered_subject if b"ORDEREDSUBJECT" in command else imap_book.references
    return ours["thread"] == (how(flat(ours["thread"]), rows_of(run, who, command)),)


@allowed("OR, NOT and AND of search keys are that of what each key finds, and SENTBEFORE, SENTON, SENTSINCE ask for the "
         "message's own Date (RFC 9051 6.4.4); Dovecot forgets some messages that it finds by each key alone, and the date "
         "that it caches may be an enclosed message's")
def searched_by_the_book(run, who, command, ours, theirs):
    kinds = {"search", "esearch", "sort", "thread"} & ours.keys()
    if not kinds or not only(ours, theirs, *kinds):
        return False
    head = (b"UID " if command.startswith(b"UID") else b"") + b"SEARCH CHARSET UTF-8 "

    def ask(words):
        if words[0] in imap_book.DAYS:
            return imap_book.sent(words, rows_of(run, who, command))
        parts = [head + b" ".join(words[:-1]) + b" ", words[-1], b""] if words[0] in TEXTS else head + b" ".join(words)
        return {number for line in run.theirs.ask(who, parts).named(b"SEARCH") for number in line}

    found = imap_book.combine(imap_book.Keys(run.parts).tree, ask([b"ALL"]), ask)
    word = b"UID " if command.startswith(b"UID") else b""
    again = command.partition(b"UTF-8 ")[0] + b"UTF-8 " + (word + b",".join(sorted(found, key=int)) if found else b"NOT ALL")
    means = [{**meaning(again, side.ask(who, again)), "view": ours["view"]} for side in (run.ours, run.theirs)]
    return means[0] == ours and (means[0] == means[1] or any(
        knows(run, who, again, *means) for knows in (sorted_by_the_book, threaded_by_the_book)))


@allowed("Names without a mailbox: a subscription stays when its mailbox goes (RFC 9051 6.3.7), Dovecot takes it along or "
         "away; a level without anything below it is no name any more (RFC 9051 6.3.5), nor a child (7.3.1), Dovecot keeps "
         "some")
def names_without_mailbox(run, who, command, ours, theirs):
    rows = [set(mean.get("list", ())) for mean in (ours, theirs)]
    if not only(ours, theirs, "list") or rows[0] == rows[1]:
        return False
    names = [row[0] for row in map(listed, run.ours.ask(who, b'LIST "" "*"').untagged) if not row[1]]
    if any((b"\\haschildren" in row[2]) != any(name.startswith(row[0] + b"/") for name in names)
           for row in rows[0] if row[2] and row[2] != (b"\\subscribed",)):
        return False
    return all(row[1] for row in set(map(without_children, rows[0])) ^ set(map(without_children, rows[1])))


def without_children(row):
    return row[0], row[1], tuple(a for a in row[2] if b"children" not in a), *row[3:]


@allowed("CHILDREN is told without being asked for (RFC 5258 4: attributes MAY be told if they are there anyway), "
         "CHILDINFO not where the child itself is told (RFC 5258 3.5: redundant CHILDINFO SHOULD be suppressed)")
def children(run, who, command, ours, theirs):
    bare = lambda rows: [without_children(row)[:3] for row in rows]
    return only(ours, theirs, "list") and b"SUBSCRIBED" in command and \
        bare(ours["list"]) == bare(theirs["list"])


# --- The run --------------------------------------------------------------------------------------------


class Tally:
    def __init__(self):
        self.steps, self.found = 0, []
        self.counts, self.excused = collections.Counter(), collections.Counter()

    def is_enough(self):
        return self.steps >= STEPS or len(self.found) >= 40

    def show(self):
        print(f"  {self.steps} commands: {dict(self.counts)}")
        for reason, count in self.excused.items():
            print(f"  {count} times: {reason}")


class Run:
    """One account on both sides, until the tally is enough."""

    def __init__(self, ours, theirs, dice, tally):
        self.ours, self.theirs, self.dice, self.tally = ours, theirs, dice, tally
        self.maker = Maker(dice)
        self.selected, self.read_only = [None, None], [False, False]

    def go(self):
        for name in ("INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"):  # a new account's are subscribed
            self.theirs.ask(0, b"SUBSCRIBE " + box_name(name))
        for _ in range(30):
            self.both(0, self.maker.append())
        while not self.tally.is_enough():
            self.step()

    def both(self, who, command):
        """The same to both; what differs is kept."""
        self.tally.steps += 1
        self.parts = [command] if isinstance(command, bytes) else command
        shown = b"".join(self.parts)
        if LOG:
            print(who, shown[:300], flush=True)
        answers = [side.ask(who, command) for side in (self.ours, self.theirs)]
        means = [meaning(shown, answer) for answer in answers]
        for side, mean in zip((self.ours, self.theirs), means):
            view = side.views[who]
            mean["view"] = (view.count, sorted(n for n in view.removed if n is not None),
                            sum(n is None for n in view.removed))
        self.tally.counts[shown.split()[0 if shown[:3] != b"UID" else 1]] += 1
        for number in set(means[0].get("fetch", ())) & set(means[1].get("fetch", ())):
            one, two = (mean["fetch"][number] for mean in means)
            for extra in (b"FLAGS", b"UID", b"MODSEQ"):  # told by one of them though not asked for
                if (extra in one) != (extra in two) and extra not in shown:
                    one.pop(extra, None), two.pop(extra, None)
        if means[0] != means[1]:
            self.differ(who, shown, means, answers)
        return answers

    def differ(self, who, shown, means, answers):
        for reason, function in ALLOWED:
            if function(self, who, shown, *means):
                self.tally.excused[reason] += 1
                return
        if LOG and ("SORT" in str(shown) or "THREAD" in str(shown) or "SEARCH" in str(shown)):
            for side in (self.ours, self.theirs):
                for line in side.ask(who, b"FETCH 1:* (UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)").fetched():
                    print("   ", side.name, line)
        if LOG and "fetch" in means[0]:
            for number, items in means[0]["fetch"].items():
                if items != means[1].get("fetch", {}).get(number):
                    print("   ", self.ours.ask(who, b"FETCH %d (BODYSTRUCTURE BODY.PEEK[])" % number).untagged)
        short = [{k: cut(v, means[1 - i].get(k)) for k, v in mean.items() if v != means[1 - i].get(k)}
                 for i, mean in enumerate(means)]
        self.tally.found.append((self.tally.steps, who, shown[:400], short))
        print(f"DIFFERENT at step {self.tally.steps}, session {who}: {shown[:300]!r}\n"
              f"  ours   {short[0]!r:.1500}\n  theirs {short[1]!r:.1500}\n"
              f"  texts  {answers[0].text!r} / {answers[1].text!r}", flush=True)
        if answers[0].ok != answers[1].ok:
            raise Anew

    def select(self, who, name=None):
        name = name or self.maker.box()
        word = b"EXAMINE " if self.dice.random() < 0.15 else b"SELECT "
        for side in (self.ours, self.theirs):
            side.views[who].count = 0
        answers = self.both(who, word + box_name(name))
        self.selected[who] = name if answers[0].ok else None
        self.read_only[who] = word == b"EXAMINE "
        if not answers[0].ok:
            for side in (self.ours, self.theirs):
                side.views[who].count = 0
        else:
            self.check_states(who)

    def folders(self, who):
        for command in self.maker.folder():
            words = re.match(rb'(\w+) ("[^"]*")(?: ("[^"]*"))?', command)
            if words and words[1] in (b"RENAME", b"SUBSCRIBE"):
                # What is above a name is a mailbox here and a mere level there; a name without a mailbox is
                # subscribed to by us (RFC 9051 6.3.7: the server MAY look).
                there = self.both(who, b"STATUS " + words[2] + b" (MESSAGES)")
                if not there[0].ok or (words[3] and not self.is_free(who, words[3])):
                    continue
            if words and words[1] == b"DELETE" and not self.both(who, b"STATUS " + words[2] + b" (MESSAGES)")[0].ok and \
                    self.theirs.ask(who, b'LIST "" ' + words[2]).named(b"LIST"):
                continue  # a mere level that Dovecot kept
            if command.startswith((b"RENAME", b"DELETE")):
                if b'"Archive"' in command or b'"Trash"' in command:
                    continue  # made again by Dovecot when used
                self.leave(re.match(rb'\w+ "([^"]*)"', command)[1].decode())
            self.both(who, command)

    def is_free(self, who, name):
        """No mailbox and no level on either side, and all above it are mailboxes."""
        if any(answer.named(b"LIST") for answer in self.both(who, b'LIST "" ' + name)):
            return False
        levels = name[:-1].split(b"/")[:-1]
        return all(self.both(who, b"STATUS " + b"/".join(levels[:n + 1]) + b'" (MESSAGES)')[0].ok
                   for n in range(len(levels)))

    def leave(self, name):
        """Dovecot cuts sessions off whose mailbox goes; what ours do is for another test."""
        for who, open_name in enumerate(self.selected):
            if open_name and (utf7(open_name) + "/").startswith(name + "/"):
                self.unselect(who, b"UNSELECT")

    def unselect(self, who, word):
        self.both(who, word)
        self.selected[who] = None
        for side in (self.ours, self.theirs):
            side.views[who].count = 0

    def check_states(self, who):
        self.both(who, b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)")

    def step(self):
        dice, maker = self.dice, self.maker
        who = 0 if dice.random() < 0.7 else 1
        if self.selected[who] is None:
            if dice.random() < 0.3:
                self.folders(who)
            elif dice.random() < 0.3:
                self.both(who, maker.append())
            else:
                self.select(who)
            return
        self.both(who, b"NOOP")
        top = self.theirs.views[who].count
        uids = dice.choice([b"", b"UID "])
        kind = dice.random()
        if kind < 0.3:
            self.both(who, maker.fetch(top, uids))
        elif kind < 0.42:
            self.both(who, maker.store(top, uids))
        elif kind < 0.72:
            self.both(who, maker.search(top, uids))
        elif kind < 0.78:
            if self.read_only[who]:
                return  # Dovecot moves out of what is open read-only
            self.both(who, uids + dice.choice([b"COPY ", b"COPY ", b"MOVE "]) + maker.numbers(top) + b" " +
                      box_name(maker.box()))
        elif kind < 0.80:
            self.both(who, dice.choice([b"EXPUNGE", b"UID EXPUNGE " + maker.numbers(MAILS)]))
        elif kind < 0.88:
            self.folders(who)
        elif kind < 0.95:
            self.both(who, maker.append())
        elif kind < 0.97:
            self.unselect(who, dice.choice([b"CLOSE", b"UNSELECT"]))
        else:
            self.select(who)


def compare(seed, dovecot, server, prefix):
    """The tally of one seed. `prefix` begins the names of its accounts."""
    print(f"  DIFFERENTIAL_SEED={seed}", flush=True)
    dice, tally, accounts = random.Random(seed), Tally(), 0
    while not tally.is_enough():
        accounts += 1
        user = f"{prefix}{accounts}@example.test"
        server.add_accounts(user)
        with contextlib.closing(Side("ringpost", server.ports["imap"], user, PASSWORD)) as ours, \
                contextlib.closing(Side("dovecot", dovecot.imap, user, "any", dovecot.log)) as theirs:
            try:
                Run(ours, theirs, dice, tally).go()
            except Anew as why:
                tally.excused.update(why.args)
    tally.show()
    return tally


@suite.test
def answers_are_equivalent():
    with Place() as place, Dovecot(place) as dovecot, \
            Ringpost(place, {"imap": {"plain_login": True}}, services=("imap",)) as server:
        bad = [seed for at, seed in enumerate(SEEDS) if compare(seed, dovecot, server, f"user{at}-").found]
        assert not bad, f"differences with DIFFERENTIAL_SEED={bad}"


@suite.test
def what_was_found_once():
    """Differences that were bugs of ours."""
    config = {"imap": {"plain_login": True}}
    part = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Location: http://only.here/\r\n\r\nbody\r\n--x--\r\n"
    with Place() as place, Ringpost(place, config, services=("imap",)) as server:
        server.add_accounts("user@example.test")
        with Imap(server.ports["imap"], "user@example.test", PASSWORD) as imap:
            for head in (b"To: zoe: ann@d.test;\r\n", b"To: bob@d.test\r\n", b"To: max@d.test\r\n"):
                imap.good([b"APPEND INBOX ", head + part])
            imap.good(b"SELECT INBOX")
            # RFC 9051 6.4.4: TEXT includes MIME header fields, BODY does not.
            assert imap.good(b"SEARCH TEXT only.here").named(b"SEARCH") == [[b"1", b"2", b"3"]]
            assert imap.good(b"SEARCH BODY only.here").named(b"SEARCH") == [[]]
            # RFC 5256 3: the first address is the group.
            assert imap.good(b"SORT (TO) UTF-8 ALL").named(b"SORT") == [[b"2", b"3", b"1"]]
            assert imap.good(b"SORT (DISPLAYTO) UTF-8 ALL").named(b"SORT") == [[b"2", b"3", b"1"]]


def cut(mine, other):
    """Of large values only what differs."""
    if isinstance(mine, dict) and isinstance(other, dict):
        return {k: cut(v, other.get(k)) for k, v in mine.items() if v != other.get(k)}
    return mine


if __name__ == "__main__":
    suite.main()
