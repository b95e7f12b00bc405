/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frame.h - the bytes of a journal segment: frames of records. Pure: bytes in, values out.
 *
 * A segment is a chain of frames, each beginning at a multiple of FRAME_ALIGN: a head, whole records
 * at multiples of eight, zeros up to the next multiple of FRAME_ALIGN. The checksum of a record covers
 * its head and its payload and is made where the record is made; the checksum of a frame covers
 * its own head and all record heads, so every byte is under exactly one pass. Store id, segment
 * number and sequence stand under the frame's checksum: what an earlier use of a recycled segment,
 * or a mail that quotes a journal, left behind never counts.
 *
 * The first frame of a segment is of kind FRAME_SEGMENT, has no records, and names the segment
 * before it and that one's last good sequence; what lies beyond that there is void. */
#ifndef STORE_FRAME_H
#define STORE_FRAME_H

#include "core/base/base.h"
#include "store/journal.h"

enum { FRAME_ALIGN = 4096, FRAME_HEAD = 64, FRAME_RECORD_ALIGN = 8 };

enum frame_kind { FRAME_SEGMENT = 1, FRAME_BATCH = 2 };

struct frame_head {
	uint64_t store_id;
	uint64_t seq;           /* of all frames of the journal, without gaps */
	uint64_t replay;        /* journal_pos a recovery starts at */
	uint64_t prior_seq;     /* FRAME_SEGMENT: last good sequence before this segment */
	uint32_t prior_segment; /* FRAME_SEGMENT: 0 for the first */
	uint32_t segment;
	uint32_t bytes; /* head and records, without the zeros at the end */
	uint32_t records;
	uint32_t oldest; /* segments with smaller numbers are not needed any more */
	uint8_t kind;
};

static inline size_t frame_round(size_t n)
{
	return (n + FRAME_ALIGN - 1) & ~(size_t)(FRAME_ALIGN - 1);
}
/* Bytes a record with such a payload takes in a frame. */
static inline size_t frame_record_bytes(size_t len)
{
	return (JOURNAL_RECORD_HEAD + len + FRAME_RECORD_ALIGN - 1) &
		~(size_t)(FRAME_RECORD_ALIGN - 1);
}

/* --- Writing --- */
/* Builds one frame in `buf`; room for it must be there. */
struct frame_writer {
	unsigned char *buf;
	size_t len;
	uint32_t records, crc;
};
void frame_begin(struct frame_writer *fw, void *buf);
/* The record's head; returns where its `rec->len` payload bytes are to be copied. rec->crc is set. */
void *frame_add(struct frame_writer *fw, const struct journal_record *rec);
/* Fills in head, checksum and zeros; sets bytes and records. Returns the length with the zeros. */
size_t frame_end(struct frame_writer *fw, struct frame_head *head);
/* The checksum of a record of this payload. */
uint32_t frame_record_crc(const struct journal_record *rec, uint32_t payload_crc);

/* --- Reading --- */
/* All of a frame: STEP_MORE when bytes are missing (head->bytes then), STEP_BAD when anything is
 * wrong in head, checksums or lengths, STEP_DONE. */
enum step frame_check(slice bytes, struct frame_head *out) must_use;
/* The records of a frame that passed. Start with *at = FRAME_HEAD; false behind the last. rec->pos is
 * the offset within the frame. */
bool frame_next(slice frame, size_t *at, struct journal_record *rec, slice *payload) must_use;
void frame_put_record(struct out *o, const struct journal_record *rec);
/* A record's head at the begin of `bytes` (JOURNAL_RECORD_HEAD of them); pos is not set. */
bool frame_get_record(slice bytes, struct journal_record *out) must_use;

/* --- The payload of JOURNAL_MESSAGE: a head, the delivery part, meta, the table of chunks, the inline
 * bytes --- */
enum { FRAME_MESSAGE_HEAD = 44, FRAME_CHUNK_ROW = 12, FRAME_CHUNKS_MAX = 65536 };
struct frame_message {
	wall_ms at;
	uint64_t size; /* of the body: head_len + chunks + tail_len */
	uint32_t meta_len, chunk_count;
	uint32_t head_len;    /* inline bytes before the chunks */
	uint32_t tail_len;    /* and after them */
	uint32_t deliver_len; /* what the index applies; 0: nothing */
	uint64_t low;         /* position of the oldest part; 0: this record */
};
/* What of a record the index gets to apply: all of its payload, but of a message only the head and the
 * delivery part. Damaged: nothing. */
slice frame_index_part(const struct journal_record *rec, slice payload);
/* Where the table of chunks begins in the payload; behind it the inline bytes. */
static inline uint32_t frame_table_at(const struct frame_message *m)
{
	return FRAME_MESSAGE_HEAD + m->deliver_len + m->meta_len;
}
struct frame_chunk {
	journal_pos pos;
	uint32_t len;
};
void frame_put_message(struct out *o, const struct frame_message *m);
void frame_put_chunk(struct out *o, const struct frame_chunk *c);
/* The head alone, without its record: what it says may be wrong. */
bool frame_get_front(slice bytes, struct frame_message *out) must_use;
/* FRAME_MESSAGE_HEAD bytes; `len` is that of the whole payload, which must agree. */
bool frame_get_message(slice bytes, size_t len, struct frame_message *out) must_use;
/* FRAME_CHUNK_ROW bytes. */
bool frame_get_chunk(slice bytes, struct frame_chunk *out) must_use;

#endif
