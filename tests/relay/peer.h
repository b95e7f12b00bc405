/* SPDX-License-Identifier: GPL-2.0-or-later */
/* peer.h - a scripted next hop on a thread of its own, with plain blocking sockets.
 *
 * It speaks ordinary ESMTP on a free port of 127.0.0.1 and keeps every message it took. A script
 * may answer any command itself. It shares nothing with the engine, so what it sees is what came
 * over the wire. */
#ifndef TESTS_RELAY_PEER_H
#define TESTS_RELAY_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEER_MESSAGES_MAX = 20000, PEER_RCPTS_MAX = 64 };

struct peer_message {
	char *mail, *data; /* the MAIL line, the content as received (dots still doubled) */
	char *rcpts[PEER_RCPTS_MAX];
	unsigned rcpt_count, session;
	bool bdat;
};

struct peer {
	int fd;
	uint16_t port;
	pthread_t thread;
	pthread_mutex_t lock;
	/* The answer to a command line (or "." for the end of data), or NULL for the usual one. A text
	 * beginning with "!" closes without a word, one that ends in "!" behind it, "~" is an answer
	 * that drips for ever. Sessions read these while the test may still set them. */
	const char *(*_Atomic script)(struct peer *p, unsigned session, const char *line);
	const char *_Atomic
		ehlo; /* lines behind the greeting of EHLO, each "250-X\r\n", "250 X\r\n" last */
	atomic_bool lmtp;
	atomic_uint sessions, mails, count, alive;
	atomic_bool stopping;
	struct peer_message messages[PEER_MESSAGES_MAX];
	void *arg;
};

/* port 0: a free one. Stop it when the relay has stopped; its messages go with it. */
struct peer *peer_start(uint16_t port);
void peer_stop(struct peer *p);
/* How many recipients, of messages it took, have the text in their RCPT line. */
unsigned peer_rcpts(struct peer *p, const char *text);

#endif
