/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed connections over loopback: our side echoes, the client speaks by zlib itself. */
#include "core/conn.h"

#include "core/dial.h"
#include "core/fiber.h"
#include "core/listen.h"
#include "tests/core/workers.h"

#include <stdlib.h>
#include <zlib.h>

static struct listener *server;
static struct addr server_at;
static enum err closed_why;
static unsigned closed_count;
static size_t most_offered;

static void on_closed(struct conn *c, enum err why)
{
	(void)c;
	closed_why = why;
	closed_count++;
}

static size_t echo(struct conn *c, slice in)
{
	size_t len = conn_congested(c) ? 0 : in.len;

	out_slice(conn_out(c), slice_sub(in, 0, len));
	return len;
}

static size_t refuse(struct conn *c, slice in)
{
	(void)c;
	most_offered = MAX(most_offered, in.len);
	return 0;
}

static struct conn_ops ops = { .data = echo, .closed = on_closed };

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct conn_open args = { .fd = fd, .peer = peer, .ops = &ops, .listener = l };
	struct conn *c;

	check(conn_open(listener_worker(l), &args, &c) == OK);
	check(conn_start_deflate(c) == OK);
	check(conn_is_deflated(c));
}

/* --- The client --- */

static struct conn *client;
static z_stream up, down;

static void begin(struct worker *w, size_t (*data)(struct conn *c, slice in))
{
	struct addr at = addr_ip4(0x7f000001, 0);
	struct listen_config config = { .accepted = on_accept };

	ops.data = data;
	check(listen_open(&at, 0, &config.fd) == OK);
	server_at = listen_addr(config.fd);
	check(listener_start(w, &config, &server) == OK);
	check(dial(w, &server_at, NULL, &client) == OK);
	up = down = (z_stream){ 0 };
	check(deflateInit2(&up, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	check(inflateInit2(&down, -15) == Z_OK);
}

static void finish(void)
{
	conn_close(client);
	deflateEnd(&up);
	inflateEnd(&down);
	while (!closed_count)
		check(fiber_sleep(1) == OK);
}

static void say(slice bytes, int flush)
{
	char buf[4096];

	up.next_in = (Bytef *)(uintptr_t)bytes.ptr;
	up.avail_in = (uInt)bytes.len;
	do {
		up.next_out = (Bytef *)buf;
		up.avail_out = sizeof(buf);
		(void)deflate(&up, flush);
		out_bytes(conn_out(client), buf, sizeof(buf) - up.avail_out);
		if (conn_send_wait(client, 10000))
			return;
	} while (up.avail_out == 0);
}

/* What comes back must be these bytes. */
static bool hear(slice want)
{
	char buf[4096];

	while (want.len) {
		slice in = { 0 };

		if (conn_wait_data(client, &in, 10000))
			return false;
		down.next_in = (Bytef *)(uintptr_t)in.ptr;
		down.avail_in = (uInt)in.len;
		down.next_out = (Bytef *)buf;
		down.avail_out = (uInt)MIN(sizeof(buf), want.len);
		size_t asked = down.avail_out;
		int how = inflate(&down, Z_SYNC_FLUSH);

		conn_consume(client, in.len - down.avail_in);
		if (how != Z_OK && how != Z_BUF_ERROR)
			return false;
		if (memcmp(buf, want.ptr, asked - down.avail_out) != 0)
			return false;
		want = slice_skip(want, asked - down.avail_out);
	}
	return true;
}

/* --- Dialogues: short ones are stored, long ones packed, and all fit one stream --- */

static void body_sizes(struct worker *w)
{
	static const size_t sizes[] = { 1, 5, 511, 512, 513, 3, 16384, 40000, 2, 7 };
	char *text = malloc(40000);
	uint32_t seed = 1;

	for (size_t i = 0; i < 40000; i++) {
		seed = seed * 1664525 + 1013904223;
		text[i] = (char)("abcdefgh"[seed >> 29]);
	}
	begin(w, echo);
	for (size_t i = 0; i < array_len(sizes); i++) {
		say(slice_of(text, sizes[i]), Z_SYNC_FLUSH);
		check(hear(slice_of(text, sizes[i])));
	}
	finish();
	free(text);
}

Test(conn_deflate, echoes_any_size)
{
	run_on_workers(1, body_sizes);
}

/* --- Quiet moments in between: states are given back and taken up again --- */

static void body_quiet(struct worker *w)
{
	char text[3000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i * i % 23);
	begin(w, echo);
	for (unsigned i = 0; i < 3; i++) {
		say(slice_of(text, sizeof(text)), i == 1 ? Z_FULL_FLUSH : Z_SYNC_FLUSH);
		check(hear(slice_of(text, sizeof(text))));
		check(fiber_sleep(1200) == OK);
		/* Short, and full of references to what was said before the quiet. */
		say(slice_of(text, 100), Z_SYNC_FLUSH);
		check(hear(slice_of(text, 100)));
		check(fiber_sleep(1200) == OK);
	}
	finish();
}

Test(conn_deflate, goes_on_after_quiet_moments)
{
	run_on_workers(1, body_quiet);
}

/* --- A bomb: 100 MB of zeros for an owner who takes nothing --- */

static void body_bomb(struct worker *w)
{
	static char zeros[65536];

	begin(w, refuse);
	for (unsigned i = 0; i < 1600 && !conn_closing(client); i++)
		say(slice_of(zeros, sizeof(zeros)), Z_NO_FLUSH);
	say(SLICE(""), Z_SYNC_FLUSH);
	finish();
	check(closed_why == ERR_LIMIT);
	check(most_offered < 2 * CONN_HOLD_MAX);
}

Test(conn_deflate, holds_no_more_than_its_owner_allows)
{
	run_on_workers(1, body_bomb);
}

/* --- A bomb for an owner who takes it all: others have their turn in between, and its end is seen --- */

enum { TAKEN_BYTES = 100 << 20, BETWEEN_TURNS_MAX = 256 << 10 };

static size_t taken;

static size_t take_all(struct conn *c, slice in)
{
	(void)c;
	taken += in.len;
	return in.len;
}

static void body_taken(struct worker *w)
{
	static char zeros[65536];
	size_t before = 0, most = 0;

	begin(w, take_all);
	for (size_t i = 0; i < TAKEN_BYTES / sizeof(zeros); i++)
		say(slice_of(zeros, sizeof(zeros)), Z_NO_FLUSH);
	say(SLICE(""), Z_SYNC_FLUSH);
	conn_close(client);
	deflateEnd(&up);
	inflateEnd(&down);
	while (!closed_count) {
		check(fiber_sleep(0) == OK);
		most = MAX(most, taken - before);
		before = taken;
	}
	check(taken == TAKEN_BYTES);
	check(most <= BETWEEN_TURNS_MAX);
}

Test(conn_deflate, what_unpacks_to_much_leaves_others_their_turn)
{
	run_on_workers(1, body_taken);
}

/* --- Bytes that are no deflate stream end the connection --- */

static void body_noise(struct worker *w)
{
	begin(w, echo);
	out_str(conn_out(client), "\xff\xff\xff\xff\xff\xff");
	check(conn_send_wait(client, 1000) == OK);
	while (!closed_count)
		check(fiber_sleep(1) == OK);
	check(closed_why == ERR_PROTOCOL);
	finish();
}

Test(conn_deflate, noise_ends_it)
{
	run_on_workers(1, body_noise);
}
