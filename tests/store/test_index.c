/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The index's writer: outcomes before commits, commits that fail, who is told of them; and bodies
 * that mailboxes name, through archive and rebuild. */
#include "store/check.h"
#include "store/index.h"
#include "store/store_int.h"
#include "store/watch.h"
#include "tests/core/workers.h"
#include "tests/store/mailbox_support.h"

#include "core/fiber.h"
#include "core/post.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { ACCOUNTS = 3, LIVE_MAX = 48, STEPS = 240 };

static struct box box;

static enum err deliver(unsigned seed, size_t size, uint64_t account, struct delivering *out)
{
	*out = (struct delivering){ .account = account, .seed = seed, .size = size };
	out->summary = SLICE("what is known of it");
	return deliver_one(box.st, out);
}

static uint32_t count_of(uint64_t account)
{
	struct arena a = { 0 };
	struct mailbox m = { 0 };

	must(mailbox_find(box.st, account, SLICE("INBOX"), &a, &m) == OK);
	arena_done(&a);
	return m.messages;
}

static void init_accounts(void)
{
	for (uint64_t n = 1; n <= ACCOUNTS; n++)
		must(mailbox_account_init(box.st, n, SLICE("a.test")) == OK);
}

static void sync_accounts(void)
{
	for (uint64_t n = 1; n <= ACCOUNTS; n++)
		must(store_sync_all(box.st, n) == OK);
}

/* --- Outcomes --- */

static void ask_and_read(struct worker *w)
{
	struct delivering d[8];

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	sync_accounts();
	uint64_t commits, now;
	struct store_stats s;
	store_stats(box.st, &s);
	commits = s.index_commits;
	for (unsigned i = 0; i < array_len(d); i++) {
		check(deliver(i, 100, 1, &d[i]) == OK);
		check(d[i].at.uid == i + 1);
	}
	store_stats(box.st, &s);
	now = s.index_commits;
	check(now == commits); /* gather_ms is long: nobody waited for a commit */
	check(!store_synced(box.st, 1, d[7].ref.id));
	check(count_of(1) == 0);
	check(store_sync(box.st, 1, d[7].ref.id) == OK);
	check(store_synced(box.st, 1, d[7].ref.id));
	check(count_of(1) == 8);
	struct delivered again;
	check(message_delivered(box.st, d[3].ref.id, 1, &again) == OK);
	check(again.uid == 4);
	store_stats(box.st, &s);
	commits = s.index_commits;
	sync_accounts();
	store_stats(box.st, &s);
	check(s.index_commits == commits); /* nothing was under way */
	box_close(&box);
}

Test(index, outcomes_come_before_commits)
{
	box_make(&box);
	box.options.gather_ms = 1000;
	box.options.snapshot_interval_ms = 0;
	run_on_workers(1, ask_and_read);
	box_remove(&box);
}

static _Atomic unsigned finished;

enum { APPENDERS = 12, EACH = 25 };

/* --- Names --- */

static bool is_listed(slice name, bool *subscribed)
{
	struct mailbox_query query = { .account = 1, .under = name };
	struct mailbox_page page;
	struct arena a = { 0 };
	bool is;

	check(mailbox_list(box.st, &query, &a, &page) == OK);
	is = page.len == 1 && slice_eq(page.rows[0].name, name) && page.rows[0].id;
	*subscribed = page.len == 1 && page.rows[0].subscribed;
	arena_done(&a);
	return is;
}

static enum err find(slice name)
{
	struct arena a = { 0 };
	struct mailbox m;
	enum err err = mailbox_find(box.st, 1, name, &a, &m);

	arena_done(&a);
	return err;
}

