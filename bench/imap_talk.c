/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tags count up; an answer is looked at for what it is, and forgotten. */
#include "bench/imap_talk.h"

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/conn.h"
#include "proto/sasl/sasl.h"

#include <stdio.h>

static bool next_answer(struct imap_talk *t)
{
	struct talk *talk = t->talk;

	for (;;) {
		slice in = { 0 };
		size_t used;

		if (!talk_receive(talk, &in))
			return false;
		if (!t->cost.first_ns && t->pending <= 1)
			t->cost.first_ns = talk_now_ns();
		enum step step = imap_answer_feed(&t->answer, in, &used);

		conn_consume(talk->conn, used);
		t->cost.bytes += used;
		if (step == STEP_DONE)
			return true;
	}
}

static void keep_words(struct imap_talk *t, unsigned code, slice text)
{
	t->talk->code = code;
	snprintf(t->talk->text, sizeof(t->talk->text), "%.*s", SLICE_ARG(text));
}

/* "12 FETCH (...": counts and sizes are all that is wanted of data. */
static void look_at_data(struct imap_talk *t, slice rest)
{
	slice number;
	uint64_t n;

	if (slice_starts_nocase(rest, SLICE("BYE")))
		keep_words(t, 421, rest);
	if (!rest.len || !text_is_digit(rest.ptr[0]) || !slice_cut(&rest, ' ', &number))
		return;
	if (slice_starts_nocase(rest, SLICE("FETCH")))
		t->cost.items++;
	else if (slice_starts_nocase(rest, SLICE("EXISTS")) &&
		text_parse_uint(number, UINT32_MAX, &n))
		t->exists = n;
}

static unsigned code_of(slice words)
{
	return slice_starts_nocase(words, SLICE("OK"))  ? 200 :
		slice_starts_nocase(words, SLICE("NO")) ? 400 :
							  500;
}

/* True: it was a tagged one, and *out_code says how it ended. */
static bool look_at(struct imap_talk *t, unsigned *out_code)
{
	slice rest = slice_of(t->answer.head, t->answer.head_len), first;

	t->plus = false;
	if (!slice_cut(&rest, ' ', &first))
		return false;
	if (slice_eq(first, SLICE("+"))) {
		t->plus = true;
		return false;
	}
	if (slice_eq(first, SLICE("*"))) {
		look_at_data(t, rest);
		return false;
	}
	*out_code = code_of(rest);
	keep_words(t, *out_code, rest);
	return true;
}

bool imap_wait(struct imap_talk *t, const char *verb)
{
	unsigned code, worst = 200;
	char words[sizeof(t->talk->text)] = "";

	t->talk->verb = verb;
	while (t->pending) {
		if (!next_answer(t))
			return false;
		if (!look_at(t, &code))
			continue;
		t->pending--;
		if (code > worst) {
			worst = code;
			memcpy(words, t->talk->text, sizeof(words));
		}
	}
	t->talk->code = worst;
	if (worst > 200)
		memcpy(t->talk->text, words, sizeof(words));
	return worst == 200;
}

bool imap_wait_plus(struct imap_talk *t, const char *verb)
{
	unsigned code;

	t->talk->verb = verb;
	do {
		if (!next_answer(t))
			return false;
		if (look_at(t, &code)) {
			t->pending--;
			return false;
		}
	} while (!t->plus);
	return true;
}

void imap_begin(struct imap_talk *t)
{
	struct out *o = conn_out(t->talk->conn);

	out_char(o, 'a');
	out_uint(o, ++t->tag);
	out_char(o, ' ');
	t->pending++;
}

void imap_send(struct imap_talk *t, slice command)
{
	imap_begin(t);
	out_slice(conn_out(t->talk->conn), command);
	out_str(conn_out(t->talk->conn), "\r\n");
}

bool imap_do(struct imap_talk *t, const char *verb, slice command)
{
	imap_send(t, command);
	return imap_wait(t, verb);
}

bool imap_open(struct imap_talk *t)
{
	const struct talk_target *target = t->talk->target;
	struct talk *talk = t->talk;

	*t = (struct imap_talk){ .talk = talk };
	if (!talk_connect(talk))
		return false;
	talk->verb = "greeting";
	if (!next_answer(t))
		return false;
	slice head = slice_of(t->answer.head, t->answer.head_len);

	keep_words(t, slice_starts_nocase(head, SLICE("* OK")) ? 200 : 421, head);
	if (talk->code != 200)
		return false;
	return target->tls != TALK_STARTTLS ||
		(imap_do(t, "STARTTLS", SLICE("STARTTLS")) && talk_start_tls(talk));
}

static void put_quoted(struct out *o, slice text)
{
	out_char(o, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			out_char(o, '\\');
		out_char(o, text.ptr[i]);
	}
	out_char(o, '"');
}

bool imap_login(struct imap_talk *t, slice user, slice password)
{
	struct out *o = conn_out(t->talk->conn);
	uint64_t began = talk_now_ns();

	imap_begin(t);
	if (t->talk->target->mechanism == SASL_PLAIN) {
		out_str(o, "AUTHENTICATE PLAIN ");
		talk_put_plain(t->talk, user, password);
	} else {
		out_str(o, "LOGIN ");
		put_quoted(o, user);
		out_char(o, ' ');
		put_quoted(o, password);
	}
	out_str(o, "\r\n");
	bool good = imap_wait(t, "LOGIN");

	t->talk->auth_us = (talk_now_ns() - began) / 1000;
	return good;
}

bool imap_compress(struct imap_talk *t)
{
	if (!imap_do(t, "COMPRESS", SLICE("COMPRESS DEFLATE")))
		return false;
	enum err err = conn_start_deflate(t->talk->conn);

	return err ? talk_broken(t->talk, err) : true;
}

void imap_close(struct imap_talk *t, bool polite)
{
	if (t->talk && t->talk->conn)
		talk_end(t->talk, polite && !t->pending && imap_do(t, "LOGOUT", SLICE("LOGOUT")));
}
