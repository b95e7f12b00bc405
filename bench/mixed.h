/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mixed.h - what the generators of mailboxes share: a mix of commands, run as one of many users.
 *
 * A generator embeds mixed_args in its options and mixed in its plan, which is read-only while it
 * runs. User number n belongs to the n-th connection opened, so users are spread evenly. */
#ifndef BENCH_MIXED_H
#define BENCH_MIXED_H

#include "bench/load.h"
#include "bench/mix.h"

struct mixed_args {
	const char *mix;
	uint64_t users;
};

struct mixed {
	const struct mixed_args *args;
	struct mix mix;
};

/* Rows of a command whose options embed load_args as `load` and mixed_args as `mixed`. */
/* clang-format off */
#define MIXED_ROWS(type, load, mixed, mechanisms, names)                                           \
	{ "auth", ARG_STRING, offsetof(type, load.to.auth), 0, 0, "USER:PASSWORD",                   \
		"log in; %d is the number of the connection, in order of opening, modulo --users" }, \
	{ "users", ARG_COUNT, offsetof(type, mixed.users), 1, 0, "N", "for %d (default 1)" },     \
	{ "mechanism", ARG_STRING, offsetof(type, load.mechanism), 0, 0, "NAME", mechanisms },    \
	{ "mix", ARG_STRING, offsetof(type, mixed.mix), 0, 0, "NAME=WEIGHT,...", names }
/* clang-format on */

/* Fills the plan and *load. A login is wanted, by `own`, the protocol's way, or by PLAIN. False: what
 * is wrong has been said. */
bool mixed_set_up(struct mixed *m, struct load *load, const struct load_args *args,
	const struct mix_names *names, const char *own) must_use;

/* Runs, watches and reports; an exit status. The title says how, with `more` behind it. */
int mixed_run(const struct mixed *m, struct load *load, const struct load_args *args,
	const char *more);

/* A pattern with %d, as user number `user`. */
slice mixed_expand(const struct mixed *m, const char *pattern, uint64_t user,
	char buf[LOAD_ADDRESS_MAX]);
/* The name to log in with. */
slice mixed_user(const struct mixed *m, const struct load_sender *s, uint64_t user,
	char buf[LOAD_ADDRESS_MAX]);

/* A task of this part of the mix was done; `cost` is of its answers. */
void mixed_count(struct load_sender *s, size_t part, const struct load_task *task,
	const struct talk_cost *cost);

#endif
