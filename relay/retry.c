/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry.c - the decision table and the back-off.
 *
 * Rows are phases, columns what was seen. The one rule that surprises: a 421 or a break before the
 * reply to MAIL says something about the connection and nothing about the message, so it costs no
 * attempt; from RCPT on it does, or a peer that drops every message would be asked for ever. */
#include "relay/retry.h"

/* Short names, so that the table fits a screen. */
enum {
	OKAY = RETRY_DELIVERED,
	LATER = RETRY_DEFER,
	NEXT = RETRY_NEXT_HOST,
	AGAIN = RETRY_AGAIN,
	FAIL = RETRY_FAIL,
};

static const uint8_t actions[RETRY_PHASES][RETRY_CLASSES] = {
	/* clang-format off */
/*                   2XX    4XX    421    5XX    BROKEN SLOW   NONE  */
[RETRY_ROUTE]    = { LATER, LATER, LATER, FAIL,  LATER, LATER, LATER },
[RETRY_CONNECT]  = { NEXT,  NEXT,  NEXT,  NEXT,  NEXT,  NEXT,  NEXT  },
[RETRY_HELLO]    = { NEXT,  NEXT,  NEXT,  NEXT,  NEXT,  NEXT,  NEXT  },
[RETRY_MAIL]     = { LATER, LATER, AGAIN, FAIL,  AGAIN, LATER, FAIL  },
[RETRY_RCPT]     = { LATER, LATER, LATER, FAIL,  LATER, LATER, FAIL  },
[RETRY_DATA]     = { LATER, LATER, LATER, FAIL,  LATER, LATER, FAIL  },
[RETRY_DOT]      = { OKAY,  LATER, LATER, FAIL,  LATER, LATER, FAIL  },
	/* clang-format on */
};

enum retry_action retry_action(enum retry_phase phase, enum retry_class class)
{
	must((unsigned)phase < RETRY_PHASES && (unsigned)class < RETRY_CLASSES);
	return (enum retry_action)actions[phase][class];
}

enum retry_class retry_class_of_code(unsigned code)
{
	if (code == 421)
		return RETRY_421;
	if (code >= 200 && code < 300)
		return RETRY_2XX;
	if (code >= 400 && code < 500)
		return RETRY_4XX;
	if (code >= 500 && code < 600)
		return RETRY_5XX;
	return RETRY_BROKEN;
}

enum retry_class retry_class_of_err(enum err err)
{
	return err == ERR_TIMEOUT ? RETRY_SLOW : RETRY_BROKEN;
}

enum retry_action retry_action_of_route(enum err err)
{
	switch (err) {
	case ERR_DNS_NXDOMAIN: /* 5.1.2 */
	case ERR_DENIED:       /* null MX, RFC 7505: 5.1.10 */
	case ERR_INVALID:      /* not a domain: 5.1.2 */
	case ERR_NOT_FOUND:    /* no MX, no address: 5.1.2 */
		return RETRY_FAIL;
	default:
		return RETRY_DEFER;
	}
}

const char *retry_phase_name(enum retry_phase phase)
{
	static const char *const names[] = { "route", "connect", "hello", "mail", "rcpt", "data",
		"dot" };

	return (unsigned)phase < array_len(names) ? names[phase] : "?";
}

msec retry_backoff(const struct retry_times *t, uint32_t attempts, uint64_t random)
{
	msec wait = MAX(t->first_ms, 1);

	for (uint32_t i = 1; i < attempts && wait < t->max_ms && t->factor > 1; i++)
		wait = wait > t->max_ms / t->factor ? t->max_ms : wait * t->factor;
	if (t->max_ms > 0)
		wait = MIN(wait, t->max_ms);
	return wait * 85 / 100 + (msec)(random % (uint64_t)(wait * 30 / 100 + 1));
}

wall_ms retry_due(const struct retry_times *t, wall_ms received_at, wall_ms now, msec backoff_ms)
{
	wall_ms expiry = received_at + t->expire_ms;
	wall_ms due = now + backoff_ms;

	return now < expiry && due > expiry ? expiry : due;
}

bool retry_expired(const struct retry_times *t, wall_ms received_at, wall_ms attempt_at)
{
	return attempt_at >= received_at + t->expire_ms;
}

bool retry_warns(const struct retry_times *t, wall_ms received_at, wall_ms now)
{
	return t->warn_ms > 0 && now >= received_at + t->warn_ms;
}
