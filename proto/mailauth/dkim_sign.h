/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dkim_sign.h - make DKIM-Signature fields (RFC 6376 5, RFC 8463).
 *
 * Three steps, so that the signature itself can be made elsewhere, in batches: dkim_select hashes
 * the chosen fields of the final header block once per message; dkim_sign_begin makes the digest of
 * one signature; whoever has the key signs it; dkim_sign_finish renders the field. Several signatures
 * of a message share one selection and do not sign each other. All memory is the caller's arena's.
 * Never l=; folding only between tags and at colons of h= or inside b=, never inside a name. */
#ifndef PROTO_MAILAUTH_DKIM_SIGN_H
#define PROTO_MAILAUTH_DKIM_SIGN_H

#include "core/base/sigkey.h"
#include "proto/mailauth/dkim_canon.h"

/* Names between colons. "Name": sign each that is there; "+Name": and one more than there are, so
 * that none can be added (over-signing); "~Name": over-sign when at least one is there. */
#define DKIM_FIELDS_DEFAULT                                                                    \
	"+From:+Subject:+Date:+To:Sender:Reply-To:Cc:Message-ID:In-Reply-To:References:"       \
	"MIME-Version:Content-Type:Content-Transfer-Encoding:Content-ID:Content-Description:"  \
	"Resent-Date:Resent-From:Resent-Sender:Resent-To:Resent-Cc:Resent-Message-ID:"         \
	"List-Id:List-Help:~List-Unsubscribe:~List-Unsubscribe-Post:List-Subscribe:List-Post:" \
	"List-Owner:List-Archive:Auto-Submitted:Feedback-ID"

enum dkim_field_rule { DKIM_EACH, DKIM_OVERSIGN, DKIM_OVERSIGN_PRESENT };

struct dkim_fields {
	struct dkim_field_row {
		slice name;
		enum dkim_field_rule rule;
	} * rows;
	size_t count;
};

/* Made once, at configuration. ERR_INVALID: a bad or doubled name, a field no signature may cover
 * (RFC 6376 5.4: Return-Path, Received, DKIM-Signature, Bcc), or From missing. */
enum err dkim_fields_parse(slice option, struct arena *a, struct dkim_fields *out) must_use;

/* The fields of one message, chosen and hashed. */
struct dkim_selection {
	struct sha256 hash;
	slice *names; /* h=, in the order they were hashed */
	size_t count;
	enum dkim_canon canon;
};

/* `block` is the header as it will leave. ERR_INVALID when it has no From field. */
enum err dkim_select(const struct dkim_fields *fields, slice block, enum dkim_canon canon,
	struct arena *a, struct dkim_selection *out) must_use;

struct dkim_signer {
	slice domain, selector; /* ASCII (A-labels) */
	slice identity;         /* i=; empty: left out */
	enum sigkey_type type;
	enum dkim_canon body_canon;
	int64_t signed_at, expires_at; /* seconds since 1970; 0: left out */
};

struct dkim_draft {
	slice text;                      /* the field up to and including "b=" */
	unsigned char digest[DKIM_HASH]; /* to be signed with sigkey_sign or in a batch */
	enum sigkey_type type;
};

void dkim_sign_begin(const struct dkim_signer *s, const struct dkim_selection *selection,
	const unsigned char body_hash[DKIM_HASH], struct arena *a, struct dkim_draft *out);
/* The whole field with its CRLF, to be put in front of the header. */
void dkim_sign_finish(const struct dkim_draft *d, slice sig, struct out *o);

#endif
