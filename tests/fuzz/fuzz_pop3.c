/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POP3 commands: arguments lie inside the line. Multi-line responses: however the bytes are cut, the
 * same comes out, and undoubling the dots gives back what went in. */
#include "proto/pop3/command.h"
#include "proto/pop3/dots.h"
#include "tests/support/feed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void begin(void *state, const void *arg)
{
	const int *lines = arg;

	if (*lines < 0)
		pop3_dots_init(state);
	else
		pop3_dots_top(state, (uint32_t)*lines);
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct pop3_dots *dots = state;
	slice rest = in;
	char room[7];

	while (rest.len && !dots->done) {
		struct out small = out_fixed(room, sizeof(room));

		pop3_dots_put(dots, &rest, &small);
		must(out_ok(&small) && small.len);
		out_slice(o, out_written(&small));
	}
	if (last || dots->done) {
		pop3_dots_end(dots, o);
		return FEED_STOP;
	}
	return in.len;
}

static const struct feed_parser parser = {
	.name = "pop3_dots", .state_size = sizeof(struct pop3_dots), .init = begin, .take = take
};

/* What a client reads: up to the lone dot, dots undoubled. */
static void check_client(slice wire, slice sent)
{
	size_t at = 0, from = 0;
	bool start = true;

	while (!(start && wire.len - from == 3)) {
		if (start && wire.ptr[from] == '.')
			from++;
		start = false;
		if (at < sent.len)
			must(wire.ptr[from] == sent.ptr[at]);
		at++;
		from++;
		start = from >= 2 && wire.ptr[from - 1] == '\n' && wire.ptr[from - 2] == '\r';
	}
	must(at == sent.len || at == sent.len + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice all = slice_of(data, size), verb, rest;
	struct out o = out_heap(size * 2 + 64);
	struct pop3_auth auth;
	struct pop3_top top;
	uint32_t n;
	int lines = -1;

	pop3_split(all, &verb, &rest);
	must(feed_inside(verb, all) && feed_inside(rest, all));
	must(!pop3_number(rest, &n) || n);
	must(!pop3_top(rest, &top) || top.number);
	must(!pop3_auth(rest, &auth) || feed_inside(auth.mechanism, all));
	must(feed_few_ways(&parser, &lines, all, &o));
	check_client(out_written(&o), all);
	out_heap_done(&o);
	lines = size ? data[0] % 8 : 0;
	must(feed_few_ways(&parser, &lines, all, NULL));
	return 0;
}
