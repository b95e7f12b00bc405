/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_dkim_canon.c - both canonical bodies, however cut, are those of a plain second implementation
 * that works on the whole text, line by line; and making one canonical again changes nothing. */
#include "proto/mailauth/dkim_canon.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct state {
	struct dkim_body body;
	struct out *to;
};

static void sink(void *arg, slice bytes)
{
	out_slice(((struct state *)arg)->to, bytes);
}

static void init(void *state, const void *arg)
{
	struct state *s = state;

	dkim_body_init(&s->body, *(const enum dkim_canon *)arg);
	s->body.sink = sink;
	s->body.sink_arg = s;
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct state *s = state;
	unsigned char hash[DKIM_HASH];

	s->to = o;
	dkim_body_add(&s->body, in);
	if (last)
		dkim_body_end(&s->body, hash);
	return last ? FEED_STOP : in.len;
}

static const struct feed_parser parser = {
	.name = "canon", .init = init, .take = take, .state_size = sizeof(struct state)
};

/* One line without its end; relaxed: runs of blanks one space, none at the end. */
static void put_line(enum dkim_canon canon, slice line, struct out *o)
{
	bool gap = false;

	for (size_t i = 0; i < line.len; i++) {
		bool blank = line.ptr[i] == ' ' || line.ptr[i] == '\t';

		if (canon == DKIM_RELAXED && blank) {
			gap = true;
			continue;
		}
		if (gap)
			out_char(o, ' ');
		gap = false;
		out_char(o, line.ptr[i]);
	}
}

static void plain_form(enum dkim_canon canon, slice in, struct out *o)
{
	size_t kept = 0; /* up to the end of the last line that is not empty */

	while (in.len) {
		ptrdiff_t at = slice_search(in, SLICE("\r\n"));
		size_t begin = o->len;

		put_line(canon, at < 0 ? in : slice_sub(in, 0, (size_t)at), o);
		in = slice_skip(in, at < 0 ? in.len : (size_t)at + 2);
		if (o->len > begin)
			kept = o->len + 2;
		out_str(o, "\r\n");
	}
	o->len = kept;
	if (kept == 0 && canon == DKIM_SIMPLE)
		out_str(o, "\r\n");
}

static void check(enum dkim_canon canon, slice in)
{
	struct out got = out_heap(in.len * 2 + 64), want = out_heap(in.len * 2 + 64);
	struct out again = out_heap(in.len * 2 + 64);

	must(feed_few_ways(&parser, &canon, in, &got));
	plain_form(canon, in, &want);
	must(slice_eq(out_written(&got), out_written(&want)));
	must(feed_few_ways(&parser, &canon, out_written(&got), &again));
	must(slice_eq(out_written(&got), out_written(&again)));
	out_heap_done(&got);
	out_heap_done(&want);
	out_heap_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	check(DKIM_SIMPLE, slice_of(bytes, len));
	check(DKIM_RELAXED, slice_of(bytes, len));
	return 0;
}
