/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files on fibers and on plain threads, direct and durable. */
#include "core/file.h"

#include "core/fiber.h"
#include "tests/core/workers.h"

#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/var/tmp/ringpost-file-XXXXXX";
static char path[96], other[96];

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a", dir);
	snprintf(other, sizeof(other), "%s/b", dir);
}

static void teardown(void)
{
	unlink(path);
	unlink(other);
	rmdir(dir);
}

static void exercise(void)
{
	struct file *f;
	char buf[64];
	size_t len;
	uint64_t size;

	check(file_open(path, FILE_READ, &f) == ERR_NOT_FOUND);
	check(file_exists(path) == ERR_NOT_FOUND);
	check(file_open(path, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &f) == OK);
	struct file *twice;

	check(file_open(path, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &twice) == ERR_EXISTS);
	check(file_write(f, SLICE("hello world"), 0, FILE_DSYNC) == OK);
	check(file_write(f, SLICE("W"), 6, 0) == OK);
	check(file_sync(f) == OK);
	check(file_read(f, buf, sizeof(buf), 0, &len) == OK && len == 11);
	check(memcmp(buf, "hello World", 11) == 0);
	check(file_read(f, buf, 5, 6, NULL) == OK && memcmp(buf, "World", 5) == 0);
	check(file_read(f, buf, 6, 6, NULL) == ERR_CORRUPT);
	check(file_read(f, buf, 6, 100, &len) == OK && len == 0);
	check(file_size(f, &size) == OK && size == 11);
	check(file_allocate(f, 100000) == OK);
	check(file_size(f, &size) == OK && size == 100000);
	file_close(f);
}

static void names(void)
{
	struct arena a = { 0 };
	struct file_names found;
	struct file_space space;

	check(file_rename(path, other) == OK);
	check(file_exists(path) == ERR_NOT_FOUND && file_exists(other) == OK);
	check(file_sync_dir(dir) == OK);
	check(file_make_dir(path) == OK && file_make_dir(path) == OK);
	check(file_make_dir(other) != OK);
	check(file_list(&a, dir, &found) == OK && found.len == 2);
	check(slice_eq(found.names[0], SLICE("a")) && slice_eq(found.names[1], SLICE("b")));
	check(file_list(&a, "/nowhere/at/all", &found) == ERR_NOT_FOUND);
	check(file_space(dir, &space) == OK && space.total_bytes >= space.free_bytes);
	check(file_unlink(other) == OK && file_unlink(other) == ERR_NOT_FOUND);
	check(rmdir(path) == 0);
	arena_done(&a);
}

static void body_fiber(struct worker *w)
{
	(void)w;
	exercise();
	names();
}

Test(file, on_a_fiber, .init = setup, .fini = teardown)
{
	run_on_workers(1, body_fiber);
}

Test(file, on_a_plain_thread, .init = setup, .fini = teardown)
{
	exercise();
	names();
	cr_assert_eq(checks_failed, 0u);
}

static void body_direct(struct worker *w)
{
	struct file *f;
	char *buf = file_buffer(16384), *back = file_buffer(16384);

	(void)w;
	check(buf && back);
	check(file_open(path, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_DIRECT, &f) == OK);
	fprintf(stderr, "O_DIRECT here: %s\n", file_is_direct(f) ? "yes" : "no");
	check(file_allocate(f, 65536) == OK);
	for (unsigned i = 0; i < 4; i++) {
		memset(buf, 'a' + (int)i, 16384);
		check(file_write(f, slice_of(buf, 16384), i * 16384ull, FILE_DSYNC) == OK);
	}
	for (unsigned i = 0; i < 4; i++) {
		memset(buf, 'a' + (int)i, 16384);
		check(file_read(f, back, 16384, i * 16384ull, NULL) == OK);
		check(memcmp(buf, back, 16384) == 0);
	}
	file_close(f);
	file_buffer_free(buf);
	file_buffer_free(back);
}

Test(file, direct_and_durable, .init = setup, .fini = teardown)
{
	run_on_workers(1, body_direct);
}

struct writing {
	struct file_op fo;
	struct fiber_wait wait;
	enum err err;
	size_t moved;
};

static void written(struct file_op *fo, enum err err, size_t moved)
{
	struct writing *x = container_of(fo, struct writing, fo);

	x->err = err;
	x->moved = moved;
	fiber_wake(&x->wait, OK);
}

static void body_callback(struct worker *w)
{
	struct file *f;
	char one[] = "one ", two[] = "two";
	struct iovec iov[2] = { { one, 4 }, { two, 3 } };
	char buf[8];

	check(file_open(path, FILE_READ | FILE_WRITE | FILE_CREATE, &f) == OK);
	struct writing x = {
		.fo = { .file = f, .iov = iov, .iov_len = 2, .flags = FILE_DSYNC, .done = written }
	};

	file_op_write(w, &x.fo);
	check(!x.moved);
	check(fiber_wait_through(&x.wait) == OK);
	check(x.err == OK && x.moved == 7);
	check(file_read(f, buf, 7, 0, NULL) == OK && memcmp(buf, "one two", 7) == 0);
	file_op_sync(w, &x.fo);
	check(fiber_wait_through(&x.wait) == OK && x.err == OK);
	file_close(f);
}

Test(file, callback_form, .init = setup, .fini = teardown)
{
	run_on_workers(1, body_callback);
}

/* --- What the page cache has costs no turn of the loop, up to an amount --- */

enum { BIG = 3 << 20, STEP = 4096 };

static void fill_big(struct file *f)
{
	char block[STEP];

	for (unsigned i = 0; i < BIG / STEP; i++) {
		memset(block, 'a' + (int)(i % 26), sizeof(block));
		check(file_write(f, slice_of(block, sizeof(block)), (uint64_t)i * STEP, 0) == OK);
	}
}

static bool read_step(struct file *f, unsigned i)
{
	char block[STEP];

	return file_read(f, block, sizeof(block), (uint64_t)i * STEP, NULL) == OK &&
		block[0] == 'a' + (int)(i % 26) && block[STEP - 1] == block[0];
}

static uint64_t turns_of(struct worker *w)
{
	struct worker_stats stats;

	worker_stats(w, &stats);
	return stats.turns;
}

static void body_cached(struct worker *w)
{
	struct file *f;
	size_t len;

	check(file_open(path, FILE_READ | FILE_WRITE | FILE_CREATE, &f) == OK);
	fill_big(f);
	check(fiber_sleep(1) == OK);
	uint64_t before = turns_of(w);

	for (unsigned i = 0; i < 50; i++)
		check(read_step(f, i));
	check(turns_of(w) == before);
	/* Others get their turn all the same. */
	for (unsigned i = 0; i < BIG / STEP; i++)
		check(read_step(f, i));
	check(turns_of(w) > before);
	/* In parts, across the end, and beyond it. */
	char *all = malloc(2 * BIG);

	check(file_read(f, all, 2 * BIG, STEP, &len) == OK && len == BIG - STEP);
	check(all[0] == 'b' && all[BIG - STEP - 1] == 'a' + (BIG / STEP - 1) % 26);
	check(file_read(f, all, 100, BIG, &len) == OK && len == 0);
	check(file_read(f, all, 100, BIG - 50, NULL) == ERR_CORRUPT);
	free(all);
	file_close(f);
}

Test(file, the_page_cache_is_read_at_once, .init = setup, .fini = teardown)
{
	run_on_workers(1, body_cached);
}
