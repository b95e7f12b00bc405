/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay_int.h - what the relay's files share: the worker's state, messages, parcels, targets.
 *
 * Life of a recipient: queue.c makes a `message` (shared, immutable, counted) and one `parcel` per
 * recipient domain; site.c finds the `target` of the domain; the parcel travels by post to the
 * worker that owns the target's path (path.c), which decides when and where it goes; an `outlet`
 * (outlet.c) on some worker gives it to a connection (deliver.c); result.c makes the outcome
 * durable. Parked recipients come back through sched.c. A parcel is in one place at a time. */
#ifndef RELAY_RELAY_INT_H
#define RELAY_RELAY_INT_H

#include <stdatomic.h>

#include "core/base/map.h"
#include "core/fiber.h"
#include "core/post.h"
#include "core/timer.h"
#include "core/worker.h"
#include "relay/local.h"
#include "relay/queue.h"
#include "relay/relay.h"
#include "relay/retry.h"
#include "store/schedule.h"
#include "store/store.h"

struct dkim_fields;
struct tls_client;

/* One configuration in use, counted over all workers. */
struct relay_gen {
	_Atomic unsigned refs;
	struct conf *conf;
	const struct relay_options *o;
	const struct local_options *local;
	struct route_table *routes;
	struct tls_client *tls;
	struct dkim_fields *fields;
	struct arena arena; /* fields, own */
	slice hostname, ehlo;
	struct addr *own;
	size_t own_count;
	struct retry_times retry;
	bool still;
};
struct relay_gen *relay_gen_hold(struct relay_gen *gen);
void relay_gen_put(struct relay_gen *gen);
/* Of one worker; relay_stats sums them. Written here only, read anywhere. */
struct relay_counts {
	uint64_t accepted_messages, accepted_rcpts, delivered, deferred, bounced, expired, removed;
	uint64_t stored, dsns, signatures;
	uint64_t attempts, connections_opened, connections_failed, tls_failed, dns_failed;
	int64_t ready, active, connections, paths, ram_bytes; /* now; may be negative per worker */
};

/* One worker's part of the relay. */
struct relay_here {
	struct worker *w;
	struct store *st;
	struct relay_gen *gen;
	struct resolver *resolver;
	unsigned index, workers, free_result_count;
	struct map_seed seed; /* the same everywhere: it chooses owners */
	struct map sites;     /* domain -> struct site */
	struct map paths;     /* key -> struct path, owned here */
	struct map outlets;   /* key -> struct outlet */
	struct map dests;     /* domain -> struct dest, owned here */
	struct map out_items; /* id.n -> what sched.c gave out */
	struct list path_list, outlet_list, hop_list;
	struct list free_results, failed_results, resting; /* resting: see site.h */
	_Atomic uint64_t results_sent, results_back;       /* to the journal; written here only */
	struct timer sweep, retry_results;
	struct host_memory *hosts;
	struct sign_ring *sign;
	struct relay_counts counts;
	unsigned char secret[LOCAL_SECRET]; /* of forwarded senders */
	unsigned fibers;                    /* that must end before the relay may */
	struct fiber_wait scan_wait;        /* sched.c: the scan sleeps here */
	uint64_t trace;
	bool draining, scanning;
};
struct relay_here *relay_here(struct worker *w);
unsigned relay_owner(const struct relay_here *r, uint64_t hash);
/* A counted fiber; on failure fn is not called. */
enum err relay_fiber(struct relay_here *r, void (*fn)(void *arg), void *arg) must_use;
void relay_fiber_end(struct relay_here *r);
#define relay_count(r, member, n) \
	__atomic_store_n(&(r)->counts.member, (r)->counts.member + (n), __ATOMIC_RELAXED)

