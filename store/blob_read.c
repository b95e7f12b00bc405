/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading bodies: a message's inline head, its chunks, its inline tail, or one copy in the archive.
 *
 * A reader names places and holds nothing. When a place is gone (the segment was freed, the archive
 * compacted) the body has moved on and is looked up again; a reader that had been in the middle goes
 * on there. Checksums are those of records, or of the copy; they run along while the body is read
 * from its begin in order. */
#include "store/store_int.h"

#include "core/base/codec.h"
#include "store/frame.h"

enum { META_PIECE = 2048, FRONT_MAX = 4096 };

static enum err open_archive(struct blob_reader *r)
{
	struct archive_place place;
	enum err err = archive_find(r->store->archive, r->ref.id, &place);

	if (err)
		return err;
	/* Of a damaged message nothing could be saved. */
	if (!place.body_len && place.body_crc)
		return ERR_CORRUPT;
	r->archive_segment = place.segment;
	r->archive_at = place.offset + ARCHIVE_HEAD + place.meta_len;
	r->deliver_len = place.deliver_len;
	r->meta_len = place.meta_len - place.deliver_len;
	r->ref.size = place.body_len;
	r->ref.low = r->ref.id;
	r->at = place.at;
	r->want_crc = place.body_crc;
	r->crc = 0;
	r->in_order = r->offset == 0;
	return OK;
}

/* The record's checksum begins with what stands before the body. Only when it could not be read
 * together with it (read_with_front). */
static enum err sum_front(struct blob_reader *r)
{
	char buf[META_PIECE];

	r->crc = 0;
	r->front_summed = true;
	for (uint32_t at = 0; at < r->inline_at;) {
		struct journal_span span = { .offset = at,
			.len = MIN(r->inline_at - at, (uint32_t)sizeof(buf)) };
		enum err err = journal_read(r->store->journal, &r->record, span, buf);

		if (err)
			return err;
		r->crc = codec_crc32c(r->crc, buf, span.len);
		at += span.len;
	}
	return OK;
}

/* Bytes at a position, when they were read ahead. */
static const char *ahead_at(const struct blob_reader *r, journal_pos pos, size_t len)
{
	const struct blob_ahead *ah = r->ahead;

	if (!ah || pos < ah->from || pos + len > ah->from + ah->len)
		return NULL;
	return ah->buf + (pos - ah->from);
}

static enum err read_message_head(struct blob_reader *r, char head[FRAME_MESSAGE_HEAD])
{
	const size_t len = JOURNAL_RECORD_HEAD + FRAME_MESSAGE_HEAD;
	const char *here = ahead_at(r, r->ref.id, len);
	struct iovec begin = { .iov_base = head, .iov_len = FRAME_MESSAGE_HEAD };

	if (!here)
		return journal_read_begin(r->store->journal, r->ref.id, &r->record, begin);
	memcpy(head, here + JOURNAL_RECORD_HEAD, FRAME_MESSAGE_HEAD);
	return journal_take_begin(r->store->journal, r->ref.id, slice_of(here, len), &r->record);
}

static enum err open_journal(struct blob_reader *r)
{
	char head[FRAME_MESSAGE_HEAD];
	struct frame_message m;
	enum err err = read_message_head(r, head);

	if (err)
		return err;
	if (r->record.type != JOURNAL_MESSAGE ||
		!frame_get_message(slice_of(head, sizeof(head)), r->record.len, &m))
		return ERR_CORRUPT;
	r->ref.size = m.size;
	r->ref.low = m.low ? m.low : r->ref.id;
	r->at = m.at;
	r->meta_len = m.meta_len;
	r->deliver_len = m.deliver_len;
	r->chunk_count = m.chunk_count;
	r->head_len = m.chunk_count ? m.head_len : m.head_len + m.tail_len;
	r->inline_at = frame_table_at(&m) + m.chunk_count * FRAME_CHUNK_ROW;
	r->in_order = true;
	return OK;
}

enum err blob_open_near(struct blob_reader *r, struct store *st, uint64_t id,
	const struct blob_ahead *ahead)
{
	*r = (struct blob_reader){ .store = st, .ref.id = id, .ahead = ahead };
	enum err err = open_journal(r);

	return err == ERR_NOT_FOUND ? open_archive(r) : err;
}

enum err blob_open(struct blob_reader *r, struct store *st, uint64_t id)
{
	return blob_open_near(r, st, id, NULL);
}

/* --- Many bodies in a row --- */

enum { AHEAD_BODY_MAX = 16 * 1024, AHEAD_FRONT = 2048 };

/* A copy costs less than the reads it saves only of small bodies; and they must fill most of what is
 * read. *out_last: the last of them that is known to lie there as a whole. */
static size_t plan_ahead(const struct blob_coming *coming, size_t count, size_t cap,
	uint64_t *out_last)
{
	uint64_t from = coming[0].id, wanted = 0;
	size_t len = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t end = coming[i].id + coming[i].size + AHEAD_FRONT;

		if (coming[i].size > AHEAD_BODY_MAX || coming[i].id < from || end - from > cap)
			break;
		wanted += coming[i].size;
		if (wanted < (end - from) / 2)
			break;
		len = (size_t)(end - from);
		*out_last = coming[i].id;
	}
	return *out_last == from ? 0 : len; /* one alone is read without this */
}

