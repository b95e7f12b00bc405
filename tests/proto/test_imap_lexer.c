/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tokens: each kind with what it takes and what it refuses. */
#include "proto/imap/lexer.h"

#include "proto/imap/seqset.h"

#include <criterion/criterion.h>

static struct arena arena;
static const struct imap_limits limits = {
	.line_max = 65536, .literal_max = 65536, .depth_max = 10, .terms_max = 5
};

typedef bool taker(struct imap_lex *x, slice *out);

static const struct {
	taker *take;
	slice in, want, rest;
	bool bad;
} rows[] = {
	{ imap_lex_atom, SLICE_INIT("abc def"), SLICE_INIT("abc"), SLICE_INIT(" def"), 0 },
	{ imap_lex_atom, SLICE_INIT("a]b"), SLICE_INIT("a"), SLICE_INIT("]b"), 0 },
	{ imap_lex_atom, SLICE_INIT("+$!#&'`|~"), SLICE_INIT("+$!#&'`|~"), SLICE_INIT(""), 0 },
	{ imap_lex_atom, SLICE_INIT("\x80"), { 0 }, { 0 }, true },
	{ imap_lex_atom, SLICE_INIT(""), { 0 }, { 0 }, true },
	{ imap_lex_atom, SLICE_INIT("(a"), { 0 }, { 0 }, true },
	{ imap_lex_name, SLICE_INIT("BODY.PEEK[1]"), SLICE_INIT("BODY.PEEK"), SLICE_INIT("[1]"),
		0 },
	{ imap_lex_astring, SLICE_INIT("a]b c"), SLICE_INIT("a]b"), SLICE_INIT(" c"), 0 },
	{ imap_lex_astring, SLICE_INIT("\"\" x"), SLICE_INIT(""), SLICE_INIT(" x"), 0 },
	{ imap_lex_astring, SLICE_INIT("a%b"), SLICE_INIT("a"), SLICE_INIT("%b"), 0 },
	{ imap_lex_string, SLICE_INIT("\"a b\"c"), SLICE_INIT("a b"), SLICE_INIT("c"), 0 },
	{ imap_lex_string, SLICE_INIT("\"a\\\"b\\\\\""), SLICE_INIT("a\"b\\"), SLICE_INIT(""), 0 },
	{ imap_lex_string, SLICE_INIT("\"\xc3\xa4\""), SLICE_INIT("\xc3\xa4"), SLICE_INIT(""), 0 },
	{ imap_lex_string, SLICE_INIT("\"\xc3\""), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("\"a\\b\""), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("\"a"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("\"a\\"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("\"a\r\""), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("a"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("{3}\r\nabcd"), SLICE_INIT("abc"), SLICE_INIT("d"), 0 },
	{ imap_lex_string, SLICE_INIT("{3+}\r\n\r\n\""), SLICE_INIT("\r\n\""), SLICE_INIT(""), 0 },
	{ imap_lex_string, SLICE_INIT("{0}\r\n"), SLICE_INIT(""), SLICE_INIT(""), 0 },
	{ imap_lex_string, SLICE_INIT("{3}\r\nab"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("{3}ab"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("{}\r\n"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("{99999999999999999999}\r\n"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("{1}\r\n\0"), { 0 }, { 0 }, true },
	{ imap_lex_string, SLICE_INIT("~{1}\r\na"), { 0 }, { 0 }, true },
	{ imap_lex_nstring, SLICE_INIT("nil)"), { 0 }, SLICE_INIT(")"), 0 },
	{ imap_lex_nstring, SLICE_INIT("\"NIL\""), SLICE_INIT("NIL"), SLICE_INIT(""), 0 },
	{ imap_lex_nstring, SLICE_INIT("NILS"), { 0 }, { 0 }, true },
	{ imap_lex_mailbox, SLICE_INIT("inbox"), SLICE_INIT("INBOX"), SLICE_INIT(""), 0 },
	{ imap_lex_mailbox, SLICE_INIT("\"InBox/x\""), SLICE_INIT("INBOX/x"), SLICE_INIT(""), 0 },
	{ imap_lex_mailbox, SLICE_INIT("Inboxes"), SLICE_INIT("Inboxes"), SLICE_INIT(""), 0 },
	{ imap_lex_mailbox, SLICE_INIT("Entw&APw-rfe"), SLICE_INIT("Entw\xc3\xbcrfe"),
		SLICE_INIT(""), 0 },
	{ imap_lex_mailbox, SLICE_INIT("\"Entw\xc3\xbcrfe\""), { 0 }, { 0 }, true },
	{ imap_lex_mailbox, SLICE_INIT("\"a*\""), { 0 }, { 0 }, true },
	{ imap_lex_mailbox, SLICE_INIT("a/"), { 0 }, { 0 }, true },
	{ imap_lex_mailbox, SLICE_INIT("\"\""), { 0 }, { 0 }, true },
	{ imap_lex_mailbox, SLICE_INIT("a&b"), { 0 }, { 0 }, true },
	{ imap_lex_new_mailbox, SLICE_INIT("owatagusiam/"), SLICE_INIT("owatagusiam"),
		SLICE_INIT(""), 0 },
	{ imap_lex_pattern, SLICE_INIT("~/Mail/% x"), SLICE_INIT("~/Mail/%"), SLICE_INIT(" x"), 0 },
	{ imap_lex_pattern, SLICE_INIT("\"\""), SLICE_INIT(""), SLICE_INIT(""), 0 },
	{ imap_lex_pattern, SLICE_INIT("&APw-*"), SLICE_INIT("\xc3\xbc*"), SLICE_INIT(""), 0 },
};

Test(imap_lexer, tokens)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		struct imap_lex x = imap_lex_of(&arena, rows[i].in, &limits);
		slice got = { 0 };
		bool good = rows[i].take(&x, &got);

		cr_assert_eq(good, !rows[i].bad, "%zu: %.*s", i, SLICE_ARG(rows[i].in));
		cr_assert_eq(good, !x.why);
		if (!good)
			continue;
		cr_assert(slice_eq(got, rows[i].want), "%zu: %.*s", i, SLICE_ARG(got));
		cr_assert(slice_eq(x.rest, rows[i].rest), "%zu: %.*s", i, SLICE_ARG(x.rest));
	}
	arena_done(&arena);
}

Test(imap_lexer, utf8_names_when_enabled)
{
	struct imap_lex x = imap_lex_of(&arena, SLICE("\"\xc3\xbc&x\" \"&APw-\""), &limits);
	slice name;

	x.utf8 = true;
	cr_assert(imap_lex_mailbox(&x, &name) && slice_eq(name, SLICE("\xc3\xbc&x")));
	cr_assert(imap_lex_space(&x) && imap_lex_mailbox(&x, &name));
	cr_assert(slice_eq(name, SLICE("&APw-")));
	arena_done(&arena);
}

Test(imap_lexer, numbers)
{
	struct imap_lex x = imap_lex_of(&arena, SLICE("0 4294967295 9223372036854775807"), &limits);
	uint64_t n;
	uint32_t nz;

	cr_assert(imap_lex_number(&x, 0, 10, &n) && n == 0 && imap_lex_space(&x));
	cr_assert(imap_lex_nz(&x, &nz) && nz == UINT32_MAX && imap_lex_space(&x));
	cr_assert(imap_lex_number64(&x, &n) && n == INT64_MAX && imap_lex_end(&x));
	static const char *const bad[] = { "0", "4294967296", "-1", "", "x",
		"99999999999999999999999" };

	for (size_t i = 0; i < array_len(bad); i++) {
		x = imap_lex_of(&arena, slice_str(bad[i]), &limits);
		cr_assert(!imap_lex_nz(&x, &nz) && x.why, "%s", bad[i]);
	}
}

Test(imap_lexer, the_first_fault_stays_and_nothing_follows)
{
	struct imap_lex x = imap_lex_of(&arena, SLICE("a b"), &limits);
	slice word;

	cr_assert(!imap_lex_string(&x, &word));
	const char *why = x.why;

	cr_assert(!imap_lex_atom(&x, &word) && !imap_lex_skip(&x, 'a') && !imap_lex_end(&x));
	cr_assert(!imap_lex_at(&x, 'a') && !imap_lex_at_end(&x) && !imap_lex_char(&x, 'a'));
	cr_assert_eq(x.why, why);
}

Test(imap_lexer, lists_have_a_limit)
{
	struct imap_lex x = imap_lex_of(&arena, SLICE(""), &limits);
	struct imap_slices list = { 0 };

	for (size_t i = 0; i < limits.terms_max; i++)
		cr_assert(imap_lex_add(&x, &list, SLICE("x")));
	cr_assert(!imap_lex_add(&x, &list, SLICE("x")) && x.why);
	cr_assert_eq(list.len, limits.terms_max);
	arena_done(&arena);
}
