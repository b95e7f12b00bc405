/* SPDX-License-Identifier: GPL-2.0-or-later */
/* route.h - the operator's word on where a domain's mail goes: relay.routes.
 *
 * A row names a domain or `*`. An exact name wins over `*`; a domain without a row is served by its
 * MX. A table is built once from the configuration, never changes, and belongs to it: a reload makes
 * a new table and the old one lives until its last reader let go. Lookups are a hash, never wait and
 * may run on any worker. */
#ifndef RELAY_ROUTE_H
#define RELAY_ROUTE_H

#include "core/base/base.h"

enum route_proto { ROUTE_SMTP, ROUTE_LMTP };

/* What TLS must reach before a message may leave. */
enum route_tls {
	ROUTE_TLS_NONE, /* never STARTTLS */
	ROUTE_TLS_OPPORTUNISTIC, /* when offered; any certificate; clear after a failure */
	ROUTE_TLS_REQUIRED, /* encrypted, any certificate; else deferred */
	ROUTE_TLS_VERIFY, /* encrypted and the host's name verified; else deferred */
};

/* Limits toward one destination. 0 or negative: not set here, relay.* holds. */
struct route_limits {
	int connections; /* over all workers */
	int messages_per_connection;
	int recipients_per_message;
	msec idle_ms;
	msec connect_ms, greeting_ms, ehlo_ms, mail_ms, rcpt_ms, data_ms, body_ms, dot_ms;
	msec retry_first_ms, retry_max_ms, expire_ms;
};

struct route_host {
	const char *name; /* a host name or an address literal without brackets */
	uint16_t port; /* 0: the row's */
};

struct route {
	const char *domain; /* lower case; "*" */
	const char *key; /* identity of the site this row makes, for paths and logs */
	struct route_host *hosts;
	size_t host_count; /* 0: by MX, the row only sets policy */
	const char *unix_path; /* LMTP or SMTP over a unix socket; NULL: hosts */
	uint16_t port;
	enum route_proto proto;
	enum route_tls tls;
	const char *user, *password; /* login at the next hop; NULL: none */
	const char *source; /* address to bind; NULL: relay.source */
	const char *ehlo; /* NULL: relay.ehlo or the host name */
	bool accept; /* port 25 takes this domain's mail (never for `*`) */
	struct route_limits limits;
};

struct route_table;

/* The row for a domain (lower case, A-label or U-label form), or the `*` row, or NULL: by MX. */
const struct route *route_find(const struct route_table *t, slice domain);

/* Whether port 25 takes mail for this domain because a row says `accept: true`. */
bool route_accepts(const struct route_table *t, slice domain);

/* Whether a row names this very domain (not `*`) and says where its mail goes. */
bool route_exact(const struct route_table *t, slice domain);

/* Build from rows whose strings outlive the table. ERR_INVALID and a line in `why` when a row makes
 * no sense: twice the same domain, `accept` with `*`, hosts together with a unix path, ... */
enum err route_table_make(
	const struct route *rows, size_t count, struct route_table **out, struct out *why) must_use;
void route_table_free(struct route_table *t);

#endif
