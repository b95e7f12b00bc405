/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mime_collate.c - the first line is looked for in the rest: found, whatever the cuts, exactly
 * when its key stands in the other's key. */
#include "proto/mime/collate.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void init_find(void *state, const void *arg)
{
	*(struct collate_find *)state = (struct collate_find){ .needle = arg };
}

static size_t take_find(void *state, slice in, bool last, struct out *o)
{
	bool found = collate_find_add(state, in);

	if (!found && !last)
		return in.len;
	out_char(o, found || collate_find_end(state) ? '1' : '0');
	return FEED_STOP;
}

static const struct feed_parser parser = { .name = "find",
	.init = init_find,
	.take = take_find,
	.state_size = sizeof(struct collate_find) };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	slice text = slice_of(bytes, len), what = { 0 };
	struct arena a = { 0 };
	struct out one = out_arena(&a), two = out_arena(&a), seen = out_arena(&a);
	struct collate_needle n;
	bool there;

	slice_cut(&text, '\n', &what);
	collate_needle_init(&n, what, &a);
	collate_key(&one, what);
	collate_key(&two, text);
	there = slice_search(out_written(&two), out_written(&one)) >= 0;
	must(feed_few_ways(&parser, &n, text, &seen));
	must(collate_has(&n, text) == there && (seen.buf[0] == '1') == there);
	arena_done(&a);
	return 0;
}
