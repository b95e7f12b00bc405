# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks that ask a tool: the committed format, and headers that compile alone."""
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import source

FORMAT_LINE = re.compile(r"(.+?):(\d+):\d+: (?:error|warning): code should be clang-formatted")


def check_format(paths):
    """Only the first place of each file: ./dev format mends them all."""
    paths = [p for p in paths if source.is_c(p)]
    if not paths:
        return
    run = subprocess.run(["clang-format", "--dry-run", "--ferror-limit=1", *paths],
                         stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for match in FORMAT_LINE.finditer(run.stderr):
        yield match.group(1), int(match.group(2)), "not formatted (./dev format)"


def compile_alone(path, flags):
    run = subprocess.run(["gcc", "-fsyntax-only", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                          "-Wno-unused-parameter", "-Wno-unused-function", "-Werror", *flags,
                          "-iquote", ".", "-x", "c", "-"],
                         input=f'#include "{path}"\n', stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    if run.returncode == 0:
        return None
    first = next((line for line in run.stderr.split("\n") if "error:" in line), run.stderr)
    return path, 1, "does not compile alone: " + first.strip()


def check_headers(paths):
    prefix = subprocess.run(["tools/wolfssl.sh", "--cached"], stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    flags = ["-isystem", prefix + "/include"] if prefix else []
    headers = [p for p in paths if p.endswith(".h") and source.layer_of(p)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for complaint in pool.map(lambda p: compile_alone(p, flags), headers):
            if complaint:
                yield complaint


def check(paths, whole_tree):
    yield from check_format(paths)
    yield from check_headers(paths)
