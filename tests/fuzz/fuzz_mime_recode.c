/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mime_recode.c - the walker gives back every byte; scanning and converting do not depend on the
 * cuts, nor a header's end on its limit; and what was converted for a hop needs no conversion for it any more. */
#include "core/base/text.h"
#include "proto/mime/recode.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct part_limits limits = { .depth_max = 8, .count_max = 50, .header_max = 4096 };

struct arg {
	const struct recode_scan *scan;
	struct recode_hop hop;
};

static void init_walk(void *state, const void *arg)
{
	part_init(state, &limits);
}

static void done_walk(void *state)
{
	part_done(state);
}

/* Copies the bytes, and counts the parts at the end. */
static size_t take_walk(void *state, slice in, bool last, struct out *o)
{
	struct part_walker *w = state;
	slice rest = in, bytes;
	enum part_event event;

	while ((event = part_next(w, &rest, last, &bytes)) != PART_MORE) {
		out_slice(o, bytes);
		if (event == PART_LIMIT || event == PART_DONE) {
			out_printf(o, "%u%s", w->count, event == PART_LIMIT ? "!" : "");
			return FEED_STOP;
		}
	}
	must(rest.len == 0);
	return in.len;
}

/* Where the first header ends. */
static size_t header_len(slice in, size_t header_max)
{
	struct part_limits all = limits;
	struct part_walker w;
	enum part_event event;
	size_t len = 0;
	slice bytes;

	all.header_max = header_max;
	all.long_headers = true;
	part_init(&w, &all);
	do {
		event = part_next(&w, &in, true, &bytes);
		len += bytes.len;
	} while (event == PART_LONG);
	must(event == PART_HEADER);
	part_done(&w);
	return len;
}

static void init_run(void *state, const void *arg)
{
	const struct arg *a = arg;

	recode_run_init(state, a->scan, a->hop);
}

static void done_run(void *state)
{
	recode_run_done(state);
}

static size_t take_run(void *state, slice in, bool last, struct out *o)
{
	must((last ? recode_run_end(state, o) : recode_run_add(state, in, o)) == OK);
	return last ? FEED_STOP : in.len;
}

static const struct feed_parser walker = { .name = "walker",
	.init = init_walk,
	.take = take_walk,
	.done = done_walk,
	.state_size = sizeof(struct part_walker) };
static const struct feed_parser runner = { .name = "recode",
	.init = init_run,
	.take = take_run,
	.done = done_run,
	.state_size = sizeof(struct recode_run) };

static struct recode_facts scan(struct recode_scan *s, slice in, size_t step)
{
	recode_scan_init(s, &limits);
	for (; in.len; in = slice_skip(in, step))
		recode_scan_add(s, slice_sub(in, 0, step));
	recode_scan_end(s);
	return s->facts;
}

static void convert(const struct recode_scan *s, slice in, struct recode_hop hop)
{
	struct arg arg = { s, hop };
	struct out o = out_heap(in.len * 4 + 65536);
	struct recode_scan again;

	if (recode_plan_for(&s->facts, hop) != RECODE_CONVERT)
		return;
	must(feed_few_ways(&runner, &arg, in, &o) && out_ok(&o));
	/* New fields may push a header over the limit; then nothing can be said. */
	struct recode_facts facts = scan(&again, out_written(&o), o.len + 1);

	must(facts.limited || recode_plan_for(&facts, hop) == RECODE_AS_IS);
	recode_scan_done(&again);
	out_heap_done(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	slice in = slice_of(bytes, len);
	struct out o = out_heap(len + 64);
	struct recode_scan whole, cut;

	must(feed_few_ways(&walker, NULL, in, &o));
	must(o.buf[o.len - 1] == '!' || slice_starts(out_written(&o), in));
	out_heap_done(&o);

	if (len <= 1000) /* longer lines are judged by their begin */
		must(header_len(in, 64) == header_len(in, 4096));
	struct recode_facts one = scan(&whole, in, len + 1), two = scan(&cut, in, 3);

	must(memcmp(&one, &two, sizeof(one)) == 0);
	convert(&whole, in, (struct recode_hop){ .smtputf8 = true });
	convert(&whole, in, (struct recode_hop){ .smtputf8 = true, .eight_bit = true });
	recode_scan_done(&whole);
	recode_scan_done(&cut);
	return 0;
}
