/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listen.h - listening sockets, and who gets in.
 *
 * A listener is one listening socket of one worker. Accepting stops while a limit is reached
 * and resumes by itself; lack of descriptors or memory backs off by timer (10 ms to 1 s),
 * never aborts and never spins. The engine owns the listener from start until worker end or
 * listener_stop. */
#ifndef CORE_LISTEN_H
#define CORE_LISTEN_H

#include "core/addr.h"
#include "core/base/base.h"

struct listener;
struct worker;

/* Bind and listen, before privileges drop if the port is low; SO_REUSEPORT, so call once per
 * worker. Port 0 takes a free one: ask listen_addr for it, then open the others with it. IPv6
 * sockets take IPv6 only. A stale unix socket file is replaced; ERR_EXISTS: what is there is no
 * socket. ERR_BUSY: the address is in use; ERR_DENIED; ERR_INVALID. Blocks shortly. */
enum err listen_open(const struct addr *at, int backlog, int *out_fd) must_use;
struct addr listen_addr(int fd);

/* Counts connections by client over all workers, approximately (never too low). Shared by
 * listeners of the same service; zeroed memory from listen_clients_new, freed after
 * workers_join. */
struct listen_clients;
struct listen_clients *listen_clients_new(void);
void listen_clients_free(struct listen_clients *clients);

/* Accepts that a listener has in flight at most. */
enum { LISTEN_BATCH = 4 };

struct listen_config {
	int fd;                    /* the listener's from here on */
	bool shared_fd;            /* inherited and used by every worker: duplicated, not owned */
	unsigned conns_max;        /* of this listener on this worker; 0: no limit */
	unsigned worker_conns_max; /* of all listeners of this worker; 0: no limit */
	bool operators;            /* open also while memory or descriptors (room.h) are short */
	unsigned client_conns_max; /* per address (IPv6: /64); 0: no limit */
	struct listen_clients *clients;
	slice refusal; /* sent in clear to a client over its limit; may be empty */
	/* A new connection; `fd` is the callee's (give it to conn_open with this listener, or
	 * close it by ring_close + listener_gone). From the loop; must not wait. */
	void (*accepted)(struct listener *l, int fd, const struct addr *peer);
	void *owner;
};

/* ERR_NOMEM, ERR_NOFILES: the descriptor is still the caller's. */
enum err listener_start(struct worker *w, const struct listen_config *config,
	struct listener **out) must_use;
/* No further connection; those that live go on and are still counted. The listener is freed by
 * the engine when the last one went. */
void listener_stop(struct listener *l);
void *listener_owner(const struct listener *l);
struct worker *listener_worker(const struct listener *l);
/* New limits after a reload. */
void listener_set_limits(struct listener *l, const struct listen_config *limits);
/* One connection from `peer` ended that conn_open never took over. */
void listener_gone(struct listener *l, const struct addr *peer);

/* For tests; operators are shown worker_stats(). */
struct addr listener_addr(const struct listener *l);
struct listener_stats {
	uint64_t accepted, refused; /* refused: client over its limit */
	uint64_t pauses, errors;    /* limit reached; out of descriptors or memory */
	unsigned conns;
};
void listener_stats(const struct listener *l, struct listener_stats *out);

#endif