/* Who changes a name waits for no commit: who looks does. */
static void change_names(struct worker *w)
{
	struct mailbox_create new = { .account = 1, .name = SLICE("new") };
	struct mailbox_rename rename = { .account = 1, .from = SLICE("new"), .to = SLICE("old") };
	struct mailbox_rename back = { .account = 1, .from = SLICE("old"), .to = SLICE("new") };
	struct store_stats before, after;
	bool subscribed;
	modseq pos;

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	sync_accounts();
	store_stats(box.st, &before);
	check(mailbox_create(box.st, &new, NULL, NULL) == OK);
	for (unsigned i = 0; i < 30; i++) {
		check(mailbox_subscribe(box.st, 1, new.name, i % 2 == 0) == OK);
		check(mailbox_rename(box.st, i % 2 ? &back : &rename, NULL) == OK);
	}
	store_stats(box.st, &after);
	check(after.index_commits - before.index_commits < 10); /* gather_ms is long */
	check(find(new.name) == OK);
	check(mailbox_subscribe(box.st, 1, new.name, true) == OK);
	check(is_listed(new.name, &subscribed) && subscribed);
	check(mailbox_rename(box.st, &rename, NULL) == OK);
	check(find(new.name) == ERR_NOT_FOUND && find(rename.to) == OK);
	check(mailbox_delete(box.st, 1, rename.to, &pos) == OK);
	check(!is_listed(rename.to, &subscribed) && store_synced(box.st, 1, pos));
	box_close(&box);
}

Test(index, names_are_seen_by_who_looks)
{
	box_make(&box);
	box.options.gather_ms = 1000;
	run_on_workers(1, change_names);
	box_remove(&box);
}

static void append_many(void *arg)
{
	uint64_t account = 1 + (uintptr_t)arg % ACCOUNTS;
	uint32_t last = 0;

	for (unsigned i = 0; i < EACH; i++) {
		struct delivering d;

		check(deliver(i, 500, account, &d) == OK);
		check(d.at.uid > last);
		last = d.at.uid;
		if (i % 3 == 0)
			check(store_sync(box.st, account, d.ref.id) == OK);
		if (i % 5 == 0)
			check(store_sync_all(box.st, account) == OK);
	}
	atomic_fetch_add(&finished, 1);
}

static void start_appenders(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < APPENDERS / 2; i++)
		check(fiber_start(w, append_many,
			      (void *)(uintptr_t)(worker_index(w) * APPENDERS / 2 + i)) == OK);
}

static void append_from_two(struct worker *w)
{
	uint32_t sum = 0;

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	post_call(0, start_appenders, NULL);
	post_call(1, start_appenders, NULL);
	while (atomic_load(&finished) < APPENDERS)
		check(fiber_sleep(5) == OK);
	for (uint64_t n = 1; n <= ACCOUNTS; n++) {
		check(store_sync_all(box.st, n) == OK);
		sum += count_of(n);
	}
	check(sum == APPENDERS * EACH);
	check(store_snapshot(box.st) == OK);
	box_close(&box);
}

Test(index, two_workers_get_their_own_outcomes)
{
	box_make(&box);
	box.options.journal_max_bytes = 64 << 20;
	run_on_workers(2, append_from_two);
	box_remove(&box);
}

/* --- Commits that fail --- */

/* LMDB cannot make its file longer; the journal's slots are as long as they will be. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	must(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = bytes;
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void fail_commits(struct worker *w)
{
	static char summary[40000];
	struct delivering d = { .account = 1, .summary = slice_of(summary, sizeof(summary)) };
	enum err err = OK;
	unsigned n = 0;

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	limit_files(1 << 20);
	/* Outcomes go on coming while nothing can be committed, as long as they fit the journal. */
	while (!err && n < 60) {
		d.seed = ++n;
		d.size = 10;
		check(deliver_one(box.st, &d) == OK);
		check(d.at.uid == n);
		if (n % 10 == 0)
			err = store_sync(box.st, 1, d.ref.id);
	}
	check(err != OK);
	check(!store_synced(box.st, 1, d.ref.id));
	limit_files(RLIM_INFINITY);
	while (store_sync(box.st, 1, d.ref.id))
		check(fiber_sleep(10) == OK);
	check(count_of(1) == n);
	/* The same outcomes: the next one follows them. */
	check(deliver_one(box.st, &d) == OK);
	check(d.at.uid == n + 1);
	box_close(&box);
}

