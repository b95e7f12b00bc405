/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The builder: events of the part walker become records of parts, in pre-order, whose last numbers
 * are filled in when the part is over.
 *
 * What is needed while one header block is read lies in an arena of its own; only records and the envelope
 * last. Offsets count the bytes of events, which together are the message. */
#include "proto/mime/preview.h"
#include "proto/mime/summary_int.h"

#define NO_RECORD UINT32_MAX

enum { BUILDER_BYTES = 8 * 1024 }; /* chunks of what lasts: for most messages one */

struct open_part {
	uint32_t record; /* where it begins in `parts`; NO_RECORD: left out */
	uint32_t children;
	enum part_kind kind;
	bool enclosed; /* in a message inside this one */
	uint64_t body_at, lines_at;
};

struct summary_builder {
	struct arena memory; /* this struct is in it */
	struct part_walker walker;
	struct out parts, envelope;
	struct open_part open[SUMMARY_DEPTH_MAX];
	unsigned open_count;
	bool stopped, truncated, has_attachment;
	uint64_t fed, fed_lines;       /* handed in */
	bool cr, crlf;                 /* the last byte is CR; the last two are CRLF */
	uint64_t at, lines;            /* gone through the walker */
	size_t headers;                /* bytes of header blocks so far */
	uint64_t passed, passed_lines; /* of the header at hand: too long to be kept */
	uint32_t header_len;
	struct summary_quick quick;
	struct preview preview;
	size_t preview_len;
	char preview_text[SUMMARY_PREVIEW_CHARS * 4];
	char charset[CHARSET_NAME_MAX];
};

struct summary_builder *summary_begin(void)
{
	static const struct part_limits limits = { .header_max = SUMMARY_HEADER_MAX,
		.depth_max = SUMMARY_DEPTH_MAX,
		.count_max = SUMMARY_PARTS_MAX,
		.stray = true,
		.long_headers = true };
	struct arena memory = { .chunk_bytes = BUILDER_BYTES };
	struct summary_builder *b = arena_new(&memory, struct summary_builder);

	b->memory = memory;
	b->parts = out_arena(&b->memory);
	b->envelope = out_arena(&b->memory);
	part_init(&b->walker, &limits);
	return b;
}

size_t summary_memory(const struct summary_builder *b)
{
	return b->memory.used_bytes + part_memory(&b->walker);
}

void summary_drop(struct summary_builder *b)
{
	struct arena memory;

	if (!b)
		return;
	part_done(&b->walker);
	memory = b->memory;
	arena_done(&memory);
}

/* Line ends, 16 bytes at a time: most bytes of a message are touched here and by memchr only. */
static uint64_t count_lines(slice in)
{
	typedef unsigned char block __attribute__((vector_size(16)));
	uint64_t count = 0;
	size_t at = 0;

	while (in.len - at >= sizeof(block)) {
		size_t run = MIN((in.len - at) / sizeof(block), (size_t)255);
		block sums = { 0 }, bytes;

		for (size_t i = 0; i < run; i++, at += sizeof(block)) {
			memcpy(&bytes, in.ptr + at, sizeof(block));
			sums -= (block)(bytes == '\n');
		}
		for (size_t i = 0; i < sizeof(block); i++)
			count += sums[i];
	}
	for (; at < in.len; at++)
		count += in.ptr[at] == '\n';
	return count;
}

/* Records ------------------------------------------------------------------------------------- */

static void put_be(char *at, uint64_t n, size_t bytes)
{
	for (size_t i = bytes; i-- > 0; n >>= 8)
		at[i] = (char)(n & 0xff);
}

/* Everything but the strings; the last three numbers as for an empty leaf. */
static uint32_t put_record(struct summary_builder *b, const struct part *part, uint64_t header_len)
{
	char record[RECORD_LEN] = { 0 };
	uint32_t at = (uint32_t)b->parts.len;

	record[RECORD_KIND] = (char)(part->kind | part->root << 2);
	record[RECORD_CODING] = (char)part->encoding;
	put_be(record + RECORD_DEPTH, part->depth, 2);
	put_be(record + RECORD_HEADER_LEN, MIN(header_len, (uint64_t)UINT32_MAX), 4);
	put_be(record + RECORD_AT, b->at, 8);
	out_bytes(&b->parts, record, sizeof(record));
	return at;
}

static void end_strings(struct summary_builder *b, uint32_t record)
{
	put_be(b->parts.buf + record + RECORD_STRINGS, b->parts.len - record - RECORD_LEN, 4);
}

static void put_envelope(struct summary_builder *b, struct out *o, const struct summary_fields *f,
	struct arena *a)
{
	struct summary_room room = { .text = SUMMARY_TEXT_MAX,
		.all = SUMMARY_ENVELOPE_MAX,
		.addresses = SUMMARY_ADDRESSES_MAX };

	summary_put_envelope(o, f, a, &room);
	b->truncated |= room.cut;
}

