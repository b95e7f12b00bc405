# SPDX-License-Identifier: GPL-2.0-or-later
"""SORT, THREAD and the logic of SEARCH by the letter of their RFCs, to tell who of two servers is right.

A row is a message as FETCH tells it: {b"UID": ..., b"ENVELOPE": [...], ...}. Nothing here asks a server,
and nothing is quick.
"""
import datetime
import email.header
import email.utils
import operator
import re
import unicodedata

# --- Keys (RFC 5256 2.1, 2.2, 3; RFC 5957) --------------------------------------------------------------


def decoded(text):
    return str(email.header.make_header(email.header.decode_header((text or b"").decode())))


def title(text):
    return unicodedata.normalize("NFKD", text.title()).encode()


def subject_of(text):
    """The base subject, and whether it is a reply or a forward."""
    text, reply = re.sub(r"\s+", " ", decoded(text)).strip(), False
    while True:
        before = text
        text = re.sub(r"(?i)(\s*\(fwd\)|\s)+$", "", text)
        text = re.sub(r"(?i)^(\[[^][]*\]\s*)*(re|fwd?)\s*(\[[^][]*\]\s*)?:\s*", "", text)
        reply = reply or text.rstrip() != before.rstrip()
        shorter = re.sub(r"^\[[^][]*\]\s*", "", text)
        text = shorter or text
        if text == before:
            return title(text), reply


def address_key(value, display):
    if not value:
        return b""
    name, _, local, host = value[0]
    if not display:
        return title((local or b"").decode())
    return title(decoded(name or (local + b"@" + host if host else local)))


def day_of(row):
    return email.utils.parsedate_to_datetime(row[b"ENVELOPE"][0].decode()).timestamp()


SORT_KEYS = {
    b"ARRIVAL": lambda row: email.utils.parsedate_to_datetime(
        row[b"INTERNALDATE"].decode().replace("-", " ", 2)).timestamp(),
    b"DATE": day_of,
    b"SIZE": lambda row: int(row[b"RFC822.SIZE"]),
    b"SUBJECT": lambda row: subject_of(row[b"ENVELOPE"][1])[0],
    b"FROM": lambda row: address_key(row[b"ENVELOPE"][2], False),
    b"TO": lambda row: address_key(row[b"ENVELOPE"][5], False),
    b"CC": lambda row: address_key(row[b"ENVELOPE"][6], False),
    b"DISPLAYFROM": lambda row: address_key(row[b"ENVELOPE"][2], True),
    b"DISPLAYTO": lambda row: address_key(row[b"ENVELOPE"][5], True),
}


def sort(keys, numbers, rows):
    """`keys` as written; the numbers in order. `rows` has all messages by number, in their order."""
    place = {number: at for at, number in enumerate(rows)}
    order = sorted(numbers, key=place.get)
    for reverse, key in reversed(re.findall(rb"(REVERSE )?([A-Z]+)", keys)):  # stable, also when reversed
        order.sort(key=lambda number: SORT_KEYS[key](rows[number]), reverse=bool(reverse))
    return order


# --- THREAD=ORDEREDSUBJECT (RFC 5256 3) -----------------------------------------------------------------


def ordered_subject(numbers, rows):
    """One level, by subject and then by date; threads by their first date."""
    by_subject = {}
    for number in sort(b"DATE", numbers, rows):
        by_subject.setdefault(subject_of(rows[number][b"ENVELOPE"][1])[0], []).append(number)
    return tuple(tuple(group) if len(group) < 3 else (group[0], *((one,) for one in group[1:]))
                 for group in by_subject.values())


# --- THREAD=REFERENCES (RFC 5256 3) ---------------------------------------------------------------------


class Node:
    """A message, or a dummy without a number."""

    def __init__(self, number=None):
        self.number, self.parent, self.children = number, None, []

    def link(self, child):
        child.unlink()
        child.parent = self
        self.children.append(child)

    def unlink(self):
        if self.parent:
            self.parent.children.remove(self)
        self.parent = None

    def is_above(self, other):
        while other and other is not self:
            other = other.parent
        return other is self


def ids(text):
    return re.findall(rb"<[^<>\s]+>", text or b"")


