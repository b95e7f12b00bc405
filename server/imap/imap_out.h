/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_out.h - big answers, a piece at a time.
 *
 * A piece is rendered, sent, and the next is begun when the client has taken most of it: so an
 * answer of any size needs a fixed amount of memory, and a slow reader costs only himself and, in
 * the end, his connection (option imap.send). What costs time to find or to make is rendered on a helper
 * thread; what is mostly read from files (bodies) on the session's fiber, straight into the memory
 * it is sent from: a change of threads and a copy cost more than the reading. */
#ifndef SERVER_IMAP_IMAP_OUT_H
#define SERVER_IMAP_IMAP_OUT_H

#include "core/base/base.h"

struct imap_session;

enum {
	IMAP_OUT_CHUNK = 128 * 1024,  /* end a piece here */
	IMAP_OUT_BODIES = 256 * 1024, /* one of bodies: each piece wakes the client once */
	/* More than this fits into none: the call fails. A hostile envelope takes seven times
	 * SUMMARY_LONG_ENVELOPE_MAX: From stands for three fields, quotes for two bytes. */
	IMAP_OUT_CHUNK_MAX = 6 << 20,
};

struct imap_flow {
	/* Writes to `o`, which is empty, until it is full enough (imap_flow_full) or nothing is
	 * left. *more: call again. On a helper thread, where it may call what waits elsewhere
	 * (message_scan_here); must not touch the session. */
	enum err (*render)(struct imap_flow *flow, struct out *o, bool *more);
	/* Render on the session's fiber: what waits elsewhere goes through job_run. */
	bool on_fiber;
};
static inline bool imap_flow_full(const struct out *o)
{
	return o->len >= IMAP_OUT_CHUNK;
}
static inline bool imap_flow_full_of_bodies(const struct out *o)
{
	return o->len >= IMAP_OUT_BODIES;
}

/* (fiber) Until render says it was all. Its error, or why the connection cannot be written to. Bytes
 * written before an error stay written. */
enum err imap_out_flow(struct imap_session *s, struct imap_flow *flow) must_use;
/* (fiber) The same for one piece that was rendered by the caller: sends and waits. */
enum err imap_out_bytes(struct imap_session *s, slice bytes) must_use;
/* (fiber) Wait until there is room for more, after writing to imap_out(s) oneself. */
enum err imap_out_wait(struct imap_session *s) must_use;

#endif
