/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_talk.h - a client's POP3 in straight lines, on a fiber.
 *
 * Stands on a talk, whose code and text say what the server answered: 200 for +OK, 500 for -ERR, 0 when
 * the connection is gone. Answers are counted, never kept. A talk belongs to its fiber. Steps are
 * false when the answer was no +OK. */
#ifndef BENCH_POP3_TALK_H
#define BENCH_POP3_TALK_H

#include "bench/answer.h"
#include "bench/talk.h"

struct pop3_talk {
	struct talk *talk;
	struct pop3_answer answer;
	bool logged_in;
	uint64_t messages; /* STAT after the login */
	struct talk_cost cost;
};

/* Connect, TLS as the target says, greeting. */
bool pop3_open(struct pop3_talk *t);
/* USER and PASS, or AUTH PLAIN when the target's mechanism is SASL_PLAIN; then STAT. */
bool pop3_login(struct pop3_talk *t, slice user, slice password);
/* The next answer; `multi`: of several lines. The caller wrote the command. */
bool pop3_wait(struct pop3_talk *t, const char *verb, bool multi);
/* A command whose answer is one line; CR LF is put behind. */
bool pop3_do(struct pop3_talk *t, const char *verb, slice command);
/* QUIT when `polite`, then close. Harmless when not open. */
void pop3_close(struct pop3_talk *t, bool polite);

#endif
