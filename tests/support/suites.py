#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run Meson's tests in a build folder, show each suite's time, sum up what the programs counted.

	suites.py BUILD [SUITE...]

Each program runs inside run.py, whose closing line is read back from Meson's log. The last line
is 'N passed, N failed, N skipped'; the exit status is non-zero on any failure, and when nothing ran.
"""
import json
import os
import re
import subprocess
import sys

CLOSING = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
ENDED = re.compile(r"\s*\d+/\d+ ")
OUTPUT_LINES = 80  # shown of a program that failed


def counts(test):
    """Passed, failed, skipped of one program; one without a closing line was ended from outside."""
    closing = CLOSING.findall(test.get("stdout") or "")
    if not closing:
        return 0, 1, 0
    passed, failed, skipped = map(int, closing[-1])
    if test["result"] not in ("OK", "SKIP") and not failed:
        failed = 1
    return passed, failed, skipped


def show_failure(test):
    text = (test.get("stdout") or "") + (test.get("stderr") or "")
    lines = text.rstrip().split("\n")
    print(f"\n--- {test['name']}: {test['result']} after {test['duration']:.1f} s")
    print("\n".join(lines[-OUTPUT_LINES:]))


def run_meson(command):
    """Meson's exit status and output; each program's line is shown as it ends."""
    said = []
    meson = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    for line in meson.stdout:
        said.append(line)
        if ENDED.match(line):
            print(line.rstrip(), flush=True)
    return meson.wait(), "".join(said)


def main():
    build, suites = sys.argv[1], sys.argv[2:]
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    command = ["meson", "test", "-C", build, "--no-rebuild"]
    for suite in suites:
        command += ["--suite", suite]
    status, said = run_meson(command)
    if not os.path.exists(log):
        print(said)
        print("0 passed, 1 failed, 0 skipped")
        return 1

    total, by_suite = [0, 0, 0], {}
    with open(log, encoding="utf-8") as lines:
        for test in map(json.loads, lines):
            row = counts(test)
            name = test["name"].split(":")[-1].split(" / ")[0].strip()
            entry = by_suite.setdefault(name, [0, 0, 0, 0.0, 0])
            for i in range(3):
                entry[i] += row[i]
                total[i] += row[i]
            entry[3] += test["duration"]
            entry[4] += 1
            if row[1]:
                show_failure(test)

    print(f"\n{'suite':<12}{'programs':>9}{'passed':>9}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name, (passed, failed, skipped, seconds, programs) in sorted(by_suite.items()):
        print(f"{name:<12}{programs:>9}{passed:>9}{failed:>8}{skipped:>9}{seconds:>9.1f}")
    if (status and not total[1]) or not total[0]:
        total[1] += 1
        print(said[-3000:])
    print("{} passed, {} failed, {} skipped".format(*total), flush=True)
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
