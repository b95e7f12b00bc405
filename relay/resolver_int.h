/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resolver_int.h - what resolver.c (questions) and resolver_mx.c (mail's use of them) share.
 *
 * Two questions may be asked side by side: start both, then wait for both. A question lives on the
 * stack of the fiber that waits for it. */
#ifndef RELAY_RESOLVER_INT_H
#define RELAY_RESOLVER_INT_H

#include "core/fiber.h"
#include "relay/resolver.h"

struct ub_result;

struct question {
	struct list_link link; /* among the resolver's */
	struct fiber_wait wait;
	struct resolver *resolver;
	struct ub_result *result;
	struct resolver_rdata *out; /* answered by the hook */
	struct arena *arena;
	enum err err;
	int async_id;
	bool pending;
};

/* The name is ASCII without a final dot. */
void resolver_ask(struct resolver *r, slice name, int rrtype, struct question *q);
/* Takes the answer; must follow every resolver_ask. */
enum err resolver_await(struct question *q, struct resolver_rdata *out) must_use;

const struct resolver_options *resolver_options_of(const struct resolver *r);

#endif
