/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scrape.c - just enough of HTTP/1.1 to be read by a collector.
 *
 * The request line is all that is looked at; headers are read to their end and ignored. The answer ends
 * with the connection, so its length need not be known before it was made. */
#include "server/scrape.h"

#include <stdlib.h>

#include "core/conn.h"
#include "core/listen.h"
#include "core/ring.h"
#include "core/worker.h"
#include "server/numbers.h"
#include "server/service.h"

enum { REQUEST_MAX = 8192, REQUEST_MS = 10000 };

struct scrape {
	struct service *svc;
	struct worker *w;
	struct listener *listener;
	unsigned clients;
	bool stopping;
};

/* On a fiber: some numbers are read from the index. */
static void answer(struct conn *c)
{
	struct scrape *scrape = conn_owner(c);

	out_str(conn_out(c),
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
		"Connection: close\r\n\r\n");
	numbers_put_prometheus(scrape->svc, conn_out(c));
	conn_close(c);
}

static size_t on_data(struct conn *c, slice in)
{
	if (slice_search(in, SLICE("\r\n\r\n")) < 0)
		return 0;
	if (slice_starts(in, SLICE("GET /metrics ")) || slice_starts(in, SLICE("GET / "))) {
		conn_run(c, answer);
		return in.len;
	}
	out_str(conn_out(c),
		"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
	conn_close(c);
	return in.len;
}

static void on_closed(struct conn *c, enum err why)
{
	struct scrape *scrape = conn_owner(c);

	if (--scrape->clients == 0 && scrape->stopping)
		free(scrape);
}

static void on_accepted(struct listener *l, int fd, const struct addr *peer)
{
	static const struct conn_ops ops = { .data = on_data, .closed = on_closed };
	struct scrape *scrape = listener_owner(l);
	struct conn_open open = {
		.fd = fd, .peer = peer, .ops = &ops, .owner = scrape, .listener = l
	};
	struct conn *c;

	if (conn_open(scrape->w, &open, &c))
		return;
	scrape->clients++;
	conn_set_hold_max(c, REQUEST_MAX);
	conn_deadline(c, REQUEST_MS);
}

enum err scrape_start(struct service *svc, struct worker *w, int fd, struct scrape **out)
{
	struct scrape *scrape = calloc(1, sizeof(*scrape));
	struct listen_config config = { .operators = true,
		.fd = fd,
		.conns_max = SIDE_CONNS_MAX,
		.accepted = on_accepted,
		.owner = scrape };
	enum err err;

	if (!scrape) {
		ring_close(fd);
		return ERR_NOMEM;
	}
	*scrape = (struct scrape){ .svc = svc, .w = w };
	err = listener_start(w, &config, &scrape->listener);
	if (err)
		free(scrape);
	else
		*out = scrape;
	return err;
}

void scrape_stop(struct scrape *scrape)
{
	if (!scrape)
		return;
	listener_stop(scrape->listener);
	scrape->stopping = true;
	if (scrape->clients == 0)
		free(scrape);
}
