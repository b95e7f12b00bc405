/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store_int.h - the store as its own files see it. Nobody else includes it. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include "core/fiber.h"
#include "core/job.h"
#include "core/timer.h"
#include "core/worker.h"
#include "store/archive.h"
#include "store/index.h"
#include "store/journal.h"
#include "store/segment.h"
#include "store/store.h"

#include <stdatomic.h>

struct accounts;
struct blobs;
struct history;
struct mover;
struct rooms;
struct watches;

enum { STORE_PATH = 1024, STORE_LAG_MAX = 64 * 1024 * 1024, STORE_NAMES_SLOTS = 64 };

struct store {
	struct store_options opt;
	struct segment_home home;
	char path[STORE_PATH];
	struct worker *worker; /* the home; NULL: no worker */
	uint64_t id;
	unsigned shards;
	int lock_fd;
	struct journal *journal;
	struct index *index;
	struct archive *archive;
	struct blobs *blobs;       /* open writers and their budget */
	struct accounts *accounts; /* caches of the directory */
	struct mover *mover;
	struct watches *watches;
	struct rooms *rooms;
	const struct store_replay_ops *ops; /* while opening */
	void *ops_arg;
	bool queue_owner; /* somebody releases what replay found */
	_Atomic bool stopping;
	_Atomic int64_t last_snapshot;
	atomic_bool snapshotting;
	_Atomic uint64_t history; /* bytes since then */
	/* By account: the last change of names of mailboxes that somebody was told of. */
	_Atomic journal_pos names_at[STORE_NAMES_SLOTS];
	_Atomic uint64_t damaged; /* bodies found damaged when they were to be moved */
	unsigned unreadable;      /* tries in vain to read one of them; the mover's */
};

/* --- layout.c: the folder --- */
bool store_path(const struct store *st, char out[STORE_PATH], const char *name);
/* Folders, lock and identity. *out_new: nothing was there. */
enum err layout_open(struct store *st, bool *out_new);
/* From when an index is put aside until all that a rebuild does is done, also over crashes: nobody else
 * may open what is there meanwhile. */
enum err layout_rebuilding(struct store *st, bool on);
bool layout_is_rebuilding(const struct store *st);
/* A new store is whole now. */
enum err layout_settle(struct store *st);
void layout_close(struct store *st);

/* --- blob.c --- */
enum err blobs_new(struct store *st);
void blobs_free(struct store *st);
/* blob_move.c: (fiber, if there are workers) no body comes any more; nothing goes on behind this. */
void blobs_stop(struct store *st);
/* No more spill or write: waits (fiber) until no chunk of it is in flight. */
enum err blob_settle(struct blob_writer *b);
/* After the append: gives blocks, chunks and holds back; `kept`: but the hold on b->low, which is
 * the message's now. */
void blob_end(struct blob_writer *b, bool kept);
/* Everything still in RAM goes to the journal; waits. */
enum err blob_spill_all(struct blob_writer *b);
/* Of a worker's bodies one is read again at a time. */
enum err blob_lock_again(struct blob_writer *b) must_use;
void blob_unlock_again(struct blob_writer *b);
uint64_t blobs_ram(const struct store *st);
uint64_t blobs_spilled(const struct store *st);
/* Spans of what is still in RAM; `out` has room for blob_part_count. */
size_t blob_part_count(const struct blob_writer *b);
void blob_parts(const struct blob_writer *b, slice *out);
/* The table of chunks as the record has it. */
void blob_put_chunks(const struct blob_writer *b, struct out *o);

/* blob_read.c: what stands before the body, in the arena; of a reader just opened. */
struct blob_front {
	slice deliver, meta;
};
enum err blob_front(struct blob_reader *r, struct arena *a, struct blob_front *out) must_use;

/* --- account.c --- */
enum err accounts_new(struct store *st);
void accounts_free(struct store *st);

/* --- watch.c --- */
enum err watches_new(struct store *st);
/* On a fiber, if there are workers. */
void watches_free(struct store *st);
/* What a commit changed, to whoever watches it: index_on_commit's, `arg` is the store. */
void watches_tell(void *arg, const struct index_commit *commit);

/* --- room.c --- */
enum err rooms_new(struct store *st);
/* On a fiber, if there are workers. */
void rooms_free(struct store *st);

/* --- mover.c --- */
enum err mover_new(struct store *st);
void mover_start(struct store *st);
void mover_stop(struct store *st);
void mover_free(struct store *st);
/* One round now, on a fiber or without a worker: frees what can be freed, moves what must. */
enum err mover_round(struct store *st, bool force);

/* mover_copy.c: these messages, whole or as far as they can be read. The mover's queue. */
enum err mover_copy(struct store *st, const uint64_t *ids, size_t len) must_use;

/* Index rows name this message; true in doubt. Blocks a little. */
bool store_alive(struct store *st, uint64_t id);
/* One of the mailboxes it is in. ERR_NOT_FOUND. */
struct keys_place;
enum err store_owner(struct store *st, uint64_t id, struct keys_place *out) must_use;
/* The archive's care, one helping. */
enum err mover_compact(struct store *st);

/* --- snapshot.c --- */
enum { SNAPSHOT_NAME = 32 };
enum err snapshot_take(struct store *st);
/* The name of the folder with the last whole snapshot, and when it was made. ERR_NOT_FOUND. */
enum err snapshot_current(const char *data, char name[SNAPSHOT_NAME], wall_ms *out_at);

#endif
