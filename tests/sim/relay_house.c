/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server of a town that relays: its configuration, who may submit, and when its queue is empty. */
#include "tests/sim/house.h"
#include "tests/sim/relay_town.h"

#include "core/tls.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "server/restore.h"
#include "server/service.h"
#include "store/account.h"
#include "store/check.h"
#include "store/store.h"

#include <stdio.h>
#include <unistd.h>

enum { CHECK_MS = 500 };

/* --- Configuration --- */

/* What differs: workers, when a queue in memory is full, what is a large body. */
static const char *const variants[HOUSE_VARIANTS] = {
	"workers: 2\n"
	"store: { spill: 64K, snapshot_interval: 5s, SHARED }\n"
	"relay: { queue: { park_after: 30s }, SHARED }\n",
	"workers: 1\n"
	"store: { spill: 16K, gather: 5ms, snapshot_interval: 0, SHARED }\n"
	"relay: { queue: { park_after: 1s, path_ready: 100 }, connections: 2, SHARED }\n",
	"workers: 3\n"
	"store: { spill: 256K, gather: 1s, replay_max: 4M, snapshot_interval: 40s, SHARED }\n"
	"relay: { queue: { park_after: 5s }, messages_per_connection: 3,\n"
	"         recipients_per_message: 2, SHARED }\n",
};
static const char store_shared[] = "segment: 1M, journal_max: 32M, reserve: 1M, map: 4M, shards: 2,"
				   " body_ram: 1M, cache: 4M";
static const char relay_shared[] =
	"tls: opportunistic, idle: 2s,\n"
	"         retry: { first: 10s, factor: 2, max: 60s, expire: 30m, warn: 2h },\n"
	"         timeouts: { connect: 10s, greeting: 30s, ehlo: 30s, mail: 30s, rcpt: 30s,\n"
	"                     data: 30s, body: 30s, dot: 30s },\n"
	"         routes: [ { domain: box.test, hosts: [ 192.0.2.12 ], port: 24, protocol: lmtp "
	"},\n"
	"                   { domain: sender.test, hosts: [ 192.0.2.10 ] } ]";

void town_write_config(FILE *f, unsigned variant)
{
	fputs("listen: [ { address: " TOWN_SERVER ", port: 25, service: smtp, tls: false,\n"
	      "            relay_from: [ 127.0.0.0/8 ] },\n"
	      "          { address: " TOWN_SERVER ", port: 587, service: submission } ]\n"
	      "tls: { certificates: [ { cert: cert.pem, key: key.pem } ] }\n"
	      "auth: { lock_after: 0, fail_delay: 10ms, fail_delay_max: 10ms }\n",
		f);
	bool in_relay = false;

	for (const char *at = variants[variant]; *at; at++) {
		in_relay = in_relay || strncmp(at, "relay:", 6) == 0;
		if (strncmp(at, "SHARED", 6) == 0) {
			fputs(in_relay ? relay_shared : store_shared, f);
			at += 5;
		} else {
			fputc(*at, f);
		}
	}
}

struct tls_client *town_tls_client(void)
{
	return house_setup()->tls_client;
}

struct tls_server *town_tls_server(void)
{
	return house_setup()->tls;
}

/* --- Who lives here --- */

/* The key of RFC 8463 A.1. */
static const char signing_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
	"-----END PRIVATE KEY-----\n";

/* At each start, because it may have died before; a bad disk is no reason to complain. */
static void settle(struct store *st)
{
	struct domain domain = { .name = SLICE("sender.test"), .created = clock_wall() };
	struct account post = { .local = SLICE("post"),
		.domain = domain.name,
		.hash = SLICE(TOWN_PASSWORD),
		.flags = ACCOUNT_FROM_ANY };
	struct domain_key key = { .domain = domain.name,
		.selector = SLICE("sim"),
		.pem = slice_str(signing_key),
		.kind = KEY_ED25519 };

	/* The key first: whoever may log in has his mail signed. */
	enum err err = domain_put(st, &domain, ROW_PUT);
	if (!err)
		err = domain_key_put(st, &key, ROW_PUT);
	if (!err)
		err = account_put(st, &post, ROW_PUT);
	if (err && !town.faults)
		oracle_complain("an account cannot be made: %s", err_name(err));
}

