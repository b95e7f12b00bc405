/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inverse of the parsers. What a client may spell in several ways comes out in one. */
#include "tests/support/imap_text.h"

#include "proto/imap/date.h"
#include "proto/imap/render.h"
#include "proto/imap/search_int.h"

/* Words --------------------------------------------------------------------------------------- */

static void put_end(struct out *o, uint32_t n)
{
	if (n)
		out_uint(o, n);
	else
		out_char(o, '*');
}

void imap_text_set(struct out *o, const struct imap_seqset *set)
{
	for (size_t i = 0; i < set->len; i++) {
		if (i)
			out_char(o, ',');
		put_end(o, set->pieces[i].first);
		if (set->pieces[i].last == set->pieces[i].first)
			continue;
		out_char(o, ':');
		put_end(o, set->pieces[i].last);
	}
	if (set->saved)
		out_str(o, set->len ? ",$" : "$");
}

void imap_text_flags(struct out *o, const struct imap_flags *flags)
{
	out_char(o, '(');
	bool any = imap_put_system_flags(o, flags->system);

	for (size_t i = 0; i < flags->keywords.len; i++) {
		if (any)
			out_char(o, ' ');
		out_slice(o, flags->keywords.items[i]);
		any = true;
	}
	out_char(o, ')');
}

void imap_text_day(struct out *o, int32_t day)
{
	char buf[IMAP_DATE_TIME_LEN + 2];
	struct out whole = out_fixed(buf, sizeof(buf));

	imap_put_date_time(&whole, (wall_ms)day * 24 * 60 * 60 * 1000, 0);
	slice text = slice_skip(out_written(&whole), buf[1] == ' ' ? 2 : 1);

	out_slice(o, slice_sub(text, 0, (size_t)slice_find(text, ' ')));
}

/* SEARCH -------------------------------------------------------------------------------------- */

/* NULL: the node is a list or a sequence set, which have no word. */
static const struct search_row *row_of(const struct imap_search_node *node)
{
	for (const struct search_row *row = search_rows; row->name.len; row++)
		if (row->key == node->key && row->flag == node->flag && row->wanted == node->wanted)
			return row;
	return NULL;
}

static void put_text(struct out *o, slice text)
{
	out_char(o, ' ');
	imap_put_astring(o, text, true);
}

static void put_modseq(struct out *o, const struct imap_search_node *node)
{
	if (node->name.len) {
		out_char(o, ' ');
		imap_put_string(o, node->name, true);
		out_char(o, ' ');
		out_slice(o, node->text);
	}
	out_char(o, ' ');
	out_uint(o, node->number);
}

static void put_arg(struct out *o, const struct imap_search_node *node, enum search_arg arg)
{
	switch (arg) {
	case SEARCH_ARG_NONE:
	case SEARCH_ARG_KEYS:
		break;
	case SEARCH_ARG_HEADER:
		put_text(o, node->name);
		put_text(o, node->text);
		break;
	case SEARCH_ARG_TEXT:
		put_text(o, node->text);
		break;
	case SEARCH_ARG_KEYWORD:
	case SEARCH_ARG_ID:
		out_char(o, ' ');
		out_slice(o, node->text);
		break;
	case SEARCH_ARG_DAY:
		out_char(o, ' ');
		imap_text_day(o, node->day);
		break;
	case SEARCH_ARG_NUMBER:
	case SEARCH_ARG_SECONDS:
		out_char(o, ' ');
		out_uint(o, node->number);
		break;
	case SEARCH_ARG_MODSEQ:
		put_modseq(o, node);
		break;
	case SEARCH_ARG_SET:
		out_char(o, ' ');
		imap_text_set(o, &node->set);
		break;
	}
}

static void put_self(struct out *o, const struct imap_search_node *node)
{
	const struct search_row *row = row_of(node);

	if (node->key == IMAP_KEY_AND)
		out_char(o, '(');
	if (node->key == IMAP_KEY_SEQ)
		imap_text_set(o, &node->set);
	if (!row)
		return;
	out_slice(o, row->name);
	put_arg(o, node, row->arg);
	if (node->child)
		out_char(o, ' ');
}

