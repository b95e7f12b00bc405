/* SPDX-License-Identifier: GPL-2.0-or-later */
/* house.c - doubles of what a session calls, with the same names, linked in their place.
 *
 * The rules of the real ones are kept where a session could trip over them: callbacks never run
 * inside the call that causes them, `closed` comes last and once, input that was not used comes
 * again in front of the next, each piece lies in a block of exactly its size. */
#include "tests/server/house.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/conn.h"
#include "core/event.h"
#include "core/fiber.h"
#include "core/listen.h"
#include "core/ring.h"
#include "core/tls.h"
#include "core/worker.h"
#include "relay/local.h"
#include "server/login.h"
#include "server/rate.h"

struct conn {
	const struct conn_ops *ops;
	void *owner;
	struct addr peer;
	struct out out;
	char *in;
	size_t in_len;
	msec deadline; /* 0: none */
	struct tls_session *tls;
	bool closing, paused, running, drop_input;
	enum err why;
};

struct house house;
static struct conn *conn; /* NULL: no session */
static msec now_ms;
static struct tls_session fake_tls;
static char *replies;
static bool was_tls;

static const struct conf_table *const tables[] = { &service_options_table, &smtp_options_table,
	&pop3_options_table, &imap_options_table, &auth_options_table, &local_conf };
static const struct conf_schema schema = { tables, array_len(tables) };

void house_open(enum door_kind service, const char *yaml)
{
	static struct listen_options row;
	struct setup *setup = calloc(1, sizeof(*setup));
	char text[4096], errors[2048];
	struct out why = out_fixed(errors, sizeof(errors));

	house = (struct house){ 0 };
	now_ms = 1000;
	snprintf(text, sizeof(text), "hostname: mx.test\ndata: /nonexistent\n%s", yaml ? yaml : "");
	if (conf_parse(&schema, slice_str(text), "house.yaml", &why, &setup->conf))
		fprintf(stderr, "%.*s\n", (int)why.len, errors);
	must(setup->conf);
	setup->refs = 1;
	setup->service = conf_options(setup->conf, &service_options_table);
	setup->smtp = conf_options(setup->conf, &smtp_options_table);
	setup->pop3 = conf_options(setup->conf, &pop3_options_table);
	setup->imap = conf_options(setup->conf, &imap_options_table);
	setup->auth = conf_options(setup->conf, &auth_options_table);
	setup->tls = (struct tls_server *)&fake_tls;
	row = (struct listen_options){ .service = service, .tls = true };
	if (setup->service->listen.count)
		row = *conf_item(&setup->service->listen, struct listen_options, 0);
	house.stored = out_heap(64 << 20);
	house.door = (struct door){ .setup = setup, .row = &row, .service = service };
	list_init(&house.door.sessions);
	house_furnish();
}

void house_close(void)
{
	if (conn)
		house_hang_up();
	must(house.door.session_count == 0);
	must(house.door.scratch.used_bytes == 0);
	arena_done(&house.door.scratch);
	conf_put(house.door.setup->conf);
	free(house.door.setup);
	out_heap_done(&house.stored);
	free(replies);
	replies = NULL;
}

/* The last call a connection makes. */
static void reap(void)
{
	struct conn *c = conn;

	if (!c || !c->closing || c->running)
		return;
	conn = NULL;
	was_tls = c->tls != NULL;
	free(replies);
	replies = malloc(c->out.len + 1);
	memcpy(replies, c->out.buf ? c->out.buf : "", c->out.len);
	replies[c->out.len] = '\0';
	c->ops->closed(c, c->why);
	out_heap_done(&c->out);
	free(c->in);
	free(c);
}

void house_connect(const char *peer)
{
	struct addr addr;
	bool good = addr_parse_ip(slice_str(peer), &addr);

	must(good && !conn);
	free(replies);
	replies = NULL;
	house_session_start(&house.door, -1, &addr);
	reap();
}

