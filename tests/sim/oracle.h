/* SPDX-License-Identifier: GPL-2.0-or-later */
/* oracle.h - what was promised and what came of it, kept outside the simulated process.
 *
 * Clients and next hops of a simulated run write down here what they saw; it survives crashes. A
 * recipient is named by its address: r<message>-<n>@domain, a report by s<message>@sender.test.
 * oracle_judge() then compares. Memory is the oracle's, dropped by oracle_reset(). */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include "core/base/base.h"

enum { ORACLE_RCPTS_MAX = 8 };

/* What the client read behind its last byte. */
enum fate {
	FATE_UNKNOWN, /* nothing: the message may come or not */
	FATE_ACCEPTED,
	FATE_REFUSED,
};

struct oracle_rcpt {
	char domain[24];
	bool taken;      /* its RCPT got 250 */
	bool refused;    /* a next hop said 5xx, or its domain takes nothing: a report is right */
	msec refused_at; /* by a next hop, the last time */
	bool doubtful;   /* the process died then: there may be a report and no result yet */
	unsigned deliveries, reports;
	unsigned excused; /* deliveries whose 250 may never have become a durable result */
};

struct oracle_message {
	enum fate fate;
	bool complete;  /* its last byte was sent */
	bool submitted; /* after a login: it must come signed */
	uint64_t hash;  /* of the body, without header */
	size_t bytes;
	unsigned rcpt_count;
	struct oracle_rcpt rcpts[ORACLE_RCPTS_MAX];
};

void oracle_reset(void);
/* A new message; its number names it. */
struct oracle_message *oracle_new(uint32_t *out_number);
struct oracle_message *oracle_message(uint32_t number); /* NULL: there is none */
uint32_t oracle_count(void);

/* A rule was broken. The first few are printed, all are counted. */
void oracle_complain(const char *fmt, ...) printf_like(1, 2);
unsigned oracle_complaints(void);

/* Reads "r<message>-<n>@..."; NULL: not one of ours. */
struct oracle_rcpt *oracle_find(slice address, uint32_t *out_message, unsigned *out_n);

/* A next hop is going to say 5xx. */
void oracle_refused(struct oracle_rcpt *rcpt);
/* A next hop took a recipient (or the report about it) and is going to say so. `session` names its
 * connection. */
struct delivery {
	uint32_t message;
	unsigned n, session, transaction;
	bool report;
	bool late; /* the answer comes with oracle_answered */
};
void oracle_delivered(const struct delivery *d);
/* The connection ended without the relay's goodbye: what was taken shortly before may be unknown to
 * the relay. */
void oracle_broken(unsigned session);
/* The session's last transaction is answered only now; `gone`: nobody is there to hear it. */
void oracle_answered(unsigned session, bool gone);
/* The process died. `safe`: results were durable in time until then (no disk faults). */
void oracle_crashed(bool safe);
/* It ended in order: nothing of its life is in doubt, but for what a failing disk made it refuse. */
void oracle_stopped(bool safe);

/* An operator had a report sent whose end nobody knows any more. */
void oracle_report_again(void);

/* A signature was found good. */
void oracle_signed(void);

/* Everything has drained: is all as it must be? Complains. */
void oracle_judge(void);
/* One number for all that happened. */
uint64_t oracle_trace(void);
void oracle_note(uint64_t what);

struct oracle_sums {
	unsigned accepted, refused, unknown, deliveries, doubles, reports, signatures;
};
struct oracle_sums oracle_sums(void);

#endif
