/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches: a table of lists on each worker, by account and mailbox, and notices that bring what a commit changed
 * to the workers that have any.
 *
 * Counts are read after the commit can be read, and written before their owner reads: who did not
 * see the change in what he read is told of it. A notice that finds no memory becomes "look at
 * everything", which needs none. */
#include "store/watch.h"

#include "core/base/map.h"
#include "core/worker.h"
#include "store/store_int.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 16 };

/* The watches of one worker; all but the atomics are his. */
struct desk {
	struct list *buckets; /* `first`, or more of them on the heap */
	size_t bucket_count, count;
	bool calling; /* no bucket may move */
	struct list first[FIRST_BUCKETS];
	struct post everything;
	_Atomic bool everything_sent;
	_Alignas(64) _Atomic size_t watched; /* as many as `count` */
	bool told;                           /* the home's: something was sent there */
};

struct watches {
	unsigned count;
	struct desk desks[];
};

struct notice {
	struct post post;
	struct desk *desk;
	size_t len;
	struct index_touched at[];
};

/* --- Life --- */

enum err watches_new(struct store *st)
{
	unsigned count = workers_count();
	struct watches *ws = aligned_alloc(64, sizeof(*ws) + count * sizeof(struct desk));

	if (!ws)
		return ERR_NOMEM;
	memset(ws, 0, sizeof(*ws) + count * sizeof(struct desk));
	ws->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct desk *d = &ws->desks[i];

		d->buckets = d->first;
		d->bucket_count = FIRST_BUCKETS;
		for (size_t k = 0; k < FIRST_BUCKETS; k++)
			list_init(&d->first[k]);
	}
	st->watches = ws;
	return OK;
}

static void nothing(struct worker *w, void *arg)
{
}

/* Notices on their way name desks; behind them nothing else comes. */
void watches_free(struct store *st)
{
	struct watches *ws = st->watches;

	for (unsigned i = 0; ws && i < ws->count; i++) {
		struct desk *d = &ws->desks[i];

		if (d->told)
			post_call(i, nothing, NULL);
		if (d->buckets != d->first)
			free(d->buckets);
	}
	free(ws);
	st->watches = NULL;
}

/* --- Adding and removing --- */

static struct list *bucket_of(const struct desk *d, uint64_t account, uint32_t mailbox)
{
	return &d->buckets[map_hash_u64(map_hash_u64(account) + mailbox) & (d->bucket_count - 1)];
}

/* Without memory the lists only get longer. */
static void grow(struct desk *d)
{
	size_t count = d->bucket_count * 4;
	struct list *old = d->buckets, *more = calloc(count, sizeof(*more));
	size_t old_count = d->bucket_count;

	if (!more)
		return;
	for (size_t i = 0; i < count; i++)
		list_init(&more[i]);
	d->buckets = more;
	d->bucket_count = count;
	for (size_t i = 0; i < old_count; i++)
		for (struct list_link *link; (link = list_pop(&old[i]));) {
			const struct watch *watch = container_of(link, struct watch, link);

			list_push(bucket_of(d, watch->account, watch->mailbox), link);
		}
	if (old != d->first)
		free(old);
}

static struct desk *desk_here(struct store *st)
{
	struct worker *w = worker_self();

	must(w && worker_index(w) < st->watches->count);
	return &st->watches->desks[worker_index(w)];
}

void watch_add(struct store *st, struct watch *watch)
{
	struct desk *d = desk_here(st);

	must(watch->changed && !list_has(&watch->link));
	d->count++;
	if (d->count > 2 * d->bucket_count && !d->calling)
		grow(d);
	/* In front, so that who goes through the list does not meet what is added meanwhile. */
	list_push_front(bucket_of(d, watch->account, watch->mailbox), &watch->link);
	atomic_fetch_add(&d->watched, 1);
}

void watch_remove(struct store *st, struct watch *watch)
{
	struct desk *d = desk_here(st);

	if (!list_has(&watch->link))
		return;
	list_remove(&watch->link);
	d->count--;
	atomic_fetch_sub(&d->watched, 1);
}

/* --- Telling --- */

static bool concerns(const struct watch *watch, const struct index_touched *t)
{
	if (!watch->changed)
		return false; /* the mark of who goes through the list */
	return !t || (watch->account == t->account && watch->mailbox == t->mailbox);
}

/* Those called may change the list: a mark keeps our place in it. */
static void call_bucket(struct list *bucket, const struct index_touched *t)
{
	struct watch mark = { .mailbox = 0 };

	for (struct list_link *link = bucket->head.next; link != &bucket->head;) {
		struct watch *watch = container_of(link, struct watch, link);

		if (!concerns(watch, t)) {
			link = link->next;
			continue;
		}
		list_insert_after(link, &mark.link);
		watch->changed(watch);
		link = mark.link.next;
		list_remove(&mark.link);
	}
}

/* Who watches the mailbox, and who watches the account. */
static void call_touched(struct desk *d, struct index_touched t)
{
	call_bucket(bucket_of(d, t.account, t.mailbox), &t);
	if (!t.mailbox)
		return;
	t.mailbox = 0;
	call_bucket(bucket_of(d, t.account, 0), &t);
}

static void notice_here(struct worker *w, struct post *post)
{
	struct notice *n = container_of(post, struct notice, post);
	struct desk *d = n->desk;

	d->calling = true;
	for (size_t i = 0; i < n->len && d->count; i++)
		call_touched(d, n->at[i]);
	d->calling = false;
	free(n);
}

static void everything_here(struct worker *w, struct post *post)
{
	struct desk *d = container_of(post, struct desk, everything);

	/* First: what changes from now on sends it again. */
	atomic_store(&d->everything_sent, false);
	d->calling = true;
	for (size_t i = 0; i < d->bucket_count && d->count; i++)
		call_bucket(&d->buckets[i], NULL);
	d->calling = false;
}

static void tell_desk(struct desk *d, unsigned worker, const struct index_commit *commit)
{
	size_t bytes = commit->len * sizeof(commit->touched[0]);
	struct notice *n = commit->all ? NULL : malloc(sizeof(*n) + bytes);

	d->told = true;
	if (n) {
		*n = (struct notice){ .post.run = notice_here, .desk = d, .len = commit->len };
		memcpy(n->at, commit->touched, bytes);
		post_to(worker, &n->post);
	} else if (!atomic_exchange(&d->everything_sent, true)) {
		d->everything.run = everything_here;
		post_to(worker, &d->everything);
	}
}

void watches_tell(void *arg, const struct index_commit *commit)
{
	struct store *st = arg;
	struct watches *ws = st->watches;

	for (unsigned i = 0; i < ws->count; i++)
		if (atomic_load(&ws->desks[i].watched))
			tell_desk(&ws->desks[i], i, commit);
}
