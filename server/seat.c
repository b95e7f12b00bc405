/* SPDX-License-Identifier: GPL-2.0-or-later */
/* seat.c - the accounts that have sessions, or had one a moment ago, on the worker that counts them.
 *
 * An account without sessions is kept only until the delay after its last login is over. Those whose
 * logins count stand in a list by time, oldest first; a few of them are looked at with each login, so
 * the table holds no more accounts than logged in within one delay. */
#include "server/seat.h"

#include <stdlib.h>

#include "core/base/map.h"
#include "core/post.h"
#include "core/worker.h"

enum { FORGET_AT_ONCE = 4 };

struct count {
	struct map_link link;
	struct list_link age; /* in `ages` while last_known */
	uint64_t account;
	uint32_t sessions;
	bool last_known;
	msec last;     /* when a seat with a delay was taken */
	msec delay_ms; /* of that one */
};

struct table {
	struct map counts;
	struct list ages;
};

struct seat {
	struct post post;
	uint64_t account;
	msec taken; /* with a delay; else 0 */
	bool undo;
};

static unsigned slot;

void seat_init(void)
{
	worker_slot_take(&slot);
}

static struct table *table_of(struct worker *w)
{
	return *worker_slot(w, slot);
}

enum err seat_worker_start(struct worker *w)
{
	struct table *t = calloc(1, sizeof(*t));

	if (t)
		list_init(&t->ages);
	*worker_slot(w, slot) = t;
	return t ? OK : ERR_NOMEM;
}

static void free_count(struct map_link *link, void *arg)
{
	map_remove(arg, link);
	free(container_of(link, struct count, link));
}

void seat_worker_stop(struct worker *w)
{
	struct table *t = table_of(w);

	if (!t)
		return;
	map_walk(&t->counts, free_count, &t->counts);
	map_done(&t->counts);
	free(t);
	*worker_slot(w, slot) = NULL;
}

static unsigned owner_of(uint64_t account)
{
	return (unsigned)(map_hash_u64(account) % MAX(workers_count(), 1u));
}

/* --- On the worker that counts -------------------------------------------------------------------- */

static struct count *find(struct table *t, uint64_t account)
{
	struct map_link *link = map_find(&t->counts, map_hash_u64(account));

	for (; link; link = map_find_next(&t->counts, link)) {
		struct count *count = container_of(link, struct count, link);

		if (count->account == account)
			return count;
	}
	return NULL;
}

static struct count *find_or_make(struct table *t, uint64_t account)
{
	struct count *count = find(t, account);

	if (count)
		return count;
	count = calloc(1, sizeof(*count));
	if (count && !map_insert(&t->counts, &count->link, map_hash_u64(account))) {
		free(count);
		return NULL;
	}
	if (count)
		count->account = account;
	return count;
}

static void forget_last(struct count *count)
{
	if (count->last_known)
		list_remove(&count->age);
	count->last_known = false;
}

static void drop_if_unused(struct table *t, struct count *count)
{
	if (count->sessions || count->last_known)
		return;
	map_remove(&t->counts, &count->link);
	free(count);
}

static void forget_old(struct table *t, msec now)
{
	for (int i = 0; i < FORGET_AT_ONCE && !list_empty(&t->ages); i++) {
		struct count *count = container_of(list_first(&t->ages), struct count, age);

		if (now - count->last < count->delay_ms)
			return;
		forget_last(count);
		drop_if_unused(t, count);
	}
}

static void remember(struct table *t, struct count *count, msec now, msec delay_ms)
{
	forget_last(count);
	count->last_known = true;
	count->last = now;
	count->delay_ms = delay_ms;
	list_push(&t->ages, &count->age);
}

struct question {
	const struct seat_ask *ask;
	enum fault answer;
	msec now;
};

static void take_here(struct worker *w, void *arg)
{
	struct question *q = arg;
	const struct seat_ask *ask = q->ask;
	struct table *t = table_of(w);
	struct count *count;

	q->now = worker_now(w);
	q->answer = FAULT_BUSY;
	if (!t)
		return;
	forget_old(t, q->now);
	count = find_or_make(t, ask->account);
	if (!count)
		return;
	if (ask->delay_ms && count->last_known && q->now - count->last < ask->delay_ms) {
		q->answer = FAULT_LOGIN_DELAY;
	} else if (ask->max && count->sessions >= ask->max) {
		q->answer = FAULT_SESSIONS;
	} else {
		q->answer = FAULT_NONE;
		count->sessions++;
		if (ask->delay_ms)
			remember(t, count, q->now, ask->delay_ms);
	}
	drop_if_unused(t, count);
}

static void leave_here(struct worker *w, struct post *post)
{
	struct seat *seat = container_of(post, struct seat, post);
	struct table *t = table_of(w);
	struct count *count = t ? find(t, seat->account) : NULL;

	if (count) {
		count->sessions--;
		if (seat->undo && count->last_known && count->last == seat->taken)
			forget_last(count);
		drop_if_unused(t, count);
	}
	free(seat);
}

/* --- On the session's ------------------------------------------------------------------------------- */

enum fault seat_take(const struct seat_ask *ask, struct seat **out)
{
	struct question q = { .ask = ask };
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return FAULT_BUSY;
	post_call(owner_of(ask->account), take_here, &q);
	if (q.answer) {
		free(seat);
		return q.answer;
	}
	seat->account = ask->account;
	seat->taken = ask->delay_ms ? q.now : 0;
	*out = seat;
	return FAULT_NONE;
}

void seat_leave(struct seat *seat)
{
	if (!seat)
		return;
	seat->post.run = leave_here;
	post_to(owner_of(seat->account), &seat->post);
}

void seat_undo(struct seat *seat)
{
	if (seat)
		seat->undo = true;
	seat_leave(seat);
}
