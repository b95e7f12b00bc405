#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run Meson's tests in build folders, show each suite's time, sum up what the programs counted.

	suites.py BUILD [SUITE...] [+ BUILD TEST...]

Behind the '+' stands a second build folder, with the names of its tests to run. Each program runs
inside run.py, whose closing line is read back from Meson's log. The last line is
'N passed, N failed, N skipped'; the exit status is non-zero on any failure, and when nothing ran.
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


def run_build(build, selection, label=""):
    """Run and return a list of (suite, counts, seconds); a build that cannot run is one failure."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    status, said = run_meson(["meson", "test", "-C", build, *selection])
    rows = []
    if os.path.exists(log):
        with open(log, encoding="utf-8") as lines:
            for test in map(json.loads, lines):
                row = counts(test)
                suite = test["name"].split(":")[-1].split(" / ")[0].strip()
                rows.append((label + suite, row, test["duration"]))
                if row[1]:
                    show_failure(test)
    failed = sum(row[1] for _, row, _ in rows)
    if not rows or (status and not failed):
        print(said[-3000:])
        rows.append((label + "build", (0, 1, 0), 0.0))
    return rows


def show_table(rows):
    print(f"\n{'suite':<14}{'programs':>9}{'passed':>9}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name in sorted({name for name, _, _ in rows}):
        mine = [(row, seconds) for other, row, seconds in rows if other == name]
        passed, failed, skipped = (sum(row[i] for row, _ in mine) for i in range(3))
        print(f"{name:<14}{len(mine):>9}{passed:>9}{failed:>8}{skipped:>9}"
              f"{sum(seconds for _, seconds in mine):>9.1f}")


def main():
    args = sys.argv[1:]
    plus = args.index("+") if "+" in args else len(args)
    first, second = args[:plus], args[plus + 1:]
    selection = ["--no-rebuild"]
    for suite in first[1:]:
        selection += ["--suite", suite]
    rows = run_build(first[0], selection)
    if second:
        rows += run_build(second[0], second[1:], "tsan-")
    show_table(rows)
    passed, failed, skipped = (sum(row[i] for _, row, _ in rows) for i in range(3))
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
