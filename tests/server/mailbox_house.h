/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mailbox_house.h - the house around a POP3 or IMAP session: connection and clock of house.h, the store real.
 *
 * The store lies in a temporary folder and serves all houses of a process, each with an account of its
 * own (alice@own.test, "secret"), so that opening one costs a record. No worker runs: everything
 * that waits blocks. Nothing tells of commits: a session in IDLE hears of none. */
#ifndef TESTS_SERVER_MAILBOX_HOUSE_H
#define TESTS_SERVER_MAILBOX_HOUSE_H

#include "tests/server/house.h"

/* Of the house that is open. */
uint64_t mailbox_house_account(void);

#endif
