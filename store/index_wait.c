/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who waits for what was applied or committed: fibers of any worker, in lists of the home's.
 *
 * A waiter stands on the stack of its fiber; it travels to the home by post, stands in the list of
 * one shard at a time, and travels back when it is over. Without a worker the work is done here. */
#include "store/index_int.h"

#include "core/worker.h"

#include <stdlib.h>

enum { SMALL = 160 };

struct waiter {
	struct post post;
	struct list_link link;
	struct fiber_wait wait;
	struct index *ix;
	journal_pos pos;
	uint32_t mask; /* shards still to come */
	unsigned worker;
	bool clean;   /* the shard's records before it are enough */
	bool outcome; /* what it came to, of one shard */
	enum err err;
	size_t len; /* of the outcome, in `small` or `large` */
	char *large;
	char small[SMALL];
};

static void tell_there(struct worker *w, struct post *post)
{
	struct waiter *waiter = container_of(post, struct waiter, post);

	fiber_wake(&waiter->wait, waiter->err);
}

static void tell(struct waiter *w, enum err err)
{
	w->err = err;
	if (!w->ix->home)
		return;
	w->post.run = tell_there;
	if (w->worker == w->ix->home_index)
		tell_there(w->ix->home, &w->post);
	else
		post_to(w->worker, &w->post);
}

/* --- Commits --- */

static bool there(const struct waiter *w, const struct shard *sh)
{
	return w->pos < (w->clean ? shard_clean(sh) : shard_position(sh));
}

static void wait_on(struct waiter *w)
{
	struct index *ix = w->ix;

	for (unsigned i = 0; i < ix->count; i++) {
		struct shard *sh = &ix->shards[i];

		if (!(w->mask & 1u << i))
			continue;
		if (there(w, sh)) {
			w->mask &= ~(1u << i);
			continue;
		}
		list_push(&sh->waiters, &w->link);
		shard_kick(sh);
		return;
	}
	tell(w, OK);
}

static void take_waiters(struct shard *sh, enum err err, struct list *out)
{
	list_init(out);
	list_each(&sh->waiters, link)
	{
		struct waiter *w = container_of(link, struct waiter, link);

		if (err || there(w, sh)) {
			list_remove(link);
			list_push(out, link);
		}
	}
}

void wake_waiters(struct shard *sh, enum err err)
{
	struct list woken;

	take_waiters(sh, err, &woken);
	for (struct list_link *link; (link = list_pop(&woken));) {
		struct waiter *w = container_of(link, struct waiter, link);

		if (err)
			tell(w, err);
		else
			wait_on(w); /* perhaps for the next shard */
	}
}

/* --- Outcomes --- */

static void answer(struct waiter *w, struct shard *sh)
{
	struct outcome *o = outcomes_find(&sh->known, w->pos);

	if (!o) {
		tell(w, w->pos <= sh->known.lost ? ERR_TIMEOUT : OK);
		return;
	}
	char *to = w->small;
	if (o->len > SMALL)
		to = w->large = malloc(o->len);
	if (!to) {
		tell(w, ERR_NOMEM);
		return;
	}
	w->len = o->len;
	memcpy(to, o->bytes, o->len);
	outcomes_take(&sh->known, o);
	tell(w, o->err);
}

static void ask_on(struct waiter *w)
{
	struct shard *sh = &w->ix->shards[__builtin_ctz(w->mask)];

	if (w->pos < sh->applied) {
		answer(w, sh);
		return;
	}
	list_push(&sh->askers, &w->link);
	shard_kick(sh);
}

void wake_askers(struct shard *sh, enum err err)
{
	list_each(&sh->askers, link)
	{
		struct waiter *w = container_of(link, struct waiter, link);

		if (w->pos < sh->applied) {
			list_remove(link);
			answer(w, sh);
		} else if (err) {
			list_remove(link);
			tell(w, err);
		}
	}
}

/* --- Those who would wait for ever --- */

void index_end_waits_here(struct index *ix)
{
	for (unsigned i = 0; i < ix->count; i++) {
		struct shard *sh = &ix->shards[i];

		if (!sh->env)
			continue; /* it never came to be */
		wake_waiters(sh, ERR_STOPPED);
		wake_askers(sh, ERR_STOPPED);
	}
}

static void end_there(struct worker *w, void *arg)
{
	(void)w;
	index_end_waits_here(arg);
}

void index_end_waits(struct index *ix)
{
	if (ix->home)
		post_call(ix->home_index, end_there, ix);
}

/* --- The calling side --- */

static void wait_there(struct worker *worker, struct post *post)
{
	struct waiter *w = container_of(post, struct waiter, post);

	if (w->outcome)
		ask_on(w);
	else
		wait_on(w);
}

static enum err wait_for(struct waiter *w)
{
	struct index *ix = w->ix;

	if (!ix->home) {
		w->err = ERR_INVALID; /* a position nobody fed */
		wait_there(NULL, &w->post);
		list_remove(&w->link);
		return w->err == ERR_INVALID && index_behind(ix) ? ERR_NOMEM : w->err;
	}
	struct worker *here = worker_self();
	must(here);
	w->worker = worker_index(here);
	if (w->worker == ix->home_index) {
		wait_there(here, &w->post);
	} else {
		w->post.run = wait_there;
		post_to(ix->home_index, &w->post);
	}
	return fiber_wait_through(&w->wait);
}

enum err index_wait(struct index *ix, journal_pos pos, uint32_t mask)
{
	struct waiter w = { .ix = ix, .pos = pos, .mask = mask ? mask : (1u << ix->count) - 1 };
	bool all = true;

	for (unsigned i = 0; all && i < ix->count; i++)
		all = !(w.mask & 1u << i) || there(&w, &ix->shards[i]);
	return all ? OK : wait_for(&w);
}

bool index_synced(const struct index *ix, journal_pos pos, unsigned shard)
{
	return pos < shard_clean(&ix->shards[shard]);
}

enum err index_sync(struct index *ix, journal_pos pos, unsigned shard)
{
	struct waiter w = { .ix = ix, .pos = pos, .mask = 1u << shard, .clean = true };

	return there(&w, &ix->shards[shard]) ? OK : wait_for(&w);
}

enum err index_outcome(struct index *ix, const struct index_ask *ask, struct arena *a, slice *out)
{
	struct waiter w = { .ix = ix, .pos = ask->pos, .mask = 1u << ask->shard, .outcome = true };
	enum err err = wait_for(&w);

	if (out) {
		slice bytes = slice_of(w.large ? w.large : w.small, w.len);

		*out = w.len ? arena_dup(a, bytes) : (slice){ "", 0 };
	}
	free(w.large);
	return err;
}

enum err index_result(struct index *ix, journal_pos pos, unsigned shard)
{
	struct index_ask ask = { .pos = pos, .shard = shard };
	enum err err = index_outcome(ix, &ask, NULL, NULL);
	enum err seen = index_sync(ix, pos, shard);

	return seen ? seen : err;
}
