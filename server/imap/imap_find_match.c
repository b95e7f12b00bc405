/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_find_match.c - does this message match? Three answers: what needs bytes nobody has read yet is
 * neither yes nor no, and AND, OR and NOT go on with that. */
#include "proto/imap/date.h"
#include "proto/mime/header.h"
#include "proto/mime/word.h"
#include "server/imap/imap_find.h"

/* --- Fields of the summary ------------------------------------------------------------------------- */

static bool has_words(slice text)
{
	const char *at = text.ptr, *end = text.ptr + text.len;

	while (at < end && (at = memchr(at, '=', (size_t)(end - at))) && at + 1 < end)
		if (*++at == '?')
			return true;
	return false;
}

static slice decoded(slice text, struct find_eyes *eyes)
{
	struct out o = out_arena(eyes->scratch);

	if (!has_words(text))
		return text;
	word_decode_with(text, eyes->charsets, &o);
	return out_written(&o);
}

void find_put_address(struct out *o, const struct summary_address *address,
	struct charset_cache *charsets)
{
	slice name = address->name.text;

	if (name.len && has_words(name))
		word_decode_with(name, charsets, o);
	else
		out_slice(o, name);
	if (address->kind != SUMMARY_ADDRESS || !address->local.text.ptr)
		return;
	out_str(o, name.len ? " <" : "<");
	out_slice(o, address->local.text);
	if (address->host.text.len) {
		out_char(o, '@');
		out_slice(o, address->host.text);
	}
	out_char(o, '>');
}

static bool in_addresses(const struct find_term *t, slice list, struct find_eyes *eyes)
{
	struct summary_address address;

	if (t->empty)
		return list.ptr != NULL;
	while (summary_address_next(&list, &address)) {
		char buf[512];
		struct out o = out_fixed(buf, sizeof(buf));

		if (address.kind == SUMMARY_GROUP_END)
			continue;
		find_put_address(&o, &address, eyes->charsets);
		if (!out_ok(&o)) {
			o = out_arena(eyes->scratch);
			find_put_address(&o, &address, eyes->charsets);
		}
		if (collate_has(&t->needle, out_written(&o)))
			return true;
	}
	return false;
}

/* What was too long to be kept whole may still be in the message. */
static enum find_answer yes_or_rest(bool yes, bool whole)
{
	return yes ? FIND_YES : whole ? FIND_NO : FIND_MAYBE;
}

static enum find_answer in_string(const struct find_term *t, const struct find_row *row,
	enum summary_field which, struct find_eyes *eyes)
{
	struct summary_text text;

	if (!summary_get_text(&row->summary, which, &text) || !text.text.ptr)
		return yes_or_rest(false, !row->summary.truncated);
	/* It was cut before it was unfolded, which takes two bytes of three at most. */
	return yes_or_rest(t->empty || collate_has(&t->needle, decoded(text.text, eyes)),
		text.text.len < SUMMARY_TEXT_MAX / 3);
}

static enum find_answer in_list(const struct find_term *t, const struct find_row *row,
	enum summary_list which, struct find_eyes *eyes)
{
	slice list;
	bool found = summary_get_list(&row->summary, which, &list) && in_addresses(t, list, eyes);

	return yes_or_rest(found, !row->summary.truncated);
}

static enum find_answer yes_if(bool yes)
{
	return yes ? FIND_YES : FIND_NO;
}

/* --- HEADER ------------------------------------------------------------------------------------------ */

static const struct {
	enum header_id id;
	enum summary_list list;
} kept_lists[] = {
	{ HEADER_FROM, SUMMARY_FROM },
	{ HEADER_SENDER, SUMMARY_SENDER },
	{ HEADER_REPLY_TO, SUMMARY_REPLY_TO },
	{ HEADER_TO, SUMMARY_TO },
	{ HEADER_CC, SUMMARY_CC },
	{ HEADER_BCC, SUMMARY_BCC },
};

static const struct {
	enum header_id id;
	enum summary_field field;
} kept_strings[] = {
	{ HEADER_SUBJECT, SUMMARY_SUBJECT },
	{ HEADER_MESSAGE_ID, SUMMARY_MESSAGE_ID },
	{ HEADER_IN_REPLY_TO, SUMMARY_IN_REPLY_TO },
	{ HEADER_REFERENCES, SUMMARY_REFERENCES },
	{ HEADER_LIST_ID, SUMMARY_LIST_ID },
	{ HEADER_DATE, SUMMARY_DATE },
};

/* In what is kept: MAYBE, where that does not tell. */
static enum find_answer in_kept(const struct find_term *t, const struct find_row *row,
	struct find_eyes *eyes)
{
	for (size_t i = 0; i < array_len(kept_lists); i++)
		if (kept_lists[i].id == t->field)
			return in_list(t, row, kept_lists[i].list, eyes);
	for (size_t i = 0; i < array_len(kept_strings); i++)
		if (kept_strings[i].id == t->field)
			return in_string(t, row, kept_strings[i].field, eyes);
	return FIND_MAYBE;
}

static enum find_answer in_header(const struct find_term *t, const struct find_row *row,
	struct find_eyes *eyes)
{
	enum find_answer kept = in_kept(t, row, eyes);

	return kept == FIND_MAYBE && eyes->bytes ? yes_if(find_in_header(t, row, eyes)) : kept;
}

/* --- Numbers and days ------------------------------------------------------------------------------- */

