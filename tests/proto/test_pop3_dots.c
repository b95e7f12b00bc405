/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multi-line responses in every division of the bytes, and into every size of room. */
#include "proto/pop3/dots.h"

#include "tests/support/feed.h"

#include <criterion/criterion.h>

struct state {
	struct pop3_dots dots;
};

static void begin(void *state, const void *arg)
{
	struct state *s = state;
	const int *lines = arg;

	if (*lines < 0)
		pop3_dots_init(&s->dots);
	else
		pop3_dots_top(&s->dots, (uint32_t)*lines);
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct state *s = state;
	slice rest = in;
	char room[3];

	while (rest.len && !s->dots.done) {
		struct out small = out_fixed(room, sizeof(room));

		pop3_dots_put(&s->dots, &rest, &small);
		out_slice(o, out_written(&small));
	}
	if (last || s->dots.done) {
		pop3_dots_end(&s->dots, o);
		return FEED_STOP;
	}
	return in.len;
}

static const struct feed_parser parser = {
	.name = "pop3_dots", .state_size = sizeof(struct state), .init = begin, .take = take
};

static const struct {
	int lines; /* -1: all */
	slice in, want;
	const char *why;
} rows[] = {
	{ -1, SLICE_INIT(""), SLICE_INIT(".\r\n"), "nothing at all" },
	{ -1, SLICE_INIT("a\r\n.b\r\n..\r\n"), SLICE_INIT("a\r\n..b\r\n...\r\n.\r\n"), "dots" },
	{ -1, SLICE_INIT(".\r\n"), SLICE_INIT("..\r\n.\r\n"), "a dot in the first line" },
	{ -1, SLICE_INIT("no end"), SLICE_INIT("no end\r\n.\r\n"), "the last line is ended" },
	{ -1, SLICE_INIT("a\n.b\r.c\r\n"), SLICE_INIT("a\n.b\r.c\r\n.\r\n"),
		"only CRLF ends a line" },
	{ -1, SLICE_INIT("a\r\r\n.\r\n"), SLICE_INIT("a\r\r\n..\r\n.\r\n"), "CR CR LF" },
	{ 0, SLICE_INIT("H: 1\r\n\r\none\r\ntwo\r\n"), SLICE_INIT("H: 1\r\n\r\n.\r\n"),
		"TOP n 0 is the header and the blank line" },
	{ 1, SLICE_INIT("H: 1\r\n\r\none\r\ntwo\r\n"), SLICE_INIT("H: 1\r\n\r\none\r\n.\r\n"),
		"one line" },
	{ 5, SLICE_INIT("H: 1\r\n\r\none\r\ntwo"), SLICE_INIT("H: 1\r\n\r\none\r\ntwo\r\n.\r\n"),
		"more than there are" },
	{ 1, SLICE_INIT("\r\n\r\none\r\n"), SLICE_INIT("\r\n\r\n.\r\n"), "no header at all" },
};

Test(pop3_dots, every_division_gives_the_same)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct out seen = out_heap(4096);

		cr_expect(feed_all_ways(&parser, &rows[i].lines, rows[i].in, &seen), "%s",
			rows[i].why);
		cr_expect(slice_eq(out_written(&seen), rows[i].want), "%s: %.*s", rows[i].why,
			SLICE_ARG(out_written(&seen)));
		out_heap_done(&seen);
	}
}

/* RFC 1939 3, a byte at a time. */
static void stuff_plainly(slice in, struct out *o)
{
	bool begins = true;

	for (size_t i = 0; i < in.len; i++) {
		if (begins && in.ptr[i] == '.')
			out_char(o, '.');
		out_char(o, in.ptr[i]);
		begins = in.ptr[i] == '\n' && i && in.ptr[i - 1] == '\r';
	}
	out_str(o, begins ? ".\r\n" : "\r\n.\r\n");
}

/* As the server does: passed where they are if they can be, else put; in pieces of these sizes. */
static void stuff(slice in, size_t piece, struct out *o, size_t *passed)
{
	struct pop3_dots dots;

	pop3_dots_init(&dots);
	while (in.len) {
		slice part = slice_sub(in, 0, piece);

		in = slice_skip(in, part.len);
		if (pop3_dots_pass(&dots, part)) {
			out_slice(o, part);
			++*passed;
		} else {
			pop3_dots_put(&dots, &part, o);
			cr_assert_eq(part.len, 0u);
		}
	}
	pop3_dots_end(&dots, o);
}

Test(pop3_dots, passed_or_put_it_is_the_same)
{
	static const char letters[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\n\r..";
	char want_buf[4096], got_buf[4096], in[700];
	uint32_t seed = 1;
	size_t passed = 0;

	for (unsigned i = 0; i < 20000; i++) {
		struct out want = out_fixed(want_buf, sizeof(want_buf));
		struct out got = out_fixed(got_buf, sizeof(got_buf));
		size_t len, few = i % 3 ? 6 : 0;

		seed = seed * 1664525 + 1013904223;
		len = (seed >> 16) % (i % 2 ? 20 : sizeof(in));
		for (size_t k = 0; k < len; k++) {
			seed = seed * 1664525 + 1013904223;
			in[k] = letters[few + (seed >> 16) % (sizeof(letters) - 1 - few)];
			if (i % 4 == 0 && k && in[k] == '.')
				in[k] = 'b';
		}
		stuff_plainly(slice_of(in, len), &want);
		stuff(slice_of(in, len), 1 + (seed >> 8) % 300, &got, &passed);
		cr_assert(slice_eq(out_written(&want), out_written(&got)), "%.*s", (int)len, in);
	}
	cr_expect_gt(passed, (size_t)1000);
}
