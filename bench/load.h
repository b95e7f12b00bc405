/* SPDX-License-Identifier: GPL-2.0-or-later */
/* load.h - the load generator: which message is sent when, on which connection, and what came of it.
 *
 * One fiber a connection, spread over the workers. In the closed loop a connection takes the next
 * message as soon as its last one was answered. In the open loop message k is due at start + k / rate,
 * whoever is free takes the next number, and latency counts from the due time, also when every
 * connection was busy then: nothing is left out of the tail (no coordinated omission). The struct is filled by
 * the command, then read-only but for the atomics and each worker's own part. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/report.h"
#include "bench/talk.h"

#include <stdatomic.h>

struct template;

/* What one worker found; it alone writes. */
struct load_worker {
	struct report report;
	uint64_t live; /* fibers still running */
};

struct load {
	struct talk_target target;
	struct template *template;
	const char *from, *to; /* with %n: the message's number; %d: number modulo domains */
	uint64_t run;
	uint64_t messages;       /* 0: until the time is over */
	uint64_t per_connection; /* messages; 0: no limit */
	uint64_t connections, recipients, domains;
	double rate; /* messages a second; 0: closed loop */
	msec warmup_ms, duration_ms;
	bool pipelining, bdat;
	/* While it runs. */
	uint64_t start_ns;
	unsigned workers;
	struct load_worker *parts;
	atomic_uint_fast64_t next;     /* number of the next message */
	atomic_uint_fast64_t accepted; /* for the progress line */
	atomic_uint_fast64_t running;  /* connections whose fiber has not ended */
	atomic_bool stop;
};

/* On each worker, from its start hook: starts its share of the connections. */
enum err load_start(struct worker *w, struct load *load) must_use;

#endif
