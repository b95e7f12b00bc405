/* SPDX-License-Identifier: GPL-2.0-or-later */
/* answer.h - the ends of a server's answers, found without keeping them.
 *
 * A generator wants to know when an answer is over, how it began, and how long it was; the gigabytes
 * between are skipped where they lie. Feed bytes as they come; DONE says that one response ended
 * (behind *used), whose first bytes are in `head` until the next feed. Zeroed is ready. Pure; never BAD:
 * what is no IMAP or POP3 is a line of its own. */
#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H

#include "core/base/base.h"

enum { ANSWER_HEAD = 256, ANSWER_TAIL = 24 };

/* An untagged, tagged or continuation response of IMAP, literals and all. */
struct imap_answer {
	char head[ANSWER_HEAD]; /* without line end */
	unsigned head_len;
	char tail
		[ANSWER_TAIL]; /* the last bytes of the line so far: a literal is announced there */
	unsigned tail_len;
	uint64_t literal; /* bytes of it still to come */
	bool later;       /* behind a literal: not the head any more */
	bool over;        /* the next feed begins a response */
};
enum step imap_answer_feed(struct imap_answer *a, slice in, size_t *used) must_use;

/* A reply of POP3: one line, or with `multi` and "+OK" all lines up to the lone dot. */
struct pop3_answer {
	char head[ANSWER_HEAD];
	unsigned head_len;
	bool multi; /* set it before the reply begins */
	bool body;  /* behind the first line */
	bool over;
	uint8_t at_line; /* bytes of the present line that were seen, up to 3 */
	bool dot;        /* its first was a dot */
};
enum step pop3_answer_feed(struct pop3_answer *a, slice in, size_t *used) must_use;

#endif
