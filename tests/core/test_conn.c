/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections over loopback: an echo server by callbacks, clients on fibers. */
#include "core/conn.h"

#include "core/conn_tls.h"
#include "core/dial.h"
#include "core/fiber.h"
#include "core/listen.h"
#include "core/ring.h"
#include "tests/core/workers.h"

#include <stdlib.h>
#include <sys/socket.h>

/* --- The server --- */

static const struct conn_ops *server_ops;
static struct addr server_at;
static struct listener *server;
static unsigned closed_count, open_count;
static enum err closed_why;
static struct conn *last_conn;

static void on_closed(struct conn *c, enum err why)
{
	(void)c;
	closed_count++;
	closed_why = why;
}

static size_t echo(struct conn *c, slice in)
{
	out_slice(conn_out(c), in);
	return in.len;
}

static const struct conn_ops echo_ops = { .data = echo, .closed = on_closed };

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct conn_open args = { .fd = fd, .peer = peer, .ops = server_ops, .listener = l };

	open_count++;
	check(addr_is_loopback(peer));
	check(conn_open(listener_worker(l), &args, &last_conn) == OK);
}

static void serve(struct worker *w, const struct conn_ops *ops)
{
	struct addr at = addr_ip4(0x7f000001, 0);
	struct listen_config config = { .accepted = on_accept };

	server_ops = ops;
	check(listen_open(&at, 0, &config.fd) == OK);
	server_at = listen_addr(config.fd);
	check(server_at.port != 0);
	check(listener_start(w, &config, &server) == OK);
}

static struct conn *connect_to_server(struct worker *w)
{
	struct conn *c = NULL;

	check(dial(w, &server_at, NULL, &c) == OK);
	return c;
}

/* Read until `want` bytes are there. */
static slice read_bytes(struct conn *c, size_t want)
{
	slice in = { 0 };

	while (in.len < want) {
		enum err err = conn_wait_data(c, &in, 10000);

		check(err == OK);
		if (err)
			break;
	}
	return in;
}

static void wait_closed(unsigned count)
{
	for (unsigned i = 0; i < 5000 && closed_count < count; i++)
		check(fiber_sleep(1) == OK);
	check(closed_count == count);
}

/* --- Echo --- */

static void body_echo(struct worker *w)
{
	serve(w, &echo_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "hello");
	check(slice_eq(read_bytes(c, 5), SLICE("hello")));
	conn_consume(c, 5);
	for (unsigned i = 0; i < 50; i++) {
		out_char(conn_out(c), (char)('a' + i % 26));
		check(conn_drain_wait(c, 1000) == OK);
	}
	slice in = read_bytes(c, 50);

	check(in.len == 50 && in.ptr[0] == 'a' && in.ptr[49] == 'a' + 49 % 26);
	check(addr_eq(conn_peer(c), &server_at));
	conn_close(c);
	wait_closed(1);
	check(closed_why == ERR_CLOSED);
}

Test(conn, echoes_whole_and_byte_by_byte)
{
	run_on_workers(1, body_echo);
}

/* --- Half close: what was sent before the end is answered --- */

static void body_half(struct worker *w)
{
	serve(w, &echo_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "last words");
	conn_close(c); /* sends, then shuts our side, and reads on for a moment */
	wait_closed(1);
	check(closed_why == ERR_CLOSED);
	check(open_count == 1);
}

Test(conn, close_sends_what_was_written)
{
	run_on_workers(1, body_half);
}

/* --- Input that is not taken --- */

static unsigned lines;

static size_t whole_lines(struct conn *c, slice in)
{
	slice rest = in, line;
	size_t used = 0;

	while (slice_find(rest, '\n') >= 0) {
		slice_cut(&rest, '\n', &line);
		used += line.len + 1;
		lines++;
		out_str(conn_out(c), "+");
	}
	return used;
}

static const struct conn_ops line_ops = { .data = whole_lines, .closed = on_closed };

static void body_hold(struct worker *w)
{
	static const char text[] = "one\ntwo\nthree\nfour";

	serve(w, &line_ops);
	struct conn *c = connect_to_server(w);

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		out_char(conn_out(c), text[i]);
		check(conn_drain_wait(c, 1000) == OK);
		check(fiber_sleep(1) == OK);
	}
	check(slice_eq(read_bytes(c, 3), SLICE("+++")));
	check(lines == 3);
	conn_set_hold_max(last_conn, 1000);
	for (unsigned i = 0; i < 200; i++)
		out_str(conn_out(c), "no line end");
	wait_closed(1);
	check(closed_why == ERR_LIMIT);
	conn_abort(c, ERR_CANCELED);
}

