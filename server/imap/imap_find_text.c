/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_find_text.c - texts that are only in the message: fields that are not kept, BODY, TEXT.
 *
 * Bodies pass in pieces through transfer decoding, charset decoding and the matcher, none of which
 * holds more than a few characters. Searched are text parts and the headers of enclosed messages, by
 * TEXT also those of parts (RFC 9051 6.4.4); what is encoded data is no text. */
#include "proto/mime/header.h"
#include "proto/mime/transfer.h"
#include "proto/mime/word.h"
#include "server/imap/imap_find.h"

enum { READ_BYTES = 16 * 1024, HEADER_MAX = 2 * SUMMARY_HEADERS_MAX };

/* --- Bytes --------------------------------------------------------------------------------------------- */

static enum err read_span(struct blob_reader *r, uint64_t at, slice *into)
{
	size_t n = 0;
	enum err err;

	if (r->offset != at)
		blob_seek(r, at);
	err = blob_read(r, (char *)(uintptr_t)into->ptr, into->len, &n);
	into->len = n;
	return err;
}

/* The stored header behind the splice, in the message's arena. */
static slice header_of(const struct find_row *row, struct find_eyes *eyes)
{
	struct find_bytes *b = eyes->bytes;
	struct blob_reader r;
	size_t len = MIN((size_t)row->summary.header_len, (size_t)HEADER_MAX);

	if (b->header.ptr)
		return b->header;
	char *block = arena_alloc(b->arena, row->splice.len + len + 1);
	slice stored = slice_of(block + row->splice.len, len);
	/* A chunk behind the large one: what is made of each field, and rolled back, finds it there. */
	*(char *)arena_alloc(b->arena, 1) = 0;

	if (row->splice.len)
		memcpy(block, row->splice.ptr, row->splice.len);
	b->failed = blob_open(&r, b->store, row->m.blob) || read_span(&r, 0, &stored);
	b->header =
		header_skip_stray(slice_of(block, row->splice.len + (b->failed ? 0 : stored.len)));
	return b->header;
}

/* --- Headers -------------------------------------------------------------------------------------------- */

static bool in_field(const struct find_term *t, const struct header_field *field,
	struct find_eyes *eyes, bool with_name)
{
	struct arena_mark mark = arena_mark(eyes->scratch);
	struct out line = out_arena(eyes->scratch), text = out_arena(eyes->scratch);

	header_unfold(&line, field->value);
	if (with_name) {
		out_slice(&text, field->name);
		out_str(&text, ": ");
	}
	word_decode_with(out_written(&line), eyes->charsets, &text);
	bool found = collate_has(&t->needle, out_written(&text));
	arena_rollback(eyes->scratch, mark);
	return found;
}

bool find_in_header(const struct find_term *t, const struct find_row *row, struct find_eyes *eyes)
{
	slice block = header_of(row, eyes);
	struct header_field field;

	while (header_next(&block, &field))
		if (slice_eq_nocase(field.name, t->name) &&
			(t->empty || in_field(t, &field, eyes, false)))
			return true;
	return false;
}

static bool in_any_field(const struct find_term *t, slice block, struct find_eyes *eyes)
{
	struct header_field field;

	while (header_next(&block, &field))
		if (in_field(t, &field, eyes, true))
			return true;
	return false;
}

/* --- Bodies ---------------------------------------------------------------------------------------------- */

struct text_walk {
	struct collate_find find;
	struct charset_decoder charset;
	struct qp_decoder qp;
	struct b64_decoder b64;
	enum part_encoding coding;
};

static void undo_transfer(struct text_walk *w, slice in, struct out *o)
{
	if (w->coding == PART_QP)
		qp_decode(&w->qp, in, o);
	else if (w->coding == PART_BASE64)
		b64_decode(&w->b64, in, o);
	else
		out_slice(o, in);
}

static bool feed_text(struct text_walk *w, slice in, bool last, struct arena *a)
{
	struct arena_mark mark = arena_mark(a);
	struct out plain = out_arena(a), text = out_arena(a);

	undo_transfer(w, in, &plain);
	if (last && w->coding == PART_QP)
		qp_decode_end(&w->qp, &plain);
	charset_add(&w->charset, out_written(&plain), &text);
	bool found = collate_find_add(&w->find, out_written(&text));
	arena_rollback(a, mark);
	return found;
}

static bool is_text(const struct summary_part *part)
{
	return part->kind == PART_LEAF && slice_eq_nocase(part->type.text, SLICE("text"));
}

static slice charset_of(const struct summary_part *part)
{
	struct summary_text value;

	return summary_param(part->params, SLICE("charset"), &value) ? value.text : SLICE("");
}

static bool in_part(const struct find_term *t, const struct summary_part *part,
	struct blob_reader *r, struct find_eyes *eyes)
{
	struct text_walk w = { .find = { .needle = &t->needle }, .coding = part->coding };
	char buf[READ_BYTES], end[CHARSET_HELD * CHARSET_GROWTH];
	struct out last = out_fixed(end, sizeof(end));
	bool found = false;

	charset_begin(&w.charset, charset_of(part), eyes->charsets);
	for (uint64_t at = 0; !found && !eyes->bytes->failed && at < part->body_len;) {
		slice piece =
			slice_of(buf, (size_t)MIN((uint64_t)sizeof(buf), part->body_len - at));

		eyes->bytes->failed =
			read_span(r, part->body_at + at, &piece) != OK || piece.len == 0;
		at += piece.len;
		found = feed_text(&w, piece, at == part->body_len, eyes->scratch);
	}
	charset_end(&w.charset, &last);
	return found || collate_find_add(&w.find, out_written(&last)) || collate_find_end(&w.find);
}

/* Of a part, or of a message enclosed in another. */
static bool in_inner_header(const struct find_term *t, const struct summary_part *part,
	struct blob_reader *r, struct find_eyes *eyes)
{
	struct arena_mark mark = arena_mark(eyes->scratch);
	size_t len = (size_t)MIN(part->body_at - part->header_at, (uint64_t)HEADER_MAX);
	slice block = slice_of(arena_alloc(eyes->scratch, len + 1), len);

	eyes->bytes->failed = read_span(r, part->header_at, &block) != OK;
	bool found = !eyes->bytes->failed && in_any_field(t, block, eyes);
	arena_rollback(eyes->scratch, mark);
	return found;
}

static bool in_parts(const struct find_term *t, const struct find_row *row, struct find_eyes *eyes,
	bool part_headers)
{
	slice parts = summary_parts(&row->summary);
	struct summary_part part;
	struct blob_reader r;
	bool found = false, first = true;

	eyes->bytes->failed = blob_open(&r, eyes->bytes->store, row->m.blob) != OK;
	while (!found && !eyes->bytes->failed && summary_part_next(&parts, &part)) {
		if (!first && (part.root || part_headers))
			found = in_inner_header(t, &part, &r, eyes);
		if (!found && !eyes->bytes->failed && is_text(&part))
			found = in_part(t, &part, &r, eyes);
		first = false;
	}
	return found;
}

bool find_in_body(const struct find_term *t, const struct find_row *row, struct find_eyes *eyes)
{
	return t->empty || in_parts(t, row, eyes, false);
}

bool find_in_text(const struct find_term *t, const struct find_row *row, struct find_eyes *eyes)
{
	return t->empty || in_any_field(t, header_of(row, eyes), eyes) ||
		in_parts(t, row, eyes, true);
}
