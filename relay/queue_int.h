/* SPDX-License-Identifier: GPL-2.0-or-later */
/* queue_int.h - what an operator's request finds in the queue; shared by queue_find.c, queue_list.c and
 * queue_act.c.
 *
 * Two places hold recipients: the paths' lanes in RAM, bounded by options and looked through on their
 * own workers, and rows on disk, read on helper threads. */
#ifndef RELAY_QUEUE_INT_H
#define RELAY_QUEUE_INT_H

#include "relay/relay_int.h"

struct item;
struct parcel;

enum { QUEUE_PAGE = 256 }; /* rows of the disk read at once */

/* A recipient in RAM. On its worker. */
bool queue_item_fits(const struct queue_filter *f, struct relay_here *r, enum queue_state state,
	const struct parcel *p, const struct item *it);

/* The state of a row on disk, whether or not it is in hand. */
enum queue_state queue_state_of(const struct schedule_entry *entry);
/* (fiber) The next rows that fit; moves `from` on. For ACTIVE also rows that would be parked if nobody
 * had them in hand. */
enum err queue_read(struct relay_here *r, const struct queue_filter *f,
	struct schedule_cursor *from, struct arena *a, struct schedule_page *out) must_use;

/* Asks the workers which rows are in hand, that is, on their way from here to a next hop. */
struct queue_ask {
	const struct schedule_entry *entries;
	size_t len;
	bool *in_hand;
	bool touched; /* rather forget what is remembered of them */
};
/* (fiber) */
void queue_ask(struct queue_ask *ask);

#endif