Test(conn, keeps_what_was_not_consumed_up_to_a_limit)
{
	run_on_workers(1, body_hold);
}

/* --- Back-pressure --- */

enum { FLOOD = 8 * 1024 * 1024 };
static size_t flooded;
static bool flood_stalled;

static void flood(struct conn *c)
{
	static const char block[8192] = { 'x' };

	while (flooded < FLOOD) {
		out_bytes(conn_out(c), block, sizeof(block));
		flooded += sizeof(block);
		check(conn_pending(c) <= CONN_HIGH + sizeof(block) * 2);
		if (conn_congested(c))
			flood_stalled = true;
		if (conn_send_wait(c, 20000))
			return;
	}
	conn_close(c);
}

static size_t start_flood(struct conn *c, slice in)
{
	conn_run(c, flood);
	return in.len;
}

static const struct conn_ops flood_ops = { .data = start_flood, .closed = on_closed };

static void body_slow_reader(struct worker *w)
{
	size_t got = 0;
	slice in = { 0 };

	serve(w, &flood_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "go");
	while (conn_wait_data(c, &in, 20000) == OK) {
		got += in.len;
		conn_consume(c, in.len);
		in.len = 0;
		if (got < 200000)
			check(fiber_sleep(1) == OK);
	}
	check(got == FLOOD);
	check(flood_stalled);
	conn_close(c);
	wait_closed(1);
	check(closed_why == OK);
}

Test(conn, a_slow_reader_slows_the_writer)
{
	run_on_workers(1, body_slow_reader);
}

/* --- Deadlines --- */

static size_t armed(struct conn *c, slice in)
{
	conn_deadline(c, 5);
	return in.len;
}

static unsigned deadlines;

static void on_deadline(struct conn *c)
{
	deadlines++;
	out_str(conn_out(c), "too slow");
	conn_close(c);
}

static const struct conn_ops deadline_ops = {
	.data = armed, .closed = on_closed, .deadline = on_deadline
};
static const struct conn_ops default_deadline_ops = { .data = armed, .closed = on_closed };

static void body_deadline(struct worker *w)
{
	slice in = { 0 };

	serve(w, &deadline_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "x");
	check(slice_eq(read_bytes(c, 8), SLICE("too slow")));
	conn_consume(c, 8);
	check(conn_wait_data(c, &in, 10000) == ERR_CLOSED);
	conn_close(c);
	wait_closed(1);
	check(deadlines == 1 && closed_why == OK);

	server_ops = &default_deadline_ops;
	c = connect_to_server(w);
	out_str(conn_out(c), "x");
	wait_closed(2);
	check(closed_why == ERR_TIMEOUT);
	conn_abort(c, ERR_CANCELED);
}

Test(conn, deadlines_call_the_owner_or_abort)
{
	run_on_workers(1, body_deadline);
}

/* --- Commands on fibers --- */

static unsigned commands;
static enum err command_err;
static msec command_ms = 2;

static void slow_command(struct conn *c)
{
	command_err = fiber_sleep(command_ms);
	commands++;
	out_uint(conn_out(c), commands);
}

static void quick_command(struct conn *c)
{
	commands++;
	out_uint(conn_out(c), commands);
}

/* One command a byte: 's' slow, 'q' quick. */
static size_t one_by_one(struct conn *c, slice in)
{
	size_t used = 0;

	check(!conn_fiber(c));
	while (used < in.len)
		if (!conn_run(c, in.ptr[used++] == 's' ? slow_command : quick_command))
			break;
	return used;
}

static const struct conn_ops command_ops = { .data = one_by_one, .closed = on_closed };

