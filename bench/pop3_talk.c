/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a client of POP3 says, and how it takes the answers. RFC 1939, 2595, 5034. */
#include "bench/pop3_talk.h"

#include "core/base/text.h"
#include "core/conn.h"
#include "proto/sasl/sasl.h"

#include <stdio.h>

bool pop3_wait(struct pop3_talk *t, const char *verb, bool multi)
{
	struct talk *talk = t->talk;
	enum step step = STEP_MORE;

	talk->verb = verb;
	t->answer.multi = multi;
	while (step != STEP_DONE) {
		slice in = { 0 };
		size_t used;

		if (!talk_receive(talk, &in))
			return false;
		if (!t->cost.first_ns)
			t->cost.first_ns = talk_now_ns();
		step = pop3_answer_feed(&t->answer, in, &used);
		conn_consume(talk->conn, used);
		t->cost.bytes += used;
	}
	slice head = slice_of(t->answer.head, t->answer.head_len);

	talk->code = slice_starts_nocase(head, SLICE("+OK")) ? 200 : 500;
	snprintf(talk->text, sizeof(talk->text), "%.*s", SLICE_ARG(head));
	return talk->code == 200;
}

bool pop3_do(struct pop3_talk *t, const char *verb, slice command)
{
	struct out *o = conn_out(t->talk->conn);

	out_slice(o, command);
	out_str(o, "\r\n");
	return pop3_wait(t, verb, false);
}

bool pop3_open(struct pop3_talk *t)
{
	const struct talk_target *target = t->talk->target;
	struct talk *talk = t->talk;

	*t = (struct pop3_talk){ .talk = talk };
	if (!talk_connect(talk))
		return false;
	if (!pop3_wait(t, "greeting", false))
		return false;
	return target->tls != TALK_STARTTLS ||
		(pop3_do(t, "STLS", SLICE("STLS")) && talk_start_tls(talk));
}

static bool auth_plain(struct pop3_talk *t, slice user, slice password)
{
	out_str(conn_out(t->talk->conn), "AUTH PLAIN ");
	talk_put_plain(t->talk, user, password);
	return pop3_do(t, "AUTH", SLICE(""));
}

static bool user_pass(struct pop3_talk *t, slice user, slice password)
{
	struct out *o = conn_out(t->talk->conn);

	out_str(o, "USER ");
	if (!pop3_do(t, "USER", user))
		return false;
	out_str(o, "PASS ");
	return pop3_do(t, "PASS", password);
}

/* "+OK 12 34567". */
static void keep_count(struct pop3_talk *t)
{
	slice rest = slice_of(t->answer.head, t->answer.head_len), word;

	if (!slice_cut(&rest, ' ', &word) || !slice_cut(&rest, ' ', &word) ||
		!text_parse_uint(word, UINT32_MAX, &t->messages))
		t->messages = 0;
}

bool pop3_login(struct pop3_talk *t, slice user, slice password)
{
	bool plain = t->talk->target->mechanism == SASL_PLAIN;
	uint64_t began = talk_now_ns();

	if (!(plain ? auth_plain(t, user, password) : user_pass(t, user, password)))
		return false;
	t->talk->auth_us = (talk_now_ns() - began) / 1000;
	t->logged_in = true;
	if (!pop3_do(t, "STAT", SLICE("STAT")))
		return false;
	keep_count(t);
	return true;
}

void pop3_close(struct pop3_talk *t, bool polite)
{
	if (t->talk && t->talk->conn)
		talk_end(t->talk, polite && pop3_do(t, "QUIT", SLICE("QUIT")));
}
