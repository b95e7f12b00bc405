/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEARCH, SORT and THREAD with the examples of their RFCs: what parses is written back. */
#include "proto/imap/search.h"

#include "tests/support/imap_text.h"

#include <criterion/criterion.h>

static struct arena arena;
static const struct imap_limits limits = {
	.line_max = 65536, .literal_max = 65536, .depth_max = 5, .terms_max = 20
};

/* NULL: refused. The same text when it is written as it came. */
static const struct {
	const char *in, *out, *why;
} rows[] = {
	{ "FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"", "FLAGGED SINCE 1-Feb-1994 NOT FROM Smith",
		"RFC 9051 6.4.4" },
	{ "TEXT \"string not in mailbox\"", "TEXT \"string not in mailbox\"", "RFC 9051 6.4.4" },
	{ "RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
		"RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM Smith", "RFC 9051 6.4.4" },
	{ "RETURN () FLAGGED", "RETURN (ALL) FLAGGED", "RFC 9051 6.4.4" },
	{ "RETURN (SAVE) FLAGGED", "RETURN (SAVE) FLAGGED", "RFC 5182 2.4" },
	{ "RETURN (SAVE MIN) $ SMALLER 4096", "RETURN (MIN SAVE) $ SMALLER 4096", "RFC 5182 2.4" },
	{ "(OR $ 1,3000:3021) TEXT \"ts\"", "(OR $ 1,3000:3021) TEXT ts", "RFC 5182 2.4" },
	{ "CHARSET UTF-8 (OR $ 1,3000:3021) TEXT {7+}\r\nd\xd0\xb0 \xd0\xbd\xd0",
		"CHARSET UTF-8 (OR $ 1,3000:3021) TEXT {7}\r\nd\xd0\xb0 \xd0\xbd\xd0", "bytes" },
	{ "UNSEEN YOUNGER 259200", "UNSEEN YOUNGER 259200", "RFC 5032 3" },
	{ "MODSEQ \"/flags/\\\\draft\" all 620162338", "MODSEQ \"/flags/\\\\draft\" all 620162338",
		"RFC 7162 3.1.5" },
	{ "OR NOT MODSEQ 720162338 LARGER 50000", "OR NOT MODSEQ 720162338 LARGER 50000",
		"RFC 7162 3.1.5" },
	{ "EMAILID M6d99ac3275bb4e THREADID T64b478a75b7ea9",
		"EMAILID M6d99ac3275bb4e THREADID T64b478a75b7ea9", "RFC 8474 7" },
	{ "SAVEDATESUPPORTED SAVEDBEFORE 28-Jan-2018", "SAVEDATESUPPORTED SAVEDBEFORE 28-Jan-2018",
		"RFC 8514 4.3" },
	{ "SAVEDON 1-Jan-2018 SAVEDSINCE \"1-jan-2018\"",
		"SAVEDON 1-Jan-2018 SAVEDSINCE 1-Jan-2018", "quoted dates" },
	{ "all answered bcc a before 1-Jan-2000 body b cc c deleted draft",
		"ALL ANSWERED BCC a BEFORE 1-Jan-2000 BODY b CC c DELETED DRAFT", "any case" },
	{ "HEADER X-Y \"\" KEYWORD $Junk LARGER 0 NEW OLD ON 29-Feb-2000",
		"HEADER X-Y \"\" KEYWORD $Junk LARGER 0 NEW OLD ON 29-Feb-2000", "more keys" },
	{ "RECENT SEEN SENTBEFORE 01-Jan-1990 SENTON 1-Jan-1990 SENTSINCE 1-Jan-1990",
		"RECENT SEEN SENTBEFORE 1-Jan-1990 SENTON 1-Jan-1990 SENTSINCE 1-Jan-1990",
		"more" },
	{ "SMALLER 5 SUBJECT s TO t UID 1:*,5 UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNKEYWORD k",
		"SMALLER 5 SUBJECT s TO t UID 1:*,5 UNANSWERED UNDELETED UNDRAFT UNFLAGGED "
		"UNKEYWORD k",
		"more" },
	{ "((((SEEN))))", "((((SEEN))))", "lists" },
	{ "OR (SEEN FLAGGED) (NOT (DRAFT) 1:5) OLDER 1",
		"OR (SEEN FLAGGED) (NOT (DRAFT) 1:5) OLDER 1", "lists in keys" },
	{ "OR OR SEEN DRAFT OR NOT NEW OLD", "OR OR SEEN DRAFT OR NOT NEW OLD", "prefix order" },
	{ "SEEN ", "SEEN", "a space too many" },
	{ "NOT NOT NOT NOT NOT SEEN", "NOT NOT NOT NOT NOT SEEN", "as deep as allowed" },
	{ "NOT NOT NOT NOT NOT NOT SEEN", NULL, "deeper" },
	{ "((((((SEEN))))))", NULL, "deeper" },
	{ "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
		"as many as allowed" },
	{ "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", NULL, "more" },
	{ "", NULL, "no key" },
	{ "()", NULL, "no key in a list" },
	{ "(SEEN", NULL, "open" },
	{ "SEEN)", NULL, "not open" },
	{ "OR SEEN", NULL, "half" },
	{ "NOT", NULL, "nothing" },
	{ "NOT ", NULL, "nothing" },
	{ "SEENDRAFT", NULL, "no such key" },
	{ "SEEN(DRAFT)", NULL, "no space" },
	{ "FROM", NULL, "no string" },
	{ "SINCE 31-Feb-2000", NULL, "no such day" },
	{ "OLDER 0", NULL, "nz-number" },
	{ "KEYWORD \"x\"", NULL, "no atom" },
	{ "KEYWORD \\Seen", NULL, "no keyword" },
	{ "EMAILID a.b", NULL, "no object id" },
	{ "RETURN (FOO) SEEN", NULL, "unknown option" },
	{ "RETURN (MIN SEEN", NULL, "open" },
	{ "CHARSET UTF-8", NULL, "no key" },
	{ "MODSEQ \"/flags/\\\\draft\" 5", NULL, "no type" },
};

