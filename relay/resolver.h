/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resolver.h - names to addresses, MX, A and AAAA, through libunbound.
 *
 * One resolver per worker; its descriptor is polled by the ring, its cache is libunbound's and
 * holds answers by their TTL. Fiber calls wait for the answer, made in the caller's arena.
 * Errors: ERR_DNS_NXDOMAIN (no such name: permanent), ERR_NOT_FOUND (the name exists, the type does
 * not), ERR_DNS_TEMP (SERVFAIL, time-out: later), ERR_DNS_BOGUS (DNSSEC failed: later, never used),
 * ERR_INVALID (not a domain), ERR_STOPPED. A table may answer in place of the network: tests and
 * the simulation set one with resolver_hook. */
#ifndef RELAY_RESOLVER_H
#define RELAY_RESOLVER_H

#include "core/base/base.h"
#include "core/conf.h"

struct worker;
struct resolver;

struct resolver_options {
	struct conf_addresses servers; /* 127.0.0.1@5353; none: recursive from the root, DNSSEC */
	int64_t timeout_ms;            /* of one question in all */
	slice root_key;                /* trust anchor file; empty: the system's dns-root-data */
	bool ipv4, ipv6;               /* which addresses are looked up */
};

/* Answers one question for a test: append records in wire form of the type (RDATA) by
 * resolver_answer_add, or return the error. Runs on the worker, must not wait. */
struct resolver_answer;
typedef enum err resolver_hook_fn(void *arg, const char *name, int rrtype,
	struct resolver_answer *out);
void resolver_answer_add(struct resolver_answer *answer, slice rdata, uint32_t ttl_s);
/* For all resolvers opened afterwards; NULL: the network again. */
void resolver_hook(resolver_hook_fn *hook, void *arg);

/* On the worker that will use it. */
enum err resolver_open(struct worker *w, const struct resolver_options *o,
	struct resolver **out) must_use;
/* The most descriptors that one takes. */
unsigned resolver_files(void);
/* Every question ends with ERR_STOPPED, those in flight and those to come. */
void resolver_stop(struct resolver *r);
/* The same; it goes with the last of them. */
void resolver_close(struct resolver *r);

struct resolver_rdata {
	slice *items; /* wire form */
	size_t count;
	uint32_t ttl_s;
	bool secure; /* validated by DNSSEC */
};

/* (fiber) All records of one type; CNAMEs were followed. */
enum err resolver_query(struct resolver *r, slice name, int rrtype, struct arena *a,
	struct resolver_rdata *out) must_use;
enum { RESOLVER_A = 1, RESOLVER_MX = 15, RESOLVER_AAAA = 28 };

/* One mail exchanger. */
struct resolver_mx {
	slice host; /* lower case, no final dot; or an address literal's text */
	uint16_t preference;
};
struct resolver_mx_set {
	struct resolver_mx
		*hosts; /* by preference, equal ones by name: whoever connects mixes these */
	size_t count;
	uint32_t ttl_s;
	bool implicit; /* no MX record: the domain itself (RFC 5321 5.1) */
};

/* (fiber) Who takes mail for the domain. ERR_DENIED: null MX (RFC 7505), 556 5.1.10. An address
 * literal "[192.0.2.1]", "[IPv6:...]" is its own host. The root, "localhost" and names below
 * "localhost" or "invalid" are ERR_DNS_NXDOMAIN without a question asked. */
enum err resolver_mx(struct resolver *r, slice domain, struct arena *a,
	struct resolver_mx_set *out) must_use;

/* Drop the hosts at and behind our own preference (RFC 5321 5.1: loop detection). `self` says
 * whether a host name is ours. False when nothing is left: mail would loop back to us (5.4.6). */
bool resolver_mx_drop_self(struct resolver_mx_set *set, bool (*self)(void *arg, slice host),
	void *arg);

/* (fiber) The addresses of a host, families taking turns, IPv6 first when enabled; port 0. An
 * address literal answers itself. */
struct resolver_addrs {
	struct addr *addrs;
	size_t count;
	uint32_t ttl_s;
};
enum err resolver_addrs(struct resolver *r, slice host, struct arena *a,
	struct resolver_addrs *out) must_use;

#endif
