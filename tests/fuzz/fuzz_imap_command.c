/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_command.c - commands with literals: the same parts however the bytes are cut, slices inside the
 * input, limits kept, and all bytes used up but those of an unfinished part. The first byte says which
 * messages are refused. */
#include "proto/imap/command.h"
#include "proto/imap/lexer.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct imap_limits limits = {
	.line_max = 300, .literal_max = 100, .plus_max = 60, .depth_max = 10, .terms_max = 20
};

struct session {
	struct imap_reader reader;
	unsigned choices, messages;
	bool taking;
};

static void init(void *state, const void *arg)
{
	((struct session *)state)->choices = *(const uint8_t *)arg;
}

static void answer_message(struct session *s, const struct imap_part *part, struct out *o)
{
	if (s->choices >> (s->messages++ % 8) & 1) {
		imap_message_refuse(&s->reader);
		return;
	}
	must(imap_message_accept(&s->reader) == part->sync);
	must(imap_message_left(&s->reader) == part->bytes);
	s->taking = part->bytes > 0;
}

/* Every token kind may be tried on every command: none leaves the text. */
static void lex(slice text)
{
	struct arena a = { 0 };
	struct imap_lex x = imap_lex_of(&a, text, &limits);
	slice token = { 0 };

	while (!imap_lex_at_end(&x)) {
		size_t before = x.rest.len;

		if (imap_lex_skip(&x, ' ') || imap_lex_skip(&x, '(') || imap_lex_skip(&x, ')'))
			continue;
		if (!imap_lex_astring(&x, &token))
			break;
		must(x.rest.len < before && feed_inside(x.rest, text));
		must(token.len <= before);
	}
	must(imap_lex_at_end(&x) || x.why);
	arena_done(&a);
}

static void check_part(const struct imap_part *part, slice in, size_t used)
{
	struct imap_command command;
	const char *why;

	must(used <= in.len && used <= limits.line_max);
	must(feed_inside(part->text, slice_sub(in, 0, used)));
	must(feed_inside(part->tag, in));
	lex(part->text);
	if (!part->later && imap_command_split(part->text, &command, &why)) {
		must(feed_inside(command.verb, part->text) && command.verb.len);
		must(slice_eq(command.tag, part->tag));
	}
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct session *s = state;
	struct imap_part part;
	size_t used;

	if (last)
		return FEED_STOP;
	if (s->taking) {
		slice piece = imap_message_take(&s->reader, in);

		s->taking = imap_message_left(&s->reader) > 0;
		for (size_t i = 0; i < piece.len; i++) /* one entry a byte, however it is cut */
			out_char(o, piece.ptr[i]);
		return piece.len;
	}
	enum step step;

	while ((step = imap_command_take(&s->reader, in, &limits, &used, &part)) == STEP_MORE &&
		part.prompt)
		out_str(o, "\n+\n");
	if (step == STEP_DONE) {
		check_part(&part, in, used);
		out_printf(o, "\npart %zu %d%d\n", part.text.len, part.message, part.later);
		out_slice(o, part.text);
	} else if (step != STEP_MORE) {
		must(part.why && used > 0 && used <= limits.line_max);
		out_printf(o, "\n%d %.*s\n", (int)step, SLICE_ARG(part.tag));
	} else {
		must(used <= in.len && (used || in.len <= limits.line_max));
	}
	if (part.message)
		answer_message(s, &part, o);
	return used;
}

static const struct feed_parser parser = {
	.name = "imap_command_take",
	.state_size = sizeof(struct session),
	.init = init,
	.take = take,
};

static size_t take_line(void *state, slice in, bool last, struct out *o)
{
	size_t used = 0;
	slice line = { 0 };

	if (last)
		return FEED_STOP;
	enum step step = imap_line_take(state, in, 50, &used, &line);

	if (step == STEP_MORE)
		return used;
	must(used && feed_inside(line, in) && line.len <= 48);
	out_printf(o, "%d %zu\n", (int)step, line.len);
	return used;
}

static const struct feed_parser lines = {
	.name = "imap_line_take",
	.state_size = sizeof(struct imap_reader),
	.take = take_line,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (!len)
		return 0;
	must(feed_few_ways(&parser, bytes, slice_of(bytes + 1, len - 1), NULL));
	must(feed_few_ways(&lines, NULL, slice_of(bytes, len), NULL));
	return 0;
}
