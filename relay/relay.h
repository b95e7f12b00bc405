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

struct worker;
struct conf_row;

struct relay_retry {
	msec first_ms, max_ms, expire_ms;
	double factor;
	msec warn_ms; /* delay warning (RFC 3461 NOTIFY=DELAY or unset) */
};

/* Everything below relay:, resolver: and what they need of the top level. Copied as a whole by
 * relay_init and relay_reload: the caller's configuration may go afterwards. */
struct relay_options {
	const char *hostname; /* top level: our name in EHLO, DSNs, loop detection */
	const char *source; /* relay.source: address connections come from; NULL: any */
	const char *ehlo; /* relay.ehlo; NULL: hostname */
	const char *postmaster; /* relay.postmaster: From: of DSNs; NULL: MAILER-DAEMON@hostname */
	uint16_t port; /* relay.port: of MX hosts, 25 */
	enum route_tls tls; /* relay.tls: policy without a route row */
	struct route_limits limits; /* relay.connections ... : defaults toward any destination */
	struct relay_retry retry; /* relay.retry.* */
	struct route *routes; /* relay.routes */
	size_t route_count;
	struct resolver_options resolver; /* resolver.* */
	struct sign_options sign; /* relay.dkim.* */
	uint64_t ram_bytes; /* relay.queue.ram: bodies and entries in all, before parking */
	uint32_t
		path_ready_max; /* relay.queue.path_ready: recipients ready per path before parking */
	uint32_t ready_max; /* relay.queue.ready: recipients in RAM in all, per worker */
	msec park_after_ms; /* relay.queue.park_after: 30 s */
	uint64_t dsn_full_max_bytes; /* relay.dsn_max: a larger original comes back as headers */
};

/* (main thread) Before workers_start and after the store was opened. ERR_INVALID with a line in
 * `why` when the options contradict each other. */
enum err relay_init(const struct relay_options *o, struct out *why) must_use;
/* (fiber, from the start hook of every worker) Resolver, keys, timers. Returns on all workers only
 * when the journal's unfinished messages have been handed back, so listeners may open then. */
enum err relay_start(struct worker *w) must_use;
/* (fiber, any one worker) Swap the options everywhere; running attempts end under the old ones. */
enum err relay_reload(struct worker *w, const struct relay_options *o, struct out *why) must_use;
/* (fiber, from the stop hook of every worker) Start nothing new; wait until the transactions in
 * flight have their replies, at most `ms`; then close what is left. */
void relay_drain(struct worker *w, msec ms);
/* (main thread) After workers_join. */
void relay_done(void);

/* What doors ask; valid until the calling fiber next waits. */
const struct route_table *relay_routes(struct worker *w);
struct resolver *relay_resolver(struct worker *w);

/* Sums over all workers; from any thread. */
struct relay_stats {
	uint64_t accepted_messages, accepted_rcpts; /* since start */
	uint64_t delivered, deferred, bounced, expired, removed, dsns; /* recipients; DSNs made */
	uint64_t attempts, connections_opened, connections_failed, tls_failed, dns_failed;
	uint64_t signatures;
	uint64_t rcpts_ready, rcpts_active, rcpts_parked, rcpts_held; /* now */
	uint64_t connections, paths, ram_bytes; /* now */
};
void relay_stats(struct relay_stats *out);

#endif
