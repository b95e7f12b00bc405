/* SPDX-License-Identifier: GPL-2.0-or-later */
/* places.c - how many connections the descriptor limit allows.
 *
 * What else needs descriptors is added up, each at its most: out of them nobody could even look why.
 * The rest is for connections (core/room.h), some of which only deliveries may take. Where the limit is
 * so small that little would be left, half of it is for connections all the same: rather that the
 * journal is refused its last segment than that nobody gets in. */
#include "core/log.h"
#include "core/proc.h"
#include "core/room.h"
#include "relay/resolver.h"
#include "server/service_int.h"
#include "store/store.h"

enum {
	WORKER_FILES = 4,              /* its ring, its eventfd, and what it opens for a moment */
	DOOR_FILES = LISTEN_BATCH + 1, /* per worker: the socket, and accepts in flight */
	SIDE_FILES = 2 * (SIDE_CONNS_MAX + 1), /* control socket and metrics */
	JOB_FILES = 2,                         /* of a helper thread */
	OTHER_FILES = 64,                      /* logs, libraries, a reload's files */
};

static unsigned reserve_of(const struct service *svc)
{
	const struct service_options *o = svc->setup->service;
	struct store_stats store;
	unsigned doors = 0;

	store_stats(svc->store, &store);
	list_each(&svc->bindings, link) doors++;
	return (unsigned)store.files_max + (unsigned)o->job_threads * JOB_FILES + SIDE_FILES +
		svc->workers * (WORKER_FILES + doors * DOOR_FILES + resolver_files()) + OTHER_FILES;
}

void places_now(const struct service *svc, struct places *out)
{
	unsigned files = proc_files_max(), reserve = reserve_of(svc);
	unsigned outgoing = (unsigned)svc->setup->service->outgoing;
	unsigned most = files > reserve ? MAX(files - reserve, files / 2) : files / 2;

	outgoing = outgoing ? outgoing : files / 100;
	*out = (struct places){ .files = files,
		.reserve = reserve,
		.most = most,
		.outgoing = MIN(outgoing, most / 2) };
}

void places_apply(struct service *svc)
{
	struct places p;

	places_now(svc, &p);
	room_set(p.most, p.outgoing);
}
