/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_status.c - how the server is doing: `stats`, which `top` asks every second. */
#include "server/admin_int.h"

#include "core/base/text.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/room.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "server/service.h"
#include "server/smtp/smtp_session.h"
#include "store/store.h"

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *smtp_part(struct service *svc)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "sessions", number(service_sessions(svc)),
		"connections",
		number((uint64_t)metric_value(&smtp_metrics, SMTP_METRIC_CONNECTIONS)), "messages",
		number((uint64_t)metric_value(&smtp_metrics, SMTP_METRIC_MESSAGES)), "bytes",
		number((uint64_t)metric_value(&smtp_metrics, SMTP_METRIC_BYTES)), "recipients",
		number((uint64_t)metric_value(&smtp_metrics, SMTP_METRIC_RCPTS)));
}

static json_t *relay_part(void)
{
	struct relay_stats n;
	json_t *o = json_object();

	relay_stats(&n);
	json_object_set_new(o, "delivered", number(n.delivered));
	json_object_set_new(o, "deferred", number(n.deferred));
	json_object_set_new(o, "bounced", number(n.bounced));
	json_object_set_new(o, "expired", number(n.expired));
	json_object_set_new(o, "attempts", number(n.attempts));
	json_object_set_new(o, "signatures", number(n.signatures));
	json_object_set_new(o, "connections", number(n.connections));
	json_object_set_new(o, "connections_opened", number(n.connections_opened));
	json_object_set_new(o, "connections_failed", number(n.connections_failed));
	json_object_set_new(o, "ready", number(n.rcpts_ready));
	json_object_set_new(o, "active", number(n.rcpts_active));
	json_object_set_new(o, "parked", number(n.rcpts_parked));
	json_object_set_new(o, "held", number(n.rcpts_held));
	return o;
}

static json_t *store_part(struct store *st)
{
	struct store_stats n;
	json_t *o = json_object();

	store_stats(st, &n);
	json_object_set_new(o, "batches", number(n.batches));
	json_object_set_new(o, "records", number(n.records));
	json_object_set_new(o, "appended_bytes", number(n.bytes_appended));
	json_object_set_new(o, "write_errors", number(n.write_errors));
	json_object_set_new(o, "segments", number(n.segments));
	json_object_set_new(o, "index_lag_bytes", number(n.index_lag_bytes));
	json_object_set_new(o, "body_ram_bytes", number(n.body_ram_bytes));
	json_object_set_new(o, "archive_bytes", number(n.archive_bytes));
	json_object_set_new(o, "disk_free_bytes", number(n.disk_free_bytes));
	json_object_set_new(o, "direct_io", json_boolean(n.direct));
	json_object_set_new(o, "accepting", json_boolean(store_accepting(st, NULL)));
	return o;
}

/* What descriptors allow, and who has it. */
static json_t *places_part(void)
{
	struct room_stats n;

	room_stats(&n);
	return json_pack("{s:o,s:o,s:o,s:o}", "max", number(n.most), "kept_outgoing",
		number(n.kept), "incoming", number(n.in), "outgoing", number(n.out));
}

static json_t *stats(struct admin *admin, json_t *request)
{
	json_t *o = json_object();

	json_object_set_new(o, "running", json_boolean(admin->service));
	if (admin->service) {
		wall_ms up = worker_wall(admin->w) - service_started_at(admin->service);

		json_object_set_new(o, "uptime_s", number((uint64_t)(up / 1000)));
		json_object_set_new(o, "workers", number(workers_count()));
		json_object_set_new(o, "resident_bytes", number(proc_rss_bytes()));
		json_object_set_new(o, "places", places_part());
		json_object_set_new(o, "smtp", smtp_part(admin->service));
	}
	json_object_set_new(o, "relay", relay_part());
	json_object_set_new(o, "store", store_part(admin->store));
	return o;
}

/* A copy of the index beside it, for a rebuild: what the running server does once a day. */
static json_t *snapshot(struct admin *admin, json_t *request)
{
	enum err err = store_snapshot(admin->store);
	struct store_stats n;
	char buf[40];
	struct out o = out_fixed(buf, sizeof(buf));

	if (err == ERR_BUSY)
		return admin_error("another snapshot is being made");
	if (err)
		return admin_result(err, "snapshot", SLICE(""));
	store_stats(admin->store, &n);
	text_put_timestamp(&o, n.last_snapshot);
	return json_pack("{s:o,s:o}", "data", admin_slice(admin->setup->service->data), "snapshot",
		admin_slice(out_written(&o)));
}

/* For who waits for another answer. */
static json_t *ping(struct admin *admin, json_t *request)
{
	return json_object();
}

const struct admin_row admin_status_rows[] = {
	{ "ping", false, ping },
	{ "stats", true, stats },
	{ "snapshot", false, snapshot },
	{ NULL, false, NULL },
};