/* The strings, and the envelope of an enclosed message. */
static void put_strings(struct summary_builder *b, struct summary_dress *d, struct arena *a)
{
	struct out envelope = out_arena(a);

	summary_put_part(&b->parts, d, a);
	if (d->part->root && d->part->depth > 0) {
		put_envelope(b, &envelope, d->fields, a);
		summary_put_list(&b->parts, out_written(&envelope));
	} else {
		summary_put_list(&b->parts, (slice){ 0 });
	}
}

/* Does this part get a record? What has no room is left out with all that is inside. */
static bool has_room(const struct summary_builder *b, unsigned depth)
{
	return depth == 0 ||
		(b->open[depth - 1].record != NO_RECORD &&
			b->parts.len + RECORD_LEN < SUMMARY_ROW_MAX);
}

static uint32_t add_record(struct summary_builder *b, struct summary_dress *d, uint64_t header_len,
	struct arena *a)
{
	unsigned depth = d->part->depth;
	uint32_t record = NO_RECORD;

	if (has_room(b, depth)) {
		record = put_record(b, d->part, header_len);
		put_strings(b, d, a);
		if (b->parts.len > SUMMARY_ROW_MAX) {
			b->truncated = true;
			b->parts.len = record + RECORD_LEN;
			d->flat = true;
			put_strings(b, d, a);
		}
		end_strings(b, record);
	} else {
		b->truncated = true;
	}
	if (depth && record != NO_RECORD)
		b->open[depth - 1].children++;
	return record;
}

/* A multipart or message of which nothing is inside: IMAP has no syntax for that (RFC 9051 9, body),
 * so it gets an empty text. */
static void add_empty_child(struct summary_builder *b, unsigned depth)
{
	static const struct summary_fields none;
	struct part part = { .depth = depth,
		.root = b->open[depth - 1].kind == PART_MESSAGE,
		.type = { .type = SLICE("text"), .subtype = SLICE("plain") } };
	struct summary_dress d = { .part = &part, .fields = &none };
	uint32_t record = put_record(b, &part, 0);
	struct arena a = { 0 };

	put_strings(b, &d, &a);
	arena_done(&a);
	end_strings(b, record);
	b->open[depth - 1].children++;
}

/* Events -------------------------------------------------------------------------------------- */

static void begin_preview(struct summary_builder *b, const struct summary_dress *d)
{
	const struct ctype *t = &d->part->type;
	bool html = ctype_is(t, "text", "html");
	slice charset = { 0 };

	if (b->preview_len || d->part->kind != PART_LEAF || d->attached || d->flat ||
		(!html && !ctype_is(t, "text", "plain")) || b->open[d->part->depth].enclosed)
		return;
	ctype_param(t, "charset", &charset);
	charset = slice_sub(charset, 0, sizeof(b->charset));
	if (charset.len)
		memcpy(b->charset, charset.ptr, charset.len);
	preview_begin(&b->preview, html, d->part->encoding, slice_of(b->charset, charset.len));
}

static void end_preview(struct summary_builder *b)
{
	struct out o = out_fixed(b->preview_text, sizeof(b->preview_text));
	struct arena_mark mark = arena_mark(&b->memory);

	preview_end(&b->preview, &b->memory, SUMMARY_PREVIEW_CHARS, &o);
	b->preview_len = o.len;
	arena_rollback(&b->memory, mark);
}

static void begin_part(struct summary_builder *b, slice block, bool flat)
{
	struct part part = b->walker.part;
	unsigned depth = part.depth;
	struct open_part *open = &b->open[depth], *parent = depth ? open - 1 : NULL;
	struct summary_fields fields;
	struct summary_dress d = { .part = &part, .fields = &fields, .flat = flat };
	struct arena a = { 0 };
	uint64_t len = block.len + b->passed;

	*open = (struct open_part){ .kind = part.kind,
		.enclosed = parent && (parent->enclosed || parent->kind == PART_MESSAGE) };
	b->open_count = depth + 1;
	b->headers += block.len;
	summary_fields_of(block, &fields);
	if (depth == 0) {
		b->header_len = (uint32_t)MIN(len, (uint64_t)UINT32_MAX);
		summary_read_quick(&b->quick, &fields, &a);
		put_envelope(b, &b->envelope, &fields, &a);
	}
	open->record = add_record(b, &d, len, &a);
	arena_done(&a);
	b->has_attachment |= d.has_attachment;
	b->at += len;
	b->lines += count_lines(block) + b->passed_lines;
	b->passed = b->passed_lines = 0;
	open->body_at = b->at;
	open->lines_at = b->lines;
	begin_preview(b, &d);
}

static void end_part(struct summary_builder *b, unsigned depth)
{
	struct open_part *open = &b->open[depth];
	char *record;

	b->open_count = depth;
	if (b->preview.open)
		end_preview(b);
	if (open->record == NO_RECORD)
		return;
	record = b->parts.buf + open->record;
	put_be(record + RECORD_BODY, b->at - open->body_at, 8);
	put_be(record + RECORD_LINES, b->lines - open->lines_at, 8);
	if (open->kind != PART_LEAF && open->children == 0)
		add_empty_child(b, depth + 1);
	put_be(b->parts.buf + open->record + RECORD_CHILDREN, open->children, 4);
}

