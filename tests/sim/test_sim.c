/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulation itself: repeatable, in order, and as unkind to disks and connections as it
 * says. */
#include "core/conn.h"
#include "core/dial.h"
#include "core/entropy.h"
#include "core/fiber.h"
#include "core/file.h"
#include "core/job.h"
#include "core/listen.h"
#include "core/post.h"
#include "tests/sim/world.h"

#include "core/base/map.h"

#include <stdlib.h>

/* --- A server on every worker, clients everywhere --- */

static uint64_t trace;
static unsigned closed_count, opened, clients_done, clients_broken;
static struct addr server_at;

static void note(uint64_t n)
{
	trace = map_hash_u64(trace ^ n);
}

static void command(struct conn *c)
{
	slice in = { 0 };

	if (conn_wait_data(c, &in, FIBER_FOREVER))
		return;
	size_t n = in.len;

	if (fiber_sleep((msec)entropy_below(20)))
		return;
	in = (slice){ 0 };
	if (conn_wait_data(c, &in, 0))
		return;
	out_slice(conn_out(c), slice_sub(in, 0, n));
	conn_consume(c, n);
}

static size_t echo(struct conn *c, slice in)
{
	note(in.len);
	conn_run(c, command);
	return 0;
}

static void gone(struct conn *c, enum err why)
{
	(void)c;
	note((uint64_t)why);
	closed_count++;
}

static const struct conn_ops ops = { .data = echo, .closed = gone };

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct conn *c;

	opened++;
	note(worker_index(listener_worker(l)));
	check(conn_open(listener_worker(l),
		      &(struct conn_open){ .fd = fd, .peer = peer, .ops = &ops, .listener = l },
		      &c) == OK);
}

static enum err serve(struct worker *w, void *arg)
{
	struct listen_config config = { .accepted = on_accept };
	struct listener *l;

	(void)arg;
	check(listen_open(&server_at, 0, &config.fd) == OK);
	server_at = listen_addr(config.fd);
	return listener_start(w, &config, &l);
}

enum { CLIENTS = 30, SENT = 20000 };

static enum err talk(struct conn *c)
{
	char expect = 'a';
	size_t got = 0;

	for (size_t i = 0; i < SENT; i++)
		out_char(conn_out(c), (char)('a' + i % 26));
	while (got < SENT) {
		slice in = { 0 };
		enum err err = conn_wait_data(c, &in, 600000);

		if (err)
			return err;
		for (size_t i = 0; i < in.len; i++, got++) {
			check(in.ptr[i] == expect);
			expect = expect == 'z' ? 'a' : (char)(expect + 1);
		}
		conn_consume(c, in.len);
	}
	return OK;
}

static void client(void *arg)
{
	struct conn *c;

	(void)arg;
	enum err err = dial(worker_self(), &server_at, NULL, &c);

	if (!err) {
		err = talk(c);
		conn_close(c);
	}
	note((uint64_t)worker_now(worker_self()));
	clients_broken += err != OK;
	clients_done++;
}

static enum err start_clients(struct worker *w, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < CLIENTS / 2; i++)
		check(fiber_start(w, client, NULL) == OK);
	return OK;
}

static void body_talk(struct worker *w, void *arg)
{
	(void)arg;
	server_at = (struct addr){ .kind = ADDR_IP4, .ip = { 192, 0, 2, 1 }, .port = 25 };
	check(serve(w, NULL) == OK);
	check(post_call_fiber(1, serve, NULL) == OK);
	check(start_clients(w, NULL) == OK);
	check(post_call_fiber(1, start_clients, NULL) == OK);
	while (clients_done < CLIENTS)
		check(fiber_sleep(10) == OK);
	while (closed_count < opened)
		check(fiber_sleep(10) == OK);
}

static uint64_t run_talk(uint64_t seed, unsigned reset_per_mille)
{
	struct world world = { .workers = 2, .body = body_talk };

	trace = opened = closed_count = clients_done = clients_broken = 0;
	sim_start(&(struct sim_config){ .seed = seed, .reset_per_mille = reset_per_mille });
	cr_assert(world_run(&world));
	sim_stop();
	cr_assert_eq(world_failed, 0u);
	return trace;
}

Test(sim, the_same_seed_gives_the_same_run)
{
	uint64_t first = run_talk(1, 0);

	cr_assert_eq(clients_broken, 0u);
	cr_assert_eq(run_talk(1, 0), first);
	cr_assert_neq(run_talk(2, 0), first);
}

Test(sim, broken_connections_all_come_to_their_end)
{
	unsigned broken = 0;

	for (uint64_t seed = 0; seed < 20; seed++) {
		run_talk(seed, 5);
		broken += clients_broken;
	}
	cr_assert_gt(broken, 0u);
}

/* --- Time --- */

