/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_dkim_canon.c - canonical bodies and fields, whatever the cuts. */
#include "core/base/codec.h"
#include "proto/mailauth/dkim_canon.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

struct body_state {
	struct dkim_body body;
	struct out text;
	char buf[8192];
};

static void sink(void *arg, slice bytes)
{
	out_slice(arg, bytes);
}

static void init_body(void *state, const void *arg)
{
	struct body_state *s = state;

	dkim_body_init(&s->body, *(const enum dkim_canon *)arg);
	s->text = out_fixed(s->buf, sizeof(s->buf));
	s->body.sink = sink;
	s->body.sink_arg = &s->text;
}

/* Writes the canonical bytes; their hash must be that of the context. */
static size_t take_body(void *state, slice in, bool last, struct out *o)
{
	struct body_state *s = state;
	unsigned char got[DKIM_HASH], want[DKIM_HASH];

	dkim_body_add(&s->body, in);
	if (!last)
		return in.len;
	dkim_body_end(&s->body, got);
	sha256_of(out_written(&s->text), want);
	out_slice(o, memcmp(got, want, sizeof(got)) ? SLICE("wrong hash") : out_written(&s->text));
	return FEED_STOP;
}

static const struct feed_parser body_parser = { .name = "body",
	.init = init_body,
	.take = take_body,
	.state_size = sizeof(struct body_state) };

static const struct {
	const char *why, *in, *simple, *relaxed;
} bodies[] = {
	{ "RFC 6376 3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n" },
	{ "empty", "", "\r\n", "" },
	{ "only line ends", "\r\n\r\n\r\n", "\r\n", "" },
	{ "only blanks", "  \r\n\t\r\n", "  \r\n\t\r\n", "" },
	{ "no last line end", "abc", "abc\r\n", "abc\r\n" },
	{ "plain", "abc\r\n", "abc\r\n", "abc\r\n" },
	{ "blank lines inside stay", "a\r\n\r\n\r\nb\r\n\r\n", "a\r\n\r\n\r\nb\r\n",
		"a\r\n\r\n\r\nb\r\n" },
	{ "blank-only last line", "a\r\n \r\n", "a\r\n \r\n", "a\r\n" },
	{ "blank-only line inside", "a\r\n \t\r\nb\r\n", "a\r\n \t\r\nb\r\n", "a\r\n\r\nb\r\n" },
	{ "single blanks stay", "a b c\r\n", "a b c\r\n", "a b c\r\n" },
	{ "tab becomes a space", "a\tb\r\n", "a\tb\r\n", "a b\r\n" },
	{ "leading blanks", "   a\r\n", "   a\r\n", " a\r\n" },
	{ "lone CR", "a\rb \rc\r\n", "a\rb \rc\r\n", "a\rb \rc\r\n" },
	{ "lone LF", "a \nb\r\n", "a \nb\r\n", "a \nb\r\n" },
	{ "CR at the end", "a\r\n\r", "a\r\n\r\r\n", "a\r\n\r\r\n" },
	{ "blank and CR at the end", "a \r", "a \r\r\n", "a \r\r\n" },
	{ "two CRs", "a\r\r\n\r\n", "a\r\r\n", "a\r\r\n" },
	{ "LF CR", "a\r\n\n\r\n\r\n", "a\r\n\n\r\n", "a\r\n\n\r\n" },
	{ "blank at the end", "a ", "a \r\n", "a\r\n" },
	{ "long clean run",
		"0123456789012345678901234567890123456789012345678901234567890123 \r\nx  y\r\n",
		"0123456789012345678901234567890123456789012345678901234567890123 \r\nx  y\r\n",
		"0123456789012345678901234567890123456789012345678901234567890123\r\nx y\r\n" },
	{ "blank on the 64th byte",
		"012345678901234567890123456789012345678901234567890123456789012  x\r\n",
		"012345678901234567890123456789012345678901234567890123456789012  x\r\n",
		"012345678901234567890123456789012345678901234567890123456789012 x\r\n" },
};

