/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the shards, deciding when to apply and when to commit what they were fed.
 *
 * All of this runs on the journal's home worker, so nothing here is locked; only the transaction
 * itself runs elsewhere (index_apply.c). What somebody will ask the outcome of is applied at once, the
 * rest in larger helpings; a commit comes when somebody waits for one, or enough has gathered. Without
 * a worker the same code runs inline, and only when somebody waits or enough has gathered. */
#include "store/index_int.h"

#include "core/worker.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, MAX_READERS = 1024, MAP_MIN = 4 * 1024 * 1024 };
enum { COMMIT_SHARE = 4, GATHER_MAX_MS = 250 };

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
	sh->apply.shard = sh;
	sh->fresh_end = &sh->fresh;
	list_init(&sh->waiters);
	list_init(&sh->askers);
	enum err err = open_env(sh, args);
	if (!err)
		err = shard_load(sh, args->create, out_shards);
	if (!err && ix->home && !ix->read_only)
		err = job_queue_start(&sh->queue);
	return err;
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

/* On the writer's thread: the transaction is bound to it. */
static void undo_job(void *arg)
{
	shard_undo(arg);
}

static void close_shard(struct index *ix, struct shard *sh)
{
	while (ix->home && sh->busy)
		(void)!fiber_sleep(1);
	timer_disarm(&sh->timer);
	if (sh->apply.txn)
		job_run_in(&sh->queue, undo_job, sh);
	job_queue_stop(&sh->queue);
	if (sh->env)
		mdb_env_close(sh->env);
	free_feed(sh->first);
	free_feed(sh->kept);
	outcomes_done(&sh->known);
	absent_done(&sh->absent);
}

void index_close(struct index *ix)
{
	if (!ix)
		return;
	if (ix->home)
		index_end_waits_here(ix);
	for (unsigned i = 0; i < INDEX_SHARDS_MAX; i++)
		close_shard(ix, &ix->shards[i]);
	free(ix);
}

void index_abandon(struct index *ix)
{
	for (unsigned i = 0; i < ix->count; i++) {
		shard_undo(&ix->shards[i]);
		absent_done(&ix->shards[i].absent);
		mdb_env_close(ix->shards[i].env);
	}
}

