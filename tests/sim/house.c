/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One server, started and ended as server/service.c does it for `ringpost serve`, less the signals.
 * A crash leaks what the dead process had; its LMDB environments stay mapped too, so the next one
 * gets copies of their files. */
#include "tests/sim/house.h"

#include "core/fiber.h"
#include "core/file.h"
#include "core/post.h"
#include "core/tls.h"
#include "core/worker.h"
#include "relay/relay.h"
#include "server/password.h"
#include "server/service.h"
#include "store/check.h"
#include "store/store.h"
#include "tests/sim/certificate.h"
#include "tests/sim/oracle.h"
#include "tests/sim/town.h"
#include "tests/support/tmpdir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct town town;

static struct {
	struct tmpdir dir;
	struct setup *setups[HOUSE_VARIANTS];
	struct service *service; /* NULL: closed */
} house;

/* --- The folder --- */

const char *house_path(char path[HOUSE_PATH], const char *name)
{
	return tmpdir_file(&house.dir, name, path, HOUSE_PATH);
}

static const char *const folders[] = { "data", "data/index", "data/index/00", "data/index/01",
	"data/archive", "data/archive/map" };

static void make_folders(void)
{
	char path[HOUSE_PATH];

	for (size_t i = 0; i < array_len(folders); i++)
		must(mkdir(house_path(path, folders[i]), 0700) == 0);
	/* The simulated socket's file, whose mode is set. */
	close(creat(house_path(path, "control"), 0600));
}

/* Where LMDB has its files. */
static const char *const lmdb_folders[] = { "data/index/00", "data/index/01", "data/archive/map" };

void house_clean(void)
{
	struct tmpdir data;

	house_path(data.path, "data");
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
		char path[HOUSE_PATH], fresh[HOUSE_PATH], name[64];

		snprintf(name, sizeof(name), "%s/data.mdb", lmdb_folders[i]);
		house_path(path, name);
		if (access(path, F_OK) != 0)
			continue;
		snprintf(name, sizeof(name), "%s/fresh", lmdb_folders[i]);
		copy_file(path, house_path(fresh, name));
		must(rename(fresh, path) == 0);
		snprintf(name, sizeof(name), "%s/lock.mdb", lmdb_folders[i]);
		unlink(house_path(path, name));
	}
}

static FILE *create(const char *name)
{
	char path[HOUSE_PATH];
	FILE *f = fopen(house_path(path, name), "w");

	must(f);
	return f;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = create(name);

	must(fputs(text, f) >= 0 && fclose(f) == 0);
}

/* --- Configuration --- */

static struct setup *load(unsigned variant)
{
	char path[HOUSE_PATH], name[32], text[4096];
	struct out errors = out_fixed(text, sizeof(text));
	struct setup *setup = NULL;

	snprintf(name, sizeof(name), "house-%u.yaml", variant);
	FILE *f = create(name);

	fprintf(f, "hostname: mx.sim.test\ndata: %s/data\ncontrol: %s/control\ndrain: 20s\n",
		house.dir.path, house.dir.path);
	fputs("limits: { connections: 500 }\n", f);
	town_write_config(f, variant);
	must(fclose(f) == 0);
	if (setup_load(house_path(path, name), &errors, &setup))
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

struct setup *house_setup(void)
{
	return house.setups[0];
}

struct store *house_store(void)
{
	return service_store(house.service);
}

/* --- Passwords: hashing them would be the slowest thing here, so accounts come with theirs in clear --- */

bool password_check(const char *stored, slice password)
{
	return slice_eq(password, slice_str(stored));
}

bool password_hash(enum auth_hash scheme, slice password, char out[PASSWORD_HASH_MAX])
{
	out[0] = '\0';
	return false;
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

	if (!town_move_in(w, house_store()))
		return;
	for (unsigned i = index; i < town.clients; i += count)
		client_start(w, i);
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

	town.busy = 0;
	town.stopping = town.furnished = false;
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

/* --- The disk it leaves --- */

struct store_options house_store_options(void)
{
	struct store_options options =
		*(const struct store_options *)conf_options(house_setup()->conf, &store_conf_table);

	options.path = house_setup()->service->data.ptr;
	return options;
}

bool house_never_was(void)
{
	char path[HOUSE_PATH];

	return file_exists(house_path(path, "data/store")) == ERR_NOT_FOUND;
}

static void say_finding(void *arg, const char *line)
{
	const bool *young = arg;

	if (!*young)
		oracle_complain("fsck: %s", line);
}

bool house_fsck(bool young, struct check_report *out)
{
	struct store_options options = house_store_options();
	struct check_run run = { .options = &options, .say = say_finding, .arg = &young };
	struct check_report report = { 0 };
	enum err err = check_store(&run, &report);

	if (err == ERR_NOT_FOUND && young)
		return false;
	if (err)
		oracle_complain("fsck: %s", err_text(err));
	else if (report.result != CHECK_CLEAN)
		oracle_complain("fsck: result %d", (int)report.result);
	*out = report;
	return !err && report.result == CHECK_CLEAN;
}
