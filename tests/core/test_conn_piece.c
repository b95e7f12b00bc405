/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces: output sent from where it was written, between other output, in clear, under TLS and DEFLATE. */
#include "core/conn.h"

#include "core/bufs.h"
#include "core/conn_tls.h"
#include "core/dial.h"
#include "core/fiber.h"
#include "core/listen.h"
#include "core/ring.h"
#include "tests/core/workers.h"

#include <stdlib.h>
#include <zlib.h>

enum { PIECE_MAX = 1 << 20 };

/* --- Both ends --- */

static struct addr server_at;
static struct listener *server;
static unsigned closed_count;
static void (*answer)(struct conn *c);

static void on_closed(struct conn *c, enum err why)
{
	(void)c;
	(void)why;
	closed_count++;
}

static size_t run_answer(struct conn *c, slice in)
{
	conn_run(c, answer);
	return in.len;
}

static const struct conn_ops ops = { .data = run_answer, .closed = on_closed };

static void on_accept(struct listener *l, int fd, const struct addr *peer)
{
	struct conn_open args = { .fd = fd, .peer = peer, .ops = &ops, .listener = l };
	struct conn *c;

	check(conn_open(listener_worker(l), &args, &c) == OK);
}

static struct conn *begin(struct worker *w, void (*fn)(struct conn *c))
{
	struct addr at = addr_ip4(0x7f000001, 0);
	struct listen_config config = { .accepted = on_accept };
	struct conn *c = NULL;

	answer = fn;
	closed_count = 0;
	check(listen_open(&at, 0, &config.fd) == OK);
	server_at = listen_addr(config.fd);
	check(listener_start(w, &config, &server) == OK);
	check(dial(w, &server_at, NULL, &c) == OK);
	out_str(conn_out(c), "go");
	return c;
}

static void finish(struct conn *c)
{
	conn_close(c);
	while (!closed_count)
		check(fiber_sleep(1) == OK);
	listener_stop(server);
}

/* --- What is sent: numbered bytes, so that order and loss show --- */

static unsigned char byte_at(uint64_t n)
{
	return (unsigned char)(n * 31 + n / 251);
}

static uint64_t written;

static void write_bytes(struct out *o, size_t len)
{
	while (len--)
		out_char(o, (char)byte_at(written++));
}

static bool send_piece(struct conn *c, size_t len)
{
	struct conn_piece p;

	if (conn_piece_open(c, PIECE_MAX, &p))
		return false;
	write_bytes(&p.out, len);
	if (!out_ok(&p.out)) { /* no memory to grow */
		conn_piece_drop(&p);
		return false;
	}
	check(p.out.len == len);
	conn_piece_send(&p);
	check(!p.out.buf);
	conn_piece_drop(&p); /* harmless */
	return conn_send_wait(c, 20000) == OK;
}

/* Of every size from nothing to one that has to grow, small writes before, between and behind. */
static void mixture(struct conn *c)
{
	static const size_t sizes[] = { 1, 100, 0, 5000, 130000, 60, 190000, 400000, PIECE_MAX, 7 };

	for (size_t i = 0; i < array_len(sizes); i++) {
		write_bytes(conn_out(c), 10 + i);
		check(send_piece(c, sizes[i]));
		write_bytes(conn_out(c), i % 2 ? 3000 : 0);
	}
	conn_close(c);
}

static void expect_all(struct conn *c, msec pause_ms)
{
	uint64_t got = 0, wrong = 0;
	slice in = { 0 };

	while (conn_wait_data(c, &in, 20000) == OK) {
		for (size_t i = 0; i < in.len; i++, got++)
			wrong += (unsigned char)in.ptr[i] != byte_at(got);
		conn_consume(c, in.len);
		in.len = 0;
		if (pause_ms && got < 300000)
			check(fiber_sleep(pause_ms) == OK);
	}
	check(got == written && !wrong);
}

