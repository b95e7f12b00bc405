/* SPDX-License-Identifier: GPL-2.0-or-later */
/* feed.c - runs a parser over one input in many divisions and compares what it wrote.
 *
 * A division is a function from position to the end of the next piece. The whole input in one piece
 * is the reference. Random divisions are seeded by the bytes themselves, so that a failure repeats. */
#include "tests/support/feed.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 16 << 20, EDGE = 100, MIDDLE = 400, ALL_POINTS_MAX = 600 };

/* Where pieces end: at `point` once, every `step` bytes, or at random. */
struct division {
	const char *name;
	size_t point, step;
	uint64_t seed;
};

static uint64_t next_random(uint64_t *seed)
{
	*seed += 0x9e3779b97f4a7c15u;
	uint64_t z = *seed;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t piece_end(struct division *d, size_t at, size_t len)
{
	size_t end = len;
	if (d->step)
		end = at + d->step;
	else if (d->seed)
		end = at + 1 + next_random(&d->seed) % (1 + next_random(&d->seed) % 97);
	else if (d->point > at)
		end = d->point;
	return MIN(end, len);
}

/* One call, on a block of exactly the size. */
static size_t take(const struct feed_parser *p, void *state, slice in, bool last, struct out *o)
{
	char *block = malloc(in.len ? in.len : 1);
	must(block);
	if (in.len)
		memcpy(block, in.ptr, in.len);
	size_t took = p->take(state, slice_of(block, in.len), last, o);
	free(block);
	must(took == FEED_STOP || took <= in.len);
	return took;
}

/* Offer bytes while the parser uses some; how many it used, or FEED_STOP. */
static size_t offer(const struct feed_parser *p, void *state, slice in, struct out *o)
{
	size_t used = 0, took = 1;
	while (used < in.len && took) {
		took = take(p, state, slice_skip(in, used), false, o);
		if (took == FEED_STOP)
			return FEED_STOP;
		used += took;
	}
	return used;
}

static void feed(const struct feed_parser *p, const void *arg, slice bytes, struct division d,
	struct out *o)
{
	void *state = p->state_size ? calloc(1, p->state_size) : NULL;
	must(!p->state_size || state);
	if (p->init)
		p->init(state, arg);
	size_t used = 0, end = 0, took = 0;
	while (end < bytes.len && took != FEED_STOP) {
		end = piece_end(&d, end, bytes.len);
		took = offer(p, state, slice_sub(bytes, used, end), o);
		used += took == FEED_STOP ? 0 : took;
	}
	if (took != FEED_STOP)
		(void)take(p, state, slice_skip(bytes, used), true, o);
	if (p->done)
		p->done(state);
	free(state);
}

static bool same(const struct feed_parser *p, const void *arg, slice bytes, struct division d,
	slice want)
{
	struct out o = out_heap(TEXT_MAX);
	feed(p, arg, bytes, d, &o);
	must(out_ok(&o));
	bool equal = slice_eq(out_written(&o), want);
	if (!equal)
		fprintf(stderr,
			"%s: %s (point %zu) differs\n--- whole:\n%.*s\n--- divided:\n%.*s\n---\n",
			p->name, d.name, d.point, SLICE_ARG(want), SLICE_ARG(out_written(&o)));
	out_heap_done(&o);
	return equal;
}

static uint64_t seed_of(slice bytes)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < bytes.len; i++)
		h = (h ^ (unsigned char)bytes.ptr[i]) * 0x100000001b3u;
	return h | 1;
}

static bool random_ways(const struct feed_parser *p, const void *arg, slice bytes, int ways,
	slice want)
{
	uint64_t seed = seed_of(bytes);
	for (int i = 0; i < ways; i++) {
		struct division d = { .name = "random pieces", .seed = next_random(&seed) | 1 };
		if (!same(p, arg, bytes, d, want))
			return false;
	}
	return true;
}

static bool every_point(const struct feed_parser *p, const void *arg, slice bytes, slice want)
{
	size_t stride = bytes.len > ALL_POINTS_MAX ? (bytes.len - 2 * EDGE) / MIDDLE + 1 : 1;
	for (size_t at = 1; at < bytes.len;) {
		struct division d = { .name = "two pieces", .point = at };
		if (!same(p, arg, bytes, d, want))
			return false;
		at += at < EDGE || at + EDGE >= bytes.len ? 1 : MIN(stride, bytes.len - EDGE - at);
	}
	return true;
}

static bool compare_ways(const struct feed_parser *p, const void *arg, slice bytes, bool all,
	struct out *result)
{
	struct out whole = out_heap(TEXT_MAX);
	feed(p, arg, bytes, (struct division){ .name = "whole" }, &whole);
	must(out_ok(&whole));
	slice want = out_written(&whole);
	struct division bytewise = { .name = "byte by byte", .step = 1 };
	bool equal = same(p, arg, bytes, bytewise, want) &&
		random_ways(p, arg, bytes, all ? 20 : 3, want) &&
		(!all || every_point(p, arg, bytes, want));
	if (equal && result)
		out_slice(result, want);
	out_heap_done(&whole);
	return equal;
}

bool feed_all_ways(const struct feed_parser *p, const void *arg, slice bytes, struct out *result)
{
	return compare_ways(p, arg, bytes, true, result);
}

bool feed_few_ways(const struct feed_parser *p, const void *arg, slice bytes, struct out *result)
{
	return compare_ways(p, arg, bytes, false, result);
}

bool feed_inside(slice part, slice whole)
{
	if (part.len == 0)
		return true;
	uintptr_t from = (uintptr_t)part.ptr, start = (uintptr_t)whole.ptr;
	return part.len <= whole.len && from >= start && from - start <= whole.len - part.len;
}

size_t feed_segment(slice bytes, enum feed_cut cut, uint32_t *seed)
{
	ptrdiff_t end = slice_find(bytes, '\n');
	size_t piece = cut == FEED_WHOLE || end < 0 ? bytes.len : (size_t)end + 1;

	if (cut != FEED_INSIDE_LINES)
		return piece;
	*seed = *seed * 1664525 + 1013904223;
	return MIN(1 + (*seed >> 24) % 20, piece);
}
