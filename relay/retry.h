/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry.h - from what happened at an attempt to what happens next.
 *
 * One table, reply class and phase to action; and the arithmetic of back-off. Pure functions: time
 * and randomness are arguments, nothing waits, nothing fails. */
#ifndef RELAY_RETRY_H
#define RELAY_RETRY_H

#include "core/base/base.h"

/* How far the attempt had come. */
enum retry_phase {
	RETRY_ROUTE,   /* MX, addresses */
	RETRY_CONNECT, /* until the greeting was read */
	RETRY_HELLO,   /* EHLO, STARTTLS, AUTH */
	RETRY_MAIL,
	RETRY_RCPT,
	RETRY_DATA, /* the reply to DATA or to a BDAT that is not the last */
	RETRY_DOT,  /* the reply to the message */
	RETRY_PHASES
};

/* What was seen there. */
enum retry_class {
	RETRY_2XX,
	RETRY_4XX,
	RETRY_421, /* "closing channel", at any place */
	RETRY_5XX,
	RETRY_BROKEN, /* reset, end of stream, nonsense */
	RETRY_SLOW,   /* a time-out */
	RETRY_NONE,   /* we never asked: policy, conversion, DNS; see the err */
	RETRY_CLASSES
};

enum retry_action {
	RETRY_DELIVERED,
	RETRY_DEFER,     /* again after back-off; counts as an attempt */
	RETRY_NEXT_HOST, /* the next MX or address now; if none is left: RETRY_DEFER */
	RETRY_AGAIN,     /* at once on another connection; not an attempt */
	RETRY_FAIL,      /* bounce */
	RETRY_HOLD,      /* until an operator or a key releases it */
};

/* The table. */
enum retry_action retry_action(enum retry_phase phase, enum retry_class class);
/* The class of a reply code (200-599), or of the err that stood in its place. */
enum retry_class retry_class_of_code(unsigned code);
enum retry_class retry_class_of_err(enum err err);
/* What an error of routing means: ERR_DNS_NXDOMAIN, ERR_DENIED (null MX) and ERR_INVALID fail. */
enum retry_action retry_action_of_route(enum err err);
const char *retry_phase_name(enum retry_phase phase);

struct retry_times {
	msec first_ms, max_ms, expire_ms;
	int64_t factor;
	msec warn_ms;
};

/* The wait behind the attempt with this number (1: the first): first * factor^(n-1), at most max,
 * then 85 to 115 % of it by `random`, so that what failed together does not come back together. */
msec retry_backoff(const struct retry_times *t, uint32_t attempts, uint64_t random);

/* When the next attempt is due; never behind the expiry by more than nothing: the last attempt
 * falls on the expiry itself, so that nothing ends without an attempt after its time came. */
wall_ms retry_due(const struct retry_times *t, wall_ms received_at, wall_ms now, msec backoff_ms);

/* May an attempt that began at `attempt_at` and failed end the message? */
bool retry_expired(const struct retry_times *t, wall_ms received_at, wall_ms attempt_at);

/* Is a delay warning due now that was not sent yet? */
bool retry_warns(const struct retry_times *t, wall_ms received_at, wall_ms now);

#endif