static void body_clear(struct worker *w)
{
	written = 0;
	struct conn *c = begin(w, mixture);

	expect_all(c, 0);
	check(written > 1700000);
	finish(c);
}

Test(conn_piece, goes_out_in_its_place)
{
	run_on_workers(1, body_clear);
}

/* --- A slow reader holds one piece or two, not all --- */

enum { PIECES = 60, PIECE = 256 * 1024 };
static size_t most_used;

static void many(struct conn *c)
{
	for (unsigned i = 0; i < PIECES; i++) {
		check(send_piece(c, PIECE));
		most_used = MAX(most_used, bufs_used_bytes(conn_worker(c)));
	}
	conn_close(c);
}

static void body_slow(struct worker *w)
{
	written = 0;
	struct conn *c = begin(w, many);

	expect_all(c, 1);
	check(written == (uint64_t)PIECES * PIECE);
	check(most_used && most_used < 4 * (size_t)BUFS_PIECE);
	finish(c);
}

Test(conn_piece, a_slow_reader_costs_a_fixed_amount)
{
	run_on_workers(1, body_slow);
}

/* --- What does not go out --- */

enum { MOST = BUFS_PIECE + 100000 };

static void unsent(struct conn *c)
{
	struct conn_piece p, q;

	check(conn_piece_open(c, MOST, &p) == OK);
	write_bytes(&p.out, MOST);
	check(out_ok(&p.out));
	out_char(&p.out, 'x'); /* one too many */
	check(!out_ok(&p.out));
	conn_piece_drop(&p);
	check(conn_piece_open(c, PIECE_MAX, &p) == OK && conn_piece_open(c, PIECE_MAX, &q) == OK);
	out_str(&q.out, "never");
	conn_piece_drop(&q);
	conn_abort(c, ERR_CANCELED);
	out_str(&p.out, "too late");
	conn_piece_send(&p);
	check(!p.out.buf);
}

static void body_unsent(struct worker *w)
{
	slice in = { 0 };
	struct conn *c = begin(w, unsent);

	check(conn_wait_data(c, &in, 20000) != OK && !in.len);
	finish(c);
	check(fiber_sleep(1) == OK);
	check(bufs_used_bytes(w) < BUFS_PIECE);
}

Test(conn_piece, is_dropped_without_a_trace)
{
	run_on_workers(1, body_unsent);
}

/* --- Under TLS: a session that is none, every byte XOR 0x55 in records of 16 KB with a head --- */

enum { RECORD = 16384, RECORD_HEAD = 4 };

static enum err fake_handshake(struct tls_session *t, slice *in, struct out *records)
{
	(void)t;
	(void)in;
	(void)records;
	return OK;
}

/* long: conn_tls.h says which parameters */
static enum err fake_read(struct tls_session *t, slice *in, char *buf, size_t cap, size_t *out_len,
	struct out *records)
{
	(void)t;
	(void)buf;
	(void)cap;
	(void)out_len;
	(void)records;
	*in = (slice){ 0 };
	return ERR_BUSY;
}

static enum err fake_write(struct tls_session *t, slice plain, struct out *records)
{
	(void)t;
	while (plain.len) {
		slice part = slice_sub(plain, 0, RECORD);
		char record[RECORD_HEAD + RECORD];
		struct out o = out_fixed(record, sizeof(record));

		out_u32(&o, (uint32_t)part.len);
		for (size_t i = 0; i < part.len; i++)
			out_char(&o, (char)(part.ptr[i] ^ 0x55));
		out_slice(records, out_written(&o));
		plain = slice_skip(plain, part.len);
	}
	return out_ok(records) ? OK : ERR_NOMEM;
}

static void fake_shutdown(struct tls_session *t, struct out *records)
{
	(void)t;
	(void)records;
}

static void fake_close(struct tls_session *t)
{
	free(t);
}

static const struct conn_tls_ops fake_tls_ops = { .handshake = fake_handshake,
	.read = fake_read,
	.write = fake_write,
	.shutdown = fake_shutdown,
	.close = fake_close };

