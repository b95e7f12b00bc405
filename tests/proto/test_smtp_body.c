/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DATA and BDAT content: rows by hand, and random bytes against a decoder that is slow and obvious. */
#include "proto/smtp/body.h"

#include "proto/smtp/limits.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { DOTS = SMTP_BODY_DOTS, FIX = SMTP_BODY_FIX, WRAP = SMTP_BODY_WRAP };

static void begin(void *state, const void *options)
{
	smtp_body_init(state, *(const unsigned *)options);
}

static size_t take_body(void *state, slice in, bool last, struct out *o)
{
	struct smtp_body *b = state;
	slice piece, rest = in;
	enum step step = STEP_MORE;

	while (rest.len && step == STEP_MORE) {
		step = smtp_body_take(b, &rest, &piece);
		out_slice(o, piece);
	}
	if (last && !(b->options & SMTP_BODY_DOTS))
		out_slice(o, smtp_body_end(b));
	if (last || step == STEP_DONE)
		out_printf(o, "|%s%s%s%s%s%s|%zu", step == STEP_DONE ? "end" : "more",
			b->flags & SMTP_SAW_BARE_CR ? " cr" : "",
			b->flags & SMTP_SAW_BARE_LF ? " lf" : "",
			b->flags & SMTP_SAW_NUL ? " nul" : "", b->flags & SMTP_SAW_8BIT ? " 8" : "",
			b->flags & SMTP_SAW_LONG_LINE ? " long" : "", (size_t)b->size_bytes);
	return step == STEP_DONE || last ? FEED_STOP : in.len - rest.len;
}

static const struct feed_parser parser = {
	.name = "smtp_body",
	.state_size = sizeof(struct smtp_body),
	.init = begin,
	.take = take_body,
};

static const struct {
	slice in, want;
	unsigned options;
	const char *why;
} rows[] = {
	{ SLICE_INIT(".\r\n"), SLICE_INIT("|end|0"), DOTS, "the empty message" },
	{ SLICE_INIT("a\r\n.\r\nNOOP\r\n"), SLICE_INIT("a\r\n|end|3"), DOTS, "one line" },
	{ SLICE_INIT("..a\r\n.b\r\n...\r\n.\r\n"), SLICE_INIT(".a\r\nb\r\n..\r\n|end|11"), DOTS,
		"stuffing" },
	{ SLICE_INIT("a\n.\n.\r\nb\r\n.\r\n"), SLICE_INIT("a\n.\n.\r\nb\r\n|end lf|10"), DOTS,
		"bare LF around a dot ends nothing" },
	{ SLICE_INIT("a\n.\r\nb\r\n.\r\n"), SLICE_INIT("a\r\n.\r\nb\r\n|end lf|9"), DOTS | FIX,
		"a line end that was made is no start for a dot" },
	{ SLICE_INIT("a\r.\rb\r\n.\r\n"), SLICE_INIT("a\r\n.\r\nb\r\n|end cr|9"), DOTS | FIX,
		"bare CR" },
	{ SLICE_INIT("a\r\n.\rb\r\n.\r\n"), SLICE_INIT("a\r\n\rb\r\n|end cr|7"), DOTS,
		"CRLF dot CR" },
	{ SLICE_INIT("a\r\n.\nb\r\n.\r\n"), SLICE_INIT("a\r\n\nb\r\n|end lf|7"), DOTS,
		"CRLF dot LF" },
	{ SLICE_INIT("a\r\r\n.\r\n"), SLICE_INIT("a\r\r\n|end cr|4"), DOTS,
		"CR CRLF dot CRLF is an end" },
	{ SLICE_INIT("a\r\n.\r\r\n.\r\n"), SLICE_INIT("a\r\n\r\r\n|end cr|6"), DOTS,
		"dot CR CR LF is none" },
	{ SLICE_INIT("a\0\xc3\r\n.\r\n"), SLICE_INIT("a\0\xc3\r\n|end nul 8|5"), DOTS,
		"NUL and 8-bit" },
	{ SLICE_INIT("a\r\n.\r\n\0\xff"), SLICE_INIT("a\r\n|end|3"), DOTS,
		"what follows the end is no content" },
	{ SLICE_INIT(".a\r\n.\r\n"), SLICE_INIT(".a\r\n.\r\n|more|7"), 0, "BDAT knows no dots" },
	{ SLICE_INIT("a\nb\r"), SLICE_INIT("a\r\nb\r\n|more cr lf|6"), FIX,
		"BDAT fixed, CR at its end" },
	{ SLICE_INIT("a\nb\r"), SLICE_INIT("a\nb\r|more cr lf|4"), 0, "BDAT as it is" },
	{ SLICE_INIT("a\0\n\r\xff"), SLICE_INIT("a\0\n\r\xff|more|5"), SMTP_BODY_OPAQUE,
		"BINARYMIME" },
};

