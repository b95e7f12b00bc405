/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEARCH, SORT and THREAD. The tree is built without recursion: `at` is the node whose children are being
 * read, and what is complete climbs up by itself. */
#include "proto/imap/search.h"

#include "core/base/text.h"
#include "proto/imap/date.h"
#include "proto/imap/flags.h"
#include "proto/imap/search_int.h"

struct builder {
	struct imap_lex *x;
	struct imap_search *search;
	struct imap_search_node *at;
	uint32_t depth;
};

/* --- One key --- */

static struct imap_search_node *add_node(struct builder *b, enum imap_key key)
{
	struct imap_search_node *node;

	if (b->search->nodes >= b->x->limits->terms_max) {
		imap_lex_fail(b->x, "too many search keys");
		return NULL;
	}
	b->search->nodes++;
	node = arena_new(b->x->a, struct imap_search_node);
	node->key = key;
	node->parent = b->at;
	if (!b->at)
		return node;
	if (b->at->last)
		b->at->last->next = node;
	else
		b->at->child = node;
	b->at->last = node;
	return node;
}

static bool go_down(struct builder *b, struct imap_search_node *node)
{
	if (++b->depth > b->x->limits->depth_max)
		return imap_lex_fail(b->x, "search keys are nested too deeply");
	b->at = node;
	return true;
}

static bool take_day(struct imap_lex *x, int32_t *out)
{
	slice text;

	if (!imap_lex_astring(x, &text))
		return false;
	return imap_parse_day(text, out) || imap_lex_fail(x, "a date is malformed");
}

/* RFC 7162 3.1.5: [entry-name entry-type] mod-sequence. */
static bool take_modseq(struct imap_lex *x, struct imap_search_node *node)
{
	if (imap_lex_at(x, '"') || imap_lex_at(x, '{')) {
		if (!imap_lex_string(x, &node->name) || !imap_lex_space(x) ||
			!imap_lex_name(x, &node->text) || !imap_lex_space(x))
			return false;
		if (!node->name.len)
			return imap_lex_fail(x, "the entry has no name");
	}
	return imap_lex_number64(x, &node->number);
}

/* RFC 8474 7: objectid is 1 to 255 of letters, digits, `_` and `-`. */
static bool take_id(struct imap_lex *x, slice *out)
{
	if (!imap_lex_astring(x, out))
		return false;
	bool good = out->len > 0 && out->len <= 255;

	for (size_t i = 0; i < out->len; i++) {
		char c = out->ptr[i];

		good &= text_is_alpha(c) || text_is_digit(c) || c == '_' || c == '-';
	}
	return good || imap_lex_fail(x, "that is no object id");
}

static bool take_argument(struct builder *b, enum search_arg arg, struct imap_search_node *node)
{
	struct imap_lex *x = b->x;

	if (arg == SEARCH_ARG_NONE)
		return true;
	if (!imap_lex_space(x))
		return false;
	switch (arg) {
	case SEARCH_ARG_TEXT:
		return imap_lex_astring(x, &node->text);
	case SEARCH_ARG_HEADER:
		return imap_lex_astring(x, &node->name) && imap_lex_space(x) &&
			imap_lex_astring(x, &node->text);
	case SEARCH_ARG_KEYWORD:
		return imap_lex_keyword(x, &node->text);
	case SEARCH_ARG_DAY:
		return take_day(x, &node->day);
	case SEARCH_ARG_NUMBER:
		return imap_lex_number64(x, &node->number);
	case SEARCH_ARG_SECONDS:
		return imap_lex_number(x, 1, UINT32_MAX, &node->number);
	case SEARCH_ARG_MODSEQ:
		b->search->modseq = true;
		return take_modseq(x, node);
	case SEARCH_ARG_ID:
		return take_id(x, &node->text);
	case SEARCH_ARG_SET:
		if (!imap_lex_seqset(x, &node->set))
			return false;
		b->search->saved |= node->set.saved;
		return true;
	case SEARCH_ARG_KEYS:
		return go_down(b, node);
	case SEARCH_ARG_NONE:
		break;
	}
	return true;
}

static bool take_set(struct builder *b)
{
	struct imap_search_node *node = add_node(b, IMAP_KEY_SEQ);

	if (!node || !imap_lex_seqset(b->x, &node->set))
		return false;
	b->search->saved |= node->set.saved;
	return true;
}

static bool take_named(struct builder *b)
{
	slice name;

	if (!imap_lex_name(b->x, &name))
		return false;
	const struct search_row *row = search_row_named(name);

	if (!row)
		return imap_lex_fail(b->x, "a search key is unknown");
	struct imap_search_node *node = add_node(b, row->key);

	if (!node)
		return false;
	node->flag = row->flag;
	node->wanted = row->wanted;
	b->search->bodies |= row->key == IMAP_KEY_BODY || row->key == IMAP_KEY_TEXT;
	return take_argument(b, row->arg, node);
}

/* A whole key, or the begin of one that has others in it. */
static bool take_key(struct builder *b)
{
	struct imap_lex *x = b->x;

	if (imap_lex_skip(x, '(')) {
		struct imap_search_node *node = add_node(b, IMAP_KEY_AND);

		return node && go_down(b, node);
	}
	if (imap_lex_at(x, '*') || imap_lex_at(x, '$') ||
		(x->rest.len && text_is_digit(x->rest.ptr[0])))
		return take_set(b);
	return take_named(b);
}