bool town_move_in(struct worker *w, struct store *st)
{
	unsigned index = worker_index(w), count = workers_count();

	for (unsigned i = index; i < town_host_count; i += count)
		if (town_hosts[i].kind != HOST_ABSENT)
			must(sink_start(w, &town_hosts[i]) == OK);
	if (index == 0)
		settle(st);
	if (index == 0 && !town.faults)
		operator_look_through(w);
	return true;
}

/* --- Is it done? --- */

bool town_idle(void *arg)
{
	static msec next;
	static unsigned calm;
	struct relay_stats r;
	struct store_stats s;

	if (town.busy || (clock_now() < next && next < clock_now() + 2 * CHECK_MS)) {
		calm = town.busy ? 0 : calm;
		return false;
	}
	next = clock_now() + CHECK_MS;
	relay_stats(&r);
	store_stats(house_store(), &s);
	bool still = r.rcpts_ready + r.rcpts_active + r.rcpts_parked + r.rcpts_held == 0 &&
		s.held_messages == 0;

	/* Between a failure and its report there is a moment without either. */
	calm = still ? calm + 1 : 0;
	if (calm < 4)
		return false;
	calm = 0;
	return true;
}

void town_say_queue(void)
{
	struct relay_stats r;
	struct store_stats s;

	relay_stats(&r);
	store_stats(house_store(), &s);
	oracle_complain("it does not drain: clients %u, ready %lld, active %lld, parked %llu, "
			"held %llu, messages held %llu",
		town.busy, (long long)r.rcpts_ready, (long long)r.rcpts_active,
		(unsigned long long)r.rcpts_parked, (unsigned long long)r.rcpts_held,
		(unsigned long long)s.held_messages);
}

/* --- The disk it leaves --- */

void town_check(bool emptied)
{
	struct check_report report;
	bool young = !oracle_sums().accepted; /* nothing was promised yet */

	if ((young && house_never_was()) || !house_fsck(young, &report))
		return;
	if (emptied && report.entries)
		oracle_complain("fsck: %llu entries are left", (unsigned long long)report.entries);
}

static bool restore(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	return restore_entry(arg, ref, meta, n, out);
}

static void lose_snapshots(void)
{
	static const char *const files[] = { "a/00", "a/01", "b/00", "b/01" };

	for (size_t i = 0; i < array_len(files); i++) {
		char path[HOUSE_PATH], name[64];

		snprintf(name, sizeof(name), "data/snapshot-%s/data.mdb", files[i]);
		unlink(house_path(path, name));
	}
}

bool town_rebuild(bool snapshots)
{
	static bool lost;
	struct store_options options = house_store_options();
	struct restore entries = { .relay = conf_options(house_setup()->conf, &relay_conf) };
	struct check_run run = {
		.options = &options, .rebuild = true, .restore = restore, .arg = &entries
	};
	struct check_report report = { 0 };
	char path[HOUSE_PATH];
	enum err err;

	if (!oracle_sums().accepted || house_never_was())
		return false;
	if (snapshots)
		lose_snapshots();
	lost = lost || snapshots; /* the next one may be some time off */
	/* A shard is gone; the other one nobody trusts any more. */
	unlink(house_path(path, "data/index/00/data.mdb"));
	sim_crash_at_write(sim_random(3) ? 0 : 1 + (unsigned)sim_random(6));
	for (;;) {
		err = check_store(&run, &report);
		if (!sim_crashed())
			break;
		house_crash();
	}
	sim_crash_at_write(0);
	restore_done(&entries);
	if (err)
		oracle_complain("rebuild: %s", err_text(err));
	else if (report.result != CHECK_REPAIRED || (report.gap_records_to && !lost))
		oracle_complain("rebuild: result %d, gap to %llx", (int)report.result,
			(unsigned long long)report.gap_records_to);
	return !err && report.gap_records_to;
}
