/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tlspol.c - policy to action, and the memory of faults. */
#include "relay/tlspol.h"

#include <stdlib.h>

#include "core/base/map.h"
#include "core/entropy.h"

enum { HOSTS_MAX = 20000, TLS_BROKEN_MS = 3600 * 1000, UNREACHABLE_MS = 60 * 1000 };

static const msec lasts[HOST_FAULTS] = {
	[HOST_TLS_BROKEN] = TLS_BROKEN_MS,
	[HOST_UNREACHABLE] = UNREACHABLE_MS,
};

struct host {
	struct map_link link;
	struct addr addr;
	msec until[HOST_FAULTS];
};

struct host_memory {
	struct map map;
	struct map_seed seed;
	struct arena arena;
};

struct host_memory *host_memory_new(void)
{
	struct host_memory *m = calloc(1, sizeof(*m));

	if (m)
		entropy_fill(&m->seed, sizeof(m->seed));
	return m;
}

void host_memory_free(struct host_memory *m)
{
	if (!m)
		return;
	map_done(&m->map);
	arena_done(&m->arena);
	free(m);
}

/* Copied without its path: that may be of a configuration that goes. */
static struct host *find(const struct host_memory *m, const struct addr *addr, uint64_t hash)
{
	for (struct map_link *link = map_find(&m->map, hash); link;
		link = map_find_next(&m->map, link)) {
		struct host *host = container_of(link, struct host, link);

		if (addr_eq(&host->addr, addr))
			return host;
	}
	return NULL;
}

void host_remember(struct host_memory *m, const struct addr *addr, enum host_fault fault, msec now)
{
	if (!m || (addr->kind != ADDR_IP4 && addr->kind != ADDR_IP6))
		return;
	uint64_t hash = map_hash(&m->seed, addr_bytes(addr));
	struct host *host = find(m, addr, hash);

	if (!host && m->map.len >= HOSTS_MAX) {
		map_done(&m->map);
		m->map = (struct map){ 0 };
		arena_reset(&m->arena);
	}
	if (!host) {
		host = arena_new(&m->arena, struct host);
		host->addr = *addr;
		if (!map_insert(&m->map, &host->link, hash))
			return;
	}
	host->until[fault] = now + lasts[fault];
}

bool host_remembers(const struct host_memory *m, const struct addr *addr, enum host_fault fault,
	msec now)
{
	if (!m || m->map.len == 0 || (addr->kind != ADDR_IP4 && addr->kind != ADDR_IP6))
		return false;
	const struct host *host = find(m, addr, map_hash(&m->seed, addr_bytes(addr)));

	return host && host->until[fault] > now;
}

enum smtp_tls_use tlspol_use(enum route_tls policy, bool broken, bool able)
{
	switch (policy) {
	case ROUTE_TLS_NONE:
		return SMTP_TLS_NEVER;
	case ROUTE_TLS_OPPORTUNISTIC:
		return broken || !able ? SMTP_TLS_NEVER : SMTP_TLS_IF_OFFERED;
	default:
		return SMTP_TLS_REQUIRED;
	}
}

enum tls_policy tlspol_check(enum route_tls policy)
{
	switch (policy) {
	case ROUTE_TLS_VERIFY:
		return TLS_VERIFY;
	case ROUTE_TLS_REQUIRED:
		return TLS_REQUIRED;
	default:
		return TLS_OPPORTUNISTIC;
	}
}

bool tlspol_may_fall_back(enum route_tls policy)
{
	return policy == ROUTE_TLS_OPPORTUNISTIC;
}
