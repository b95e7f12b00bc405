/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tag lists, and the two texts of DKIM made of them. A table row per tag stores its value; what must
 * hold between tags is checked when all have been read. */
#include "proto/mailauth/dkim_header.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "proto/mailauth/dkim_int.h"

enum { TAGS_MAX = 64 };

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

slice dkim_trim(slice s)
{
	while (s.len && is_space(s.ptr[0]))
		s = slice_skip(s, 1);
	while (s.len && is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* ALPHA *(ALPHA / DIGIT / "_") */
static bool is_tag_name(slice name)
{
	if (name.len == 0 || !text_is_alpha(name.ptr[0]))
		return false;
	for (size_t i = 1; i < name.len; i++)
		if (!text_is_alpha(name.ptr[i]) && !text_is_digit(name.ptr[i]) &&
			name.ptr[i] != '_')
			return false;
	return true;
}

bool dkim_tag_next(struct dkim_tags *t, struct dkim_tag *out)
{
	slice spec;

	if (!slice_cut(&t->rest, ';', &spec))
		return false;
	/* A semicolon at the very end is allowed. */
	if (dkim_trim(spec).len == 0 && dkim_trim(t->rest).len == 0) {
		t->rest.len = 0;
		return false;
	}
	ptrdiff_t equals = slice_find(spec, '=');

	if (equals < 0) {
		t->bad = true;
		return false;
	}
	out->name = dkim_trim(slice_sub(spec, 0, (size_t)equals));
	out->value = dkim_trim(slice_skip(spec, (size_t)equals + 1));
	if (is_tag_name(out->name))
		return true;
	t->bad = true;
	return false;
}

/* All tags of a list; false when it is no list or a name stands twice (RFC 6376 3.2). */
static bool read_tags(slice text, struct dkim_tag tags[TAGS_MAX], size_t *out_count)
{
	struct dkim_tags list = { .rest = text };
	size_t count = 0;

	while (count < TAGS_MAX && dkim_tag_next(&list, &tags[count])) {
		for (size_t i = 0; i < count; i++)
			if (slice_eq(tags[i].name, tags[count].name))
				return false;
		count++;
	}
	*out_count = count;
	return !list.bad && list.rest.len == 0 && count > 0;
}

static const slice *find_tag(const struct dkim_tag *tags, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(tags[i].name, slice_str(name)))
			return &tags[i].value;
	return NULL;
}

/* Is `what` among the names between colons? */
static bool list_has_name(slice list, slice what)
{
	slice name;

	while (slice_cut(&list, ':', &name))
		if (slice_eq_nocase(dkim_trim(name), what))
			return true;
	return false;
}

/* Base64 with folding inside. */
static bool decode(slice value, struct arena *a, slice *out)
{
	char *packed = arena_alloc(a, value.len + 1), *bytes;
	size_t len = 0, got = 0;

	for (size_t i = 0; i < value.len; i++)
		if (!is_space(value.ptr[i]))
			packed[len++] = value.ptr[i];
	bytes = arena_alloc(a, codec_base64_max(len));
	if (len == 0 || !codec_get_base64(slice_of(packed, len), bytes, &got))
		return false;
	*out = slice_of(bytes, got);
	return true;
}

/* The signature ------------------------------------------------------------------------------- */

struct reader {
	const struct dkim_tag *tags;
	size_t count;
	struct arena *arena;
	struct dkim_signature *sig;
	const char *why;
};

static enum err bad(struct reader *r, const char *why)
{
	r->why = why;
	return ERR_INVALID;
}

static enum err unsupported(struct reader *r, const char *why)
{
	r->why = why;
	return ERR_UNSUPPORTED;
}

static enum err read_algorithm(struct reader *r, slice value)
{
	if (slice_eq(value, SLICE("rsa-sha256")))
		r->sig->type = SIGKEY_RSA;
	else if (slice_eq(value, SLICE("ed25519-sha256")))
		r->sig->type = SIGKEY_ED25519;
	else if (slice_eq(value, SLICE("rsa-sha1")))
		return unsupported(r, "rsa-sha1 proves nothing"); /* RFC 8301 3.1 */
	else
		return unsupported(r, "unknown algorithm");
	return OK;
}

static bool read_one_canon(slice name, enum dkim_canon *out)
{
	*out = slice_eq(name, SLICE("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
	return *out == DKIM_RELAXED || slice_eq(name, SLICE("simple"));
}

/* "header/body"; the body's is simple when it is missing. */
static enum err read_canon(struct reader *r, slice value)
{
	slice header, body = SLICE("simple");

	slice_cut(&value, '/', &header);
	if (value.len)
		body = value;
	if (read_one_canon(header, &r->sig->header_canon) &&
		read_one_canon(body, &r->sig->body_canon))
		return OK;
	return unsupported(r, "unknown canonical form");
}

static enum err read_domain(struct reader *r, slice value)
{
	r->sig->domain = value;
	return text_is_domain(value) ? OK : bad(r, "d= is no domain");
}

static enum err read_selector(struct reader *r, slice value)
{
	r->sig->selector = value;
	return text_is_domain(value) ? OK : bad(r, "s= is no selector");
}

static enum err read_names(struct reader *r, slice value)
{
	r->sig->header_list = value;
	return list_has_name(value, SLICE("From")) ? OK : bad(r, "From is not signed");
}

static enum err read_body_hash(struct reader *r, slice value)
{
	if (!decode(value, r->arena, &r->sig->body_hash) || r->sig->body_hash.len != DKIM_HASH)
		return bad(r, "bh= is no SHA-256 hash in base64");
	return OK;
}

static enum err read_sig(struct reader *r, slice value)
{
	return decode(value, r->arena, &r->sig->sig) ? OK : bad(r, "b= is no base64");
}

static enum err read_version(struct reader *r, slice value)
{
	return slice_eq(value, SLICE("1")) ? OK : unsupported(r, "unknown version");
}

static enum err read_identity(struct reader *r, slice value)
{
	r->sig->identity = value;
	return slice_find(value, '@') >= 0 ? OK : bad(r, "i= has no domain");
}

static enum err read_length(struct reader *r, slice value)
{
	r->sig->has_length = true;
	return text_parse_uint(value, UINT64_MAX, &r->sig->length) ? OK : bad(r, "l= is no number");
}

static enum err read_time(struct reader *r, slice value, int64_t *out)
{
	uint64_t seconds;

	if (!text_parse_uint(value, (uint64_t)999999999999, &seconds))
		return bad(r, "t= or x= is no time");
	*out = (int64_t)seconds;
	return OK;
}

static enum err read_signed_at(struct reader *r, slice value)
{
	return read_time(r, value, &r->sig->signed_at);
}

static enum err read_expires_at(struct reader *r, slice value)
{
	return read_time(r, value, &r->sig->expires_at);
}

static enum err read_query(struct reader *r, slice value)
{
	return list_has_name(value, SLICE("dns/txt")) ? OK : unsupported(r, "unknown key query");
}

static const struct sig_row {
	const char *name;
	bool required;
	enum err (*read)(struct reader *r, slice value);
} sig_rows[] = {
	{ "v", true, read_version },
	{ "a", true, read_algorithm },
	{ "d", true, read_domain },
	{ "s", true, read_selector },
	{ "h", true, read_names },
	{ "bh", true, read_body_hash },
	{ "b", true, read_sig },
	{ "c", false, read_canon },
	{ "i", false, read_identity },
	{ "l", false, read_length },
	{ "t", false, read_signed_at },
	{ "x", false, read_expires_at },
	{ "q", false, read_query },
};

/* Is `name` the domain itself or below it? */
static bool is_below(slice name, slice domain)
{
	if (!slice_ends_nocase(name, domain))
		return false;
	return name.len == domain.len || name.ptr[name.len - domain.len - 1] == '.';
}

/* What holds between tags (RFC 6376 3.5, 6.1.1). */
static enum err check_signature(struct reader *r)
{
	const struct dkim_signature *sig = r->sig;
	slice agent = sig->identity;

	if (agent.len &&
		!is_below(slice_skip(agent, (size_t)slice_rfind(agent, '@') + 1), sig->domain))
		return bad(r, "i= is not in d=");
	if (sig->signed_at && sig->expires_at && sig->expires_at <= sig->signed_at)
		return bad(r, "x= is not after t=");
	return OK;
}

/* The raw bytes between "b=" and the next semicolon: what the hash leaves out. */
static slice find_raw_b(slice text)
{
	slice rest = text, spec;

	while (slice_cut(&rest, ';', &spec)) {
		ptrdiff_t equals = slice_find(spec, '=');

		if (equals >= 0 &&
			slice_eq(dkim_trim(slice_sub(spec, 0, (size_t)equals)), SLICE("b")))
			return slice_skip(spec, (size_t)equals + 1);
	}
	return slice_sub(text, text.len, text.len);
}

enum err dkim_signature_parse(slice value, struct arena *a, struct dkim_signature *out,
	const char **out_why)
{
	struct dkim_tag tags[TAGS_MAX];
	struct reader r = { .tags = tags, .arena = a, .sig = out, .why = "no tag list" };
	enum err err = ERR_INVALID;

	*out = (struct dkim_signature){ .header_canon = DKIM_SIMPLE, .body_canon = DKIM_SIMPLE };
	if (read_tags(value, tags, &r.count))
		err = OK;
	for (size_t i = 0; i < array_len(sig_rows) && !err; i++) {
		const slice *tag = find_tag(tags, r.count, sig_rows[i].name);

		if (tag)
			err = sig_rows[i].read(&r, *tag);
		else if (sig_rows[i].required)
			err = bad(&r, "a required tag is missing");
	}
	if (!err)
		err = check_signature(&r);
	out->b_raw = find_raw_b(value);
	*out_why = err ? r.why : NULL;
	return err;
}

/* The key record ------------------------------------------------------------------------------ */

static enum err read_key_tags(struct reader *r, struct dkim_key *out)
{
	const slice *v = find_tag(r->tags, r->count, "v"), *h = find_tag(r->tags, r->count, "h");
	const slice *k = find_tag(r->tags, r->count, "k"), *s = find_tag(r->tags, r->count, "s");
	const slice *t = find_tag(r->tags, r->count, "t"), *p = find_tag(r->tags, r->count, "p");

	/* RFC 6376 3.6.1: v= stands first or not at all. */
	if (v && (!slice_eq(r->tags[0].name, SLICE("v")) || !slice_eq(*v, SLICE("DKIM1"))))
		return bad(r, "no key record of version DKIM1");
	if (h && !list_has_name(*h, SLICE("sha256")))
		return bad(r, "the key is not for SHA-256");
	if (s && !list_has_name(*s, SLICE("*")) && !list_has_name(*s, SLICE("email")))
		return bad(r, "the key is not for mail");
	if (k && slice_eq(*k, SLICE("ed25519")))
		out->type = SIGKEY_ED25519;
	else if (k && !slice_eq(*k, SLICE("rsa")))
		return unsupported(r, "unknown kind of key");
	out->testing = t && list_has_name(*t, SLICE("y"));
	out->strict = t && list_has_name(*t, SLICE("s"));
	if (!p)
		return bad(r, "the record has no key");
	if (p->len && !decode(*p, r->arena, &out->bytes))
		return bad(r, "the key is no base64");
	return OK;
}

enum err dkim_key_parse(slice record, struct arena *a, struct dkim_key *out, const char **out_why)
{
	struct dkim_tag tags[TAGS_MAX];
	struct reader r = { .tags = tags, .arena = a, .why = "no key record" };
	enum err err = ERR_INVALID;

	*out = (struct dkim_key){ .type = SIGKEY_RSA };
	if (read_tags(record, tags, &r.count))
		err = read_key_tags(&r, out);
	*out_why = err ? r.why : NULL;
	return err;
}
