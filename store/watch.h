/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watch.h - who wants to know when a mailbox changed: told at the commit, on his own worker.
 *
 * A watch is embedded in its owner and belongs to the worker that added it. It is called from the
 * loop after every commit that changed its mailbox, and once too often rather than not at all: when
 * a commit changed more mailboxes than a notice holds, all watches are called. Nothing here waits
 * or fails; without watches a commit tells nobody and costs nothing. */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include "core/base/base.h"

struct store;

struct watch {
	struct list_link link;
	uint64_t account;
	uint32_t mailbox; /* 0: any of the account, and its list of mailboxes */
	/* May remove itself or others, and add. What it reads may be newer than what it is told of. */
	void (*changed)(struct watch *watch);
};
void watch_add(struct store *st, struct watch *watch);
/* Harmless when it is not there; after it returns it is not called. */
void watch_remove(struct store *st, struct watch *watch);

#endif
