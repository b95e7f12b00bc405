/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_int.h - the memory that unfinished bodies share, for blob.c. Nobody else includes it.
 *
 * A desk knows the open writers of one worker by size, and what goes with them, so the largest is
 * found at once. All desks share one budget. When it is used up, the desk that has the largest of all
 * makes room: another worker's is asked by post, and who waits for room is told by post when there is
 * some. So nobody waits for another one's client, only for the disk. All calls are made by the desk's
 * own worker unless said otherwise. */
#ifndef STORE_BLOB_INT_H
#define STORE_BLOB_INT_H

#include "core/post.h"
#include "store/store_int.h"

enum { DESK_CLASSES = 16, DESK_IN_FLIGHT_MAX = 2 };

/* A piece of a body in the journal, or on the way there. */
struct blob_chunk {
	struct journal_op op;
	struct list_link link;
	struct list blocks;
	slice *parts;
	struct blob_writer *writer; /* NULL: it was dropped */
	struct store *store;
	uint32_t len;
	bool done;
};

struct desk {
	struct store *store;
	struct list bodies[DESK_CLASSES];
	struct list asides[DESK_CLASSES]; /* that can be given up */
	struct list paused;
	struct timer timer; /* a visit by itself */
	struct fiber_mutex again;
	struct list streamed; /* with chunks in the journal, in the order of their oldest */
	struct timer look;    /* while there are some */
	bool moving;          /* a fiber does */
	enum err move_err;    /* of that one */
	struct post post;     /* a visit that somebody asked for */
	_Atomic bool asked;   /* the post is on its way */
	_Atomic bool waiting; /* some of `paused` for memory */
	/* Its worker writes them, all read them: classes with something to take in them, and bytes. */
	_Atomic uint32_t filled;
	_Atomic uint64_t ram;
};

struct blobs {
	_Atomic uint64_t ram, spilled;
	_Atomic uint64_t leaving;           /* of `ram`: on the way to the disk */
	_Atomic unsigned waiting;           /* desks */
	_Atomic bool visits;                /* there were some */
	struct desk desks[WORKERS_MAX + 1]; /* the last: of all threads that are no workers */
};

void desk_init(struct desk *d, struct store *st);
/* Which desk is the caller's. */
uint16_t desk_here(void);
struct desk *desk_of(const struct blob_writer *b);

/* The body has so many bytes more in memory, or fewer. */
void desk_count(struct blob_writer *b, int64_t bytes);
/* It is not to be taken, nor woken, until it is counted again. */
void desk_remove(struct blob_writer *b);
/* All of a body's memory is on its way to the disk now, and has come there. The latter wakes who waits. */
void desk_leaves(struct blob_writer *b);
void desk_left(struct desk *d, size_t bytes);

bool desk_over_budget(const struct store *st);
/* Until what is on its way to the disk will make room enough, or another desk was asked. */
void desk_make_room(struct desk *d);
/* It need not wait. What is below 4 KB never waits for memory: who has that little is nobody's burden,
 * and what is taken from a body leaves less. So all go on, whatever others hold. */
bool desk_may_go_on(const struct blob_writer *b);
/* It waits until it may, and is woken then. */
void desk_pause(struct blob_writer *b);
/* A write of this body ended: it may go on now, perhaps. */
void desk_look_at(struct blob_writer *b);
/* Memory was given back; whoever waits for it is woken soon. */
void desk_tell(struct desk *d);

/* --- blob_move.c: chunks that stand where the journal wants to free --- */
void desk_init_moves(struct desk *d);
/* It has a chunk in the journal. */
void desk_streams(struct blob_writer *b);
/* b->low, after chunks of it may have been moved. */
void desk_find_low(struct blob_writer *b);

/* --- blob.c --- */
/* The writer was dropped before the chunk came to its end. */
void blob_chunk_dropped(struct blob_chunk *c, enum err err);
/* It gives back all that it can. */
void blob_fail(struct blob_writer *b, enum err err);
/* One is in flight no more. */
void blob_chunk_ended(struct blob_writer *b);
/* All that it has in memory goes to the disk; if that cannot be, the body has failed, and is gone. */
void blob_take(struct blob_writer *b);
void blob_wake(struct blob_writer *b);

#endif
