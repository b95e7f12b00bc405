/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chunks are a linked list, newest first; a big request gets a chunk of its own. Memory is cleared
 * when handed out, not when taken back, so a reset is free. */
#include "core/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGN = _Alignof(max_align_t) };

struct arena_chunk {
	struct arena_chunk *older;
	size_t cap, used;
	_Alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t chunk_bytes)
{
	*a = (struct arena){ .chunk_bytes = chunk_bytes };
}

static void free_newer(struct arena *a, const struct arena_chunk *keep)
{
	while (a->chunk && a->chunk != keep) {
		struct arena_chunk *older = a->chunk->older;

		free(a->chunk);
		a->chunk = older;
	}
}

void arena_done(struct arena *a)
{
	free_newer(a, NULL);
	a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *oldest = a->chunk;

	while (oldest && oldest->older)
		oldest = oldest->older;
	if (oldest && oldest->cap > (a->chunk_bytes ? a->chunk_bytes : (size_t)ARENA_CHUNK))
		oldest = NULL; /* one big request must not stay for the life of a connection */
	free_newer(a, oldest);
	if (oldest)
		oldest->used = 0;
	a->used_bytes = 0;
}

static struct arena_chunk *add_chunk(struct arena *a, size_t bytes)
{
	size_t cap = MAX(bytes, a->chunk_bytes ? a->chunk_bytes : (size_t)ARENA_CHUNK);
	struct arena_chunk *chunk = malloc(sizeof(*chunk) + cap);

	must(chunk);
	chunk->older = a->chunk;
	chunk->cap = cap;
	chunk->used = 0;
	return a->chunk = chunk;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	size_t need = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	struct arena_chunk *chunk = a->chunk;

	must(need >= bytes);
	if (!chunk || chunk->cap - chunk->used < need)
		chunk = add_chunk(a, need);
	void *p = chunk->bytes + chunk->used;

	chunk->used += need;
	a->used_bytes += need;
	return memset(p, 0, need);
}

void *arena_calloc(struct arena *a, size_t n, size_t bytes)
{
	must(bytes == 0 || n <= SIZE_MAX / bytes);
	return arena_alloc(a, n * bytes);
}

slice arena_dup(struct arena *a, slice s)
{
	return slice_of(arena_str(a, s), s.len);
}

char *arena_str(struct arena *a, slice s)
{
	char *copy = arena_alloc(a, s.len + 1);

	if (s.len)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

slice arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;

	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);

	must(len >= 0);
	char *text = arena_alloc(a, (size_t)len + 1);

	vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	va_end(args);
	return slice_of(text, (size_t)len);
}

struct arena_mark arena_mark(const struct arena *a)
{
	return (struct arena_mark){ .chunk = a->chunk,
		.used = a->chunk ? a->chunk->used : 0,
		.used_bytes = a->used_bytes };
}

void arena_rollback(struct arena *a, struct arena_mark mark)
{
	free_newer(a, mark.chunk);
	if (a->chunk)
		a->chunk->used = mark.used;
	a->used_bytes = mark.used_bytes;
}
