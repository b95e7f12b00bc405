/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a frame: what passes stays inside the input, and made again from its records it is
 * the same, byte by byte. */
#include "core/base/codec.h"
#include "store/frame.h"
#include "tests/support/feed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of a head: the bytes and the records of the frame, 32 bits each. */
enum { LENGTHS_AT = 48 };

/* Give the input the checksums a frame has, so that what lies behind them is reached. */
static void seal(char *bytes, size_t size)
{
	slice frame = slice_of(bytes, size), lengths = slice_sub(frame, LENGTHS_AT, LENGTHS_AT + 8);
	struct journal_record rec;
	size_t at = FRAME_HEAD, begin = at;
	uint32_t crc = 0, total, records;
	slice payload;

	if (size < FRAME_HEAD || !take_u32(&lengths, &total) || !take_u32(&lengths, &records))
		return;
	frame = slice_sub(frame, 0, total);
	for (uint32_t i = 0; i < records && frame_next(frame, &at, &rec, &payload); i++) {
		struct out o = out_fixed(bytes + begin, 4);

		out_u32(&o, frame_record_crc(&rec, codec_crc32c(0, payload.ptr, payload.len)));
		crc = codec_crc32c(crc, bytes + begin, JOURNAL_RECORD_HEAD);
		begin = at;
	}
	struct out o = out_fixed(bytes + 4, 4);
	out_u32(&o, codec_crc32c(crc, bytes + 8, FRAME_HEAD - 8));
}

static void make_again(slice frame, struct frame_head head)
{
	char *buf = calloc(1, frame_round(frame.len) + FRAME_ALIGN);
	struct frame_writer fw;
	struct journal_record rec;
	struct frame_head again;
	size_t at = FRAME_HEAD;
	slice payload;

	must(buf);
	frame_begin(&fw, buf);
	while (frame_next(frame, &at, &rec, &payload)) {
		must(feed_inside(payload, frame));
		memcpy(frame_add(&fw, &rec), payload.ptr, payload.len);
	}
	must(at == frame.len);
	frame_end(&fw, &head);
	must(head.bytes == frame.len);
	must(frame_check(slice_of(buf, head.bytes), &again) == STEP_DONE);
	must(again.seq == head.seq && again.records == head.records && again.kind == head.kind);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = malloc(size + 1);
	struct frame_head head;

	memcpy(bytes, data, size);
	if (size && data[size - 1] & 1)
		seal(bytes, size);
	if (frame_check(slice_of(bytes, size), &head) == STEP_DONE)
		make_again(slice_of(bytes, head.bytes), head);
	free(bytes);
	return 0;
}
