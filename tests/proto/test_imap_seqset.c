/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sequence sets: parsed, resolved, written; and lists of runs against each other and against a mailbox. */
#include "proto/imap/seqset.h"

#include "tests/support/imap_text.h"

#include <criterion/criterion.h>

static struct arena arena;
static const struct imap_limits limits = { .terms_max = 100 };

static slice shown(struct run_list list)
{
	struct out o = out_arena(&arena);

	imap_put_runs(&o, list);
	return out_written(&o);
}

static struct run_list list_of(const char *text)
{
	struct imap_lex x = imap_lex_of(&arena, slice_str(text), &limits);
	struct run_list list = { 0 };

	cr_assert(!text[0] || (imap_lex_uidset(&x, &list) && imap_lex_end(&x)), "%s", text);
	return list;
}

#define shows(list, text)                                                                        \
	do {                                                                                     \
		slice got = shown(list);                                                         \
		cr_assert(slice_eq(got, slice_str(text)), "%.*s, not %s", SLICE_ARG(got), text); \
	} while (0)

static const struct {
	const char *in, *written, *resolved;
	uint32_t last;
} rows[] = {
	{ "1", "1", "1", 10 },
	{ "2,4:7,9,12:*", "2,4:7,9,12:*", "2,4:7,9,12:15", 15 }, /* RFC 9051 9 */
	{ "*:4,5:7", "4:*,5:7", "4:10", 10 },
	{ "12:*", "12:*", "10:12", 10 },
	{ "*", "*", "10", 10 },
	{ "*", "*", "", 0 },
	{ "1:*", "1:*", "", 0 },
	{ "*:*", "*", "3", 3 },
	{ "5:3,1,2", "3:5,1,2", "1:5", 10 },
	{ "1,1,1:2", "1,1,1:2", "1:2", 10 },
	{ "4294967295", "4294967295", "4294967295", 10 },
	{ "1:4294967295,3", "1:4294967295,3", "1:4294967295", 10 },
	{ "$", "$", "", 10 },
	{ "1,$", "1,$", "1", 10 }, /* the saved result is not resolved here */
	{ "$,5:*", "5:*,$", "5:10", 10 },
	{ "2,$,$,4", "2,4,$", "2,4", 10 },
};

Test(imap_seqset, sets)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct imap_lex x = imap_lex_of(&arena, slice_str(rows[i].in), &limits);
		struct out o = out_arena(&arena);
		struct imap_seqset set;

		cr_assert(imap_lex_seqset(&x, &set) && imap_lex_end(&x), "%s", rows[i].in);
		cr_assert_eq(set.star, strchr(rows[i].in, '*') != NULL);
		cr_assert_eq(set.saved, strchr(rows[i].in, '$') != NULL);
		imap_text_set(&o, &set);
		cr_assert(slice_eq(out_written(&o), slice_str(rows[i].written)), "%s", rows[i].in);
		shows(imap_seqset_resolve(&arena, &set, rows[i].last), rows[i].resolved);
	}
	arena_done(&arena);
}

Test(imap_seqset, refused)
{
	static const char *const bad[] = { "", "0", "1,", ",1", "1:", ":1", "a", "1:0",
		"4294967296", "-1", "1;2", "**", "$1", "1$", "$,", ",$", "$:2", "2:$", "$$" };

	for (size_t i = 0; i < array_len(bad); i++) {
		struct imap_lex x = imap_lex_of(&arena, slice_str(bad[i]), &limits);
		struct imap_seqset set;

		cr_assert(!(imap_lex_seqset(&x, &set) && imap_lex_end(&x)) && x.why, "%s", bad[i]);
	}
	struct imap_lex x = imap_lex_of(&arena, SLICE("1:*"), &limits);
	struct run_list list;

	cr_assert(!imap_lex_uidset(&x, &list));
	arena_done(&arena);
}

Test(imap_seqset, lists)
{
	static const struct {
		const char *p, *q, *both, *either;
	} pairs[] = {
		{ "1:10", "3:4,9:12", "3:4,9:10", "1:12" },
		{ "1,3,5", "2,4", "", "1:5" },
		{ "5:9", "1:20", "5:9", "1:20" },
		{ "1:3,5:7,9", "3:5", "3,5", "1:7,9" },
		{ "", "1", "", "1" },
		{ "1:4294967295", "7", "7", "1:4294967295" },
	};

	for (size_t i = 0; i < array_len(pairs); i++) {
		struct run_list p = list_of(pairs[i].p), q = list_of(pairs[i].q);

		shows(run_list_both(&arena, p, q), pairs[i].both);
		shows(run_list_both(&arena, q, p), pairs[i].both);
		shows(run_list_either(&arena, p, q), pairs[i].either);
		shows(run_list_either(&arena, q, p), pairs[i].either);
	}
	cr_assert(run_list_has(list_of("1:3,7"), 7) && !run_list_has(list_of("1:3,7"), 5));
	cr_assert_eq(run_list_count(list_of("1:4294967295")), UINT32_MAX);
	arena_done(&arena);
}

Test(imap_seqset, against_a_mailbox)
{
	struct runs uids = { 0 };
	struct out o = out_arena(&arena);

	cr_assert(runs_add_range(&uids, 10, 12) && runs_add(&uids, 20) &&
		runs_add_range(&uids, 30, 40));
	shows(run_list_existing(&arena, list_of("11:25,40:99"), &uids), "11:12,20,40");
	imap_put_runs_of(&o, &uids, 12, 31);
	cr_assert(slice_eq(out_written(&o), SLICE("12,20,30:31")));
	runs_done(&uids);
	arena_done(&arena);
}
