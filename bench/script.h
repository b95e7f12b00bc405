/* SPDX-License-Identifier: GPL-2.0-or-later */
/* script.h - how the sink misbehaves, written as lines of text.
 *
 *   # when     action                      conditions
 *   connect    delay 50ms
 *   starttls   absent                                      the keyword is not offered
 *   starttls   broken                      share 20%       "220 go ahead", then not TLS
 *   rcpt       reply 451 4.7.1 try later   share 10%
 *   rcpt       greylist 30s                                451 until the pair is so old
 *   mail       reply 421 4.7.0 slow down   after 1000 for 10s
 *   body       drop                        share 1%        closed in the middle of DATA
 *   body       slow 16K                                    bytes a second
 *
 * `when` is connect ehlo starttls mail rcpt data body dot. `share` is a part of the cases; `after N`
 * holds from the N-th accepted message of the sink on, `for` ends it that much later. The first
 * rule that holds wins; a delay lets the later rules speak too. The script belongs to its caller and
 * is read-only once parsed, so workers share it; what changes (dice, start times) is passed in. */
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include "core/base/base.h"

#include <stdatomic.h>

enum script_when {
	SCRIPT_CONNECT,
	SCRIPT_EHLO,
	SCRIPT_STARTTLS,
	SCRIPT_MAIL,
	SCRIPT_RCPT,
	SCRIPT_DATA,
	SCRIPT_BODY,
	SCRIPT_DOT,
	SCRIPT_WHENS
};

enum script_action {
	SCRIPT_NOTHING,
	SCRIPT_REPLY,
	SCRIPT_DELAY,
	SCRIPT_DROP,
	SCRIPT_SLOW,
	SCRIPT_GREYLIST,
	SCRIPT_ABSENT,
	SCRIPT_BROKEN
};

struct script_rule {
	enum script_when when;
	enum script_action action;
	slice reply;               /* SCRIPT_REPLY: code and text */
	uint64_t amount;           /* delay and greylist: ms; slow: bytes a second */
	uint32_t share;            /* of 1,000,000 */
	uint64_t after_messages;   /* of the whole sink */
	msec for_ms;               /* 0: for ever */
	atomic_int_fast64_t since; /* msec of the first time it held; 0: never */
};

struct script {
	struct script_rule *rules;
	size_t count;
	struct arena arena;
};

/* Parses the whole text. False: `why` says which line and what. */
bool script_parse(struct script *s, slice text, char *why, size_t why_len) must_use;
void script_done(struct script *s);

/* When it is asked: a fresh random number, how many messages the sink has accepted, and the clock. */
struct script_moment {
	uint64_t dice, messages;
	msec now;
};
/* What to do at this moment. *at is where to go on when the answer was a delay (0 at first). NULL:
 * nothing. */
struct script_rule *script_next(struct script *s, enum script_when when,
	const struct script_moment *m, size_t *at);
#endif