Test(index, a_failed_commit_is_made_again)
{
	struct check_report report;

	signal(SIGXFSZ, SIG_IGN);
	box_make(&box);
	box.options.snapshot_interval_ms = 0;
	run_on_workers(1, fail_commits);
	struct check_run run = { .options = &box.options };
	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, CHECK_CLEAN);
	box_remove(&box);
}

/* --- Waits that nothing will end --- */

enum { WAITERS = 4 };
static _Atomic unsigned ended;

/* Behind everything that is durable: no caller asks for that, so nothing comes. */
static void wait_for_ever(void *arg)
{
	unsigned number = (unsigned)(uintptr_t)arg;
	journal_pos never = store_durable(box.st) + (1 << 20);
	struct index_ask ask = { .pos = never };
	enum err err = number % 2 ? index_wait(box.st->index, never, 0) :
				    index_outcome(box.st->index, &ask, NULL, NULL);

	check(err == ERR_STOPPED);
	atomic_fetch_add(&ended, 1);
}

static enum err start_waiters(struct worker *w, void *arg)
{
	enum err err = OK;

	(void)arg;
	for (unsigned i = 0; !err && i < WAITERS; i++)
		err = fiber_start(w, wait_for_ever, (void *)(uintptr_t)i);
	return err;
}

static void end_waits(struct worker *w)
{
	struct delivering d;

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	check(store_sync(box.st, 1, store_durable(box.st)) == ERR_INVALID);
	check(store_sync(box.st, 1, UINT64_MAX) == ERR_INVALID);
	check(start_waiters(w, NULL) == OK);
	check(post_call_fiber(1, start_waiters, NULL) == OK);
	/* They stand there through a commit, and keep nobody else from anything. */
	check(deliver(1, 100, 1, &d) == OK);
	check(store_sync(box.st, 1, d.ref.id) == OK);
	check(fiber_sleep(20) == OK);
	check(ended == 0);
	store_end_waits(box.st);
	while (ended < 2 * WAITERS)
		check(fiber_sleep(1) == OK);
	check(deliver(2, 100, 1, &d) == OK);
	check(store_sync(box.st, 1, d.ref.id) == OK);
	/* And without that the close ends them. */
	check(start_waiters(w, NULL) == OK);
	check(fiber_sleep(20) == OK);
	check(ended == 2 * WAITERS);
	box_close(&box);
	while (ended < 3 * WAITERS)
		check(fiber_sleep(1) == OK);
}

Test(index, waits_end_when_the_store_stops)
{
	box_make(&box);
	run_on_workers(2, end_waits);
	box_remove(&box);
}

/* A map that is full in the middle of a transaction grows, and nobody notices. */
static void fill_map(struct worker *w)
{
	static char summary[40000];
	struct delivering d = { .account = 1, .summary = slice_of(summary, sizeof(summary)) };
	struct store_stats before, after;

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	check(store_sync_all(box.st, 1) == OK);
	store_stats(box.st, &before);
	for (unsigned i = 1; i <= 130; i++) {
		d.seed = i;
		d.size = 10;
		check(deliver_one(box.st, &d) == OK);
		check(d.at.uid == i);
	}
	check(store_sync_all(box.st, 1) == OK);
	store_stats(box.st, &after);
	check(after.index_map_bytes > before.index_map_bytes);
	check(count_of(1) == 130);
	box_close(&box);
}

Test(index, a_full_map_grows)
{
	box_make(&box);
	box.options.gather_ms = 1000;
	run_on_workers(1, fill_map);
	box_remove(&box);
}

/* --- Watches --- */

