/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mail_town.h - clients of a mailbox server in a simulated run: who delivers, who reads.
 *
 * They run on the server's own workers and die with them; the ledger and `mail_town` outlive a
 * crash. Each fiber does one thing after the other until it is told to stop. */
#ifndef TESTS_SIM_MAIL_TOWN_H
#define TESTS_SIM_MAIL_TOWN_H

#include "core/addr.h"
#include "core/sim.h"
#include "tests/sim/ledger.h"

struct conn;
struct worker;

struct mail_town {
	bool faults;   /* clients break off */
	bool stopping; /* they start nothing new */
	bool audit;    /* readers look at each mailbox once and must succeed */
	unsigned left; /* letters still to be delivered in this life */
	unsigned clients, busy, audited;
	unsigned large_per_mille;
	msec pause_ms;
	uint64_t kept; /* letters in all mailboxes at the audit */
};
extern struct mail_town mail_town;

#define MAIL_TOWN_SERVER "198.51.100.1"
#define MAIL_TOWN_DOMAIN "home.test"
#define MAIL_TOWN_PASSWORD "secret"

/* Client number n of this life; each is of another kind. */
void mail_town_start(struct worker *w, unsigned n);

static inline bool mail_town_bad(unsigned per_mille)
{
	return mail_town.faults && sim_random(1000) < per_mille;
}

/* --- A line-wise connection: talk.c's --- */
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
