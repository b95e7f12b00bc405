/* SPDX-License-Identifier: GPL-2.0-or-later */
/* APPEND, whose command comes in parts around its messages, and the verbs that change messages: STORE, COPY,
 * MOVE, EXPUNGE. */
#include "proto/imap/args.h"

/* --- APPEND (RFC 9051 6.3.12, 3502, 6855) --- */

/* "(flags) "date" " or "UTF8 (", up to the literal. */
static bool take_item(struct imap_lex *x, struct imap_append_item *item)
{
	slice date;

	if (!imap_lex_space(x))
		return false;
	if (imap_lex_at(x, '(') && (!imap_lex_flags(x, false, &item->flags) || !imap_lex_space(x)))
		return false;
	if (imap_lex_at(x, '"')) {
		if (!imap_lex_string(x, &date) || !imap_lex_space(x))
			return false;
		item->has_date = imap_parse_date_time(date, &item->date);
		if (!item->has_date)
			return imap_lex_fail(x, "the date is malformed");
	}
	if (imap_lex_skip_word(x, SLICE("UTF8"))) {
		item->utf8 = true;
		if (!imap_lex_space(x) || !imap_lex_char(x, '('))
			return false;
	}
	return imap_lex_at_end(x) || imap_lex_fail(x, "a message literal was expected");
}

bool imap_parse_append(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_mailbox(x, &out->append.mailbox) &&
		take_item(x, &out->append.item);
}

bool imap_parse_append_next(struct imap_lex *x, bool was_utf8, bool message,
	struct imap_append_item *out)
{
	struct imap_append_item item = { 0 };

	if (was_utf8 && !imap_lex_char(x, ')'))
		return false;
	if (!message) /* not even a space: it announces one more message (RFC 3502) */
		return imap_lex_at_end(x) ||
			imap_lex_fail(x, "behind the last message its line must end");
	if (!take_item(x, &item))
		return false;
	*out = item;
	return true;
}

/* --- STORE (RFC 9051 6.4.6, 7162 3.1.3) --- */

static bool take_modifiers(struct imap_lex *x, struct imap_store *out)
{
	imap_lex_char(x, '(');
	if (!imap_lex_skip_word(x, SLICE("UNCHANGEDSINCE")))
		return imap_lex_fail(x, "a modifier is unknown");
	out->conditional = true;
	return imap_lex_space(x) && imap_lex_number64(x, &out->unchanged_since) &&
		imap_lex_char(x, ')') && imap_lex_space(x);
}

static bool take_mode(struct imap_lex *x, struct imap_store *out)
{
	slice name;

	if (imap_lex_skip(x, '+'))
		out->mode = IMAP_STORE_ADD;
	else if (imap_lex_skip(x, '-'))
		out->mode = IMAP_STORE_REMOVE;
	if (!imap_lex_name(x, &name))
		return false;
	out->silent = slice_eq_nocase(name, SLICE("FLAGS.SILENT"));
	return out->silent || slice_eq_nocase(name, SLICE("FLAGS")) ||
		imap_lex_fail(x, "FLAGS was expected");
}

bool imap_parse_store(struct imap_lex *x, union imap_args *out)
{
	struct imap_store *args = &out->store;

	if (!imap_lex_space(x) || !imap_lex_seqset(x, &args->set) || !imap_lex_space(x))
		return false;
	if (imap_lex_at(x, '(') && !take_modifiers(x, args))
		return false;
	return take_mode(x, args) && imap_lex_space(x) && imap_lex_flags(x, true, &args->flags) &&
		imap_lex_end(x);
}

/* --- The others --- */

bool imap_parse_copy(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_space(x) && imap_lex_seqset(x, &out->copy.set) && imap_lex_space(x) &&
		imap_lex_mailbox(x, &out->copy.mailbox) && imap_lex_end(x);
}

/* UID EXPUNGE wants a set, RFC 4315 2.1; EXPUNGE takes nothing. */
bool imap_parse_expunge(struct imap_lex *x, union imap_args *out)
{
	if (x->uid && (!imap_lex_space(x) || !imap_lex_seqset(x, &out->expunge.set)))
		return false;
	return imap_lex_end(x);
}

bool imap_parse_fetch(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_fetch(x, &out->fetch);
}

bool imap_parse_search(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_search(x, &out->search);
}

bool imap_parse_sort(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_sort(x, &out->sort);
}

bool imap_parse_thread(struct imap_lex *x, union imap_args *out)
{
	return imap_lex_thread(x, &out->thread);
}
