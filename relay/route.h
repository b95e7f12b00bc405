/* SPDX-License-Identifier: GPL-2.0-or-later */
/* route.h - the operator's word on where a domain's mail goes: relay.routes.
 *
 * A row names a domain or `*`. An exact name wins over `*`; a domain without a row is served by
 * its MX. The rows are items of the configuration; a table is an index over them, built once per
 * configuration and never changed: a reload makes a new one, and the old lives until its last
 * reader let go. Lookups are a hash, never wait and may run on any worker. */
#ifndef RELAY_ROUTE_H
#define RELAY_ROUTE_H

#include "core/base/base.h"
#include "core/conf.h"

enum route_proto { ROUTE_SMTP, ROUTE_LMTP };

/* What TLS must reach before a message may leave. */
enum route_tls {
	ROUTE_TLS_NONE,          /* never STARTTLS */
	ROUTE_TLS_OPPORTUNISTIC, /* when offered; any certificate; clear after a failure */
	ROUTE_TLS_REQUIRED,      /* encrypted, any certificate; else deferred */
	ROUTE_TLS_VERIFY,        /* encrypted and the host's name verified; else deferred */
};

/* Limits toward one destination. CONF_UNSET in a route row: relay.* holds. */
struct route_limits {
	int64_t connections; /* over all workers */
	int64_t messages_per_connection;
	int64_t recipients_per_message;
	int64_t idle_ms;
	int64_t connect_ms, greeting_ms, ehlo_ms, mail_ms, rcpt_ms, data_ms, body_ms, dot_ms;
	int64_t retry_first_ms, retry_max_ms, expire_ms;
};

/* One row of relay.routes, as bound by route_conf. Unset members: empty, CONF_UNSET, -1. */
struct route {
	slice domain; /* lower case; "*" */
	/* "name", "name:port", "192.0.2.1", "[2001:db8::1]:25", "unix:/path"; none: by MX, the row
	 * only sets policy. Tried in this order, preference by place. */
	struct conf_strings hosts;
	int64_t port;         /* of hosts without one */
	int proto;            /* enum route_proto */
	int tls;              /* enum route_tls, or -1: relay.tls */
	slice user, password; /* login at the next hop; empty: none */
	struct addr source;   /* ADDR_NONE: relay.source */
	slice ehlo;           /* empty: relay.ehlo */
	bool accept;          /* port 25 takes this domain's mail (never for `*`) */
	struct route_limits limits;
};
extern const struct conf_table route_conf;

struct route_table;

/* The row for a domain (any letter case, A- or U-labels), or the `*` row, or NULL: by MX. */
const struct route *route_find(const struct route_table *t, slice domain);

/* Whether port 25 takes mail for this domain because a row says `accept: true`. */
bool route_accepts(const struct route_table *t, slice domain);

/* Whether a row names this very domain (not `*`) and says where its mail goes. */
bool route_exact(const struct route_table *t, slice domain);

/* Row `i` as the configuration lists them; NULL behind the last. */
const struct route *route_at(const struct route_table *t, size_t i);

/* Build over rows that outlive the table (items of a held configuration, each a struct route).
 * ERR_INVALID and a line in `why`: twice the same domain. */
enum err route_table_make(const struct conf_list *rows, struct route_table **out,
	struct out *why) must_use;
/* NULL is harmless. */
void route_table_free(struct route_table *t);

/* A name for EHLO: none, a domain, or an address in brackets (RFC 5321 4.1.1.1). */
bool route_ehlo_ok(slice name) must_use;
/* Host and port of a hosts item; `*out_unix`: it names a socket, and host is its path. */
bool route_parse_host(slice text, uint16_t port, slice *out_host, uint16_t *out_port,
	bool *out_unix) must_use;

#endif
