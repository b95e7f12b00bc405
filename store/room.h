/* SPDX-License-Identifier: GPL-2.0-or-later */
/* room.h - room in accounts and domains, exact while messages are on their way.
 *
 * Usage is rows of the index, which say nothing of what is being written just now. Whoever brings
 * messages into limited accounts takes room first, and ends it with the position of the record; until
 * the index has committed that, the room counts as used. A domain and all its accounts are kept by one
 * worker, who adds what is not in the index yet to what is. A question whose answer hangs on others
 * that are being written waits until those have ended: so nobody is refused for a message that is not
 * stored in the end, and no more than one message goes over a limit. Who needs room in several domains
 * takes it in the order of their names, so that nobody waits in a circle; and holds none while waiting
 * for a client. */
#ifndef STORE_ROOM_H
#define STORE_ROOM_H

#include "core/base/base.h"
#include "store/mailbox.h"

struct room;
struct store;

/* As a limit: 0 is any. */
struct room_sum {
	uint64_t bytes, messages;
};
/* One account's share; each account once. */
struct room_want {
	uint64_t account;
	struct room_sum limit, add;
	bool full; /* out: got none */
};
struct room_ask {
	slice domain;          /* of the accounts; at most 255 bytes */
	struct room_sum limit; /* of the domain */
	/* All that comes in the command before its last message: there must be room behind it. One message
	 * into several accounts is one. */
	struct room_sum before;
	struct room_want *wants;
	size_t len;
	bool always; /* take it, full or not */
};
/* (fiber or no worker) OK: all but those marked full have room, to be ended by room_end; *out is NULL
 * where nothing has a limit. ERR_QUOTA: all are full, *out is NULL. What was freed by then is seen.
 * Else what the index said, or ERR_NOMEM. */
enum err room_take(struct store *st, struct room_ask *ask, struct room **out) must_use;
/* Once for each room, on the worker that took it: the position of the record that brings the messages;
 * 0: there is none. Never waits. NULL is harmless. */
void room_end(struct room *r, modseq pos);

#endif
