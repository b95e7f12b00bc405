/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay_town.h - around a server that relays: names, next hops, submitting clients. */
#ifndef TESTS_SIM_RELAY_TOWN_H
#define TESTS_SIM_RELAY_TOWN_H

#include "relay/resolver.h"
#include "tests/sim/oracle.h"
#include "tests/sim/town.h"

struct tls_client;
struct tls_server;

/* --- relay_names.c: domains and exchangers, as a table --- */
enum host_kind {
	HOST_GOOD,
	HOST_PLAIN,   /* no extension at all */
	HOST_CHUNKS,  /* offers CHUNKING and PIPELINING */
	HOST_REJECTS, /* 5xx for recipients with an odd number */
	HOST_DEFERS,  /* 4xx for ever */
	HOST_ABSENT,  /* nobody listens */
	HOST_SIX,     /* has an IPv6 address only */
	HOST_LMTP,    /* by a route: a reply for each recipient */
};
struct host {
	const char *name;
	unsigned char last_octet; /* 192.0.2.x */
	enum host_kind kind;
};
extern const struct host town_hosts[];
extern const unsigned town_host_count;
extern const char *const town_domains[]; /* clients send to; NULL at the end */
/* A domain that never takes anything. */
bool town_refuses(const char *domain);
struct addr town_address(const struct host *host);

/* --- relay_sink.c: on the worker, from a fiber --- */
enum err sink_start(struct worker *w, const struct host *host);

/* --- relay_house.c --- */
#define TOWN_PASSWORD "a password of the simulation"
/* With the house closed or crashed: lose a part of the index and make it anew, perhaps dying on the way.
 * `snapshots`: they are lost, too, and with them what stood in the history they had replaced. True: there
 * is a gap, and the queue is on hold until operator_look_through. Complains. */
bool town_rebuild(bool snapshots);
/* Complain of a queue that does not drain. */
void town_say_queue(void);
/* --- relay_operator.c: on a fiber of the worker --- */
void operator_look_through(struct worker *w);
unsigned operator_released(void); /* recipients, of all lives */

/* Both ends of TLS in the town use the server's own options. */
struct tls_client *town_tls_client(void);
struct tls_server *town_tls_server(void);

/* Bodies: lines made from the message's number, so both ends know them. */
struct body_hash {
	uint64_t sum;
	size_t bytes;
};
void body_hash_add(struct body_hash *h, slice bytes);

#endif
