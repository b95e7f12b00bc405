# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may include whom: only folders to the left, and what each layer never touches."""
import os
import re

import source

INCLUDE = re.compile(r"\s*#\s*include\s*([<\"])([^>\"]+)[>\"]")

# Library layers do no input or output and read no clock.
PURE = ("core/base", "proto")
PURE_NO_HEADER = re.compile(r"^(sys/(socket|epoll|stat|mman|time|file)|unistd|fcntl|poll|dirent"
                            r"|liburing|pthread|ftw)\.h$|^liburing/")
PURE_NO_CALL = re.compile(r"\b(clock_gettime|gettimeofday|time|open|openat|socket|fopen|getenv"
                          r"|localtime|syslog)\s*\(")
# Words that would show a layer knowing too much.
FOREIGN_WORDS = {
    "store": re.compile(r"\b\w*(?:smtp|lmtp|imap|pop3|jmap)\w*\b", re.I),
    "core": re.compile(r"\b\w*mail\w*\b", re.I),
}


def allowed(layer):
    if layer == "bench":
        return source.BENCH_USES + ["bench"]
    if layer in source.LAYERS:
        return source.LAYERS[:source.LAYERS.index(layer) + 1]
    return source.LAYERS + ["bench", "tests"]


def check_quoted(file, name):
    """What is wrong with an include of our own header, or None."""
    target = source.layer_of(name)
    if target is None or not os.path.isfile(name):
        return f'"{name}" is not a path from the source root'
    if target not in allowed(file.layer):
        return f"{file.layer} may not include {target}"
    if name.endswith("_int.h") and not shares_module(file, name):
        return f'"{name}" does not name this file among those that may include it'
    return None


def shares_module(file, header):
    """A module's private header is for files of the same name and those its head comment names, in
    the same folder; <folder>_int.h is for the whole folder. The tests of a folder may look inside."""
    folder, name = os.path.split(header)
    if file.path.startswith("tests/"):
        return True
    if folder != os.path.dirname(file.path):
        return False
    user = re.match(r"[a-z0-9]+", os.path.basename(file.path)).group(0)
    module = name[:-len("_int.h")]
    if module == os.path.basename(folder):
        return True
    head = source.load(header).text.split("*/", 2)[1]
    return os.path.basename(file.path).startswith(module) or bool(re.search(rf"\b{user}", head))


def check_system(file, name):
    if name == "lmdb.h" and not re.match(r"store/index\w*\.c$|store/index\w*_int\.h$|tests/store/", file.path):
        return "lmdb.h is included by store/index*.c alone"
    if file.layer in PURE and PURE_NO_HEADER.match(name):
        return f"{file.layer} does no input or output: <{name}>"
    return None


def check_file(file):
    words = FOREIGN_WORDS.get(file.layer)
    for number, line in enumerate(file.lines, 1):
        match = INCLUDE.match(line)
        if match:
            rule = check_quoted if match.group(1) == '"' else check_system
            what = rule(file, match.group(2))
            if what:
                yield file.path, number, what
            continue
        code = file.code[number - 1]
        if words and (word := words.search(code)):
            yield file.path, number, f"{file.layer} knows no {word.group(0)}"
        if file.layer in PURE and (call := PURE_NO_CALL.search(code)):
            yield file.path, number, f"{file.layer} does not call {call.group(1)}"


def check(paths, whole_tree):
    for path in paths:
        if source.is_c(path) and source.layer_of(path):
            yield from check_file(source.load(path))
