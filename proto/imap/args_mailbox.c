/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SELECT with its parameters, CREATE, RENAME, the verbs of one name, and quotas. */
#include "proto/imap/args.h"

/* (uidvalidity modseq [known-uids] [(known-seqs known-uids)]), RFC 7162 3.2.5. */
static bool take_qresync(struct imap_lex *x, struct imap_select *out)
{
	if (!imap_lex_space(x) || !imap_lex_char(x, '(') || !imap_lex_nz(x, &out->uid_validity) ||
		!imap_lex_space(x) || !imap_lex_number(x, 1, INT64_MAX, &out->modseq))
		return false;
	if (imap_lex_skip(x, ')'))
		return true;
	if (!imap_lex_space(x))
		return false;
	if (!imap_lex_at(x, '(')) {
		out->has_known = true;
		if (!imap_lex_uidset(x, &out->known))
			return false;
		if (imap_lex_skip(x, ')'))
			return true;
		if (!imap_lex_space(x))
			return false;
	}
	if (!imap_lex_char(x, '(') || !imap_lex_uidset(x, &out->match_seqs) || !imap_lex_space(x) ||
		!imap_lex_uidset(x, &out->match_uids) || !imap_lex_char(x, ')'))
		return false;
	if (run_list_count(out->match_seqs) != run_list_count(out->match_uids))
		return imap_lex_fail(x, "as many sequence numbers as uids are wanted");
	return imap_lex_char(x, ')');
}

static bool take_parameter(struct imap_lex *x, struct imap_select *out)
{
	if (imap_lex_skip_word(x, SLICE("CONDSTORE")))
		return out->condstore = true;
	if (!imap_lex_skip_word(x, SLICE("QRESYNC")) || out->qresync)
		return imap_lex_fail(x, "a parameter is unknown or given twice");
	out->qresync = true;
	return take_qresync(x, out);
}

bool imap_parse_select(struct imap_lex *x, union imap_args *out)
{
	if (!imap_lex_space(x) || !imap_lex_mailbox(x, &out->select.mailbox))
		return false;
	if (!imap_lex_skip(x, ' ') || imap_lex_at_end(x))
		return imap_lex_end(x);
	if (!imap_lex_char(x, '('))
		return false;
	do {
		if (!take_parameter(x, &out->select))
			return false;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')') && imap_lex_end(x);
}

bool imap_parse_mailbox(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_mailbox(x, &out->mailbox.name) && imap_lex_end(x);
}

static bool take_use(struct imap_lex *x, struct imap_create *out)
{
	slice start = x->rest, word;

	if (!imap_lex_char(x, '\\') || !imap_lex_atom(x, &word))
		return false;
	unsigned bit = imap_use_bit(slice_sub(start, 0, word.len + 1));

	out->use |= bit;
	out->use_unknown |= !bit;
	return true;
}

/* RFC 6154 6: (USE (\Drafts \Sent)). */
bool imap_parse_create(struct imap_lex *x, union imap_args *out)
{
	struct imap_create *args = &out->create;

	if (!imap_lex_space(x) || !imap_lex_new_mailbox(x, &args->mailbox))
		return false;
	if (!imap_lex_skip(x, ' ') || imap_lex_at_end(x))
		return imap_lex_end(x);
	if (!imap_lex_char(x, '('))
		return false;
	if (!imap_lex_skip_word(x, SLICE("USE")))
		return imap_lex_fail(x, "a parameter is unknown");
	if (!imap_lex_space(x) || !imap_lex_char(x, '('))
		return false;
	if (!imap_lex_at(x, ')'))
		do {
			if (!take_use(x, args))
				return false;
		} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')') && imap_lex_char(x, ')') && imap_lex_end(x);
}

bool imap_parse_rename(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_mailbox(x, &out->rename.from) && imap_lex_space(x) &&
		imap_lex_new_mailbox(x, &out->rename.to) && imap_lex_end(x);
}

/* --- Quotas, RFC 9208 --- */

bool imap_parse_getquota(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_astring(x, &out->quota.root) && imap_lex_end(x);
}

enum { RESOURCES_MAX = 32 };

static bool take_resource(struct imap_lex *x, struct imap_slices *names, uint64_t *values)
{
	slice name;

	if (names->len == RESOURCES_MAX)
		return imap_lex_fail(x, "too many resources");
	return imap_lex_atom(x, &name) && imap_lex_space(x) &&
		imap_lex_number64(x, &values[names->len]) && imap_lex_add(x, names, name);
}

bool imap_parse_setquota(struct imap_lex *x, union imap_args *out)
{
	uint64_t *values = arena_array(x->a, uint64_t, RESOURCES_MAX);

	out->quota.values = values;
	if (!imap_lex_space(x) || !imap_lex_astring(x, &out->quota.root) || !imap_lex_space(x) ||
		!imap_lex_char(x, '('))
		return false;
	if (!imap_lex_at(x, ')'))
		do {
			if (!take_resource(x, &out->quota.resources, values))
				return false;
		} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')') && imap_lex_end(x);
}
