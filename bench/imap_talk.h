/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_talk.h - a client's IMAP in straight lines, on a fiber.
 *
 * Stands on a talk, whose code and text say what the server answered: 200 for OK, 400 for NO, 500 for
 * BAD, 421 for BYE, 0 when the connection is gone. Answers are counted, never kept. A talk belongs to
 * its fiber. Steps are false when the answer was no OK. */
#ifndef BENCH_IMAP_TALK_H
#define BENCH_IMAP_TALK_H

#include "bench/answer.h"
#include "bench/talk.h"

struct imap_talk {
	struct talk *talk;
	struct imap_answer answer;
	uint64_t tag;     /* of the last command */
	unsigned pending; /* commands not answered yet */
	bool plus;        /* the last answer was a continuation */
	uint64_t exists;  /* as last told */
	/* Items: FETCH responses. First: of what answers the last of the pending commands. */
	struct talk_cost cost;
};

/* Connect, TLS as the target says, greeting. */
bool imap_open(struct imap_talk *t);
/* LOGIN, or AUTHENTICATE PLAIN when the target's mechanism is SASL_PLAIN. */
bool imap_login(struct imap_talk *t, slice user, slice password);
/* COMPRESS DEFLATE; from here on what was written is compressed. */
bool imap_compress(struct imap_talk *t);
/* A tag is put before, CR LF behind. */
void imap_send(struct imap_talk *t, slice command);
/* Only the tag: the caller writes the rest of the command. */
void imap_begin(struct imap_talk *t);
/* Until all pending commands were answered; false when one was refused. */
bool imap_wait(struct imap_talk *t, const char *verb);
/* Until "+". */
bool imap_wait_plus(struct imap_talk *t, const char *verb);
/* The two together. */
bool imap_do(struct imap_talk *t, const char *verb, slice command);
/* LOGOUT when `polite`, then close. Harmless when not open. */
void imap_close(struct imap_talk *t, bool polite);

#endif
