/* SPDX-License-Identifier: GPL-2.0-or-later */
/* health.h - what the store's state gives an operator to read in the log.
 *
 * The store never logs; a disk that fills or fails would show in refused mail and in metrics alone.
 * So the main thread looks once a second and says what changed: new mail is refused, and why; it is
 * taken again; writes fail. A state that flickers, and errors that go on, are told once a minute.
 * No system call, no clock, nothing can fail. */
#ifndef SERVER_HEALTH_H
#define SERVER_HEALTH_H

#include "core/base/base.h"

/* What is seen now. */
struct health_look {
	msec now;                            /* monotonic */
	enum err refusing;                   /* store_accepting's reason; OK: mail is taken */
	uint64_t write_errors, index_errors; /* since the start */
	uint64_t disk_free_bytes;
};

/* What was said of it; all zero at first. */
struct health {
	msec refused_since; /* and told; 0: mail is taken */
	msec fine_since;    /* while refused_since is not 0; 0: not now */
	struct health_count {
		uint64_t told;
		msec at;
	} writes, index;
	enum err refusing; /* as told */
	msec told;         /* when */
};

/* Lines to be logged, each with its line feed: complaints into `bad`, good news into `good`. */
void health_tell(struct health *h, const struct health_look *look, struct out *bad,
	struct out *good);

#endif
