/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reply.h - SMTP replies, and what a server says it can do.
 *
 * Reading is by line (smtp_reply_line, no state) or by whole reply (smtp_replies, which joins lines in
 * the caller's buffer). Slices point into the input or that buffer and die with the next call. The
 * text of foreign replies is foreign: control bytes are replaced while it is kept. */
#ifndef PROTO_SMTP_REPLY_H
#define PROTO_SMTP_REPLY_H

#include "core/base/base.h"

/* Enhanced status code (RFC 3463); class 0: none. */
struct smtp_status {
	uint8_t class;
	uint16_t subject, detail;
};

struct smtp_reply_line {
	int code; /* 200 to 599 */
	bool last;
	slice text; /* behind "250-" or "250 ", the enhanced code included */
};

/* One line off the front of `in`. A lone LF ends it too: servers are many, and nothing but the reply
 * hangs on it. STEP_BAD: no reply. STEP_TOO_LONG: over SMTP_REPLY_ACCEPT_MAX. */
enum step smtp_reply_line(slice in, size_t *used, struct smtp_reply_line *out) must_use;

struct smtp_reply {
	int code;
	struct smtp_status status;
	slice text; /* lines joined by LF, without the enhanced codes; cut where the buffer ended */
	bool cut;
};

/* Collects the lines of one reply. `text` and `cap` are the caller's memory; may be nothing. */
struct smtp_replies {
	char *text;
	size_t cap, len;
	uint16_t lines;
	uint16_t code;
	struct smtp_status status;
	bool cut;
};

void smtp_replies_init(struct smtp_replies *r, char *text, size_t cap);
/* Add a line to the reply. STEP_DONE: it is whole, and the next line begins another. STEP_BAD: a code
 * unlike the first line's; STEP_TOO_LONG: over SMTP_REPLY_LINES_MAX. */
enum step smtp_replies_add(struct smtp_replies *r, const struct smtp_reply_line *line,
	struct smtp_reply *out) must_use;

/* "5.7.26" */
void smtp_status_put(struct out *o, struct smtp_status status);

/* What EHLO or LHLO offered. */
enum smtp_cap {
	SMTP_CAP_PIPELINING = 1 << 0,
	SMTP_CAP_8BITMIME = 1 << 1,
	SMTP_CAP_SIZE = 1 << 2,
	SMTP_CAP_STARTTLS = 1 << 3,
	SMTP_CAP_AUTH = 1 << 4,
	SMTP_CAP_CHUNKING = 1 << 5,
	SMTP_CAP_BINARYMIME = 1 << 6,
	SMTP_CAP_DSN = 1 << 7,
	SMTP_CAP_SMTPUTF8 = 1 << 8,
	SMTP_CAP_ENHANCEDSTATUSCODES = 1 << 9,
	SMTP_CAP_REQUIRETLS = 1 << 10,
	SMTP_CAP_LIMITS = 1 << 11,
	SMTP_CAP_MT_PRIORITY = 1 << 12,
	SMTP_CAP_FUTURERELEASE = 1 << 13,
	SMTP_CAP_DELIVERBY = 1 << 14,
};

struct smtp_caps {
	unsigned flags;                               /* SMTP_CAP_* */
	unsigned mechanisms;                          /* SASL_* (proto/sasl/sasl.h) */
	uint64_t size_bytes;                          /* 0: no limit told */
	uint32_t mail_max, rcpt_max, rcpt_domain_max; /* RFC 9422; 0: none told */
};

/* One line behind the greeting line, e.g. "SIZE 10240000". Unknown words are ignored. */
void smtp_caps_add(struct smtp_caps *caps, slice line);
/* The SMTP_P_* (command.h) that such a server understands. */
unsigned smtp_caps_params(const struct smtp_caps *caps);

#endif
