/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DATA and BDAT content: the first byte chooses the options; the same content and flags in every
 * division, the rules of line ends kept, and stuffing read back. */
#include "proto/smtp/body.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void begin(void *state, const void *options)
{
	smtp_body_init(state, *(const unsigned *)options);
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct smtp_body *b = state;
	enum step step = STEP_MORE;
	slice piece, rest = in;

	while (rest.len && step == STEP_MORE) {
		step = smtp_body_take(b, &rest, &piece);
		out_slice(o, piece);
	}
	if (last && !(b->options & SMTP_BODY_DOTS))
		out_slice(o, smtp_body_end(b));
	must(b->size_bytes == o->len);
	if (step == STEP_MORE && !last)
		return in.len;
	if (b->options & SMTP_BODY_FIX && step == STEP_DONE && o->len)
		must(o->len >= 2 && o->buf[o->len - 2] == '\r' && o->buf[o->len - 1] == '\n');
	out_printf(o, "|%d %u", (int)step, (unsigned)b->flags);
	return FEED_STOP;
}

static const struct feed_parser parser = {
	.name = "smtp_body",
	.state_size = sizeof(struct smtp_body),
	.init = begin,
	.take = take,
};

/* Content made clean by FIX, stuffed, is read back as it was, with nothing left over. */
static void round_trip(slice in)
{
	struct out clean = out_heap(1 << 24), wire = out_heap(1 << 24), back = out_heap(1 << 24);
	struct smtp_stuff stuff = { 0 };
	enum step step = STEP_MORE;
	struct smtp_body b;
	slice piece;

	smtp_body_init(&b, SMTP_BODY_FIX);
	while (in.len) {
		must(smtp_body_take(&b, &in, &piece) == STEP_MORE);
		out_slice(&clean, piece);
	}
	out_slice(&clean, smtp_body_end(&b));
	in = out_written(&clean);
	while (in.len)
		out_slice(&wire, smtp_stuff_take(&stuff, &in));
	out_slice(&wire, smtp_stuff_end(&stuff));
	in = out_written(&wire);
	smtp_body_init(&b, SMTP_BODY_DOTS);
	while (in.len && step == STEP_MORE) {
		step = smtp_body_take(&b, &in, &piece);
		out_slice(&back, piece);
	}
	must(step == STEP_DONE && !in.len && slice_starts(out_written(&back), out_written(&clean)));
	must(!(b.flags & (SMTP_SAW_BARE_CR | SMTP_SAW_BARE_LF)) && back.len <= clean.len + 2);
	out_heap_done(&clean);
	out_heap_done(&wire);
	out_heap_done(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	unsigned options = data[0] & 15;
	slice in = slice_of(data + 1, size - 1);

	must(feed_few_ways(&parser, &options, in, NULL));
	round_trip(in);
	return 0;
}
