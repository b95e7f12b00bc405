/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the shards, deciding when to commit what they were fed, waking who waits.
 *
 * All of this runs on the journal's home worker, so nothing here is locked; only the transaction
 * itself runs elsewhere (index_apply.c). Without a worker the same code runs inline and commits when
 * somebody waits or enough has gathered. */
#include "store/index_int.h"

#include "core/worker.h"
#include "store/store.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, MAX_READERS = 1024, MAP_MIN = 4 * 1024 * 1024 };

/* Somebody waiting for a position; on its stack. */
struct waiter {
	struct post post;
	struct list_link link;
	struct fiber_wait wait;
	struct index *ix;
	journal_pos pos;
	uint32_t mask; /* shards still to come */
	unsigned worker;
	bool want_outcome;
	enum err err;
};

enum err index_err(int rc)
{
	switch (rc) {
	case 0:
		return OK;
	case MDB_NOTFOUND:
		return ERR_NOT_FOUND;
	case ENOSPC:
	case EDQUOT:
	case MDB_MAP_FULL:
		return ERR_NOSPACE;
	case ENOMEM:
		return ERR_NOMEM;
	case EMFILE:
	case ENFILE:
		return ERR_NOFILES;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_PANIC:
		return ERR_CORRUPT;
	case MDB_READERS_FULL:
		return ERR_BUSY;
	default:
		return ERR_IO;
	}
}

/* --- Opening --- */

static void gathered(struct timer *t);

enum err index_make_dir(const char *path)
{
	char parent[PATH_BYTES];
	const char *end = strrchr(path, '/');

	if (end && end != path) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(end - path), path);
		if (mkdir(parent, 0700) && errno != EEXIST)
			return index_err(errno);
	}
	return mkdir(path, 0700) && errno != EEXIST ? index_err(errno) : OK;
}

static enum err open_env(struct shard *sh, const struct index_open *args)
{
	char path[PATH_BYTES];
	MDB_txn *txn;
	uint64_t map = (uint64_t)MAX(args->options->map_bytes, (int64_t)MAP_MIN);
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (args->options->read_only ? MDB_RDONLY : 0);

	if (snprintf(path, sizeof(path), "%s/%02u", args->path, sh->number) >= PATH_BYTES)
		return ERR_INVALID;
	if (args->create) {
		enum err err = index_make_dir(path);

		if (err)
			return err;
	}
	int rc = mdb_env_create(&sh->env);
	if (!rc)
		rc = mdb_env_set_maxreaders(sh->env, MAX_READERS);
	if (!rc)
		rc = mdb_env_set_mapsize(sh->env, map);
	if (!rc)
		rc = mdb_env_open(sh->env, path, flags, 0600);
	if (!rc)
		rc = mdb_txn_begin(sh->env, NULL, args->options->read_only ? MDB_RDONLY : 0, &txn);
	if (rc)
		return index_err(rc);
	rc = mdb_dbi_open(txn, NULL, 0, &sh->dbi);
	if (rc) {
		mdb_txn_abort(txn);
		return index_err(rc);
	}
	rc = mdb_txn_commit(txn);
	MDB_envinfo info;
	mdb_env_info(sh->env, &info);
	atomic_store(&sh->map_bytes, info.me_mapsize);
	return index_err(rc);
}

static enum err open_shard(struct index *ix, const struct index_open *args, unsigned number,
	unsigned *out_shards)
{
	struct shard *sh = &ix->shards[number];

	sh->ix = ix;
	sh->number = number;
	sh->timer.fire = gathered;
	list_init(&sh->waiters);
	enum err err = open_env(sh, args);
	if (err)
		return err;
	return shard_load(sh, args->create, out_shards);
}

unsigned index_default_shards(const struct store_options *options)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int64_t n = options->shards ? options->shards : cores / 2;

	return (unsigned)MAX((int64_t)1, MIN(n, (int64_t)INDEX_SHARDS_MAX));
}

static enum err open_all(struct index *ix, const struct index_open *args)
{
	enum err err = OK;

	must(args->shards && args->shards <= INDEX_SHARDS_MAX);
	ix->count = args->shards;
	for (unsigned i = 0; !err && i < ix->count; i++) {
		unsigned found = 0;

		err = open_shard(ix, args, i, &found);
		if (!err && found != ix->count)
			err = ERR_CORRUPT;
	}
	return err;
}

enum err index_open(const struct index_open *args, struct index **out)
{
	struct index *ix = calloc(1, sizeof(*ix));

