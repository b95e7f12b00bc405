/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One server, started and ended as server/service.c does it for `ringpost serve`, less the signals.
 * A crash leaks what the dead process had; its LMDB environments stay mapped too, so the next one
 * gets copies of their files. */
#include "tests/sim/house.h"

#include "core/event.h"
#include "core/fiber.h"
#include "core/file.h"
#include "core/post.h"
#include "core/tls.h"
#include "core/worker.h"
#include "relay/queue.h"
#include "relay/relay.h"
#include "server/login.h"
#include "server/password.h"
#include "server/restore.h"
#include "server/service.h"
#include "server/smtp/smtp_session.h"
#include "store/account.h"
#include "store/check.h"
#include "store/store.h"
#include "tests/sim/certificate.h"
#include "tests/sim/town.h"
#include "tests/support/tmpdir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHARDS = 2, PATH_BYTES = 512, CHECK_MS = 500 };

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

static struct {
	struct tmpdir dir;
	struct setup *setups[HOUSE_VARIANTS];
	struct service *service; /* NULL: closed */
} house;

/* --- The folder --- */

static const char *path_of(char path[PATH_BYTES], const char *name)
{
	return tmpdir_file(&house.dir, name, path, PATH_BYTES);
}

static const char *const folders[] = { "data", "data/index", "data/index/00", "data/index/01",
	"data/archive", "data/archive/map" };

static void make_folders(void)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < array_len(folders); i++)
		must(mkdir(path_of(path, folders[i]), 0700) == 0);
	/* The simulated socket's file, whose mode is set. */
	close(creat(path_of(path, "control"), 0600));
}

/* Where LMDB has its files. */
static const char *const lmdb_folders[] = { "data/index/00", "data/index/01", "data/archive/map" };

void house_clean(void)
{
	struct tmpdir data;

	path_of(data.path, "data");
	tmpdir_remove(&data);
	make_folders();
}

/* LMDB's folders, and what the program makes of them: old ones, snapshots. */
bool house_is_real(const char *path)
{
	return strstr(path, "/data/index") || strstr(path, "/data/snapshot-") ||
		strstr(path, "/data/archive/map");
}

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct stat st;
	off_t at = 0;

	must(in >= 0 && out >= 0 && fstat(in, &st) == 0);
	while (at < st.st_size)
		must(copy_file_range(in, &at, out, NULL, (size_t)(st.st_size - at), 0) > 0);
	close(in);
	close(out);
}

/* The dead process still has them mapped and open: give the next one files of its own. */
static void renew_lmdb(void)
{
	for (size_t i = 0; i < array_len(lmdb_folders); i++) {
		char path[PATH_BYTES], fresh[PATH_BYTES], name[64];

		snprintf(name, sizeof(name), "%s/data.mdb", lmdb_folders[i]);
		path_of(path, name);
		if (access(path, F_OK) != 0)
			continue;
		snprintf(name, sizeof(name), "%s/fresh", lmdb_folders[i]);
		copy_file(path, path_of(fresh, name));
		must(rename(fresh, path) == 0);
		snprintf(name, sizeof(name), "%s/lock.mdb", lmdb_folders[i]);
		unlink(path_of(path, name));
	}
}

/* --- Configuration --- */

static void write_config(FILE *f, const char *variant)
{
	fprintf(f,
		"hostname: mx.sim.test\ndata: %s/data\ncontrol: %s/control\ndrain: 20s\n"
		"listen: [ { address: %s, port: 25, service: smtp, tls: false,\n"
		"            relay_from: [ 127.0.0.0/8 ] },\n"
		"          { address: %s, port: 587, service: submission } ]\n"
		"tls: { certificates: [ { cert: cert.pem, key: key.pem } ] }\n"
		"auth: { lock_after: 0, fail_delay: 10ms, fail_delay_max: 10ms }\n"
		"limits: { connections: 500 }\n",
		house.dir.path, house.dir.path, town_server, town_server);
	bool in_relay = false;

	for (const char *at = variant; *at; at++) {
		in_relay = in_relay || strncmp(at, "relay:", 6) == 0;
		if (strncmp(at, "SHARED", 6) == 0) {
			fputs(in_relay ? relay_shared : store_shared, f);
			at += 5;
		} else {
			fputc(*at, f);
		}
	}
}