static slice parsed(slice in, struct imap_search *out, const char **why)
{
	struct imap_lex x =
		imap_lex_of(&arena, arena_printf(&arena, " %.*s", SLICE_ARG(in)), &limits);
	struct out o = out_arena(&arena);

	*out = (struct imap_search){ 0 };
	if (!imap_lex_search(&x, out)) {
		*why = x.why;
		return (slice){ 0 };
	}
	imap_text_search(&o, out);
	return slice_skip(out_written(&o), 1);
}

Test(imap_search, keys)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct imap_search search;
		const char *why = NULL;
		slice got = parsed(slice_str(rows[i].in), &search, &why);

		cr_assert_eq(got.ptr == NULL, rows[i].out == NULL, "%s: %s (%s)", rows[i].why,
			rows[i].in, why ? why : "accepted");
		cr_assert_eq(got.ptr == NULL, why != NULL);
		cr_assert(!got.ptr || slice_eq(got, slice_str(rows[i].out)), "%s: %.*s",
			rows[i].why, SLICE_ARG(got));
	}
	arena_done(&arena);
}

Test(imap_search, what_a_search_uses_is_known)
{
	struct imap_search search;
	const char *why;

	cr_assert(parsed(SLICE("OR MODSEQ 5 BODY x"), &search, &why).ptr);
	cr_assert(search.modseq && search.bodies && !search.saved && !search.extended);
	cr_assert(parsed(SLICE("RETURN (COUNT) UID $"), &search, &why).ptr);
	cr_assert(search.saved && !search.modseq && search.extended &&
		search.ret == IMAP_RETURN_COUNT);
	arena_done(&arena);
}

Test(imap_search, the_tree)
{
	struct imap_search search;
	const char *why;

	cr_assert(parsed(SLICE("OR UNSEEN (NOT HEADER X y) 5"), &search, &why).ptr);
	const struct imap_search_node * or = search.root->child;

	cr_assert(or->key == IMAP_KEY_OR && or->next->key == IMAP_KEY_SEQ && ! or->next->next);
	cr_assert(or->child->key == IMAP_KEY_FLAG && or->child->flag == 1 && ! or->child->wanted);
	const struct imap_search_node *header = or->child->next->child->child;

	cr_assert(header->key == IMAP_KEY_HEADER && slice_eq(header->name, SLICE("X")));
	cr_assert(header->parent->key == IMAP_KEY_NOT && header->parent->parent == or->last);
	cr_assert_eq(search.nodes, 7);
	arena_done(&arena);
}

static const struct {
	const char *in;
	bool good;
} sorts[] = {
	{ " (SUBJECT) UTF-8 SINCE 1-Feb-1994", true }, /* RFC 5256 3 */
	{ " (SUBJECT REVERSE DATE) UTF-8 ALL", true },
	{ " (REVERSE SIZE) US-ASCII TEXT \"x\"", true },
	{ " RETURN (COUNT) (DATE) UTF-8 ALL", true },
	{ " (DISPLAYFROM) UTF-8 ALL", true }, /* RFC 5957 */
	{ " () UTF-8 ALL", false },
	{ " (REVERSE) UTF-8 ALL", false },
	{ " (NAME) UTF-8 ALL", false },
	{ " (DATE) UTF-8", false },
	{ " DATE UTF-8 ALL", false },
	{ " (DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE) "
	  "UTF-8 ALL",
		false },
};

Test(imap_search, sort)
{
	for (size_t i = 0; i < array_len(sorts); i++) {
		struct imap_lex x = imap_lex_of(&arena, slice_str(sorts[i].in), &limits);
		struct imap_sort sort = { 0 };

		cr_assert_eq(imap_lex_sort(&x, &sort), sorts[i].good, "%s: %s", sorts[i].in, x.why);
		if (i != 1)
			continue;
		cr_assert(sort.by_len == 2 && sort.by[0].key == IMAP_SORT_SUBJECT &&
			!sort.by[0].reverse && sort.by[1].key == IMAP_SORT_DATE &&
			sort.by[1].reverse && slice_eq(sort.search.charset, SLICE("UTF-8")));
	}
	arena_done(&arena);
}

Test(imap_search, thread)
{
	struct imap_lex x =
		imap_lex_of(&arena, SLICE(" ORDEREDSUBJECT UTF-8 SINCE 5-MAR-2000"), &limits);
	struct imap_thread thread = { 0 };

	cr_assert(imap_lex_thread(&x, &thread)); /* RFC 5256 3 */
	cr_assert(slice_eq(thread.algorithm, SLICE("ORDEREDSUBJECT")));
	cr_assert(thread.search.root->child->key == IMAP_KEY_SINCE);
	x = imap_lex_of(&arena, SLICE(" REFERENCES US-ASCII"), &limits);
	cr_assert(!imap_lex_thread(&x, &thread));
	arena_done(&arena);
}
