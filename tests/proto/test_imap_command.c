/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands with literals in every division, and a session in miniature that answers continuation requests
 * and takes or refuses messages. */
#include "proto/imap/command.h"

#include "tests/support/feed.h"

#include <criterion/criterion.h>

static const struct imap_limits limits = {
	.line_max = 64, .literal_max = 20, .plus_max = 1000, .depth_max = 10, .terms_max = 100
};

struct session {
	struct imap_reader reader;
	bool refuse, taking;
};

static void init(void *state, const void *arg)
{
	((struct session *)state)->refuse = arg != NULL;
}

static void answer_message(struct session *s, struct out *o)
{
	if (s->refuse) {
		imap_message_refuse(&s->reader);
		out_str(o, "refused\n");
		return;
	}
	if (imap_message_accept(&s->reader))
		out_str(o, "+\n");
	s->taking = imap_message_left(&s->reader) > 0;
}

static size_t take_message(struct session *s, slice in, struct out *o)
{
	slice piece = imap_message_take(&s->reader, in);

	for (size_t i = 0; i < piece.len; i++)
		out_printf(o, "m%c\n", piece.ptr[i]);
	s->taking = imap_message_left(&s->reader) > 0;
	return piece.len;
}

/* NUL as a question mark, since it would end the text that is wanted. */
static void put_text(struct out *o, slice text)
{
	for (size_t i = 0; i < text.len; i++)
		out_char(o, text.ptr[i] ? text.ptr[i] : '?');
}

static void put_part(struct out *o, const struct imap_part *part)
{
	out_str(o, part->later ? "later[" : "[");
	put_text(o, part->text);
	out_str(o, !part->message ? "]\n" : part->binary ? "] binary\n" : "] message\n");
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct session *s = state;
	struct imap_part part;
	size_t used;

	if (last) {
		out_printf(o, "left %zu\n", in.len);
		return FEED_STOP;
	}
	if (s->taking)
		return take_message(s, in, o);
	enum step step;

	while ((step = imap_command_take(&s->reader, in, &limits, &used, &part)) == STEP_MORE &&
		part.prompt)
		out_str(o, "+\n");
	must(feed_inside(part.tag, in) && feed_inside(part.text, in));
	if (step == STEP_DONE)
		put_part(o, &part);
	else if (step != STEP_MORE)
		out_printf(o, "%s %.*s: %s\n", step == STEP_BAD ? "bad" : "long",
			SLICE_ARG(part.tag), part.why);
	if (part.message)
		answer_message(s, o);
	return used;
}

static const struct feed_parser parser = {
	.name = "imap_command_take",
	.state_size = sizeof(struct session),
	.init = init,
	.take = take,
};

struct row {
	slice in;
	const char *want, *why;
	bool refuse;
};

static void check(const struct row *row)
{
	struct out seen = out_heap(100000);

	cr_assert(feed_all_ways(&parser, row->refuse ? row : NULL, row->in, &seen), "%s", row->why);
	cr_assert(slice_eq(out_written(&seen), slice_str(row->want)), "%s: %.*s", row->why,
		SLICE_ARG(out_written(&seen)));
	out_heap_done(&seen);
}

#define EOL "a line must end with CRLF"
#define TOO_BIG "the literal is too long"

static const struct row command_rows[] = {
	{ SLICE_INIT("a1 NOOP\r\na2 LOGOUT\r\nA"), "[a1 NOOP]\n[a2 LOGOUT]\nleft 1\n", "two", 0 },
	{ SLICE_INIT("A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man\r\n"),
		"+\n+\n[A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man]\nleft 0\n", "RFC 9051 4.3",
		0 },
	{ SLICE_INIT("A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\nb NOOP\r\n"),
		"[A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man]\n[b NOOP]\nleft 0\n",
		"RFC 7888 4", 0 },
	{ SLICE_INIT("a X {2+}\r\n\r\n\r\n"), "[a X {2+}\r\n\r\n]\nleft 0\n", "CRLF in a literal",
		0 },
	{ SLICE_INIT("a X {0}\r\n\r\n"), "+\n[a X {0}\r\n]\nleft 0\n", "nothing in a literal", 0 },
	{ SLICE_INIT("a X ~{2+}\r\n\0\n\r\n"), "[a X ~{2+}\r\n?\n]\nleft 0\n", "literal8", 0 },
	{ SLICE_INIT("a X \"{5}\"\r\n"), "[a X \"{5}\"]\nleft 0\n", "quoted", 0 },
	{ SLICE_INIT("a X \"\\\"{5}\r\nb Y\r\n"),
		"bad a: a quoted string must end on its line\n[b Y]\nleft 0\n", "open quote", 0 },
	{ SLICE_INIT("a X {5} \r\nb Y\r\n"), "[a X {5} ]\n[b Y]\nleft 0\n", "not at the end", 0 },
	{ SLICE_INIT("a X {}\r\na {5-}\r\na {+}\r\n"), "[a X {}]\n[a {5-}]\n[a {+}]\nleft 0\n",
		"no literals", 0 },
	{ SLICE_INIT("a X\nb Y\r\nc Z\r\n"), "bad a: " EOL "\n[c Z]\nleft 0\n", "bare LF", 0 },
	{ SLICE_INIT("a X\rb Y\r\r\nc Z\r\n"), "bad a: " EOL "\n[c Z]\nleft 0\n", "bare CR", 0 },
	{ SLICE_INIT("a \0X {3+}\r\nb Y\r\nc Z\r\n"), "bad a: NUL is not allowed\n[c Z]\nleft 0\n",
		"a bad command's literal is no command", 0 },
	{ SLICE_INIT("a \0X {3}\r\nb Y\r\n"), "bad a: NUL is not allowed\n[b Y]\nleft 0\n",
		"nor is one asked for", 0 },
	{ SLICE_INIT("\r\n x\r\n"), "[]\n[ x]\nleft 0\n", "no tag", 0 },
	{ SLICE_INIT("a+ \0\r\n"), "bad : NUL is not allowed\nleft 0\n", "no tag to answer", 0 },
};

