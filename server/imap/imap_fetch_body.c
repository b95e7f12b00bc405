/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch_body.c - BODY[...] and RFC822: spans of a message as literals.
 *
 * The message as clients see it is the splice of its delivery and then the stored bytes; parts are
 * found in the summary, which counts from the stored bytes. Spans flow a piece at a time; header
 * subsets are made in memory, for headers are bounded. */
#include "core/base/text.h"
#include "proto/imap/render.h"
#include "proto/mime/header.h"
#include "server/imap/imap_fetch.h"

#include <stdlib.h>

enum {
	AHEAD_ROWS = 32,
	ROOM_MIN = 32 * 1024, /* in less of a piece nothing is read, if there is more */
	HEADER_MAX = 2 * SUMMARY_HEADERS_MAX,
	LOOKED_MAX = 1024 * 1024, /* bytes of headers, for one piece */
	LOOK_PARTS = 4, /* so many bytes of the part tree are as quick as one of a header */
	FEW_NAMES = 8,
	NUL_SHOWN = 0x80,
};

bool fetch_looked_enough(const struct fetch_job *job)
{
	return job->looked >= LOOKED_MAX;
}

/* --- Reading ----------------------------------------------------------------------------------------- */

/* Neighbours in the mailbox are mostly neighbours on the disk. Nothing is gained where the next body
 * is not in the journal. */
static void look_ahead(struct fetch_job *job)
{
	struct blob_coming coming[AHEAD_ROWS];
	size_t len = 0;

	for (size_t i = job->at; i < job->len && len < AHEAD_ROWS && !job->rows[i].reader; i++)
		coming[len++] = (struct blob_coming){ job->rows[i].m.blob, job->rows[i].m.size };
	if (len > 1)
		blob_read_ahead(&job->ahead, job->store, coming, len);
}

static enum err open_reader(struct fetch_job *job, const struct fetch_row *row)
{
	enum err err = OK;

	if (job->reader_open)
		return OK;
	if (row->reader) {
		job->reader = *row->reader;
	} else {
		if (job->ahead.buf && !blob_is_ahead(&job->ahead, row->m.blob))
			look_ahead(job);
		err = blob_open_near(&job->reader, job->store, row->m.blob, &job->ahead);
	}
	job->reader_open = !err;
	return err;
}

enum err fetch_read_at(struct fetch_job *job, const struct fetch_row *row, uint64_t at,
	struct out *to)
{
	size_t n = 0;

	if (at < row->splice.len) {
		slice part = slice_sub(slice_skip(row->splice, (size_t)at), 0, to->cap);

		out_slice(to, part);
		return OK;
	}
	enum err err = open_reader(job, row);
	if (err)
		return err;
	at -= row->splice.len;
	if (job->reader.offset != at)
		blob_seek(&job->reader, at);
	err = blob_read(&job->reader, to->buf, to->cap, &n);
	to->len = n;
	return !err && !n ? ERR_CORRUPT : err; /* shorter than its row says */
}

/* What is over HEADER_MAX is left out. */
static enum err read_whole(struct fetch_job *job, const struct fetch_row *row,
	const struct fetch_span *span, slice *out)
{
	size_t len = (size_t)MIN(span->len, (uint64_t)HEADER_MAX), have = 0;
	char *buf = arena_alloc(&job->arena, len + 1);

	while (have < len) {
		struct out to = out_fixed(buf + have, len - have);
		enum err err = fetch_read_at(job, row, span->at + have, &to);

		if (err)
			return err;
		have += to.len;
	}
	*out = slice_of(buf, have);
	return OK;
}

/* --- Where it is --------------------------------------------------------------------------------------- */

static enum section_what what_of(enum imap_section_text text)
{
	switch (text) {
	case IMAP_TEXT_HEADER:
	case IMAP_TEXT_FIELDS:
	case IMAP_TEXT_FIELDS_NOT:
		return SECTION_HEADER;
	case IMAP_TEXT_TEXT:
		return SECTION_TEXT;
	case IMAP_TEXT_MIME:
		return SECTION_MIME;
	default:
		return SECTION_ALL;
	}
}

static enum section_what what_of_kind(const struct imap_section *section)
{
	if (section->kind == IMAP_RFC822_HEADER)
		return SECTION_HEADER;
	if (section->kind == IMAP_RFC822_TEXT)
		return SECTION_TEXT;
	return what_of(section->text);
}

/* Of the whole message: the splice belongs to its header. */
static bool find_in_message(const struct fetch_row *row, enum section_what what,
	struct fetch_span *out)
{
	uint64_t header = row->splice.len + row->summary.header_len;

