/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_canon.h - the two canonical forms of DKIM, hashed while the bytes go by (RFC 6376 3.4).
 *
 * A body context is plain memory, needs no end call and may be copied. It takes the body in pieces
 * of any size, on the wire's form (CRLF, no dot-stuffing), and hands runs that need no change
 * straight to the hash. Nothing here fails. */
#ifndef PROTO_MAILAUTH_DKIM_CANON_H
#define PROTO_MAILAUTH_DKIM_CANON_H

#include "core/base/crypt.h"

enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };

enum { DKIM_HASH = SHA256_BYTES };

struct dkim_body {
	struct sha256 hash;
	uint64_t bytes; /* of the canonical form, after dkim_body_end */
	/* private */
	uint64_t room; /* what l= still lets through */
	uint64_t held; /* bytes of CRLFCRLF... that may turn out to be the end */
	enum dkim_canon canon;
	bool blank;    /* blanks seen, not yet known to stand inside a line */
	bool blank_cr; /* and a CR behind them */
	void (*sink)(void *arg, slice bytes); /* for tests: gets what the hash gets */
	void *sink_arg;
};

void dkim_body_init(struct dkim_body *b, enum dkim_canon canon);
/* Verifying a signature with l=: only so many canonical bytes count. Right after init. */
void dkim_body_limit(struct dkim_body *b, uint64_t bytes);
void dkim_body_add(struct dkim_body *b, slice piece);
void dkim_body_end(struct dkim_body *b, unsigned char out[DKIM_HASH]);

/* One header field, CRLF at its end included unless `bare` (the signature's own field). `field` is
 * the whole field with name, colon and folding; its last line end may be missing. */
void dkim_canon_field(enum dkim_canon canon, slice field, bool bare, struct out *o);

/* A writer whose bytes end in a hash: for dkim_canon_field and the like. */
struct dkim_hasher {
	struct sha256 hash;
	struct out out;
	char buf[1024];
};
void dkim_hasher_init(struct dkim_hasher *h);
/* Hand over what still stands in the buffer: before h->hash is copied or ended. */
void dkim_hasher_flush(struct dkim_hasher *h);

#endif
