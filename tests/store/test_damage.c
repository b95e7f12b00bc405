/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is not lost when something is: damaged bodies, a vanished map, an index with a gap. */
#include "store/account.h"
#include "store/check.h"
#include "store/store_int.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 12, SIZE = 200000 };

static struct box box;
static struct blob_ref refs[COUNT];

static void park_one(unsigned i, uint32_t n)
{
	struct schedule_entry e = {
		.ref = refs[i], .n = n, .domain = i % 2 ? SLICE("a.test") : SLICE("b.test")
	};

	cr_assert_eq(schedule_park(box.st, &e), OK);
}

/* Deferred messages over several segments; closed. */
static void make_deferred(void)
{
	box_make(&box);
	box.options.journal_max_bytes = 64 << 20;
	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(put_message(box.st, i, SIZE, &refs[i]), OK);
		park_one(i, 0);
		store_release(box.st, &refs[i]);
	}
	struct domain d = { .name = SLICE("late.test") };
	cr_assert_eq(domain_put(box.st, &d, ROW_PUT), OK);
	box_close(&box);
}

static void damage(const char *name, long offset)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", box.dir.path, name);
	FILE *f = fopen(path, "r+b");
	cr_assert(f, "%s", path);
	fseek(f, offset, SEEK_SET);
	int byte = fgetc(f);
	fseek(f, offset, SEEK_SET);
	fputc(~byte, f);
	fclose(f);
}

/* Slot numbers are segment numbers less one as long as nothing was freed. */
static void damage_message(unsigned i, uint32_t at)
{
	char slot[64];

	snprintf(slot, sizeof(slot), "journal/slot-%08u", journal_segment_of(refs[i].id) - 1);
	damage(slot, (long)((uint32_t)refs[i].id + at));
}

static enum err read_all(uint64_t id)
{
	static char buf[SIZE];
	struct blob_reader r;
	size_t n = 1;
	enum err err = blob_open(&r, box.st, id);

	while (!err && n)
		err = blob_read(&r, buf, sizeof(buf), &n);
	return err;
}

static bool has_entry(unsigned i, struct schedule_entry *out)
{
	struct schedule_name name = { .id = refs[i].id };
	struct arena a = { 0 };
	bool there = schedule_get(box.st, &name, &a, out) == OK;

	arena_done(&a);
	return there;
}

static void say(void *arg, const char *line)
{
	fprintf(stderr, "# %s\n", line);
}

static bool no_entries(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	return false;
}

static void check(struct check_run run, struct check_report *report)
{
	run.options = &box.options;
	run.say = say;
	cr_assert_eq(check_store(&run, report), OK);
}

/* The mover meets a damaged body: its entry stays, fsck tells, the journal goes on. */
static void meet_damage(uint32_t at, bool meta_lives)
{
	struct check_report report;
	struct store_stats stats;
	struct schedule_entry e;
	struct arena a = { 0 };
	slice meta = { 0 };

	make_deferred();
	damage_message(1, at);
	for (unsigned round = 0; round < 2; round++) {
		box_open(&box, &keep_nothing, NULL);
		cr_assert_eq(mover_round(box.st, true), OK);
		store_stats(box.st, &stats);
		cr_expect_eq(stats.damaged_bodies, round ? 0u : 1u);
		cr_expect(stats.archive_bytes > SIZE);
		for (unsigned i = 0; i < COUNT; i++) {
			cr_expect(has_entry(i, &e), "entry %u", i);
			cr_expect_eq(message_is(box.st, refs[i].id, i, SIZE), i != 1, "body %u", i);
		}
		cr_expect_eq(read_all(refs[1].id), ERR_CORRUPT);
		enum err err = store_message_meta(box.st, refs[1].id, &a, &meta);
		cr_expect_eq(err, meta_lives ? OK : ERR_CORRUPT);
		cr_expect(!meta_lives || slice_eq(meta, SLICE("m1")));
		box_close(&box);
	}
	arena_done(&a);
	check((struct check_run){ 0 }, &report);
	cr_expect_eq(report.result, CHECK_LOST);
	cr_expect_geq(report.bad_bodies, 1u);
	cr_expect_eq(report.missing_bodies, 0u);
	/* Ended by an operator, it is gone. */
	box_open(&box, &keep_nothing, NULL);
	struct schedule_done end = { .id = refs[1].id, .indexed = true, .domain = SLICE("a.test") };
	cr_assert_eq(schedule_finish(box.st, &end), OK);
	box_close(&box);
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(mover_compact(box.st), OK);
	box_close(&box);
	check((struct check_run){ 0 }, &report);
	cr_expect_eq(report.bad_bodies, 0u);
	box_remove(&box);
}

