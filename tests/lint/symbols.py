#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""No layer's library needs a symbol that only a layer to its right defines.

	symbols.py BUILD

The include check sees headers; this one sees a prototype written by hand, or a header that lies.
"""
import os
import subprocess
import sys

import source

ORDER = source.LAYERS + ["bench"]


def archive(build, layer):
    """The layer's static library, or None when it is not there yet."""
    path = os.path.join(build, layer, f"lib{os.path.basename(layer)}.a")
    return path if os.path.exists(path) else None


def symbols(path, option):
    out = subprocess.run(["nm", "--format=posix", option, path], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, check=True).stdout
    return {line.split()[0] for line in out.split("\n") if len(line.split()) > 1}


def main():
    build = sys.argv[1]
    libraries = {layer: path for layer in ORDER if (path := archive(build, layer))}
    defined = {layer: symbols(path, "--defined-only") for layer, path in libraries.items()}
    passed = failed = 0
    for layer, path in libraries.items():
        left = source.BENCH_USES if layer == "bench" else ORDER[:ORDER.index(layer)]
        mine = defined[layer].union(*(defined.get(other, set()) for other in left))
        wrong = [(name, other) for name in sorted(symbols(path, "--undefined-only") - mine)
                 for other in libraries if other not in left and name in defined[other]]
        for name, other in wrong:
            print(f"{layer} needs {name} of {other}")
        passed, failed = passed + (not wrong), failed + bool(wrong)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
