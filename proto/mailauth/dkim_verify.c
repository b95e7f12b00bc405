/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RFC 6376 6.1 in its order: the signature field, the header hash, the body while it streams, and at
 * last the key. Signatures with the same body form and l= share one running hash. */
#include "proto/mailauth/dkim_verify.h"

#include "proto/mailauth/dkim_int.h"
#include "proto/mime/header.h"

/* Names in h=; more are nobody's honest signature. */
enum { NAMES_MAX = 1000, NO_BODY = 255 };

void dkim_verify_init(struct dkim_verifier *v, struct arena *a)
{
	*v = (struct dkim_verifier){ .arena = a };
}

static void settle(struct dkim_check *check, enum dkim_result result, const char *why)
{
	check->result = result;
	check->why = why;
}

/* Header -------------------------------------------------------------------------------------- */

/* The signature's own field without the value of b= (RFC 6376 3.7). */
static slice without_b(const struct dkim_check *check, struct arena *a)
{
	struct out text = out_arena(a);
	size_t before = (size_t)(check->sig.b_raw.ptr - check->field.ptr);

	out_slice(&text, slice_sub(check->field, 0, before));
	out_slice(&text, slice_skip(check->field, before + check->sig.b_raw.len));
	return out_written(&text);
}

static bool hash_header(struct dkim_check *check, struct dkim_index *x, struct arena *a)
{
	slice names = check->sig.header_list, name, whole;
	struct dkim_hasher h;
	unsigned count = 0;

	dkim_hasher_init(&h);
	dkim_index_reset(x);
	while (slice_cut(&names, ':', &name)) {
		if (++count > NAMES_MAX)
			return false;
		if (dkim_index_take(x, dkim_trim(name), &whole))
			dkim_canon_field(check->sig.header_canon, whole, false, &h.out);
	}
	dkim_canon_field(check->sig.header_canon, without_b(check, a), true, &h.out);
	dkim_hasher_flush(&h);
	sha256_end(&h.hash, check->digest);
	return true;
}

/* The running hash for this signature, shared where it can be. */
static unsigned char body_for(struct dkim_verifier *v, const struct dkim_signature *sig)
{
	uint64_t limit = sig->has_length ? sig->length : UINT64_MAX;

	for (size_t i = 0; i < v->body_count; i++)
		if (v->bodies[i].canon == sig->body_canon && v->limits[i] == limit)
			return (unsigned char)i;
	dkim_body_init(&v->bodies[v->body_count], sig->body_canon);
	dkim_body_limit(&v->bodies[v->body_count], limit);
	v->limits[v->body_count] = limit;
	return (unsigned char)v->body_count++;
}

static void add_check(struct dkim_verifier *v, const struct header_field *field,
	struct dkim_index *x, int64_t now)
{
	struct dkim_check *check = &v->checks[v->count++];
	const char *why;

	*check = (struct dkim_check){ .field = field->whole, .body = NO_BODY };
	if (dkim_signature_parse(field->value, v->arena, &check->sig, &why))
		settle(check, DKIM_PERMERROR, why);
	else if (now && check->sig.expires_at && check->sig.expires_at < now)
		settle(check, DKIM_PERMERROR, "the signature has expired");
	else if (!hash_header(check, x, v->arena))
		settle(check, DKIM_PERMERROR, "too many names in h=");
	else
		check->body = body_for(v, &check->sig);
}

void dkim_verify_header(struct dkim_verifier *v, slice block, int64_t now)
{
	struct header_field field;
	struct dkim_index index;
	slice rest = block;

	dkim_index_init(&index, block, v->arena);
	while (header_next(&rest, &field)) {
		if (!slice_eq_nocase(field.name, SLICE("DKIM-Signature")))
			continue;
		if (v->count < DKIM_SIGS_MAX)
			add_check(v, &field, &index, now);
		else
			v->ignored++;
	}
}

/* Body ---------------------------------------------------------------------------------------- */

void dkim_verify_body(struct dkim_verifier *v, slice piece)
{
	for (size_t i = 0; i < v->body_count; i++)
		dkim_body_add(&v->bodies[i], piece);
}

static void check_body(struct dkim_verifier *v, struct dkim_check *check)
{
	const struct dkim_body *body = &v->bodies[check->body];

	if (check->sig.has_length && check->sig.length > body->bytes)
		settle(check, DKIM_FAIL, "l= is longer than the body");
	else if (!slice_eq(check->sig.body_hash, slice_of(v->hashes[check->body], DKIM_HASH)))
		settle(check, DKIM_FAIL, "the body was changed");
	check->partial = check->sig.has_length && check->sig.length < body->bytes;
}

void dkim_verify_body_end(struct dkim_verifier *v)
{
	for (size_t i = 0; i < v->body_count; i++)
		dkim_body_end(&v->bodies[i], v->hashes[i]);
	for (size_t i = 0; i < v->count; i++)
		if (v->checks[i].result == DKIM_PENDING)
			check_body(v, &v->checks[i]);
}

/* Key ----------------------------------------------------------------------------------------- */

void dkim_verify_query(const struct dkim_check *check, struct out *o)
{
	out_slice(o, check->sig.selector);
	out_str(o, "._domainkey.");
	out_slice(o, check->sig.domain);
}

/* t=s: the domain of i= must be d= itself (RFC 6376 3.6.1). */
static bool identity_fits(const struct dkim_signature *sig, const struct dkim_key *key)
{
	ptrdiff_t at = slice_rfind(sig->identity, '@');

	if (!key->strict || at < 0)
		return true;
	return slice_eq_nocase(slice_skip(sig->identity, (size_t)at + 1), sig->domain);
}

static void try_key(struct dkim_check *check, const struct dkim_key *key)
{
	struct sigkey *public = NULL;
	enum err err = sigkey_parse_public(key->type, key->bytes, &public);

	if (err) {
		settle(check, err == ERR_NOMEM ? DKIM_TEMPERROR : DKIM_PERMERROR,
			err == ERR_UNSUPPORTED ? "the key is too short or too long" :
						 "the key cannot be read");
		return;
	}
	check->key_bits = sigkey_bits(public);
	if (sigkey_verify(public, check->digest, check->sig.sig))
		settle(check, DKIM_PASS, NULL);
	else
		settle(check, DKIM_FAIL, "the signature does not match");
	sigkey_free(public);
}

static void use_record(struct dkim_verifier *v, struct dkim_check *check, slice record)
{
	struct dkim_key key;
	const char *why;

	if (dkim_key_parse(record, v->arena, &key, &why))
		settle(check, DKIM_PERMERROR, why);
	else if (key.bytes.len == 0)
		settle(check, DKIM_PERMERROR, "the key was revoked");
	else if (key.type != check->sig.type)
		settle(check, DKIM_PERMERROR, "the key is of another kind");
	else if (!identity_fits(&check->sig, &key))
		settle(check, DKIM_PERMERROR, "the key is not for subdomains");
	else
		try_key(check, &key);
	check->testing = key.testing;
}

enum dkim_result dkim_verify_key(struct dkim_verifier *v, size_t at, enum err err, slice record)
{
	struct dkim_check *check = &v->checks[at];

	must(at < v->count);
	if (check->result != DKIM_PENDING)
		return check->result;
	if (err == ERR_NOT_FOUND || err == ERR_DNS_NXDOMAIN)
		settle(check, DKIM_PERMERROR, "there is no key");
	else if (err)
		settle(check, DKIM_TEMPERROR, "the key cannot be had now");
	else
		use_record(v, check, record);
	return check->result;
}