void index_on_commit(struct index *ix, void (*fn)(void *arg, const struct index_commit *commit),
	void *arg)
{
	ix->committed_arg = arg;
	ix->committed = fn;
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

/* --- Applying and committing --- */

/* Hand the feed over to the writer. */
static void take_work(struct shard *sh, bool commit)
{
	if (sh->kept_last)
		sh->kept_last->next = sh->first;
	else
		sh->kept = sh->first;
	if (!sh->todo)
		sh->todo = sh->first;
	if (sh->last)
		sh->kept_last = sh->last;
	sh->first = sh->last = NULL;
	sh->loose_bytes += sh->fed_bytes;
	sh->fed_bytes = 0;
	sh->work_to = sh->fed_to;
	sh->work_commit = commit;
	sh->work_asked = sh->eager || !list_empty(&sh->askers);
	sh->eager = false;
	sh->busy = true;
	if (commit)
		sh->commit_wanted = false;
}

void shard_told(struct shard *sh)
{
	outcomes_add(&sh->known, sh->told);
	sh->told = NULL;
	sh->applied = MAX(sh->applied, sh->told_to);
	wake_askers(sh, OK);
}

static void fail_work(struct shard *sh)
{
	sh->failing = true;
	atomic_fetch_add(&sh->ix->errors, 1);
	wake_askers(sh, sh->work_err);
	wake_waiters(sh, sh->work_err);
	if (sh->ix->home)
		timer_arm_in(sh->ix->home, &sh->timer, RETRY_MS);
}

void shard_look_clean(struct shard *sh)
{
	if (sh->first || sh->loose_bytes || sh->fed_to <= shard_clean(sh))
		return;
	atomic_store_explicit(&sh->clean, sh->fed_to, memory_order_release);
	if (!list_empty(&sh->waiters))
		wake_waiters(sh, OK);
}

static void finish_commit(struct shard *sh)
{
	struct index *ix = sh->ix;
	struct apply *ap = &sh->apply;
	struct index_commit commit = {
		.touched = ap->touched.at, .len = ap->touched.len, .all = ap->touched.all
	};

	timer_disarm(&sh->timer);
	if (ix->home)
		sh->commit_ms = worker_now(ix->home) - sh->commit_began;
	atomic_fetch_add(&ix->commits, 1);
	atomic_fetch_add(&ix->records, ap->records);
	atomic_fetch_sub(&ix->lag, sh->loose_bytes);
	sh->loose_bytes = 0;
	atomic_store_explicit(&sh->position, sh->work_to, memory_order_release);
	atomic_store_explicit(&sh->clean, MAX(shard_clean(sh), sh->work_to), memory_order_release);
	if (ap->directory)
		atomic_fetch_add(&ix->generation, 1);
	if (ix->committed && (commit.len || commit.all))
		ix->committed(ix->committed_arg, &commit);
	wake_waiters(sh, OK);
}

static void finish_work(struct shard *sh)
{
	sh->busy = false;
	shard_told(sh);
	if (sh->work_err) {
		fail_work(sh);
		return;
	}
	if (sh->work_commit)
		finish_commit(sh);
	shard_kick(sh);
}

static void run_job(struct job *job)
{
	shard_write(container_of(job, struct shard, job));
}

static void job_done(struct worker *w, struct job *job)
{
	finish_work(container_of(job, struct shard, job));
}

static void work_now(struct shard *sh, bool commit)
{
	take_work(sh, commit);
	sh->failing = false;
	if (!sh->ix->home) {
		run_job(&sh->job);
		finish_work(sh);
		return;
	}
	if (commit)
		sh->commit_began = worker_now(sh->ix->home);
	sh->job = (struct job){ .run = run_job, .done = job_done };
	job_send(&sh->job, &sh->queue);
}

static void gathered(struct timer *t)
{
	struct shard *sh = container_of(t, struct shard, timer);

	sh->commit_wanted = true;
	sh->failing = false;
	shard_kick(sh);
}

static bool wants_commit(struct shard *sh)
{
	if (sh->fed_to <= shard_position(sh)) {
		sh->commit_wanted = false;
		return false;
	}
	return sh->commit_wanted || !list_empty(&sh->waiters) ||
		sh->loose_bytes + sh->fed_bytes >= COMMIT_BYTES;
}

static bool wants_apply(const struct shard *sh)
{
	return sh->first && (sh->eager || !list_empty(&sh->askers) || sh->fed_bytes >= APPLY_BYTES);
}

/* Where a commit takes long because much is changed here and there, it pays to change more of it at once. */
static msec gather_ms(const struct shard *sh)
{
	msec least = sh->ix->gather_ms;

	return MAX(least, MIN(sh->commit_ms * COMMIT_SHARE, (msec)GATHER_MAX_MS));
}

void shard_kick(struct shard *sh)
{
	struct index *ix = sh->ix;

	/* After a failure the timer decides, or every record would try the full disk again. */
	if (sh->busy || (sh->failing && ix->home))
		return;
	bool commit = wants_commit(sh);
	if (commit || wants_apply(sh))
		work_now(sh, commit);
	else if (ix->home && (sh->first || sh->loose_bytes) && !timer_armed(&sh->timer))
		timer_arm_in(ix->home, &sh->timer, gather_ms(sh));
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

journal_pos index_farthest(const struct index *ix)
{
	journal_pos most = 0;

	for (unsigned i = 0; ix && i < ix->count; i++)
		most = MAX(most, shard_position(&ix->shards[i]));
	return most;
}

uint64_t index_lag(const struct index *ix)
{
	return atomic_load_explicit(&ix->lag, memory_order_relaxed);
}

uint64_t index_generation(const struct index *ix)
{
	return atomic_load_explicit(&ix->generation, memory_order_acquire);
}

void index_stats(const struct index *ix, struct index_stats *out)
{
	struct index_stats s = { .commits = atomic_load(&ix->commits),
		.records = atomic_load(&ix->records),
		.errors = atomic_load(&ix->errors),
		.lag_bytes = index_lag(ix) };

	for (unsigned i = 0; i < ix->count; i++) {
		s.map_bytes += atomic_load(&ix->shards[i].map_bytes);
		s.used_bytes += atomic_load(&ix->shards[i].used_bytes);
	}
	*out = s;
}
