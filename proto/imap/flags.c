/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flags and keywords: one row per system flag and per keyword that has a registered spelling. */
#include "proto/imap/flags.h"

static const struct {
	slice name;
	unsigned bit;
} system_flags[] = {
	{ SLICE_INIT("\\Seen"), IMAP_SEEN },
	{ SLICE_INIT("\\Answered"), IMAP_ANSWERED },
	{ SLICE_INIT("\\Flagged"), IMAP_FLAGGED },
	{ SLICE_INIT("\\Deleted"), IMAP_DELETED },
	{ SLICE_INIT("\\Draft"), IMAP_DRAFT },
	{ SLICE_INIT("\\Recent"), IMAP_RECENT },
};

static const struct {
	slice name;
	slice opposite;
} known_keywords[] = {
	{ .name = SLICE_INIT("$MDNSent") },
	{ .name = SLICE_INIT("$Forwarded") },
	{ .name = SLICE_INIT("$Junk"), .opposite = SLICE_INIT("$NotJunk") },
	{ .name = SLICE_INIT("$NotJunk"), .opposite = SLICE_INIT("$Junk") },
	{ .name = SLICE_INIT("$Phishing") },
	{ .name = SLICE_INIT("$SubmitPending") },
	{ .name = SLICE_INIT("$Submitted") },
	{ .name = SLICE_INIT("$Important") },
};

unsigned imap_flag_bit(slice word)
{
	for (size_t i = 0; i < array_len(system_flags); i++)
		if (slice_eq_nocase(system_flags[i].name, word))
			return system_flags[i].bit;
	return 0;
}

bool imap_is_keyword(slice word)
{
	return word.len <= IMAP_KEYWORD_MAX && imap_is_atom(word);
}

slice imap_keyword_spelling(slice word)
{
	for (size_t i = 0; i < array_len(known_keywords); i++)
		if (slice_eq_nocase(known_keywords[i].name, word))
			return known_keywords[i].name;
	return word;
}

slice imap_keyword_opposite(slice word)
{
	for (size_t i = 0; i < array_len(known_keywords); i++)
		if (slice_eq_nocase(known_keywords[i].name, word))
			return known_keywords[i].opposite;
	return (slice){ 0 };
}

bool imap_lex_keyword(struct imap_lex *x, slice *out)
{
	slice word;

	if (!imap_lex_atom(x, &word))
		return false;
	if (word.len > IMAP_KEYWORD_MAX)
		return imap_lex_fail(x, "a keyword is too long");
	*out = word;
	return true;
}

static bool take_system(struct imap_lex *x, struct imap_flags *flags)
{
	slice start = x->rest, word;

	imap_lex_skip(x, '\\');
	if (!imap_lex_atom(x, &word))
		return false;
	unsigned bit = imap_flag_bit(slice_sub(start, 0, word.len + 1));

	if (bit == IMAP_RECENT)
		return imap_lex_fail(x, "\\Recent cannot be changed");
	if (!bit)
		return imap_lex_fail(x, "there is no such system flag");
	flags->system |= bit;
	return true;
}

/* Each once; looking through them is quick because they are few. */
static bool take_keyword(struct imap_lex *x, struct imap_flags *flags)
{
	slice word;

	if (!imap_lex_keyword(x, &word))
		return false;
	for (size_t i = 0; i < flags->keywords.len; i++)
		if (slice_eq_nocase(flags->keywords.items[i], word))
			return true;
	if (flags->keywords.len >= IMAP_KEYWORDS_MAX)
		return imap_lex_fail(x, "too many keywords");
	return imap_lex_add(x, &flags->keywords, word);
}

static bool take_flag(struct imap_lex *x, struct imap_flags *flags)
{
	return imap_lex_at(x, '\\') ? take_system(x, flags) : take_keyword(x, flags);
}

static bool take_listed(struct imap_lex *x, struct imap_flags *flags)
{
	imap_lex_char(x, '(');
	if (imap_lex_skip(x, ')'))
		return true;
	do {
		if (!take_flag(x, flags))
			return false;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')');
}

bool imap_lex_flags(struct imap_lex *x, bool bare, struct imap_flags *out)
{
	struct imap_flags flags = { 0 };

	if (!bare || imap_lex_at(x, '(')) {
		if (!take_listed(x, &flags))
			return false;
	} else {
		do {
			if (!take_flag(x, &flags))
				return false;
		} while (imap_lex_skip(x, ' '));
	}
	*out = flags;
	return true;
}

bool imap_put_system_flags(struct out *o, unsigned system)
{
	bool any = false;

	for (size_t i = 0; i < array_len(system_flags); i++) {
		if (!(system & system_flags[i].bit))
			continue;
		if (any)
			out_char(o, ' ');
		out_slice(o, system_flags[i].name);
		any = true;
	}
	return any;
}
