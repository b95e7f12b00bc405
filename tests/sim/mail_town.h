/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mail_town.h - clients of a mailbox server: who delivers, who reads.
 *
 * The ledger and `mail_audit` outlive a crash. Each fiber does one thing after the other until it is
 * told to stop. */
#ifndef TESTS_SIM_MAIL_TOWN_H
#define TESTS_SIM_MAIL_TOWN_H

#include "tests/sim/ledger.h"
#include "tests/sim/town.h"

struct conn;

/* The last life: a reader looks at each mailbox once and must succeed. */
struct mail_audit {
	bool on;
	unsigned done;
	uint64_t kept; /* letters found in all mailboxes */
};
extern struct mail_audit mail_audit;

#define MAIL_TOWN_DOMAIN "home.test"
#define MAIL_TOWN_PASSWORD "secret"
/* One box may hold only so many letters: exactly, whoever brings them. */
enum { MAIL_SMALL_BOX = BOXES - 1, MAIL_SMALL_LETTERS = 12 };

/* --- A line-wise connection: mail_talk.c's --- */
struct talk {
	struct conn *c;
	size_t len;
	char line[1024]; /* the last one, without its end, NUL behind */
};
bool talk_open(struct talk *t, uint16_t port);
void talk_close(struct talk *t, bool abort);
/* False: the connection is over, and the line empty. A longer line is cut. */
bool talk_line(struct talk *t);
void talk_send(struct talk *t, const char *fmt, ...) printf_like(2, 3);
/* Lines up to the one that begins so. */
bool talk_until(struct talk *t, const char *prefix);
/* False: gone. */
bool talk_flush(struct talk *t);
bool talk_starts(const struct talk *t, const char *prefix);

/* --- What clients do, each on a connection of its own --- */
void deliver_smtp(struct talk *t, bool lmtp);
void read_pop3(struct talk *t, unsigned box);
void read_imap(struct talk *t, unsigned box);

/* Header and body of a letter; `dots`: doubled. False: broken off on purpose, or the connection is
 * over. */
bool letter_send(struct talk *t, uint32_t number, const struct letter *letter, bool dots);
size_t letter_bytes(uint32_t number, const struct letter *letter);
struct letter *letter_make(uint32_t *out_number, unsigned boxes);
/* "Subject: message 7"; false: not such a line. */
bool letter_number(const char *text, uint32_t *out);

#endif