	if (!ix)
		return ERR_NOMEM;
	ix->home = worker_self();
	ix->home_index = ix->home ? worker_index(ix->home) : 0;
	ix->gather_ms = args->options->gather_ms;
	ix->store_id = args->store_id;
	ix->read_only = args->options->read_only;
	enum err err = open_all(ix, args);
	if (err) {
		index_close(ix);
		return err;
	}
	*out = ix;
	return OK;
}

static void free_feed(struct feed *f)
{
	while (f) {
		struct feed *next = f->next;

		free(f);
		f = next;
	}
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	for (unsigned i = 0; i < INDEX_SHARDS_MAX; i++) {
		struct shard *sh = &ix->shards[i];

		while (ix->home && sh->busy)
			(void)!fiber_sleep(1);
		timer_disarm(&sh->timer);
		/* The last job has come home, but its thread may not have let go of the queue. */
		while (atomic_load(&sh->queue.pending) > 0)
			sched_yield();
		if (sh->env)
			mdb_env_close(sh->env);
		free_feed(sh->first);
		free_feed(sh->work);
	}
	free(ix);
}

void index_abandon(struct index *ix)
{
	for (unsigned i = 0; i < ix->count; i++)
		mdb_env_close(ix->shards[i].env);
}

unsigned index_shard_count(const struct index *ix)
{
	return ix->count;
}