Test(damage, a_body_stays_visible)
{
	meet_damage(SIZE / 2, true);
}

Test(damage, a_message_without_a_head_stays_visible)
{
	meet_damage(8, false);
}

/* --- The archive's map --- */

static void remove_it(const char *name)
{
	char path[512], command[600];

	snprintf(path, sizeof(path), "%s/%s", box.dir.path, name);
	snprintf(command, sizeof(command), "rm -r %s", path);
	cr_assert_eq(system(command), 0, "%s", command);
}

static void all_in_archive(void)
{
	make_deferred();
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(mover_round(box.st, true), OK);
	struct store_stats stats;
	store_stats(box.st, &stats);
	cr_assert_gt(stats.moved_bodies, 5u);
	box_close(&box);
}

static void all_is_there(void)
{
	struct schedule_entry e;

	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_expect(has_entry(i, &e), "entry %u", i);
		cr_expect(message_is(box.st, refs[i].id, i, SIZE), "body %u", i);
	}
	box_close(&box);
}

static void lose_map(const char *name)
{
	struct check_report report;
	struct store_open args = { .options = &box.options };

	all_in_archive();
	remove_it(name);
	cr_expect_eq(store_open(&args, &box.st), ERR_CORRUPT);
	check((struct check_run){ .rebuild = true }, &report);
	cr_expect_eq(report.result, CHECK_REPAIRED);
	all_is_there();
	box_remove(&box);
}

Test(damage, a_map_that_vanished_is_made_again)
{
	lose_map("archive/map/data.mdb");
	lose_map("archive/map");
}

Test(damage, a_map_that_is_torn_is_made_again)
{
	struct check_report report;

	all_in_archive();
	for (long at = 0; at < 4096 * 2; at += 512)
		damage("archive/map/data.mdb", at + 17);
	check((struct check_run){ .rebuild = true }, &report);
	cr_expect_eq(report.result, CHECK_REPAIRED);
	all_is_there();
	box_remove(&box);
}

/* --- Files of LMDB that would end whoever reads them --- */

enum { PAGE = 4096 };

static void in_folder(char path[512], const char *name)
{
	snprintf(path, 512, "%s/%s", box.dir.path, name);
}

static void cut(const char *name, long pages)
{
	char path[512];

	in_folder(path, name);
	cr_assert_eq(truncate(path, pages * PAGE), 0, "%s", path);
}

static long pages_of(const char *name)
{
	struct stat st;
	char path[512];

	in_folder(path, name);
	cr_assert_eq(stat(path, &st), 0, "%s", path);
	return st.st_size / PAGE;
}

/* All of it, but for the two pages that LMDB looks at itself. */
static void overwrite(const char *name, int with)
{
	char path[512], page[PAGE];

	in_folder(path, name);
	memset(page, with, sizeof(page));
	FILE *f = fopen(path, "r+b");
	cr_assert(f, "%s", path);
	fseek(f, 2 * PAGE, SEEK_SET);
	for (long n = pages_of(name) - 2; n > 0; n--)
		cr_assert_eq(fwrite(page, sizeof(page), 1, f), 1u);
	fclose(f);
}

/* Found, told, and made anew. */
static void is_mended(const char *what)
{
	struct check_report report;

	check((struct check_run){ 0 }, &report);
	cr_expect_eq(report.result, CHECK_DAMAGED, "%s: %d", what, report.result);
	cr_expect_eq(check_exit_status(report.result), 1);
	check((struct check_run){ .rebuild = true }, &report);
	cr_expect_eq(report.result, CHECK_REPAIRED, "%s: %d", what, report.result);
	all_is_there();
	check((struct check_run){ 0 }, &report);
	cr_expect_eq(report.result, CHECK_CLEAN, "%s: %d", what, report.result);
}

static void end_pages_of(const char *name)
{
	for (long keep = 1; keep < pages_of(name); keep++) {
		cut(name, keep);
		is_mended("cut off");
	}
	overwrite(name, 0);
	is_mended("zeros");
	overwrite(name, 0xa5);
	is_mended("anything");
}

Test(damage, pages_of_the_index_are_missing_or_overwritten)
{
	make_deferred();
	end_pages_of("index/00/data.mdb");
	box_remove(&box);
}

Test(damage, pages_of_the_map_are_missing_or_overwritten)
{
	all_in_archive();
	end_pages_of("archive/map/data.mdb");
	box_remove(&box);
}