static void put_key(struct out *o, const struct imap_search_node *top)
{
	const struct imap_search_node *node = top;

	for (;;) {
		put_self(o, node);
		if (node->child) {
			node = node->child;
			continue;
		}
		while (node != top && !node->next) {
			node = node->parent;
			if (node->key == IMAP_KEY_AND)
				out_char(o, ')');
		}
		if (node == top)
			return;
		out_char(o, ' ');
		node = node->next;
	}
}

void imap_text_search(struct out *o, const struct imap_search *search)
{
	if (search->extended) {
		const char *between = "";

		out_str(o, " RETURN (");
		for (const struct search_return *r = search_returns; r->bit; r++)
			if (search->ret & r->bit) {
				out_str(o, between);
				out_slice(o, r->name);
				between = " ";
			}
		out_char(o, ')');
	}
	if (search->charset.len) {
		out_str(o, " CHARSET ");
		imap_put_astring(o, search->charset, true);
	}
	for (const struct imap_search_node *key = search->root->child; key; key = key->next) {
		out_char(o, ' ');
		put_key(o, key);
	}
}

/* FETCH --------------------------------------------------------------------------------------- */

static const struct {
	unsigned item;
	const char *name;
} items[] = {
	{ IMAP_FETCH_UID, "UID" },
	{ IMAP_FETCH_FLAGS, "FLAGS" },
	{ IMAP_FETCH_INTERNALDATE, "INTERNALDATE" },
	{ IMAP_FETCH_RFC822_SIZE, "RFC822.SIZE" },
	{ IMAP_FETCH_ENVELOPE, "ENVELOPE" },
	{ IMAP_FETCH_BODY, "BODY" },
	{ IMAP_FETCH_BODYSTRUCTURE, "BODYSTRUCTURE" },
	{ IMAP_FETCH_MODSEQ, "MODSEQ" },
	{ IMAP_FETCH_EMAILID, "EMAILID" },
	{ IMAP_FETCH_THREADID, "THREADID" },
	{ IMAP_FETCH_SAVEDATE, "SAVEDATE" },
	{ IMAP_FETCH_PREVIEW, "PREVIEW" },
};

/* An answer names a section without PEEK, and without the length of a part of it. */
static void put_asked(struct out *o, const struct imap_section *s)
{
	struct out named = out_heap(1 << 16);
	bool peek = s->peek && (s->kind == IMAP_BODY || s->kind == IMAP_BINARY);

	imap_put_section(&named, s);
	slice text = out_written(&named);
	size_t word = peek ? (size_t)slice_find(text, '[') : 0;

	out_slice(o, slice_sub(text, 0, word));
	out_str(o, peek ? ".PEEK" : "");
	out_slice(o, slice_sub(text, word, text.len - s->partial));
	if (s->partial)
		out_printf(o, ".%llu>", (unsigned long long)s->partial_bytes);
	out_heap_done(&named);
}

void imap_text_fetch(struct out *o, const struct imap_fetch *fetch)
{
	const char *between = " (";

	out_char(o, ' ');
	imap_text_set(o, &fetch->set);
	for (size_t i = 0; i < array_len(items); i++) {
		if (!(fetch->items & items[i].item))
			continue;
		out_printf(o, "%s%s", between, items[i].name);
		if (items[i].item == IMAP_FETCH_PREVIEW && fetch->items & IMAP_FETCH_PREVIEW_LAZY)
			out_str(o, " (LAZY)");
		between = " ";
	}
	for (const struct imap_section *s = fetch->sections; s; s = s->next) {
		out_str(o, between);
		put_asked(o, s);
		between = " ";
	}
	out_char(o, ')');
	if (!fetch->changed_since)
		return;
	out_str(o, " (CHANGEDSINCE ");
	out_uint(o, fetch->since);
	out_str(o, fetch->vanished ? " VANISHED)" : ")");
}