	*out = (struct fetch_span){ .coding = PART_BINARY };
	if (what == SECTION_ALL) {
		out->len = row->m.size;
		return true;
	}
	if (!row->has_summary)
		return false;
	header = MIN(header, row->m.size);
	out->at = what == SECTION_TEXT ? header : 0;
	out->len = what == SECTION_TEXT ? row->m.size - header : header;
	return true;
}

static bool find(const struct fetch_row *row, const struct imap_section *section,
	struct fetch_span *out)
{
	struct section path = { .what = what_of_kind(section) };
	struct section_span span;

	if (!section->part_len)
		return find_in_message(row, path.what, out);
	if (section->part_len > SECTION_PATH_MAX || !row->has_summary)
		return false;
	for (uint16_t i = 0; i < section->part_len; i++)
		path.path[path.depth++] = section->part[i];
	if (!section_find(&row->summary, &path, &span))
		return false;
	*out = (struct fetch_span){ .at = row->splice.len + span.at,
		.len = span.len,
		.coding = span.coding,
		.leaf = span.leaf };
	return true;
}

/* --- Header subsets ---------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const slice *p = a, *q = b;

	if (p->len != q->len)
		return p->len < q->len ? -1 : 1;
	for (size_t i = 0; i < p->len; i++) {
		int order = text_lower(p->ptr[i]) - text_lower(q->ptr[i]);

		if (order)
			return order;
	}
	return 0;
}

/* In order, where there are many: a header may have thousands of fields. */
static struct imap_slices names_of(struct fetch_job *job, const struct imap_section *section)
{
	struct imap_slices names = section->fields;

	if (names.len <= FEW_NAMES)
		return names;
	names.items = arena_array(&job->arena, slice, names.len);
	memcpy(names.items, section->fields.items, names.len * sizeof(slice));
	qsort(names.items, names.len, sizeof(slice), by_name);
	return names;
}

static bool is_named(const struct imap_slices *names, slice name)
{
	if (names->len > FEW_NAMES)
		return bsearch(&name, names->items, names->len, sizeof(slice), by_name) != NULL;
	for (size_t i = 0; i < names->len; i++)
		if (slice_eq_nocase(names->items[i], name))
			return true;
	return false;
}

/* RFC 9051 6.4.5: the blank line is always there. Of a header over HEADER_MAX the last field may be cut. */
static slice subset(struct fetch_job *job, const struct imap_section *section, slice block)
{
	bool cut = block.len == HEADER_MAX;
	struct imap_slices names = names_of(job, section);
	bool want = section->text == IMAP_TEXT_FIELDS;
	struct out o = out_arena(&job->arena);
	struct header_field field;

	job->looked += block.len;
	block = header_skip_stray(block);
	while (header_next(&block, &field))
		if (is_named(&names, field.name) == want && !(cut && !block.len))
			out_slice(&o, field.whole);
	out_str(&o, "\r\n");
	return out_written(&o);
}

/* Read once for all sections that want the same: a command may have a thousand of them. */
static enum err read_block(struct fetch_job *job, const struct fetch_row *row,
	const struct fetch_span *span, slice *out)
{
	struct fetch_block *b = &job->block;
	enum err err = OK;

	if (b->bytes.len && b->at == span->at && b->len == span->len) {
		arena_rollback(&job->arena, b->mark);
	} else {
		arena_rollback(&job->arena, job->row_mark);
		*b = (struct fetch_block){ .at = span->at, .len = span->len };
		err = read_whole(job, row, span, &b->bytes);
		job->headers += b->bytes.len;
		b->mark = arena_mark(&job->arena);
	}
	*out = b->bytes;
	return err;
}

/* --- Beginning -------------------------------------------------------------------------------------------- */

static void put_nothing(struct fetch_job *job, const char *what)
{
	out_str(job->out, what);
	job->body.section = NULL;
}

static void cut(const struct imap_section *section, uint64_t *at, uint64_t *len)
{
	uint64_t first;

	if (!section->partial)
		return;
	first = MIN(section->partial_first, *len);
	*at += first;
	*len = MIN(*len - first, section->partial_bytes);
}

static void begin_span(struct fetch_job *job, const struct imap_section *section,
	struct fetch_span span)
{
	cut(section, &span.at, &span.len);
	if (!span.len) {
		put_nothing(job, "\"\"");
		return;
	}
	imap_put_literal_head(job->out, span.len, false);
	job->body.at = span.at;
	job->body.left = span.len;
}

