/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames and records of the journal, as bytes. Knows nothing of files, threads or what records
 * mean. Everything read here may be garbage, so lengths are checked before they are believed, and
 * checksums before anything else is. Integers are big-endian. */
#include "store/frame.h"

#include "core/base/codec.h"

enum { MAGIC = 0x52504a31, CRC_AT = 4, CRC_FROM = 8 }; /* "RPJ1" */

static void put_u32(unsigned char *at, uint32_t n)
{
	struct out o = out_fixed(at, 4);

	out_u32(&o, n);
}

void frame_begin(struct frame_writer *fw, void *buf)
{
	*fw = (struct frame_writer){ .buf = buf, .len = FRAME_HEAD };
}

static void put_record_head(struct out *o, const struct journal_record *rec)
{
	out_u32(o, rec->len);
	out_u8(o, rec->type);
	out_u8(o, rec->flags);
	out_u16(o, rec->shards);
	out_u32(o, 0);
}

uint32_t frame_record_crc(const struct journal_record *rec, uint32_t payload_crc)
{
	unsigned char head[JOURNAL_RECORD_HEAD - 4];
	struct out o = out_fixed(head, sizeof(head));

	put_record_head(&o, rec);
	return codec_crc32c(payload_crc, head, sizeof(head));
}

void frame_put_record(struct out *o, const struct journal_record *rec)
{
	out_u32(o, rec->crc);
	put_record_head(o, rec);
}

void *frame_add(struct frame_writer *fw, const struct journal_record *rec)
{
	unsigned char *at = fw->buf + fw->len;
	struct out o = out_fixed(at, JOURNAL_RECORD_HEAD);
	size_t bytes = frame_record_bytes(rec->len), used = JOURNAL_RECORD_HEAD + rec->len;

	frame_put_record(&o, rec);
	fw->crc = codec_crc32c(fw->crc, at, JOURNAL_RECORD_HEAD);
	memset(at + used, 0, bytes - used);
	fw->len += bytes;
	fw->records++;
	return at + JOURNAL_RECORD_HEAD;
}

size_t frame_end(struct frame_writer *fw, struct frame_head *head)
{
	struct out o = out_fixed(fw->buf, FRAME_HEAD);
	size_t all = frame_round(fw->len);

	head->bytes = (uint32_t)fw->len;
	head->records = fw->records;
	out_u32(&o, MAGIC);
	out_u32(&o, 0);
	out_u64(&o, head->store_id);
	out_u64(&o, head->seq);
	out_u64(&o, head->replay);
	out_u64(&o, head->prior_seq);
	out_u32(&o, head->prior_segment);
	out_u32(&o, head->segment);
	out_u32(&o, head->bytes);
	out_u32(&o, head->records);
	out_u32(&o, head->oldest);
	out_u8(&o, head->kind);
	out_fill(&o, 0, 3);
	must(o.len == FRAME_HEAD && out_ok(&o));
	put_u32(fw->buf + CRC_AT, codec_crc32c(fw->crc, fw->buf + CRC_FROM, FRAME_HEAD - CRC_FROM));
	memset(fw->buf + fw->len, 0, all - fw->len);
	return all;
}

static bool get_head(slice in, struct frame_head *out, uint32_t *out_crc)
{
	uint32_t magic;
	struct frame_head h = { 0 };

	if (!take_u32(&in, &magic) || !take_u32(&in, out_crc) || !take_u64(&in, &h.store_id) ||
		!take_u64(&in, &h.seq) || !take_u64(&in, &h.replay) ||
		!take_u64(&in, &h.prior_seq) || !take_u32(&in, &h.prior_segment) ||
		!take_u32(&in, &h.segment) || !take_u32(&in, &h.bytes) ||
		!take_u32(&in, &h.records) || !take_u32(&in, &h.oldest) || !take_u8(&in, &h.kind))
		return false;
	if (magic != MAGIC || h.bytes < FRAME_HEAD || h.bytes % FRAME_RECORD_ALIGN != 0)
		return false;
	if (h.kind != FRAME_BATCH && (h.kind != FRAME_SEGMENT || h.records))
		return false;
	*out = h;
	return true;
}

bool frame_get_record(slice bytes, struct journal_record *out)
{
	uint32_t spare;
	struct journal_record r = { 0 };

	if (!take_u32(&bytes, &r.crc) || !take_u32(&bytes, &r.len) || !take_u8(&bytes, &r.type) ||
		!take_u8(&bytes, &r.flags) || !take_u16(&bytes, &r.shards) ||
		!take_u32(&bytes, &spare))
		return false;
	if (spare || r.type == 0)
		return false;
	*out = r;
	return true;
}