static void body_time(struct worker *w, void *arg)
{
	msec before = worker_now(w);
	wall_ms wall = worker_wall(w);

	(void)arg;
	check(fiber_sleep(5ll * 24 * 3600 * 1000) == OK);
	check(worker_now(w) - before >= 5ll * 24 * 3600 * 1000);
	check(worker_wall(w) - wall >= 5ll * 24 * 3600 * 1000);
	sim_wall_jump(-1000000);
	check(worker_wall(w) < worker_now(w) - before + wall);
}

Test(sim, five_days_pass_at_once)
{
	struct world world = { .workers = 1, .body = body_time };

	sim_start(&(struct sim_config){ .seed = 3 });
	cr_assert(world_run(&world));
	sim_stop();
	cr_assert_eq(world_failed, 0u);
}

/* --- Idle fibers give their memory back --- */

static void nap(void *arg)
{
	volatile char deep[20000];

	deep[0] = deep[sizeof(deep) - 1] = 1;
	check(fiber_sleep(10) == OK);
	*(unsigned *)arg += deep[0];
}

static void body_trim(struct worker *w, void *arg)
{
	struct worker_stats stats;
	unsigned done = 0;

	(void)arg;
	for (unsigned i = 0; i < 200; i++)
		check(fiber_start(w, nap, &done) == OK);
	while (done < 200)
		check(fiber_sleep(10) == OK);
	check(fiber_sleep(1) == OK); /* counters are told at the end of a turn */
	worker_stats(w, &stats);
	check(stats.fibers_pooled >= 199);
	check(fiber_sleep(60000) == OK);
	worker_stats(w, &stats);
	check(stats.fibers_pooled <= 16);
	/* The few that were kept still run. */
	for (unsigned i = 0; i < 200; i++)
		check(fiber_start(w, nap, &done) == OK);
	while (done < 400)
		check(fiber_sleep(10) == OK);
}

Test(sim, idle_fibers_are_given_back)
{
	struct world world = { .workers = 1, .body = body_trim };

	sim_start(&(struct sim_config){ .seed = 6 });
	cr_assert(world_run(&world));
	sim_stop();
	cr_assert_eq(world_failed, 0u);
}

/* --- Jobs --- */

static unsigned jobs_run;
static struct job_queue queue;

static void count_job(void *arg)
{
	check(jobs_run == (unsigned)(uintptr_t)arg);
	jobs_run++;
}

static void job_fiber(void *arg)
{
	job_run_in(&queue, count_job, arg);
}

static void body_jobs(struct worker *w, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 50; i++)
		check(fiber_start(w, job_fiber, (void *)(uintptr_t)i) == OK);
	while (jobs_run < 50)
		check(fiber_sleep(1) == OK);
}

Test(sim, queued_jobs_keep_their_order)
{
	struct world world = { .workers = 1, .body = body_jobs };

	sim_start(&(struct sim_config){ .seed = 4 });
	cr_assert(world_run(&world));
	sim_stop();
	cr_assert_eq(world_failed, 0u);
}

/* --- The disk --- */

enum { BLOCK = 4096 };
static unsigned confirmed;

/* Writes numbered blocks, each durable before the next, and one more that is not synced. */
static void body_write(struct worker *w, void *arg)
{
	struct file *f;
	char *block = file_buffer(BLOCK);

	(void)w;
	(void)arg;
	check(file_open("/data/log", FILE_READ | FILE_WRITE | FILE_CREATE | FILE_DIRECT, &f) == OK);
	check(file_allocate(f, 100 * BLOCK) == OK);
	check(file_sync_dir("/data") == OK);
	for (unsigned i = 0; i < 20; i++) {
		memset(block, (int)i + 1, BLOCK);
		check(file_write(f, slice_of(block, BLOCK), (uint64_t)i * BLOCK, FILE_DSYNC) == OK);
		confirmed = i + 1;
	}
	file_close(f);
	file_buffer_free(block);
}

static unsigned torn;

static void body_verify(struct worker *w, void *arg)
{
	struct file *f;
	char block[BLOCK];

	(void)w;
	(void)arg;
	enum err err = file_open("/data/log", FILE_READ, &f);

	if (confirmed == 0 && err == ERR_NOT_FOUND)
		return;
	check(err == OK);
	for (unsigned i = 0; i < confirmed; i++) {
		check(file_read(f, block, BLOCK, (uint64_t)i * BLOCK, NULL) == OK);
		check(block[0] == (char)(i + 1) && memcmp(block, block + 1, BLOCK - 1) == 0);
	}
	size_t len;

	check(file_read(f, block, BLOCK, (uint64_t)confirmed * BLOCK, &len) == OK);
	torn += len == BLOCK && memcmp(block, block + 1, BLOCK - 1) != 0;
	file_close(f);
}

