/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames, records, keys and values as bytes: round trips, and nothing believed that is damaged. */
#include "core/base/codec.h"
#include "store/frame.h"
#include "store/keys.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static size_t make_frame(char *buf, struct frame_head *head, size_t records)
{
	struct frame_writer fw;

	frame_begin(&fw, buf);
	for (size_t i = 0; i < records; i++) {
		char payload[300];
		struct journal_record rec = { .type = JOURNAL_PARK,
			.len = (uint32_t)(i * 37 % 300) };

		memset(payload, (int)i, sizeof(payload));
		rec.crc = frame_record_crc(&rec, codec_crc32c(0, payload, rec.len));
		memcpy(frame_add(&fw, &rec), payload, rec.len);
	}
	return frame_end(&fw, head);
}

Test(frame, round_trip)
{
	_Alignas(8) char buf[8 * FRAME_ALIGN];
	struct frame_head head = { .store_id = 77,
		.seq = 9,
		.replay = 10,
		.segment = 3,
		.oldest = 2,
		.kind = FRAME_BATCH },
			  got;
	size_t len = make_frame(buf, &head, 20), at = FRAME_HEAD, n = 0;
	struct journal_record rec;
	slice payload;

	cr_assert_eq(len % FRAME_ALIGN, 0u);
	cr_assert_eq(frame_check(slice_of(buf, len), &got), STEP_DONE);
	cr_expect_eq(got.store_id, 77u);
	cr_expect_eq(got.seq, 9u);
	cr_expect_eq(got.oldest, 2u);
	for (; frame_next(slice_of(buf, got.bytes), &at, &rec, &payload); n++) {
		cr_expect_eq(rec.len, n * 37 % 300);
		for (size_t i = 0; i < payload.len; i++)
			cr_assert_eq(payload.ptr[i], (char)n);
	}
	cr_expect_eq(n, 20u);
}

Test(frame, every_flipped_bit_is_seen)
{
	_Alignas(8) char buf[8 * FRAME_ALIGN];
	struct frame_head head = { .store_id = 1, .seq = 1, .segment = 1, .kind = FRAME_BATCH },
			  got;

	make_frame(buf, &head, 5);
	for (size_t i = 0; i < (size_t)head.bytes * 8; i++) {
		buf[i / 8] ^= (char)(1 << i % 8);
		/* Bytes between records are not under a checksum; nobody reads them. */
		enum step step = frame_check(slice_of(buf, head.bytes), &got);
		if (step == STEP_DONE)
			cr_expect(i / 8 >= FRAME_HEAD + JOURNAL_RECORD_HEAD, "bit %zu", i);
		buf[i / 8] ^= (char)(1 << i % 8);
	}
	cr_expect_eq(frame_check(slice_of(buf, head.bytes), &got), STEP_DONE);
}

Test(frame, a_beginning_wants_more)
{
	_Alignas(8) char buf[8 * FRAME_ALIGN];
	struct frame_head head = { .kind = FRAME_BATCH }, got;

	make_frame(buf, &head, 5);
	for (size_t len = 0; len < head.bytes; len++)
		cr_assert_eq(frame_check(slice_of(buf, len), &got), STEP_MORE, "%zu", len);
}

Test(keys, entries_come_back)
{
	char buf[2048];
	struct out o = out_fixed(buf, sizeof(buf));
	struct schedule_entry e = { .ref = { .id = 1000, .low = 900, .size = 123456 },
		.n = 3,
		.tenant = 4,
		.attempts = 5,
		.lane = 6,
		.state = SCHEDULE_HELD,
		.domain = SLICE("example.test"),
		.due = -5,
		.first_seen = 6,
		.expires = 7,
		.reply = SLICE("r"),
		.tail = SLICE("tail") },
			      got;

	keys_put_park(&o, &e);
	cr_assert(keys_get_park(out_written(&o), &got));
	cr_expect_eq(got.ref.low, 900u);
	cr_expect_eq(got.due, -5);
	cr_expect(slice_eq(got.tail, e.tail));
	for (size_t len = 0; len < o.len; len++)
		cr_expect_not(keys_get_park(slice_of(buf, len), &got), "%zu", len);
}

Test(keys, order_of_bytes_is_order_of_meaning)
{
	static const struct keys_due rows[] = {
		{ .domain = SLICE_INIT("a.test"), .lane = 0, .tenant = 0, .due = -1, .id = 9 },
		{ .domain = SLICE_INIT("a.test"), .lane = 0, .tenant = 0, .due = 5, .id = 1 },
		{ .domain = SLICE_INIT("a.test"),
			.lane = 0,
			.tenant = 0,
			.due = 5,
			.id = 1,
			.n = 1 },
		{ .domain = SLICE_INIT("a.test"), .lane = 0, .tenant = 7, .due = 0 },
		{ .domain = SLICE_INIT("a.test"), .lane = 1, .tenant = 0, .due = 0 },
		{ .domain = SLICE_INIT("a.test.x"), .lane = 0, .tenant = 0, .due = 0 },
		{ .domain = SLICE_INIT("b"), .lane = 0, .tenant = 0, .due = 0 },
	};
	struct keys_buf last = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		struct keys_buf key;
		struct keys_due got;

		keys_schedule(&key, &rows[i]);
		cr_expect_gt(slice_cmp(keys_slice(&key), keys_slice(&last)), 0, "row %zu", i);
		cr_assert(keys_parse_schedule(keys_slice(&key), &got));
		cr_expect_eq(got.due, rows[i].due);
		cr_expect_eq(got.n, rows[i].n);
		last = key;
	}
}