static void body_commands(struct worker *w)
{
	serve(w, &command_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "sqsqqs");
	check(slice_eq(read_bytes(c, 6), SLICE("123456")));
	conn_close(c);
	wait_closed(1);
	check(commands == 6);

	/* The peer resets while a command waits: it is resumed with the error. */
	command_ms = 60000;
	c = connect_to_server(w);
	out_str(conn_out(c), "s");
	while (!conn_fiber(last_conn))
		check(fiber_sleep(1) == OK);
	conn_abort(last_conn, ERR_STOPPED);
	wait_closed(2);
	check(command_err == ERR_STOPPED && closed_why == ERR_STOPPED);
	conn_abort(c, ERR_CANCELED);

	/* A clean close waits for it. */
	command_ms = 20;
	c = connect_to_server(w);
	out_str(conn_out(c), "s");
	while (!conn_fiber(last_conn))
		check(fiber_sleep(1) == OK);
	conn_close(last_conn);
	check(slice_eq(read_bytes(c, 1), SLICE("8")));
	conn_close(c);
	wait_closed(3);
	check(command_err == OK && closed_why == OK);
}

Test(conn, commands_run_one_at_a_time_on_fibers)
{
	run_on_workers(1, body_commands);
}

/* --- Reading on the command's own fiber --- */

static void read_body(struct conn *c)
{
	slice in = { 0 };

	while (conn_wait_data(c, &in, 10000) == OK) {
		ptrdiff_t dot = slice_find(in, '.');

		if (dot < 0)
			continue;
		out_printf(conn_out(c), "%td;", dot);
		conn_consume(c, (size_t)dot + 1);
		return;
	}
}

static size_t body_after_b(struct conn *c, slice in)
{
	while (in.len && in.ptr[0] == 'B') {
		conn_consume(c, 1);
		conn_run(c, read_body);
		return 0;
	}
	return in.len;
}

static const struct conn_ops body_ops = { .data = body_after_b, .closed = on_closed };

static void body_reading(struct worker *w)
{
	static const char text[] = "B0123456789.Bxx.B.";

	serve(w, &body_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), text);
	check(slice_eq(read_bytes(c, 7), SLICE("10;2;0;")));
	conn_consume(c, 7);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		out_char(conn_out(c), text[i]);
		check(conn_drain_wait(c, 1000) == OK);
		check(fiber_sleep(1) == OK);
	}
	check(slice_eq(read_bytes(c, 7), SLICE("10;2;0;")));
	conn_close(c);
	wait_closed(1);
}

Test(conn, a_command_reads_its_own_body)
{
	run_on_workers(1, body_reading);
}

/* --- A TLS session that is none: every byte XOR 0x55, a handshake of two bytes each way --- */

struct fake_tls {
	struct tls_session base;
	unsigned greeted;
};

static unsigned fake_closed;

static enum err fake_handshake(struct tls_session *t, slice *in, struct out *records)
{
	struct fake_tls *fake = container_of(t, struct fake_tls, base);

	if (fake->greeted == 0)
		out_str(records, "Hi");
	fake->greeted = MAX(fake->greeted, 1u);
	while (in->len && fake->greeted < 3) {
		check(in->ptr[0] == (fake->greeted == 1 ? 'H' : 'i'));
		*in = slice_skip(*in, 1);
		fake->greeted++;
		check(fiber_sleep(1) == OK);
	}
	return fake->greeted == 3 ? OK : ERR_BUSY;
}

/* long: conn_tls.h says which parameters */
static enum err fake_read(struct tls_session *t, slice *in, char *buf, size_t cap, size_t *out_len,
	struct out *records)
{
	size_t n = MIN(in->len, MIN(cap, (size_t)7));

	(void)t;
	(void)records;
	if (n == 0)
		return ERR_BUSY;
	for (size_t i = 0; i < n; i++)
		buf[i] = in->ptr[i] ^ 0x55;
	*in = slice_skip(*in, n);
	*out_len = n;
	return OK;
}

static enum err fake_write(struct tls_session *t, slice plain, struct out *records)
{
	(void)t;
	for (size_t i = 0; i < plain.len; i++)
		out_char(records, plain.ptr[i] ^ 0x55);
	return OK;
}

static void fake_shutdown(struct tls_session *t, struct out *records)
{
	(void)t;
	(void)records;
}

static void fake_close(struct tls_session *t)
{
	fake_closed++;
	free(t);
}

static const struct conn_tls_ops fake_tls_ops = { .handshake = fake_handshake,
	.read = fake_read,
	.write = fake_write,
	.shutdown = fake_shutdown,
	.close = fake_close };

