/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each parser takes whatever piece there is, and tells what came of all of them at the end. */
#include "tests/support/proto_feeds.h"

#include "proto/mime/charset.h"
#include "proto/mime/summary.h"

struct build {
	struct arena a;
	struct summary_builder *b;
};

static void init_build(void *state, const void *arg)
{
	struct build *build = state;

	build->b = summary_begin(&build->a);
}

static void done_build(void *state)
{
	arena_done(&((struct build *)state)->a);
}

static size_t take_message(void *state, slice in, bool last, struct out *o)
{
	struct build *build = state;

	summary_add(build->b, in);
	if (!last)
		return in.len;
	summary_end(build->b, o);
	return FEED_STOP;
}

const struct feed_parser feed_summary = { .name = "summary",
	.init = init_build,
	.take = take_message,
	.done = done_build,
	.state_size = sizeof(struct build) };

static void init_decoder(void *state, const void *arg)
{
	charset_begin(state, *(const slice *)arg, NULL);
}

static size_t take_text(void *state, slice in, bool last, struct out *o)
{
	charset_add(state, in, o);
	if (!last)
		return in.len;
	charset_end(state, o);
	return FEED_STOP;
}

const struct feed_parser feed_charset = { .name = "charset",
	.init = init_decoder,
	.take = take_text,
	.state_size = sizeof(struct charset_decoder) };
