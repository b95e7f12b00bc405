/* SPDX-License-Identifier: GPL-2.0-or-later */
/* types.h - the few types and macros below even slices: times, must(), container_of.
 *
 * Here only so that the headers base.h is made of can include each other in order; everybody else
 * includes base.h. Owns nothing; nothing fails but must(), which ends the program. */
#ifndef CORE_BASE_TYPES_H
#define CORE_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Monotonic milliseconds: for timers and time-outs. Never stored. */
typedef int64_t msec;
/* Milliseconds since 1970-01-01 UTC: for what is stored or shown. */
typedef int64_t wall_ms;

#define array_len(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define must_use __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

/* What the programmer guaranteed. Never for bytes from outside: no input may trigger it. */
#define must(cond)                                              \
	do {                                                    \
		if (__builtin_expect(!(cond), 0))               \
			must_failed(#cond, __FILE__, __LINE__); \
	} while (0)
_Noreturn void must_failed(const char *cond, const char *file, int line);

/* Some headers of others bring their own. */
#undef MIN
#undef MAX
/* Each argument is evaluated once; names of their own let one stand inside another. */
#define MIN(a, b) PICK_NAMED(<, a, b, __COUNTER__)
#define MAX(a, b) PICK_NAMED(>, a, b, __COUNTER__)
#define PICK_NAMED(op, a, b, n) PICK_NAMES(op, a, b, n)
#define PICK_NAMES(op, a, b, n) PICK(op, a, b, pick_a##n, pick_b##n)
#define PICK(op, a, b, x, y)         \
	({                           \
		__auto_type x = (a); \
		__auto_type y = (b); \
		x op y ? x : y;      \
	})

#endif
