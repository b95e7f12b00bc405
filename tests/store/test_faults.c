/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk that fails, fills, and comes back. */
#include "tests/store/store_support.h"

#include <criterion/criterion.h>

struct seen {
	uint64_t ids[64];
	size_t len;
};

static bool see(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	struct seen *s = arg;

	s->ids[s->len++ % array_len(s->ids)] = ref->id;
	return true;
}

static const struct store_replay_ops seeing = { .message = see };

/* One failing write, whatever part of it reached the disk: the batch goes to another segment, and
 * what the failed one holds beyond its last good frame is void. */
Test(faults, one_failed_write_is_nobodys_business)
{
	static const struct {
		size_t torn;
		bool tail;
	} rows[] = { { 0, false }, { 4096, false }, { 1 << 20, false }, { 4096, true } };

	for (size_t row = 0; row < array_len(rows); row++)
		for (unsigned n = 1; n <= 6; n++) {
			struct blob_ref refs[6];
			struct seen seen = { 0 };
			struct box b;

			box_make(&b);
			b.disk.fail_from = n;
			b.disk.fail_to = n + 1;
			b.disk.torn_bytes = rows[row].torn;
			b.disk.torn_tail = rows[row].tail;
			box_open(&b, &keep_all, NULL);
			for (unsigned i = 0; i < 6; i++)
				cr_assert_eq(put_message(b.st, i, 6000, &refs[i]), OK);
			box_close(&b);
			b.disk.fail_from = 0;
			box_open(&b, &seeing, &seen);
			cr_expect_eq(seen.len, 6u, "write %u, row %zu: %zu", n, row, seen.len);
			for (unsigned i = 0; i < 6; i++) {
				cr_expect_eq(seen.ids[i], refs[i].id);
				cr_expect(message_is(b.st, refs[i].id, i, 6000));
			}
			box_remove(&b);
		}
}

/* A write that failed behind the disk's cache reads as good at the next start, and at the next power
 * failure it is gone: so the start makes it once more, all of it, before it builds on it. */
Test(faults, a_start_makes_the_whole_last_write_again)
{
	for (unsigned before = 0; before < 3; before++) {
		struct blob_ref ref;
		struct seen seen = { 0 };
		struct box b;

		box_make(&b);
		box_open(&b, &keep_all, NULL);
		for (unsigned i = 0; i < before; i++)
			cr_assert_eq(put_message(b.st, i, 5000, &ref), OK);
		b.disk.fail_from = b.disk.writes + 1;
		b.disk.fail_to = b.disk.fail_from + 1000;
		b.disk.torn_bytes = 1 << 20;
		cr_assert_eq(put_message(b.st, 9, 5000, &ref), ERR_IO);
		struct disk_write failed = b.disk.failed;
		b.disk.torn_bytes = 0;
		box_close(&b);
		b.disk.fail_from = 0;
		box_open(&b, &seeing, &seen);
		cr_expect_eq(seen.len, before + 1, "what was refused may come back: %zu", seen.len);
		cr_expect_eq(b.disk.rewritten.slot, failed.slot);
		cr_expect_eq(b.disk.rewritten.offset, failed.offset);
		cr_expect_eq(b.disk.rewritten.len, failed.len);
		box_remove(&b);
	}
}

Test(faults, refused_mail_never_comes_back)
{
	struct blob_ref first, refused, last;
	struct seen seen = { 0 };
	struct box b;

	box_make(&b);
	box_open(&b, &keep_all, NULL);
	cr_assert_eq(put_message(b.st, 1, 5000, &first), OK);
	b.disk.fail_from = b.disk.writes + 1;
	b.disk.fail_to = b.disk.fail_from + 4;
	b.disk.torn_bytes = 1 << 20; /* it reached the disk, but the disk said no */
	cr_assert_eq(put_message(b.st, 2, 5000, &refused), ERR_IO);
	cr_assert_eq(put_message(b.st, 3, 5000, &refused), ERR_IO);
	cr_assert_eq(put_message(b.st, 4, 5000, &last), OK);
	box_close(&b);
	box_open(&b, &seeing, &seen);
	cr_expect_eq(seen.len, 2u);
	cr_expect_eq(seen.ids[0], first.id);
	cr_expect_eq(seen.ids[1], last.id);
	cr_expect(message_is(b.st, last.id, 4, 5000));
	box_remove(&b);
}

/* A full disk refuses mail, takes results, and lets mail in again when they freed room. */
Test(faults, a_full_journal_drains)
{
	struct blob_ref refs[64];
	unsigned count = 0;
	struct box b;
	enum err err;

	box_make(&b);
	b.options.journal_max_bytes = 8 << 20;
	box_open(&b, &keep_nothing, NULL);
	while ((err = put_message(b.st, count, 200000, &refs[count])) == OK)
		count++;
	cr_assert_eq(err, ERR_NOSPACE);
	cr_assert_gt(count, 15u);
	for (unsigned i = 0; i < count; i++) {
		struct schedule_done end = { .id = refs[i].id };

		cr_expect(message_is(b.st, refs[i].id, i, 200000));
		cr_assert_eq(schedule_finish(b.st, &end), OK);
		store_release(b.st, &refs[i]);
	}
	struct blob_ref ref;
	(void)!put_message(b.st, 1, 10, &ref); /* one try that looks what can be freed */
	for (unsigned i = 0; i < 40; i++) {
		err = put_message(b.st, i, 200000, &ref);
		cr_assert_eq(err, OK, "message %u: %s", i, err_text(err));
		store_release(b.st, &ref);
	}
	box_remove(&b);
}

Test(faults, no_room_for_slots)
{
	struct blob_ref ref;
	struct box b;
	enum err err = OK;

	box_make(&b);
	box_open(&b, &keep_nothing, NULL);
	b.disk.no_slots = true;
	for (unsigned i = 0; !err && i < 100; i++)
		err = put_message(b.st, i, 100000, &ref);
	cr_assert_eq(err, ERR_NOSPACE);
	b.disk.no_slots = false;
	box_close(&b);
	box_open(&b, &keep_nothing, NULL);
	cr_assert_eq(put_message(b.st, 1, 100000, &ref), OK);
	box_remove(&b);
}