static void offer(void)
{
	while (conn && !conn->closing && !conn->paused && conn->in_len) {
		size_t used = conn->ops->data(conn, slice_of(conn->in, conn->in_len));
		char *rest;

		must(used <= conn->in_len);
		if (conn->drop_input)
			used = conn->in_len;
		conn->drop_input = false;
		if (conn->closing || used == 0)
			break;
		rest = malloc(conn->in_len - used + 1);
		memcpy(rest, conn->in + used, conn->in_len - used);
		free(conn->in);
		conn->in = rest;
		conn->in_len -= used;
	}
	reap();
}

void house_send(slice bytes)
{
	char *all;

	if (!conn)
		return;
	all = malloc(conn->in_len + bytes.len);
	if (conn->in_len)
		memcpy(all, conn->in, conn->in_len);
	if (bytes.len)
		memcpy(all + conn->in_len, bytes.ptr, bytes.len);
	free(conn->in);
	conn->in = all;
	conn->in_len += bytes.len;
	offer();
	if (conn && conn->paused) { /* the store has room again at once */
		conn->paused = false;
		offer();
	}
}

slice house_replies(void)
{
	if (conn) {
		size_t len = conn->out.len;

		free(replies);
		replies = malloc(len + 1);
		memcpy(replies, conn->out.buf ? conn->out.buf : "", len);
		replies[len] = '\0';
		conn->out.len = 0;
		return slice_of(replies, len); /* a literal may hold NULs */
	}
	static char *last;

	free(last);
	last = replies ? replies : calloc(1, 1);
	replies = NULL;
	return slice_str(last);
}

bool house_closed(void)
{
	return conn == NULL;
}

bool house_tls(void)
{
	return conn ? conn->tls != NULL : was_tls;
}

void house_hang_up(void)
{
	if (!conn)
		return;
	conn->closing = true;
	conn->why = ERR_CLOSED;
	reap();
}

void house_clock(msec ms)
{
	now_ms += ms;
	if (!conn || !conn->deadline || conn->deadline > now_ms)
		return;
	conn->deadline = 0;
	if (conn->ops->deadline)
		conn->ops->deadline(conn);
	else
		conn_abort(conn, ERR_TIMEOUT);
	reap();
}

void *house_session(void)
{
	return conn ? conn->owner : NULL;
}

/* --- conn ---------------------------------------------------------------------------------------- */

enum err conn_open(struct worker *w, const struct conn_open *args, struct conn **out)
{
	conn = calloc(1, sizeof(*conn));
	conn->ops = args->ops;
	conn->owner = args->owner;
	conn->peer = *args->peer;
	conn->out = out_heap(16 << 20);
	*out = conn;
	return OK;
}

void *conn_owner(const struct conn *c)
{
	return c->owner;
}

const struct addr *conn_peer(const struct conn *c)
{
	return &c->peer;
}

void conn_set_peer(struct conn *c, const struct addr *peer)
{
	c->peer = *peer;
}

bool conn_is_tls(const struct conn *c)
{
	return c->tls != NULL;
}

struct tls_session *conn_tls(const struct conn *c)
{
	return c->tls;
}

struct out *conn_out(struct conn *c)
{
	return &c->out;
}

enum err conn_piece_open(struct conn *c, size_t max_bytes, struct conn_piece *p)
{
	*p = (struct conn_piece){ .out = out_heap(max_bytes), .conn = c, .max_bytes = max_bytes };
	out_fill(&p->out, 0, max_bytes); /* room, from the begin on */
	p->out.len = 0;
	return OK;
}

void conn_piece_send(struct conn_piece *p)
{
	out_slice(&p->conn->out, out_written(&p->out));
	conn_piece_drop(p);
}

void conn_piece_drop(struct conn_piece *p)
{
	out_heap_done(&p->out);
}

bool conn_closing(const struct conn *c)
{
	return c->closing;
}

void conn_set_hold_max(struct conn *c, size_t bytes)
{
}

enum err conn_send_wait(struct conn *c, msec timeout_ms)
{
	return OK;
}

bool conn_is_deflated(const struct conn *c)
{
	return false;
}

enum err conn_start_deflate(struct conn *c)
{
	return ERR_NOMEM;
}

bool conn_congested(const struct conn *c)
{
	return false;
}