Test(imap_command, commands_in_every_division)
{
	for (size_t i = 0; i < array_len(command_rows); i++)
		check(&command_rows[i]);
}

#define TEN "0123456789"
#define HUGE "99999999999999999999999"

static const struct row limit_rows[] = {
	{ SLICE_INIT("a " TEN TEN TEN TEN TEN TEN "\r\nb\r\n"),
		"[a " TEN TEN TEN TEN TEN TEN "]\n[b]\nleft 0\n", "exactly the limit", 0 },
	{ SLICE_INIT("a " TEN TEN TEN TEN TEN TEN "1\r\nb\r\n"),
		"long a: the command is too long\n[b]\nleft 0\n", "one more", 0 },
	{ SLICE_INIT("a " TEN TEN TEN TEN TEN TEN TEN " \"x {2+}\r\nb {2+}\r\nxy\r\nc\r\n"),
		"long a: the command is too long\n[b {2+}\r\nxy]\n[c]\nleft 0\n",
		"what is swallowed knows its quotes", 0 },
	{ SLICE_INIT("a " TEN TEN TEN TEN TEN TEN TEN " {4+}\r\nb\r\n {3}\r\nc\r\n"),
		"long a: the command is too long\n[c]\nleft 0\n", "and its literals", 0 },
	{ SLICE_INIT("a X {21}\r\nb\r\n"), "long a: " TOO_BIG "\n[b]\nleft 0\n", "synchronising",
		0 },
	{ SLICE_INIT("a X {21+}\r\nxxxxxxxxxxxxxxxx\r\nxxx tail\r\nb\r\n"),
		"long a: " TOO_BIG "\n[b]\nleft 0\n", "not", 0 },
	{ SLICE_INIT("a XXXXXXXXXX {20+}\r\n" TEN TEN " {20+}\r\n" TEN TEN "\r\nb\r\n"),
		"long a: " TOO_BIG "\n[b]\nleft 0\n", "together over the line's limit", 0 },
	{ SLICE_INIT("a X {" HUGE "}\r\nb\r\n"), "long a: " TOO_BIG "\n[b]\nleft 0\n", "no number",
		0 },
	{ SLICE_INIT("a X {" HUGE "+}\r\nb\r\n"), "long a: " TOO_BIG "\nleft 0\n",
		"swallowed for ever", 0 },
	{ SLICE_INIT("a APPEND x {1001+}\r\n"), "long a: " TOO_BIG "\nleft 0\n", "LITERAL-", 0 },
};

Test(imap_command, limits_in_every_division)
{
	for (size_t i = 0; i < array_len(limit_rows); i++)
		check(&limit_rows[i]);
}