struct watching {
	struct watch watch;
	_Atomic unsigned calls;
	struct watching *removes; /* another one, from inside the call */
};

static struct watching watching[2][4];

static void changed(struct watch *watch)
{
	struct watching *me = container_of(watch, struct watching, watch);

	atomic_fetch_add(&me->calls, 1);
	if (me->removes)
		watch_remove(box.st, &me->removes->watch);
}

static void add_watches(struct worker *w, void *arg)
{
	static const struct {
		uint64_t account;
		uint32_t mailbox;
	} rows[4] = { { 1, MAILBOX_INBOX }, { 1, 0 }, { 1, 2 }, { 2, MAILBOX_INBOX } };

	for (unsigned i = 0; i < 4; i++) {
		struct watching *one = &watching[worker_index(w)][i];

		one->watch = (struct watch){
			.account = rows[i].account, .mailbox = rows[i].mailbox, .changed = changed
		};
		watch_add(box.st, &one->watch);
	}
}

static void remove_watches(struct worker *w, void *arg)
{
	for (unsigned i = 0; i < 4; i++)
		watch_remove(box.st, &watching[worker_index(w)][i].watch);
}

/* Posts of the home to a worker come in order: behind this one, notices sent before have come. */
static void nothing(struct worker *w, void *arg)
{
}

static void settle(void)
{
	post_call(0, nothing, NULL);
	post_call(1, nothing, NULL);
	(void)!fiber_sleep(0);
}

static unsigned calls(unsigned worker, unsigned n)
{
	return atomic_load(&watching[worker][n].calls);
}

static void watch_commits(struct worker *w)
{
	struct delivering d;

	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	check(store_sync_all(box.st, 1) == OK && store_sync_all(box.st, 2) == OK);
	post_call(0, add_watches, NULL);
	post_call(1, add_watches, NULL);
	watching[0][0].removes = &watching[0][1];
	check(deliver(1, 100, 1, &d) == OK);
	check(store_sync(box.st, 1, d.ref.id) == OK);
	settle();
	check(calls(0, 0) >= 1 && calls(1, 0) >= 1 && calls(1, 1) >= 1);
	check(calls(0, 2) + calls(1, 2) + calls(0, 3) + calls(1, 3) == 0);
	unsigned removed = calls(0, 1), kept = calls(1, 1);
	check(deliver(2, 100, 1, &d) == OK);
	check(store_sync(box.st, 1, d.ref.id) == OK);
	settle();
	check(calls(0, 1) == removed);
	check(calls(1, 1) > kept);
	post_call(0, remove_watches, NULL);
	post_call(1, remove_watches, NULL);
	kept = calls(1, 0);
	check(deliver(3, 100, 1, &d) == OK);
	check(store_sync(box.st, 1, d.ref.id) == OK);
	settle();
	check(calls(1, 0) == kept);
	box_close(&box);
}

Test(index, watches_are_told_of_commits)
{
	box_make(&box);
	run_on_workers(2, watch_commits);
	box_remove(&box);
}

enum { CROWD = 700 };

static struct watching crowd[CROWD];
static struct deliver_target targets[CROWD]; /* more than a fiber's stack has room for */

/* More mailboxes in one commit than a notice lists, and enough watches to make the table grow. */
static void watch_a_crowd(struct worker *w)
{
	struct deliver deliver = { .targets = targets, .target_count = CROWD };
	struct store_message msg = { .deliver = &deliver, .head = SLICE("a: b\r\n\r\n") };
	struct blob_ref ref;

	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < CROWD; i++) {
		targets[i] =
			(struct deliver_target){ .account = 1000 + i, .mailbox = MAILBOX_INBOX };
		crowd[i].watch = (struct watch){ .account = 1000 + i, .changed = changed };
		watch_add(box.st, &crowd[i].watch);
	}
	check(store_message_append(box.st, &msg, &ref) == OK);
	store_release(box.st, &ref);
	for (unsigned i = 0; i < CROWD; i++)
		check(store_sync(box.st, 1000 + i, ref.id) == OK);
	post_call(0, nothing, NULL);
	(void)!fiber_sleep(1);
	for (unsigned i = 0; i < CROWD; i++) {
		check(atomic_load(&crowd[i].calls) >= 1);
		watch_remove(box.st, &crowd[i].watch);
	}
	box_close(&box);
}

