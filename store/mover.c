/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mover: frees journal segments, strictly oldest first.
 *
 * A segment may go when nothing in it is held, every shard has committed what was durable when the
 * last hold ended (so each message is either named by a row or finished), its index records that are
 * newer than the last snapshot stand in a history file, and the bodies rows name are in the
 * archive. Segments without live bodies go at once; others only when the journal fills, since mail
 * that is delivered or deleted by then need not be copied. It also paces compaction and snapshots. */
#include "store/store_int.h"

#include "store/history.h"
#include "store/keys_mailbox.h"

#include <sched.h>
#include <stdlib.h>

enum {
	ROUND_MS = 250,
	LIVE_PAGE = 1024,
	COMPACT_MS = 1000,
	LAZY_MS = 30000,
	PURGE_STEPS = 4,
	SNAPSHOT_RETRY_MS = 60000
};

struct mover {
	struct store *store;
	struct job_queue queue;
	struct fiber_gate stopped;
	bool running, stopping;
	msec compact_at, snapshot_at;
	bool history_damaged; /* the index alone knows what stood there: copy it */
	uint32_t lazy;        /* a segment left alone for now, because bodies in it live */
	msec lazy_until;
	/* One round's. */
	uint32_t segment;
	uint64_t *live;
	size_t live_len, live_cap;
	enum err err;
};

enum err mover_new(struct store *st)
{
	st->mover = calloc(1, sizeof(*st->mover));
	if (!st->mover)
		return ERR_NOMEM;
	st->mover->store = st;
	list_init(&st->mover->stopped.waiting);
	char name[SNAPSHOT_NAME];
	wall_ms at = clock_wall();
	/* Without one the history reaches back to the begin: the first may take its time. */
	(void)!snapshot_current(st->path, name, &at);
	atomic_store(&st->last_snapshot, at);
	uint64_t history = 0;
	(void)!history_size(st->path, &history);
	atomic_store(&st->history, history);
	return OK;
}

void mover_free(struct store *st)
{
	if (!st->mover)
		return;
	/* The last job has come home, but its thread may not have let go of the queue. */
	while (atomic_load(&st->mover->queue.pending) > 0)
		sched_yield();
	free(st->mover->live);
	free(st->mover);
	st->mover = NULL;
}

/* --- Which bodies live --- */

static enum err add_live(struct mover *mv, uint64_t id)
{
	if (mv->live_len && mv->live[mv->live_len - 1] == id)
		return OK;
	if (mv->live_len == mv->live_cap) {
		size_t cap = MAX((size_t)LIVE_PAGE, mv->live_cap * 2);
		uint64_t *live = realloc(mv->live, cap * sizeof(*live));

		if (!live)
			return ERR_NOMEM;
		mv->live = live;
		mv->live_cap = cap;
	}
	mv->live[mv->live_len++] = id;
	return OK;
}

/* What names bodies: queue entries and messages in mailboxes, and of both those whose body began
 * before its record. A family's key begins with the position it is found by. */
static const enum keys_kind families[] = { KEYS_ENTRY, KEYS_EARLY, KEYS_REFERENCE,
	KEYS_REFERENCE_EARLY };

struct named {
	uint64_t at, id;
};

static bool parse_name(enum keys_kind kind, slice key, struct named *out)
{
	struct keys_early_row early;
	struct keys_early_blob blob;
	struct keys_place place;
	uint32_t n;

	switch (kind) {
	case KEYS_ENTRY:
		if (!keys_parse_entry(key, &out->id, &n))
			return false;
		out->at = out->id;
		return true;
	case KEYS_EARLY:
		if (!keys_parse_early(key, &early))
			return false;
		*out = (struct named){ early.low, early.id };
		return true;
	case KEYS_REFERENCE:
		if (!keys_parse_reference(key, &out->id, &place))
			return false;
		out->at = out->id;
		return true;
	default:
		if (!keys_parse_reference_early(key, &blob))
			return false;
		*out = (struct named){ blob.low, blob.blob };
		return true;
	}
}

static enum err collect(struct index_txn *txn, struct mover *mv, enum keys_kind kind)
{
	struct index_cursor c = { 0 };
	struct keys_buf from, prefix;
	uint64_t end = ((uint64_t)mv->segment + 1) << 32;
	struct named name;
	enum err failed = OK;

