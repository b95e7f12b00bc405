/* SPDX-License-Identifier: GPL-2.0-or-later */
/* schedule.h - queue entries on disk: what is to be tried when, by domain.
 *
 * An entry is one recipient of one message, id.n. It comes into being by a PARK record, which
 * carries all of it, is replaced by another PARK, and ends with a DONE record. A recipient finished
 * at its first attempt has a DONE record only and never touches the index. The domain of id.n must
 * never change: it chooses the index shard. Rows are ordered domain, lane, tenant, due, id.n, so
 * what is due at a domain is one range; nothing is loaded at a start. Held entries are out of the
 * due range. Pages are read on helper threads, see everything applied up to the call's start, and
 * put what they return into the caller's arena. Errors: those of journal_append, and ERR_CORRUPT. */
#ifndef STORE_SCHEDULE_H
#define STORE_SCHEDULE_H

#include "core/base/base.h"
#include "store/blob.h"
#include "store/journal.h"

struct store;

enum schedule_state { SCHEDULE_READY, SCHEDULE_DEFERRED, SCHEDULE_HELD };

enum {
	SCHEDULE_DOMAIN_MAX = 253,
	SCHEDULE_REPLY_MAX = 320,
	SCHEDULE_TAIL_MAX = 1300,
	SCHEDULE_LANE_MAX = 15,
};

struct schedule_entry {
	struct blob_ref ref; /* ref.id is the message */
	uint32_t n;          /* which recipient */
	uint32_t tenant;
	uint32_t attempts;
	uint8_t lane;  /* 0 to SCHEDULE_LANE_MAX */
	uint8_t state; /* enum schedule_state */
	slice domain;  /* lower case */
	wall_ms due, first_seen, expires;
	slice reply; /* the last one, cut at SCHEDULE_REPLY_MAX */
	slice tail;  /* the caller's, opaque, at most SCHEDULE_TAIL_MAX: ERR_TOO_LARGE beyond */
};

/* --- Changes --- */
/* The callback form carries its own encoded bytes, so the entry may go away at once. Embed it, or
 * take it from a pool; done runs on the submitting worker when the record is durable. */
struct schedule_op {
	struct journal_op op; /* op.done is set by the caller */
	slice part;
	char *heap; /* when `small` does not suffice; freed by schedule_op_free */
	char small[360];
};
/* Create or replace. `op->op.flags` may have JOURNAL_LAZY. ERR_TOO_LARGE, ERR_NOMEM: nothing was submitted. */
enum err schedule_park_submit(struct store *st, struct schedule_op *op,
	const struct schedule_entry *entry) must_use;
struct schedule_done {
	uint64_t id;
	uint32_t n;
	bool indexed; /* it has, or may have, a row: then domain is needed */
	slice domain;
};
enum err schedule_done_submit(struct store *st, struct schedule_op *op,
	const struct schedule_done *end) must_use;
/* To be called in done (or after a failure). */
void schedule_op_free(struct schedule_op *op);
/* Fiber forms: return when durable. */
enum err schedule_park(struct store *st, const struct schedule_entry *entry) must_use;
enum err schedule_finish(struct store *st, const struct schedule_done *end) must_use;
/* Put on hold, or give back with a new due time. Returns when durable and applied; ERR_NOT_FOUND. */
struct schedule_change {
	uint64_t id;
	uint32_t n;
	slice domain;
	bool hold; /* false: state becomes READY, due becomes `due` */
	wall_ms due;
};
enum err schedule_set_hold(struct store *st, const struct schedule_change *change) must_use;

/* --- Reading: fibers, or threads without a worker --- */
/* Where a listing goes on. Zeroed: from the start. Copied freely. */
struct schedule_cursor {
	uint16_t shard, len;
	bool end;
	unsigned char key[320];
};
struct schedule_page {
	struct schedule_entry *entries;
	size_t len;
	struct schedule_cursor next; /* next.end: there is no more */
};
/* Entries of a domain and lane that are due by `until`, per tenant in order of due time. */
struct schedule_due {
	slice domain;
	uint8_t lane;
	wall_ms until;
	size_t limit; /* entries a page, at most 4096 */
	struct schedule_cursor from;
};
enum err schedule_read_due(struct store *st, const struct schedule_due *query, struct arena *a,
	struct schedule_page *out) must_use;

/* A domain with entries. Counters are part of the index state: exact as of the last commit. */
struct schedule_domain {
	slice domain;
	uint64_t waiting; /* ready and deferred */
	uint64_t held;
	uint64_t bytes;   /* of the bodies, counted per entry */
	wall_ms earliest; /* due, of what waits; INT64_MAX: nothing */
};
struct schedule_domains {
	struct schedule_domain *domains;
	size_t len;
	struct schedule_cursor next;
};
enum err schedule_read_domains(struct store *st, const struct schedule_cursor *from, size_t limit,
	struct arena *a, struct schedule_domains *out) must_use;

/* For people: any entry, in order of id within a shard. Zero fields do not filter. */
struct schedule_filter {
	uint64_t id;
	slice domain;
	wall_ms seen_before, seen_after;
	unsigned states; /* bits 1 << enum schedule_state */
	/* On a helper thread; must only look. */
	bool (*match)(void *arg, const struct schedule_entry *entry);
	void *arg;
	size_t limit; /* entries a page, at most 4096; a page that looked at many rows may be empty */
	struct schedule_cursor from;
};
enum err schedule_read(struct store *st, const struct schedule_filter *filter, struct arena *a,
	struct schedule_page *out) must_use;
/* One entry; ERR_NOT_FOUND. With an empty domain all shards are asked. */
struct schedule_name {
	uint64_t id;
	uint32_t n;
	slice domain;
};
enum err schedule_get(struct store *st, const struct schedule_name *name, struct arena *a,
	struct schedule_entry *out) must_use;
/* Exact sums over all domains: domains, waiting, held, bytes. Constant time. */
struct schedule_totals {
	uint64_t domains, waiting, held, bytes;
};
enum err schedule_totals(struct store *st, struct schedule_totals *out) must_use;

#endif
