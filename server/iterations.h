/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iterations.h - which SCRAM iteration count a name that does not exist answers with.
 *
 * An account keeps the count of the day its password was set, so after a change of the option a name
 * that answers with the old one would be known to exist, if made-up names all used the new. They
 * take theirs from the history of the option instead: a new count is taken up by single names, each at
 * a moment of its own over half a year, until half of all have it; the rest stay with what they had.
 * That is how accounts behave whose owners now and then set a password. Pure; the caller locks. */
#ifndef SERVER_ITERATIONS_H
#define SERVER_ITERATIONS_H

#include "core/base/base.h"

enum { ITERATIONS_MAX = 8 };

struct iterations {
	unsigned count;
	struct {
		uint32_t value;
		wall_ms since;
	} rows[ITERATIONS_MAX]; /* oldest first */
};

/* The option is `value` now. False: that was known already. A full history forgets its oldest. */
bool iterations_note(struct iterations *h, uint32_t value, wall_ms now);
/* At least one was noted. `secret` makes what a name gets nobody's guess. */
uint32_t iterations_of(const struct iterations *h, slice secret, slice name, wall_ms now);

/* As text, "10000@1700000000000 ..."; the inverse is false for anything else. */
void iterations_put(const struct iterations *h, struct out *o);
bool iterations_parse(slice text, struct iterations *out) must_use;

#endif
