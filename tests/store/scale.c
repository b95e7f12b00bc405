/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the queue's store scales: `./dev scale [N]` parks N recipients over 10,000 domains, starts
 * again, reads what is due everywhere, and drains all of it. Each step is a process of its own, so
 * the anonymous memory it prints (RssAnon, sampled every 20 ms) is that of the step alone: mapped
 * pages of the index are the kernel's to take back and do not count. No test: it has no opinion. */
#include "core/fiber.h"
#include "core/timer.h"
#include "core/worker.h"
#include "store/schedule.h"
#include "store/store_int.h"
#include "tests/support/tmpdir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DOMAINS = 10000, RCPTS = 20, FIBERS = 256, BODY = 600, META = 400, PAGE = 500 };

static struct tmpdir dir;
static struct store *st;
static uint64_t goal;           /* recipients */
static uint64_t next_at, ended; /* messages begun, or domains; recipients done */
static unsigned running;
static uint64_t peak_kb;
static struct fiber_wait all_ended;
static void (*step)(struct worker *w);

/* --- Measuring --- */

static uint64_t anonymous_kb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	uint64_t kb = 0;
	char line[200];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %" SCNu64, &kb) == 1)
			break;
	if (f)
		fclose(f);
	peak_kb = MAX(peak_kb, kb);
	return kb;
}

static void sample(struct timer *t)
{
	anonymous_kb();
	timer_arm_in(worker_self(), t, 20);
}

static struct timer sampler = { .fire = sample };

static void row(const char *what, msec took, uint64_t count)
{
	uint64_t kb = anonymous_kb();

	printf("| %-34s | %8.1f | %9.0f | %8.1f | %8.1f |\n", what, (double)took / 1000,
		took ? (double)count * 1000 / (double)took : 0, (double)kb / 1024,
		(double)peak_kb / 1024);
	fflush(stdout);
}

static void disk(const char *what)
{
	char command[600];

	printf("%s, MB: ", what);
	fflush(stdout);
	snprintf(command, sizeof(command),
		"cd %s && du -sm journal index archive history | "
		"awk '{ printf \"%%s %%s  \", $2, $1 } END { print \"\" }'",
		dir.path);
	(void)!system(command);
}

/* --- Many fibers until there is nothing more to do --- */

static void fiber_end(void)
{
	if (--running == 0)
		fiber_wake(&all_ended, OK);
}

static void run_fibers(struct worker *w, void (*fn)(void *arg))
{
	next_at = ended = 0;
	all_ended = (struct fiber_wait){ 0 };
	for (unsigned i = 0; i < FIBERS; i++) {
		running++;
		must(fiber_start(w, fn, NULL) == OK);
	}
	must(fiber_wait_through(&all_ended) == OK);
}

/* Operations under way together, and who waits for them. */
struct batch {
	struct slot {
		struct schedule_op so;
		struct batch *batch;
	} slots[PAGE];
	unsigned used, left;
	struct fiber_wait wait;
};

static void op_done(struct journal_op *op, enum err err)
{
	struct slot *slot = container_of(op, struct slot, so.op);

	must(!err);
	schedule_op_free(&slot->so);
	if (--slot->batch->left == 0)
		fiber_wake(&slot->batch->wait, OK);
}

static struct schedule_op *take_slot(struct batch *b)
{
	struct slot *slot = &b->slots[b->used++];

	*slot = (struct slot){ .batch = b };
	slot->so.op.done = op_done;
	b->left++;
	return &slot->so;
}

static void wait_batch(struct batch *b)
{
	if (b->left)
		must(fiber_wait_through(&b->wait) == OK);
	b->used = 0;
	b->wait = (struct fiber_wait){ 0 };
}

static slice domain_name(char buf[40], uint64_t number)
{
	snprintf(buf, 40, "d%" PRIu64 ".scale.example", number % DOMAINS);
	return slice_str(buf);
}

/* --- Parking --- */

static void append(uint64_t number, struct blob_ref *out)
{
	static char body[BODY], meta[META];
	struct blob_writer b = { 0 };
	struct store_message msg = { .meta = slice_of(meta, META), .body = &b, .at = clock_wall() };
	enum err err;

	do {
		while (!store_accepting(st, NULL))
			must(fiber_sleep(5) == OK);
		blob_begin(&b, st);
		must(blob_write_wait(&b, slice_of(body, BODY)) == OK);
		err = store_message_append(st, &msg, out);
	} while (err == ERR_NOSPACE || err == ERR_BUSY);
	must(!err);
}

static void park_message(uint64_t number, struct batch *b)
{
	static const char tail[] = "bounce@news.scale.example recipient@d0000.scale.example";
	char name[40];
	struct blob_ref ref;

	append(number, &ref);
	for (uint32_t n = 0; n < RCPTS; n++) {
		struct schedule_entry e = { .ref = ref,
			.n = n,
			.attempts = 1,
			.lane = 1,
			.state = SCHEDULE_DEFERRED,
			.domain = domain_name(name, number * 7919 + n * 104729),
			.due = clock_wall(),
			.first_seen = clock_wall(),
			.expires = clock_wall() + 432000000,
			.reply = SLICE("451 4.7.1 Greylisted, please try again later"),
			.tail = slice_str(tail) };

		must(schedule_park_submit(st, take_slot(b), &e) == OK);
	}
	wait_batch(b);
	store_release(st, &ref);
	ended += RCPTS;
}