/* FNV-1a with a finish: fixed for ever, since it says where rows are. */
unsigned index_shard_of(const struct index *ix, slice name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.ptr[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	return (unsigned)(h % ix->count);
}

/* --- Committing --- */

/* Hand the feed to the job's side. */
static void take_work(struct shard *sh)
{
	if (!sh->work) {
		sh->work = sh->first;
		sh->work_bytes = sh->fed_bytes;
		sh->first = sh->last = NULL;
		sh->fed_bytes = 0;
		sh->work_to = sh->fed_to;
	}
	sh->commit_wanted = false;
	sh->busy = true;
}

static void tell(struct waiter *w, enum err err);

static enum err outcome_of(const struct shard *sh, journal_pos pos)
{
	size_t n = MIN(sh->known.count, (size_t)OUTCOMES);

	for (size_t i = 0; i < n; i++)
		if (sh->known.at[i].pos == pos)
			return sh->known.at[i].err;
	return OK;
}

static void learn(struct shard *sh)
{
	size_t n = MIN(sh->fresh.count, (size_t)OUTCOMES);

	for (size_t i = 0; i < n; i++)
		sh->known.at[sh->known.count++ % OUTCOMES] = sh->fresh.at[i];
	sh->fresh.count = 0;
}

/* A waiter that needs several shards stands in the list of one at a time. */
static void wait_on(struct waiter *w);

static void wake_waiters(struct shard *sh, enum err err)
{
	struct list woken;

	list_init(&woken);
	list_each(&sh->waiters, link)
	{
		struct waiter *w = container_of(link, struct waiter, link);

		if (err || w->pos < shard_position(sh)) {
			list_remove(link);
			list_push(&woken, link);
		}
	}
	for (struct list_link *link; (link = list_pop(&woken));) {
		struct waiter *w = container_of(link, struct waiter, link);

		if (err)
			tell(w, err);
		else
			wait_on(w);
	}
}

void shard_kick(struct shard *sh);

static void finish_work(struct shard *sh)
{
	struct index *ix = sh->ix;

	sh->busy = false;
	if (sh->work_err) {
		sh->fresh.count = 0;
		wake_waiters(sh, sh->work_err);
		if (ix->home)
			timer_arm_in(ix->home, &sh->timer, RETRY_MS);
		return;
	}
	learn(sh);
	atomic_fetch_add(&ix->commits, 1);
	atomic_fetch_add(&ix->records, sh->work_records);
	atomic_fetch_sub(&ix->lag, sh->work_bytes);
	free_feed(sh->work);
	sh->work = NULL;
	atomic_store_explicit(&sh->position, sh->work_to, memory_order_release);
	if (sh->work_directory)
		atomic_fetch_add(&ix->generation, 1);
	wake_waiters(sh, OK);
	shard_kick(sh);
}

static void run_job(struct job *job)
{
	struct shard *sh = container_of(job, struct shard, job);

	sh->work_err = shard_apply(sh);
}

static void job_done(struct worker *w, struct job *job)
{
	finish_work(container_of(job, struct shard, job));
}

static void commit_now(struct shard *sh)
{
	struct index *ix = sh->ix;

	take_work(sh);
	if (!ix->home) {
		run_job(&sh->job);
		finish_work(sh);
		return;
	}
	timer_disarm(&sh->timer);
	sh->job = (struct job){ .run = run_job, .done = job_done };
	job_send(&sh->job, &sh->queue);
}

static void gathered(struct timer *t)
{
	struct shard *sh = container_of(t, struct shard, timer);

	if (!sh->busy && (sh->first || sh->work || sh->commit_wanted))
		commit_now(sh);
}

static bool idle(struct shard *sh)
{
	if (sh->first || sh->work)
		return false;
	if (sh->fed_to <= shard_position(sh))
		sh->commit_wanted = false;
	return !sh->commit_wanted;
}

void shard_kick(struct shard *sh)
{
	struct index *ix = sh->ix;

	if (sh->busy || idle(sh))
		return;
	/* After a failure the timer decides, or every record would try the full disk again. */
	bool failing = sh->work && timer_armed(&sh->timer);
	if (!failing &&
		(sh->commit_wanted || !list_empty(&sh->waiters) || sh->fed_bytes >= COMMIT_BYTES))
		commit_now(sh);
	else if (ix->home && !timer_armed(&sh->timer))
		timer_arm_in(ix->home, &sh->timer, ix->gather_ms);
}

journal_pos index_shard_position(const struct index *ix, unsigned shard)
{
	return shard_position(&ix->shards[shard]);
}

journal_pos index_position(const struct index *ix)
{
	journal_pos least = UINT64_MAX;

	for (unsigned i = 0; i < ix->count; i++)
		least = MIN(least, shard_position(&ix->shards[i]));
	return least;
}

uint64_t index_lag(const struct index *ix)
{
	return atomic_load_explicit(&ix->lag, memory_order_relaxed);
}

uint64_t index_generation(const struct index *ix)
{
	return atomic_load_explicit(&ix->generation, memory_order_acquire);
}

/* --- Waiting --- */

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

static void wait_on(struct waiter *w)
{
	struct index *ix = w->ix;
	struct shard *last = NULL;

	for (unsigned i = 0; i < ix->count; i++) {
		struct shard *sh = &ix->shards[i];

		if (!(w->mask & 1u << i))
			continue;
		last = sh;
		if (w->pos < shard_position(sh)) {
			if (!w->want_outcome)
				w->mask &= ~(1u << i);
			continue;
		}
		list_push(&sh->waiters, &w->link);
		/* What was asked for may lie before the feed's end without a record of this shard. */
		if (sh->fed_to > shard_position(sh))
			sh->commit_wanted = true;
		shard_kick(sh);
		return;
	}
	tell(w, w->want_outcome && last ? outcome_of(last, w->pos) : OK);
}

static void wait_there(struct worker *w, struct post *post)
{
	wait_on(container_of(post, struct waiter, post));
}

static enum err wait_for(struct waiter *w)
{
	struct index *ix = w->ix;

	if (!ix->home) {
		w->err = ERR_INVALID; /* a position nobody fed */
		wait_on(w);
		list_remove(&w->link);
		return w->err == ERR_INVALID && index_behind(ix) ? ERR_NOMEM : w->err;
	}
	struct worker *here = worker_self();
	must(here);
	w->worker = worker_index(here);
	if (w->worker == ix->home_index) {
		wait_on(w);
	} else {
		w->post.run = wait_there;
		post_to(ix->home_index, &w->post);
	}
	return fiber_wait_through(&w->wait);
}

enum err index_wait(struct index *ix, journal_pos pos, uint32_t mask)
{
	struct waiter w = { .ix = ix, .pos = pos, .mask = mask ? mask : (1u << ix->count) - 1 };
	bool there = true;

	for (unsigned i = 0; there && i < ix->count; i++)
		there = !(w.mask & 1u << i) || pos < shard_position(&ix->shards[i]);
	return there ? OK : wait_for(&w);
}

enum err index_result(struct index *ix, journal_pos pos, unsigned shard)
{
	struct waiter w = { .ix = ix, .pos = pos, .mask = 1u << shard, .want_outcome = true };

	return wait_for(&w);
}

void index_stats(const struct index *ix, struct index_stats *out)
{
	struct index_stats s = { .commits = atomic_load(&ix->commits),
		.records = atomic_load(&ix->records),
		.lag_bytes = index_lag(ix) };

	for (unsigned i = 0; i < ix->count; i++)
		s.map_bytes += atomic_load(&ix->shards[i].map_bytes);
	s.used_bytes = atomic_load(&ix->used_bytes);
	*out = s;
}
