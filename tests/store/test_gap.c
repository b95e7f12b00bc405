/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A journal segment in the middle is lost between two runs: the store says so and does not open, fsck tells,
 * and a rebuild brings back all else. */
#include "store/account.h"
#include "store/check.h"
#include "store/store_int.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COUNT = 14, SIZE = 200000, SMALL = 1000 };
/* Three messages that are in RAM alone: from before the gap, ended in what is lost, behind the gap. */
enum { BEFORE, DELIVERED, BEHIND, EXTRAS };

static struct box box;
static struct blob_ref refs[COUNT], extras[EXTRAS];
static uint32_t lost; /* the segment */
static char findings[8000];

static slice domain_of(unsigned seed)
{
	return seed % 2 ? SLICE("a.test") : SLICE("b.test");
}

/* The second segment gets a result and a domain as well. */
static void first_of_lost(uint32_t segment)
{
	struct domain d = { .name = SLICE("late.test") };
	struct schedule_done end = { .id = extras[DELIVERED].id,
		.domain = domain_of(COUNT + DELIVERED) };

	lost = segment;
	cr_assert_eq(schedule_finish(box.st, &end), OK);
	cr_assert_eq(domain_put(box.st, &d, ROW_PUT), OK);
}

static void put_extra(unsigned which)
{
	cr_assert_eq(put_message(box.st, COUNT + which, SMALL, &extras[which]), OK);
}

/* Deferred messages over several segments; closed. */
static void make_store(void)
{
	box_make(&box);
	box.options.journal_max_bytes = 64 << 20;
	box_open(&box, &keep_all, NULL);
	lost = 0;
	put_extra(BEFORE);
	put_extra(DELIVERED);
	for (unsigned i = 0; i < COUNT; i++) {
		cr_assert_eq(put_message(box.st, i, SIZE, &refs[i]), OK);
		struct schedule_entry e = { .ref = refs[i], .domain = domain_of(i) };

		cr_assert_eq(schedule_park(box.st, &e), OK);
		store_release(box.st, &refs[i]);
		if (!lost && journal_segment_of(refs[i].id) > journal_segment_of(refs[0].id))
			first_of_lost(journal_segment_of(refs[i].id));
	}
	put_extra(BEHIND);
	cr_assert_lt(lost, journal_segment_of(extras[BEHIND].id));
	box_close(&box);
}

/* --- What may happen to a file --- */

static void slot_path(char path[512])
{
	snprintf(path, 512, "%s/journal/slot-%08u", box.dir.path, lost - 1);
}

static void overwrite(long from, long bytes)
{
	char path[512];

	slot_path(path);
	FILE *f = fopen(path, "r+b");
	cr_assert(f, "%s", path);
	fseek(f, from, SEEK_SET);
	while (bytes-- > 0)
		fputc(0, f);
	fclose(f);
}

static void unlink_it(void)
{
	char path[512];

	slot_path(path);
	cr_assert_eq(unlink(path), 0, "%s", path);
}

static void zero_all(void)
{
	overwrite(0, 1 << 20);
}

static void zero_head(void)
{
	overwrite(0, 4096);
}

/* Its first message is good, what stands behind is not. */
static void zero_half(void)
{
	overwrite(1 << 19, 1 << 19);
}

static const struct harm {
	const char *why;
	void (*do_it)(void);
	bool whole;
} harms[] = {
	{ "deleted", unlink_it, true },
	{ "zeroed", zero_all, true },
	{ "without its head", zero_head, true },
	{ "half of it zeroed", zero_half, false },
};

/* --- fsck --- */

static bool restore(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	if (n || !slice_starts(meta, SLICE("m")))
		return false;
	*out = (struct schedule_entry){
		.domain = domain_of((unsigned)(meta.ptr[meta.len - 1] - '0')), .due = 5
	};
	return true;
}

static void note_finding(void *arg, const char *line)
{
	size_t len = strlen(findings);

	fprintf(stderr, "# %s\n", line);
	snprintf(findings + len, sizeof(findings) - len, "%s\n", line);
}

static enum check_result fsck(bool rebuild, struct check_report *out)
{
	struct check_run run = {
		.options = &box.options, .rebuild = rebuild, .restore = restore, .say = note_finding
	};

	findings[0] = '\0';
	cr_assert_eq(check_store(&run, out), OK);
	return out->result;
}

/* --- What is there --- */

static bool entry_of(const struct blob_ref *ref, struct schedule_entry *out)
{
	struct schedule_name name = { .id = ref->id };
	struct arena a = { 0 };
	bool there = schedule_get(box.st, &name, &a, out) == OK;

	arena_done(&a);
	return there;
}

