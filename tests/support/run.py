#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one test program, count its tests, and fail it on any sanitizer report.

Criterion prints a leak that the sanitizer finds at the exit of a test's process, but calls the test
passed; so the output is read here. The last line printed is 'N passed, N failed, N skipped'. A
program that ran nothing, or whose exit status and counts disagree, has failed.
"""
import re
import resource
import subprocess
import sys

REPORT = re.compile(rb"ERROR: (Leak|Address|Undefined\w*|Thread)Sanitizer|WARNING: ThreadSanitizer"
                    rb"|: runtime error: |AddressSanitizer:DEADLYSIGNAL")
CRITERION = re.compile(rb"\[====\] Synthesis: Tested: (\d+) \| Passing: (\d+) ")
PLAIN = re.compile(rb"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*")
SKIP = 77  # Meson's exit status for a test that could not run here


class Count:
    def __init__(self):
        self.seen = [0, 0, 0]
        self.plain = None
        self.reports = 0

    def line(self, line):
        """Look at one line of output."""
        if REPORT.search(line):
            self.reports += 1
        if line.startswith(b"ok "):
            self.seen[2 if b"# SKIP" in line.upper() else 0] += 1
        elif line.startswith(b"not ok "):
            self.seen[1] += 1
        elif line.startswith(b"[SKIP]"):
            self.seen[2] += 1
        elif match := CRITERION.search(line):
            tested, passed = map(int, match.groups())
            self.seen[0] += passed
            self.seen[1] += tested - passed
        elif match := PLAIN.fullmatch(line):
            self.plain = [int(n or 0) for n in match.groups()]

    def total(self, status):
        """Passed, failed, skipped; `status` is the program's exit status."""
        passed, failed, skipped = self.plain or self.seen
        if status == SKIP and not passed + failed + skipped:
            return 0, 0, 1
        failed += self.reports
        if not failed and (status or not passed + skipped):
            failed = 1
        return passed, failed, skipped


def main():
    # A test may expect its process to abort; a core file of a sanitized program is huge.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    count = Count()
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    for line in child.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        count.line(line)
    status = child.wait()
    passed, failed, skipped = count.total(status)
    if status < 0:
        print(f"ended by signal {-status}")
    if count.reports:
        print(f"{count.reports} sanitizer report(s), counted as failures")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    if failed:
        return 1
    return SKIP if status == SKIP else 0


if __name__ == "__main__":
    sys.exit(main())
