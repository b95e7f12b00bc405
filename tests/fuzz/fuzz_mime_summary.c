/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mime_summary.c - the row does not depend on the cuts; it opens; what it says lies inside the
 * row and inside the message; and bytes that are no row are read as well, without harm. */
#include "core/base/text.h"
#include "proto/mime/section.h"
#include "tests/support/proto_feeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* A string may be sent the way it says. */
static void check_text(const struct summary_text *text, slice row)
{
	must(feed_inside(text->text, row));
	for (size_t i = 0; i < text->text.len; i++)
		must(text->text.ptr[i] && !strchr("\r\n", text->text.ptr[i]));
	if (text->safe == SUMMARY_QUOTED || text->safe == SUMMARY_ESCAPED)
		must(text_is_ascii(text->text));
	if (text->safe == SUMMARY_QUOTED)
		must(slice_find(text->text, '"') < 0 && slice_find(text->text, '\\') < 0);
	if (text->safe == SUMMARY_UTF8)
		must(text_is_utf8(text->text));
}

static void check_list(slice list, slice row, bool trusted)
{
	struct summary_text text;

	while (summary_text_next(&list, &text))
		if (trusted)
			check_text(&text, row);
	must(!trusted || list.len == 0);
}

static void check_envelope(const struct summary_envelope *e, slice row, bool trusted)
{
	struct summary_address item;

	for (size_t i = 0; i < SUMMARY_LISTS; i++) {
		slice list = e->lists[i];
		int groups = 0;

		while (summary_address_next(&list, &item)) {
			must(feed_inside(item.name.text, row) && feed_inside(item.host.text, row));
			groups += item.kind == SUMMARY_GROUP;
			groups -= item.kind == SUMMARY_GROUP_END;
			must(!trusted || (groups >= 0 && groups <= 1));
		}
		must(!trusted || (list.len == 0 && groups == 0));
	}
	if (trusted)
		check_text(&e->subject, row);
}

/* One field alone is what all together say it is. */
static void check_fields(const struct summary *s, const struct summary_envelope *e, slice row)
{
	struct summary_text text;
	slice list;
	bool got = summary_get_text(s, SUMMARY_SUBJECT, &text);

	must(got ? feed_inside(text.text, row) : !e);
	must(!e || (text.text.ptr == e->subject.text.ptr && text.text.len == e->subject.text.len));
	got = summary_get_list(s, SUMMARY_TO, &list);
	must(got ? feed_inside(list, row) : !e);
	must(!e || (list.ptr == e->lists[SUMMARY_TO].ptr && list.len == e->lists[SUMMARY_TO].len));
}

static void check_part(const struct summary_part *p, const struct summary *s, slice row)
{
	must(p->header_at <= p->body_at && p->body_at <= s->size);
	must(p->body_len <= s->size - p->body_at && p->lines <= p->body_len);
	must((p->kind == PART_LEAF) == (p->children == 0));
	must(p->kind != PART_MESSAGE || p->children == 1);
	must(p->type.text.len && p->subtype.text.len && p->encoding.text.len);
	check_text(&p->type, row);
	check_text(&p->id, row);
}

static void read_row(slice row, bool trusted)
{
	struct summary_envelope e;
	struct summary_part p;
	struct summary s;
	slice parts;

	if (!summary_open(row, &s)) {
		must(!trusted);
		return;
	}
	must(feed_inside(s.preview, row) && feed_inside(s.base_key, row));
	must(!trusted || (text_is_utf8(s.preview) && s.header_len <= s.size && s.lines <= s.size));
	bool whole = summary_envelope(&s, &e);

	must(whole || !trusted);
	if (whole)
		check_envelope(&e, row, trusted);
	check_fields(&s, whole ? &e : NULL, row);
	for (parts = summary_parts(&s); summary_part_next(&parts, &p);) {
		if (trusted)
			check_part(&p, &s, row);
		if (summary_part_envelope(&p, &e))
			check_envelope(&e, row, trusted);
		else
			must(!trusted || !p.root || p.depth == 0);
		check_list(p.params, row, trusted);
		check_list(p.disposition_params, row, trusted);
		check_list(p.languages, row, trusted);
	}
	must(!trusted || parts.len == 0);
}

static void find_sections(slice row, size_t size)
{
	struct section_span span;
	struct summary s;

	must(summary_open(row, &s));
	for (unsigned i = 0; i < 64; i++) {
		struct section section = { .path = { i & 3, i >> 2 & 3 },
			.depth = i % 3,
			.what = (enum section_what)(i >> 4) };

		if (section_find(&s, &section, &span))
			must(span.at <= size && span.len <= size - span.at);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	slice in = slice_of(bytes, len);
	struct arena a = { 0 };
	struct out row = out_arena(&a);
	slice copy;

	must(feed_few_ways(&feed_summary, NULL, in, &row));
	read_row(out_written(&row), true);
	find_sections(out_written(&row), len);
	copy = arena_dup(&a, out_written(&row));
	/* The row with the input laid over it is damaged somewhere. */
	for (size_t i = 0; i < copy.len && i < len; i++)
		((char *)(uintptr_t)copy.ptr)[copy.len - 1 - i] ^= (char)(bytes[i] & 0x81);
	read_row(copy, false);
	read_row(in, false);
	arena_done(&a);
	return 0;
}
