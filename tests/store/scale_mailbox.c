/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What mailboxes cost the store alone: `./dev scale-mailbox [N]` fills one mailbox with N (1,000,000) small
 * messages and asks of it what sessions do, before and right after a restart. `./dev scale-mailbox many [N [M]]`
 * takes N (20,000) messages in from 256 fibers, delivers as many to 1,000 accounts, then fills one mailbox with N
 * beside M (99) others and reads it. CPU is that of the process, all threads; memory is RssAnon, as mapped pages
 * of the index are the kernel's to take back. No test: it has no opinion. */
#include "core/base/runs.h"
#include "core/base/map.h"
#include "core/fiber.h"
#include "core/worker.h"
#include "store/message_int.h"
#include "store/store_int.h"
#include "tests/support/tmpdir.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { FIBERS = 256, BODY = 4096, SUMMARY = 1000, ACCOUNTS = 1000 };

static struct tmpdir dir;
static struct store *st;
static uint64_t goal, next_at, messages, beside = 99;
static size_t body_len = BODY;
static unsigned running;
static struct fiber_wait all_ended;
static bool large;
static char body[BODY], summary[SUMMARY];

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static double cpu(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return seconds(&use.ru_utime) + seconds(&use.ru_stime);
}

static double wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct span {
	double cpu, wall;
};

static struct span begin(void)
{
	return (struct span){ .cpu = cpu(), .wall = wall() };
}

static double anonymous_mb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	double kb = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %lf", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb / 1024;
}

static void head(void)
{
	printf("| %-54s | %9s | %9s | %11s | %9s |\n| --- | --- | --- | --- | --- |\n", "step",
		"ms", "us each", "us CPU each", "memory MB");
}

static void row(const char *what, struct span from, uint64_t count)
{
	double took = wall() - from.wall, used = cpu() - from.cpu;

	printf("| %-54s | %9.2f | %9.2f | %11.2f | %9.1f |\n", what, took * 1e3,
		took * 1e6 / (double)count, used * 1e6 / (double)count, anonymous_mb());
	fflush(stdout);
}

/* --- Delivering --- */

/* Who gets message `n`; account 0: nobody. */
static uint64_t (*account_of)(uint64_t n);

static uint64_t spread(uint64_t n)
{
	return 1 + n * 7919 % ACCOUNTS;
}

static uint64_t nobody(uint64_t n)
{
	return 0;
}

static uint64_t one_of_hundred(uint64_t n)
{
	return 5000 + n % (beside + 1);
}

static void deliver(uint64_t n)
{
	uint64_t key = map_hash_u64(++messages);
	struct deliver_target t = { .account = account_of(n),
		.splice = SLICE("Return-Path: <list@example.test>\r\n"
				"Delivered-To: somebody@a.test\r\n"),
		.uidl = { "", 0 },
		.keywords = { "", 0 },
		.received = 1700000000000 };
	struct deliver d = { .summary = slice_of(summary, SUMMARY),
		.thread_keys = &key,
		.thread_key_count = 1,
		.targets = &t,
		.target_count = 1 };
	struct blob_writer b = { 0 };
	struct store_message msg = { .meta = { "", 0 },
		.head = { "", 0 },
		.body = &b,
		.deliver = t.account ? &d : NULL,
		.at = 1700000000000 };
	struct blob_ref ref;
	enum err err;

	do {
		while (!store_accepting(st, NULL))
			must(fiber_sleep(5) == OK);
		blob_begin(&b, st);
		must(blob_write_wait(&b, slice_of(body, body_len)) == OK);
		err = store_message_append(st, &msg, &ref);
	} while (err == ERR_NOSPACE || err == ERR_BUSY);
	must(!err);
	store_release(st, &ref);
}

static void delivering(void *arg)
{
	while (next_at < goal)
		deliver(next_at++);
	if (--running == 0)
		fiber_wake(&all_ended, OK);
}

static void run(const char *what, uint64_t (*who)(uint64_t n))
{
	struct span from = begin();

	account_of = who;
	next_at = 0;
	all_ended = (struct fiber_wait){ 0 };
	for (unsigned i = 0; i < FIBERS; i++) {
		running++;
		must(fiber_start(worker_self(), delivering, NULL) == OK);
	}
	must(fiber_wait_through(&all_ended) == OK);
	journal_pos end = journal_durable(st->journal);
	index_advance(st->index, end, true);
	must(index_wait(st->index, end - 1, 0) == OK);
	row(what, from, goal);
}

/* --- Reading --- */

static bool count(void *arg, const struct message_row *m)
{
	uint64_t *sum = arg;

	sum[0]++;
	sum[1] += m->m.flags + m->summary.len;
	return true;
}

