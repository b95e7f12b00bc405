/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LIST with the options of RFC 5258, 5819 and 6154, LSUB and STATUS. */
#include "proto/imap/args.h"

struct option {
	slice name;
	unsigned bit;
};

static const struct option selections[] = {
	{ SLICE_INIT("SUBSCRIBED"), IMAP_LIST_SUBSCRIBED },
	{ SLICE_INIT("REMOTE"), IMAP_LIST_REMOTE },
	{ SLICE_INIT("RECURSIVEMATCH"), IMAP_LIST_RECURSIVEMATCH },
	{ SLICE_INIT("SPECIAL-USE"), IMAP_LIST_SPECIAL_USE },
};

static const struct option returns[] = {
	{ SLICE_INIT("SUBSCRIBED"), IMAP_RETURN_SUBSCRIBED },
	{ SLICE_INIT("CHILDREN"), IMAP_RETURN_CHILDREN },
	{ SLICE_INIT("SPECIAL-USE"), IMAP_RETURN_SPECIAL_USE },
	{ SLICE_INIT("STATUS"), IMAP_RETURN_STATUS },
};

static bool take_option(struct imap_lex *x, const struct option *options, size_t len, unsigned *bit)
{
	slice name;

	*bit = 0;
	if (!imap_lex_name(x, &name))
		return false;
	for (size_t i = 0; i < len; i++)
		if (slice_eq_nocase(options[i].name, name)) {
			*bit = options[i].bit;
			return true;
		}
	return imap_lex_fail(x, "an option is unknown");
}

static bool take_items(struct imap_lex *x, unsigned *items)
{
	slice name;

	if (!imap_lex_char(x, '('))
		return false;
	do {
		if (!imap_lex_name(x, &name))
			return false;
		unsigned bit = imap_status_bit(name);

		if (!bit)
			return imap_lex_fail(x, "a status item is unknown");
		*items |= bit;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')');
}

static bool take_selections(struct imap_lex *x, struct imap_list *out)
{
	unsigned bit;

	out->extended = true;
	imap_lex_char(x, '(');
	if (!imap_lex_at(x, ')'))
		do {
			if (!take_option(x, selections, array_len(selections), &bit))
				return false;
			out->select |= bit;
		} while (imap_lex_skip(x, ' '));
	/* RFC 5258 3: it modifies another one that selects. */
	if (out->select & IMAP_LIST_RECURSIVEMATCH &&
		!(out->select & ~(unsigned)(IMAP_LIST_RECURSIVEMATCH | IMAP_LIST_REMOTE)))
		return imap_lex_fail(x, "RECURSIVEMATCH wants another option beside it");
	return imap_lex_char(x, ')') && imap_lex_space(x);
}

static bool take_patterns(struct imap_lex *x, struct imap_list *out)
{
	slice pattern;
	bool many = imap_lex_skip(x, '(');

	out->extended |= many;
	do {
		if (!imap_lex_pattern(x, &pattern) || !imap_lex_add(x, &out->patterns, pattern))
			return false;
	} while (many && imap_lex_skip(x, ' '));
	return !many || imap_lex_char(x, ')');
}

static bool take_returns(struct imap_lex *x, struct imap_list *out)
{
	unsigned bit;

	out->extended = true;
	if (!imap_lex_skip_word(x, SLICE("RETURN")))
		return imap_lex_fail(x, "RETURN was expected");
	if (!imap_lex_space(x) || !imap_lex_char(x, '('))
		return false;
	if (!imap_lex_at(x, ')'))
		do {
			if (!take_option(x, returns, array_len(returns), &bit))
				return false;
			out->ret |= bit;
			if (bit == IMAP_RETURN_STATUS &&
				(!imap_lex_space(x) || !take_items(x, &out->status)))
				return false;
		} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')');
}

bool imap_parse_list(struct imap_lex *x, union imap_args *out)
{
	struct imap_list *args = &out->list;

	if (!imap_lex_space(x) || (imap_lex_at(x, '(') && !take_selections(x, args)))
		return false;
	if (!imap_lex_pattern(x, &args->reference) || !imap_lex_space(x) || !take_patterns(x, args))
		return false;
	if (imap_lex_skip(x, ' ') && !imap_lex_at_end(x) && !take_returns(x, args))
		return false;
	return imap_lex_end(x);
}

bool imap_parse_lsub(struct imap_lex *x, union imap_args *out)
{
	struct imap_list *args = &out->list;
	slice pattern;

	return imap_lex_space(x) && imap_lex_pattern(x, &args->reference) && imap_lex_space(x) &&
		imap_lex_pattern(x, &pattern) && imap_lex_add(x, &args->patterns, pattern) &&
		imap_lex_end(x);
}

bool imap_parse_status(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_mailbox(x, &out->status.mailbox) &&
		imap_lex_space(x) && take_items(x, &out->status.items) && imap_lex_end(x);
}
