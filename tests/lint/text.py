# SPDX-License-Identifier: GPL-2.0-or-later
"""Licence line, head comment, banned functions, nothing left open, fuzzers listed with seeds."""
import os
import re

import source

SPDX = "SPDX-License-Identifier: GPL-2.0-or-later"
BANNED = re.compile(r"\b(strcpy|stpcpy|strcat|strncat|sprintf|vsprintf|strtok|gets|atoi|atol|alloca"
                    r"|setjmp)\s*\(")
OPEN_ENDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
HEAD_MAX = 12  # lines of a .c file's head comment; a header may need more


def is_source(path):
    name = os.path.basename(path)
    return name.endswith((".c", ".h", ".py", ".sh", ".ts")) or name in (
        "meson.build", "meson_options.txt", "dev") or path == ".ci/run"


def check_head(file):
    """The comment under the licence line says what the file owns."""
    if len(file.lines) < 2 or not file.lines[1].startswith("/* "):
        yield file.path, 2, "no head comment below the licence line"
        return
    end = next((i for i, line in enumerate(file.lines) if i and "*/" in line), 0)
    if file.path.endswith(".c") and end > HEAD_MAX:
        yield file.path, 2, f"head comment of {end} lines, at most {HEAD_MAX}"


def check_file(file):
    lines = file.lines
    if not any(SPDX in line for line in lines[:2]):
        yield file.path, 1, f"the first line is not {SPDX}"
    elif source.is_c(file.path):
        yield from check_head(file)
    for number, line in enumerate(lines, 1):
        if OPEN_ENDS.search(line) and not file.path.startswith("tests/lint/"):
            yield file.path, number, "left open: " + OPEN_ENDS.search(line).group(0)
        if line != line.rstrip():
            yield file.path, number, "white space at the end of the line"
        if source.is_c(file.path) and (call := BANNED.search(file.code[number - 1])):
            yield file.path, number, f"{call.group(1)} is banned"


def check_fuzzers(paths):
    """Each fuzzer stands in the list of its meson.build and has seeds."""
    listed = set(re.findall(r"^\s*'(\w+)'\s*:", source.load("tests/fuzz/meson.build").text, re.M))
    for path in paths:
        match = re.fullmatch(r"tests/fuzz/fuzz_(\w+)\.c", path)
        if not match:
            continue
        name = match.group(1)
        if name not in listed:
            yield path, 1, "not listed in tests/fuzz/meson.build"
        if not any(p.startswith(f"tests/fuzz/corpus/{name}/") for p in paths):
            yield path, 1, f"no seeds in tests/fuzz/corpus/{name}/"
    for name in sorted(listed):
        if f"tests/fuzz/fuzz_{name}.c" not in paths:
            yield "tests/fuzz/meson.build", 1, f"fuzz_{name}.c is missing"


def check(paths, whole_tree):
    for path in paths:
        if is_source(path):
            yield from check_file(source.load(path))
    if whole_tree:
        yield from check_fuzzers(paths)
