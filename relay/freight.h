/* SPDX-License-Identifier: GPL-2.0-or-later */
/* freight.h - the bytes of one transaction: signatures, then the message, converted if need be.
 *
 * freight_load looks at what the hop can do, converts on paper (two passes over the stored body,
 * nothing kept), makes the signatures over what will leave, and knows the size if it is known.
 * freight_next then streams, a bounded piece at a time. Fiber calls; memory is the caller's arena
 * plus one buffer. */
#ifndef RELAY_FREIGHT_H
#define RELAY_FREIGHT_H

#include "proto/mime/recode.h"
#include "proto/smtp/reply.h"
#include "relay/relay_int.h"
#include "store/blob.h"

struct freight {
	struct relay_here *r;
	struct message *m;
	struct arena *arena;
	slice head; /* signature fields */
	struct recode_hop hop;
	struct recode_scan scan;
	struct recode_run run;
	struct blob_reader reader;
	struct out made; /* converted bytes not yet given out */
	void *buf;
	size_t buf_cap;
	uint64_t bytes; /* exactly, or SMTP_BODY_UNKNOWN */
	bool convert, scanned, running, head_given, ended;
};

struct freight_hop {
	const struct smtp_caps *caps;
	bool lmtp;
};

/* OK. Otherwise it cannot go there: `why` says so, and *out is the outcome for all recipients
 * (failed, held, or deferred when the store failed). */
enum err freight_load(struct freight *f, struct freight_hop hop, struct reason *why,
	enum outcome *out) must_use;
/* What an error of freight_next means for all recipients: held when the body is damaged. */
enum outcome freight_trouble(enum err err, struct reason *why);
/* The next piece, valid until the next call; empty at the end. */
enum err freight_next(struct freight *f, slice *out) must_use;
/* Harmless when nothing was loaded. */
void freight_done(struct freight *f);

#endif