static void parking(void *arg)
{
	struct batch *b = calloc(1, sizeof(*b));

	must(b);
	while (next_at < goal / RCPTS)
		park_message(next_at++, b);
	free(b);
	fiber_end();
}

static void park_all(struct worker *w)
{
	msec began = clock_now();

	run_fibers(w, parking);
	journal_pos end = journal_durable(st->journal);
	index_advance(st->index, end, true);
	must(index_wait(st->index, end - 1, 0) == OK);
	row("park, until all is in the index", clock_now() - began, ended);
}

/* --- What is due --- */

static enum err read_due(uint64_t domain, struct arena *a, struct schedule_page *out)
{
	char name[40];
	struct schedule_due query = { .domain = domain_name(name, domain * 7919),
		.lane = 1,
		.until = INT64_MAX,
		.limit = PAGE };

	return schedule_read_due(st, &query, a, out);
}

static void reading(void *arg)
{
	while (next_at < DOMAINS) {
		struct arena a = { 0 };
		struct schedule_page page;

		must(read_due(next_at++, &a, &page) == OK);
		ended += page.len;
		arena_done(&a);
	}
	fiber_end();
}

static void read_all(struct worker *w)
{
	struct schedule_totals totals;
	msec began = clock_now();

	must(schedule_totals(st, &totals) == OK);
	must(totals.waiting == goal && totals.domains == DOMAINS);
	run_fibers(w, reading);
	row("first due page of every domain", clock_now() - began, ended);
}

/* --- Draining --- */

static size_t drain_page(uint64_t domain, struct batch *b)
{
	struct arena a = { 0 };
	struct schedule_page page;

	must(read_due(domain, &a, &page) == OK);
	for (size_t i = 0; i < page.len; i++) {
		struct schedule_done end = { .id = page.entries[i].ref.id,
			.n = page.entries[i].n,
			.indexed = true,
			.domain = page.entries[i].domain };

		must(schedule_done_submit(st, take_slot(b), &end) == OK);
	}
	wait_batch(b);
	/* A page shows what is committed. */
	if (page.len)
		must(index_wait(st->index, b->slots[page.len - 1].so.op.pos, 0) == OK);
	arena_done(&a);
	return page.len;
}

static void draining(void *arg)
{
	struct batch *b = calloc(1, sizeof(*b));

	must(b);
	while (next_at < DOMAINS) {
		uint64_t domain = next_at++;
		size_t n;

		do {
			n = drain_page(domain, b);
			ended += n;
		} while (n);
	}
	free(b);
	fiber_end();
}

static void drain_all(struct worker *w)
{
	struct schedule_totals totals;
	msec began = clock_now();

	run_fibers(w, draining);
	row("drain", clock_now() - began, goal);
	must(schedule_totals(st, &totals) == OK);
	must(totals.waiting == 0 && totals.domains == 0);
}

/* --- Steps --- */

static bool keep_not(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	return false;
}

static enum err start(struct worker *w, void *arg)
{
	static const struct store_replay_ops ops = { .message = keep_not };
	struct store_options options = store_options_default();
	struct store_open args = { .options = &options, .ops = &ops };
	msec began = clock_now();

	options.path = dir.path;
	options.journal_max_bytes = INT64_C(512) << 20;
	options.snapshot_interval_ms = 0; /* for the disk's sake */
	options.shards = 2;
	timer_arm_in(w, &sampler, 1);
	enum err err = store_open(&args, &st);
	if (err)
		return err;
	row("open", clock_now() - began, 0);
	step(w);
	began = clock_now();
	timer_disarm(&sampler);
	store_close(st);
	row("close", clock_now() - began, 0);
	workers_stop();
	return OK;
}

static void run_step(const char *what, void (*fn)(struct worker *w))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct workers_config config = { .count = 1, .job_threads = 4, .start = start };
		char why[256] = "";

		step = fn;
		must(workers_start(&config, why, sizeof(why)) == OK);
		workers_join();
		exit(0);
	}
	must(child > 0 && waitpid(child, &status, 0) == child);
	if (status) {
		tmpdir_remove(&dir);
		fprintf(stderr, "scale: the step '%s' failed\n", what);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	goal = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	goal = MAX(goal / DOMAINS, UINT64_C(1)) * DOMAINS;
	tmpdir_make(&dir);
	printf("%" PRIu64 " recipients of %" PRIu64 " messages, %d domains\n\n", goal, goal / RCPTS,
		DOMAINS);
	printf("| step | seconds | recipients/s | anonymous MB | its peak "
	       "|\n|---|---|---|---|---|\n");
	fflush(stdout);
	run_step("park", park_all);
	run_step("read", read_all);
	run_step("drain", drain_all);
	disk("\nDisk behind");
	tmpdir_remove(&dir);
	return 0;
}