static void scan(const char *what, unsigned want, uint64_t account)
{
	for (unsigned i = 0; i < 3; i++) {
		uint64_t sum[2] = { 0 };
		struct message_scan s = { .account = account,
			.mailbox = MAILBOX_INBOX,
			.want = want,
			.each = count,
			.arg = sum };
		struct span from = begin();

		must(message_scan_here(st, &s) == OK);
		row(what, from, sum[0]);
	}
}

/* As if the machine had just started: what the kernel keeps of the index is given up. */
static void forget_pages(void)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/index/00/data.mdb", dir.path);
	int fd = open(path, O_RDONLY);
	must(fd >= 0 && fdatasync(fd) == 0);
	must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	close(fd);
}

static void open_store(void)
{
	static const struct store_replay_ops ops = { .message = NULL };
	struct store_options options = store_options_default();
	struct store_open args = { .options = &options, .ops = &ops };

	options.path = dir.path;
	options.snapshot_interval_ms = 0;
	options.shards = 1;
	must(store_open(&args, &st) == OK);
}

static void scan(const char *what, unsigned want, uint64_t account);

static void warm(const char *what, uint64_t account)
{
	struct runs uids = { 0 };
	struct arena a = { 0 };
	struct mailbox_opened opened;
	struct message_scan s = { .account = account,
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.want = MESSAGE_WANT_SUMMARY };

	must(mailbox_open(st, account, MAILBOX_INBOX, &a, &opened, &uids) == OK);
	struct span from = begin();
	message_warm(st, &s);
	row(what, from, uids.count);
	runs_done(&uids);
	arena_done(&a);
}

static void cold(void)
{
	store_close(st);
	forget_pages();
	open_store();
	warm("cold: read ahead", 5003);
	warm("warm: read ahead", 5003);
	scan("behind it", MESSAGE_WANT_SUMMARY, 5003);
	scan("cold, then warm: flags and summaries", MESSAGE_WANT_SUMMARY, 5002);
}

static void open_box(uint64_t account)
{
	struct runs uids = { 0 };
	struct arena a = { 0 };
	struct mailbox_opened opened;
	struct span from = begin();

	must(mailbox_open(st, account, MAILBOX_INBOX, &a, &opened, &uids) == OK);
	row("open", from, 1);
	runs_done(&uids);
	arena_done(&a);
}

static void change_one(uint64_t account)
{
	struct runs one = { 0 }, changed = { 0 }, gone = { 0 };
	struct message_store args = { .account = account,
		.mailbox = MAILBOX_INBOX,
		.uids = &one,
		.mode = MESSAGE_REPLACE,
		.flags = MESSAGE_SEEN };
	struct message_changes ch = {
		.account = account, .mailbox = MAILBOX_INBOX, .changed = &changed, .gone = &gone
	};
	modseq pos;

	must(runs_add(&one, 77));
	struct span from = begin();
	must(message_store(st, &args, &pos) == OK);
	row("store one flag, outcome", from, 1);
	must(store_sync(st, account, pos) == OK);
	row("the same, until it can be read", from, 1);
	ch.since = pos - 1;
	from = begin();
	must(message_changes(st, &ch) == OK);
	row("changes since: one", from, 1);
	must(changed.count == 1 && !gone.count);
	runs_done(&one);
	runs_done(&changed);
}

static void change_all(uint64_t account, uint64_t count)
{
	struct runs all = { 0 }, gone = { 0 };
	struct message_store args = { .account = account,
		.mailbox = MAILBOX_INBOX,
		.uids = &all,
		.mode = MESSAGE_ADD,
		.flags = MESSAGE_FLAGGED };
	struct message_expunge ex = {
		.account = account, .mailbox = MAILBOX_INBOX, .uids = &all, .any = true
	};
	struct message_gone out = { .gone = &gone };
	struct span from = begin();

	must(runs_add_range(&all, 1, (uint32_t)count));
	must(message_store(st, &args, NULL) == OK);
	row("store a flag of all", from, count);
	from = begin();
	must(message_expunge(st, &ex, &out) == OK);
	row("expunge of 1024", from, gone.count);
	runs_done(&all);
	runs_done(&gone);
}

/* --- One large mailbox --- */

enum { BIG = 6000, WINDOW = 20000 };

static uint64_t big_one(uint64_t n)
{
	return BIG;
}

/* The last of them by themselves. */
static void grow_to(uint64_t size, uint64_t *have)
{
	uint64_t last = MIN((size - *have) / 2, (uint64_t)WINDOW);
	char what[64];

	goal = size - last - *have;
	snprintf(what, sizeof(what), "fill, up to %" PRIu64, size - last);
	run(what, big_one);
	goal = last;
	snprintf(what, sizeof(what), "deliver %" PRIu64 ", up to %" PRIu64, last, size);
	run(what, big_one);
	*have = size;
}

