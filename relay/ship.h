/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ship.h - one transaction: the recipients in it, its body, and what becomes of each of them.
 *
 * Built from a parcel (and further ones of the same message that wait right behind it), offered to
 * the machine, and closed when the machine says how it ended: then every recipient has an outcome,
 * or is back in the outlet for a further transaction. */
#ifndef RELAY_SHIP_H
#define RELAY_SHIP_H

#include "proto/smtp/client.h"
#include "relay/freight.h"
#include "relay/relay_int.h"

struct hop;

struct ship_rcpt {
	struct parcel *p;
	struct item *it;
	struct mail_addr addr;
	slice orcpt_type, orcpt;
	bool accepted, again;
};

struct ship {
	struct smtp_txn txn;
	struct smtp_mail mail;
	struct arena arena;
	struct hop *hop;
	struct message *m; /* NULL: free */
	struct list parcels;
	struct ship_rcpt *rcpts;
	struct freight freight;
	uint32_t max;
};

/* (fiber) From the parcel, consumed in every case. True: offer &s->txn. False: nothing is to be
 * sent, its recipients have their outcomes already. */
bool ship_build(struct hop *h, struct ship *s, struct parcel *p) must_use;
/* Its body cannot be read on; the connection ends, and with it the transaction. */
void ship_spoiled(struct ship *s, enum err err);
/* SMTP_EV_RCPT, SMTP_EV_FINAL. */
void ship_rcpt_reply(struct ship *s, const struct smtp_client_event *ev);
void ship_final(struct ship *s, const struct smtp_client_event *ev);
/* SMTP_EV_DONE: everybody gets an outcome; the ship is free again. */
void ship_done(struct ship *s, const struct smtp_client_event *ev);
/* It was built and could not be offered: back to the outlet. */
void ship_unload(struct ship *s);

#endif
