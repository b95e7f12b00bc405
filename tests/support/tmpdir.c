/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tmpdir.c - makes and removes the folders of tests. Follows no symbolic link when removing. */
#include "tests/support/tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void tmpdir_make(struct tmpdir *d)
{
	const char *base = getenv("TMPDIR");
	int len = snprintf(d->path, sizeof d->path, "%s/ringpost-test-XXXXXX",
		base && *base ? base : "/tmp");
	must(len > 0 && (size_t)len < sizeof d->path);
	must(mkdtemp(d->path));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)remove(path);
	return 0;
}

void tmpdir_remove(struct tmpdir *d)
{
	if (d->path[0])
		nftw(d->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	d->path[0] = '\0';
}

const char *tmpdir_file(const struct tmpdir *d, const char *name, char *buf, size_t size)
{
	int len = snprintf(buf, size, "%s/%s", d->path, name);
	must(len > 0 && (size_t)len < size);
	return buf;
}
