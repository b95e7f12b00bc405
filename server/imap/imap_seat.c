/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_seat.c - how many sessions an account has, over all workers.
 *
 * One worker, which follows from the account, keeps the count; others ask it by post. What is given
 * back travels in memory taken at the login, so that leaving cannot fail. Here too: what the sessions
 * of a worker share. */
#include "server/imap/imap_int.h"

#include <stdlib.h>

#include "core/post.h"
#include "core/worker.h"

/* On the counting worker: an account with sessions. */
struct count {
	struct map_link link;
	uint64_t account;
	uint32_t sessions;
};

struct imap_seat {
	struct post post;
	uint64_t account;
};

static unsigned slot;
static bool slot_taken;

void imap_init(void)
{
	if (!slot_taken)
		slot = worker_slot_new();
	slot_taken = true;
}

enum err imap_worker_start(struct worker *w)
{
	struct imap_station *st = calloc(1, sizeof(*st));

	*worker_slot(w, slot) = st;
	return st ? OK : ERR_NOMEM;
}

static void free_count(struct map_link *link, void *arg)
{
	struct count *count = container_of(link, struct count, link);

	map_remove(arg, link);
	free(count);
}

void imap_worker_stop(struct worker *w)
{
	struct imap_station *st = imap_station_of(w);

	if (!st)
		return;
	while (st->spares)
		arena_done(&st->spare[--st->spares]);
	map_walk(&st->seats, free_count, &st->seats);
	map_done(&st->seats);
	map_done(&st->views);
	free(st);
	*worker_slot(w, slot) = NULL;
}

struct imap_station *imap_station_of(struct worker *w)
{
	return *worker_slot(w, slot);
}

static unsigned owner_of(uint64_t account)
{
	return (unsigned)(map_hash_u64(account) % MAX(workers_count(), 1u));
}

static struct count *find(struct map *seats, uint64_t account)
{
	struct map_link *link = map_find(seats, map_hash_u64(account));

	for (; link; link = map_find_next(seats, link)) {
		struct count *count = container_of(link, struct count, link);

		if (count->account == account)
			return count;
	}
	return NULL;
}

struct ask {
	uint64_t account, max;
	bool taken;
};

static void take_here(struct worker *w, void *arg)
{
	struct imap_station *st = imap_station_of(w);
	struct ask *ask = arg;
	struct count *count = st ? find(&st->seats, ask->account) : NULL;

	if (!count && st) {
		count = calloc(1, sizeof(*count));
		if (count && !map_insert(&st->seats, &count->link, map_hash_u64(ask->account))) {
			free(count);
			count = NULL;
		}
	}
	if (!count)
		return;
	count->account = ask->account;
	ask->taken = !ask->max || count->sessions < ask->max;
	count->sessions += ask->taken;
}

bool imap_seat_take(struct imap_session *s, uint64_t account)
{
	struct ask ask = { .account = account, .max = (uint64_t)s->head.setup->imap->sessions_max };

	s->seat = calloc(1, sizeof(*s->seat));
	if (!s->seat)
		return false;
	s->seat->account = account;
	post_call(owner_of(account), take_here, &ask);
	if (!ask.taken) {
		free(s->seat);
		s->seat = NULL;
	}
	return ask.taken;
}

static void leave_here(struct worker *w, struct post *post)
{
	struct imap_seat *seat = container_of(post, struct imap_seat, post);
	struct imap_station *st = imap_station_of(w);
	struct count *count = st ? find(&st->seats, seat->account) : NULL;

	if (count && --count->sessions == 0) {
		map_remove(&st->seats, &count->link);
		free(count);
	}
	free(seat);
}

void imap_seat_leave(struct imap_session *s)
{
	struct imap_seat *seat = s->seat;

	s->seat = NULL;
	if (!seat)
		return;
	seat->post.run = leave_here;
	post_to(owner_of(seat->account), &seat->post);
}
