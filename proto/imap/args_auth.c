/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LOGIN, AUTHENTICATE, ENABLE, COMPRESS, ID, and the verbs without arguments. */
#include "proto/imap/args.h"

bool imap_parse_none(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_end(x);
}

bool imap_parse_login(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_astring(x, &out->login.user) && imap_lex_space(x) &&
		imap_lex_astring(x, &out->login.password) && imap_lex_end(x);
}

/* RFC 4959 3: the initial response, "=" for an empty one. */
bool imap_parse_authenticate(struct imap_lex *x, union imap_args *out)
{
	struct imap_authenticate *args = &out->authenticate;

	if (!imap_lex_space(x) || !imap_lex_atom(x, &args->mechanism))
		return false;
	if (!imap_lex_at(x, ' '))
		return imap_lex_end(x);
	imap_lex_space(x);
	if (imap_lex_at_end(x))
		return true;
	if (!imap_lex_atom(x, &args->initial) || !imap_lex_end(x))
		return false;
	args->has_initial = true;
	if (slice_eq(args->initial, SLICE("=")))
		args->initial.len = 0;
	return true;
}

bool imap_parse_enable(struct imap_lex *x, union imap_args *out)
{
	slice word;

	do {
		if (!imap_lex_space(x) || !imap_lex_atom(x, &word) ||
			!imap_lex_add(x, &out->words.words, word))
			return false;
	} while (imap_lex_at(x, ' '));
	return imap_lex_end(x);
}

bool imap_parse_compress(struct imap_lex *x, union imap_args *out)
{
	slice word;

	return imap_lex_space(x) && imap_lex_atom(x, &word) &&
		imap_lex_add(x, &out->words.words, word) && imap_lex_end(x);
}

/* RFC 2971 3.3. */
bool imap_parse_id(struct imap_lex *x, union imap_args *out)
{
	struct imap_slices *pairs = &out->id.pairs;
	slice name, value;

	if (!imap_lex_space(x))
		return false;
	if (imap_lex_skip_word(x, SLICE("NIL")))
		return imap_lex_end(x);
	if (!imap_lex_char(x, '('))
		return false;
	if (imap_lex_skip(x, ')'))
		return imap_lex_end(x);
	do {
		if (!imap_lex_string(x, &name) || !imap_lex_space(x) ||
			!imap_lex_nstring(x, &value) || !imap_lex_add(x, pairs, name) ||
			!imap_lex_add(x, pairs, value))
			return false;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')') && imap_lex_end(x);
}
