/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_verify.h - check the DKIM signatures of a message that is fed once (RFC 6376 6).
 *
 * Order: init, header, body pieces, body_end; then for each signature fetch the key record named by
 * dkim_verify_query and hand it to dkim_verify_key, which settles it. Signatures beyond the limit are
 * not looked at (a message with hundreds is an attack). The header block and the arena must outlive
 * the verifier; it owns nothing itself. */
#ifndef PROTO_MAILAUTH_DKIM_VERIFY_H
#define PROTO_MAILAUTH_DKIM_VERIFY_H

#include "proto/mailauth/dkim_header.h"

enum { DKIM_SIGS_MAX = 8 };

/* RFC 8601 2.7.1 */
enum dkim_result { DKIM_PENDING, DKIM_PASS, DKIM_FAIL, DKIM_TEMPERROR, DKIM_PERMERROR };

struct dkim_check {
	struct dkim_signature sig;
	enum dkim_result result;
	const char *why;   /* one static line; NULL while pending and at a pass */
	bool partial;      /* l= covered only a part of the body */
	bool testing;      /* the key record says t=y */
	unsigned key_bits; /* once the key was seen */
	/* private */
	slice field;
	unsigned char digest[DKIM_HASH];
	unsigned char body;
};

struct dkim_verifier {
	struct dkim_check checks[DKIM_SIGS_MAX];
	size_t count;   /* of checks */
	size_t ignored; /* DKIM-Signature fields beyond the limit */
	/* private */
	struct arena *arena;
	struct dkim_body bodies[DKIM_SIGS_MAX];
	unsigned char hashes[DKIM_SIGS_MAX][DKIM_HASH];
	uint64_t limits[DKIM_SIGS_MAX];
	size_t body_count;
};

void dkim_verify_init(struct dkim_verifier *v, struct arena *a);
/* `now` in seconds, for x=; 0: do not check. Results that need no key stand at once. */
void dkim_verify_header(struct dkim_verifier *v, slice block, int64_t now);
void dkim_verify_body(struct dkim_verifier *v, slice piece);
void dkim_verify_body_end(struct dkim_verifier *v);

/* "selector._domainkey.domain"; only for a check that is still pending. */
void dkim_verify_query(const struct dkim_check *check, struct out *o);
/* `err`: OK with the TXT record; ERR_NOT_FOUND: there is none; anything else: try again later. */
enum dkim_result dkim_verify_key(struct dkim_verifier *v, size_t at, enum err err, slice record);

#endif
