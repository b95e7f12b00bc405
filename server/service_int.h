/* SPDX-License-Identifier: GPL-2.0-or-later */
/* service_int.h - shared by service*.c (life of the process), listeners.c (its doors) and places.c.
 *
 * A binding is one configured address with its sockets, one per worker. Bindings are made and removed by
 * the thread that starts or reloads; doors belong to their workers. */
#ifndef SERVER_SERVICE_INT_H
#define SERVER_SERVICE_INT_H

#include <pthread.h>

#include "core/addr.h"
#include "core/listen.h"
#include "core/post.h"
#include "core/proc.h"
#include "core/worker.h"
#include "server/service.h"

struct binding {
	struct list_link link;
	struct addr asked; /* as configured: key with `service` */
	struct addr actual;
	enum door_kind service;
	struct listen_clients *clients;
	int fds[WORKERS_MAX]; /* -1: taken by its listener */
	bool shared;          /* one socket for all workers: unix, or passed by systemd */
	bool wanted;          /* by the configuration being loaded */
	bool was_wanted;      /* by the one before */
	bool gone;            /* not wanted by an earlier one */
	bool announced;       /* its line was logged */
	unsigned row;         /* of the setup in force */
};

/* What each worker has. */
struct station {
	struct list doors;
	uint64_t sessions; /* written by the worker, read by anybody */
};

struct service {
	struct setup *setup; /* swapped by the main thread, under the lock */
	pthread_mutex_t setup_lock;
	struct conf *running; /* of the start: what a reload cannot change has its values */
	struct store *store;
	struct login *login;
	struct rate *rate;
	struct control *control;
	struct scrape *scrape;
	struct list bindings; /* also those no longer wanted, until the end */
	unsigned workers;
	struct station stations[WORKERS_MAX];
	wall_ms started_at;
	_Atomic int store_state;  /* 0: opening, 1: open, -1: failed */
	_Atomic unsigned relays;  /* workers whose relay runs */
	_Atomic unsigned drained; /* workers whose sessions have all gone */
	enum err store_err;
	char why[256];
	int control_fd, scrape_fd;
	struct addr scrape_at;
	bool offline;
};

/* --- service.c --- */
enum { SERVICE_OWN_MAX = 64 };
/* What the relay is made from, by the setup in force; it points into `own`. */
struct relay_setup;
void service_relay_setup(const struct service *svc, struct addr own[SERVICE_OWN_MAX],
	struct relay_setup *out);

/* --- service_reload.c --- */
/* Level and format of the log, as this setup has them. */
void service_use_log_options(const struct setup *setup);

/* --- places.c --- */
/* How many connections there may be, from the descriptor limit and the setup in force. On a worker,
 * when the store is open. */
void places_apply(struct service *svc);
struct places {
	unsigned files, reserve, most, outgoing;
};
void places_now(const struct service *svc, struct places *out);

/* --- listeners.c --- */
/* Bind what the setup names and is not bound yet. Complaints to `why`. */
enum err listeners_bind(struct service *svc, const struct setup *setup, struct out *why) must_use;
/* ERR_BUSY: another process listens there. */
enum err listeners_free(const struct addr *at, char why[PROC_WHY]) must_use;
/* On each worker, from the loop or a fiber: doors as the setup in force says. */
enum err listeners_apply(struct service *svc, struct worker *w) must_use;
/* By the main thread, so that these lines stand before its next one: what is listened on now. */
void listeners_announce(struct service *svc);
/* On each worker: stop listening; sessions are told. */
void listeners_stop(struct service *svc, struct worker *w);
/* The time is over: abort what is left. */
void listeners_abort(struct service *svc, struct worker *w);
/* The same with the sessions of one account, or of all of a domain ("@domain"); how many. */
unsigned listeners_expel(struct service *svc, struct worker *w, slice name);
unsigned listeners_sessions(struct service *svc, struct worker *w);
/* After the workers: sockets nobody took, tables. */
void listeners_done(struct service *svc);
/* What the root helper may do for us: does this configuration name it? */
bool listeners_named(const struct conf *conf, const struct addr *addr);
bool files_named(const struct conf *conf, const char *path);
/* Where port 25 listens, for loop detection; into at most `max` rows. */
size_t listeners_own(const struct service *svc, struct addr *out, size_t max);

#endif
