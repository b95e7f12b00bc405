#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The house rules, as 'file:line: what'. With no argument the whole tree, else the named files.

Exit status 1 when there is any complaint.
"""
import os
import sys
import time

import compiled
import layers
import shape
import source
import text

CHECKS = [text, layers, shape, compiled]


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    start = time.monotonic()
    named = [os.path.normpath(p) for p in sys.argv[1:]]
    paths = named or source.tracked()
    complaints = sorted(set(c for check in CHECKS for c in check.check(paths, not named)))
    for path, line, what in complaints:
        print(f"{path}:{line}: {what}")
    print(f"lint: {len(paths)} files, {len(complaints)} complaints, "
          f"{time.monotonic() - start:.1f} s")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