static bool day_matches(enum imap_key key, int32_t day, int32_t asked)
{
	switch (key) {
	case IMAP_KEY_BEFORE:
	case IMAP_KEY_SENTBEFORE:
	case IMAP_KEY_SAVEDBEFORE:
		return day < asked;
	case IMAP_KEY_ON:
	case IMAP_KEY_SENTON:
	case IMAP_KEY_SAVEDON:
		return day == asked;
	default:
		return day >= asked;
	}
}

static bool id_is(slice text, char letter, uint64_t id)
{
	char buf[24];
	struct out o = out_fixed(buf, sizeof(buf));

	out_printf(&o, "%c%016llx", letter, (unsigned long long)id);
	return slice_eq(text, out_written(&o));
}

static enum find_answer of_row(const struct find_term *t, const struct message *m,
	const struct find_eyes *eyes)
{
	switch (t->key) {
	case IMAP_KEY_ALL:
	case IMAP_KEY_SAVEDATESUPPORTED:
		return FIND_YES;
	case IMAP_KEY_FLAG:
		return yes_if(((m->flags & t->flag) != 0) == t->wanted);
	case IMAP_KEY_KEYWORD:
		return yes_if(((m->keywords & t->keywords) != 0) == t->wanted);
	case IMAP_KEY_BEFORE:
	case IMAP_KEY_ON:
	case IMAP_KEY_SINCE:
		return yes_if(day_matches(t->key, imap_day_of(m->received, 0), t->day));
	case IMAP_KEY_SAVEDBEFORE:
	case IMAP_KEY_SAVEDON:
	case IMAP_KEY_SAVEDSINCE:
		return yes_if(day_matches(t->key, imap_day_of(m->saved, 0), t->day));
	case IMAP_KEY_LARGER:
		return yes_if(m->size > t->number);
	case IMAP_KEY_SMALLER:
		return yes_if(m->size < t->number);
	case IMAP_KEY_OLDER:
		return yes_if((eyes->now - m->received) / 1000 >= (int64_t)t->number);
	case IMAP_KEY_YOUNGER:
		return yes_if((eyes->now - m->received) / 1000 <= (int64_t)t->number);
	case IMAP_KEY_MODSEQ:
		return yes_if(m->changed >= t->number);
	case IMAP_KEY_EMAILID:
		return yes_if(id_is(t->name, 'M', m->blob));
	case IMAP_KEY_THREADID:
		return yes_if(id_is(t->name, 'T', m->thread));
	case IMAP_KEY_UID:
	case IMAP_KEY_SEQ:
		return yes_if(run_list_has(t->uids, m->uid));
	default: /* NEW: nothing is ever \Recent */
		return FIND_NO;
	}
}

/* --- All of them ------------------------------------------------------------------------------------- */

static enum find_answer of_sent(const struct find_term *t, const struct summary *s)
{
	return yes_if(s->has_sent &&
		day_matches(t->key, imap_day_of(s->sent, s->sent_zone), t->day));
}

static enum find_answer of_summary(const struct find_term *t, const struct find_row *row,
	struct find_eyes *eyes)
{
	/* Too long to be kept: it is made again with the bytes. */
	if (!row->has_summary)
		return eyes->bytes ? FIND_NO : FIND_MAYBE;
	switch (t->key) {
	case IMAP_KEY_FROM:
	case IMAP_KEY_TO:
	case IMAP_KEY_CC:
	case IMAP_KEY_BCC:
	case IMAP_KEY_SUBJECT:
	case IMAP_KEY_HEADER:
		return in_header(t, row, eyes);
	case IMAP_KEY_BODY:
		return eyes->bytes ? yes_if(find_in_body(t, row, eyes)) : FIND_MAYBE;
	case IMAP_KEY_TEXT:
		return eyes->bytes ? yes_if(find_in_text(t, row, eyes)) : FIND_MAYBE;
	case IMAP_KEY_SENTBEFORE:
	case IMAP_KEY_SENTON:
	case IMAP_KEY_SENTSINCE:
		return of_sent(t, &row->summary);
	default:
		return of_row(t, &row->m, eyes);
	}
}

static bool asks_summary(enum imap_key key)
{
	return (key >= IMAP_KEY_BCC && key <= IMAP_KEY_TEXT) ||
		(key >= IMAP_KEY_SENTBEFORE && key <= IMAP_KEY_SENTSINCE);
}

static enum find_answer of_children(const struct find_term *t, const struct find_row *row,
	struct find_eyes *eyes)
{
	enum find_answer ends = t->key == IMAP_KEY_OR ? FIND_YES : FIND_NO;
	enum find_answer all = t->key == IMAP_KEY_OR ? FIND_NO : FIND_YES;

	for (const struct find_term *child = t->child; child; child = child->next) {
		enum find_answer one = find_match(child, row, eyes);

		if (one == ends)
			return ends;
		if (one == FIND_MAYBE)
			all = FIND_MAYBE;
	}
	return all;
}

/* As deep as the option imap.nesting lets a command be. */
enum find_answer find_match(const struct find_term *term, const struct find_row *row,
	struct find_eyes *eyes)
{
	enum find_answer one;

	switch (term->key) {
	case IMAP_KEY_AND:
	case IMAP_KEY_OR:
		return of_children(term, row, eyes);
	case IMAP_KEY_NOT:
		one = find_match(term->child, row, eyes);
		return one == FIND_MAYBE ? FIND_MAYBE : yes_if(one == FIND_NO);
	default:
		return asks_summary(term->key) ? of_summary(term, row, eyes) :
						 of_row(term, &row->m, eyes);
	}
}
