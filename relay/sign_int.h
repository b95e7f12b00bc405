/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sign_int.h - the signing that freight.c does, in two steps around the body hash.
 *
 * sign_pick looks for keys by the From: domain, also when signing is off: a domain may require it.
 * sign_make waits for the batch. What they return lives in the arena. For sign.c, freight.c and
 * relay.c only. */
#ifndef RELAY_SIGN_INT_H
#define RELAY_SIGN_INT_H

#include "relay/relay_int.h"

struct sign_key;

struct sign_choice {
	slice domain;
	struct sign_key **keys;
	size_t count; /* 0: nothing to sign with, and that is all right */
};

/* Nothing is chosen when relay.dkim.sign is off. ERR_HELD: the domain wants its mail signed and no key
 * is usable, or none may be used. */
enum err sign_pick(struct relay_here *r, slice header, struct arena *a,
	struct sign_choice *out) must_use;
/* (fiber) Whole fields, one per key. ERR_HELD: none could be made. */
struct sign_bytes {
	slice header;
	const unsigned char *body_hash;
};
enum err sign_make(struct relay_here *r, const struct sign_choice *choice,
	const struct sign_bytes *bytes, struct arena *a, slice *out) must_use;

struct sign_ring *sign_ring_new(void);
void sign_ring_free(struct sign_ring *ring);

#endif
