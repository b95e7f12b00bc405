/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An unfinished body read from its first byte, by who threw away what was known of it.
 *
 * All that is still in RAM goes to the journal first, so there is one place to read from, and memory was
 * short anyway. Its chunks are held, so no segment of them is freed meanwhile. */
#include "store/store_int.h"

#include "core/base/codec.h"
#include "store/frame.h"

#include <stdlib.h>

enum { PIECE_BYTES = 16 * 1024 };

static enum err read_chunk(struct journal *j, const struct frame_chunk *c, char *buf,
	const struct blob_again *again)
{
	struct journal_record record;
	enum err err = journal_read_head(j, c->pos, &record);
	uint32_t crc = 0;

	if (!err && (record.type != JOURNAL_CHUNK || record.len != c->len))
		err = ERR_CORRUPT;
	for (uint32_t at = 0; !err && at < c->len;) {
		struct journal_span span = { .offset = at,
			.len = MIN(c->len - at, (uint32_t)PIECE_BYTES) };

		err = journal_read(j, &record, span, buf);
		if (err)
			break;
		crc = codec_crc32c(crc, buf, span.len);
		again->take(again->arg, slice_of(buf, span.len));
		at += span.len;
	}
	if (!err && !journal_record_ok(&record, crc))
		err = ERR_CORRUPT;
	return err;
}

static enum err read_all(struct blob_writer *b, const struct blob_again *again)
{
	enum err err = blob_spill_all(b);
	struct out table = out_heap((size_t)b->chunk_count * FRAME_CHUNK_ROW);
	char *buf = malloc(PIECE_BYTES);
	struct frame_chunk c;

	blob_put_chunks(b, &table);
	if (!err && (!buf || !out_ok(&table)))
		err = ERR_NOMEM;
	for (slice rows = out_written(&table); !err && rows.len;
		rows = slice_skip(rows, FRAME_CHUNK_ROW)) {
		bool good = frame_get_chunk(slice_sub(rows, 0, FRAME_CHUNK_ROW), &c);

		err = good ? read_chunk(b->store->journal, &c, buf, again) : ERR_CORRUPT;
	}
	out_heap_done(&table);
	free(buf);
	return err;
}

enum err blob_read_again(struct blob_writer *b, const struct blob_again *again)
{
	enum err err = b->err ? b->err : blob_lock_again(b);

	if (err)
		return err;
	err = read_all(b, again);
	blob_unlock_again(b);
	return err;
}