Test(sim, a_crash_keeps_what_was_confirmed_and_tears_the_rest)
{
	for (unsigned seed = 0; seed < 100; seed++) {
		struct world writing = { .workers = 1, .body = body_write };
		struct world verify = { .workers = 1, .body = body_verify };

		confirmed = 0;
		sim_start(&(struct sim_config){ .seed = seed });
		sim_crash_at_write(1 + seed % 21);
		cr_assert_not(world_run(&writing));
		cr_assert_lt(confirmed, 21u);
		cr_assert(world_run(&verify));
		sim_stop();
		cr_assert_eq(world_failed, 0u, "seed %u", seed);
	}
	cr_assert_gt(torn, 5u);
}

static unsigned kept, lost;

static void body_names(struct worker *w, void *arg)
{
	struct file *f;

	(void)w;
	(void)arg;
	check(file_open("/data/a", FILE_WRITE | FILE_CREATE, &f) == OK);
	check(file_write(f, SLICE("old"), 0, FILE_DSYNC) == OK);
	check(file_sync_dir("/data") == OK);
	check(file_rename("/data/a", "/data/b") == OK);
	check(file_exists("/data/a") == ERR_NOT_FOUND);
	sim_crash_at_write(1);
	check(file_sync(f) == OK);
	file_close(f);
}

static void body_look(struct worker *w, void *arg)
{
	bool a = file_exists("/data/a") == OK, b = file_exists("/data/b") == OK;

	(void)w;
	(void)arg;
	kept += b;
	lost += a;
}

Test(sim, a_rename_is_safe_only_after_its_folder)
{
	for (unsigned seed = 0; seed < 50; seed++) {
		struct world writing = { .workers = 1, .body = body_names };
		struct world look = { .workers = 1, .body = body_look };

		sim_start(&(struct sim_config){ .seed = seed });
		cr_assert_not(world_run(&writing));
		cr_assert(world_run(&look));
		sim_stop();
		cr_assert_eq(world_failed, 0u);
	}
	cr_assert_gt(kept, 0u);
	cr_assert_gt(lost, 0u);
}

static enum err put(const char *path, slice bytes)
{
	struct file *f;
	enum err err = file_open(path, FILE_WRITE | FILE_CREATE, &f);

	if (err)
		return err;
	err = file_write(f, bytes, 0, FILE_DSYNC);
	file_close(f);
	return err;
}

static void body_replace(struct worker *w, void *arg)
{
	(void)w;
	(void)arg;
	check(put("/data/a", SLICE("old")) == OK && put("/data/b", SLICE("new")) == OK);
	check(file_sync_dir("/data") == OK);
	check(file_rename("/data/b", "/data/a") == OK);
	sim_crash_at_write(1);
	check(file_sync_dir("/data") == OK);
}

static void body_replaced(struct worker *w, void *arg)
{
	char text[3] = "";
	struct file *f;

	(void)w;
	(void)arg;
	check(file_open("/data/a", FILE_READ, &f) == OK);
	check(file_read(f, text, sizeof(text), 0, NULL) == OK);
	kept += memcmp(text, "new", 3) == 0;
	lost += memcmp(text, "old", 3) == 0;
	check((file_exists("/data/b") == OK) == (memcmp(text, "old", 3) == 0));
	file_close(f);
}

Test(sim, a_rename_replaces_in_one_step)
{
	kept = lost = 0;
	for (unsigned seed = 0; seed < 50; seed++) {
		struct world writing = { .workers = 1, .body = body_replace };
		struct world look = { .workers = 1, .body = body_replaced };

		sim_start(&(struct sim_config){ .seed = seed });
		cr_assert_not(world_run(&writing));
		cr_assert(world_run(&look));
		sim_stop();
		cr_assert_eq(world_failed, 0u, "seed %u", seed);
	}
	cr_assert_eq(kept + lost, 50u);
	cr_assert_gt(kept, 0u);
	cr_assert_gt(lost, 0u);
}

static void body_full(struct worker *w, void *arg)
{
	struct file *f;
	static char block[BLOCK];
	enum err err = OK;
	unsigned n = 0;

	(void)w;
	(void)arg;
	check(file_open("/full", FILE_WRITE | FILE_CREATE, &f) == OK);
	while (!err)
		err = file_write(f, slice_of(block, BLOCK), n++ * BLOCK, FILE_DSYNC);
	check(err == ERR_NOSPACE && n == 11);
	sim_disk_set(100 * BLOCK, 1000);
	check(file_write(f, slice_of(block, BLOCK), 0, FILE_DSYNC) == ERR_IO);
	check(file_sync(f) == ERR_IO);
	file_close(f);
}

Test(sim, disks_are_full_and_fail)
{
	struct world world = { .workers = 1, .body = body_full };

	sim_start(&(struct sim_config){ .seed = 5, .disk_bytes = 10 * BLOCK });
	cr_assert(world_run(&world));
	sim_stop();
	cr_assert_eq(world_failed, 0u);
}
