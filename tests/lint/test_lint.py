#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every rule of the lint is shown a file that breaks it, and one that does not."""
import os
import sys
import tempfile

import layers
import shape
import source
import text

SPDX = "/* SPDX-License-Identifier: GPL-2.0-or-later */\n"
HEAD = SPDX + "/* x.c - an example. */\n"
LONG = "static int f(void)\n{\n" + "\tstep();\n" * 80 + "}\n"

# why, path, text, part of the complaint ("": none is expected)
CASES = [
    ("a good file", "core/x.c", HEAD + "static int f(int a)\n{\n\treturn a;\n}\n", ""),
    ("no licence", "core/x.c", "int a;\n", "the first line is not"),
    ("no head comment", "core/x.c", SPDX + "int a;\n", "no head comment"),
    ("left open", "core/x.c", HEAD + "/* TO" "DO: later */\n", "left open"),
    ("space at the end", "core/x.c", HEAD + "int a; \n", "white space"),
    ("banned", "core/x.c", HEAD + "static void f(void)\n{\n\tstrcpy(a, b);\n}\n", "strcpy is banned"),
    ("banned in a comment only", "core/x.c", HEAD + "/* not strcpy(a, b) */\n", ""),
    ("banned in a string only", "core/x.c", HEAD + "static char *a = \"strcpy(\";\n", ""),
    ("long function", "core/x.c", HEAD + LONG, "at most 70"),
    ("long function with a reason", "core/x.c", HEAD + "/* long: one switch */\n" + LONG, ""),
    ("long file", "core/x.c", HEAD + "int a;\n" * 801, "at most 800"),
    ("long header", "core/x.h", HEAD + "int a;\n" * 201, "at most 200"),
    ("many parameters", "core/x.c",
     HEAD + "int f(int a, char *b, int c, char *d, int e, char *g)\n{\n}\n", "6 parameters"),
    ("backward goto", "core/x.c",
     HEAD + "static void f(void)\n{\nfail:\n\tx();\n\tgoto fail;\n}\n", "goto only forward"),
    ("other label", "core/x.c",
     HEAD + "static void f(void)\n{\n\tgoto out;\nout:\n\tx();\n}\n", "goto only forward"),
    ("forward goto", "core/x.c",
     HEAD + "static void f(void)\n{\n\tgoto fail;\nfail:\n\tx();\n}\n", ""),
    ("to the left", "relay/x.c", HEAD + '#include "core/base/known.h"\n', ""),
    ("to the right", "core/x.c", HEAD + '#include "relay/known.h"\n', "core may not include relay"),
    ("base to core", "core/base/x.c", HEAD + '#include "core/known.h"\n', "may not include core"),
    ("bench to store", "bench/x.c", HEAD + '#include "store/known.h"\n', "may not include store"),
    ("not from the root", "core/x.c", HEAD + '#include "known.h"\n', "not a path from the source"),
    ("lmdb outside", "store/queue.c", HEAD + "#include <lmdb.h>\n", "store/index*.c alone"),
    ("lmdb at home", "store/index_write.c", HEAD + "#include <lmdb.h>\n", ""),
    ("private header", "core/other.c", HEAD + '#include "core/part_int.h"\n', "does not name"),
    ("private header at home", "core/part_b.c", HEAD + '#include "core/part_int.h"\n', ""),
    ("private header of a friend", "core/friend.c", HEAD + '#include "core/part_int.h"\n', ""),
    ("private header of the folder", "core/other.c", HEAD + '#include "core/core_int.h"\n', ""),
    ("private header in a test", "tests/core/x.c", HEAD + '#include "core/part_int.h"\n', ""),
    ("socket in proto", "proto/x.c", HEAD + "#include <sys/socket.h>\n", "no input or output"),
    ("clock in proto", "proto/x.c", HEAD + "static long f(void)\n{\n\treturn time(NULL);\n}\n",
     "does not call time"),
    ("protocol word in store", "store/x.c", HEAD + "static int smtp_state;\n", "store knows no"),
    ("unlisted fuzzer", "tests/fuzz/fuzz_x.c", HEAD, "not listed"),
]
OTHERS = {
    "core/base/known.h": HEAD, "core/known.h": HEAD, "store/known.h": HEAD, "relay/known.h": HEAD,
    "core/part_int.h": SPDX + "/* part_int.h - for part_*.c and friend.c alone. */\n",
    "core/core_int.h": HEAD,
    "tests/fuzz/meson.build": "fuzzers = {\n}\n",
}


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(content)


def complaints(path, content):
    source.load.cache_clear()
    write(path, content)
    found = [what for check in (text, layers, shape) for _, _, what in check.check([path], False)]
    found += [what for _, _, what in text.check_fuzzers([path])]
    os.unlink(path)
    return found


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for path, content in OTHERS.items():
            write(path, content)
        for why, path, content, part in CASES:
            found = complaints(path, content)
            good = any(part in what for what in found) if part else not found
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f"{why}: wanted {part or 'nothing'!r}, got {found}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