static struct tls_session *fake_session(void)
{
	struct fake_tls *fake = calloc(1, sizeof(*fake));

	fake->base.ops = &fake_tls_ops;
	return &fake->base;
}

static size_t first_piece;

static size_t upgrade(struct conn *c, slice in)
{
	if (conn_is_tls(c)) {
		first_piece = first_piece ? first_piece : in.len;
		return one_by_one(c, in);
	}
	out_str(conn_out(c), "ready");
	conn_start_tls(c, fake_session()); /* drops the injected command */
	return in.len;
}

static const struct conn_ops tls_ops = { .data = upgrade, .closed = on_closed };

static void body_tls(struct worker *w)
{
	slice in = { 0 };

	serve(w, &tls_ops);
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "STARTTLS qqq injected");
	in = read_bytes(c, 5);
	check(slice_starts(in, SLICE("ready")));
	conn_consume(c, 5);
	/* The server's "Hi" may already have come behind it, and is no clear text: give it
	 * back. */
	check(in.len == 5 || in.len == 7);
	if (in.len == 7)
		conn_consume(c, 2);
	struct tls_session *session = fake_session();

	if (in.len == 7)
		container_of(session, struct fake_tls, base)->greeted = 3,
						       out_str(conn_out(c), "Hi");
	check(conn_start_tls_wait(c, session, 10000) == OK);
	check(conn_is_tls(c));
	out_str(conn_out(c), "qsqqqsqqqqqq");
	check(slice_eq(read_bytes(c, 15), SLICE("123456789101112")));
	check(commands == 12);
	check(first_piece == 12); /* small records come together */
	conn_close(c);
	wait_closed(1);
	for (unsigned i = 0; i < 1000 && fake_closed < 2; i++)
		check(fiber_sleep(1) == OK);
	check(fake_closed == 2);
}

Test(conn, tls_sits_between)
{
	run_on_workers(1, body_tls);
}

/* --- A fiber takes a connection that has callbacks --- */

static unsigned pooled_data;

static size_t unexpected(struct conn *c, slice in)
{
	(void)c;
	pooled_data++;
	return in.len;
}

static const struct conn_ops pooled_ops = { .data = unexpected, .closed = on_closed };

static void body_attach(struct worker *w)
{
	struct dial_options options = { .ops = &pooled_ops };
	struct conn *c = NULL;

	serve(w, &echo_ops);
	check(dial(w, &server_at, &options, &c) == OK);
	conn_attach(c);
	out_str(conn_out(c), "mine");
	check(slice_eq(read_bytes(c, 4), SLICE("mine")));
	conn_consume(c, 4);
	/* It may break meanwhile, but not go. */
	conn_abort(last_conn, ERR_RESET);
	slice in = { 0 };

	check(conn_wait_data(c, &in, 5000) != OK);
	check(fiber_sleep(5) == OK);
	check(closed_count == 1 && pooled_data == 0);
	conn_detach(c);
	wait_closed(2);
}

Test(conn, a_fiber_takes_one_out_of_a_pool)
{
	run_on_workers(1, body_attach);
}

/* --- Many --- */

static unsigned clients_done;

static void quick_client(void *arg)
{
	struct worker *w = worker_self();

	for (unsigned i = 0; i < 100; i++) {
		struct conn *c = connect_to_server(w);

		if (!c)
			break;
		out_str(conn_out(c), "q");
		check(slice_eq(read_bytes(c, 1), SLICE("q")));
		if (i % 2)
			conn_close(c);
		else
			conn_abort(c, ERR_CANCELED);
	}
	*(unsigned *)arg += 1;
}

static void body_many(struct worker *w)
{
	serve(w, &echo_ops);
	for (unsigned i = 0; i < 100; i++)
		check(fiber_start(w, quick_client, &clients_done) == OK);
	while (clients_done < 100)
		check(fiber_sleep(5) == OK);
	wait_closed(10000);

	struct listener_stats stats;

	listener_stats(server, &stats);
	check(stats.accepted == 10000 && stats.conns == 0);
}

Test(conn, ten_thousand_quick_ones)
{
	run_on_workers(1, body_many);
}

#ifdef RP_FAULTS
/* --- Faults: whatever fails, at whatever moment, everything comes to its end --- */