static void begin_bytes(struct fetch_job *job, const struct imap_section *section, slice bytes)
{
	uint64_t at = 0, len = bytes.len;

	cut(section, &at, &len);
	if (!len) {
		put_nothing(job, "\"\"");
		return;
	}
	imap_put_literal_head(job->out, len, false);
	job->body.in_memory = true;
	job->body.bytes = slice_sub(slice_skip(bytes, (size_t)at), 0, (size_t)len);
}

static void begin_subset(struct fetch_job *job, const struct fetch_row *row,
	const struct imap_section *section, const struct fetch_span *span)
{
	slice block;

	if (read_block(job, row, span, &block)) {
		job->block.bytes = SLICE("");
		job->unreadable = true;
		put_nothing(job, "NIL");
		return;
	}
	begin_bytes(job, section, subset(job, section, block));
}

bool fetch_section_is_decoded(const struct imap_section *section)
{
	return section->kind == IMAP_BINARY || section->kind == IMAP_BINARY_SIZE;
}

bool fetch_section_is_whole(const struct imap_section *section)
{
	return !section->part_len && !fetch_section_is_decoded(section) &&
		what_of_kind(section) == SECTION_ALL;
}

bool fetch_section_is_head(const struct imap_section *section)
{
	return !section->part_len && !fetch_section_is_decoded(section) &&
		what_of_kind(section) == SECTION_HEADER;
}

void fetch_section_begin(struct fetch_job *job, struct fetch_row *row,
	const struct imap_section *section)
{
	struct fetch_span span;

	if (job->items || section != job->args->sections)
		out_char(job->out, ' ');
	imap_put_section(job->out, section);
	out_char(job->out, ' ');
	job->body = (struct fetch_body){ .section = section, .next = section->next };
	if (section->part_len && row->has_summary)
		job->looked += row->summary.parts.len / LOOK_PARTS;
	if (!find(row, section, &span)) {
		put_nothing(job, section->kind == IMAP_BINARY_SIZE ? "0" : "NIL");
	} else if (open_reader(job, row)) {
		job->unreadable = true;
		put_nothing(job, section->kind == IMAP_BINARY_SIZE ? "0" : "NIL");
	} else if (fetch_section_is_decoded(section)) {
		fetch_binary_begin(job, row, section, &span);
	} else if (section->text == IMAP_TEXT_FIELDS || section->text == IMAP_TEXT_FIELDS_NOT) {
		begin_subset(job, row, section, &span);
	} else {
		begin_span(job, section, span);
	}
}

/* --- More ---------------------------------------------------------------------------------------------------- */

/* Straight into the piece. */
static enum err more_span(struct fetch_job *job, const struct fetch_row *row)
{
	struct fetch_body *b = &job->body;
	struct out *o = job->out;
	size_t room = o->cap - o->len;
	size_t want = (size_t)MIN(b->left, (uint64_t)IMAP_OUT_BODIES);

	want = room < ROOM_MIN ? want : MIN(room, want);
	if (room < want && !o->more(o, want))
		return ERR_NOMEM;
	struct out to = out_fixed(o->buf + o->len, want);
	enum err err = fetch_read_at(job, row, b->at, &to);

	if (err)
		return err;
	size_t n = (size_t)MIN(b->left, (uint64_t)to.len);
	o->len += n;
	b->at += n;
	b->left -= n;
	return OK;
}

/* RFC 9051 4.3.1: a literal has no NUL, and BODY has no other form. Sizes stay as they are. */
static void mask_nuls(char *bytes, size_t len)
{
	const char *end = bytes + len;

	for (char *nul; (nul = memchr(bytes, 0, (size_t)(end - bytes))); bytes = nul + 1)
		*nul = (char)NUL_SHOWN;
}

enum err fetch_section_more(struct fetch_job *job, const struct fetch_row *row)
{
	struct fetch_body *b = &job->body;
	bool plain = !fetch_section_is_decoded(b->section);
	size_t before = job->out->len;
	enum err err = OK;

	if (b->in_memory) {
		slice part = slice_sub(b->bytes, 0, IMAP_OUT_CHUNK);

		out_slice(job->out, part);
		b->bytes = slice_skip(b->bytes, part.len);
		b->left = b->bytes.len;
	}
	while (!err && b->left && !imap_flow_full_of_bodies(job->out) && !b->in_memory)
		err = b->decoded ? fetch_binary_more(job, row) : more_span(job, row);
	if (plain)
		mask_nuls(job->out->buf + before, job->out->len - before);
	if (!b->left)
		b->section = NULL;
	return err;
}
