/* SPDX-License-Identifier: GPL-2.0-or-later */
/* town.h - everybody around the server in a simulated run: names, next hops, submitting clients.
 *
 * All of it runs on the server's own workers inside the simulation and dies with them; only the
 * oracle and `town` outlive a crash. What goes wrong is drawn from the seed while town.faults. */
#ifndef TESTS_SIM_TOWN_H
#define TESTS_SIM_TOWN_H

#include "core/addr.h"
#include "core/sim.h"
#include "relay/resolver.h"
#include "tests/sim/oracle.h"

struct worker;

struct town {
	bool faults;           /* next hops and names misbehave, clients break off */
	bool stopping;         /* clients start nothing new */
	unsigned left;         /* messages still to be submitted in this life */
	unsigned clients;      /* to start */
	unsigned clients_busy; /* running now */
	unsigned sessions;     /* of next hops, all lives: their names */
	unsigned large_per_mille;
	msec client_pause_ms;
};
extern struct town town;

/* True so often while things may go wrong. */
static inline bool town_bad(unsigned per_mille)
{
	return town.faults && sim_random(1000) < per_mille;
}

/* --- names.c: domains and exchangers, as a table --- */
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
resolver_hook_fn town_resolve;

/* --- sink.c: on the worker, from a fiber --- */
enum err sink_start(struct worker *w, const struct host *host);

/* --- client.c --- */
#define TOWN_PASSWORD "a password of the simulation"
extern const char town_server[]; /* where the server listens */
void client_start(struct worker *w);

/* Bodies: lines made from the message's number, so both ends know them. */
struct body_hash {
	uint64_t sum;
	size_t bytes;
};
void body_hash_add(struct body_hash *h, slice bytes);

#endif