/* --- Messages and parcels --- */
struct message {
	_Atomic uint32_t refs;
	_Atomic uint32_t open; /* recipients without a durable result; only when held */
	bool held;             /* the journal keeps it for us */
	struct blob_ref ref;
	struct envelope env;
	struct arena arena;
	size_t bytes;
};
/* NULL: the meta is damaged (err says so) or memory ran out. */
struct message *message_new(const struct blob_ref *ref, slice meta, enum err *err);
struct message *message_hold(struct message *m);
void message_put(struct message *m);
/* One more recipient has a durable result. */
void message_settled(struct store *st, struct message *m);

enum outcome {
	OUTCOME_NONE,
	OUTCOME_DELIVERED,
	OUTCOME_DEFERRED,
	OUTCOME_FAILED,
	OUTCOME_HELD,
	OUTCOME_REMOVED,  /* by an operator */
	OUTCOME_PARKED,   /* out of RAM without an attempt */
	OUTCOME_RETURNED, /* to sched.c, nothing changed on disk */
};

enum { REPLY_TEXT_MAX = 300 };

/* Why a recipient's attempt ended so; shared by the recipients of a refused transaction. */
struct reason {
	enum err err;              /* instead of a reply */
	int code;                  /* SMTP reply; 0: none */
	char status[16];           /* "5.1.1"; empty: by outcome */
	char text[REPLY_TEXT_MAX]; /* the reply, or our words */
	char mta[128];             /* host name that said so */
	uint16_t text_len;
	bool dsn_capable, last_hop; /* it reports success itself; it was LMTP, the end of the way */
	bool final;                 /* of a connection failure: no later attempt fares better */
};

struct item {
	uint32_t n, attempts;
	wall_ms due;
	bool indexed, warned;
	uint8_t outcome;                          /* enum outcome */
	bool no_attempt;                          /* the outcome costs none */
	bool expired;                             /* failed by its age, not by the reply */
	bool notify_warn, notify_fail, notify_ok; /* reports to make before the result */
	struct reason *reason;                    /* its own, or NULL; freed with the parcel */
};

struct parcel {
	struct post post;
	struct list_link link;
	struct message *m;
	struct target *target;
	slice domain;       /* points into m */
	msec born;          /* when it came into RAM here */
	wall_ms not_before; /* for OUTCOME_RETURNED */
	uint32_t count, settled;
	uint16_t from_worker; /* outlet that gives it back */
	uint8_t lane, again;
	bool extra;     /* split off another one: the path's owner does not count it */
	bool from_disk; /* sched.c waits for it */
	struct item items[];
};
struct parcel *parcel_new(struct relay_here *r, struct message *m, uint32_t count);
void parcel_free(struct relay_here *r, struct parcel *p);
const struct envelope_rcpt *parcel_rcpt(const struct parcel *p, const struct item *it);
/* A new reason, or NULL without memory; items own theirs. */
void item_reason(struct item *it, const struct reason *why);
void reason_words(struct reason *why, enum err err, const char *status, slice text);
void parcel_all(struct parcel *p, enum outcome outcome, const struct reason *why);

/* --- Where a domain's mail goes: made by site.c, immutable, counted --- */
struct target_host {
	slice name; /* host, literal or socket path */
	uint16_t port, preference;
	bool is_unix;
};
struct target {
	_Atomic unsigned refs;
	struct relay_gen *gen;
	const struct route *route; /* NULL: by MX */
	struct arena arena;
	slice key; /* "source>host,host:port ..." */
	uint64_t hash;
	struct target_host *hosts;
	size_t host_count;
	struct route_limits limits;
	int proto, tls; /* enum route_proto, enum route_tls */
	struct addr source;
	slice ehlo;
	bool implicit_mx, by_mx;
	unsigned owner;
};
struct target *target_hold(struct target *t);
void target_put(struct target *t);

/* site.c: to the path's owner, resolving first when needed. Never waits. */
void site_route(struct relay_here *r, struct parcel *p);
void site_forget_all(struct relay_here *r);

/* queue.c */
void queue_park(struct relay_here *r, struct parcel *p, wall_ms due, const char *why);
bool queue_over_limit(const struct relay_here *r, uint8_t lane);
void queue_distribute_replay(struct relay_here *r);
void queue_forget_replay(void);

#endif
