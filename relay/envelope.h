/* SPDX-License-Identifier: GPL-2.0-or-later */
/* envelope.h - all that is known of one accepted message apart from its bytes.
 *
 * Filled by whoever takes a message in (a session, the DSN maker), then stored as the opaque `meta`
 * of the message's record. Every slice belongs to the caller, or after envelope_decode points into
 * the decoded bytes; recipients are an array of the caller or of the arena given to decode.
 * Encoding cannot fail but by overflow of the writer; decoding fails on anything foreign, never
 * aborts. */
#ifndef RELAY_ENVELOPE_H
#define RELAY_ENVELOPE_H

#include "core/base/base.h"

/* One id per message: the store's, so it exists once the message is durable; never 0. Recipient n
 * of it is written `id.n`. */
typedef uint64_t queue_id;

/* What the client declared with BODY= (RFC 6152, RFC 3030). */
enum envelope_body { ENVELOPE_7BIT, ENVELOPE_8BITMIME, ENVELOPE_BINARYMIME };

/* RET= (RFC 3461 4.3). */
enum envelope_ret { ENVELOPE_RET_NONE, ENVELOPE_RET_HDRS, ENVELOPE_RET_FULL };

/* NOTIFY= (RFC 3461 4.1): a set; 0 when the parameter was absent. */
enum envelope_notify {
	ENVELOPE_NOTIFY_NEVER = 1,
	ENVELOPE_NOTIFY_SUCCESS = 2,
	ENVELOPE_NOTIFY_FAILURE = 4,
	ENVELOPE_NOTIFY_DELAY = 8,
};

/* Where it came from; decides whether it is signed (submission and our own DSNs only). */
enum envelope_origin {
	ENVELOPE_RELAYED,    /* port 25, LMTP: never signed */
	ENVELOPE_SUBMISSION, /* 587, 465 */
	ENVELOPE_DSN = 3,    /* made by relay/bounce */
	ENVELOPE_ORIGIN_COUNT
};

/* MT-PRIORITY (RFC 6710): positive priorities are transactional, all else waits behind them. */
enum envelope_lane { ENVELOPE_TRANSACTIONAL, ENVELOPE_BULK, ENVELOPE_LANE_COUNT };

/* Which canonical form body_hash was made with (RFC 6376 3.4.3, 3.4.4). */
enum envelope_hash { ENVELOPE_HASH_NONE, ENVELOPE_HASH_SIMPLE, ENVELOPE_HASH_RELAXED };

struct envelope_rcpt {
	slice address;  /* local@domain, domain in lower case, no brackets; "" never */
	slice orcpt;    /* decoded "rfc822;a@b" of ORCPT=, or empty */
	uint32_t index; /* the n of id.n; set by position when encoded */
	uint8_t notify; /* set of enum envelope_notify */
};

struct envelope {
	queue_id id;    /* 0 until stored; not part of the binary form */
	uint64_t trace; /* what our Received field calls it, from queue_trace_new; 0: nothing */
	wall_ms received_at;
	wall_ms hold_until; /* FUTURERELEASE (RFC 4865); 0: none */
	slice sender;       /* "" is the null sender <> */
	slice envid;        /* decoded ENVID=, or empty */
	slice account;      /* who logged in, or empty */
	uint64_t size; /* bytes as stored: trace fields included, CRLF line ends, no dots added */
	uint32_t header_bytes;       /* from byte 0 through the empty line that ends the header */
	uint8_t body;                /* enum envelope_body */
	uint8_t ret;                 /* enum envelope_ret */
	uint8_t origin;              /* enum envelope_origin */
	uint8_t lane;                /* enum envelope_lane */
	uint8_t body_hash_form;      /* enum envelope_hash: of body_hash */
	bool smtputf8;               /* SMTPUTF8 was given at MAIL (RFC 6531 3.4) */
	bool has_8bit;               /* an octet over 127 stands behind the header */
	bool header_8bit;            /* an octet over 127 stands in the header */
	bool tls;                    /* it came in over TLS */
	bool has_priority;           /* MT-PRIORITY was given, and goes on with the message */
	int8_t priority;             /* -9 to 9 */
	uint8_t hops;                /* Received fields counted at intake, ours included */
	unsigned char body_hash[32]; /* SHA-256 of the body bytes as stored */
	struct envelope_rcpt *rcpts;
	uint32_t rcpt_count; /* >= 1 */
};

enum {
	ENVELOPE_VERSION = 1,
	ENVELOPE_RCPTS_MAX = 50000, /* of one record; the session's own limits are lower */
	ENVELOPE_TEXT_MAX = 4096,   /* of one string */
};

/* Append the binary form (a version byte first). */
void envelope_encode(const struct envelope *e, struct out *o);

/* The inverse; recipients come from the arena, strings point into `meta`. ERR_CORRUPT when the
 * bytes are no envelope, ERR_UNSUPPORTED when a newer version wrote them. */
enum err envelope_decode(slice meta, struct arena *a, struct envelope *out) must_use;

/* "b" of "a@b"; empty when there is no at-sign. The last one counts: local parts may be quoted. */
slice envelope_domain(slice address);

/* When its age begins: a message that was to wait is not late for having waited (RFC 4865 4.5). */
wall_ms envelope_began(const struct envelope *e);

/* Milliseconds to wait before the first attempt: hold_until less `now`, never negative. */
msec envelope_hold_ms(const struct envelope *e, wall_ms now);

#endif