static void secret_mixture(struct conn *c)
{
	struct tls_session *session = calloc(1, sizeof(*session));

	session->ops = &fake_tls_ops;
	check(conn_start_tls_wait(c, session, 1000) == OK);
	mixture(c);
}

static void expect_records(struct conn *c)
{
	uint64_t got = 0, wrong = 0;
	slice in = { 0 };

	while (conn_wait_data(c, &in, 20000) == OK) {
		slice rest = in, head = in;
		uint32_t len = 0;

		while (take_u32(&head, &len) && head.len >= len) {
			check(len > 0 && len <= RECORD);
			for (uint32_t i = 0; i < len; i++, got++)
				wrong += ((unsigned char)head.ptr[i] ^ 0x55) != byte_at(got);
			rest = head = slice_skip(head, len);
		}
		conn_consume(c, in.len - rest.len);
		in.len = rest.len;
	}
	check(got == written && !wrong && !in.len);
}

static void body_tls(struct worker *w)
{
	written = 0;
	struct conn *c = begin(w, secret_mixture);

	expect_records(c);
	finish(c);
}

Test(conn_piece, becomes_records)
{
	run_on_workers(1, body_tls);
}

/* --- Under DEFLATE --- */

static void packed_mixture(struct conn *c)
{
	check(conn_start_deflate(c) == OK);
	mixture(c);
}

static void expect_packed(struct conn *c)
{
	uint64_t got = 0, wrong = 0;
	unsigned char buf[4096];
	slice in = { 0 };
	z_stream z = { 0 };

	check(inflateInit2(&z, -15) == Z_OK);
	while (conn_wait_data(c, &in, 20000) == OK) {
		z.next_in = (Bytef *)(uintptr_t)in.ptr;
		z.avail_in = (uInt)in.len;
		do {
			z.next_out = buf;
			z.avail_out = sizeof(buf);
			int how = inflate(&z, Z_SYNC_FLUSH);

			check(how == Z_OK || how == Z_BUF_ERROR);
			for (size_t i = 0; i < sizeof(buf) - z.avail_out; i++, got++)
				wrong += buf[i] != byte_at(got);
		} while (!z.avail_out);
		conn_consume(c, in.len);
		in.len = 0;
	}
	inflateEnd(&z);
	check(got == written && !wrong);
}

static void body_deflate(struct worker *w)
{
	written = 0;
	struct conn *c = begin(w, packed_mixture);

	expect_packed(c);
	finish(c);
}

Test(conn_piece, is_compressed)
{
	run_on_workers(1, body_deflate);
}

#ifdef RP_FAULTS
/* --- Whatever fails, it comes to its end --- */

static void unlucky(struct conn *c)
{
	for (unsigned i = 0; i < 4; i++) {
		write_bytes(conn_out(c), 20);
		if (!send_piece(c, i == 3 ? 250000 : 3000))
			break;
	}
	conn_close(c);
}

static void body_faults(struct worker *w)
{
	for (unsigned n = 1; n < 24; n++) {
		slice in = { 0 };
		struct conn *c = begin(w, unlucky);

		ring_set_faults(w,
			n % 2 ? &(struct ring_faults){ .fail_alloc = n / 2 + 1 } :
				&(struct ring_faults){
					.fail_submission = n / 2 + 1, .fail_with = ERR_NOMEM });
		while (conn_wait_data(c, &in, 2000) == OK) {
			conn_consume(c, in.len);
			in.len = 0;
		}
		ring_set_faults(w, &(struct ring_faults){ 0 });
		finish(c);
	}
	written = 0;
	struct conn *c = begin(w, mixture);

	ring_set_faults(w, &(struct ring_faults){ .send_max_bytes = 50001 });
	expect_all(c, 0);
	finish(c);
}

Test(conn_piece, survives_faults_and_short_sends)
{
	run_on_workers(1, body_faults);
}
#endif
