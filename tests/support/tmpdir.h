/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tmpdir.h - a folder of its own for every test.
 *
 * The path lives in the caller's struct. Made under $TMPDIR or /tmp; the name is unique, so tests run
 * side by side. Cannot fail: a machine without room for tests ends the test by must(). */
#ifndef TESTS_SUPPORT_TMPDIR_H
#define TESTS_SUPPORT_TMPDIR_H

#include "core/base/base.h"

struct tmpdir {
	char path[256];
};

void tmpdir_make(struct tmpdir *d);
/* Remove it with all that is in it. */
void tmpdir_remove(struct tmpdir *d);
/* "<folder>/<name>" written into buf, which is returned. */
const char *tmpdir_file(const struct tmpdir *d, const char *name, char *buf, size_t size);

#endif