static void write_file(const char *name, const char *text)
{
	char path[PATH_BYTES];
	FILE *f = fopen(path_of(path, name), "w");

	must(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

struct tls_client *house_tls_client(void)
{
	return house.setups[0]->tls_client;
}

struct tls_server *house_tls_server(void)
{
	return house.setups[0]->tls;
}

static struct setup *load(unsigned variant)
{
	char path[PATH_BYTES], name[32], text[4096];
	struct out errors = out_fixed(text, sizeof(text));
	struct setup *setup = NULL;

	snprintf(name, sizeof(name), "house-%u.yaml", variant);
	FILE *f = fopen(path_of(path, name), "w");

	must(f);
	write_config(f, variants[variant]);
	fclose(f);
	if (setup_load(path, &errors, &setup))
		fprintf(stderr, "%.*s\n", SLICE_ARG(out_written(&errors)));
	must(setup);
	return setup;
}

/* As service_run does. */
static void register_tables(void)
{
	event_register(&smtp_events);
	event_register(&relay_events);
	metric_register(&smtp_metrics);
	metric_register(&relay_metrics);
	metric_register(&login_metrics);
	metric_register(&tls_metrics);
}

void house_make(void)
{
	/* LMDB really syncs; here that need not reach a disk. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tmpdir_make(&house.dir);
	make_folders();
	register_tables();
	must(tls_start() == OK);
	write_file("cert.pem", town_certificate);
	write_file("key.pem", town_key);
	for (unsigned i = 0; i < HOUSE_VARIANTS; i++)
		house.setups[i] = load(i);
}

void house_remove(void)
{
	for (unsigned i = 0; i < HOUSE_VARIANTS; i++)
		setup_put(house.setups[i]);
	tls_stop();
	tmpdir_remove(&house.dir);
}

/* --- Passwords: hashing them would be the slowest thing here --- */

bool password_check(const char *stored, slice password)
{
	return slice_eq(password, slice_str(stored));
}

bool password_hash(enum auth_hash scheme, slice password, char out[PASSWORD_HASH_MAX])
{
	(void)scheme;
	(void)password;
	out[0] = '\0';
	return false;
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

/* --- Life --- */

struct mover_in {
	struct post post;
	unsigned index;
};

static void move_in_here(void *arg)
{
	unsigned index = (unsigned)(uintptr_t)arg, count = workers_count();
	struct worker *w = worker_self();

	for (unsigned i = index; i < town_host_count; i += count)
		if (town_hosts[i].kind != HOST_ABSENT)
			must(sink_start(w, &town_hosts[i]) == OK);
	if (index == 0)
		settle(service_store(house.service));
	for (unsigned i = index; i < town.clients; i += count)
		client_start(w);
}

static void move_in(struct worker *w, struct post *post)
{
	struct mover_in *m = container_of(post, struct mover_in, post);

	must(fiber_start(w, move_in_here, (void *)(uintptr_t)m->index) == OK);
}

bool house_open(unsigned variant)
{
	static struct mover_in movers[WORKERS_MAX];
	char text[1024];
	struct out why = out_fixed(text, sizeof(text));
	struct setup *setup = setup_hold(house.setups[variant]);

	town.clients_busy = 0;
	town.stopping = false;
	resolver_hook(town_resolve, NULL);
	enum err err = service_start(setup, &why, &house.service);

	if (err)
		house.service = NULL;
	if (sim_crashed())
		return false;
	if (err) {
		oracle_complain("the server does not start: %s %.*s", err_name(err),
			SLICE_ARG(out_written(&why)));
		setup_put(setup);
		return false;
	}
	for (unsigned i = 0; i < workers_count(); i++) {
		movers[i] = (struct mover_in){ .post.run = move_in, .index = i };
		post_to(i, &movers[i].post);
	}
	return true;
}

bool house_run(bool (*done)(void *arg), msec ms)
{
	return sim_run_until(done, NULL, ms);
}

bool house_close(void)
{
	town.stopping = true;
	workers_stop();
	bool ended = sim_run_until(NULL, NULL, (msec)3600 * 1000);

	if (sim_crashed())
		return false;
	must(ended);
	service_end(house.service);
	house.service = NULL;
	return !sim_crashed();
}

void house_crash(void)
{
	sim_crash();
	/* What a new process would not know. */
	relay_forget();
	house.service = NULL;
	renew_lmdb();
}

bool house_idle(void *arg)
{
	static msec next;
	static unsigned calm;
	struct relay_stats r;
	struct store_stats s;

	(void)arg;
	if (town.clients_busy || (clock_now() < next && next < clock_now() + 2 * CHECK_MS)) {
		calm = town.clients_busy ? 0 : calm;
		return false;
	}
	next = clock_now() + CHECK_MS;
	relay_stats(&r);
	store_stats(service_store(house.service), &s);
	bool still = r.rcpts_ready + r.rcpts_active + r.rcpts_parked + r.rcpts_held == 0 &&
		s.held_messages == 0;

	/* Between a failure and its report there is a moment without either. */
	calm = still ? calm + 1 : 0;
	if (calm < 4)
		return false;
	calm = 0;
	return true;
}

void house_say_queue(void)
{
	struct relay_stats r;
	struct store_stats s;

	relay_stats(&r);
	store_stats(service_store(house.service), &s);
	oracle_complain("it does not drain: clients %u, ready %lld, active %lld, parked %llu, "
			"held %llu, messages held %llu",
		town.clients_busy, (long long)r.rcpts_ready, (long long)r.rcpts_active,
		(unsigned long long)r.rcpts_parked, (unsigned long long)r.rcpts_held,
		(unsigned long long)s.held_messages);
}

static void say_finding(void *arg, const char *line)
{
	if (!arg)
		oracle_complain("fsck: %s", line);
}

/* It died before its store was made. */
static bool never_was(const char *data)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/store", data);
	return file_exists(path) == ERR_NOT_FOUND;
}

static struct store_options options_here(void)
{
	struct store_options options =
		*(const struct store_options *)conf_options(house.setups[0]->conf,
			&store_conf_table);

	options.path = house.setups[0]->service->data.ptr;
	return options;
}

static bool restore(void *arg, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	return restore_entry(arg, ref, meta, n, out);
}

void house_rebuild(void)
{
	struct store_options options = options_here();
	struct restore entries = { .relay = conf_options(house.setups[0]->conf, &relay_conf) };
	struct check_run run = { .options = &options,
		.rebuild = true,
		.say = say_finding,
		.restore = restore,
		.arg = &entries };
	struct check_report report = { 0 };
	char path[PATH_BYTES];
	enum err err;

	if (!oracle_sums().accepted || never_was(options.path))
		return;
	/* A shard is gone; the other one nobody trusts any more. */
	unlink(path_of(path, "data/index/00/data.mdb"));
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
	else if (report.result != CHECK_REPAIRED || report.gap_records_to)
		oracle_complain("rebuild: result %d, gap to %llx", (int)report.result,
			(unsigned long long)report.gap_records_to);
}

void house_check(bool emptied)
{
	struct store_options options = options_here();
	struct check_run run = { .options = &options, .say = say_finding };
	struct check_report report = { 0 };

	if (!oracle_sums().accepted && never_was(options.path))
		return;
	/* While it is being made parts may be missing; nothing was promised yet. */
	if (!oracle_sums().accepted)
		run.arg = &report;
	enum err err = check_store(&run, &report);

	if (err == ERR_NOT_FOUND && run.arg)
		return;
	if (err)
		oracle_complain("fsck: %s", err_text(err));
	else if (report.result != CHECK_CLEAN)
		oracle_complain("fsck: result %d", (int)report.result);
	else if (emptied && report.entries)
		oracle_complain("fsck: %llu entries are left", (unsigned long long)report.entries);
}
