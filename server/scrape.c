/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scrape.c - just enough of HTTP/1.1 to be read by a collector.
 *
 * The request line is all that is looked at; headers are read to their end and ignored. The answer ends
 * with the connection, so its length need not be known before it was made. */
#include "server/scrape.h"

#include <stdlib.h>

#include "core/conn.h"
#include "core/listen.h"
#include "core/log.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/ring.h"
#include "core/worker.h"
#include "server/service.h"
#include "store/store.h"

enum { REQUEST_MAX = 8192, REQUEST_MS = 10000 };

struct scrape {
	struct service *svc;
	struct worker *w;
	struct listener *listener;
	unsigned clients;
	bool stopping;
};

static void put_gauge(struct out *o, const char *name, const char *doc, uint64_t value)
{
	out_printf(o, "# HELP ringpost_%s %s\n# TYPE ringpost_%s gauge\nringpost_%s %llu\n", name,
		doc, name, name, (unsigned long long)value);
}

static void put_store(struct out *o, struct store *st)
{
	struct store_stats n;

	if (!st)
		return;
	store_stats(st, &n);
	put_gauge(o, "store_batches", "Journal writes since the start", n.batches);
	put_gauge(o, "store_records", "Records in them", n.records);
	put_gauge(o, "store_appended_bytes", "Bytes in them", n.bytes_appended);
	put_gauge(o, "store_write_errors", "Writes or syncs that failed", n.write_errors);
	put_gauge(o, "store_segments", "Journal segments", n.segments);
	put_gauge(o, "store_index_lag_bytes", "Journal not yet committed to the index",
		n.index_lag_bytes);
	put_gauge(o, "store_body_ram_bytes", "Unfinished bodies in memory", n.body_ram_bytes);
	put_gauge(o, "store_archive_bytes", "Archive on disk", n.archive_bytes);
	put_gauge(o, "store_disk_free_bytes", "Free on the data folder's file system",
		n.disk_free_bytes);
}

static void respond(struct scrape *scrape, struct conn *c, slice request)
{
	struct out *o = conn_out(c);

	if (!slice_starts(request, SLICE("GET /metrics ")) &&
		!slice_starts(request, SLICE("GET / "))) {
		out_str(o,
			"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	out_str(o,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
		"Connection: close\r\n\r\n");
	metric_put_prometheus(o);
	put_store(o, service_store(scrape->svc));
	put_gauge(o, "process_resident_bytes", "Resident memory", proc_rss_bytes());
	put_gauge(o, "log_dropped_lines", "Log lines that found no room", log_dropped());
}

static size_t on_data(struct conn *c, slice in)
{
	if (slice_search(in, SLICE("\r\n\r\n")) < 0)
		return 0;
	respond(conn_owner(c), c, in);
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
	struct listen_config config = {
		.fd = fd, .conns_max = 64, .accepted = on_accepted, .owner = scrape
	};
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
