/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arena.h - memory that ends together.
 *
 * An arena hands out zeroed memory and takes all of it back at once: at the end of a connection, a
 * transaction or a verb. Its owner is whoever embeds it. Limits stand at the door (line length,
 * header bytes, recipients), so the worst case of an arena is known and running out of memory is
 * not an error path: it ends the program. Not for message bodies, which are streamed. */
#ifndef CORE_BASE_ARENA_H
#define CORE_BASE_ARENA_H

#include "core/base/slice.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunk; /* newest first */
	size_t chunk_bytes;        /* 0: ARENA_CHUNK */
	size_t used_bytes;         /* handed out, for limits and metrics */
};

enum { ARENA_CHUNK = 4096 - 64 };

struct arena_mark {
	struct arena_chunk *chunk;
	size_t used, used_bytes;
};

/* A zeroed struct arena is ready too; this one chooses the chunk size. Takes no memory yet. */
void arena_init(struct arena *a, size_t chunk_bytes);
/* Gives everything back; the arena is empty and usable again. */
void arena_done(struct arena *a);
/* The same, but keeps one chunk for what comes next. */
void arena_reset(struct arena *a);

/* Zeroed, aligned for anything. Never NULL. */
void *arena_alloc(struct arena *a, size_t bytes) must_use;
#define arena_new(a, type) ((type *)arena_alloc(a, sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_calloc(a, n, sizeof(type)))
void *arena_calloc(struct arena *a, size_t n, size_t bytes) must_use;

/* A copy that lives as long as the arena. arena_str adds the NUL a system call wants. */
slice arena_dup(struct arena *a, slice s) must_use;
char *arena_str(struct arena *a, slice s) must_use;
slice arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3) must_use;

/* Roll back to a mark: everything handed out since is gone. */
struct arena_mark arena_mark(const struct arena *a);
void arena_rollback(struct arena *a, struct arena_mark mark);

#endif
