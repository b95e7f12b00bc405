# SPDX-License-Identifier: GPL-2.0-or-later
"""Budgets: how long functions, files and headers may be, how many parameters, how much is static.

A function over the cap carries '/* long: why */' in the comment above it; a file says it in its
head comment.
"""
import re

import source

FUNCTION_CAP, FILE_CAP, HEADER_CAP, PARAMS_CAP = 70, 800, 200, 5
MEDIAN_CAP, P90_CAP, STATIC_SHARE = 15, 45, 0.60
TREE_MIN = 200  # functions, before shares say anything
EXCEPTION = re.compile(r"long:\s*\w")


def excused(file, function):
    """A comment that ends just above the signature says why."""
    at = function.first - 2
    while at >= 0 and file.lines[at].strip() and not file.code[at].strip():
        if EXCEPTION.search(file.lines[at]):
            return True
        at -= 1
    return False


def check_file(file):
    length = len(file.lines) - 1
    cap = HEADER_CAP if file.path.endswith(".h") else FILE_CAP
    if length > cap and not any(EXCEPTION.search(line) for line in file.lines[:14]):
        yield file.path, 1, f"{length} lines, at most {cap}"
    for f in file.functions:
        if f.lines > FUNCTION_CAP and not excused(file, f):
            yield file.path, f.first, f"{f.name}: {f.lines} lines, at most {FUNCTION_CAP}"
        if len(f.params) > PARAMS_CAP and not excused(file, f):
            yield file.path, f.first, f"{f.name}: {len(f.params)} parameters, at most {PARAMS_CAP}"
        yield from check_gotos(file, f)


def check_gotos(file, f):
    """Forward only, to one label, fail."""
    body = range(f.first - 1, f.last)
    label = next((i for i in body if re.match(r"\s*fail:", file.code[i])), None)
    for i in body:
        match = re.search(r"\bgoto\s+(\w+)", file.code[i])
        if match and (match.group(1) != "fail" or label is None or label < i):
            yield file.path, i + 1, "goto only forward, to one label 'fail'"


def percentile(sorted_numbers, share):
    return sorted_numbers[min(len(sorted_numbers) - 1, int(len(sorted_numbers) * share))]


def check(paths, whole_tree):
    files = [source.load(p) for p in paths if source.is_c(p)]
    for file in files:
        yield from check_file(file)
    functions = [f for file in files if file.layer not in ("tests", None)
                 and file.path.endswith(".c") for f in file.functions]
    if not whole_tree or len(functions) < TREE_MIN:
        return
    lengths = sorted(f.lines for f in functions)
    median, p90 = percentile(lengths, 0.5), percentile(lengths, 0.9)
    static = sum(f.static for f in functions) / len(functions)
    if median > MEDIAN_CAP:
        yield ".", 0, f"functions are too long: median {median} lines, at most {MEDIAN_CAP}"
    if p90 > P90_CAP:
        yield ".", 0, f"functions are too long: p90 {p90} lines, at most {P90_CAP}"
    if static < STATIC_SHARE:
        yield ".", 0, f"{static:.0%} of the functions are static, at least {STATIC_SHARE:.0%}"
