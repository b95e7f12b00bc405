/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dial.h - an outgoing connection.
 *
 * On a fiber. The conn comes paused in the sense that it calls nobody's `data` unless `ops`
 * are given: without them the calling fiber reads with conn_wait_data and ends it with
 * conn_close or conn_abort, after which the pointer is dead to it. */
#ifndef CORE_DIAL_H
#define CORE_DIAL_H

#include "core/addr.h"
#include "core/base/base.h"

struct conn;
struct conn_ops;
struct worker;

struct dial_options {
	const struct addr *source;  /* local address; NULL: the kernel's choice */
	msec timeout_ms;            /* 0: 30 s */
	const struct conn_ops *ops; /* NULL: read on fibers */
	void *owner;
};

/* ERR_REFUSED, ERR_UNREACHABLE, ERR_TIMEOUT, ERR_NOFILES (also: no room, see room.h), ERR_RESET,
 * ERR_DENIED, ERR_INVALID (source not ours), or the error of a cancel. */
enum err dial(struct worker *w, const struct addr *to, const struct dial_options *options,
	struct conn **out) must_use;

#endif
