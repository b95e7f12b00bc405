/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink's side of the dialogue: a verb table, each verb consulting the script before it answers.
 * Without a script everything runs straight from the data callback; with one, commands run on a
 * fiber, because a rule may tell them to wait. It accepts far more than a server should: what
 * it tests is the other end. */
#include "bench/sink_int.h"

#include "core/base/codec.h"
#include "core/conn.h"
#include "core/entropy.h"
#include "core/fiber.h"
#include "core/listen.h"
#include "core/ring.h"
#include "core/tls.h"
#include "core/worker.h"
#include "proto/smtp/body.h"
#include "proto/smtp/command.h"
#include "proto/smtp/reply.h"

#include <stdlib.h>
#include <time.h>

enum { LINE_MAX_BYTES = 4096, IDLE_MS = 600 * 1000, GREYLIST_MAX = 1 << 20 };

struct sink_session {
	struct conn *conn;
	struct sink *sink;
	struct sink_stats *stats;
	struct smtp_lines lines;
	struct smtp_body body;
	struct sink_mail *mail;
	struct arena arena; /* the present line, when it must outlive its callback */
	slice line;
	uint64_t bdat_left, slow_bytes, drop_at;
	uint32_t rcpts;
	bool in_data, in_bdat, bdat_last, in_mail, auth_next;
	struct timer slow_timer;
};

struct sink_verb {
	const char *name;
	enum script_when when;
	void (*handle)(struct sink_session *s, slice rest);
};

static void on_hello(struct sink_session *s, slice rest);
static void on_helo(struct sink_session *s, slice rest);
static void on_starttls(struct sink_session *s, slice rest);
static void on_auth(struct sink_session *s, slice rest);
static void on_mail(struct sink_session *s, slice rest);
static void on_rcpt(struct sink_session *s, slice rest);
static void on_data(struct sink_session *s, slice rest);
static void on_bdat(struct sink_session *s, slice rest);
static void on_rset(struct sink_session *s, slice rest);
static void on_noop(struct sink_session *s, slice rest);
static void on_quit(struct sink_session *s, slice rest);

static const struct sink_verb verbs[] = {
	{ "MAIL", SCRIPT_MAIL, on_mail },
	{ "RCPT", SCRIPT_RCPT, on_rcpt },
	{ "DATA", SCRIPT_DATA, on_data },
	{ "BDAT", SCRIPT_DATA, on_bdat },
	{ "EHLO", SCRIPT_EHLO, on_hello },
	{ "LHLO", SCRIPT_EHLO, on_hello },
	{ "HELO", SCRIPT_EHLO, on_helo },
	{ "STARTTLS", SCRIPT_STARTTLS, on_starttls },
	{ "AUTH", SCRIPT_WHENS, on_auth },
	{ "RSET", SCRIPT_WHENS, on_rset },
	{ "NOOP", SCRIPT_WHENS, on_noop },
	{ "QUIT", SCRIPT_WHENS, on_quit },
};

static void say(struct sink_session *s, const char *line)
{
	out_str(conn_out(s->conn), line);
	out_str(conn_out(s->conn), "\r\n");
}

static msec now_of(const struct sink_session *s)
{
	return worker_now(conn_worker(s->conn));
}

static void end_mail(struct sink_session *s)
{
	s->in_mail = s->in_data = s->in_bdat = false;
	s->rcpts = 0;
	s->drop_at = 0;
	sink_mail_reset(s->mail);
}

/* Greylisting: the pair of client and recipient must come back after a while. One table for the
 * worker, bounded; when it is full, pairs pass and are counted. */
struct grey {
	struct map_link link;
	msec since;
};
static _Thread_local struct map grey_map;

static bool greylisted(struct sink_session *s, slice rest, uint64_t wait_ms)
{
	uint64_t hash = map_hash(&(struct map_seed){ 1, 2 }, rest);
	struct map_link *link = map_find(&grey_map, hash);

	if (link)
		return now_of(s) - container_of(link, struct grey, link)->since < (msec)wait_ms;
	struct grey *grey = grey_map.len < GREYLIST_MAX ? calloc(1, sizeof(*grey)) : NULL;

	if (!grey || !map_insert(&grey_map, &grey->link, hash)) {
		free(grey);
		sink_count(s->stats, greylist_full, 1);
		return false;
	}
	grey->since = now_of(s);
	return true;
}

