/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The items of FETCH: one row per name. Names with a section behind them end where the bracket begins. */
#include "proto/imap/fetch.h"

#include "core/base/text.h"
#include "proto/imap/render.h"

enum {
	MACRO_FAST = IMAP_FETCH_FLAGS | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_RFC822_SIZE,
	MACRO_ALL = MACRO_FAST | IMAP_FETCH_ENVELOPE,
	MACRO_FULL = MACRO_ALL | IMAP_FETCH_BODY,
};

static const struct simple_row {
	slice name;
	unsigned items;
} macros[] = {
	{ SLICE_INIT("ALL"), MACRO_ALL },
	{ SLICE_INIT("FAST"), MACRO_FAST },
	{ SLICE_INIT("FULL"), MACRO_FULL },
};

static const struct simple_row simple_items[] = {
	{ SLICE_INIT("UID"), IMAP_FETCH_UID },
	{ SLICE_INIT("FLAGS"), IMAP_FETCH_FLAGS },
	{ SLICE_INIT("INTERNALDATE"), IMAP_FETCH_INTERNALDATE },
	{ SLICE_INIT("RFC822.SIZE"), IMAP_FETCH_RFC822_SIZE },
	{ SLICE_INIT("ENVELOPE"), IMAP_FETCH_ENVELOPE },
	{ SLICE_INIT("BODY"), IMAP_FETCH_BODY },
	{ SLICE_INIT("BODYSTRUCTURE"), IMAP_FETCH_BODYSTRUCTURE },
	{ SLICE_INIT("MODSEQ"), IMAP_FETCH_MODSEQ },
	{ SLICE_INIT("EMAILID"), IMAP_FETCH_EMAILID },
	{ SLICE_INIT("THREADID"), IMAP_FETCH_THREADID },
	{ SLICE_INIT("SAVEDATE"), IMAP_FETCH_SAVEDATE },
	{ SLICE_INIT("PREVIEW"), IMAP_FETCH_PREVIEW },
};

/* What has bytes of the message in its answer. */
static const struct section_row {
	slice name;
	enum imap_section_kind kind;
	bool peek, bracket;
} section_items[] = {
	{ SLICE_INIT("BODY"), IMAP_BODY, false, true },
	{ SLICE_INIT("BODY.PEEK"), IMAP_BODY, true, true },
	{ SLICE_INIT("BINARY"), IMAP_BINARY, false, true },
	{ SLICE_INIT("BINARY.PEEK"), IMAP_BINARY, true, true },
	{ SLICE_INIT("BINARY.SIZE"), IMAP_BINARY_SIZE, true, true },
	{ SLICE_INIT("RFC822"), IMAP_RFC822, false, false },
	{ SLICE_INIT("RFC822.HEADER"), IMAP_RFC822_HEADER, true, false },
	{ SLICE_INIT("RFC822.TEXT"), IMAP_RFC822_TEXT, false, false },
};

static const struct text_row {
	slice name;
	enum imap_section_text text;
} section_texts[] = {
	{ SLICE_INIT("HEADER"), IMAP_TEXT_HEADER },
	{ SLICE_INIT("HEADER.FIELDS"), IMAP_TEXT_FIELDS },
	{ SLICE_INIT("HEADER.FIELDS.NOT"), IMAP_TEXT_FIELDS_NOT },
	{ SLICE_INIT("TEXT"), IMAP_TEXT_TEXT },
	{ SLICE_INIT("MIME"), IMAP_TEXT_MIME },
};

/* --- Parsing --- */

static bool at_digit(const struct imap_lex *x)
{
	return x->rest.len && text_is_digit(x->rest.ptr[0]);
}

/* 1.2.3, and whether a dot behind it says that more follows. */
static bool take_part(struct imap_lex *x, struct imap_section *s, bool *dot)
{
	uint32_t part[IMAP_PART_DEPTH_MAX];

	do {
		if (s->part_len == IMAP_PART_DEPTH_MAX)
			return imap_lex_fail(x, "the part number is too deep");
		if (!imap_lex_nz(x, &part[s->part_len]))
			return false;
		s->part_len++;
		*dot = imap_lex_skip(x, '.');
	} while (*dot && at_digit(x));
	s->part = arena_array(x->a, uint32_t, s->part_len);
	memcpy(s->part, part, s->part_len * sizeof(*part));
	return true;
}

