/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_header.h - reading what DKIM writes: tag lists, DKIM-Signature fields, key records.
 *
 * RFC 6376 3.2, 3.5, 3.6.1. Slices point into the text that was parsed; decoded bytes live in the
 * arena. Parsers give OK, ERR_INVALID (permanent: the field or record is wrong) or ERR_UNSUPPORTED
 * (well-formed, but an algorithm or version we do not know), and say why in one static line. */
#ifndef PROTO_MAILAUTH_DKIM_HEADER_H
#define PROTO_MAILAUTH_DKIM_HEADER_H

#include "core/base/sigkey.h"
#include "proto/mailauth/dkim_canon.h"

struct dkim_tag {
	slice name, value; /* trimmed, folding inside the value kept */
};

/* Initialise with { .rest = text }. `bad`: what follows is no tag list. */
struct dkim_tags {
	slice rest;
	bool bad;
};
bool dkim_tag_next(struct dkim_tags *t, struct dkim_tag *out);

struct dkim_signature {
	slice domain, selector; /* d= and s= */
	slice identity;         /* i=; empty: "@" and the domain */
	slice header_list;      /* h=, raw: names between colons, folding possible */
	slice body_hash, sig;   /* bh= and b=, decoded */
	enum sigkey_type type;
	enum dkim_canon header_canon, body_canon;
	bool has_length;
	uint64_t length;               /* l= */
	int64_t signed_at, expires_at; /* seconds; 0: not there */
	slice b_raw; /* where the value of b= stands in the text, blanks included */
};

/* `value` is the field's value, folding kept. */
enum err dkim_signature_parse(slice value, struct arena *a, struct dkim_signature *out,
	const char **out_why) must_use;

struct dkim_key {
	enum sigkey_type type;
	slice bytes;  /* p=, decoded; empty: revoked */
	bool testing; /* t=y */
	bool strict;  /* t=s: i= must be of d= itself, not below it */
};

/* `record` is the TXT data, its strings put together. A revoked key parses, with no bytes. */
enum err dkim_key_parse(slice record, struct arena *a, struct dkim_key *out,
	const char **out_why) must_use;

#endif
