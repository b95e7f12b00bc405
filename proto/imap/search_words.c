/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of SEARCH as rows, and a tree written back as a command would have it. */
#include "proto/imap/date.h"
#include "proto/imap/flags.h"
#include "proto/imap/render.h"
#include "proto/imap/search_int.h"

#define FLAG(name, bit, wanted)                                               \
	{                                                                     \
		SLICE_INIT(name), IMAP_KEY_FLAG, SEARCH_ARG_NONE, bit, wanted \
	}
#define KEY(name, key, arg)                                                 \
	{                                                                   \
		SLICE_INIT(name), IMAP_KEY_##key, SEARCH_ARG_##arg, 0, true \
	}

static const struct search_row rows[] = {
	KEY("ALL", ALL, NONE),
	FLAG("ANSWERED", IMAP_ANSWERED, true),
	FLAG("DELETED", IMAP_DELETED, true),
	FLAG("DRAFT", IMAP_DRAFT, true),
	FLAG("FLAGGED", IMAP_FLAGGED, true),
	FLAG("RECENT", IMAP_RECENT, true),
	FLAG("SEEN", IMAP_SEEN, true),
	FLAG("UNANSWERED", IMAP_ANSWERED, false),
	FLAG("UNDELETED", IMAP_DELETED, false),
	FLAG("UNDRAFT", IMAP_DRAFT, false),
	FLAG("UNFLAGGED", IMAP_FLAGGED, false),
	FLAG("OLD", IMAP_RECENT, false),
	FLAG("UNSEEN", IMAP_SEEN, false),
	KEY("NEW", NEW, NONE),
	{ SLICE_INIT("KEYWORD"), IMAP_KEY_KEYWORD, SEARCH_ARG_KEYWORD, 0, true },
	{ SLICE_INIT("UNKEYWORD"), IMAP_KEY_KEYWORD, SEARCH_ARG_KEYWORD, 0, false },
	KEY("BCC", BCC, TEXT),
	KEY("CC", CC, TEXT),
	KEY("FROM", FROM, TEXT),
	KEY("SUBJECT", SUBJECT, TEXT),
	KEY("TO", TO, TEXT),
	KEY("HEADER", HEADER, HEADER),
	KEY("BODY", BODY, TEXT),
	KEY("TEXT", TEXT, TEXT),
	KEY("BEFORE", BEFORE, DAY),
	KEY("ON", ON, DAY),
	KEY("SINCE", SINCE, DAY),
	KEY("SENTBEFORE", SENTBEFORE, DAY),
	KEY("SENTON", SENTON, DAY),
	KEY("SENTSINCE", SENTSINCE, DAY),
	KEY("SAVEDBEFORE", SAVEDBEFORE, DAY),
	KEY("SAVEDON", SAVEDON, DAY),
	KEY("SAVEDSINCE", SAVEDSINCE, DAY),
	KEY("SAVEDATESUPPORTED", SAVEDATESUPPORTED, NONE),
	KEY("LARGER", LARGER, NUMBER),
	KEY("SMALLER", SMALLER, NUMBER),
	KEY("OLDER", OLDER, SECONDS),
	KEY("YOUNGER", YOUNGER, SECONDS),
	KEY("MODSEQ", MODSEQ, MODSEQ),
	KEY("EMAILID", EMAILID, ID),
	KEY("THREADID", THREADID, ID),
	KEY("UID", UID, SET),
	KEY("NOT", NOT, KEYS),
	KEY("OR", OR, KEYS),
};

const struct search_return search_returns[] = {
	{ SLICE_INIT("MIN"), IMAP_RETURN_MIN },
	{ SLICE_INIT("MAX"), IMAP_RETURN_MAX },
	{ SLICE_INIT("ALL"), IMAP_RETURN_ALL },
	{ SLICE_INIT("COUNT"), IMAP_RETURN_COUNT },
	{ SLICE_INIT("SAVE"), IMAP_RETURN_SAVE },
	{ { NULL, 0 }, 0 },
};

const struct search_row *search_row_named(slice name)
{
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq_nocase(rows[i].name, name))
			return &rows[i];
	return NULL;
}

const struct search_row *search_row_of(const struct imap_search_node *node)
{
	for (size_t i = 0; i < array_len(rows); i++)
		if (rows[i].key == node->key && rows[i].flag == node->flag &&
			rows[i].wanted == node->wanted)
			return &rows[i];
	return NULL;
}

/* --- Writing --- */

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
		imap_put_day(o, node->day);
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
		imap_put_seqset(o, &node->set);
		break;
	}
}

static void put_self(struct out *o, const struct imap_search_node *node)
{
	const struct search_row *row = search_row_of(node);

	if (node->key == IMAP_KEY_AND)
		out_char(o, '(');
	if (node->key == IMAP_KEY_SEQ)
		imap_put_seqset(o, &node->set);
	if (!row)
		return;
	out_slice(o, row->name);
	put_arg(o, node, row->arg);
	if (node->child)
		out_char(o, ' ');
}

void imap_put_key(struct out *o, const struct imap_search_node *top)
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

void imap_put_search(struct out *o, const struct imap_search *search)
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
		imap_put_key(o, key);
	}
}
