/* SPDX-License-Identifier: GPL-2.0-or-later */
/* op.h - one operation in flight, embedded in its owner.
 *
 * The owner zeroes it, sets `done`, and submits it with a ring_ function. From then until
 * `done` is called the op and the memory it names belong to the ring: the owner must not be
 * freed. `done` is called exactly once, from the loop, never from inside the call that
 * submitted or cancelled it; it may submit the same op again. The kernel is given slot and
 * generation, never a pointer, so a stray completion finds nobody. */
#ifndef CORE_OP_H
#define CORE_OP_H

#include "core/base/base.h"

enum op_kind {
	OP_NONE,
	OP_ACCEPT,
	OP_CONNECT,
	OP_RECV,
	OP_SEND,
	OP_READ,
	OP_WRITE,
	OP_FSYNC,
	OP_POLL,
	OP_CANCEL,
};

struct op {
	/* res >= 0: bytes, descriptor or mask; negative: an enum err. */
	void (*done)(struct op *op, int res);
	struct list_link link; /* the back end's: staged, or waiting in the simulation */
	void *ptr;             /* msghdr, iovec, sockaddr or buffer, by kind */
	uint64_t offset;
	uint32_t len; /* bytes, number of iovecs, or sockaddr length */
	int fd;
	uint32_t slot; /* 1-based while in flight, 0 otherwise */
	uint32_t flags;
	uint16_t buf;      /* OP_RECV: the provided buffer it came in */
	uint8_t kind;      /* enum op_kind */
	uint8_t cancelled; /* cancelled before the kernel saw it */
};

/* Submitted and not yet done. */
static inline bool op_busy(const struct op *op)
{
	return op->slot != 0;
}

#endif
