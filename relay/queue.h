/* SPDX-License-Identifier: GPL-2.0-or-later */
/* queue.h - accepted mail until every recipient has a final result.
 *
 * A message enters by queue_submit, which returns only when it is durable: then, and only then, may
 * its 250 leave. From there each recipient belongs to the path that serves its domain. What is
 * delivered at its first attempt lives in RAM and in the journal alone; a recipient is parked (gets
 * a schedule row in the index) when it is deferred, when it is 30 s old, or when its path or this
 * process has enough ready. A parked recipient comes back through its destination's timer.
 *
 * Fiber calls may wait; the others do not. All take the worker they run on. Answers of the admin
 * calls are made of slices in the caller's arena. */
#ifndef RELAY_QUEUE_H
#define RELAY_QUEUE_H

#include "relay/envelope.h"

struct blob_writer;
struct deliver;
struct store_replay_ops;
struct worker;

enum { QUEUE_ID_TEXT = 14 }; /* longest text form of an id, without terminator */

/* A name for a message that is about to arrive, to stand in its Received field (its id does not
 * exist yet). The `received` and `accepted` events show both. */
uint64_t queue_trace_new(struct worker *w);
/* Lower-case base32 without padding, as in logs and the 250 reply; for trace names too. */
void queue_id_put(struct out *o, queue_id id);
/* `id.n`. */
void queue_id_put_rcpt(struct out *o, queue_id id, uint32_t index);
/* Reads "id" (out_index = QUEUE_ALL) or "id.n"; false on anything else. */
bool queue_id_parse(slice text, queue_id *out, uint32_t *out_index) must_use;
#define QUEUE_ALL UINT32_MAX

/* (fiber) Make the message durable and give its recipients to their paths; `into` (may be NULL) are
 * the mailboxes it is delivered into by the same record, and with them there may be no recipient for
 * the queue. `body` holds all of its bytes, trace fields included, and is consumed in every outcome.
 * OK: it is on disk, it will be delivered or bounced. Any error: nothing was accepted (ERR_NOSPACE,
 * ERR_IO and ERR_BUSY are 452, ERR_STOPPED is 421, ERR_TOO_LARGE: too many recipients). */
struct queue_mail {
	const struct envelope *envelope;
	struct blob_writer *body;
	const struct deliver *into;
	size_t mailboxes; /* targets of `into` */
	/* It is on disk and nobody has it yet: a line logged here stands before what becomes of it. Must not
	 * wait. May be NULL. */
	void (*accepted)(const struct queue_mail *mail, queue_id id);
};
enum err queue_submit(struct worker *w, const struct queue_mail *mail, queue_id *out) must_use;

/* May a new message start? OK, or ERR_BUSY / ERR_NOSPACE / ERR_STOPPED: refuse MAIL with 452 (421)
 * before its body is sent. Never waits. */
enum err queue_admit(struct worker *w) must_use;

/* For store_open, with arg NULL, after relay_init: what was accepted and not finished is collected
 * here, and handed out when relay_start has run on every worker. */
extern const struct store_replay_ops queue_replay_ops;

/* Where a recipient stands. */
enum queue_state {
	QUEUE_READY,  /* waits for its path's next slot */
	QUEUE_ACTIVE, /* on a connection now */
	QUEUE_PARKED, /* waits for `due` */
	QUEUE_HELD,   /* waits for a release: an operator's, or a key that is missing */
	QUEUE_STATE_COUNT
};
const char *queue_state_name(enum queue_state state);

/* All members given must fit; zeroed with index = QUEUE_ALL and state = -1 everything does. */
struct queue_filter {
	queue_id id;     /* 0: any */
	uint32_t index;  /* QUEUE_ALL: any recipient of it */
	slice sender;    /* address, or @domain; empty: any. "<>" is the null sender */
	slice recipient; /* address */
	slice domain;    /* of the recipient */
	msec older_ms;   /* at least this old */
	msec newer_ms;   /* at most this old; 0: any */
	int state;       /* enum queue_state, or -1 */
};

/* One recipient as an operator sees it. */
struct queue_row {
	queue_id id;
	uint32_t index;
	enum queue_state state;
	slice sender, recipient;
	slice domain, path; /* path: "source>site", empty when not known yet */
	slice last_reply;   /* the remote's words at the last attempt, or what went wrong */
	slice held_by;      /* who or what holds it: "operator", "sign: no usable key", ... */
	slice waits_for;    /* one line: why it is not being sent now */
	wall_ms received_at, due_at, expires_at;
	uint64_t size;
	uint32_t attempts;
	uint8_t lane;
};

/* Where a list stands; zeroed at first. Opaque bytes, may travel over the control socket. */
struct queue_cursor {
	unsigned char bytes[352];
	uint16_t len;
	bool done;
};

struct queue_page {
	struct arena *arena; /* in: holds the rows */
	size_t max;          /* in */
	struct queue_row *rows;
	size_t count;
};

/* (fiber) The next at most page->max rows that fit, oldest due first within a domain. A page looks
 * at a bounded number of entries, so it may be short or empty before cursor->done. */
enum err queue_list(struct worker *w, const struct queue_filter *f, struct queue_cursor *cursor,
	struct queue_page *page) must_use;

/* (fiber) Recipients by state; exact without filter, from counters; otherwise counted by pages. */
struct queue_counts {
	uint64_t by_state[QUEUE_STATE_COUNT];
	uint64_t messages_bytes; /* of what waits, as stored */
	wall_ms oldest_at;       /* 0 when empty */
};
enum err queue_count(struct worker *w, const struct queue_filter *f,
	struct queue_counts *out) must_use;

enum queue_action {
	QUEUE_RETRY,   /* due now */
	QUEUE_HOLD,    /* stays until released */
	QUEUE_RELEASE, /* due now, if held */
	QUEUE_BOUNCE,  /* fails with a DSN to its sender */
	QUEUE_REMOVE,  /* ends without one */
};
/* (fiber) Apply to all that fit, by pages; *out counts the recipients changed. What is ACTIVE is
 * changed only if its present attempt does not finish it. */
enum err queue_act(struct worker *w, const struct queue_filter *f, enum queue_action action,
	uint64_t *out) must_use;

#endif
