/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading ahead for a long scan whose pages are not in memory.
 *
 * A mailbox that was filled beside many others lies scattered over the index, and one thread that
 * walks it waits for the disk once a page. Here several walk parts of it at once, so the disk has
 * several reads to do. Whether it is worth the trouble the kernel says: a part whose first rows cost no
 * read from the disk ends there, so a warm mailbox costs some microseconds. */
#include "store/message.h"

#include "core/base/runs.h"
#include "store/store_int.h"

#include <sys/resource.h>

enum { PARTS = 3, BLOCK = 32, WARM_MAX = 20000 };

struct warming {
	struct store *st;
	const struct message_scan *scan;
	struct fiber_wait wait;
	unsigned left;
};

struct part {
	struct job job;
	struct warming *all;
	uint32_t number;
};

static long disk_reads(void)
{
	struct rusage use;

	return getrusage(RUSAGE_THREAD, &use) ? 0 : use.ru_majflt;
}

/* The row is read when its bytes are; a summary may end on another page. */
static bool touch(void *arg, const struct message_row *row)
{
	volatile char *sink = arg;

	if (row->summary.len)
		*sink = row->summary.ptr[row->summary.len - 1];
	return true;
}

/* Those of some ranks. */
static bool take_ranks(struct runs *to, const struct runs *from, uint32_t rank)
{
	uint32_t at = runs_nth(from, rank), last = runs_nth(from, rank + BLOCK - 1);
	struct runs_walk walk = { .set = from, .from = at };
	struct run run;

	last = last ? last : runs_last(from);
	while (at && runs_walk_next(&walk, &run) && run.first <= last)
		if (!runs_add_range(to, run.first, MIN(run.last, last)))
			return false;
	return true;
}

/* False: nothing had to be read, or it cannot be. */
static bool warm_block(const struct warming *all, uint32_t rank)
{
	struct runs some = { 0 };
	char sink = 0;
	long before = disk_reads();
	struct message_scan scan = { .account = all->scan->account,
		.mailbox = all->scan->mailbox,
		.uids = &some,
		.want = all->scan->want,
		.each = touch,
		.arg = &sink };
	bool good =
		take_ranks(&some, all->scan->uids, rank) && message_scan_here(all->st, &scan) == OK;

	runs_done(&some);
	return good && disk_reads() != before;
}

static void run(struct job *job)
{
	struct part *p = container_of(job, struct part, job);
	const struct message_scan *scan = p->all->scan;
	uint32_t rank = scan->from > 1 ? runs_rank(scan->uids, scan->from - 1) : 0;
	uint32_t end = MIN(scan->uids->count, rank + WARM_MAX);

	for (rank += 1 + p->number * BLOCK; rank <= end; rank += PARTS * BLOCK)
		if (!warm_block(p->all, rank))
			break;
}

static void done(struct worker *w, struct job *job)
{
	struct warming *all = container_of(job, struct part, job)->all;

	if (--all->left == 0)
		fiber_wake(&all->wait, OK);
}

void message_warm(struct store *st, const struct message_scan *scan)
{
	struct warming all = { .st = st, .scan = scan, .left = PARTS };
	struct part parts[PARTS];

	if (!worker_self() || !scan->uids)
		return;
	for (uint32_t i = 0; i < PARTS; i++) {
		parts[i] = (struct part){
			.job = { .run = run, .done = done }, .all = &all, .number = i
		};
		job_send(&parts[i].job, NULL);
	}
	(void)!fiber_wait_through(&all.wait);
}
