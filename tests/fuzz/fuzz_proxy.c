/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Oracle: the same answer in every division; what is consumed and every slice lie inside. */
#include "core/proxy.h"

#include "tests/support/feed.h"

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct proxy_header h;
	size_t used = 0;
	enum step step = proxy_parse(in, &h, &used);

	(void)state;
	(void)last;
	if (step == STEP_MORE)
		return 0;
	out_printf(o, "%d %zu", step, used);
	if (step != STEP_DONE)
		return FEED_STOP;
	must(used > 0 && used <= in.len && feed_inside(h.authority, slice_sub(in, 0, used)));
	must(h.local == (h.source.kind == ADDR_NONE));
	out_printf(o, "%d%d", h.local, h.tls);
	addr_put(o, &h.source);
	addr_put(o, &h.dest);
	out_slice(o, h.authority);
	return FEED_STOP;
}
static const struct feed_parser parser = { .name = "proxy", .take = take };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	must(feed_few_ways(&parser, NULL, slice_of(data, MIN(size, (size_t)3000)), NULL));
	return 0;
}