static void expect_form(const char *why, slice in, enum dkim_canon canon, const char *want)
{
	char buf[1024];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(feed_all_ways(&body_parser, &canon, in, &o), "%s", why);
	cr_expect(slice_eq(out_written(&o), slice_str(want)), "%s, %s: '%.*s'", why,
		canon == DKIM_SIMPLE ? "simple" : "relaxed", SLICE_ARG(out_written(&o)));
}

Test(dkim_canon, bodies_by_table)
{
	for (size_t i = 0; i < array_len(bodies); i++) {
		slice in = slice_str(bodies[i].in);

		expect_form(bodies[i].why, in, DKIM_SIMPLE, bodies[i].simple);
		expect_form(bodies[i].why, in, DKIM_RELAXED, bodies[i].relaxed);
	}
}

/* RFC 6376 3.4.3 and 3.4.4 print the hashes of the empty body. */
Test(dkim_canon, empty_body_hashes_of_the_rfc)
{
	static const char *const want[] = { "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=",
		"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" };

	for (int canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
		struct dkim_body b;
		unsigned char hash[DKIM_HASH];
		char text[64];
		struct out o = out_fixed(text, sizeof(text));

		dkim_body_init(&b, (enum dkim_canon)canon);
		dkim_body_end(&b, hash);
		codec_put_base64(&o, slice_of(hash, sizeof(hash)));
		cr_expect(slice_eq(out_written(&o), slice_str(want[canon])));
	}
}

Test(dkim_canon, limit_cuts_the_canonical_form)
{
	struct body_state s;
	unsigned char got[DKIM_HASH], want[DKIM_HASH];
	enum dkim_canon canon = DKIM_RELAXED;

	init_body(&s, &canon);
	dkim_body_limit(&s.body, 3);
	dkim_body_add(&s.body, SLICE("a  bcdef\r\n"));
	dkim_body_end(&s.body, got);
	sha256_of(SLICE("a b"), want);
	cr_expect_eq(memcmp(got, want, sizeof(got)), 0);
	cr_expect_eq(s.body.bytes, 9);
}

Test(dkim_canon, fields_by_table)
{
	static const struct {
		const char *why, *in, *simple, *relaxed;
	} rows[] = {
		{ "RFC 6376 3.4.5", "A: X\r\n", "A: X\r\n", "a:X\r\n" },
		{ "folded", "B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n" },
		{ "empty", "Subject:\r\n", "Subject:\r\n", "subject:\r\n" },
		{ "only folding", "Subject: \r\n \r\n", "Subject: \r\n \r\n", "subject:\r\n" },
		{ "no line end", "A: b", "A: b\r\n", "a:b\r\n" },
		{ "colons", "A: b:c", "A: b:c\r\n", "a:b:c\r\n" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[128];
		struct out o = out_fixed(buf, sizeof(buf));

		dkim_canon_field(DKIM_SIMPLE, slice_str(rows[i].in), false, &o);
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].simple)), "%s", rows[i].why);
		o.len = 0;
		dkim_canon_field(DKIM_RELAXED, slice_str(rows[i].in), false, &o);
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].relaxed)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
}

Test(dkim_canon, bare_field_has_no_line_end)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	dkim_canon_field(DKIM_RELAXED, SLICE("DKIM-Signature: a=b;\r\n\tb=\r\n"), true, &o);
	cr_expect(slice_eq(out_written(&o), SLICE("dkim-signature:a=b; b=")));
}

Test(dkim_canon, hasher_hashes_what_was_written)
{
	static struct dkim_hasher h;
	unsigned char got[DKIM_HASH], want[DKIM_HASH];
	char all[5000];

	memset(all, 'x', sizeof(all));
	dkim_hasher_init(&h);
	out_bytes(&h.out, all, 17);
	out_bytes(&h.out, all, sizeof(all) - 17);
	dkim_hasher_flush(&h);
	sha256_end(&h.hash, got);
	sha256_of(slice_of(all, sizeof(all)), want);
	cr_expect(out_ok(&h.out));
	cr_expect_eq(memcmp(got, want, sizeof(got)), 0);
}
