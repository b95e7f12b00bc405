/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_find_plan.c - from the keys of a command to terms that can be asked of rows. */
#include "core/base/text.h"
#include "server/imap/imap_find.h"
#include "server/imap/imap_int.h"

struct maker {
	struct imap_session *s;
	slice charset;
	enum find_fault fault;
	enum find_wants wants;
};

static bool is_utf8(slice charset)
{
	return !charset.len || slice_eq_nocase(charset, SLICE("UTF-8")) ||
		slice_eq_nocase(charset, SLICE("US-ASCII"));
}

static slice to_utf8(struct maker *m, slice text)
{
	struct out o = out_arena(&m->s->arena);

	if (!is_utf8(m->charset)) {
		(void)charset_to_utf8(m->charset, text, NULL, &o);
		return out_written(&o);
	}
	if (!text_is_utf8(text))
		m->fault = FIND_BAD_TEXT;
	return text;
}

static uint64_t keyword_bit(const struct imap_session *s, slice word)
{
	const struct mailbox_keywords *names = s->box->view->keywords;

	for (size_t i = 0; names && i < names->len; i++)
		if (slice_eq_nocase(names->names[i], word))
			return UINT64_C(1) << i;
	return 0;
}

static void take_set(struct maker *m, const struct imap_search_node *node, struct find_term *t)
{
	struct imap_session *s = m->s;

	/* The key tells what its numbers are, whether or not the command came behind UID. */
	bool uid = s->run->uid;
	s->run->uid = node->key == IMAP_KEY_UID;
	if (!imap_set_to_uids(s, &node->set, &t->uids, NULL))
		m->fault = FIND_BAD_SET;
	s->run->uid = uid;
}

static enum find_wants wants_of(enum imap_key key)
{
	switch (key) {
	case IMAP_KEY_BCC:
	case IMAP_KEY_CC:
	case IMAP_KEY_FROM:
	case IMAP_KEY_SUBJECT:
	case IMAP_KEY_TO:
	case IMAP_KEY_HEADER:
		return FIND_ENVELOPE;
	case IMAP_KEY_BODY:
	case IMAP_KEY_TEXT:
	case IMAP_KEY_SENTBEFORE:
	case IMAP_KEY_SENTON:
	case IMAP_KEY_SENTSINCE:
		return FIND_SUMMARY;
	default: /* the row alone answers */
		return FIND_ROW;
	}
}

static slice field_of(const struct imap_search_node *node)
{
	switch (node->key) {
	case IMAP_KEY_BCC:
		return SLICE("Bcc");
	case IMAP_KEY_CC:
		return SLICE("Cc");
	case IMAP_KEY_FROM:
		return SLICE("From");
	case IMAP_KEY_SUBJECT:
		return SLICE("Subject");
	case IMAP_KEY_TO:
		return SLICE("To");
	default:
		return node->name;
	}
}

/* Of the keys that search a text. */
static void take_text(struct maker *m, const struct imap_search_node *node, struct find_term *t)
{
	t->name = field_of(node);
	t->field = header_id_of(t->name);
	t->empty = node->text.len == 0;
	collate_needle_init(&t->needle, to_utf8(m, node->text), &m->s->arena);
}

static struct find_term *term_of(struct maker *m, const struct imap_search_node *node)
{
	struct imap_session *s = m->s;
	struct find_term *t = arena_new(&s->arena, struct find_term);

	*t = (struct find_term){ .key = node->key,
		.wanted = node->wanted,
		.flag = node->flag,
		.day = node->day,
		.number = node->number,
		.name = node->name };
	if (node->key == IMAP_KEY_KEYWORD)
		t->keywords = keyword_bit(s, node->text);
	else if (node->key == IMAP_KEY_UID || node->key == IMAP_KEY_SEQ)
		take_set(m, node, t);
	else if (node->key == IMAP_KEY_EMAILID || node->key == IMAP_KEY_THREADID)
		t->name = node->text;
	else if (wants_of(node->key) != FIND_ROW)
		take_text(m, node, t);
	m->wants = MAX(m->wants, wants_of(node->key));
	return t;
}

/* Depth is bounded by the option imap.nesting, by which the parser kept. */
static struct find_term *make(struct maker *m, const struct imap_search_node *node)
{
	struct find_term *t = term_of(m, node), **end = &t->child;

	for (const struct imap_search_node *child = node->child; child; child = child->next) {
		*end = make(m, child);
		end = &(*end)->next;
	}
	return t;
}

/* The sets that every message must be in. */
static struct run_list narrow(struct imap_session *s, const struct find_term *root)
{
	struct run_list uids = imap_known_uids(s);

	for (const struct find_term *t = root->child; t; t = t->next)
		if (t->key == IMAP_KEY_UID || t->key == IMAP_KEY_SEQ)
			uids = run_list_both(&s->arena, uids, t->uids);
	return uids;
}

enum find_fault find_plan_make(struct imap_session *s, const struct imap_search *search,
	struct find_plan *out)
{
	struct maker m = { .s = s, .charset = search->charset };

	if (!is_utf8(search->charset) && !charset_known(search->charset))
		return FIND_BAD_CHARSET;
	struct find_term *root = make(&m, search->root);
	if (m.fault)
		return m.fault;
	*out = (struct find_plan){ .root = root, .uids = narrow(s, root), .wants = m.wants };
	return FIND_OK;
}

enum verdict find_refuse(struct imap_session *s, enum find_fault fault)
{
	switch (fault) {
	case FIND_BAD_CHARSET:
		imap_no(s, IMAP_CODE_BADCHARSET, "This charset is not known");
		s->run->code = SLICE("BADCHARSET (US-ASCII UTF-8)");
		return DONE;
	case FIND_BAD_SET:
		return imap_bad(s, "There is no message with such a number");
	default:
		return imap_bad(s, "A search text is not of its charset");
	}
}