/* What the script does to this verb. True: go on; false: it has been answered or cut off. */
static bool apply_rule(struct sink_session *s, const struct script_rule *r, slice rest)
{
	switch (r->action) {
	case SCRIPT_DELAY:
		return fiber_sleep((msec)r->amount) == OK;
	case SCRIPT_DROP:
		sink_count(s->stats, dropped, 1);
		if (r->when == SCRIPT_BODY)
			s->drop_at = 1;
		else
			conn_abort(s->conn, ERR_CANCELED);
		return r->when == SCRIPT_BODY;
	case SCRIPT_REPLY:
		sink_count(s->stats, refused, 1);
		out_slice(conn_out(s->conn), r->reply);
		say(s, "");
		if (slice_starts(r->reply, SLICE("421")))
			conn_close(s->conn);
		return false;
	case SCRIPT_GREYLIST:
		if (!greylisted(s, rest, r->amount))
			return true;
		sink_count(s->stats, greylisted, 1);
		say(s, "451 4.7.1 greylisted, try again later");
		return false;
	case SCRIPT_SLOW:
		s->slow_bytes = r->amount;
		return true;
	default:
		return true;
	}
}

static struct script_moment moment_of(const struct sink_session *s)
{
	return (struct script_moment){
		.dice = entropy_u64(), .messages = atomic_load(&s->sink->accepted), .now = now_of(s)
	};
}

static bool consult(struct sink_session *s, enum script_when when, slice rest)
{
	struct script_rule *r;
	size_t at = 0;

	if (s->sink->script.count == 0 || when == SCRIPT_WHENS)
		return true;
	struct script_moment m = moment_of(s);

	while ((r = script_next(&s->sink->script, when, &m, &at)))
		if (!apply_rule(s, r, rest) || conn_closing(s->conn))
			return false;
		else if (r->action != SCRIPT_DELAY && r->action != SCRIPT_SLOW)
			return true;
	return true;
}

/* A rule that only changes what is offered, asked without side effects. */
static bool scripted(struct sink_session *s, enum script_when when, enum script_action action)
{
	size_t at = 0;
	struct script_moment m = moment_of(s);
	struct script_rule *r;

	while ((r = script_next(&s->sink->script, when, &m, &at)))
		if (r->action == action)
			return true;
	return false;
}

static void on_helo(struct sink_session *s, slice rest)
{
	end_mail(s);
	out_printf(conn_out(s->conn), "250 %s\r\n", s->sink->hostname);
}

