/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of errors, and the end of a program whose own promise was broken. */
#include "core/base/base.h"

#include <stdio.h>
#include <stdlib.h>

struct err_row {
	const char *name;
	const char *text;
};

static const struct err_row rows[] = {
#define X(name, text) { #name, text },
	ERR_TABLE(X)
#undef X
};

static const struct err_row *find(enum err err)
{
	static const struct err_row ok = { "OK", "ok" }, unknown = { "?", "unknown error" };
	int at = (int)err - ERR_TABLE_BEFORE_FIRST - 1;

	if (err == OK)
		return &ok;
	return at >= 0 && at < (int)array_len(rows) ? &rows[at] : &unknown;
}

const char *err_name(enum err err)
{
	return find(err)->name;
}

const char *err_text(enum err err)
{
	return find(err)->text;
}

_Noreturn void must_failed(const char *cond, const char *file, int line)
{
	/* The one place of this folder that writes: the process is about to end. */
	fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, cond);
	abort();
}
