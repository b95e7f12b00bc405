/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mailbox names: both spellings, what is no name, and patterns. */
#include "proto/imap/mutf7.h"

#include <criterion/criterion.h>

static const struct {
	slice coded, utf8;
} names[] = {
	{ SLICE_INIT("INBOX"), SLICE_INIT("INBOX") },
	{ SLICE_INIT(""), SLICE_INIT("") },
	/* RFC 3501 5.1.3 */
	{ SLICE_INIT("~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
		SLICE_INIT("~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
			   "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e") },
	{ SLICE_INIT("&Jjo-!"), SLICE_INIT("\xe2\x98\xba!") },
	{ SLICE_INIT("A&-B"), SLICE_INIT("A&B") },
	{ SLICE_INIT("&-&-"), SLICE_INIT("&&") },
	{ SLICE_INIT("&AOQ-&-"), SLICE_INIT("\xc3\xa4&") },
	{ SLICE_INIT("&2D3eCg-"), SLICE_INIT("\xf0\x9f\x98\x8a") },
	{ SLICE_INIT("&AOQA9gD8-"), SLICE_INIT("\xc3\xa4\xc3\xb6\xc3\xbc") },
	{ SLICE_INIT("&AAA-"), SLICE_INIT("\0") },
	{ SLICE_INIT("&,,8-"), SLICE_INIT("\xef\xbf\xbf") },
};

Test(imap_mutf7, both_ways)
{
	for (size_t i = 0; i < array_len(names); i++) {
		char buf[100];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(imap_mutf7_decode(&o, names[i].coded), "%zu", i);
		cr_assert(slice_eq(out_written(&o), names[i].utf8), "%zu", i);
		o.len = 0;
		cr_assert(imap_mutf7_encode(&o, names[i].utf8), "%zu", i);
		cr_assert(slice_eq(out_written(&o), names[i].coded), "%zu: %.*s", i,
			SLICE_ARG(out_written(&o)));
	}
}

Test(imap_mutf7, refused)
{
	static const struct {
		const char *in, *why;
	} rows[] = {
		{ "&U,BTFw-&ZeVnLIqe-", "RFC 3501 5.1.3: superfluous shift" },
		{ "&Jjo!", "RFC 3501 5.1.3: no end" },
		{ "&", "nothing behind" },
		{ "&AGE-", "an `a` that could stand for itself" },
		{ "&ACY-", "and an ampersand" },
		{ "&Jj-", "half a character" },
		{ "&Jjp-", "stray bits" },
		{ "&JjoA-", "six bits too many" },
		{ "&2D0-", "half a pair" },
		{ "&3go-", "the other half" },
		{ "&2D0AYQ-", "half a pair and a letter" },
		{ "&Jj/-", "no digit" },
		{ "a\xc3\xa4", "8 bits" },
		{ "a\x01", "control character" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[100];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(!imap_mutf7_decode(&o, slice_str(rows[i].in)), "%s", rows[i].why);
	}
	struct out o = { 0 };

	cr_assert(!imap_mutf7_encode(&o, SLICE("\xc3")));
}

Test(imap_mutf7, what_a_name_may_be)
{
	static const struct {
		const char *name;
		bool good;
	} rows[] = {
		{ "INBOX", true },
		{ "a/b/c", true },
		{ "\xc3\xa4 x&y", true },
		{ "a.b\\c\"", true },
		{ "", false },
		{ "/a", false },
		{ "a/", false },
		{ "a//b", false },
		{ "a*", false },
		{ "a%", false },
		{ "a\x01", false },
		{ "a\x7f", false },
		{ "a\xc2\x85", false },
		{ "a\xe2\x80\xa8", false },
		{ "a\xc3", false },
		{ "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2", true },
		{ "1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7/8/9/0/1/2/3", false },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		cr_assert_eq(!imap_name_wrong(slice_str(rows[i].name)), rows[i].good, "%s",
			rows[i].name);
	char longest[IMAP_NAME_MAX + 1];

	memset(longest, 'x', sizeof(longest));
	cr_assert(!imap_name_wrong(slice_of(longest, IMAP_NAME_MAX)));
	cr_assert(imap_name_wrong(slice_of(longest, IMAP_NAME_MAX + 1)));
}

Test(imap_mutf7, what_a_new_name_must_be)
{
	static const struct {
		const char *name;
		bool normal;
	} rows[] = {
		{ "plain/ASCII", true },
		{ "Caf\xc3\xa9", true },
		{ "Cafe\xcc\x81", false },
		{ "\xe6\x97\xa5\xe6\x9c\xac", true },
		{ "\xe2\x84\xaa", false },             /* the Kelvin sign is a K */
		{ "\xe1\x84\x80\xe1\x85\xa1", false }, /* Hangul in its letters */
		{ "\xea\xb0\x80", true },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		cr_assert_eq(imap_name_is_normal(slice_str(rows[i].name)), rows[i].normal, "%s",
			rows[i].name);
}

Test(imap_mutf7, patterns)
{
	static const struct {
		const char *pattern, *name;
		bool match;
	} rows[] = {
		{ "*", "a", true },
		{ "*", "a/b", true },
		{ "%", "a", true },
		{ "%", "a/b", false },
		{ "a/%", "a", false },
		{ "a/%", "a/b", true },
		{ "a/%", "a/b/c", false },
		{ "%/%", "a/b", true },
		{ "a*c", "a/b/c", true },
		{ "a*c", "abcd", false },
		{ "inbox", "INBOX", true },
		{ "iNbOx/x", "INBOX/x", true },
		{ "INBOX/X", "INBOX/x", false },
		{ "inboxe", "INBOXE", false },
		{ "", "", true },
		{ "", "a", false },
		{ "%%", "", true },
		{ "*%*%", "a/b", true },
		{ "a/b", "a", false },
		{ "foo/%/bar", "foo/x/bar", true },
		{ "foo/%/bar", "foo/x/y/bar", false },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		slice pattern = slice_str(rows[i].pattern), name = slice_str(rows[i].name);

		cr_assert_eq(imap_pattern_match(pattern, name), rows[i].match, "%s %s",
			rows[i].pattern, rows[i].name);
	}
}

Test(imap_mutf7, a_bad_pattern_is_not_slow)
{
	char pattern[1000], name[250];

	memset(name, 'a', sizeof(name));
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % 2 ? '*' : 'a';
	/* Backtracking would try more ways than there are atoms. */
	cr_assert(!imap_pattern_match(slice_of(pattern, 500), slice_of(name, 249)));
	cr_assert(imap_pattern_match(slice_of(pattern, 498), slice_of(name, 249)));
	pattern[497] = 'b';
	cr_assert(!imap_pattern_match(slice_of(pattern, 498), slice_of(name, 249)));
	memset(pattern, '%', sizeof(pattern));
	cr_assert(imap_pattern_match(slice_of(pattern, sizeof(pattern)), slice_of(name, 250)));
}
