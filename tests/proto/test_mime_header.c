/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_header.c - where a header ends, and what stands in it. */
#include "proto/mime/header.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

static void init_end(void *state, const void *arg)
{
	((struct header_end *)state)->max = arg ? *(const size_t *)arg : 0;
}

static size_t take_end(void *state, slice in, bool last, struct out *o)
{
	struct header_end *e = state;

	switch (header_end_feed(e, in)) {
	case STEP_DONE:
		break;
	case STEP_MORE:
		if (!last)
			return in.len;
		header_end_finish(e);
		break;
	default:
		out_str(o, "too long");
		return FEED_STOP;
	}
	out_printf(o, "%zu%s", e->bytes, e->implied ? " implied" : "");
	return FEED_STOP;
}

static const struct feed_parser end_parser = { .name = "header end",
	.take = take_end,
	.init = init_end,
	.state_size = sizeof(struct header_end) };

Test(mime_header, end_is_found_wherever_the_cuts_are)
{
	static const struct {
		const char *why, *in, *want;
	} rows[] = {
		{ "plain", "A: b\r\n\r\nbody", "8" },
		{ "folded", "A: b\r\n c\r\nB:\r\n\r\nbody\r\n", "16" },
		{ "no field at all", "\r\nbody", "2" },
		{ "nothing", "", "0 implied" },
		{ "only lone LF", "A: b\n\nbody", "6" },
		{ "blank before the colon", "A \t: b\r\n\r\n", "10" },
		{ "body without blank line", "A: b\r\nhello world\r\n\r\n", "6 implied" },
		{ "text at once", "hello world\r\n", "0 implied" },
		{ "fold before any field", " x: y\r\n\r\n", "0 implied" },
		{ "blank-only line goes on", "A: b\r\n \r\n\r\n", "11" },
		{ "mbox line", "From me Sat\r\nA: b\r\n\r\n", "0 implied" },
		{ "8-bit in the name", "A: b\r\n\303\244: c\r\n\r\n", "6 implied" },
		{ "CR that ends no line", "A: b\r\n\rB: c\r\n\r\n", "6 implied" },
		{ "no end", "A: b\r\nB: c", "10 implied" },
		{ "cut inside a name", "A: b\r\nBcd", "6 implied" },
		{ "cut inside the blank line", "A: b\r\n\r", "6 implied" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(feed_all_ways(&end_parser, NULL, slice_str(rows[i].in), &o), "%s",
			rows[i].why);
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
}

Test(mime_header, end_respects_its_limit)
{
	static const struct {
		const char *why, *in, *want;
		size_t max;
	} rows[] = {
		{ "fits exactly", "A: b\r\n\r\nbody", "8", 8 },
		{ "one byte too long", "A: b\r\n\r\nbody", "too long", 7 },
		{ "long line", "A: bbbbbbbbbbbbbbbbbb", "too long", 10 },
		{ "implied end within", "A: b\r\nhello", "6 implied", 12 },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(feed_all_ways(&end_parser, &rows[i].max, slice_str(rows[i].in), &o));
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
}

Test(mime_header, fields_are_cut)
{
	slice rest = SLICE("Subject: one\r\n two\r\nX-Y :\tz\r\nTo:\r\n\r\nno: field\r\n");
	struct header_field f;

	cr_assert(header_next(&rest, &f));
	cr_expect(slice_eq(f.name, SLICE("Subject")));
	cr_expect(slice_eq(f.value, SLICE(" one\r\n two")));
	cr_expect(slice_eq(f.whole, SLICE("Subject: one\r\n two\r\n")));
	cr_assert(header_next(&rest, &f));
	cr_expect(slice_eq(f.name, SLICE("X-Y")));
	cr_expect(slice_eq(f.value, SLICE("\tz")));
	cr_assert(header_next(&rest, &f));
	cr_expect(slice_eq(f.name, SLICE("To")) && f.value.len == 0);
	cr_expect_not(header_next(&rest, &f));
	cr_expect(slice_starts(rest, SLICE("\r\nno:")));
}

Test(mime_header, lookup_is_without_case)
{
	slice block = SLICE("a: 1\r\nB: 2\r\nA: 3\r\n\r\n");
	struct header_field f;

	cr_expect_eq(header_count(block, SLICE("A")), 2);
	cr_assert(header_find(block, SLICE("b"), &f));
	cr_expect(slice_eq(f.value, SLICE(" 2")));
	cr_expect_not(header_find(block, SLICE("c"), &f));
}

Test(mime_header, names_have_ids)
{
	cr_expect_eq(header_id_of(SLICE("message-id")), HEADER_MESSAGE_ID);
	cr_expect_eq(header_id_of(SLICE("X-Other")), HEADER_OTHER);
	cr_expect_eq(header_id_of(SLICE("From")), HEADER_FROM);
	cr_expect_eq(header_id_of(SLICE("Fro")), HEADER_OTHER);
	cr_expect_eq(header_id_of(SLICE("LIST-ID")), HEADER_LIST_ID);
}

Test(mime_header, unfolding_makes_one_line)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ " a\r\n b", "a b" },
		{ "\r\n\ta b \r\n", "a b" },
		{ "", "" },
		{ " \r\n ", "" },
		{ "a\n\tb", "a\tb" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));

		header_unfold(&o, slice_str(rows[i].in));
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s", rows[i].in);
	}
}

Test(mime_header, facts_tell_what_an_intake_asks)
{
	struct header_facts f =
		header_facts_of(SLICE("Received: a\r\nReceived: b\r\nFrom: x\r\nX-A: b\r\n\r\n"));

	cr_expect_eq(f.hops, 2);
	cr_expect_eq(f.count[HEADER_FROM], 1);
	cr_expect_eq(f.count[HEADER_DATE], 0);
	cr_expect_eq(f.count[HEADER_OTHER], 1);
	cr_expect_eq(f.fields, 4);
	cr_expect_eq(f.line_max, 11);
	cr_expect(!f.eight_bit && f.utf8 && !f.nul && !f.bare_newline);

	f = header_facts_of(SLICE("A: \303\244\r\n\r\n"));
	cr_expect(f.eight_bit && f.utf8);
	f = header_facts_of(SLICE("A: \344\r\n\r\n"));
	cr_expect(f.eight_bit && !f.utf8);
	f = header_facts_of(SLICE("A: \0\r\n\r\n"));
	cr_expect(f.nul);
	f = header_facts_of(SLICE("A: b\n\r\n"));
	cr_expect(f.bare_newline);
	f = header_facts_of(SLICE("A: b\rc\r\n\r\n"));
	cr_expect(f.bare_newline);
}
