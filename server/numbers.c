/* SPDX-License-Identifier: GPL-2.0-or-later */
/* numbers.c - the rows, and the one place that gathers what they point at.
 *
 * Each worker's counters are read while it goes on counting, so two rows may be of slightly different
 * moments; a counter never falls. */
#include "server/numbers.h"

#include <stddef.h>

#include "core/log.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/room.h"
#include "core/rsa_batch.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "server/service.h"
#include "store/store.h"

struct numbers {
	struct store_stats store;
	struct relay_stats relay;
	struct worker_stats workers;
	struct rsa_batch_stats rsa;
	uint64_t places, places_kept, worker_count, uptime_s, resident_bytes, log_dropped,
		rsa_lanes;
};

struct number_row {
	const char *name; /* exported as ringpost_<name> */
	enum metric_kind kind;
	size_t at;
	const char *doc;
};

#define COUNTER(name, member, doc)                                          \
	{                                                                   \
		name, METRIC_COUNTER, offsetof(struct numbers, member), doc \
	}
#define GAUGE(name, member, doc)                                          \
	{                                                                 \
		name, METRIC_GAUGE, offsetof(struct numbers, member), doc \
	}

static const struct number_row rows[] = {
	GAUGE("process_resident_bytes", resident_bytes, "Resident memory"),
	GAUGE("process_uptime_seconds", uptime_s, "Since the start"),
	COUNTER("log_dropped_lines_total", log_dropped, "Log lines that found no room"),

	GAUGE("worker_threads", worker_count, "Workers, each with a ring of its own"),
	COUNTER("worker_turns_total", workers.turns, "Rounds of the workers' loops"),
	COUNTER("worker_operations_total", workers.ops, "Operations the kernel completed"),
	COUNTER("worker_posts_total", workers.posts, "Messages between workers"),
	COUNTER("worker_wakes_total", workers.wakes, "Of them, those that woke a sleeping worker"),
	COUNTER("worker_fibers_total", workers.fibers_started, "Fibers started"),
	GAUGE("worker_fibers", workers.fibers, "Fibers that run or wait"),
	GAUGE("worker_fibers_pooled", workers.fibers_pooled, "Stacks kept for the next fiber"),
	GAUGE("worker_buffers_bytes", workers.bufs_bytes, "Memory of the receive buffers"),
	COUNTER("worker_buffers_dry_total", workers.recv_empty,
		"Receives that found no free buffer"),
	COUNTER("conn_accepted_total", workers.accepted, "Connections taken in, all services"),
	COUNTER("conn_accept_pauses_total", workers.accept_pauses,
		"Times a listener stopped because a limit was reached"),
	COUNTER("conn_accept_errors_total", workers.accept_errors,
		"Times one stopped for lack of descriptors or memory"),
	COUNTER("conn_refused_total", workers.refused,
		"Connections closed at once: too many from one client"),
	GAUGE("conn_open", workers.conns, "Connections open, in and out"),
	GAUGE("conn_max", places, "Connections that the descriptor limit allows, in and out"),
	GAUGE("conn_kept", places_kept, "Of them, those kept for deliveries"),

	GAUGE("rsa_lanes", rsa_lanes,
		"1: RSA signatures are made in the processor's lanes; 0: by wolfCrypt"),
	COUNTER("rsa_signatures_total", rsa.signatures, "RSA signatures made"),
	COUNTER("rsa_lane_signatures_total", rsa.in_lanes,
		"Of them, those made in the processor's lanes, up to four at a time"),
	COUNTER("rsa_redone_total", rsa.redone,
		"Signatures the lanes made wrong, found so and made again by wolfCrypt; above 0, "
		"suspect the hardware"),
	COUNTER("rsa_handed_over_total", rsa.handed_over,
		"Signatures that a worker with a long batch gave to another to make"),
	COUNTER("rsa_batches_total", rsa.batches, "Batches they were made in"),
	COUNTER("rsa_failures_total", rsa.failed, "Signatures that could not be made"),
	GAUGE("rsa_waiting", rsa.waiting, "Signatures asked for and not made yet"),

	COUNTER("relay_attempts_total", relay.attempts, "Recipients offered to a next hop"),
	COUNTER("relay_signatures_total", relay.signatures, "DKIM signatures put on messages"),
	COUNTER("relay_dns_failures_total", relay.dns_failed, "Look-ups that gave no answer"),
	GAUGE("relay_parked", relay.rcpts_parked, "Recipients waiting on disk for their time"),
	GAUGE("relay_held", relay.rcpts_held, "Recipients waiting for a release"),
	GAUGE("relay_paths", relay.paths, "Destinations in memory"),
	GAUGE("relay_memory_bytes", relay.ram_bytes, "Memory of the queue"),

	COUNTER("store_batches_total", store.batches, "Journal writes"),
	COUNTER("store_records_total", store.records, "Records in them"),
	COUNTER("store_appended_bytes_total", store.bytes_appended, "Bytes in them"),
	COUNTER("store_write_errors_total", store.write_errors, "Writes or syncs that failed"),
	COUNTER("store_segments_failed_total", store.segments_failed,
		"Journal segments given up after an error"),
	GAUGE("store_segments", store.segments, "Journal segments"),
	GAUGE("store_segments_free", store.segments_free, "Of them, ready to be written again"),
	COUNTER("store_segments_freed_total", store.segments_freed, "Journal segments emptied"),
	COUNTER("store_replayed_records_total", store.replayed_records,
		"Records replayed at the start"),
	COUNTER("store_replayed_bytes_total", store.replayed_bytes, "Bytes of them"),
	GAUGE("store_held_messages", store.held_messages, "Messages that keep their segment"),
	GAUGE("store_body_ram_bytes", store.body_ram_bytes,
		"Unfinished bodies in memory, and what is known of them"),
	COUNTER("store_bodies_spilled_total", store.bodies_spilled,
		"Bodies written early because memory was short"),
	COUNTER("store_cache_hits_total", store.cache_hits, "Bodies read from memory"),
	COUNTER("store_cache_misses_total", store.cache_misses, "Bodies read from disk"),
	COUNTER("store_archive_reads_total", store.archive_reads, "Bodies read from the archive"),
	COUNTER("store_index_commits_total", store.index_commits, "Commits of the index"),
	COUNTER("store_index_records_total", store.index_records, "Records applied to it"),
	COUNTER("store_index_errors_total", store.index_errors,
		"Applications and commits that failed, and were tried again"),
	GAUGE("store_index_lag_bytes", store.index_lag_bytes,
		"Journal not yet committed to the index"),
	GAUGE("store_index_map_bytes", store.index_map_bytes, "Room of the index"),
	COUNTER("store_moved_bodies_total", store.moved_bodies, "Bodies copied to the archive"),
	COUNTER("store_moved_bytes_total", store.moved_bytes, "Bytes of them"),
	GAUGE("store_archive_segments", store.archive_segments, "Archive segments"),
	GAUGE("store_archive_bytes", store.archive_bytes, "Archive on disk"),
	GAUGE("store_archive_live_bytes", store.archive_live_bytes, "Of it, bodies still wanted"),
	GAUGE("store_damaged_bodies", store.damaged_bodies,
		"Bodies found damaged when they were to be moved, since the start"),
	GAUGE("store_disk_free_bytes", store.disk_free_bytes,
		"Free on the data folder's file system"),
};