/* The rebuild begins with it. */
Test(damage, a_snapshot_that_cannot_be_read_is_passed_over)
{
	struct check_report report;
	char name[SNAPSHOT_NAME], path[512];
	wall_ms at;

	make_deferred();
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(store_snapshot(box.st), OK);
	box_close(&box);
	cr_assert_eq(snapshot_current(box.dir.path, name, &at), OK);
	snprintf(path, sizeof(path), "%s/00/data.mdb", name);
	overwrite(path, 0xa5);
	cut("index/00/data.mdb", 2);
	check((struct check_run){ .rebuild = true, .restore = no_entries }, &report);
	cr_expect_neq(report.result, CHECK_CLEAN);
	check((struct check_run){ 0 }, &report);
	cr_expect_eq(report.result, CHECK_CLEAN);
	box_remove(&box);
}

Test(damage, a_journal_file_that_was_cut_off_is_read_as_far_as_it_goes)
{
	struct check_report report;

	make_deferred();
	cut("journal/slot-00000001", 100);
	char path[512];
	in_folder(path, "journal/slot-00000001");
	cr_assert_eq(truncate(path, 100 * PAGE + 100), 0);
	check((struct check_run){ 0 }, &report);
	cr_expect_eq(report.result, CHECK_LOST);
	check((struct check_run){ .rebuild = true, .restore = no_entries }, &report);
	cr_expect_eq(report.result, CHECK_LOST);
	box_open(&box, &keep_nothing, NULL);
	cr_expect(message_is(box.st, refs[0].id, 0, SIZE));
	box_close(&box);
	box_remove(&box);
}

/* With a new identity nothing of it could be read again. */
Test(damage, a_store_without_its_identity_gets_no_other)
{
	struct store_open args = { .options = &box.options };
	struct check_run run = { .options = &box.options, .say = say };
	struct check_report report;
	char path[512], kept[600];

	make_deferred();
	in_folder(path, "store");
	snprintf(kept, sizeof(kept), "%s.kept", path);
	cr_assert_eq(rename(path, kept), 0);
	for (unsigned round = 0; round < 2; round++) {
		run.rebuild = round;
		cr_expect_eq(check_store(&run, &report), ERR_CORRUPT);
		cr_expect_eq(store_open(&args, &box.st), ERR_CORRUPT);
		cr_expect_eq(access(path, F_OK), -1);
	}
	cr_assert_eq(rename(kept, path), 0);
	all_is_there();
	box_remove(&box);
}

/* --- An index with a gap --- */

/* Every message has two recipients; meta is "m<seed>". */
static bool restore(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	if (n == 2 || !slice_starts(meta, SLICE("m")))
		return false;
	*out = (struct schedule_entry){
		.domain = (meta.ptr[meta.len - 1] - '0') % 2 ? SLICE("a.test") : SLICE("b.test"),
		.due = 5
	};
	return true;
}

static void count_states(uint64_t *held, uint64_t *waiting)
{
	struct schedule_totals totals;

	cr_assert_eq(schedule_totals(box.st, &totals), OK);
	*held = totals.held;
	*waiting = totals.waiting;
}

/* The snapshot is gone, and it had allowed the history before it to be dropped. */
Test(damage, a_gap_gives_entries_back_on_hold)
{
	struct check_run run = { .rebuild = true, .restore = restore };
	struct check_report report;
	struct schedule_entry e;
	uint64_t held, waiting;
	unsigned moved = 0;

	all_in_archive();
	box_open(&box, &keep_nothing, NULL);
	cr_assert_eq(store_snapshot(box.st), OK);
	/* Of one message the records since tell one recipient. */
	park_one(2, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		struct archive_place place;

		moved += archive_find(box.st->archive, refs[i].id, &place) == OK;
	}
	box_close(&box);
	remove_it("index");
	remove_it("snapshot");
	check(run, &report);
	cr_expect_eq(report.result, CHECK_REPAIRED);
	cr_expect_gt(report.gap_records_to, report.gap_records_from);
	cr_expect_geq(report.held_entries, 2u * moved);
	box_open(&box, &keep_nothing, NULL);
	count_states(&held, &waiting);
	cr_expect_eq(waiting, 0u);
	/* What the journal still had came back by its own record, one recipient each. */
	cr_expect_eq(held, 2u * moved + (COUNT - moved));
	for (unsigned i = 0; i < COUNT; i++) {
		cr_expect(has_entry(i, &e), "entry %u", i);
		cr_expect_eq(e.state, SCHEDULE_HELD);
		cr_expect(message_is(box.st, refs[i].id, i, SIZE));
	}
	box_remove(&box);
}