Test(smtp_body, rows_in_every_division)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct out seen = out_heap(10000);

		cr_assert(feed_all_ways(&parser, &rows[i].options, rows[i].in, &seen), "%s",
			rows[i].why);
		cr_assert(slice_eq(out_written(&seen), rows[i].want), "%s: %.*s", rows[i].why,
			SLICE_ARG(out_written(&seen)));
		out_heap_done(&seen);
	}
}

/* The rules once more, a byte at a time. True at the end of data. */
static bool obvious(slice in, unsigned options, struct out *o)
{
	bool true_start = true;

	for (size_t i = 0; i < in.len; i++) {
		slice here = slice_skip(in, i);

		if (true_start && options & DOTS && slice_starts(here, SLICE(".\r\n")))
			return true;
		if (true_start && options & DOTS && here.ptr[0] == '.') {
			true_start = false;
			continue;
		}
		true_start = slice_starts(here, SLICE("\r\n"));
		if (true_start) {
			out_str(o, "\r\n");
			i++;
		} else if (here.ptr[0] == '\r' || here.ptr[0] == '\n') {
			out_bytes(o, options & FIX ? "\r\n" : here.ptr, options & FIX ? 2 : 1);
		} else {
			out_char(o, here.ptr[0]);
		}
	}
	return false;
}

static size_t random_content(unsigned *seed, char *buf, size_t max)
{
	static const char alphabet[] = "\r\n.\r\n.\r\nab\0\xc3";
	size_t len = 0;

	while (len < max) {
		*seed = *seed * 1103515245 + 12345;
		buf[len++] = alphabet[(*seed >> 16) % (sizeof(alphabet) - 1)];
	}
	return len;
}

Test(smtp_body, agrees_with_the_obvious_decoder)
{
	static const unsigned options[] = { DOTS, DOTS | FIX, 0, FIX };
	unsigned seed = 7;

	for (int round = 0; round < 4000; round++) {
		char buf[40];
		slice in = slice_of(buf, random_content(&seed, buf, sizeof(buf))), rest = in, piece;
		unsigned option = options[round % 4];
		struct out want = out_heap(1000), got = out_heap(1000);
		struct smtp_body b;
		enum step step = STEP_MORE;
		bool end = obvious(in, option, &want);

		smtp_body_init(&b, option);
		while (rest.len && step == STEP_MORE) {
			step = smtp_body_take(&b, &rest, &piece);
			out_slice(&got, piece);
		}
		/* Without an end the decoder may hold back a dot or a CR. */
		slice known = out_written(&got);
		bool same = end ? slice_eq(known, out_written(&want)) && step == STEP_DONE :
				  slice_starts(out_written(&want), known) && step == STEP_MORE;

		if (!same || b.size_bytes != got.len)
			cr_assert_fail("round %d", round);
		out_heap_done(&want);
		out_heap_done(&got);
	}
}

