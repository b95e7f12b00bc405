/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mail_house.c - house.h for a server with mailboxes: a domain of our own, an account a box.
 *
 * As in house.c a crash leaks what the dead process had, and its LMDB environments stay mapped, so the
 * next process gets copies of their files. The accounts are made by the first process that lives
 * long enough. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fiber.h"
#include "core/file.h"
#include "core/post.h"
#include "core/tls.h"
#include "core/worker.h"
#include "relay/queue.h"
#include "relay/relay.h"
#include "relay/resolver.h"
#include "server/password.h"
#include "server/service.h"
#include "store/account.h"
#include "store/check.h"
#include "store/store.h"
#include "tests/sim/house.h"
#include "tests/sim/mail_town.h"
#include "tests/support/tmpdir.h"

enum { PATH_BYTES = 512, CALM_MS = 500 };

static const char *const variants[HOUSE_VARIANTS] = {
	"workers: 2\nstore: { spill: 64K, ",
	"workers: 1\nstore: { spill: 16K, gather: 5ms, ",
	"workers: 3\nstore: { spill: 256K, gather: 1s, replay_max: 4M, ",
};
static const char shared[] =
	"segment: 1M, journal_max: 32M, reserve: 1M, map: 4M, shards: 2, snapshot_interval: 0,\n"
	"         body_ram: 1M, cache: 4M }\n"
	"pop3: { plain_login: true }\nimap: { plain_login: true }\n"
	"limits: { connections: 500 }\nresolver: { ipv6: false }\ndrain: 20s\n";

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

static const char *const lmdb_folders[] = { "data/index/00", "data/index/01", "data/archive/map" };

static void make_folders(void)
{
	static const char *const folders[] = { "data", "data/index", "data/archive" };
	char path[PATH_BYTES];

	for (size_t i = 0; i < array_len(folders); i++)
		must(mkdir(path_of(path, folders[i]), 0700) == 0);
	for (size_t i = 0; i < array_len(lmdb_folders); i++)
		must(mkdir(path_of(path, lmdb_folders[i]), 0700) == 0);
	/* The simulated socket's file, whose mode is set. */
	close(creat(path_of(path, "control"), 0600));
}

static const char *lmdb_file(char path[PATH_BYTES], size_t folder, const char *file)
{
	char name[64];

	snprintf(name, sizeof(name), "%s/%s", lmdb_folders[folder], file);
	return path_of(path, name);
}

void house_clean(void)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < array_len(lmdb_folders); i++) {
		unlink(lmdb_file(path, i, "data.mdb"));
		unlink(lmdb_file(path, i, "lock.mdb"));
	}
}

static bool copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = in >= 0 && out >= 0 ? 1 : -1;

	while (n > 0)
		n = copy_file_range(in, NULL, out, NULL, 1 << 20, 0);
	close(in);
	close(out);
	return n == 0;
}

static void renew_lmdb(void)
{
	for (size_t i = 0; i < array_len(lmdb_folders); i++) {
		char old[PATH_BYTES], fresh[PATH_BYTES], lock[PATH_BYTES];

		if (access(lmdb_file(old, i, "data.mdb"), F_OK) != 0)
			continue;
		must(copy_file(old, lmdb_file(fresh, i, "fresh")));
		must(rename(fresh, old) == 0);
		unlink(lmdb_file(lock, i, "lock.mdb"));
	}
}

/* --- Configuration --- */