Test(index, a_commit_of_many_mailboxes_tells_all)
{
	box_make(&box);
	box.options.shards = 1;
	run_on_workers(1, watch_a_crowd);
	box_remove(&box);
}

/* --- Bodies that mailboxes name --- */

struct live {
	struct delivering d;
	uint64_t account;
};

static struct world {
	struct live live[LIVE_MAX];
	unsigned seed;
	uint64_t moved;
} world;

static void expunge_one(struct live *l)
{
	struct runs set = { 0 }, gone = { 0 };
	struct message_expunge args = {
		.account = l->account, .mailbox = MAILBOX_INBOX, .uids = &set, .any = true
	};
	struct message_gone out = { .gone = &gone };

	must(runs_add(&set, l->d.at.uid));
	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	cr_assert_eq(gone.count, 1u);
	runs_done(&set);
	runs_done(&gone);
	*l = (struct live){ 0 };
}

static void step(void)
{
	struct live *l = &world.live[rand() % LIVE_MAX];
	size_t size = (size_t)rand() % 40000;

	if (l->account) {
		expunge_one(l);
		return;
	}
	if (rand() % 12 == 0)
		size = 400000 + (size_t)rand() % 300000; /* begins before its record */
	l->account = 1 + (uint64_t)rand() % ACCOUNTS;
	enum err err = deliver(++world.seed, size, l->account, &l->d);
	cr_assert_eq(err, OK, "message %u: %s", world.seed, err_text(err));
	if (rand() % 100 == 0)
		cr_assert_eq(store_snapshot(box.st), OK);
	if (rand() % 20 == 0)
		cr_assert_eq(mover_round(box.st, true), OK);
	if (rand() % 30 == 0)
		cr_assert_eq(mover_compact(box.st), OK);
}

static void look_at_bodies(void)
{
	for (unsigned i = 0; i < LIVE_MAX; i++) {
		const struct live *l = &world.live[i];

		if (l->account)
			cr_expect(message_is(box.st, l->d.ref.id, l->d.seed, l->d.size),
				"message %u of %zu bytes", l->d.seed, l->d.size);
	}
}

static void say(void *arg, const char *line)
{
	fprintf(stderr, "# %s\n", line);
}

static void fsck(bool rebuild, enum check_result want, struct check_report *out)
{
	struct check_run run = { .options = &box.options, .rebuild = rebuild, .say = say };

	cr_assert_eq(check_store(&run, out), OK);
	cr_expect_eq(out->result, want, "result %d", out->result);
	cr_expect_eq(out->bad_rows + out->bad_counters + out->bad_bodies + out->missing_bodies, 0u);
}

static void run_world(unsigned seed)
{
	memset(&world, 0, sizeof(world));
	srand(seed);
	box_make(&box);
	box.options.journal_max_bytes = 12 << 20;
	box.options.cache_bytes = 0;
	for (unsigned round = 0; round < 3; round++) {
		struct store_stats stats;

		box_open(&box, &keep_nothing, NULL);
		init_accounts();
		look_at_bodies();
		for (unsigned i = 0; i < STEPS / 3; i++)
			step();
		look_at_bodies();
		store_stats(box.st, &stats);
		world.moved += stats.moved_bodies;
		box_close(&box);
	}
	cr_expect(world.moved > 5, "moved %llu", (unsigned long long)world.moved);
}

