/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mime_header.c - the end detector agrees with the field iterator, however the bytes are cut;
 * fields lie inside the block; a plan without edits changes nothing; addresses survive rendering. */
#include "proto/mime/addrlist.h"
#include "proto/mime/edit.h"
#include "proto/mime/header.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct header_end *e = state;
	enum step step = header_end_feed(e, in);

	if (step == STEP_MORE && !last)
		return in.len;
	if (step == STEP_MORE)
		header_end_finish(e);
	if (step == STEP_TOO_LONG)
		out_str(o, "too long");
	else
		out_printf(o, "%zu %d", e->bytes, e->implied);
	return FEED_STOP;
}

static const struct feed_parser parser = {
	.name = "header", .take = take, .state_size = sizeof(struct header_end)
};

static void addresses_survive(slice value, bool salvage)
{
	struct arena a = { 0 };
	struct addrlist l = { .rest = value, .arena = &a, .salvage = salvage };
	struct addrlist_item one, two;

	while (addrlist_next(&l, &one)) {
		struct out o = out_arena(&a);

		addrlist_put(&o, &one);
		struct addrlist again = { .rest = out_written(&o), .arena = &a };

		must(addrlist_next(&again, &two));
		must(slice_eq(one.local, two.local) && slice_eq(one.domain, two.domain));
		must(!addrlist_next(&again, &two) && !again.bad);
	}
	arena_done(&a);
}

static void edits_keep(slice block)
{
	struct arena a = { 0 };
	struct edit plan = { .arena = &a };
	struct out o = out_arena(&a);

	edit_apply(&plan, block, &o);
	must(slice_starts(out_written(&o), slice_sub(block, 0, o.len - 2)) ||
		slice_starts(out_written(&o), block));
	arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	slice in = slice_of(bytes, len), rest;
	struct header_end e = { 0 };
	struct header_field field;

	must(feed_few_ways(&parser, NULL, in, NULL));
	if (header_end_feed(&e, in) == STEP_TOO_LONG)
		return 0;
	if (!e.bytes && !e.implied)
		header_end_finish(&e);
	slice block = slice_sub(in, 0, e.bytes);

	for (rest = block; header_next(&rest, &field);) {
		must(feed_inside(field.whole, block) && feed_inside(field.name, field.whole));
		must(feed_inside(field.value, field.whole) && field.name.len > 0);
		addresses_survive(field.value, false);
		addresses_survive(field.value, true);
	}
	must(e.implied ? rest.len == 0 :
			 slice_eq(rest, SLICE("\r\n")) || slice_eq(rest, SLICE("\n")));
	must(header_skip_stray(block).len == block.len);
	must(feed_inside(header_skip_stray(in), in));
	must(header_facts_of(block).fields >= header_facts_of(block).hops);
	edits_keep(block);
	return 0;
}