	keys_name(&prefix, kind, SLICE(""));
	keys_number(&from, kind, (uint64_t)mv->segment << 32);
	enum err err = index_seek(txn, &c, keys_slice(&from), keys_slice(&prefix));
	while (!err && !failed) {
		if (!parse_name(kind, c.key, &name))
			failed = ERR_CORRUPT;
		else if (name.at >= end)
			break;
		else
			failed = add_live(mv, name.id);
		if (!failed)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	return failed ? failed : err == ERR_NOT_FOUND ? OK : err;
}

static enum err collect_shard(struct index_txn *txn, void *arg)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < array_len(families); i++)
		err = collect(txn, arg, families[i]);
	return err;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* All messages that need something in the segment, once each. */
static enum err find_live(struct mover *mv)
{
	struct index *ix = mv->store->index;
	enum err err = OK;
	size_t n = 0;

	mv->live_len = 0;
	for (unsigned i = 0; !err && i < index_shard_count(ix); i++)
		err = index_read_here(ix, i, collect_shard, mv);
	if (mv->live_len)
		qsort(mv->live, mv->live_len, sizeof(*mv->live), by_id);
	for (size_t i = 0; i < mv->live_len; i++)
		if (n == 0 || mv->live[n - 1] != mv->live[i])
			mv->live[n++] = mv->live[i];
	mv->live_len = n;
	return err;
}

/* --- Moving --- */

static void move_job(void *arg)
{
	struct mover *mv = arg;

	mv->err = mover_copy(mv->store, mv->live, mv->live_len);
	struct history_kept kept = { 0 };

	if (!mv->err)
		mv->err = history_keep(mv->store, mv->segment, &kept);
	if (!mv->err) {
		atomic_fetch_add(&mv->store->history, kept.bytes);
		mv->history_damaged = mv->history_damaged || kept.damaged;
	}
}

/* --- A round --- */

static void look_job(void *arg)
{
	struct mover *mv = arg;

	mv->err = find_live(mv);
}

static enum err run(struct mover *mv, void (*fn)(void *arg))
{
	job_run_in(&mv->queue, fn, mv);
	return mv->err;
}

static bool crowded(const struct store *st)
{
	struct journal_stats s;

	journal_stats(st->journal, &s);
	return s.crowded;
}

/* Looking again and again at a segment that stays costs commits and reads for nothing. */
static bool left_alone(const struct mover *mv, uint32_t segment)
{
	return mv->store->worker && mv->lazy == segment && !crowded(mv->store) &&
		worker_now(mv->store->worker) < mv->lazy_until;
}

static void leave_alone(struct mover *mv, uint32_t segment)
{
	mv->lazy = segment;
	if (mv->store->worker)
		mv->lazy_until = worker_now(mv->store->worker) + LAZY_MS;
}

enum err mover_round(struct store *st, bool force)
{
	struct mover *mv = st->mover;
	uint32_t oldest;
	enum err err = OK;

	while (!err && !mv->stopping && journal_oldest(st->journal, &oldest)) {
		journal_pos end = journal_durable(st->journal);

		if (!force && left_alone(mv, oldest))
			break;
		mv->segment = oldest;
		index_advance(st->index, end, true);
		err = index_wait(st->index, end - 1, 0);
		if (!err)
			err = run(mv, look_job);
		if (!err && mv->live_len && !force && !crowded(st)) {
			leave_alone(mv, oldest);
			break;
		}
		if (err)
			break;
		err = run(mv, move_job);
		/* Nobody can have begun to need it meanwhile: holds are only copied from holds. */
		if (!err)
			journal_free_oldest(st->journal, oldest);
	}
	return err;
}

/* --- Care --- */

struct alive_look {
	uint64_t id;
	bool found;
};

static enum err look_alive(struct index_txn *txn, void *arg)
{
	static const enum keys_kind kinds[] = { KEYS_ENTRY, KEYS_REFERENCE };
	struct alive_look *look = arg;
	enum err err = ERR_NOT_FOUND;

