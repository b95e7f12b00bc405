/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients that submit mail and write down what they were told. Each attempt is a message of its own,
 * so a client that lost an answer does not send the same one again. */
#include "tests/sim/relay_town.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/conn.h"
#include "core/dial.h"
#include "core/fiber.h"
#include "core/tls.h"
#include "core/worker.h"

#include <stdarg.h>
#include <stdio.h>

enum { WAIT_MS = 120 * 1000, LINE_BYTES = 256, CHUNK_MAX = 60000 };

struct letter {
	struct oracle_message *m;
	uint32_t number;
	bool pipelined, chunked;
	size_t bytes;      /* about so many */
	unsigned break_at; /* per cent of the body; over 100: not */
};

/* The code of the next reply; -1: the connection is over. */
static int answer(struct conn *c)
{
	slice in = { 0 };

	for (;;) {
		if (conn_wait_data(c, &in, WAIT_MS))
			return -1;
		ptrdiff_t end = slice_find(in, '\n');

		while (end >= 0) {
			slice line = slice_sub(in, 0, (size_t)end);
			uint64_t code;
			bool last = line.len > 3 && line.ptr[3] == ' ';

			if (!text_parse_uint(slice_sub(line, 0, 3), 999, &code)) {
				oracle_complain("a reply without a code: %.*s", SLICE_ARG(line));
				return -1;
			}
			conn_consume(c, (size_t)end + 1);
			in = (slice){ 0 };
			if (last)
				return (int)code;
			break;
		}
	}
}

static int ask(struct conn *c, const char *line)
{
	out_str(conn_out(c), line);
	return answer(c);
}

/* --- Bodies --- */

static size_t body_line(char line[LINE_BYTES], uint32_t number, unsigned i)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyz 0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ =.,;:-_()[]{}<>"
		"abcdefghijklmnopqrstuvwxyz 0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ =.,;:-_()[]{}<>";
	uint64_t mix = (number * UINT64_C(2654435761) + i) * UINT64_C(0x9e3779b97f4a7c15);
	size_t len = (size_t)(mix >> 57) % 79; /* 0 to 78 */

	memcpy(line, letters + mix % 80, len);
	if (len && mix % 5 == 0)
		line[0] = '.';
	memcpy(line + len, "\r\n", 2);
	return len + 2;
}

static struct body_hash body_of(uint32_t number, size_t bytes)
{
	struct body_hash h = { 0 };
	char line[LINE_BYTES];

	for (unsigned i = 0; h.bytes < bytes; i++)
		body_hash_add(&h, slice_of(line, body_line(line, number, i)));
	return h;
}

static void put_header(struct out *o, const struct letter *l)
{
	out_printf(o,
		"From: <s%u@sender.test>\r\nTo: somebody\r\nSubject: message %u\r\n"
		"Message-ID: <%u@sender.test>\r\n\r\n",
		l->number, l->number, l->number);
}

static bool breaks(const struct letter *l, size_t sent)
{
	return l->break_at < 100 && sent >= l->bytes / 100 * l->break_at;
}

/* False: broken off, or the connection is over. */
static bool put_data(struct conn *c, const struct letter *l)
{
	char line[LINE_BYTES];
	size_t sent = 0;

	put_header(conn_out(c), l);
	for (unsigned i = 0; sent < l->m->bytes; i++) {
		size_t len = body_line(line, l->number, i);

		if (breaks(l, sent))
			return false;
		if (line[0] == '.')
			out_char(conn_out(c), '.');
		out_bytes(conn_out(c), line, len);
		sent += len;
		if (conn_congested(c) && conn_send_wait(c, WAIT_MS))
			return false;
	}
	return l->break_at != 100;
}

/* A chunk of whole lines, collected first because its size comes first. */
static size_t fill_chunk(struct out *o, const struct letter *l, unsigned *i, size_t room)
{
	char line[LINE_BYTES];
	size_t len = 0;

	while (len < room) {
		size_t n = body_line(line, l->number, (*i)++);

		out_bytes(o, line, n);
		len += n;
	}
	return len;
}

/* *out_last: the last chunk was sent; its answer is still to come. */
static bool put_chunks(struct conn *c, const struct letter *l, bool *out_last)
{
	struct arena a = { 0 };
	size_t sent = 0;
	bool going = true;

	for (unsigned i = 0; going && !*out_last;) {
		struct out o = out_arena(&a);
		size_t left = l->m->bytes - sent;

		if (i == 0)
			put_header(&o, l);
		sent += fill_chunk(&o, l, &i, MIN(left, 1 + (size_t)sim_random(CHUNK_MAX)));
		*out_last = sent == l->m->bytes;
		if (breaks(l, sent) || (*out_last && l->break_at == 100)) {
			*out_last = going = false;
			break;
		}
		out_printf(conn_out(c), "BDAT %zu%s\r\n", o.len, *out_last ? " LAST" : "");
		out_slice(conn_out(c), out_written(&o));
		arena_reset(&a);
		going = !conn_send_wait(c, WAIT_MS) && (*out_last || answer(c) == 250);
	}
	arena_done(&a);
	return going;
}

/* --- A message --- */

static void address(struct letter *l, unsigned n)
{
	size_t count = 0;

	while (town_domains[count])
		count++;
	const char *domain = town_domains[sim_random(count)];

	snprintf(l->m->rcpts[n].domain, sizeof(l->m->rcpts[n].domain), "%s", domain);
	l->m->rcpts[n].refused = town_refuses(domain);
}

static struct letter new_letter(void)
{
	struct letter l = { .break_at = town_bad(80) ? (unsigned)sim_random(101) : 1000 };