static void write_config(FILE *f, const char *variant)
{
	static const struct {
		unsigned port;
		const char *service;
	} doors[] = { { 25, "smtp" }, { 24, "lmtp" }, { 110, "pop3" }, { 143, "imap" } };

	fprintf(f, "hostname: mx.sim.test\ndata: %s/data\ncontrol: %s/control\nlisten:\n",
		house.dir.path, house.dir.path);
	for (size_t i = 0; i < array_len(doors); i++)
		fprintf(f, "  - { address: %s, port: %u, service: %s, tls: false }\n",
			MAIL_TOWN_SERVER, doors[i].port, doors[i].service);
	fputs(variant, f);
	fputs(shared, f);
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

void house_make(void)
{
	/* LMDB really syncs; here that need not reach a disk. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tmpdir_make(&house.dir);
	make_folders();
	service_register_tables();
	must(tls_start() == OK);
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

/* --- Passwords: a real hash would be the slowest thing here --- */

bool password_check(const char *stored, slice password)
{
	return slice_eq(password, slice_str(stored));
}

bool password_hash(enum auth_hash scheme, slice password, char out[PASSWORD_HASH_MAX])
{
	snprintf(out, PASSWORD_HASH_MAX, "nobody's");
	return true;
}

/* --- Life --- */

struct mover_in {
	struct post post;
	unsigned index;
};
static bool furnished;

static enum err make_accounts(struct store *st)
{
	struct domain domain = { .name = SLICE(MAIL_TOWN_DOMAIN), .flags = DOMAIN_NO_SCRAM };
	enum err err = domain_put(st, &domain, ROW_PUT);

	for (unsigned box = 0; box < BOXES && !err; box++) {
		char local[16];
		struct account account = { .domain = domain.name,
			.hash = SLICE(MAIL_TOWN_PASSWORD) };

		snprintf(local, sizeof(local), "box%u", box);
		account.local = slice_str(local);
		err = account_put(st, &account, ROW_CREATE);
		err = err == ERR_EXISTS ? OK : err;
	}
	return err;
}

/* A failing disk may want more than one try. */
static void furnish(void)
{
	enum err err;

	while ((err = make_accounts(service_store(house.service))) && !mail_town.stopping)
		if (fiber_sleep(100))
			return;
	furnished = !err;
}

static void move_in_here(void *arg)
{
	unsigned index = (unsigned)(uintptr_t)arg, count = workers_count();

	if (index == 0)
		furnish();
	while (!furnished)
		if (mail_town.stopping || fiber_sleep(10))
			return;
	for (unsigned i = index; i < mail_town.clients; i += count)
		mail_town_start(worker_self(), i);
}

static void move_in(struct worker *w, struct post *post)
{
	struct mover_in *m = container_of(post, struct mover_in, post);

	must(fiber_start(w, move_in_here, (void *)(uintptr_t)m->index) == OK);
}

/* Nobody outside is known. */
static enum err resolve(void *arg, const char *name, int rrtype, struct resolver_answer *out)
{
	return ERR_DNS_NXDOMAIN;
}

bool house_open(unsigned variant)
{
	static struct mover_in movers[WORKERS_MAX];
	char text[1024];
	struct out why = out_fixed(text, sizeof(text));
	struct setup *setup = setup_hold(house.setups[variant]);

	furnished = false;
	mail_town.busy = 0;
	mail_town.stopping = false;
	resolver_hook(resolve, NULL);
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
	mail_town.stopping = true;
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

/* The clients are done; some time more, for what goes on behind them. */
bool house_idle(void *arg)
{
	static msec calm_at;

	if (mail_town.busy || !furnished) {
		calm_at = 0;
		return false;
	}
	calm_at = calm_at && calm_at <= clock_now() + CALM_MS ? calm_at : clock_now() + CALM_MS;
	if (clock_now() < calm_at)
		return false;
	calm_at = 0;
	return true;
}

static void say_finding(void *arg, const char *line)
{
	oracle_complain("fsck: %s", line);
}

void house_check(bool emptied)
{
	struct store_options options =
		*(const struct store_options *)conf_options(house.setups[0]->conf,
			&store_conf_table);
	struct check_run run = { .options = &options, .say = say_finding };
	struct check_report report = { 0 };
	char path[PATH_BYTES];

	options.path = house.setups[0]->service->data.ptr;
	if (!emptied && file_exists(path_of(path, "data/store")) == ERR_NOT_FOUND)
		return; /* it died before its store was made */
	enum err err = check_store(&run, &report);

	if (err)
		oracle_complain("fsck: %s", err_text(err));
	else if (report.result != CHECK_CLEAN)
		oracle_complain("fsck: result %d", (int)report.result);
	else if (emptied && report.kept_messages != mail_town.kept)
		oracle_complain("fsck: %llu messages, and the readers saw %llu",
			(unsigned long long)report.kept_messages,
			(unsigned long long)mail_town.kept);
}