static void on_hello(struct sink_session *s, slice rest)
{
	static const struct {
		unsigned cap;
		const char *word;
	} offers[] = {
		{ SMTP_CAP_PIPELINING, "PIPELINING" },
		{ SMTP_CAP_8BITMIME, "8BITMIME" },
		{ SMTP_CAP_SMTPUTF8, "SMTPUTF8" },
		{ SMTP_CAP_DSN, "DSN" },
		{ SMTP_CAP_CHUNKING, "CHUNKING" },
		{ SMTP_CAP_BINARYMIME, "BINARYMIME" },
		{ SMTP_CAP_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES" },
	};
	struct out *o = conn_out(s->conn);

	end_mail(s);
	out_printf(o, "250-%s\r\n", s->sink->hostname);
	for (size_t i = 0; i < array_len(offers); i++)
		if (!(s->sink->without & offers[i].cap))
			out_printf(o, "250-%s\r\n", offers[i].word);
	if (s->sink->tls && !conn_is_tls(s->conn) && !scripted(s, SCRIPT_STARTTLS, SCRIPT_ABSENT))
		out_str(o, "250-STARTTLS\r\n");
	if (s->sink->auth.len)
		out_str(o, "250-AUTH PLAIN\r\n");
	out_str(o, "250 SIZE 1073741824\r\n");
}

static void on_starttls(struct sink_session *s, slice rest)
{
	struct tls_accept accept = { 0 };

	if (!s->sink->tls || conn_is_tls(s->conn)) {
		say(s, "502 5.5.1 no TLS here");
		return;
	}
	say(s, "220 2.0.0 go ahead");
	end_mail(s);
	if (scripted(s, SCRIPT_STARTTLS, SCRIPT_BROKEN)) {
		say(s, "this is not TLS");
		conn_close(s->conn);
		return;
	}
	struct tls_session *t = tls_server_session(s->sink->tls, conn_worker(s->conn), &accept);

	must(t);
	sink_count(s->stats, tls, 1);
	conn_start_tls(s->conn, t);
}

static void check_auth(struct sink_session *s, slice answer)
{
	s->auth_next = false;
	say(s, slice_eq(answer, s->sink->auth) ? "235 2.7.0 welcome" : "535 5.7.8 wrong");
}

static void on_auth(struct sink_session *s, slice rest)
{
	slice mechanism = { 0 };

	slice_cut(&rest, ' ', &mechanism);
	if (!s->sink->auth.len || !slice_eq_nocase(mechanism, SLICE("PLAIN"))) {
		say(s, "504 5.5.4 only PLAIN");
	} else if (rest.len) {
		check_auth(s, rest);
	} else {
		s->auth_next = true;
		say(s, "334 ");
	}
}

static void on_mail(struct sink_session *s, slice rest)
{
	end_mail(s);
	s->in_mail = true;
	say(s, "250 2.1.0 ok");
}

static void on_rcpt(struct sink_session *s, slice rest)
{
	if (!s->in_mail) {
		say(s, "503 5.5.1 MAIL first");
		return;
	}
	s->rcpts++;
	say(s, "250 2.1.5 ok");
}

static void begin_body(struct sink_session *s, unsigned options)
{
	smtp_body_init(&s->body, options);
	s->slow_bytes = 0;
}

static void on_data(struct sink_session *s, slice rest)
{
	if (s->rcpts == 0) {
		say(s, "503 5.5.1 no recipients");
		return;
	}
	begin_body(s, SMTP_BODY_DOTS);
	if (!consult(s, SCRIPT_BODY, rest))
		return;
	s->in_data = true;
	say(s, "354 go ahead");
}

static void end_chunk(struct sink_session *s);

static void on_bdat(struct sink_session *s, slice rest)
{
	struct smtp_bdat bdat;

	if (smtp_parse_bdat(rest, &bdat) != SMTP_SYNTAX_OK) {
		say(s, "501 5.5.4 BDAT wants a size");
		conn_close(s->conn);
		return;
	}
	s->bdat_left = bdat.size_bytes;
	s->bdat_last = bdat.last;
	if (!s->in_bdat) {
		begin_body(s, SMTP_BODY_OPAQUE);
		if (!consult(s, SCRIPT_BODY, rest))
			return;
	}
	s->in_bdat = true;
	if (s->bdat_left == 0) /* "BDAT 0 LAST" has no body to wait for */
		end_chunk(s);
}

static void on_rset(struct sink_session *s, slice rest)
{
	end_mail(s);
	say(s, "250 2.0.0 ok");
}

static void on_noop(struct sink_session *s, slice rest)
{
	say(s, "250 2.0.0 ok");
}

static void on_quit(struct sink_session *s, slice rest)
{
	say(s, "221 2.0.0 bye");
	conn_close(s->conn);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The whole message is here: one reply, or one for each recipient in LMTP. */
static void accept_mail(struct sink_session *s)
{
	bool good = s->rcpts && consult(s, SCRIPT_DOT, (slice){ 0 });

	if (conn_closing(s->conn))
		return;
	if (s->rcpts == 0)
		say(s, "554 5.5.1 no valid recipients");
	if (good) {
		atomic_fetch_add_explicit(&s->sink->accepted, 1, memory_order_relaxed);
		sink_count(s->stats, recipients, s->rcpts);
		sink_mail_accept(s->mail, now_ns());
		for (uint32_t i = 0; i < (s->sink->lmtp ? s->rcpts : 1); i++)
			say(s, "250 2.0.0 taken");
	}
	end_mail(s);
}

/* A chunk, or the content of DATA, is over. */
static void end_chunk(struct sink_session *s)
{
	if (s->in_bdat && !s->bdat_last) {
		say(s, "250 2.0.0 more");
		return;
	}
	sink_mail_add(s->mail, smtp_body_end(&s->body));
	s->in_data = s->in_bdat = false;
	accept_mail(s);
}

static void end_on_fiber(struct conn *c)
{
	end_chunk(conn_owner(c));
}

/* Runs fn now, or on a fiber if a rule might wait. False: leave the callback. */
static bool run(struct sink_session *s, void (*fn)(struct conn *c))
{
	if (s->sink->script.count)
		return conn_run(s->conn, fn);
	fn(s->conn);
	return true;
}

static void run_line(struct conn *c)
{
	struct sink_session *s = conn_owner(c);
	slice verb, rest;

	if (s->auth_next) {
		check_auth(s, s->line);
		return;
	}
	smtp_split(s->line, &verb, &rest);
	for (size_t i = 0; i < array_len(verbs); i++)
		if (slice_eq_nocase(verb, slice_str(verbs[i].name))) {
			if (consult(s, verbs[i].when, rest))
				verbs[i].handle(s, rest);
			return;
		}
	say(s, "500 5.5.2 what?");
}

static void slow_over(struct timer *t)
{
	conn_resume(container_of(t, struct sink_session, slow_timer)->conn);
}

/* A slow reader takes a hundredth of its rate, then sleeps ten milliseconds. */
static slice slow_down(struct sink_session *s, slice in)
{
	if (s->slow_bytes == 0)
		return in;
	conn_pause(s->conn);
	timer_arm_in(conn_worker(s->conn), &s->slow_timer, 10);
	return slice_sub(in, 0, MAX(s->slow_bytes / 100, (uint64_t)1));
}

/* Feeds the body; returns what is left of the input, with *ended when the message is whole. */
static size_t take_body(struct sink_session *s, slice in, bool *ended)
{
	slice given = slow_down(s, in), rest = given, piece;
	enum step step = STEP_MORE;

	if (s->in_bdat)
		rest = slice_sub(given, 0, s->bdat_left);
	size_t offered = rest.len;

	while (rest.len && step == STEP_MORE) {
		step = smtp_body_take(&s->body, &rest, &piece);
		sink_mail_add(s->mail, piece);
	}
	size_t used = offered - rest.len;

	if (s->in_bdat)
		s->bdat_left -= used;
	*ended = s->in_bdat ? s->bdat_left == 0 : step == STEP_DONE;
	if (s->drop_at)
		conn_abort(s->conn, ERR_CANCELED);
	return used;
}

/* BDAT chunks of a message follow each other as commands; only its bytes are body. */
static bool reads_body(const struct sink_session *s)
{
	return s->in_data || (s->in_bdat && s->bdat_left > 0);
}

static size_t on_data_bytes(struct conn *c, slice in)
{
	struct sink_session *s = conn_owner(c);
	size_t all = in.len, used;

	while (in.len && !conn_closing(c) && !conn_congested(c)) {
		bool ended = false;

		if (reads_body(s)) {
			used = take_body(s, in, &ended);
			in = slice_skip(in, used);
			if (ended && !conn_closing(c) && !run(s, end_on_fiber))
				break;
			if (s->slow_bytes && reads_body(s))
				break;
			continue;
		}
		enum step step = smtp_line_cut(&s->lines, in, LINE_MAX_BYTES, &used, &s->line);

		if (step == STEP_MORE)
			break;
		if (s->sink->script.count) {
			arena_reset(&s->arena);
			s->line = arena_dup(&s->arena, s->line);
		}
		in = slice_skip(in, used);
		if (step != STEP_DONE)
			say(s, "500 5.5.2 not a line");
		else if (!run(s, run_line))
			break;
	}
	conn_deadline(c, IDLE_MS);
	return all - in.len;
}

static void on_closed(struct conn *c, enum err why)
{
	struct sink_session *s = conn_owner(c);

	timer_disarm(&s->slow_timer);
	sink_mail_free(s->mail);
	arena_done(&s->arena);
	free(s);
}

static void greet(struct conn *c)
{
	struct sink_session *s = conn_owner(c);

	if (consult(s, SCRIPT_CONNECT, (slice){ 0 }))
		out_printf(conn_out(c), "220 %s sink ready\r\n", s->sink->hostname);
}

static const struct conn_ops session_ops = { .data = on_data_bytes, .closed = on_closed };

void sink_session_open(struct sink *sink, struct listener *l, int fd, const struct addr *peer)
{
	struct sink_session *s = calloc(1, sizeof(*s));
	struct conn_open args = {
		.fd = fd, .peer = peer, .ops = &session_ops, .owner = s, .listener = l
	};
	struct worker *w = listener_worker(l);

	must(s);
	s->sink = sink;
	s->stats = &sink->stats[worker_index(w)];
	s->mail = sink_mail_new(sink, s->stats);
	s->slow_timer.fire = slow_over;
	sink_count(s->stats, connections, 1);
	if (conn_open(w, &args, &s->conn) != OK) {
		sink_mail_free(s->mail);
		free(s);
		return;
	}
	conn_deadline(s->conn, IDLE_MS);
	run(s, greet);
}
