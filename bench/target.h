/* SPDX-License-Identifier: GPL-2.0-or-later */
/* target.h - the server that a command talks to, as options.
 *
 * A command embeds target_args in its options and makes a talk_target of them, which is read-only from
 * then on and owns its TLS context. What it points at lies in argv and in the arena. */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "bench/args.h"
#include "bench/talk.h"

struct arena;
struct tls_options;

struct target_args {
	const char *target, *tls, *host, *auth;
};

/* Rows of a command whose options embed target_args as `member`; what --auth is for it says itself. */
/* clang-format off */
#define TARGET_ROWS(type, member)                                                                  \
	{ "target", ARG_STRING, offsetof(type, member.target), 0, 0, "ADDR:PORT",                 \
		"the server; also unix:/path" },                                                   \
	{ "tls", ARG_STRING, offsetof(type, member.tls), 0, 0, "HOW",                             \
		"none (default), starttls, implicit; certificates are not verified" },             \
	{ "host", ARG_STRING, offsetof(type, member.host), 0, 0, "NAME",                          \
		"server name asked for in TLS (default localhost)" }
/* clang-format on */

/* Fills address, TLS and login of *t. False: what is wrong has been said; target_done all the same. */
bool target_set(struct talk_target *t, const struct target_args *args,
	const struct tls_options *options, struct arena *a) must_use;
void target_done(struct talk_target *t);

#endif
