/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_feed.c - the tool that checks parsers is checked by good and by faulty parsers. */
#include "tests/support/feed.h"
#include "tests/support/tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

/* A line at a time, as the server cuts its commands. */
static size_t take_lines(void *state, slice in, bool last, struct out *o)
{
	ptrdiff_t at = slice_find(in, '\n');
	if (at >= 0) {
		out_printf(o, "line %.*s\n", (int)at, in.ptr);
		return (size_t)at + 1;
	}
	if (last && in.len)
		out_printf(o, "rest %zu\n", in.len);
	return last ? in.len : 0;
}

/* Faulty: shows how the bytes were divided. */
static size_t take_pieces(void *state, slice in, bool last, struct out *o)
{
	out_printf(o, "piece %zu\n", in.len);
	return in.len;
}

static size_t take_until_q(void *state, slice in, bool last, struct out *o)
{
	size_t *seen = state;
	for (size_t i = 0; i < in.len; i++, ++*seen) {
		if (in.ptr[i] == 'q') {
			out_printf(o, "q at %zu\n", *seen);
			return FEED_STOP;
		}
	}
	return in.len;
}

static const struct feed_parser lines = { .name = "lines", .take = take_lines };
static const struct feed_parser pieces = { .name = "pieces", .take = take_pieces };
static const struct feed_parser until_q = {
	.name = "until q", .take = take_until_q, .state_size = sizeof(size_t)
};

Test(feed, good_parser_passes_and_shows_its_text)
{
	char buf[256];
	struct out o = out_fixed(buf, sizeof buf);
	cr_assert(feed_all_ways(&lines, NULL, SLICE("one\n\ntwo\nthr"), &o));
	cr_assert(slice_eq(out_written(&o), SLICE("line one\nline \nline two\nrest 3\n")));
}

Test(feed, division_dependent_parser_is_caught)
{
	fprintf(stderr, "(one reported difference is expected here)\n");
	cr_assert_not(feed_all_ways(&pieces, NULL, SLICE("abcdef"), NULL));
}

Test(feed, stop_ends_feeding)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof buf);
	cr_assert(feed_all_ways(&until_q, NULL, SLICE("xyzq not seen q"), &o));
	cr_assert(slice_eq(out_written(&o), SLICE("q at 3\n")));
}

Test(feed, empty_and_long_inputs)
{
	static char bytes[5000];
	memset(bytes, 'x', sizeof bytes);
	for (size_t i = 70; i < sizeof bytes; i += 71)
		bytes[i] = '\n';
	cr_assert(feed_all_ways(&lines, NULL, slice_of(bytes, sizeof bytes), NULL));
	cr_assert(feed_all_ways(&lines, NULL, SLICE(""), NULL));
	cr_assert(feed_few_ways(&lines, NULL, slice_of(bytes, sizeof bytes), NULL));
}

Test(feed, inside)
{
	slice whole = SLICE("abcdef");
	cr_assert(feed_inside(slice_sub(whole, 2, 6), whole));
	cr_assert_not(feed_inside(slice_of(whole.ptr + 4, 3), whole));
	cr_assert_not(feed_inside(whole, slice_sub(whole, 1, 6)));
}

Test(tmpdir, is_made_and_removed_with_content)
{
	struct tmpdir d;
	char path[300];
	tmpdir_make(&d);
	FILE *f = fopen(tmpdir_file(&d, "x", path, sizeof path), "w");
	cr_assert(f);
	fclose(f);
	cr_assert(access(path, F_OK) == 0);
	tmpdir_remove(&d);
	cr_assert(access(path, F_OK) != 0);
}
