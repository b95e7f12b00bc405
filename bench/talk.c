/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connecting, saying hello, reading replies. */
#include "bench/talk.h"

#include "core/conn.h"
#include "core/dial.h"
#include "core/tls.h"
#include "core/worker.h"
#include "proto/smtp/reply.h"

#include <stdio.h>
#include <time.h>

uint64_t talk_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool broken(struct talk *t, enum err err)
{
	t->code = 0;
	snprintf(t->text, sizeof(t->text), "%s", err_text(err));
	return false;
}

static void keep_line(struct talk *t, const struct smtp_reply_line *line)
{
	t->code = (unsigned)line->code;
	snprintf(t->text, sizeof(t->text), "%.*s", SLICE_ARG(line->text));
}

bool talk_expect(struct talk *t, const char *verb, char want)
{
	struct smtp_reply_line line = { 0 };
	struct smtp_caps caps = { 0 };
	slice in = { 0 };
	size_t used;

	t->verb = verb;
	do {
		enum step step = smtp_reply_line(in, &used, &line);

		if (step == STEP_MORE) {
			enum err err = conn_wait_data(t->conn, &in, t->target->timeout_ms);

			if (err)
				return broken(t, err);
			continue;
		}
		if (step != STEP_DONE)
			return broken(t, ERR_PROTOCOL);
		smtp_caps_add(&caps, line.text);
		keep_line(t, &line);
		conn_consume(t->conn, used);
		in = slice_skip(in, used);
	} while (!line.last || line.code == 0);
	t->caps = caps.flags;
	return t->code / 100 == (unsigned)(want - '0');
}

bool talk_send(struct talk *t, slice bytes)
{
	while (bytes.len) {
		slice piece = slice_sub(bytes, 0, 32 * 1024);

		out_slice(conn_out(t->conn), piece);
		bytes = slice_skip(bytes, piece.len);
		if (!conn_congested(t->conn))
			continue;
		enum err err = conn_send_wait(t->conn, t->target->timeout_ms);

		if (err)
			return broken(t, err);
	}
	return true;
}

static bool hello(struct talk *t)
{
	return talk_send(t,
		       t->target->lmtp ? SLICE("LHLO bench.invalid\r\n") :
					 SLICE("EHLO bench.invalid\r\n")) &&
		talk_expect(t, "EHLO", '2');
}

static bool start_tls(struct talk *t)
{
	struct tls_connect args = { .host = slice_str(t->target->host), .policy = TLS_REQUIRED };
	struct tls_session *session = tls_client_session(t->target->client, t->worker, &args);
	uint64_t began = talk_now_ns();

	t->verb = "TLS";
	if (!session)
		return broken(t, ERR_NOMEM);
	enum err err = conn_start_tls_wait(t->conn, session, t->target->timeout_ms);

	t->tls_us = (talk_now_ns() - began) / 1000;
	return err ? broken(t, err) : true;
}

static bool login(struct talk *t)
{
	uint64_t began = talk_now_ns();

	if (!talk_send(t, SLICE("AUTH PLAIN ")) || !talk_send(t, t->target->login) ||
		!talk_send(t, SLICE("\r\n")) || !talk_expect(t, "AUTH", '2'))
		return false;
	t->auth_us = (talk_now_ns() - began) / 1000;
	return true;
}

static bool connect_to(struct talk *t)
{
	struct dial_options options = { .timeout_ms = t->target->timeout_ms };
	uint64_t began = talk_now_ns();

	t->verb = "connect";
	enum err err = dial(t->worker, &t->target->addr, &options, &t->conn);

	if (err) {
		t->conn = NULL;
		return broken(t, err);
	}
	t->connect_us = (talk_now_ns() - began) / 1000;
	return true;
}

static bool greet(struct talk *t)
{
	const struct talk_target *target = t->target;

	if (target->tls == TALK_IMPLICIT && !start_tls(t))
		return false;
	if (!talk_expect(t, "greeting", '2') || !hello(t))
		return false;
	if (target->tls == TALK_STARTTLS) {
		if (!talk_send(t, SLICE("STARTTLS\r\n")) || !talk_expect(t, "STARTTLS", '2') ||
			!start_tls(t) || !hello(t))
			return false;
	}
	unsigned caps = t->caps;
	bool good = target->login.len == 0 || login(t);

	t->caps = caps;
	return good;
}

bool talk_open(struct talk *t)
{
	if (!connect_to(t))
		return false;
	if (greet(t))
		return true;
	talk_close(t, false);
	return false;
}

void talk_close(struct talk *t, bool polite)
{
	if (!t->conn)
		return;
	if (polite && talk_send(t, SLICE("QUIT\r\n")) && talk_expect(t, "QUIT", '2'))
		conn_close(t->conn);
	else
		conn_abort(t->conn, ERR_CANCELED);
	t->conn = NULL;
}
