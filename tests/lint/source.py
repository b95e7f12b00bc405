# SPDX-License-Identifier: GPL-2.0-or-later
"""What every check shares: the list of files, their text without comments, the functions in them."""
import functools
import os
import re
import subprocess
from dataclasses import dataclass, field

# Lowest first. A folder may include itself and what stands to its left.
LAYERS = ["core/base", "core", "proto", "store", "relay", "server"]
BENCH_USES = ["core/base", "core", "proto"]

TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


@dataclass
class Function:
    name: str
    first: int  # line of the signature, from 1
    last: int  # line of the closing brace
    static: bool
    params: list = field(default_factory=list)

    @property
    def lines(self):
        return self.last - self.first + 1


class File:
    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8", errors="replace") as f:
            self.text = f.read()
        self.lines = self.text.split("\n")

    @functools.cached_property
    def code(self):
        """Lines with comments and the inside of literals blanked out; numbering is kept."""
        def blank(match):
            text = match.group(0)
            if text[0] in "\"'":
                return text[0] + " " * (len(text) - 2) + text[0]
            return re.sub(r"[^\n]", " ", text)
        return TOKEN.sub(blank, self.text).split("\n")

    @property
    def layer(self):
        return layer_of(self.path)

    @functools.cached_property
    def functions(self):
        """Definitions only. The committed format puts their braces, and no others, in column 0."""
        found, code = [], self.code
        at = 0
        while at < len(code):
            if code[at].rstrip() == "{" and at and is_signature_end(code[at - 1]):
                last = at
                while last < len(code) - 1 and not code[last].startswith("}"):
                    last += 1
                found.append(function_of(code, at, last))
                at = last
            at += 1
        return [f for f in found if f]


def is_signature_end(line):
    return line.rstrip().endswith(")")


def function_of(code, brace, last):
    first = brace - 1
    while first and code[first - 1].strip() and not re.match(r"\s*#|.*[;}]\s*$", code[first - 1]):
        first -= 1
    signature = " ".join(line.strip() for line in code[first:brace])
    signature = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", signature)
    match = re.search(r"(\w+)\s*\((.*)\)\s*$", signature)
    if not match:
        return None
    return Function(match.group(1), first + 1, last + 1, bool(re.match(r"static\b", signature)),
                    split_params(match.group(2)))


def split_params(text):
    params, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            params.append(text[start:i].strip())
            start = i + 1
    params.append(text[start:].strip())
    return [p for p in params if p and p != "void"]


def layer_of(path):
    """The layer a path belongs to, 'bench', 'tests', or None."""
    for name in sorted(LAYERS + ["bench", "tests"], key=len, reverse=True):
        if path.startswith(name + "/"):
            return name
    return None


def tracked():
    """Files under version control, and new ones that are not ignored."""
    out = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"],
                         stdout=subprocess.PIPE, check=True).stdout
    return sorted(p for p in out.decode().split("\0") if p and os.path.isfile(p))


@functools.lru_cache(maxsize=None)
def load(path):
    return File(path)


def is_c(path):
    return path.endswith((".c", ".h"))