/* --- The tree --- */

static bool is_full(const struct imap_search_node *node)
{
	return (node->key == IMAP_KEY_NOT && node->child) ||
		(node->key == IMAP_KEY_OR && node->child && node->child->next);
}

/* Up from all that is complete. */
static void climb(struct builder *b)
{
	while (is_full(b->at) ||
		(b->at->key == IMAP_KEY_AND && b->at->parent && imap_lex_skip(b->x, ')'))) {
		b->at = b->at->parent;
		b->depth--;
	}
}

static bool take_keys(struct builder *b)
{
	struct imap_lex *x = b->x;
	struct imap_search_node *root = add_node(b, IMAP_KEY_AND);

	if (!root)
		return false;
	b->search->root = b->at = root;
	for (;;) {
		struct imap_search_node *was = b->at;

		if (!take_key(b))
			return false;
		if (b->at != was)
			continue; /* it went down: its first key follows at once */
		climb(b);
		if (b->at == root && imap_lex_at_end(x))
			return true;
		if (!imap_lex_space(x))
			return false;
		if (b->at == root && imap_lex_at_end(x))
			return true; /* a space too many at the end */
	}
}

static bool take_program(struct imap_lex *x, struct imap_search *out)
{
	struct builder b = { .x = x, .search = out };

	return imap_lex_space(x) && take_keys(&b);
}

/* --- What stands in front of it --- */

static unsigned return_bit(slice name)
{
	for (const struct search_return *r = search_returns; r->bit; r++)
		if (slice_eq_nocase(r->name, name))
			return r->bit;
	return 0;
}

/* " RETURN (MIN MAX)" if it is there. RFC 9051 6.4.4: none is ALL. */
static bool take_returns(struct imap_lex *x, struct imap_search *out)
{
	slice name;

	if (!slice_starts_nocase(x->rest, SLICE(" RETURN ")))
		return !x->why;
	x->rest = slice_skip(x->rest, SLICE(" RETURN").len);
	out->extended = true;
	if (!imap_lex_space(x) || !imap_lex_char(x, '('))
		return false;
	if (!imap_lex_at(x, ')'))
		do {
			if (!imap_lex_name(x, &name))
				return false;
			unsigned bit = return_bit(name);

			if (!bit)
				return imap_lex_fail(x, "a RETURN option is unknown");
			out->ret |= bit;
		} while (imap_lex_skip(x, ' '));
	if (!out->ret)
		out->ret = IMAP_RETURN_ALL;
	return imap_lex_char(x, ')');
}

bool imap_lex_search(struct imap_lex *x, struct imap_search *out)
{
	if (!take_returns(x, out))
		return false;
	if (slice_starts_nocase(x->rest, SLICE(" CHARSET "))) {
		x->rest = slice_skip(x->rest, SLICE(" CHARSET").len);
		if (!imap_lex_space(x) || !imap_lex_astring(x, &out->charset))
			return false;
		if (!out->charset.len)
			return imap_lex_fail(x, "the charset has no name");
	}
	return take_program(x, out);
}

/* --- SORT and THREAD (RFC 5256) --- */

static const slice sort_keys[] = {
	[IMAP_SORT_ARRIVAL] = SLICE_INIT("ARRIVAL"),
	[IMAP_SORT_CC] = SLICE_INIT("CC"),
	[IMAP_SORT_DATE] = SLICE_INIT("DATE"),
	[IMAP_SORT_FROM] = SLICE_INIT("FROM"),
	[IMAP_SORT_SIZE] = SLICE_INIT("SIZE"),
	[IMAP_SORT_SUBJECT] = SLICE_INIT("SUBJECT"),
	[IMAP_SORT_TO] = SLICE_INIT("TO"),
	[IMAP_SORT_DISPLAYFROM] = SLICE_INIT("DISPLAYFROM"),
	[IMAP_SORT_DISPLAYTO] = SLICE_INIT("DISPLAYTO"),
};

static bool take_sort_key(struct imap_lex *x, struct imap_sort *out)
{
	bool reverse = imap_lex_skip_word(x, SLICE("REVERSE"));
	slice name;

	if ((reverse && !imap_lex_space(x)) || !imap_lex_name(x, &name))
		return false;
	if (out->by_len == IMAP_SORT_KEYS_MAX)
		return imap_lex_fail(x, "too many sort keys");
	for (size_t i = 0; i < array_len(sort_keys); i++)
		if (slice_eq_nocase(sort_keys[i], name)) {
			out->by[out->by_len].key = (enum imap_sort_key)i;
			out->by[out->by_len++].reverse = reverse;
			return true;
		}
	return imap_lex_fail(x, "a sort key is unknown");
}

static bool take_charset(struct imap_lex *x, struct imap_search *out)
{
	return imap_lex_space(x) && imap_lex_astring(x, &out->charset);
}

bool imap_lex_sort(struct imap_lex *x, struct imap_sort *out)
{
	if (!take_returns(x, &out->search) || !imap_lex_space(x) || !imap_lex_char(x, '('))
		return false;
	do {
		if (!take_sort_key(x, out))
			return false;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')') && take_charset(x, &out->search) &&
		take_program(x, &out->search);
}

bool imap_lex_thread(struct imap_lex *x, struct imap_thread *out)
{
	return imap_lex_space(x) && imap_lex_atom(x, &out->algorithm) &&
		take_charset(x, &out->search) && take_program(x, &out->search);
}