	for (size_t i = 0; err == ERR_NOT_FOUND && i < array_len(kinds); i++) {
		struct index_cursor c = { 0 };
		struct keys_buf key;

		keys_number(&key, kinds[i], look->id);
		err = index_seek(txn, &c, keys_slice(&key), keys_slice(&key));
		index_cursor_done(&c);
	}
	look->found = look->found || !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

bool store_alive(struct store *st, uint64_t id)
{
	struct alive_look look = { .id = id };

	for (unsigned i = 0; !look.found && i < index_shard_count(st->index); i++)
		if (index_read_here(st->index, i, look_alive, &look))
			return true;
	return look.found;
}

struct owner_look {
	uint64_t id;
	struct keys_place *out;
};

static enum err look_owner(struct index_txn *txn, void *arg)
{
	struct owner_look *look = arg;
	struct index_cursor c = { 0 };
	struct keys_buf key;
	uint64_t id;

	keys_number(&key, KEYS_REFERENCE, look->id);
	enum err err = index_seek(txn, &c, keys_slice(&key), keys_slice(&key));
	if (!err && !keys_parse_reference(c.key, &id, look->out))
		err = ERR_CORRUPT;
	index_cursor_done(&c);
	return err;
}

enum err store_owner(struct store *st, uint64_t id, struct keys_place *out)
{
	struct owner_look look = { .id = id, .out = out };
	enum err err = ERR_NOT_FOUND;

	for (unsigned i = 0; err == ERR_NOT_FOUND && i < index_shard_count(st->index); i++)
		err = index_read_here(st->index, i, look_owner, &look);
	return err;
}

static bool alive(void *arg, uint64_t id)
{
	return store_alive(arg, id);
}

static void compact_job(void *arg)
{
	struct mover *mv = arg;
	struct store *st = mv->store;
	struct archive_care care = { .alive = alive,
		.arg = st,
		.budget = (uint64_t)st->opt.move_bytes_per_s * COMPACT_MS / 1000 };

	mv->err = archive_compact(st->archive, &care);
}

enum err mover_compact(struct store *st)
{
	return run(st->mover, compact_job);
}

/* Copying the index costs as much as it is large, so the history may grow as large. */
static bool history_large(const struct store *st)
{
	struct index_stats s;

	index_stats(st->index, &s);
	return atomic_load(&st->history) > MAX((uint64_t)st->opt.history_max_bytes, s.used_bytes);
}

static bool snapshot_due(const struct mover *mv)
{
	const struct store *st = mv->store;
	int64_t every = st->opt.snapshot_interval_ms;

	if (!every || worker_now(st->worker) < mv->snapshot_at)
		return false;
	return worker_wall(st->worker) - atomic_load(&st->last_snapshot) >= every ||
		mv->history_damaged || history_large(st);
}

static void take_snapshot(struct mover *mv)
{
	if (snapshot_take(mv->store) == OK)
		mv->history_damaged = false;
	else
		mv->snapshot_at = worker_now(mv->store->worker) + SNAPSHOT_RETRY_MS;
}

/* What was dropped goes in helpings: others get their turn, and a large mailbox takes its time. */
static void purge(struct mover *mv)
{
	bool more = true;

	for (unsigned i = 0; more && !mv->stopping && i < PURGE_STEPS; i++)
		if (mailbox_purge_step(mv->store, &more))
			break;
}

static void loop(void *arg)
{
	struct mover *mv = arg;
	struct store *st = mv->store;

	while (!mv->stopping) {
		(void)!fiber_sleep(ROUND_MS);
		if (mv->stopping)
			break;
		/* Failures are tried again; the journal refuses mail when it fills meanwhile. */
		(void)!mover_round(st, false);
		purge(mv);
		if (!mv->stopping && worker_now(st->worker) >= mv->compact_at) {
			mv->compact_at = worker_now(st->worker) + COMPACT_MS;
			(void)!mover_compact(st);
		}
		if (!mv->stopping && snapshot_due(mv))
			take_snapshot(mv);
	}
	mv->running = false;
	fiber_gate_wake_all(&mv->stopped, OK);
}

void mover_start(struct store *st)
{
	struct mover *mv = st->mover;

	if (!st->worker || st->opt.read_only || !st->queue_owner)
		return;
	mv->running = true;
	if (fiber_start(st->worker, loop, mv))
		mv->running = false;
}

void mover_stop(struct store *st)
{
	struct mover *mv = st->mover;

	mv->stopping = true;
	while (mv->running)
		(void)!fiber_gate_wait(&mv->stopped, FIBER_FOREVER);
}
