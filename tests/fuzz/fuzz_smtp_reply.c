/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies: the same in every division; what was read and is rendered again reads the same. EHLO lines
 * go through the capability reader. */
#include "proto/smtp/reply.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reader {
	struct smtp_replies replies;
	struct smtp_caps caps;
	char text[256];
};

static void begin(void *state, const void *arg)
{
	struct reader *r = state;

	(void)arg;
	smtp_replies_init(&r->replies, r->text, sizeof(r->text));
}

static void check_render(const struct smtp_reply *reply)
{
	char wire[4096], text[512];
	struct out o = out_fixed(wire, sizeof(wire));
	struct smtp_replies replies;
	struct smtp_reply_line line;
	struct smtp_reply back;
	enum step step = STEP_MORE;
	size_t used;

	smtp_put_reply(&o, reply->code, reply->status, reply->text);
	must(out_ok(&o));
	slice in = out_written(&o);

	smtp_replies_init(&replies, text, sizeof(text));
	while (step == STEP_MORE) {
		must(smtp_reply_line(in, &used, &line) == STEP_DONE && used <= 512);
		in = slice_skip(in, used);
		step = smtp_replies_add(&replies, &line, &back);
	}
	must(step == STEP_DONE && !in.len && back.code == reply->code);
	must(!reply->status.class ||
		(back.status.class == reply->status.class &&
			back.status.subject == reply->status.subject &&
			back.status.detail == reply->status.detail));
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct reader *r = state;
	struct smtp_reply_line line;
	struct smtp_reply reply;
	size_t used = 0;
	enum step step = last ? STEP_MORE : smtp_reply_line(in, &used, &line);

	if (step == STEP_MORE)
		return last ? FEED_STOP : 0;
	if (step == STEP_DONE) {
		must(feed_inside(line.text, in) && used <= in.len);
		smtp_caps_add(&r->caps, line.text);
		step = smtp_replies_add(&r->replies, &line, &reply);
		if (step == STEP_MORE)
			return used;
	}
	if (step != STEP_DONE) {
		out_printf(o, "bad %d", (int)step);
		return FEED_STOP;
	}
	check_render(&reply);
	out_printf(o, "%d %d.%d.%d %d caps %x\n", reply.code, reply.status.class,
		reply.status.subject, reply.status.detail, reply.cut, smtp_caps_params(&r->caps));
	out_slice(o, reply.text);
	return used;
}

static const struct feed_parser parser = {
	.name = "smtp_reply",
	.state_size = sizeof(struct reader),
	.init = begin,
	.take = take,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	must(feed_few_ways(&parser, NULL, slice_of(data, size), NULL));
	return 0;
}