void blob_read_ahead(struct blob_ahead *ahead, struct store *st, const struct blob_coming *coming,
	size_t count)
{
	uint64_t last = coming[0].id;
	size_t len = plan_ahead(coming, count, ahead->cap, &last);

	ahead->len = 0;
	if (!len || journal_read_raw(st->journal, coming[0].id, ahead->buf, len, &ahead->len))
		return;
	ahead->from = coming[0].id;
	ahead->last = last;
}

/* What lies between two of them is read along, if it is not much. */
enum { STRETCH_GAP = 32 * 1024, STRETCH_MAX = 1024 * 1024 };

void blob_expect_end(struct blob_stretch *s)
{
	struct archive_span span = {
		.segment = s->segment, .offset = s->from, .len = s->end - s->from
	};

	if (s->store)
		archive_expect(s->store->archive, span);
	s->store = NULL;
}

void blob_expect(struct blob_stretch *s, const struct blob_reader *r, uint64_t bytes)
{
	uint64_t end = r->archive_at + MIN(bytes, r->ref.size);

	if (!r->archive_segment)
		return;
	if (s->store && r->archive_segment == s->segment && r->archive_at >= s->from &&
		r->archive_at <= s->end + STRETCH_GAP && end <= s->from + STRETCH_MAX) {
		s->end = MAX(s->end, end);
		return;
	}
	blob_expect_end(s);
	*s = (struct blob_stretch){
		.store = r->store, .segment = r->archive_segment, .from = r->archive_at, .end = end
	};
}

bool blob_is_archived(const struct store *st, uint64_t id)
{
	return !journal_has(st->journal, id);
}

/* --- Journal --- */

/* The chunk behind the one at hand. */
static enum err next_chunk(struct blob_reader *r)
{
	struct journal *j = r->store->journal;
	char row[FRAME_CHUNK_ROW];
	struct frame_chunk c;
	struct journal_span span = { .offset = FRAME_MESSAGE_HEAD + r->deliver_len + r->meta_len +
			r->chunk_next * FRAME_CHUNK_ROW,
		.len = sizeof(row) };
	enum err err = journal_read(j, &r->record, span, row);

	if (!err && !frame_get_chunk(slice_of(row, sizeof(row)), &c))
		err = ERR_CORRUPT;
	if (!err)
		err = journal_read_head(j, c.pos, &r->chunk);
	if (!err && (r->chunk.type != JOURNAL_CHUNK || r->chunk.len != c.len))
		err = ERR_CORRUPT;
	if (err)
		return err;
	r->chunk_start = r->chunk_next ? r->chunk_end : r->head_len;
	r->chunk_end = r->chunk_start + c.len;
	r->chunk_next++;
	r->chunk_crc = 0;
	return OK;
}

static enum err find_chunk(struct blob_reader *r)
{
	if (r->offset < r->chunk_start) {
		r->chunk_next = 0;
		r->chunk_start = r->chunk_end = 0;
	}
	while (r->chunk_next < r->chunk_count && r->offset >= r->chunk_end) {
		enum err err = next_chunk(r);

		if (err)
			return err;
	}
	return OK;
}

static enum err read_chunk(struct blob_reader *r, void *buf, size_t cap, size_t *out_len)
{
	uint64_t at = r->offset - r->chunk_start;
	struct journal_span span = { .offset = (uint32_t)at,
		.len = (uint32_t)MIN(cap, (size_t)(r->chunk_end - r->offset)) };
	enum err err = journal_read(r->store->journal, &r->chunk, span, buf);

	if (err)
		return err;
	if (r->in_order) {
		r->chunk_crc = codec_crc32c(r->chunk_crc, buf, span.len);
		if (r->offset + span.len == r->chunk_end &&
			!journal_record_ok(&r->chunk, r->chunk_crc))
			return ERR_CORRUPT;
	}
	*out_len = span.len;
	return OK;
}

/* The front and the begin of the body in one read: what a small message costs. Nobody but the checksum
 * wants the front. */
static enum err read_with_front(struct blob_reader *r, struct iovec to)
{
	size_t len = r->inline_at + to.iov_len;
	const char *here = ahead_at(r, r->record.pos + JOURNAL_RECORD_HEAD, len);
	char front[FRONT_MAX];
	const struct iovec both[2] = { { .iov_base = front, .iov_len = r->inline_at }, to };
	enum err err = here ? OK : journal_read_two(r->store->journal, &r->record, both);

	if (err)
		return err;
	r->crc = codec_crc32c(0, here ? here : front, r->inline_at);
	if (here)
		memcpy(to.iov_base, here + r->inline_at, to.iov_len);
	r->crc = codec_crc32c(r->crc, to.iov_base, to.iov_len);
	r->front_summed = true;
	return OK;
}

