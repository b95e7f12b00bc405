/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay.h - the postman as a whole: start, reload, drain, stop, and its numbers.
 *
 * There is one relay in the process. It is made in the main thread before the workers run, started
 * once on every worker, and then driven by the queue. Options are rows below `relay:` and
 * `resolver:` of the configuration; a reload swaps the whole set. Journal replay hands unfinished
 * messages to it before intake opens. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include "core/base/base.h"
#include "relay/resolver.h"
#include "relay/route.h"
#include "relay/sign.h"

struct conf;
struct event_table;
struct local_options;
struct metric_table;
struct store;
struct tls_client;
struct worker;

/* Everything below relay: and resolver:, as bound by relay_conf. */
struct relay_options {
	struct addr source; /* relay.source: address connections come from; ADDR_NONE: any */
	slice ehlo;         /* relay.ehlo; empty: the host name */
	slice postmaster;   /* relay.postmaster: From: of DSNs; empty: MAILER-DAEMON@hostname */
	int64_t port;       /* relay.port: of MX hosts */
	int tls;            /* relay.tls: enum route_tls without a word of the route */
	struct route_limits limits; /* relay.connections ...: toward any destination */
	int64_t retry_factor;    /* relay.retry.factor: each wait is so much longer than the last */
	int64_t retry_warn_ms;   /* relay.retry.warn */
	struct conf_list routes; /* relay.routes: struct route */
	struct resolver_options resolver;
	struct sign_options sign;
	int64_t ram_bytes;      /* relay.queue.ram: bodies and entries in all, before parking */
	int64_t path_ready_max; /* relay.queue.path_ready: recipients ready per path */
	int64_t ready_max;      /* relay.queue.ready: recipients in RAM per worker */
	int64_t park_after_ms;  /* relay.queue.park_after */
	int64_t dsn_max_bytes;  /* relay.dsn_max: a larger original comes back as headers */
};
extern const struct conf_table relay_conf;

/* What the relay starts from. The configuration is held until the next one took its place. */
struct relay_setup {
	struct conf *conf;
	const struct relay_options *options; /* conf_options(conf, &relay_conf) */
	const struct local_options *local;   /* conf_options(conf, &local_conf); NULL: defaults */
	slice hostname; /* our name in EHLO, DSNs and loop detection; lives as long as conf */
	struct tls_client *tls; /* for STARTTLS at next hops; held as well. NULL: no TLS at all */
	const struct addr *own; /* where our port 25 listens; a next hop there is a loop. Copied */
	size_t own_count;
	/* For a tool that looks at the queue of a stopped server, or changes it: nothing is sent, nobody
	 * is asked, no timer runs. What replay brings stays in memory, and is listed as ready. */
	bool still;
};

/* (main thread) Before workers_start. ERR_INVALID with a line in `why` when the options contradict
 * each other. */
enum err relay_init(const struct relay_setup *setup, struct out *why) must_use;
/* (fiber, from the start hook of every worker) Resolver, keys, timers. The store was opened with
 * queue_replay_ops; when the last worker has started, what it replayed goes to its paths. */
enum err relay_start(struct worker *w, struct store *st) must_use;
/* (fiber, of a relay that stands still) Until what was begun is durable; ERR_IO when it cannot be. */
enum err relay_settle(struct worker *w) must_use;
/* (fiber, any one worker) Swap the options everywhere; running attempts end under the old ones. */
enum err relay_reload(struct worker *w, const struct relay_setup *setup, struct out *why) must_use;
/* (fiber, from the stop hook of every worker) Start nothing new; wait until the transactions in
 * flight have their replies, at most `ms`; then close what is left. */
void relay_drain(struct worker *w, msec ms);
/* For simulations: results that stops could not make durable, on a full or failing disk, since the process began: these
 * recipients may get their mail a second time. */
uint64_t relay_given_up(void);
/* (main thread) After workers_join: gives back what is left in memory. */
void relay_done(void);
/* For simulations, after the crash of a process: nothing of it is left. */
void relay_forget(void);

/* What doors ask; valid until the calling fiber next waits. */
const struct route_table *relay_routes(struct worker *w);

/* To be registered by main before threads start. */
extern struct event_table relay_events;
extern struct metric_table relay_metrics;

/* (fiber, or a thread that is no worker) Sums over all workers; parked and held come from the
 * index. */
struct relay_stats {
	uint64_t accepted_messages, accepted_rcpts;                    /* since start */
	uint64_t delivered, deferred, bounced, expired, removed, dsns; /* recipients; DSNs made */
	uint64_t stored;                                               /* into mailboxes here */
	uint64_t attempts, connections_opened, connections_failed, tls_failed, dns_failed;
	uint64_t signatures;
	uint64_t rcpts_ready, rcpts_active, rcpts_parked, rcpts_held; /* now */
	uint64_t connections, paths, ram_bytes;                       /* now */
};
void relay_stats(struct relay_stats *out);

#endif
