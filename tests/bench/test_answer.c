/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where answers end, however the bytes come. */
#include "bench/answer.h"
#include "bench/mix.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

/* The state lives across pieces, as on a connection: pieces are handed over whole. */
static size_t take_imap(void *state, slice in, bool last, struct out *o)
{
	struct imap_answer *a = state;
	size_t used;

	(void)last;
	if (!in.len)
		return 0;
	if (imap_answer_feed(a, in, &used) == STEP_DONE) {
		out_slice(o, slice_of(a->head, a->head_len));
		out_char(o, '|');
	}
	return used;
}

static size_t take_pop3(void *state, slice in, bool last, struct out *o)
{
	struct pop3_answer *a = state;
	size_t used;

	(void)last;
	if (!in.len)
		return 0;
	a->multi = true;
	if (pop3_answer_feed(a, in, &used) == STEP_DONE) {
		out_slice(o, slice_of(a->head, a->head_len));
		out_char(o, '|');
	}
	return used;
}

static const struct feed_parser imap = {
	.name = "imap_answer", .state_size = sizeof(struct imap_answer), .take = take_imap
};
static const struct feed_parser pop3 = {
	.name = "pop3_answer", .state_size = sizeof(struct pop3_answer), .take = take_pop3
};

struct row {
	slice in;
	const char *heads, *why;
};

static void check(const struct feed_parser *parser, const struct row *row)
{
	char buf[1024];
	struct out seen = out_fixed(buf, sizeof(buf));

	cr_assert(feed_all_ways(parser, NULL, row->in, &seen), "%s", row->why);
	cr_assert(slice_eq(out_written(&seen), slice_str(row->heads)), "%s: %.*s", row->why,
		SLICE_ARG(out_written(&seen)));
}

Test(answer, imap_ends_where_the_response_ends)
{
	static const struct row rows[] = {
		{ SLICE_INIT("* 1 EXISTS\r\na1 OK done\r\n"), "* 1 EXISTS|a1 OK done|", "lines" },
		{ SLICE_INIT("* 1 FETCH (BODY[] {5}\r\na\r\nbc)\r\na1 OK\r\n"),
			"* 1 FETCH (BODY[] {5}|a1 OK|", "a literal" },
		{ SLICE_INIT("* 1 FETCH (A {2}\r\n\r\n B {0}\r\n C ~{1}\r\n\nD)\r\n* 2 EXISTS\r\n"),
			"* 1 FETCH (A {2}|* 2 EXISTS|", "several literals, one empty, one binary" },
		{ SLICE_INIT("* OK of course {5}\r\na1 NO not {3}\r\n"),
			"* OK of course {5}|a1 NO not {3}|", "words announce nothing" },
		{ SLICE_INIT("* LIST () \"/\" \"a{5}\"\r\n* LIST (x}\r\n"),
			"* LIST () \"/\" \"a{5}\"|* LIST (x}|", "braces that are none" },
		{ SLICE_INIT("+ \r\na1 OK\n"), "+ |a1 OK|", "a bare LF too" },
		{ SLICE_INIT("* 1 FETCH (BODY[] {5}\r\nab"), "", "not whole" },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		check(&imap, &rows[i]);
}

Test(answer, pop3_ends_at_the_lone_dot)
{
	static const struct row rows[] = {
		{ SLICE_INIT("+OK 2\r\na\r\n..\r\n.b\r\n.\r\n-ERR no\r\n+OK\r\n.\r\n"),
			"+OK 2|-ERR no|+OK|", "stuffed dots, a refusal, an empty body" },
		{ SLICE_INIT("+OK\r\na.\r\n"), "", "not whole" },
		{ SLICE_INIT("+OK\r\na\r\nbb\r\n\r\n..c\nd\n.x\r\ne\r\n.\r\n-ERR\r\n"), "+OK|-ERR|",
			"many lines" },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		check(&pop3, &rows[i]);
}

static const struct {
	int other;
	const char *name;
} table[] = { { 1, "a" }, { 2, "b" }, { 3, "c" } };
static const struct mix_names names = MIX_NAMES(table);

Test(mix, weights_are_shares)
{
	struct mix mix;
	unsigned counts[3] = { 0 };

	cr_assert(mix_parse(&mix, SLICE("c=7,a=2,b"), &names));
	for (uint64_t n = 0; n < 10000; n++)
		counts[mix.parts[mix_choose(&mix, n)].row]++;
	cr_assert(counts[2] > 6700 && counts[2] < 7300, "%u", counts[2]);
	cr_assert(counts[0] > 1700 && counts[0] < 2300, "%u", counts[0]);
	cr_assert_eq(counts[0] + counts[1] + counts[2], 10000);
}

Test(mix, wrong_ones_are_refused)
{
	static const char *const bad[] = { "", "d", "a=0", "a=x", "a,,b", "a=1000001", ",a" };

	for (size_t i = 0; i < array_len(bad); i++) {
		struct mix mix;

		cr_assert_not(mix_parse(&mix, slice_str(bad[i]), &names), "%s", bad[i]);
	}
}