Test(index, bodies_of_mailboxes_outlive_the_journal)
{
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct check_report report;

		run_world(seed);
		fsck(false, CHECK_CLEAN, &report);
		box_open(&box, &keep_nothing, NULL);
		struct out before = index_rows(box.st);
		box_close(&box);
		fsck(true, CHECK_REPAIRED, &report);
		box_open(&box, &keep_nothing, NULL);
		struct out after = index_rows(box.st);
		cr_expect(slice_eq(out_written(&before), out_written(&after)), "%zu, %zu bytes",
			before.len, after.len);
		look_at_bodies();
		out_heap_done(&before);
		out_heap_done(&after);
		box_remove(&box);
	}
}

/* Without index, snapshots and what was logged, archived bodies still say whose they are. */
Test(index, archived_bodies_come_back_to_their_mailbox)
{
	struct check_report report;
	char command[1024];
	uint32_t have[ACCOUNTS + 1] = { 0 };

	run_world(9);
	snprintf(command, sizeof(command), "cd %s && rm -rf snapshot* index/* history/[0-9]*",
		box.dir.path);
	cr_assert_eq(system(command), 0);
	fsck(true, CHECK_REPAIRED, &report);
	cr_expect(report.restored_messages > 0);
	box_open(&box, &keep_nothing, NULL);
	for (unsigned i = 0; i < LIVE_MAX; i++)
		if (world.live[i].account)
			have[world.live[i].account]++;
	look_at_bodies();
	for (uint64_t n = 1; n <= ACCOUNTS; n++)
		cr_expect(count_of(n) >= have[n]);
	box_remove(&box);
}

static uint32_t validity_of(uint64_t account, uint32_t *out_next)
{
	struct arena a = { 0 };
	struct mailbox m;

	cr_assert_eq(mailbox_find(box.st, account, SLICE("INBOX"), &a, &m), OK);
	arena_done(&a);
	*out_next = m.uid_next;
	return m.uid_validity;
}

static void shell(const char *line)
{
	char command[1024];

	snprintf(command, sizeof(command), "cd %s && %s", box.dir.path, line);
	cr_assert_eq(system(command), 0);
}

/* The snapshot is older than what is known of the time behind it: uids that were given then are given
 * again, so they must not pass for the same. */
Test(index, uids_behind_a_gap_are_of_another_validity)
{
	struct check_report report;
	uint32_t was[ACCOUNTS + 1], next[ACCOUNTS + 1], again = 0;

	memset(&world, 0, sizeof(world));
	srand(11);
	box_make(&box);
	box.options.journal_max_bytes = 12 << 20;
	box.options.cache_bytes = 0;
	box_open(&box, &keep_nothing, NULL);
	init_accounts();
	cr_assert_eq(store_snapshot(box.st), OK);
	shell("mkdir old && cp -a snapshot* old");
	for (unsigned i = 0; i < 2 * STEPS; i++)
		step();
	cr_assert_eq(store_snapshot(box.st), OK);
	for (uint64_t n = 1; n <= ACCOUNTS; n++)
		was[n] = validity_of(n, &next[n]);
	box_close(&box);
	shell("rm -rf index/* snapshot* && mv old/* . && rmdir old");
	shell("touch rebuilding");
	struct store_open args = { .options = &box.options };
	cr_assert_eq(store_open(&args, &box.st), ERR_CORRUPT);
	fsck(true, CHECK_REPAIRED, &report);
	cr_expect(report.gap_records_to > report.gap_records_from);
	cr_expect(report.restored_messages > 0u);
	cr_expect_eq(report.renewed_accounts, (uint64_t)ACCOUNTS);
	box_open(&box, &keep_nothing, NULL);
	for (uint64_t n = 1; n <= ACCOUNTS; n++) {
		uint32_t now_next, now = validity_of(n, &now_next);

		cr_expect(now > was[n]);
		again += now_next < next[n];
	}
	cr_expect(again > 0, "no uid would be given again: the test shows nothing");
	look_at_bodies();
	box_remove(&box);
}
