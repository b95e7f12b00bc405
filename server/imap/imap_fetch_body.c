/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch_body.c - BODY[...], RFC822 and BINARY: spans of a message as literals.
 *
 * The message as clients see it is the splice of its delivery and then the stored bytes; parts are
 * found in the summary, which counts from the stored bytes. Spans flow a piece at a time; header
 * subsets are made in memory, for headers are bounded. A literal's length must be known before its
 * first byte, so what BINARY decodes is decoded twice. */
#include "proto/imap/render.h"
#include "proto/mime/header.h"
#include "server/imap/imap_fetch.h"

enum {
	READ_BYTES = 16 * 1024,
	AHEAD_ROWS = 32,
	ROOM_MIN = 32 * 1024, /* in less of a piece nothing is read, if there is more */
	DECODE_BYTES = 2 * READ_BYTES,
	HEADER_MAX = 2 * SUMMARY_HEADERS_MAX
};

struct span {
	uint64_t at, len;
	enum part_encoding coding;
	bool leaf;
};

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

/* Bytes of the message as it was delivered; *out_len 0 never, unless `len` is. */
static enum err read_at(struct fetch_job *job, const struct fetch_row *row, uint64_t at,
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

static enum err read_whole(struct fetch_job *job, const struct fetch_row *row,
	const struct span *span, slice *out)
{
	if (span->len > HEADER_MAX)
		return ERR_TOO_LARGE;
	char *buf = arena_alloc(&job->arena, (size_t)span->len + 1);
	size_t have = 0;
	while (have < span->len) {
		struct out to = out_fixed(buf + have, (size_t)span->len - have);
		enum err err = read_at(job, row, span->at + have, &to);

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
static bool find_in_message(const struct fetch_row *row, enum section_what what, struct span *out)
{
	uint64_t header = row->splice.len + row->summary.header_len;

	*out = (struct span){ .coding = PART_BINARY };
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

static bool find(const struct fetch_row *row, const struct imap_section *section, struct span *out)
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
	*out = (struct span){ .at = row->splice.len + span.at,
		.len = span.len,
		.coding = span.coding,
		.leaf = span.leaf };
	return true;
}

/* --- Header subsets ---------------------------------------------------------------------------------- */

static bool is_named(const struct imap_section *section, slice name)
{
	for (size_t i = 0; i < section->fields.len; i++)
		if (slice_eq_nocase(section->fields.items[i], name))
			return true;
	return false;
}

/* RFC 9051 6.4.5: the blank line is always there. */
static slice subset(struct fetch_job *job, const struct imap_section *section, slice block)
{
	bool want = section->text == IMAP_TEXT_FIELDS;
	struct out o = out_arena(&job->arena);
	struct header_field field;

	block = header_skip_stray(block);
	while (header_next(&block, &field))
		if (is_named(section, field.name) == want)
			out_slice(&o, field.whole);
	out_str(&o, "\r\n");
	return out_written(&o);
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

static void begin_span(struct fetch_job *job, const struct imap_section *section, struct span span)
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
	const struct imap_section *section, const struct span *span)
{
	slice block;

	if (read_whole(job, row, span, &block)) {
		job->unreadable = true;
		put_nothing(job, "NIL");
		return;
	}
	begin_bytes(job, section, subset(job, section, block));
}

/* --- BINARY (RFC 9051 6.4.5.2) ---------------------------------------------------------------------------- */

static void decode(struct fetch_body *b, slice in, bool last, struct out *o)
{
	switch (b->coding) {
	case PART_QP:
		qp_decode(&b->qp, in, o);
		if (last)
			qp_decode_end(&b->qp, o);
		break;
	case PART_BASE64:
		b64_decode(&b->b64, in, o);
		break;
	default:
		out_slice(o, in);
	}
}

/* The next encoded bytes, decoded into `o`. */
static enum err decode_more(struct fetch_job *job, const struct fetch_row *row, struct out *o)
{
	struct fetch_body *b = &job->body;
	char buf[READ_BYTES];
	struct out in = out_fixed(buf, (size_t)MIN((uint64_t)sizeof(buf), b->end - b->at));
	enum err err = read_at(job, row, b->at, &in);

	if (err)
		return err;
	b->at += in.len;
	decode(b, out_written(&in), b->at == b->end, o);
	return OK;
}

static void rewind_to(struct fetch_body *b, const struct span *span)
{
	b->qp = (struct qp_decoder){ 0 };
	b->b64 = (struct b64_decoder){ 0 };
	b->at = span->at;
	b->end = span->at + span->len;
	b->coding = span->leaf ? span->coding : PART_BINARY;
}

static enum err decoded_size(struct fetch_job *job, const struct fetch_row *row,
	const struct span *span, uint64_t *out)
{
	char buf[DECODE_BYTES];

	*out = 0;
	rewind_to(&job->body, span);
	while (job->body.at < job->body.end) {
		struct out o = out_fixed(buf, sizeof(buf));
		enum err err = decode_more(job, row, &o);

		if (err)
			return err;
		*out += o.len;
	}
	return OK;
}

/* Without an encoding the size is known: the body is not read. */
static enum err told_size(struct fetch_job *job, const struct fetch_row *row,
	const struct imap_section *section, const struct span *span, uint64_t *out)
{
	bool coded = span->leaf && (span->coding == PART_QP || span->coding == PART_BASE64);

	if (section->kind != IMAP_BINARY_SIZE || coded)
		return decoded_size(job, row, span, out);
	*out = span->len;
	return OK;
}

static void begin_decoded(struct fetch_job *job, const struct fetch_row *row,
	const struct imap_section *section, const struct span *span)
{
	uint64_t size, first = 0;

	if (span->leaf && span->coding == PART_UNKNOWN_ENCODING) {
		job->unknown_cte = true;
		put_nothing(job, section->kind == IMAP_BINARY_SIZE ? "0" : "NIL");
		return;
	}
	if (told_size(job, row, section, span, &size)) {
		job->unreadable = true;
		put_nothing(job, section->kind == IMAP_BINARY_SIZE ? "0" : "NIL");
		return;
	}
	if (section->kind == IMAP_BINARY_SIZE) {
		out_uint(job->out, size);
		put_nothing(job, "");
		return;
	}
	cut(section, &first, &size);
	imap_put_literal_head(job->out, size, true);
	rewind_to(&job->body, span);
	job->body.decoded = true;
	job->body.skip = first;
	job->body.left = size;
	if (!size)
		job->body.section = NULL;
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

void fetch_section_begin(struct fetch_job *job, struct fetch_row *row,
	const struct imap_section *section)
{
	struct span span;

	if (job->items || section != job->args->sections)
		out_char(job->out, ' ');
	imap_put_section(job->out, section);
	out_char(job->out, ' ');
	job->body = (struct fetch_body){ .section = section };
	if (!find(row, section, &span)) {
		put_nothing(job, section->kind == IMAP_BINARY_SIZE ? "0" : "NIL");
	} else if (open_reader(job, row)) {
		job->unreadable = true;
		put_nothing(job, section->kind == IMAP_BINARY_SIZE ? "0" : "NIL");
	} else if (fetch_section_is_decoded(section)) {
		begin_decoded(job, row, section, &span);
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
	size_t want = (size_t)MIN(b->left, (uint64_t)IMAP_OUT_CHUNK);

	want = room < ROOM_MIN ? want : MIN(room, want);
	if (room < want && !o->more(o, want))
		return ERR_NOMEM;
	struct out to = out_fixed(o->buf + o->len, want);
	enum err err = read_at(job, row, b->at, &to);

	if (err)
		return err;
	size_t n = (size_t)MIN(b->left, (uint64_t)to.len);
	o->len += n;
	b->at += n;
	b->left -= n;
	return OK;
}

static enum err more_decoded(struct fetch_job *job, const struct fetch_row *row)
{
	struct fetch_body *b = &job->body;
	char buf[DECODE_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	enum err err = b->at < b->end ? decode_more(job, row, &o) : ERR_CORRUPT;

	if (err)
		return err;
	slice part = out_written(&o);
	uint64_t drop = MIN(b->skip, (uint64_t)part.len);
	b->skip -= drop;
	part = slice_sub(slice_skip(part, (size_t)drop), 0,
		(size_t)MIN(b->left, (uint64_t)part.len));
	out_slice(job->out, part);
	b->left -= part.len;
	return OK;
}

enum err fetch_section_more(struct fetch_job *job, const struct fetch_row *row)
{
	struct fetch_body *b = &job->body;
	enum err err = OK;

	if (b->in_memory) {
		slice part = slice_sub(b->bytes, 0, IMAP_OUT_CHUNK);

		out_slice(job->out, part);
		b->bytes = slice_skip(b->bytes, part.len);
		b->left = b->bytes.len;
	}
	while (!err && b->left && !imap_flow_full(job->out) && !b->in_memory)
		err = b->decoded ? more_decoded(job, row) : more_span(job, row);
	if (!b->left)
		b->section = NULL;
	return err;
}
