#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner must call a failure a failure: small programs with known outcomes go through it."""
import os
import subprocess
import sys
import tempfile

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py")

# why, program text, exit status, closing line
CASES = [
    ("tap is counted", "print('ok - a::b  (0.00s)\\nok - c::d # SKIP x\\nok - e')",
     0, "2 passed, 0 failed, 1 skipped"),
    ("tap failure though the exit status is 0", "print('ok - a\\nnot ok - b')",
     1, "1 passed, 1 failed, 0 skipped"),
    ("criterion's own line", "print('[SKIP] a::c: no\\n[====] Synthesis: Tested: 4 | Passing: 3 |"
     " Failing: 1 | Crashing: 1 ')", 1, "3 passed, 1 failed, 1 skipped"),
    ("plain line is counted", "print('3 passed, 0 failed, 2 skipped')",
     0, "3 passed, 0 failed, 2 skipped"),
    ("plain failure", "print('3 passed, 1 failed, 0 skipped')",
     1, "3 passed, 1 failed, 0 skipped"),
    ("bad exit status after good tests", "import sys; print('ok - a'); sys.exit(3)",
     1, "1 passed, 1 failed, 0 skipped"),
    ("nothing ran", "print('hello')", 1, "0 passed, 1 failed, 0 skipped"),
    ("skipped as a whole", "import sys; sys.exit(77)", 77, "0 passed, 0 failed, 1 skipped"),
    ("killed", "import os; print('ok - a', flush=True); os.abort()",
     1, "1 passed, 1 failed, 0 skipped"),
    ("a leak at exit", "print('ok - a\\n==7==ERROR: LeakSanitizer: detected memory leaks')",
     1, "1 passed, 1 failed, 0 skipped"),
    ("undefined behaviour", "print('ok - a\\nx.c:3:4: runtime error: signed integer overflow')",
     1, "1 passed, 1 failed, 0 skipped"),
    ("a race", "print('ok - a\\nWARNING: ThreadSanitizer: data race')",
     1, "1 passed, 1 failed, 0 skipped"),
]

# A child that is no test yet, as Criterion's; the first time only, or always.
STUCK = """
import ctypes, os, sys, time
ctypes.CDLL("libcriterion.so.3")
if sys.argv[1] == "-" or not os.path.exists(sys.argv[1]):
    if sys.argv[1] != "-":
        open(sys.argv[1], "w").close()
    print("not ok - a half run", flush=True)
    if os.fork() == 0:
        time.sleep(1000)
    os.wait()
print("ok - a")
"""


def stuck():
    """How often the two go wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for mark, status, closing in ((os.path.join(folder, "mark"), 0, "1 passed, 0 failed, 0 skipped"),
                                      ("-", 1, "0 passed, 1 failed, 0 skipped")):
            run = subprocess.run([RUNNER, sys.executable, "-c", STUCK, mark], text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, env={**os.environ, "RUN_PATIENCE": "0.3"})
            last = run.stdout.rstrip().split("\n")[-1]
            if (run.returncode, last) != (status, closing) or "started anew" not in run.stdout:
                wrong += 1
                print(f"stuck in a fork: exit {run.returncode}, not {status}; or not '{closing}'")
    return wrong


def main():
    passed = 2
    failed = stuck()
    passed -= failed
    for why, program, status, closing in CASES:
        run = subprocess.run([RUNNER, sys.executable, "-c", program], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        last = run.stdout.rstrip().split("\n")[-1]
        if (run.returncode, last) == (status, closing):
            passed += 1
        else:
            failed += 1
            # Not the output itself: the runner around this test reads it too.
            print(f"{why}: exit {run.returncode}, not {status}; or not '{closing}'")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