bool frame_next(slice frame, size_t *at, struct journal_record *rec, slice *payload)
{
	slice rest = slice_skip(frame, *at);

	if (rest.len < JOURNAL_RECORD_HEAD || !frame_get_record(rest, rec) ||
		rec->len > rest.len - JOURNAL_RECORD_HEAD ||
		frame_record_bytes(rec->len) > rest.len)
		return false;
	rec->pos = *at;
	*payload = slice_sub(rest, JOURNAL_RECORD_HEAD, JOURNAL_RECORD_HEAD + rec->len);
	*at += frame_record_bytes(rec->len);
	return true;
}

/* The records of a frame, each sound, filling it exactly. Adds their heads to *crc. */
static bool check_records(slice frame, uint32_t count, uint32_t *crc)
{
	size_t at = FRAME_HEAD;

	for (uint32_t i = 0; i < count; i++) {
		struct journal_record rec;
		size_t begin = at;
		slice payload;

		if (!frame_next(frame, &at, &rec, &payload))
			return false;
		if (!journal_record_ok(&rec, codec_crc32c(0, payload.ptr, payload.len)))
			return false;
		*crc = codec_crc32c(*crc, frame.ptr + begin, JOURNAL_RECORD_HEAD);
	}
	return at == frame.len;
}

enum step frame_check(slice bytes, struct frame_head *out)
{
	uint32_t want, crc = 0;
	struct frame_head h;

	if (bytes.len < FRAME_HEAD)
		return STEP_MORE;
	if (!get_head(slice_sub(bytes, 0, FRAME_HEAD), &h, &want))
		return STEP_BAD;
	if (h.bytes > bytes.len) {
		*out = h;
		return STEP_MORE;
	}
	if (!check_records(slice_sub(bytes, 0, h.bytes), h.records, &crc))
		return STEP_BAD;
	if (codec_crc32c(crc, bytes.ptr + CRC_FROM, FRAME_HEAD - CRC_FROM) != want)
		return STEP_BAD;
	*out = h;
	return STEP_DONE;
}

bool journal_record_ok(const struct journal_record *rec, uint32_t payload_crc)
{
	return frame_record_crc(rec, payload_crc) == rec->crc;
}

void frame_put_message(struct out *o, const struct frame_message *m)
{
	out_u64(o, (uint64_t)m->at);
	out_u64(o, m->size);
	out_u64(o, m->low);
	out_u32(o, m->meta_len);
	out_u32(o, m->chunk_count);
	out_u32(o, m->head_len);
	out_u32(o, m->tail_len);
	out_u32(o, m->deliver_len);
}

void frame_put_chunk(struct out *o, const struct frame_chunk *c)
{
	out_u64(o, c->pos);
	out_u32(o, c->len);
}

bool frame_get_front(slice bytes, struct frame_message *out)
{
	struct frame_message m = { 0 };
	uint64_t at;

	if (!take_u64(&bytes, &at) || !take_u64(&bytes, &m.size) || !take_u64(&bytes, &m.low) ||
		!take_u32(&bytes, &m.meta_len) || !take_u32(&bytes, &m.chunk_count) ||
		!take_u32(&bytes, &m.head_len) || !take_u32(&bytes, &m.tail_len) ||
		!take_u32(&bytes, &m.deliver_len))
		return false;
	m.at = (wall_ms)at;
	*out = m;
	return true;
}

bool frame_get_message(slice bytes, size_t len, struct frame_message *out)
{
	struct frame_message m = { 0 };

	if (!frame_get_front(bytes, &m))
		return false;
	uint64_t in_line = (uint64_t)m.head_len + m.tail_len;
	if (m.chunk_count > FRAME_CHUNKS_MAX || m.size < in_line ||
		(m.chunk_count == 0 && m.size != in_line))
		return false;
	uint64_t front = FRAME_MESSAGE_HEAD + (uint64_t)m.deliver_len + m.meta_len;
	if (front + (uint64_t)m.chunk_count * FRAME_CHUNK_ROW + in_line != len)
		return false;
	*out = m;
	return true;
}

slice frame_index_part(const struct journal_record *rec, slice payload)
{
	struct frame_message m = { 0 };

	if (rec->type != JOURNAL_MESSAGE)
		return payload;
	if (!frame_get_front(payload, &m) || m.deliver_len > payload.len - FRAME_MESSAGE_HEAD)
		return (slice){ 0 };
	return slice_sub(payload, 0, FRAME_MESSAGE_HEAD + m.deliver_len);
}

bool frame_get_chunk(slice bytes, struct frame_chunk *out)
{
	struct frame_chunk c;

	if (!take_u64(&bytes, &c.pos) || !take_u32(&bytes, &c.len))
		return false;
	*out = c;
	return true;
}
