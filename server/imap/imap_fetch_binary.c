/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch_binary.c - BINARY and BINARY.SIZE (RFC 3516, RFC 9051 6.4.5.2): parts without their encoding.
 *
 * A literal's length, and whether it has a NUL and must be a literal8, are known only once all of it was
 * decoded, and nothing is held in memory: so what is sent is decoded twice, and the first pass, the
 * *look*, throws away what it makes. What a session learns of the parts it asked for last is remembered: the
 * size of a part is looked for once, and whoever takes a part in pieces goes on where the last one
 * ended, not at the part's begin. */
#include "proto/imap/render.h"
#include "server/imap/imap_fetch.h"

enum { READ_BYTES = 16 * 1024, DECODE_BYTES = 2 * READ_BYTES };

/* Decoded bytes that are wanted, and what a look finds out about them. */
struct look {
	struct fetch_part part;
	uint64_t first, end;
	struct fetch_decoding from; /* the last place known at or before `first` */
	uint64_t size;              /* of the part, or up to `end` */
	bool nul;                   /* among those wanted */
};

/* --- Decoding ------------------------------------------------------------------------------------------- */

static void decode(struct fetch_body *b, slice in, bool last, struct out *o)
{
	switch (b->coding) {
	case PART_QP:
		qp_decode(&b->place.qp, in, o);
		if (last)
			qp_decode_end(&b->place.qp, o);
		break;
	case PART_BASE64:
		b64_decode(&b->place.b64, in, o);
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
	struct out in = out_fixed(buf, (size_t)MIN((uint64_t)sizeof(buf), b->end - b->place.at));
	enum err err = fetch_read_at(job, row, b->place.at, &in);

	if (err)
		return err;
	b->place.at += in.len;
	decode(b, out_written(&in), b->place.at == b->end, o);
	b->place.decoded += o->len;
	return OK;
}

/* --- What is remembered ------------------------------------------------------------------------------- */

static bool same_part(const struct fetch_part *a, const struct fetch_part *b)
{
	return a->blob == b->blob && a->at == b->at && a->len == b->len;
}

static const struct fetch_part_size *recall(const struct fetch_job *job,
	const struct fetch_part *part)
{
	for (size_t i = 0; job->known && i < array_len(job->known->sizes); i++)
		if (same_part(&job->known->sizes[i].part, part))
			return &job->known->sizes[i];
	return NULL;
}

static void remember(struct fetch_job *job, const struct look *look)
{
	struct fetch_known *known = job->known;

	if (known)
		known->sizes[known->next++ % array_len(known->sizes)] = (struct fetch_part_size){
			.part = look->part, .size = look->size, .nul = look->nul
		};
}

/* The nearest place from which `first` can be reached. */
static struct fetch_decoding place_for(const struct fetch_job *job, const struct look *look,
	const struct fetch_span *span)
{
	const struct fetch_known *known = job->known;

	if (job->body.coding == PART_BINARY)
		return (struct fetch_decoding){ .at = span->at + MIN(look->first, span->len),
			.decoded = MIN(look->first, span->len) };
	if (known && same_part(&known->part, &look->part) && known->place.decoded <= look->first)
		return known->place;
	return (struct fetch_decoding){ .at = span->at };
}

/* --- Looking -------------------------------------------------------------------------------------------- */

static bool has_nul(const struct look *look, uint64_t at, slice bytes)
{
	uint64_t drop = look->first > at ? MIN(look->first - at, (uint64_t)bytes.len) : 0;
	uint64_t keep = look->end > at ? MIN(look->end - at, (uint64_t)bytes.len) : 0;
	slice part = slice_skip(slice_sub(bytes, 0, (size_t)keep), (size_t)drop);

	return part.len && memchr(part.ptr, 0, part.len);
}

static enum err look_through(struct fetch_job *job, const struct fetch_row *row, struct look *look)
{
	struct fetch_decoding *place = &job->body.place;
	char buf[DECODE_BYTES];

	while (place->at < job->body.end && place->decoded < look->end) {
		uint64_t before = place->decoded;
		struct out o = out_fixed(buf, sizeof(buf));

		if (before <= look->first)
			look->from = *place;
		enum err err = decode_more(job, row, &o);
		if (err)
			return err;
		look->nul = look->nul || has_nul(look, before, out_written(&o));
	}
	look->size = place->decoded;
	return OK;
}

/* A look is spared where all is known already. */
static enum err find_out(struct fetch_job *job, const struct fetch_row *row,
	const struct fetch_span *span, struct look *look)
{
	const struct fetch_part_size *known = recall(job, &look->part);
	bool whole = !look->first && look->end == UINT64_MAX;

	look->from = job->body.place = place_for(job, look, span);
	if (known && (whole || !known->nul)) {
		look->size = known->size;
		look->nul = known->nul;
		return OK;
	}
	enum err err = look_through(job, row, look);
	if (!err && whole && job->body.coding != PART_BINARY)
		remember(job, look);
	return err;
}

/* --- Beginning -------------------------------------------------------------------------------------------- */

static void put_none(struct fetch_job *job, bool size)
{
	out_str(job->out, size ? "0" : "NIL");
	job->body.section = NULL;
}

static void put_size(struct fetch_job *job, const struct fetch_row *row,
	const struct fetch_span *span, struct look *look)
{
	look->size = span->len; /* without an encoding the body is not read */
	if (job->body.coding != PART_BINARY && find_out(job, row, span, look)) {
		job->unreadable = true;
		put_none(job, true);
		return;
	}
	out_uint(job->out, look->size);
	job->body.section = NULL;
}

/* RFC 9051 7.5.2: literal8 tells of a NUL, so without one it is a string. */
static void begin_bytes(struct fetch_job *job, const struct look *look)
{
	struct fetch_body *b = &job->body;
	uint64_t end = MIN(look->size, look->end);

	if (end <= look->first) {
		out_str(job->out, "\"\"");
		b->section = NULL;
		return;
	}
	b->left = end - look->first;
	imap_put_literal_head(job->out, b->left, look->nul);
	b->decoded = true;
	b->place = look->from;
	b->skip = look->first - look->from.decoded;
	if (job->known) {
		job->known->part = look->part;
		job->known->place = b->place;
	}
}

void fetch_binary_begin(struct fetch_job *job, const struct fetch_row *row,
	const struct imap_section *section, const struct fetch_span *span)
{
	struct fetch_body *b = &job->body;
	struct look look = { .part = { .blob = row->m.blob, .at = span->at, .len = span->len },
		.end = UINT64_MAX };
	bool coded = span->leaf && (span->coding == PART_QP || span->coding == PART_BASE64);

	if (span->leaf && span->coding == PART_UNKNOWN_ENCODING) {
		job->unknown_cte = true;
		put_none(job, section->kind == IMAP_BINARY_SIZE);
		return;
	}
	b->coding = coded ? span->coding : PART_BINARY;
	b->end = span->at + span->len;
	if (section->kind == IMAP_BINARY_SIZE) {
		put_size(job, row, span, &look);
		return;
	}
	if (section->partial) {
		look.first = section->partial_first;
		look.end = look.first + MIN(section->partial_bytes, UINT64_MAX - look.first);
	}
	if (find_out(job, row, span, &look)) {
		job->unreadable = true;
		put_none(job, false);
		return;
	}
	begin_bytes(job, &look);
}

/* --- More ---------------------------------------------------------------------------------------------------- */

enum err fetch_binary_more(struct fetch_job *job, const struct fetch_row *row)
{
	struct fetch_body *b = &job->body;
	char buf[DECODE_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));

	if (job->known)
		job->known->place = b->place;
	enum err err = b->place.at < b->end ? decode_more(job, row, &o) : ERR_CORRUPT;
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
