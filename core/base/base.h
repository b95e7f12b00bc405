/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base.h - the vocabulary every other file speaks.
 *
 * The one umbrella header of the tree: slice, err, list, arena and out are included here because
 * nothing can be written without them; heap, map, text, codec and crypt are included by name.
 * Nothing in core/base makes a system call, reads a clock, logs or owns a global. */
#ifndef CORE_BASE_BASE_H
#define CORE_BASE_BASE_H

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
#define must(cond)                                                                                 \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			must_failed(#cond, __FILE__, __LINE__);                                    \
	} while (0)
_Noreturn void must_failed(const char *cond, const char *file, int line);

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/base/list.h"
#include "core/base/arena.h"
#include "core/base/out.h"

#endif
