/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connecting, saying hello, reading replies. */
#include "bench/talk.h"

#include "core/base/codec.h"
#include "core/conn.h"
#include "core/dial.h"
#include "core/entropy.h"
#include "core/job.h"
#include "core/tls.h"
#include "core/worker.h"
#include "proto/sasl/sasl.h"
#include "proto/smtp/reply.h"

#include <stdio.h>
#include <time.h>

uint64_t talk_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool talk_broken(struct talk *t, enum err err)
{
	t->code = 0;
	snprintf(t->text, sizeof(t->text), "%s", err_text(err));
	return false;
}

bool talk_receive(struct talk *t, slice *in)
{
	enum err err = conn_wait_data(t->conn, in, t->target->timeout_ms);

	return err ? talk_broken(t, err) : true;
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
			if (!talk_receive(t, &in))
				return false;
			continue;
		}
		if (step != STEP_DONE)
			return talk_broken(t, ERR_PROTOCOL);
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
			return talk_broken(t, err);
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

bool talk_start_tls(struct talk *t)
{
	struct tls_connect args = { .host = slice_str(t->target->host),
		.policy = TLS_REQUIRED,
		.exporter = t->target->mechanism == SASL_SCRAM_SHA_256_PLUS };
	struct tls_session *session = tls_client_session(t->target->client, t->worker, &args);
	uint64_t began = talk_now_ns();

	t->verb = "TLS";
	if (!session)
		return talk_broken(t, ERR_NOMEM);
	enum err err = conn_start_tls_wait(t->conn, session, t->target->timeout_ms);

	t->tls_us = (talk_now_ns() - began) / 1000;
	return err ? talk_broken(t, err) : true;
}

/* One step of the exchange, on a helper thread: SCRAM derives its key in it. */
struct auth_step {
	struct sasl_client *client;
	slice challenge, response;
	enum sasl_step step;
};

static void feed_on_helper(void *arg)
{
	struct auth_step *s = arg;

	s->step = sasl_client_feed(s->client, s->challenge, &s->response);
}

static bool send_response(struct talk *t, slice response)
{
	sasl_wire_put(conn_out(t->conn), response);
	return talk_send(t, SLICE("\r\n"));
}

/* Challenges until a final reply. */
static bool exchange(struct talk *t, struct sasl_client *client, struct arena *a)
{
	while (talk_expect(t, "AUTH", '3')) {
		struct auth_step s = { .client = client };

		if (!sasl_wire_get(a, slice_str(t->text), &s.challenge))
			return talk_broken(t, ERR_PROTOCOL);
		job_run(feed_on_helper, &s);
		if (s.step != SASL_MORE && s.step != SASL_OK)
			return talk_broken(t, ERR_AUTH);
		if (!send_response(t, s.response))
			return false;
	}
	return t->code / 100 == 2 && sasl_client_done(client);
}

static bool login(struct talk *t)
{
	const struct talk_target *target = t->target;
	enum sasl_mech mech = target->mechanism;
	char nonce[33];
	struct out o = out_fixed(nonce, sizeof(nonce));
	struct sasl_client_conf conf = { .user = target->user, .password = target->password };
	struct arena arena = { 0 };
	struct sasl_client client;
	uint64_t began = talk_now_ns(), random[2] = { entropy_u64(), entropy_u64() };
	slice initial;

	codec_put_hex(&o, slice_of(random, sizeof(random)));
	conf.nonce = out_written(&o);
	if (mech == SASL_SCRAM_SHA_256_PLUS)
		conf.binding = tls_exporter(conn_tls(t->conn));
	sasl_client_start(&client, &arena, &conf, mech, mech);
	out_str(conn_out(t->conn), "AUTH ");
	out_slice(conn_out(t->conn), sasl_mech_name(mech));
	if (sasl_client_initial(&client, &initial)) {
		out_char(conn_out(t->conn), ' ');
		sasl_wire_put(conn_out(t->conn), initial);
	}
	bool good = talk_send(t, SLICE("\r\n")) && exchange(t, &client, &arena);

	sasl_client_end(&client);
	arena_done(&arena);
	t->auth_us = (talk_now_ns() - began) / 1000;
	return good;
}

bool talk_connect(struct talk *t)
{
	struct dial_options options = { .timeout_ms = t->target->timeout_ms };
	uint64_t began = talk_now_ns();

	t->verb = "connect";
	enum err err = dial(t->worker, &t->target->addr, &options, &t->conn);

	if (err) {
		t->conn = NULL;
		return talk_broken(t, err);
	}
	t->connect_us = (talk_now_ns() - began) / 1000;
	return t->target->tls != TALK_IMPLICIT || talk_start_tls(t);
}

static bool greet(struct talk *t)
{
	const struct talk_target *target = t->target;

	if (!talk_expect(t, "greeting", '2') || !hello(t))
		return false;
	if (target->tls == TALK_STARTTLS) {
		if (!talk_send(t, SLICE("STARTTLS\r\n")) || !talk_expect(t, "STARTTLS", '2') ||
			!talk_start_tls(t) || !hello(t))
			return false;
	}
	unsigned caps = t->caps;
	bool good = target->user.len == 0 || login(t);

	t->caps = caps;
	return good;
}

bool talk_open(struct talk *t)
{
	if (talk_connect(t) && greet(t))
		return true;
	talk_close(t, false);
	return false;
}

void talk_put_plain(struct talk *t, slice user, slice password)
{
	char secret[1024];
	struct out plain = out_fixed(secret, sizeof(secret));

	out_char(&plain, 0);
	out_slice(&plain, user);
	out_char(&plain, 0);
	out_slice(&plain, password);
	sasl_wire_put(conn_out(t->conn), out_written(&plain));
}

void talk_end(struct talk *t, bool answered)
{
	if (answered)
		conn_close(t->conn);
	else
		conn_abort(t->conn, ERR_CANCELED);
	t->conn = NULL;
}

void talk_close(struct talk *t, bool polite)
{
	if (t->conn)
		talk_end(t,
			polite && talk_send(t, SLICE("QUIT\r\n")) && talk_expect(t, "QUIT", '2'));
}