/* Inline bytes stand before the chunks and after them, in one stretch of the record. */
static enum err read_inline(struct blob_reader *r, uint64_t at, struct iovec to)
{
	struct journal_span span = { .offset = (uint32_t)(r->inline_at + at),
		.len = (uint32_t)to.iov_len };
	enum err err = OK;

	if (r->in_order && !r->front_summed && !at && r->inline_at <= FRONT_MAX)
		return read_with_front(r, to);
	if (r->in_order && !r->front_summed)
		err = sum_front(r);
	if (!err)
		err = journal_read(r->store->journal, &r->record, span, to.iov_base);
	if (!err && r->in_order)
		r->crc = codec_crc32c(r->crc, to.iov_base, to.iov_len);
	return err;
}

static enum err read_journal(struct blob_reader *r, void *buf, size_t cap, size_t *out_len)
{
	struct iovec to = { .iov_base = buf, .iov_len = cap };

	if (r->offset < r->head_len) {
		*out_len = to.iov_len = MIN(cap, (size_t)(r->head_len - r->offset));
		return read_inline(r, r->offset, to);
	}
	enum err err = find_chunk(r);
	if (err)
		return err;
	if (r->offset < r->chunk_end)
		return read_chunk(r, buf, cap, out_len);
	uint64_t chunks = r->chunk_end - r->head_len;
	*out_len = to.iov_len = MIN(cap, (size_t)(r->ref.size - r->offset));
	return read_inline(r, r->offset - chunks, to);
}

/* --- Both --- */

static enum err read_archive(struct blob_reader *r, void *buf, size_t cap, size_t *out_len)
{
	struct archive_span span = { .segment = r->archive_segment,
		.offset = r->archive_at + r->offset,
		.len = MIN((uint64_t)cap, r->ref.size - r->offset) };
	enum err err = archive_read(r->store->archive, span, buf);

	if (err)
		return err;
	if (r->in_order)
		r->crc = codec_crc32c(r->crc, buf, span.len);
	*out_len = span.len;
	return OK;
}

static enum err read_some(struct blob_reader *r, void *buf, size_t cap, size_t *out_len)
{
	enum err err = r->archive_segment ? read_archive(r, buf, cap, out_len) :
					    read_journal(r, buf, cap, out_len);

	if (err != ERR_NOT_FOUND)
		return err;
	err = open_archive(r);
	return err ? err : read_archive(r, buf, cap, out_len);
}

static enum err check_sums(struct blob_reader *r)
{
	enum err err = OK;

	if (!r->in_order)
		return OK;
	if (!r->archive_segment && !r->front_summed)
		err = sum_front(r); /* all of the body stood in chunks */
	if (err)
		return err == ERR_NOT_FOUND ? OK : err; /* freed, after it was all read */
	bool match =
		r->archive_segment ? r->crc == r->want_crc : journal_record_ok(&r->record, r->crc);
	return match ? OK : ERR_CORRUPT;
}

enum err blob_read(struct blob_reader *r, void *buf, size_t cap, size_t *out_len)
{
	size_t done = 0;

	while (done < cap && r->offset < r->ref.size) {
		size_t n = 0;
		enum err err = read_some(r, (char *)buf + done, cap - done, &n);

		if (err)
			return err;
		done += n;
		r->offset += n;
		if (r->offset == r->ref.size)
			err = check_sums(r);
		if (err)
			return err;
	}
	*out_len = done;
	return OK;
}

void blob_seek(struct blob_reader *r, uint64_t offset)
{
	r->offset = MIN(offset, r->ref.size);
	r->in_order = false;
	if (offset == 0)
		(void)!blob_open(r, r->store, r->ref.id);
}

/* --- What the record says --- */

static enum err front_of_archive(struct blob_reader *r, char *buf, size_t len)
{
	struct archive_span span = {
		.segment = r->archive_segment, .offset = r->archive_at - len, .len = len
	};

	return archive_read(r->store->archive, span, buf);
}

enum err blob_front(struct blob_reader *r, struct arena *a, struct blob_front *out)
{
	uint32_t len = r->deliver_len + r->meta_len;
	char *buf = arena_alloc(a, len + 1);
	struct journal_span span = { .offset = FRAME_MESSAGE_HEAD, .len = len };
	enum err err = r->archive_segment ? ERR_NOT_FOUND :
					    journal_read(r->store->journal, &r->record, span, buf);

	if (err == ERR_NOT_FOUND) {
		err = r->archive_segment ? OK : open_archive(r);
		if (!err && r->deliver_len + r->meta_len != len)
			err = ERR_CORRUPT;
		if (!err)
			err = front_of_archive(r, buf, len);
	}
	if (!err) {
		out->deliver = slice_of(buf, r->deliver_len);
		out->meta = slice_of(buf + r->deliver_len, r->meta_len);
	}
	return err;
}

enum err store_message_meta(struct store *st, uint64_t id, struct arena *a, slice *out)
{
	struct blob_reader r;
	struct blob_front front;
	enum err err = blob_open(&r, st, id);

	if (!err)
		err = blob_front(&r, a, &front);
	if (!err)
		*out = front.meta;
	return err;
}