static bool take_fields(struct imap_lex *x, struct imap_section *s)
{
	slice name;

	if (!imap_lex_space(x) || !imap_lex_char(x, '('))
		return false;
	do {
		if (!imap_lex_astring(x, &name) || !imap_lex_add(x, &s->fields, name))
			return false;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')');
}

static bool take_text(struct imap_lex *x, struct imap_section *s)
{
	slice name;

	if (!imap_lex_name(x, &name))
		return false;
	for (size_t i = 0; i < array_len(section_texts); i++)
		if (slice_eq_nocase(section_texts[i].name, name))
			s->text = section_texts[i].text;
	if (s->text == IMAP_TEXT_ALL || (s->text == IMAP_TEXT_MIME && !s->part_len))
		return imap_lex_fail(x, "there is no such section");
	if (s->text == IMAP_TEXT_FIELDS || s->text == IMAP_TEXT_FIELDS_NOT)
		return take_fields(x, s);
	return true;
}

/* "[...]" */
static bool take_section(struct imap_lex *x, struct imap_section *s)
{
	bool dot = true;

	if (!imap_lex_char(x, '['))
		return false;
	if (imap_lex_skip(x, ']'))
		return true;
	if (at_digit(x) && !take_part(x, s, &dot))
		return false;
	if (!dot)
		return imap_lex_char(x, ']');
	if (s->kind != IMAP_BODY)
		return imap_lex_fail(x, "there is no such section");
	return take_text(x, s) && imap_lex_char(x, ']');
}

/* "<0.2048>" */
static bool take_partial(struct imap_lex *x, struct imap_section *s)
{
	if (s->kind == IMAP_BINARY_SIZE || !imap_lex_skip(x, '<'))
		return !x->why;
	s->partial = true;
	return imap_lex_number64(x, &s->partial_first) && imap_lex_char(x, '.') &&
		imap_lex_number(x, 1, INT64_MAX, &s->partial_bytes) && imap_lex_char(x, '>');
}

static bool add_section(struct imap_lex *x, const struct section_row *row, struct imap_fetch *out,
	struct imap_section ***tail)
{
	struct imap_section *s = arena_new(x->a, struct imap_section);

	if (out->section_count++ >= x->limits->terms_max)
		return imap_lex_fail(x, "too many items");
	s->kind = row->kind;
	s->peek = row->peek;
	if (row->bracket && (!take_section(x, s) || !take_partial(x, s)))
		return false;
	if (s->kind == IMAP_RFC822_HEADER)
		s->text = IMAP_TEXT_HEADER;
	else if (s->kind == IMAP_RFC822_TEXT)
		s->text = IMAP_TEXT_TEXT;
	out->sets_seen |= !s->peek;
	**tail = s;
	*tail = &s->next;
	return true;
}

/* RFC 8970 3.2. */
static void take_lazy(struct imap_lex *x, struct imap_fetch *out)
{
	if (!slice_starts_nocase(x->rest, SLICE(" (LAZY)")))
		return;
	x->rest = slice_skip(x->rest, SLICE(" (LAZY)").len);
	out->items |= IMAP_FETCH_PREVIEW_LAZY;
}

static bool take_item(struct imap_lex *x, struct imap_fetch *out, struct imap_section ***tail)
{
	slice name;

	if (!imap_lex_name(x, &name))
		return false;
	bool bracket = imap_lex_at(x, '[');

	for (size_t i = 0; i < array_len(section_items); i++)
		if (slice_eq_nocase(section_items[i].name, name) &&
			section_items[i].bracket == bracket)
			return add_section(x, &section_items[i], out, tail);
	for (size_t i = 0; i < array_len(simple_items); i++)
		if (slice_eq_nocase(simple_items[i].name, name) && !bracket) {
			out->items |= simple_items[i].items;
			if (simple_items[i].items == IMAP_FETCH_PREVIEW)
				take_lazy(x, out);
			return true;
		}
	return imap_lex_fail(x, "an item is unknown");
}

