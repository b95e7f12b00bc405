#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one test program, count its tests, and fail it on any sanitizer report.

Criterion prints a leak that the sanitizer finds at the exit of a test's process, but calls the test
passed; so the output is read here. The last line printed is 'N passed, N failed, N skipped'. A
program that ran nothing, or whose exit status and counts disagree, has failed.

Criterion forks for each test while its own thread for messages may be in malloc. Debian's sanitizer library does
not hold its locks over a fork, so now and then (one program of a hundred on some machines) the child waits for ever
for a lock whose owner it has not got. No test has begun in it: the program is started anew, and that is said.
"""
import glob
import os
import re
import resource
import subprocess
import sys
import threading

REPORT = re.compile(rb"ERROR: (Leak|Address|Undefined\w*|Thread)Sanitizer|WARNING: ThreadSanitizer"
                    rb"|: runtime error: |AddressSanitizer:DEADLYSIGNAL")
CRITERION = re.compile(rb"\[====\] Synthesis: Tested: (\d+) \| Passing: (\d+) ")
PLAIN = re.compile(rb"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*")
SKIP = 77  # Meson's exit status for a test that could not run here
PATIENCE = float(os.environ.get("RUN_PATIENCE", 20))  # seconds
TRIES = 5


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


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:  # the process has ended
        return b""


def age(pid):
    """Seconds since the process began."""
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if not fields:
        return 0
    return float(read("/proc/uptime").split()[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def stuck_child(pid):
    """A child that Criterion has forked and that has not become the test, which takes milliseconds; or None."""
    if b"libcriterion" not in read(f"/proc/{pid}/maps"):
        return None
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        for child in map(int, read(task).split()):
            if read(f"/proc/{child}/cmdline") == read(f"/proc/{pid}/cmdline") and age(child) > PATIENCE:
                return child
    return None


def watch(program, ended, stuck):
    """Ends a program that got stuck so, and notes it."""
    while not ended.wait(min(1, PATIENCE)):
        child = stuck_child(program.pid)
        if child:
            stuck.append(child)
            os.kill(child, 9)
            program.kill()


def run_once(count):
    """The exit status; None: it got stuck before a test began."""
    stuck, ended = [], threading.Event()
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    watcher = threading.Thread(target=watch, args=(program, ended, stuck))
    watcher.start()
    for line in program.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        count.line(line)
    status = program.wait()
    ended.set()
    watcher.join()
    return None if stuck else status


def main():
    # A test may expect its process to abort; a core file of a sanitized program is huge.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _ in range(TRIES):
        count = Count()
        status = run_once(count)
        if status is not None:
            break
        print("stuck in a fork, before a test began: started anew", flush=True)
    else:
        status = 1
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
