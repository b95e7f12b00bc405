/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bufs.h - a worker's pools of byte buffers, and the account of memory behind admission control.
 *
 * Three classes are pooled: small, large, and pieces of big answers; anything else comes from the heap
 * and goes back to it. Contents are not zeroed. Buffers are got and put on the same worker. bufs_get may
 * fail: NULL when the memory is gone (never because of the limit, which only stops accepting). */
#ifndef CORE_BUFS_H
#define CORE_BUFS_H

#include "core/base/base.h"

struct worker;

enum { BUFS_SMALL = 2048, BUFS_LARGE = 16384 + 512, BUFS_PIECE = 320 * 1024 };

/* At least `want` bytes; *out_cap says how many. */
void *bufs_get(struct worker *w, size_t want, size_t *out_cap) must_use;
/* `cap` as bufs_get gave it. NULL is harmless. */
void bufs_put(struct worker *w, void *buf, size_t cap);

/* The bytes handed out now are over the limit. Others with large buffers of their own (message bodies)
 * add them to the account. */
bool bufs_over_limit(const struct worker *w);
void bufs_account(struct worker *w, ptrdiff_t bytes);
/* How many they are; for tests, others see worker_stats(). */
size_t bufs_used_bytes(const struct worker *w);
/* Called by the loop now and then: give what lay unused for long back to the system. */
void bufs_trim(struct worker *w);

#endif