Test(smtp_body, long_lines)
{
	static const unsigned plain = DOTS, wrapped = DOTS | WRAP;
	char text[2100];
	struct out seen = out_heap(10000);

	for (size_t n = 997; n <= 999; n++) {
		memset(text, 'x', n);
		memcpy(text + n, "\r\n.\r\n", 5);
		seen.len = 0;
		cr_assert(feed_all_ways(&parser, &plain, slice_of(text, n + 5), &seen));
		cr_assert_eq(slice_search(out_written(&seen), SLICE("long")) >= 0, n > 998);
	}
	memset(text, 'x', 2000);
	memcpy(text + 2000, "\r\n.\r\n", 5);
	seen.len = 0;
	cr_assert(feed_all_ways(&parser, &wrapped, slice_of(text, 2005), &seen));
	cr_assert_eq(slice_search(out_written(&seen), SLICE("\r\n x")), 998);
	cr_assert_eq(slice_search(slice_skip(out_written(&seen), 1000), SLICE("\r\n x")), 998);
	cr_assert_eq(slice_search(out_written(&seen), SLICE("|end long|2008")), 2008);
	seen.len = 0;
	memcpy(text + 998, "\r\n.\r\n", 5);
	cr_assert(feed_all_ways(&parser, &wrapped, slice_of(text, 1003), &seen));
	cr_assert_eq(slice_search(out_written(&seen), SLICE("|end|1000")), 1000);
	out_heap_done(&seen);
}

static size_t take_stuffed(void *state, slice in, bool last, struct out *o)
{
	size_t len = in.len;

	while (in.len)
		out_slice(o, smtp_stuff_take(state, &in));
	if (last)
		out_slice(o, smtp_stuff_end(state));
	return last ? FEED_STOP : len;
}

static const struct feed_parser stuffer = {
	.name = "smtp_stuff",
	.state_size = sizeof(struct smtp_stuff),
	.take = take_stuffed,
};

static const struct {
	slice in, want;
} stuffed[] = {
	{ SLICE_INIT(""), SLICE_INIT(".\r\n") },
	{ SLICE_INIT("a\r\n"), SLICE_INIT("a\r\n.\r\n") },
	{ SLICE_INIT("a"), SLICE_INIT("a\r\n.\r\n") },
	{ SLICE_INIT(".\r\n..\r\na.b\r\n.x\r\n"), SLICE_INIT("..\r\n...\r\na.b\r\n..x\r\n.\r\n") },
	{ SLICE_INIT("\r\n\r\n."), SLICE_INIT("\r\n\r\n..\r\n.\r\n") },
};

Test(smtp_body, stuffing_in_every_division)
{
	for (size_t i = 0; i < array_len(stuffed); i++) {
		struct out seen = out_heap(1000);

		cr_assert(feed_all_ways(&stuffer, NULL, stuffed[i].in, &seen));
		cr_assert(slice_eq(out_written(&seen), stuffed[i].want), "%zu: %.*s", i,
			SLICE_ARG(out_written(&seen)));
		out_heap_done(&seen);
	}
}

/* What the encoder writes the decoder reads back, for content with CRLF line ends. */
Test(smtp_body, round_trip)
{
	unsigned seed = 3;

	for (int round = 0; round < 2000; round++) {
		struct out content = out_heap(1000), wire = out_heap(1000), back = out_heap(1000);
		struct smtp_stuff s = { 0 };
		enum step step = STEP_MORE;
		struct smtp_body b;
		slice in, piece;

		for (int i = 0; i < 30; i++) {
			seed = seed * 1103515245 + 12345;
			out_str(&content,
				(const char *const[]){ "\r\n", ".", "ab", "." }[seed >> 16 & 3]);
		}
		out_str(&content, "\r\n");
		in = out_written(&content);
		while (in.len)
			out_slice(&wire, smtp_stuff_take(&s, &in));
		out_slice(&wire, smtp_stuff_end(&s));
		in = out_written(&wire);
		smtp_body_init(&b, DOTS);
		while (in.len && step == STEP_MORE) {
			step = smtp_body_take(&b, &in, &piece);
			out_slice(&back, piece);
		}
		if (step != STEP_DONE || in.len ||
			!slice_eq(out_written(&back), out_written(&content)))
			cr_assert_fail("round %d", round);
		out_heap_done(&content);
		out_heap_done(&wire);
		out_heap_done(&back);
	}
}

Test(smtp_body, clean_content_comes_in_one_piece)
{
	slice in = SLICE("From: a\r\n\r\nHello, world. This is it.\r\nBye.\r\n"), whole = in, piece;
	struct smtp_body b;

	smtp_body_init(&b, DOTS);
	cr_assert_eq(smtp_body_take(&b, &in, &piece), STEP_MORE);
	cr_assert(slice_eq(piece, whole) && piece.ptr == whole.ptr && !in.len);
}