static void add_all(void *sum, const void *part, size_t bytes)
{
	uint64_t *to = sum;
	const uint64_t *from = part;

	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		to[i] += from[i];
}

static void gather(struct service *svc, struct numbers *n)
{
	struct room_stats room;

	_Static_assert(sizeof(n->workers) % sizeof(uint64_t) == 0, "only counters");
	_Static_assert(sizeof(n->rsa) % sizeof(uint64_t) == 0, "only counters");

	if (service_store(svc))
		store_stats(service_store(svc), &n->store);
	relay_stats(&n->relay);
	room_stats(&room);
	n->places = room.most;
	n->places_kept = room.kept;
	n->worker_count = workers_count();
	for (unsigned i = 0; i < n->worker_count; i++) {
		struct worker *w = worker_get(i);
		struct worker_stats worker;
		struct rsa_batch_stats rsa;

		worker_stats(w, &worker);
		rsa_batch_stats(w, &rsa);
		add_all(&n->workers, &worker, sizeof(worker));
		add_all(&n->rsa, &rsa, sizeof(rsa));
	}
	n->uptime_s = (uint64_t)(worker_wall(worker_self()) - service_started_at(svc)) / 1000;
	n->resident_bytes = proc_rss_bytes();
	n->log_dropped = log_dropped();
	n->rsa_lanes = slice_eq(slice_str(rsa_batch_engine()), SLICE("ifma"));
}

static const char *kind_word(const struct number_row *row)
{
	return row->kind == METRIC_COUNTER ? "counter" : "gauge";
}

void numbers_put_prometheus(struct service *svc, struct out *o)
{
	struct numbers n = { 0 };

	gather(svc, &n);
	metric_put_prometheus(o);
	for (size_t i = 0; i < array_len(rows); i++) {
		uint64_t value;

		memcpy(&value, (const char *)&n + rows[i].at, sizeof(value));
		out_printf(o, "# HELP ringpost_%s %s\n# TYPE ringpost_%s %s\nringpost_%s %llu\n",
			rows[i].name, rows[i].doc, rows[i].name, kind_word(&rows[i]), rows[i].name,
			(unsigned long long)value);
	}
}

void numbers_print_markdown(struct out *o)
{
	metric_print_markdown(o);
	for (size_t i = 0; i < array_len(rows); i++)
		out_printf(o, "| `ringpost_%s` | %s | %s |\n", rows[i].name, kind_word(&rows[i]),
			rows[i].doc);
}