static void faulty_client(void *arg)
{
	struct conn *c = NULL;
	slice in = { 0 };

	if (dial(worker_self(), &server_at, NULL, &c) == OK) {
		for (unsigned i = 0; i < 5; i++) {
			out_str(conn_out(c), "some bytes for the server to echo");
			if (conn_wait_data(c, &in, 200))
				break;
			conn_consume(c, in.len);
			in.len = 0;
		}
		conn_close(c);
	}
	*(unsigned *)arg += 1;
}

static void body_faults(struct worker *w)
{
	serve(w, &echo_ops);
	for (unsigned n = 1; n < 60; n++) {
		struct ring_faults faults = { .fail_submission = n, .fail_with = ERR_NOMEM };
		unsigned done = 0;

		if (n % 2)
			faults = (struct ring_faults){ .fail_alloc = n / 2 + 1,
				.send_max_bytes = n };
		ring_set_faults(w, &faults);
		check(fiber_start(w, faulty_client, &done) == OK);
		while (!done)
			check(fiber_sleep(1) == OK);
		ring_set_faults(w, &(struct ring_faults){ 0 });
		wait_closed(open_count);
	}
	/* And after all that it still works. */
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "hello");
	check(slice_eq(read_bytes(c, 5), SLICE("hello")));
	conn_close(c);
}

Test(conn, survives_every_fault)
{
	run_on_workers(1, body_faults);
}

static void body_short_sends(struct worker *w)
{
	serve(w, &echo_ops);
	ring_set_faults(w, &(struct ring_faults){ .send_max_bytes = 3 });
	struct conn *c = connect_to_server(w);

	out_str(conn_out(c), "0123456789abcdefghijklmnopqrstuvwxyz");
	check(slice_eq(read_bytes(c, 36), SLICE("0123456789abcdefghijklmnopqrstuvwxyz")));
	conn_close(c);
	wait_closed(1);
}

Test(conn, short_sends_are_continued)
{
	run_on_workers(1, body_short_sends);
}
#endif

/* --- Fewer receive buffers than connections that have something to say --- */

static void chatty_client(void *arg)
{
	static const char block[4000] = { 'x' };
	struct conn *c = connect_to_server(worker_self());
	size_t got = 0;

	out_bytes(conn_out(c), block, sizeof(block));
	while (got < sizeof(block)) {
		slice in = { 0 };

		if (conn_wait_data(c, &in, 10000))
			break;
		got += in.len;
		conn_consume(c, in.len);
	}
	check(got == sizeof(block));
	conn_close(c);
	*(unsigned *)arg += 1;
}

static void body_few_bufs(struct worker *w)
{
	struct worker_stats stats;

	serve(w, &echo_ops);
	for (unsigned i = 0; i < 60; i++)
		check(fiber_start(w, chatty_client, &clients_done) == OK);
	while (clients_done < 60)
		check(fiber_sleep(1) == OK);
	worker_stats(w, &stats);
	check(stats.recv_empty > 0);
}

Test(conn, a_dry_pool_only_delays)
{
	test_config = (struct workers_config){ .recv_bufs = 2, .recv_buf_bytes = 512 };
	run_on_workers(1, body_few_bufs);
}

/* --- Dialling into nothing --- */

static void body_refused(struct worker *w)
{
	struct conn *c;

	serve(w, &echo_ops);
	listener_stop(server);
	check(fiber_sleep(2) == OK);
	check(dial(w, &server_at, NULL, &c) == ERR_REFUSED);
	struct addr foreign = addr_ip4(0xc0000201, 0); /* TEST-NET-1: not ours */
	struct dial_options options = { .source = &foreign };

	check(dial(w, &server_at, &options, &c) == ERR_INVALID);
}

Test(conn, dialling_says_what_went_wrong)
{
	run_on_workers(1, body_refused);
}

static void body_stop(struct worker *w)
{
	serve(w, &echo_ops);
	for (unsigned i = 0; i < 5; i++) {
		struct conn *c = connect_to_server(w);

		out_str(conn_out(c), "x");
		(void)read_bytes(c, 1);
		conn_set_owner(c, &echo_ops, NULL); /* nobody else would close it */
	}
}

Test(conn, what_is_open_at_the_stop_is_aborted)
{
	run_on_workers(1, body_stop);
	cr_assert_eq(closed_count, 10u);
	cr_assert_eq(closed_why, ERR_STOPPED);
}
