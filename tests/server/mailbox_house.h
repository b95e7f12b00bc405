/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_house.h - the house around a POP3 or IMAP session: connection and clock of house.h, the store real.
 *
 * The store lies in a temporary folder and serves all houses of a process, each with an account of its
 * own (alice@own.test, "secret"), so that opening one costs a record. No worker runs: everything
 * that waits blocks. Nothing tells of commits: a session in IDLE hears of none. */
#ifndef TESTS_SERVER_MAILBOX_HOUSE_H
#define TESTS_SERVER_MAILBOX_HOUSE_H

#include "store/mailbox.h"
#include "tests/server/house.h"
#include "tests/support/feed.h"

/* Of the house that is open. */
uint64_t mailbox_house_account(void);
/* Another session removes these uids of INBOX, whatever their flags. How many went; *out_pos (may be
 * NULL): when. */
uint32_t mailbox_house_expunge(uint32_t first, uint32_t last, modseq *out_pos);

/* Sends the bytes, cut so, until they or the session end. `look` gets what was answered to each piece. */
struct mailbox_house_play {
	enum feed_cut cut;
	uint32_t seed;
	void (*look)(void *arg, slice replies);
	void *arg;
};
void mailbox_house_play(slice bytes, struct mailbox_house_play *play);

#endif