static void changes(const char *what, modseq since)
{
	struct runs changed = { 0 }, gone = { 0 };
	struct message_changes ch = { .account = BIG,
		.mailbox = MAILBOX_INBOX,
		.since = since,
		.changed = &changed,
		.gone = &gone };
	char label[96];
	struct span from = begin();

	must(message_changes(st, &ch) == OK);
	snprintf(label, sizeof(label), "changes since %s, by the %s: %u, %u gone", what,
		ch.exact ? "log" : "rows", changed.count, gone.count);
	row(label, from, 1);
	runs_done(&changed);
	runs_done(&gone);
}

static void expunge_few(uint64_t size)
{
	struct runs few = { 0 }, gone = { 0 };
	struct message_store mark = { .account = BIG,
		.mailbox = MAILBOX_INBOX,
		.uids = &few,
		.mode = MESSAGE_ADD,
		.flags = MESSAGE_DELETED };
	struct message_expunge ex = { .account = BIG, .mailbox = MAILBOX_INBOX };
	struct message_gone out = { .gone = &gone };

	for (uint64_t i = 1; i <= 5; i++)
		must(runs_add(&few, (uint32_t)(i * size / 6)));
	must(message_store(st, &mark, NULL) == OK);
	struct span from = begin();
	must(message_expunge(st, &ex, &out) == OK && gone.count == few.count);
	row("expunge 5 marked ones", from, 1);
	runs_done(&few);
	runs_done(&gone);
}

static modseq flag_one(void)
{
	struct runs one = { 0 };
	struct message_store args = { .account = BIG,
		.mailbox = MAILBOX_INBOX,
		.uids = &one,
		.mode = MESSAGE_REPLACE,
		.flags = MESSAGE_SEEN };
	modseq pos;

	must(runs_add(&one, 77));
	must(message_store(st, &args, &pos) == OK);
	must(store_sync(st, BIG, pos) == OK);
	runs_done(&one);
	return pos;
}

/* `before` lies before five were expunged. */
static void ask_all(modseq pos, modseq before)
{
	open_box(BIG);
	changes("the last", pos - 1);
	changes("the expunge", before - 1);
	changes("the first", 1);
}

static void big(uint64_t size)
{
	uint64_t have = 0;

	body_len = 256;
	for (uint64_t at = 10000; at < size; at *= 10)
		grow_to(at, &have);
	grow_to(size, &have);
	modseq before = flag_one();
	expunge_few(have);
	modseq pos = flag_one();
	ask_all(pos, before);
	for (unsigned cold = 0; cold < 2; cold++) {
		struct span from = begin();

		store_close(st);
		if (cold)
			forget_pages();
		row("close", from, 1);
		from = begin();
		open_store();
		row(cold ? "start, pages of the index dropped" : "start", from, 1);
		ask_all(pos, before);
	}
	scan("scan flags", 0, BIG);
}

static enum err start(struct worker *w, void *arg)
{
	uint64_t one;

	open_store();
	head();
	if (large) {
		big(goal);
		store_close(st);
		workers_stop();
		return OK;
	}
	run("append alone", nobody);
	run("deliver to 1,000 accounts", spread);
	run("the same again", spread);
	goal *= beside + 1;
	goal = MIN(goal, UINT64_C(1000000));
	one = goal / (beside + 1);
	run("deliver to a few accounts", one_of_hundred);
	open_box(5000);
	scan("scan flags", 0, 5000);
	scan("scan flags and summaries", MESSAGE_WANT_SUMMARY, 5001);
	change_one(5000);
	change_all(5000, one);
	cold();
	store_close(st);
	workers_stop();
	return OK;
}

int main(int argc, char **argv)
{
	struct workers_config config = { .count = 1, .job_threads = 4, .start = start };
	char why[256] = "";

	large = argc < 2 || strcmp(argv[1], "many") != 0;
	argv += !large;
	argc -= !large;
	goal = argc > 1 ? strtoull(argv[1], NULL, 10) : large ? 1000000 : 20000;
	beside = argc > 2 ? strtoull(argv[2], NULL, 10) : beside;
	if (!goal) {
		fprintf(stderr, "usage: scale_mailbox [many] [N [M]]\n");
		return 2;
	}
	memset(body, 'b', sizeof(body));
	for (size_t i = 0; i < sizeof(summary); i++)
		summary[i] = (char)(i * 7);
	tmpdir_make(&dir);
	must(workers_start(&config, why, sizeof(why)) == OK);
	workers_join();
	tmpdir_remove(&dir);
	return 0;
}
