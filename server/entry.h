/* SPDX-License-Identifier: GPL-2.0-or-later */
/* entry.h - what stands before the greeting, the same for every protocol.
 *
 * Admission by rate, the connection itself, the PROXY header of a listed proxy, the TLS handshake where
 * the service begins with one. The owner of the connection is a struct whose first member is struct
 * door_session, with conn and setup filled in. What fails ends the connection. */
#ifndef SERVER_ENTRY_H
#define SERVER_ENTRY_H

#include "server/door.h"
#include "server/errmap.h"

struct addr;

/* May this client come in now? FAULT_NONE, FAULT_SHUTDOWN, FAULT_RATE. */
enum fault entry_admit(struct door *door, const struct addr *peer);
/* Makes the connection of a session, whose head (NULL: no memory for it) is its first member. False: it
 * could not be made; the descriptor is closed, and the session is the caller's to free. */
struct conn_ops;
struct entry {
	struct door *door;
	int fd;
	const struct addr *peer;
	const struct conn_ops *ops;
	void (*stop)(struct door_session *ds, enum door_stop how);
	slice (*who)(const struct door_session *ds);
};
bool entry_open(const struct entry *entry, struct door_session *ds) must_use;
/* The service begins with a TLS handshake. */
bool entry_is_tls(enum door_kind service);
/* Plain words are understood: no TLS handshake is still to come. Else a refusal is the close alone. */
bool entry_may_speak(const struct door_session *ds);
/* Then calls `ready`, now or later on a fiber; ds->tls says whether the connection is encrypted.
 * `timeout_ms`: for the header and for the handshake, each. */
void entry_run(struct door_session *ds, msec timeout_ms, void (*ready)(struct door_session *ds));
/* For STARTTLS and STLS: the session of a connection that was in clear. NULL: not for now. */
struct tls_session;
struct tls_session *entry_tls(struct door_session *ds);

#endif
