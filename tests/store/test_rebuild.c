/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random operations with recycling forced by small segments; then fsck, and a rebuilt index that
 * equals the live one, row by row. */
#include "store/account.h"
#include "store/check.h"
#include "store/store_int.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIVE_MAX = 64, STEPS = 600 };

struct live {
	struct blob_ref ref;
	unsigned seed;
	size_t size;
	bool parked;
};

struct world {
	struct box box;
	struct live live[LIVE_MAX];
	unsigned seed;
	uint64_t moved;
};

static slice domain_of(const struct live *l)
{
	static const char *const names[] = { "a.test", "b.test", "c.example" };

	return slice_str(names[l->seed % array_len(names)]);
}

static void park(struct world *w, struct live *l)
{
	struct schedule_entry e = { .ref = l->ref,
		.n = l->seed % 3,
		.attempts = (uint32_t)rand() % 9,
		.lane = l->seed % 2,
		.state = rand() % 5 ? SCHEDULE_DEFERRED : SCHEDULE_HELD,
		.domain = domain_of(l),
		.due = rand() % 10000,
		.first_seen = l->seed,
		.reply = SLICE("451 later"),
		.tail = slice_of("tail of it all", (size_t)rand() % 14) };

	cr_assert_eq(schedule_park(w->box.st, &e), OK);
	if (!l->parked)
		store_release(w->box.st, &l->ref);
	l->parked = true;
}

static void finish(struct world *w, struct live *l)
{
	struct schedule_done end = {
		.id = l->ref.id, .n = l->seed % 3, .indexed = l->parked, .domain = domain_of(l)
	};

	cr_assert_eq(schedule_finish(w->box.st, &end), OK);
	if (!l->parked)
		store_release(w->box.st, &l->ref);
	*l = (struct live){ 0 };
}

static void accept_one(struct world *w, struct live *l)
{
	*l = (struct live){ .seed = ++w->seed, .size = (size_t)rand() % 60000 };
	if (rand() % 20 == 0)
		l->size = 400000 + (size_t)rand() % 400000;
	enum err err = put_message(w->box.st, l->seed, l->size, &l->ref);
	cr_assert_eq(err, OK, "message %u: %s", l->seed, err_text(err));
}

static void change_directory(struct world *w)
{
	char name[32];
	snprintf(name, sizeof(name), "d%d.test", rand() % 6);
	struct domain d = { .name = slice_str(name), .created = rand() };
	struct domain_key key = { .domain = d.name,
		.selector = SLICE("s1"),
		.kind = KEY_RSA,
		.pem = slice_of(w->box.dir.path, 1) };
	char *pem = calloc(1, 5000);

	(void)!domain_put(w->box.st, &d, (enum row_mode)(rand() % 3));
	memset(pem, 'k', 4999);
	key.pem = slice_of(pem, (size_t)rand() % 4999);
	(void)!domain_key_put(w->box.st, &key, ROW_PUT);
	if (rand() % 3 == 0)
		(void)!domain_remove(w->box.st, d.name, true);
	free(pem);
}

static void step(struct world *w)
{
	struct live *l = &w->live[rand() % LIVE_MAX];

	if (!l->ref.id)
		accept_one(w, l);
	else if (rand() % 3 == 0)
		finish(w, l);
	else
		park(w, l);
	if (rand() % 25 == 0)
		change_directory(w);
	if (rand() % 150 == 0)
		cr_assert_eq(store_snapshot(w->box.st), OK);
	if (rand() % 40 == 0)
		cr_assert_eq(mover_compact(w->box.st), OK);
}

/* --- The whole index as text --- */

struct dump {
	struct out out;
};

static enum err dump_shard(struct index_txn *txn, void *arg)
{
	struct dump *d = arg;
	struct index_cursor c = { 0 };
	enum err err = index_seek(txn, &c, SLICE("\0"), SLICE(""));

	for (; !err; err = index_next(&c)) {
		if (c.key.ptr[0] == 'M')
			continue;
		out_field(&d->out, c.key);
		out_field(&d->out, c.value);
	}
	index_cursor_done(&c);
	return OK;
}