static unsigned replayed[EXTRAS], others;

static bool on_message(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	for (unsigned i = 0; i < EXTRAS; i++)
		replayed[i] += ref->id == extras[i].id;
	for (unsigned i = 0; i < COUNT; i++)
		others += ref->id == refs[i].id;
	return true;
}

static void on_park(void *arg, const struct schedule_entry *entry)
{
	for (unsigned i = 0; i < EXTRAS; i++)
		replayed[i] -= entry->ref.id == extras[i].id && replayed[i];
	for (unsigned i = 0; i < COUNT; i++)
		others -= entry->ref.id == refs[i].id;
}

static void on_done(void *arg, uint64_t id, uint32_t n)
{
	for (unsigned i = 0; i < EXTRAS; i++)
		replayed[i] -= id == extras[i].id && replayed[i];
}

static const struct store_replay_ops follow = { on_message, on_park, on_done };

static void open_again(void)
{
	memset(replayed, 0, sizeof(replayed));
	others = 0;
	box_open(&box, &follow, NULL);
}

static void expect_entry(const struct harm *h, unsigned i)
{
	struct schedule_entry e;

	cr_expect(entry_of(&refs[i], &e), "%s: entry %u", h->why, i);
}

static void expect_body(const struct harm *h, unsigned i, bool there)
{
	cr_expect_eq(message_is(box.st, refs[i].id, i, SIZE), there, "%s: body %u", h->why, i);
}

/* As ever; a position is never given twice. */
static void expect_going_on(uint32_t from_segment)
{
	struct blob_ref more;

	cr_expect_eq(put_message(box.st, 77, SIZE, &more), OK);
	cr_expect(message_is(box.st, more.id, 77, SIZE));
	cr_expect(journal_segment_of(more.id) >= from_segment);
	store_release(box.st, &more);
}

static void look_at_extras(const struct harm *h)
{
	struct schedule_entry e;

	/* Nobody knows whether these two were delivered, so they wait for somebody who does. */
	cr_expect(entry_of(&extras[BEFORE], &e) && e.state == SCHEDULE_HELD, "%s", h->why);
	cr_expect(message_is(box.st, extras[BEFORE].id, COUNT + BEFORE, SMALL));
	if (h->whole)
		cr_expect(entry_of(&extras[DELIVERED], &e) && e.state == SCHEDULE_HELD);
	cr_expect(message_is(box.st, extras[BEHIND].id, COUNT + BEHIND, SMALL));
	cr_expect_eq(replayed[BEFORE] + replayed[DELIVERED], 0u, "%s: it would be sent", h->why);
	cr_expect_eq(replayed[BEHIND], 1u, "%s: nobody would send it", h->why);
	cr_expect_eq(others, 0u, "%s", h->why);
}

/* `rows`: those of what is lost, too. */
static void all_else_is_there(const struct harm *h, bool rows)
{
	enum err err = OK;

	open_again();
	for (unsigned i = 0; i < COUNT; i++) {
		bool gone = journal_segment_of(refs[i].id) == lost;

		if (rows || !gone)
			expect_entry(h, i);
		if (!gone || h->whole)
			expect_body(h, i, !gone);
	}
	look_at_extras(h);
	if (rows)
		cr_expect(domain_find(box.st, SLICE("late.test"), &err), "%s", h->why);
	expect_going_on(journal_segment_of(extras[BEHIND].id));
	box_close(&box);
}

/* By a start, which says so, and by fsck. How many frames are bad. */
static uint64_t expect_refused(const struct harm *h, const char *start_says, const char *fsck_says)
{
	char why[512] = "";
	struct store_open args = {
		.options = &box.options, .ops = &keep_all, .why = why, .why_bytes = sizeof(why)
	};
	struct check_report report;

	cr_expect_eq(store_open(&args, &box.st), ERR_CORRUPT, "%s", h->why);
	box.st = NULL;
	cr_expect(strstr(why, start_says) && strstr(why, "fsck"), "%s: %s", h->why, why);
	cr_expect_eq(fsck(false, &report), CHECK_LOST, "%s", h->why);
	cr_expect(strstr(findings, fsck_says), "%s: %s", h->why, findings);
	return report.bad_frames;
}

