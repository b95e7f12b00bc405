/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each parser takes whatever piece there is, and tells what came of all of them at the end. */
#include "tests/support/proto_feeds.h"

#include "proto/mime/charset.h"
#include "proto/mime/summary.h"
#include "proto/smtp/command.h"
#include "proto/smtp/reply.h"

struct build {
	struct summary_builder *b;
};

static void init_build(void *state, const void *arg)
{
	struct build *build = state;

	build->b = summary_begin();
}

static void done_build(void *state)
{
	summary_drop(((struct build *)state)->b);
}

static size_t take_message(void *state, slice in, bool last, struct out *o)
{
	struct build *build = state;

	summary_add(build->b, in);
	if (!last)
		return in.len;
	summary_end(build->b, o);
	build->b = NULL;
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

struct cutter {
	struct smtp_lines lines;
	size_t max;
};

static void init_cutter(void *state, const void *arg)
{
	((struct cutter *)state)->max = *(const size_t *)arg;
}

static size_t take_line(void *state, slice in, bool last, struct out *o)
{
	struct cutter *c = state;
	size_t used = 0;
	slice line;

	if (last) {
		out_printf(o, "left %zu\n", in.len);
		return FEED_STOP;
	}
	switch (smtp_line_cut(&c->lines, in, c->max, &used, &line)) {
	case STEP_DONE:
		must(feed_inside(line, in) && line.len + 2 <= c->max);
		out_str(o, "line ");
		out_slice(o, line);
		out_char(o, '\n');
		break;
	case STEP_BAD:
		out_str(o, "bad\n");
		break;
	case STEP_TOO_LONG:
		out_str(o, "long\n");
		break;
	case STEP_MORE:
		break;
	}
	return used;
}

const struct feed_parser feed_smtp_lines = { .name = "smtp_line_cut",
	.init = init_cutter,
	.take = take_line,
	.state_size = sizeof(struct cutter) };

struct reader {
	struct smtp_replies replies;
	char text[FEED_REPLY_TEXT];
};

static void init_reader(void *state, const void *arg)
{
	struct reader *r = state;

	smtp_replies_init(&r->replies, r->text, sizeof(r->text));
}

static size_t take_reply(void *state, slice in, bool last, struct out *o)
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
		step = smtp_replies_add(&r->replies, &line, &reply);
		if (step == STEP_MORE)
			return used;
	}
	if (step != STEP_DONE) {
		out_str(o, step == STEP_BAD ? "bad" : "long");
		return FEED_STOP;
	}
	out_printf(o, "%d %d.%d.%d [", reply.code, reply.status.class, reply.status.subject,
		reply.status.detail);
	out_slice(o, reply.text);
	out_str(o, reply.cut ? "] cut " : "] ");
	return used;
}

const struct feed_parser feed_smtp_replies = { .name = "smtp_reply",
	.init = init_reader,
	.take = take_reply,
	.state_size = sizeof(struct reader) };