static void dump_all(struct store *st, struct dump *d)
{
	d->out = out_heap(64 << 20);
	for (unsigned i = 0; i < index_shard_count(st->index); i++)
		cr_assert_eq(index_read_here(st->index, i, dump_shard, d), OK);
	cr_assert(out_ok(&d->out));
}

static void say(void *arg, const char *line)
{
	fprintf(stderr, "# %s\n", line);
}

static void check(struct world *w, bool rebuild, enum check_result want)
{
	struct check_run run = { .options = &w->box.options, .rebuild = rebuild, .say = say };
	struct check_report report;

	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, want, "result %d", report.result);
	cr_expect_eq(report.bad_rows + report.bad_counters + report.bad_bodies +
			report.missing_bodies + report.bad_frames,
		0u);
	cr_expect_eq(report.held_entries, 0u);
}

static void check_bodies(struct world *w)
{
	for (unsigned i = 0; i < LIVE_MAX; i++) {
		const struct live *l = &w->live[i];

		if (l->ref.id)
			cr_expect(message_is(w->box.st, l->ref.id, l->seed, l->size),
				"message %u of %zu bytes, %s", l->seed, l->size,
				l->parked ? "parked" : "in RAM");
	}
}

/* After a restart the queue's owner is told of what is not parked, and only then is it held. */
static bool keep_unparked(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	struct world *w = arg;

	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (w->live[i].ref.id == ref->id)
			return !w->live[i].parked;
	return false;
}

static const struct store_replay_ops keep_ops = { .message = keep_unparked };

static void run_world(unsigned seed, bool drop_snapshot)
{
	struct world *w = calloc(1, sizeof(*w));
	struct dump before, after;
	struct store_stats stats;

	srand(seed);
	box_make(&w->box);
	w->box.options.journal_max_bytes = 12 << 20;
	w->box.options.cache_bytes = 0;
	for (unsigned round = 0; round < 3; round++) {
		box_open(&w->box, &keep_ops, w);
		check_bodies(w);
		for (unsigned i = 0; i < STEPS / 3; i++)
			step(w);
		check_bodies(w);
		store_stats(w->box.st, &stats);
		w->moved += stats.moved_bodies;
		box_close(&w->box);
	}
	cr_expect_gt(w->moved, 10u, "moved %llu", (unsigned long long)w->moved);
	check(w, false, CHECK_CLEAN);
	box_open(&w->box, &keep_ops, w);
	dump_all(w->box.st, &before);
	box_close(&w->box);
	check(w, true, CHECK_REPAIRED);
	box_open(&w->box, &keep_ops, w);
	dump_all(w->box.st, &after);
	check_bodies(w);
	cr_expect(slice_eq(out_written(&before.out), out_written(&after.out)), "%zu, %zu bytes",
		before.out.len, after.out.len);
	out_heap_done(&before.out);
	out_heap_done(&after.out);
	box_remove(&w->box);
	free(w);
}

Test(rebuild, equals_the_live_index)
{
	for (unsigned seed = 1; seed <= 4; seed++)
		run_world(seed, false);
}

Test(rebuild, fsck_sees_a_flipped_byte)
{
	struct box b;
	struct blob_ref ref;
	struct check_report report;
	char path[512];

	box_make(&b);
	box_open(&b, &keep_all, NULL);
	cr_assert_eq(put_message(b.st, 1, 50000, &ref), OK);
	struct schedule_entry e = { .ref = ref, .domain = SLICE("a.test") };
	cr_assert_eq(schedule_park(b.st, &e), OK);
	box_close(&b);
	snprintf(path, sizeof(path), "%s/journal/slot-%08u", b.dir.path, 0);
	FILE *f = fopen(path, "r+b");
	fseek(f, (long)(uint32_t)ref.id + 30000, SEEK_SET);
	fputc('X', f);
	fclose(f);
	struct check_run run = { .options = &b.options };
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect(report.result >= CHECK_DAMAGED);
	cr_expect_neq(check_exit_status(report.result), 0);
	box_remove(&b);
}