static const struct row append_rows[] = {
	{ SLICE_INIT("A003 APPEND s (\\Seen) {3}\r\nabc\r\nb NOOP\r\n"),
		"[A003 APPEND s (\\Seen) ] message\n+\nma\nmb\nmc\nlater[]\n[b NOOP]\nleft 0\n",
		"RFC 9051 6.3.12", 0 },
	{ SLICE_INIT("A APPEND s {2+}\r\nab (\\Seen) ~{1+}\r\nc\r\nb NOOP\r\n"),
		"[A APPEND s ] message\nma\nmb\nlater[ (\\Seen) ] binary\nmc\nlater[]\n[b NOOP]\n"
		"left 0\n",
		"RFC 3502", 0 },
	{ SLICE_INIT("A append {1}\r\ns {2}\r\nab\r\n"),
		"+\n[A append {1}\r\ns ] message\n+\nma\nmb\nlater[]\nleft 0\n", "mailbox literal",
		0 },
	{ SLICE_INIT("A APPEND s UTF8 (~{1+}\r\na)\r\n"),
		"[A APPEND s UTF8 (] binary\nma\nlater[)]\nleft 0\n", "RFC 6855 4", 0 },
	{ SLICE_INIT("A APPEND s {0+}\r\n\r\nb\r\n"),
		"[A APPEND s ] message\nlater[]\n[b]\nleft 0\n", "nothing", 0 },
	{ SLICE_INIT("A APPEND s {1+}\r\na\nx\r\nb\r\n"),
		"[A APPEND s ] message\nma\nbad : " EOL "\n[b]\nleft 0\n", "bad behind it", 0 },
	{ SLICE_INIT("A UID REPLACE 4 {1+}\r\ns {1+}\r\na\r\n"),
		"[A UID REPLACE 4 {1+}\r\ns ] message\nma\nlater[]\nleft 0\n", "RFC 8508", 0 },
	{ SLICE_INIT("A APPEND s {3}\r\nb NOOP\r\n"),
		"[A APPEND s ] message\nrefused\n[b NOOP]\nleft 0\n", "refused: it does not come",
		1 },
	{ SLICE_INIT("A APPEND s {3+}\r\nabc {2+}\r\nde {5}\r\nb NOOP\r\n"),
		"[A APPEND s ] message\nrefused\n[b NOOP]\nleft 0\n",
		"refused: it comes all the same", 1 },
};

Test(imap_command, messages_are_not_collected)
{
	for (size_t i = 0; i < array_len(append_rows); i++)
		check(&append_rows[i]);
}

Test(imap_command, a_message_can_be_refused_half_way)
{
	struct imap_reader r = { 0 };
	struct imap_part part;
	size_t used;

	cr_assert_eq(imap_command_take(&r, SLICE("a APPEND s {5}\r\n"), &limits, &used, &part),
		STEP_DONE);
	cr_assert(part.message && part.sync && part.bytes == 5 && used == 16);
	cr_assert(imap_message_accept(&r));
	cr_assert_eq(imap_message_take(&r, SLICE("abc")).len, 3);
	imap_message_refuse(&r);
	cr_assert_eq(imap_command_take(&r, SLICE("de\r\nb\r\n"), &limits, &used, &part), STEP_MORE);
	cr_assert_eq(used, 4);
	cr_assert_eq(imap_command_take(&r, SLICE("b\r\n"), &limits, &used, &part), STEP_DONE);
	cr_assert(slice_eq(part.text, SLICE("b")) && !part.later);
}

static size_t take_line(void *state, slice in, bool last, struct out *o)
{
	size_t used = 0;
	slice line;

	if (last)
		return FEED_STOP;
	enum step step = imap_line_take(state, in, 8, &used, &line);

	if (step == STEP_DONE)
		out_printf(o, "[%.*s]", SLICE_ARG(line));
	else if (step != STEP_MORE)
		out_str(o, step == STEP_BAD ? "bad" : "long");
	return used;
}

Test(imap_command, lines)
{
	static const struct feed_parser lines = {
		.name = "imap_line_take",
		.state_size = sizeof(struct imap_reader),
		.take = take_line,
	};
	struct out seen = out_heap(1000);

	cr_assert(feed_all_ways(&lines, NULL,
		SLICE("DONE\r\n{5}\r\n123456\r\n1234567\r\nx\ry\r\n1234567890\r\r\n*\r\n"), &seen));
	cr_assert(slice_eq(out_written(&seen), SLICE("[DONE][{5}][123456]longbadlong[*]")), "%.*s",
		SLICE_ARG(out_written(&seen)));
	out_heap_done(&seen);
}

Test(imap_command, split)
{
	static const struct {
		const char *text, *tag, *verb, *args;
		bool uid, good;
	} rows[] = {
		{ "a NOOP", "a", "NOOP", "", false, true },
		{ "A1 login x y", "A1", "login", " x y", false, true },
		{ "a uid FETCH 1 FLAGS", "a", "FETCH", " 1 FLAGS", true, true },
		{ "a UID UID x", "a", "UID", " x", true, true },
		{ "a", "a", "", "", false, false },
		{ "a ", "a", "", "", false, false },
		{ "a UID", "a", "", "", true, false },
		{ "", "", "", "", false, false },
		{ "+ NOOP", "", "", "", false, false },
		{ " a NOOP", "", "", "", false, false },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct imap_command command;
		const char *why;

		cr_assert_eq(imap_command_split(slice_str(rows[i].text), &command, &why),
			rows[i].good, "%s", rows[i].text);
		cr_assert(slice_eq(command.tag, slice_str(rows[i].tag)), "%s", rows[i].text);
		cr_assert_eq(why == NULL, rows[i].good);
		cr_assert(!rows[i].good ||
				(slice_eq(command.verb, slice_str(rows[i].verb)) &&
					slice_eq(command.args, slice_str(rows[i].args)) &&
					command.uid == rows[i].uid),
			"%s", rows[i].text);
	}
}