static bool take_items(struct imap_lex *x, struct imap_fetch *out)
{
	struct imap_section **tail = &out->sections;

	for (size_t i = 0; i < array_len(macros); i++)
		if (imap_lex_skip_word(x, macros[i].name)) {
			out->items |= macros[i].items;
			return true;
		}
	if (!imap_lex_skip(x, '('))
		return take_item(x, out, &tail);
	do {
		if (!take_item(x, out, &tail))
			return false;
	} while (imap_lex_skip(x, ' '));
	return imap_lex_char(x, ')');
}

/* RFC 7162 3.1.4.1 and 3.2.6. */
static bool take_modifiers(struct imap_lex *x, struct imap_fetch *out)
{
	if (!imap_lex_char(x, '('))
		return false;
	do {
		if (imap_lex_skip_word(x, SLICE("CHANGEDSINCE"))) {
			out->changed_since = true;
			if (!imap_lex_space(x) || !imap_lex_number(x, 1, INT64_MAX, &out->since))
				return false;
		} else if (imap_lex_skip_word(x, SLICE("VANISHED"))) {
			out->vanished = true;
		} else {
			return imap_lex_fail(x, "a modifier is unknown");
		}
	} while (imap_lex_skip(x, ' '));
	if (out->vanished && (!x->uid || !out->changed_since))
		return imap_lex_fail(x, "VANISHED wants UID FETCH and CHANGEDSINCE");
	return imap_lex_char(x, ')');
}

bool imap_lex_fetch(struct imap_lex *x, struct imap_fetch *out)
{
	if (!imap_lex_space(x) || !imap_lex_seqset(x, &out->set) || !imap_lex_space(x) ||
		!take_items(x, out))
		return false;
	if (imap_lex_skip(x, ' ') && !imap_lex_at_end(x) && !take_modifiers(x, out))
		return false;
	if (x->uid)
		out->items |= IMAP_FETCH_UID;
	/* RFC 7162 3.1.4.1: the modifier implies the item. */
	if (out->changed_since)
		out->items |= IMAP_FETCH_MODSEQ;
	return imap_lex_end(x);
}

/* --- Writing --- */

static slice name_of_text(enum imap_section_text text)
{
	for (size_t i = 0; i < array_len(section_texts); i++)
		if (section_texts[i].text == text)
			return section_texts[i].name;
	return (slice){ 0 };
}

static slice name_of_kind(enum imap_section_kind kind, bool peek)
{
	for (size_t i = 0; i < array_len(section_items); i++)
		if (section_items[i].kind == kind && section_items[i].peek == peek)
			return section_items[i].name;
	return (slice){ 0 };
}

static void put_brackets(struct out *o, const struct imap_section *s)
{
	out_char(o, '[');
	for (uint16_t i = 0; i < s->part_len; i++) {
		if (i)
			out_char(o, '.');
		out_uint(o, s->part[i]);
	}
	if (s->text != IMAP_TEXT_ALL) {
		slice name = name_of_text(s->text);

		if (s->part_len)
			out_char(o, '.');
		out_slice(o, name);
	}
	for (size_t i = 0; i < s->fields.len; i++) {
		out_str(o, i ? " " : " (");
		imap_put_astring(o, s->fields.items[i], false);
	}
	out_str(o, s->fields.len ? ")]" : "]");
}

static bool has_brackets(const struct imap_section *s)
{
	return s->kind <= IMAP_BINARY_SIZE;
}

void imap_put_section(struct out *o, const struct imap_section *s)
{
	bool size = s->kind == IMAP_BINARY_SIZE || s->kind == IMAP_RFC822_HEADER;

	out_slice(o, name_of_kind(s->kind, size));
	if (!has_brackets(s))
		return;
	put_brackets(o, s);
	if (!s->partial)
		return;
	out_char(o, '<');
	out_uint(o, s->partial_first);
	out_char(o, '>');
}
