/* SPDX-License-Identifier: GPL-2.0-or-later */
/* slice.h - some bytes that belong to somebody else.
 *
 * A slice never owns. One that was parsed points into the receive buffer and dies with the verb;
 * keeping it is the explicit act arena_dup(). It may hold any byte, NUL included, and is not
 * terminated: NUL-terminated strings exist only at the system-call border. Nothing here fails. */
#ifndef CORE_BASE_SLICE_H
#define CORE_BASE_SLICE_H

#include "core/base/types.h"

typedef struct slice {
	const char *ptr;
	size_t len;
} slice;

#define SLICE(literal) ((slice){ "" literal, sizeof(literal) - 1 })
/* The same for static initialisers. */
#define SLICE_INIT(literal)                     \
	{                                       \
		"" literal, sizeof(literal) - 1 \
	}
/* For printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) (int)(s).len, (s).ptr

static inline slice slice_of(const void *ptr, size_t len)
{
	return (slice){ .ptr = ptr, .len = len };
}

static inline slice slice_str(const char *text)
{
	return (slice){ .ptr = text, .len = text ? strlen(text) : 0 };
}

static inline bool slice_eq(slice a, slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Order as memcmp, a prefix before what it begins. */
int slice_cmp(slice a, slice b);
/* ASCII letters only; other bytes compare as they are. */
bool slice_eq_nocase(slice a, slice b);
static inline bool slice_starts(slice s, slice prefix)
{
	return s.len >= prefix.len &&
		(prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}
bool slice_starts_nocase(slice s, slice prefix);
bool slice_ends_nocase(slice s, slice suffix);

/* `from` and `to` are clamped to the length. */
static inline slice slice_sub(slice s, size_t from, size_t to)
{
	to = MIN(to, s.len);
	from = MIN(from, to);
	/* ptr may be NULL in an empty slice; adding 0 to it is defined only with this test. */
	return (slice){ .ptr = from ? s.ptr + from : s.ptr, .len = to - from };
}
static inline slice slice_skip(slice s, size_t n)
{
	return slice_sub(s, n, s.len);
}

/* Index of the first (last) such byte, or -1. */
ptrdiff_t slice_find(slice s, char byte);
ptrdiff_t slice_rfind(slice s, char byte);
/* Index of the first such run of bytes, or -1. */
ptrdiff_t slice_search(slice s, slice what);

/* Index just behind the first CRLF that ends at or behind `from`, or 0. */
size_t slice_crlf(slice s, size_t from);

/* Cut what stands before `byte` off the front of *s into *head, and drop the byte itself.
 * Without the byte all of *s is the head. False when *s was empty. */
bool slice_cut(slice *s, char byte, slice *head);

/* Without SP and HTAB at both ends. */
slice slice_trim(slice s);

#endif
