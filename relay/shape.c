/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shape.c - the arithmetic of limits. */
#include "relay/shape.h"

enum { REST_FIRST_MAX_MS = 60 * 1000, REST_MAX_MS = 30 * 60 * 1000 };

static void take(int64_t *limit, int64_t own)
{
	if (own != CONF_UNSET)
		*limit = own;
}

void shape_limits(const struct route_limits *general, const struct route *route,
	struct route_limits *out)
{
	*out = *general;
	if (!route)
		return;
	const struct route_limits *own = &route->limits;

	take(&out->connections, own->connections);
	take(&out->messages_per_connection, own->messages_per_connection);
	take(&out->recipients_per_message, own->recipients_per_message);
	take(&out->idle_ms, own->idle_ms);
	take(&out->connect_ms, own->connect_ms);
	take(&out->greeting_ms, own->greeting_ms);
	take(&out->ehlo_ms, own->ehlo_ms);
	take(&out->mail_ms, own->mail_ms);
	take(&out->rcpt_ms, own->rcpt_ms);
	take(&out->data_ms, own->data_ms);
	take(&out->body_ms, own->body_ms);
	take(&out->dot_ms, own->dot_ms);
	take(&out->retry_first_ms, own->retry_first_ms);
	take(&out->retry_max_ms, own->retry_max_ms);
	take(&out->expire_ms, own->expire_ms);
}

unsigned shape_share(int64_t connections, struct shape_place place)
{
	unsigned limit = connections < 1 ? 1 : (unsigned)MIN(connections, 1000000);
	/* Ranks begin at the owner, so what does not divide goes to it and those behind it. */
	unsigned rank = (place.worker + place.workers - place.owner) % place.workers;

	return limit / place.workers + (rank < limit % place.workers ? 1 : 0);
}

unsigned shape_slice(unsigned share)
{
	return share * 3;
}

unsigned shape_spill(unsigned share)
{
	return share * 2;
}

msec shape_rest(unsigned failures, msec first_ms)
{
	msec rest = MIN(first_ms, (msec)REST_FIRST_MAX_MS);

	for (unsigned i = 1; i < failures && rest < REST_MAX_MS; i++)
		rest *= 2;
	return MAX(MIN(rest, (msec)REST_MAX_MS), 1);
}