/* After a repair: what it told of is told once; rows of bodies that are gone go on being told of. */
static void expect_repaired(void)
{
	struct check_report report;
	enum check_result after = fsck(false, &report);

	cr_expect_eq(report.bad_frames, 0u);
	cr_expect_eq(after, report.missing_bodies + report.bad_bodies ? CHECK_LOST : CHECK_CLEAN);
	/* And once more, from the copy that was made. */
	cr_expect_neq(fsck(true, &report), CHECK_DAMAGED);
	cr_expect_eq(report.held_entries, 0u, "no gap is left");
}

static void remove_index(void)
{
	char command[600];

	snprintf(command, sizeof(command), "rm -rf %s/index %s/snapshot*", box.dir.path,
		box.dir.path);
	cr_assert_eq(system(command), 0);
}

static void lose_segment(const struct harm *h, bool index_too)
{
	const char *what = h->whole ? "missing" : "damaged";
	struct check_report report;
	char want[64];

	make_store();
	h->do_it();
	snprintf(want, sizeof(want), "segment %u is %s", lost, what);
	cr_expect_gt(expect_refused(h, h->whole ? want : what, want), 0u);
	if (index_too)
		remove_index();
	cr_expect_eq(fsck(true, &report), CHECK_LOST, "%s", h->why);
	snprintf(want, sizeof(want), "segment %u is", lost);
	cr_expect(strstr(findings, want), "%s: %s", h->why, findings);
	all_else_is_there(h, !index_too);
	expect_repaired();
	all_else_is_there(h, !index_too);
	box_remove(&box);
}

Test(gap, a_lost_segment_is_told_and_passed_over)
{
	for (size_t i = 0; i < array_len(harms); i++)
		lose_segment(&harms[i], false);
}

Test(gap, a_lost_segment_and_a_lost_index)
{
	for (size_t i = 0; i < array_len(harms); i++)
		lose_segment(&harms[i], true);
}

/* --- The end ------------------------------------------------------------------------------- */

static const char no_end[] = "its end is missing";

static void index_goes_on(const char *name)
{
	struct domain d = { .name = slice_str(name) };
	enum err err = OK;

	expect_going_on(lost + 1);
	cr_expect_eq(domain_put(box.st, &d, ROW_PUT), OK);
	cr_expect(domain_find(box.st, d.name, &err), "%s", name);
}

/* What was ended there may be said to be under way by what is left, so nothing goes by itself. */
static void all_else_is_held(const struct harm *h)
{
	struct schedule_totals totals;
	struct schedule_entry e;
	enum err err = OK;

	open_again();
	for (unsigned i = 0; i < COUNT; i++) {
		expect_entry(h, i);
		expect_body(h, i, journal_segment_of(refs[i].id) < lost);
	}
	cr_expect(entry_of(&extras[BEFORE], &e) && e.state == SCHEDULE_HELD);
	cr_expect_not(entry_of(&extras[DELIVERED], &e), "its end is known");
	cr_expect_eq(replayed[BEFORE] + replayed[DELIVERED] + others, 0u, "%s", h->why);
	cr_expect(domain_find(box.st, SLICE("late.test"), &err), "%s", h->why);
	cr_assert_eq(schedule_totals(box.st, &totals), OK);
	cr_expect_eq(totals.waiting, 0u);
	index_goes_on("new.test");
	box_close(&box);
}

static void lose_end(const struct harm *h)
{
	struct check_report report;

	make_store();
	lost = journal_segment_of(extras[BEHIND].id);
	h->do_it();
	expect_refused(h, no_end, no_end);
	cr_expect_eq(fsck(true, &report), CHECK_LOST, "%s", h->why);
	all_else_is_held(h);
	expect_repaired();
	all_else_is_held(h);
	box_remove(&box);
}

Test(gap, a_lost_end_is_told_and_passed_over)
{
	for (size_t i = 0; i < array_len(harms); i++)
		if (harms[i].whole)
			lose_end(&harms[i]);
}

Test(gap, a_journal_that_is_gone_leaves_the_index)
{
	const struct harm all = { .why = "gone", .whole = true };
	struct check_report report;
	char command[600];
	enum err err = OK;

	make_store();
	lost = journal_segment_of(extras[BEHIND].id);
	snprintf(command, sizeof(command), "rm %s/journal/slot-*", box.dir.path);
	cr_assert_eq(system(command), 0);
	expect_refused(&all, no_end, no_end);
	cr_expect_eq(fsck(true, &report), CHECK_LOST);
	for (int i = 0; i < 2; i++) {
		box_open(&box, &follow, NULL);
		cr_expect(domain_find(box.st, SLICE("late.test"), &err));
		index_goes_on(i ? "new.test" : "newer.test");
		box_close(&box);
	}
	box_remove(&box);
}