/* No more looking inside: the parts that are open reach to the end of the message. */
static void stop(struct summary_builder *b)
{
	b->stopped = true;
	b->truncated = true;
	part_done(&b->walker);
}

/* A header that is too much: what was collected, as a leaf that reaches to the end of the message. */
static void begin_endless(struct summary_builder *b, unsigned depth, slice lines)
{
	bool root = depth == 0 || b->open[depth - 1].kind == PART_MESSAGE;

	b->walker.part = (struct part){ .depth = depth, .root = root };
	begin_part(b, lines, true);
	stop(b);
}

static void take_header(struct summary_builder *b, slice block)
{
	if (b->headers + block.len > SUMMARY_HEADERS_MAX)
		begin_endless(b, b->walker.part.depth, slice_sub(block, 0, 0));
	else
		begin_part(b, block, false);
}

/* False: no more events for now, or at all. */
static bool step(struct summary_builder *b, slice *in, bool last)
{
	slice bytes;

	switch (part_next(&b->walker, in, last, &bytes)) {
	case PART_HEADER:
		take_header(b, bytes);
		return true;
	case PART_BODY:
		if (b->preview.open && !b->preview.full)
			preview_add(&b->preview, &b->memory, bytes);
		/* fall through */
	case PART_RAW:
		b->at += bytes.len;
		b->lines += count_lines(bytes);
		return true;
	case PART_LONG:
		b->truncated = true;
		b->passed += bytes.len;
		b->passed_lines += count_lines(bytes);
		return true;
	case PART_END:
		end_part(b, b->walker.part.depth);
		return true;
	case PART_LIMIT:
		begin_endless(b, b->walker.open - 1, bytes);
		return false;
	default:
		return false;
	}
}

static void note_end(struct summary_builder *b, slice piece)
{
	if (!piece.len)
		return;
	char last = piece.ptr[piece.len - 1];
	bool cr = piece.len > 1 ? piece.ptr[piece.len - 2] == '\r' : b->cr;

	b->crlf = cr && last == '\n';
	b->cr = last == '\r';
}

void summary_add(struct summary_builder *b, slice piece)
{
	note_end(b, piece);
	b->fed += piece.len;
	b->fed_lines += count_lines(piece);
	while (!b->stopped && step(b, &piece, false)) {
	}
}

/* The row ------------------------------------------------------------------------------------- */

static void put_quick(const struct summary_builder *b, struct out *row)
{
	const struct summary_quick *q = &b->quick;
	char quick[QUICK_LEN] = { 0 };

	quick[QUICK_VERSION] = SUMMARY_VERSION;
	quick[QUICK_FLAGS] =
		(char)((b->truncated ? ROW_TRUNCATED : 0) | (q->has_sent ? ROW_HAS_SENT : 0) |
			(q->reply ? ROW_REPLY : 0) | (b->has_attachment ? ROW_HAS_ATTACHMENT : 0) |
			(b->fed && !b->crlf ? ROW_OPEN_END : 0));
	put_be(quick + QUICK_ZONE, (uint64_t)(int64_t)q->zone, 2);
	put_be(quick + QUICK_HEADER, b->header_len, 4);
	put_be(quick + QUICK_SENT, (uint64_t)q->sent, 8);
	put_be(quick + QUICK_SIZE, b->fed, 8);
	put_be(quick + QUICK_LINES, b->fed_lines, 8);
	put_be(quick + QUICK_BASE, q->base_hash, 8);
	put_be(quick + QUICK_ID, q->id_hash, 8);
	put_be(quick + QUICK_REFS, q->ref_count, 1);
	put_be(quick + QUICK_KEY, q->key_len, 1);
	put_be(quick + QUICK_PREVIEW, b->preview_len, 2);
	put_be(quick + QUICK_ENVELOPE, b->envelope.len, 4);
	put_be(quick + QUICK_PARTS, b->parts.len, 4);
	out_bytes(row, quick, sizeof(quick));
	for (unsigned i = 0; i < q->ref_count; i++)
		out_u64(row, q->refs[i]);
	out_bytes(row, q->key, q->key_len);
}

void summary_end(struct summary_builder *b, struct out *row)
{
	slice none = { 0 };

	while (!b->stopped && step(b, &none, true)) {
	}
	b->at = b->fed;
	b->lines = b->fed_lines;
	while (b->open_count)
		end_part(b, b->open_count - 1);
	b->truncated |= b->walker.limited;
	put_quick(b, row);
	out_bytes(row, b->preview_text, b->preview_len);
	out_slice(row, out_written(&b->envelope));
	out_slice(row, out_written(&b->parts));
	summary_drop(b);
}

void summary_make(slice message, struct out *row)
{
	struct summary_builder *b = summary_begin();

	summary_add(b, message);
	summary_end(b, row);
}