struct fiber *conn_fiber(const struct conn *c)
{
	return NULL;
}

void conn_pause(struct conn *c)
{
	c->paused = true;
}

void conn_resume(struct conn *c)
{
	c->paused = false;
}

void conn_deadline(struct conn *c, msec ms)
{
	c->deadline = ms ? now_ms + ms : 0;
}

bool conn_run(struct conn *c, void (*fn)(struct conn *c))
{
	c->running = true;
	fn(c);
	c->running = false;
	return true;
}

enum err conn_wait_data(struct conn *c, slice *in, msec timeout_ms)
{
	return ERR_CLOSED;
}

void conn_consume(struct conn *c, size_t n)
{
}

void conn_start_tls(struct conn *c, struct tls_session *t)
{
	c->tls = t;
	c->drop_input = true;
}

enum err conn_accept_tls_wait(struct conn *c, struct tls_session *t, msec timeout_ms)
{
	c->tls = t;
	return OK;
}

void conn_close(struct conn *c)
{
	c->closing = true;
}

void conn_end(struct conn *c, enum err why)
{
	conn_close(c);
}

void conn_abort(struct conn *c, enum err err)
{
	c->closing = true;
	c->why = err;
}

/* --- The engine ------------------------------------------------------------------------------------ */

msec worker_now(const struct worker *w)
{
	return now_ms;
}

wall_ms worker_wall(const struct worker *w)
{
	return 1700000000000 + now_ms;
}

unsigned worker_index(const struct worker *w)
{
	return 0;
}

struct fiber *fiber_self(void)
{
	return (struct fiber *)&house;
}

enum err fiber_start(struct worker *w, void (*fn)(void *arg), void *arg)
{
	fn(arg);
	return OK;
}

enum err fiber_sleep(msec ms)
{
	return OK;
}

void ring_close(int fd)
{
}

void listener_gone(struct listener *l, const struct addr *peer)
{
}

struct tls_session *tls_server_session(struct tls_server *server, struct worker *w,
	const struct tls_accept *args)
{
	return &fake_tls;
}

void tls_info(const struct tls_session *t, struct tls_info *out)
{
	*out = (struct tls_info){ .version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256" };
}

slice tls_exporter(const struct tls_session *t)
{
	return SLICE("0123456789abcdef0123456789abcdef");
}

struct setup *setup_hold(struct setup *setup)
{
	return setup;
}

void setup_put(struct setup *setup)
{
}

void door_join(struct door *door, struct door_session *ds)
{
	ds->door = door;
	list_push(&door->sessions, &ds->link);
	door->session_count++;
}

void door_leave(struct door_session *ds)
{
	list_remove(&ds->link);
	ds->door->session_count--;
}

bool rate_take(struct rate *r, const struct addr *client, msec now, unsigned per_minute)
{
	return true;
}

/* --- Logins ------------------------------------------------------------------------------------------- */

enum fault login_admit(struct login *l, struct worker *w, const struct login_try *t)
{
	return FAULT_NONE;
}

enum fault login_password(struct login *l, struct worker *w, const struct login_try *t,
	struct arena *a, slice *out_name)
{
	if (!slice_eq(t->name, SLICE("alice@own.test")) || !slice_eq(t->password, SLICE("secret")))
		return FAULT_AUTH_FAILED;
	*out_name = SLICE("alice@own.test");
	return FAULT_NONE;
}

enum fault login_scram_keys(struct login *l, const struct login_try *t, struct arena *a,
	struct login_scram *out)
{
	*out = (struct login_scram){ .known = slice_eq(t->name, SLICE("alice@own.test")),
		.name = SLICE("alice@own.test") };
	memcpy(out->keys.salt, "0123456789abcdef", SASL_SALT_BYTES);
	out->keys.iterations = 4096;
	scram_keys_derive(&out->keys, SLICE("secret"));
	return FAULT_NONE;
}

enum fault login_scram_end(struct login *l, struct worker *w, const struct login_try *t, bool right)
{
	return right ? FAULT_NONE : FAULT_AUTH_FAILED;
}