class References:
    """The six steps. A row also has b"REFERENCES", the field as it stands there."""

    def __init__(self, numbers, rows):
        self.rows = rows
        self.place = {number: at for at, number in enumerate(rows)}
        self.nodes = {}  # by message id
        self.all = []
        for number in sorted(numbers, key=self.place.get):
            self.add(number)
        self.root = Node()
        for node in self.all:  # step 2
            if not node.parent:
                self.root.link(node)
        self.prune(self.root)
        self.root.children.sort(key=self.day)
        self.gather()
        self.sort(self.root)

    def node(self, name):
        if name not in self.nodes:
            self.nodes[name] = Node()
            self.all.append(self.nodes[name])
        return self.nodes[name]

    def add(self, number):
        """Step 1."""
        row = self.rows[number]
        name = (ids(row[b"ENVELOPE"][9]) or [None])[0]
        if not name or (name in self.nodes and self.nodes[name].number is not None):
            name = number
        this = self.node(name)
        this.number = number
        before = None
        for reference in ids(row[b"REFERENCES"]) or ids(row[b"ENVELOPE"][8])[:1]:
            node = self.node(reference)
            if before and not node.parent and not node.is_above(before):
                before.link(node)
            before = node
        this.unlink()
        if before and not this.is_above(before):
            before.link(this)

    def prune(self, node):
        """Step 3."""
        for child in list(node.children):
            self.prune(child)
            if child.number is not None:
                continue
            if not child.children:
                child.unlink()
            elif node is not self.root or len(child.children) == 1:
                at = node.children.index(child)
                child.unlink()
                for grandchild in list(child.children):
                    node.link(grandchild)
                    node.children.insert(at, node.children.pop())
                    at += 1

    def day(self, node):
        """Steps 4 and 6."""
        if node.number is None:
            return min(map(self.day, node.children))
        return day_of(self.rows[node.number]), self.place[node.number]

    def subject(self, node):
        if node.number is None:
            node = min(node.children, key=self.day)
        return subject_of(self.rows[node.number][b"ENVELOPE"][1])

    def gather(self):
        """Step 5."""
        table = {}
        for node in self.root.children:
            subject, reply = self.subject(node)
            other = table.get(subject)
            if not subject:
                continue
            if other is None or (other.number is not None and
                                 (node.number is None or (self.subject(other)[1] and not reply))):
                table[subject] = node
        for node in list(self.root.children):
            subject, reply = self.subject(node)
            other = table.get(subject)
            if not subject or other is node:
                continue
            if other.number is None and node.number is None:
                for child in list(node.children):
                    other.link(child)
                node.unlink()
            elif other.number is None or (reply and not self.subject(other)[1]):
                other.link(node)
            else:
                dummy = table[subject] = Node()
                self.root.link(dummy)
                dummy.link(other)
                dummy.link(node)

    def sort(self, node):
        """Step 6."""
        for child in node.children:
            self.sort(child)
        node.children.sort(key=self.day)


def told(node):
    """A thread as the response has it: a chain is flat, siblings are in parentheses."""
    out = [] if node.number is None else [node.number]
    if len(node.children) == 1 and node.number is not None:
        return (*out, *told(node.children[0]))
    return (*out, *map(told, node.children))


def references(numbers, rows):
    return tuple(told(node) for node in References(numbers, rows).root.children)


# --- The logic of SEARCH (RFC 9051 6.4.4) ---------------------------------------------------------------

DAYS = {b"SENTBEFORE": operator.lt, b"SENTON": operator.eq, b"SENTSINCE": operator.ge}


def sent(words, rows):
    """Those of the rows that SENTBEFORE, SENTON or SENTSINCE finds: time and zone do not count."""
    day = datetime.datetime.strptime(words[1].decode(), "%d-%b-%Y").date()
    return {number for number, row in rows.items()
            if DAYS[words[0]](email.utils.parsedate_to_datetime(row[b"ENVELOPE"][0].decode()).date(), day)}


ARGUMENTS = {word: 1 for word in
             b"KEYWORD UNKEYWORD BEFORE ON SINCE SENTBEFORE SENTON SENTSINCE LARGER SMALLER UID OLDER YOUNGER BODY TEXT "
             b"FROM TO CC BCC SUBJECT".split()} | {b"HEADER": 2}


def tokens(parts):
    """Of the parts of a command, [bytes, literal, bytes, ...]: what stands behind the charset."""
    out = []
    for at, part in enumerate(parts):
        if at % 2:
            out.append(part)
            continue
        if not at:
            part = part.partition(b"UTF-8 ")[2]
        out += re.findall(rb"[()]|[^\s()]+", part)
    return out


class Keys:
    """Search keys as a tree of ("and" | "or" | "not", [children]) and ("leaf", words)."""

    def __init__(self, parts):
        self.rest = tokens(parts)
        self.tree = self.some(None)

    def some(self, end):
        out = []
        while self.rest and self.rest[0] != end:
            out.append(self.one())
        return ("and", out)

    def one(self):
        word = self.rest.pop(0)
        if word == b"(":
            tree = self.some(b")")
            self.rest.pop(0)
            return tree
        if word == b"NOT":
            return ("not", [self.one()])
        if word == b"OR":
            return ("or", [self.one(), self.one()])
        count = ARGUMENTS.get(word, 0)
        words, self.rest = [word, *self.rest[:count]], self.rest[count:]
        return ("leaf", words)


def combine(tree, everything, ask):
    """The messages that match; `ask` tells those of one leaf."""
    kind, below = tree
    if kind == "leaf":
        return ask(below)
    sets = [combine(one, everything, ask) for one in below]
    if kind == "not":
        return everything - sets[0]
    return set.union(*sets) if kind == "or" else set.intersection(*sets)
