/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tlspol.h - which TLS a connection uses, and what we remember of hosts that failed us.
 *
 * The memory is one per worker, bounded, and told by hop.c what other workers learn of handshakes: when
 * full, it forgets everything and begins anew, which costs a few repeated failures and never a message. Times are monotonic. Nothing here fails. */
#ifndef RELAY_TLSPOL_H
#define RELAY_TLSPOL_H

#include "core/addr.h"
#include "core/tls.h"
#include "proto/smtp/client.h"
#include "relay/route.h"

struct host_memory;

/* NULL when memory ran out; all calls take NULL and remember nothing then. */
struct host_memory *host_memory_new(void);
void host_memory_free(struct host_memory *m);

enum host_fault {
	HOST_TLS_BROKEN,  /* a handshake failed: opportunistic goes in clear for an hour */
	HOST_UNREACHABLE, /* tried behind the others for a minute */
	HOST_FAULTS
};
void host_remember(struct host_memory *m, const struct addr *host, enum host_fault fault, msec now);
bool host_remembers(const struct host_memory *m, const struct addr *host, enum host_fault fault,
	msec now);

/* What the machine is told for a policy; `broken`: a handshake with this host failed lately. `able`:
 * we have TLS at all. */
enum smtp_tls_use tlspol_use(enum route_tls policy, bool broken, bool able);
/* What the TLS client is told. */
enum tls_policy tlspol_check(enum route_tls policy);
/* May the message go in clear after a failed handshake? */
bool tlspol_may_fall_back(enum route_tls policy);

#endif