	l.m = oracle_new(&l.number);
	l.m->rcpt_count = sim_random(3) ? 1 : 1 + (unsigned)sim_random(ORACLE_RCPTS_MAX);
	for (unsigned n = 0; n < l.m->rcpt_count; n++)
		address(&l, n);
	l.pipelined = sim_random(2);
	l.chunked = sim_random(3) == 0;
	l.bytes = (size_t)(sim_random(1000) < town.large_per_mille ? 50000 + sim_random(400000) :
								     sim_random(4000));
	struct body_hash h = body_of(l.number, l.bytes);

	l.m->hash = h.sum;
	l.m->bytes = h.bytes;
	/* Until the last byte has left it cannot arrive. */
	l.m->fate = FATE_REFUSED;
	return l;
}

/* How many recipients were taken; -1: give up. */
static int put_envelope(struct conn *c, const struct letter *l)
{
	int taken = 0, code = 250;

	out_printf(conn_out(c), "MAIL FROM:<s%u@sender.test>\r\n", l->number);
	if (!l->pipelined)
		code = answer(c);
	if (code != 250)
		return code == 421 ? -1 : MIN(code, 0);
	for (unsigned n = 0; n < l->m->rcpt_count; n++) {
		out_printf(conn_out(c), "RCPT TO:<r%u-%u@%s>\r\n", l->number, n,
			l->m->rcpts[n].domain);
		if (l->pipelined)
			continue;
		code = answer(c);
		l->m->rcpts[n].taken = code == 250;
		taken += code == 250;
		if (code < 0 || code == 421)
			return -1;
	}
	if (!l->pipelined)
		return taken;
	bool mail = answer(c) == 250;

	for (unsigned n = 0; n < l->m->rcpt_count; n++) {
		code = answer(c);
		l->m->rcpts[n].taken = mail && code == 250;
		taken += l->m->rcpts[n].taken;
	}
	return code < 0 || code == 421 ? -1 : taken;
}

/* False: the connection is of no more use. */
static bool conclude(struct conn *c, const struct letter *l)
{
	l->m->fate = FATE_UNKNOWN;
	l->m->complete = true;
	if (town_bad(20)) { /* away without waiting for the answer */
		(void)!conn_drain_wait(c, WAIT_MS);
		return false;
	}
	int code = answer(c);

	if (code == 250)
		l->m->fate = FATE_ACCEPTED;
	else if (code > 0)
		l->m->fate = FATE_REFUSED;
	oracle_note((uint64_t)l->number << 32 | (uint32_t)code);
	return code > 0 && code != 421;
}

static bool send_chunked(struct conn *c, const struct letter *l)
{
	bool last = false, going = put_chunks(c, l, &last);

	if (last)
		return conclude(c, l) && going;
	return false;
}

static bool send_letter(struct conn *c, bool submitted)
{
	struct letter l = new_letter();

	l.m->submitted = submitted;
	int taken = put_envelope(c, &l);

	if (taken < 0)
		return false;
	if (taken == 0)
		return ask(c, "RSET\r\n") == 250;
	if (l.chunked)
		return send_chunked(c, &l);
	int code = ask(c, "DATA\r\n");

	if (code != 354)
		return code > 0 && code != 421;
	if (!put_data(c, &l))
		return false;
	out_str(conn_out(c), ".\r\n");
	return conclude(c, &l);
}

/* --- A client --- */

static bool pause_ms(msec ms)
{
	return fiber_sleep((msec)sim_random((uint64_t)ms + 1)) == OK;
}

static bool log_in(struct conn *c)
{
	struct tls_connect args = { .host = SLICE("mx.sim.test"), .policy = TLS_REQUIRED };
	slice plain = SLICE("\0post@sender.test\0" TOWN_PASSWORD);
	char line[LINE_BYTES];
	struct out o = out_fixed(line, sizeof(line));

	if (ask(c, "STARTTLS\r\n") != 220)
		return false;
	struct tls_session *tls = tls_client_session(town_tls_client(), worker_self(), &args);

	must(tls);
	if (conn_start_tls_wait(c, tls, WAIT_MS) || ask(c, "EHLO client.test\r\n") != 250)
		return false;
	out_str(&o, "AUTH PLAIN ");
	codec_put_base64(&o, plain);
	out_str(&o, "\r\n");
	out_char(&o, '\0');
	return ask(c, line) == 235;
}

static void talk(struct conn *c, bool submit)
{
	unsigned messages = 1 + (unsigned)sim_random(6);

	if (answer(c) != 220 || ask(c, "EHLO client.test\r\n") != 250 || (submit && !log_in(c))) {
		conn_abort(c, ERR_CLOSED);
		return;
	}
	while (messages-- && town.left && !town.stopping) {
		town.left--;
		if (!send_letter(c, submit)) {
			conn_abort(c, ERR_CLOSED);
			return;
		}
		if (sim_random(4) == 0 && !pause_ms(town.pause_ms))
			break;
	}
	(void)ask(c, "QUIT\r\n");
	conn_close(c);
}

static void client_fiber(void *arg)
{
	struct addr at;

	(void)arg;
	must(addr_parse_ip(slice_str(TOWN_SERVER), &at));
	while (town.left && !town.stopping) {
		struct conn *c;
		struct dial_options options = { .timeout_ms = 30000 };
		bool submit = sim_random(3) == 0;

		at.port = submit ? 587 : 25;
		if (pause_ms(town.pause_ms) && !dial(worker_self(), &at, &options, &c))
			talk(c, submit);
	}
	town.busy--;
}

void client_start(struct worker *w, unsigned n)
{
	town.busy++;
	must(fiber_start(w, client_fiber, NULL) == OK);
}
