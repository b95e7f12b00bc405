/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hop.c - dialling and greeting: exchanger by exchanger, address by address.
 *
 * Everything before READY says something about a host, not about a message: whatever goes wrong,
 * the next address is tried, and only when none is left the last reason stands for them all. An
 * opportunistic handshake that fails is repeated in clear at once, at the same address. */
#include "relay/hop.h"

#include <stdlib.h>

#include "core/conn.h"
#include "core/dial.h"
#include "core/entropy.h"
#include "core/tls.h"
#include "relay/event.h"
#include "relay/outlet.h"
#include "relay/tlspol.h"

enum { ADDRS_TRIED_MAX = 8, NO_FILES_PAUSE_MS = 100 };

/* Words ---------------------------------------------------------------------------------------- */

static void set_mta(struct hop *h, struct reason *out)
{
	struct out o = out_fixed(out->mta, sizeof(out->mta) - 1);

	out_slice(&o, slice_sub(h->host, 0, 80));
	if (h->peer.kind == ADDR_IP4 || h->peer.kind == ADDR_IP6) {
		out_char(&o, '[');
		addr_put_ip(&o, &h->peer);
		out_char(&o, ']');
	}
	out->mta[o.len] = 0;
}

void hop_reason_reply(struct hop *h, const struct smtp_reply *reply, struct reason *out)
{
	struct out status;

	reason_words(out, OK, "", reply->text);
	out->code = reply->code;
	status = out_fixed(out->status, sizeof(out->status) - 1);
	if (reply->status.class)
		smtp_status_put(&status, reply->status);
	out->status[out_ok(&status) ? status.len : 0] = 0;
	for (size_t i = 0; i < out->text_len; i++)
		if (out->text[i] == '\n')
			out->text[i] = ' ';
	set_mta(h, out);
}

void hop_reason_err(struct hop *h, enum err err, const char *where, struct reason *out)
{
	char text[REPLY_TEXT_MAX];
	struct out o = out_fixed(text, sizeof(text));

	/* RFC 3463: 4.4.1 no answer from host, 4.4.2 bad connection, 4.4.5 congestion, 4.7.x
	 * security. */
	out_printf(&o, "%s: %s", where, err_text(err));
	reason_words(out, err,
		err == ERR_TLS || err == ERR_TLS_CERT                               ? "4.7.5" :
			err == ERR_AUTH                                             ? "4.7.8" :
			err == ERR_NOFILES                                          ? "4.4.5" :
			err == ERR_REFUSED || err == ERR_UNREACHABLE || !h->greeted ? "4.4.1" :
										      "4.4.2",
		out_written(&o));
	set_mta(h, out);
}

/* The machine ---------------------------------------------------------------------------------- */

enum smtp_event hop_step(struct hop *h, msec timeout_ms, struct smtp_client_event *ev)
{
	uint32_t answers = h->client.answers;
	msec now = worker_now(h->r->w), due = now + timeout_ms;

	for (;;) {
		size_t before = h->in.len;
		enum smtp_event event = smtp_client_step(&h->client, &h->in, conn_out(h->c), ev);

		conn_consume(h->c, before - h->in.len);
		if (event != SMTP_EV_WAIT)
			return event;
		now = worker_now(h->r->w);
		if (h->client.answers != answers)
			due = now + timeout_ms;
		answers = h->client.answers;
		enum err err = due > now ? conn_wait_data(h->c, &h->in, due - now) : ERR_TIMEOUT;

		if (err) {
			h->in = (slice){ 0 };
			smtp_client_lost(&h->client, err);
		}
	}
}

static bool start_tls(struct hop *h)
{
	struct tls_connect args = {
		.host = h->host,
		.policy = tlspol_check((enum route_tls)h->target->tls),
		.port = h->peer.port,
	};
	struct tls_client *tls = h->target->gen->tls;
	struct tls_session *t = tls ? tls_client_session(tls, h->r->w, &args) : NULL;
	enum err err = t ? conn_start_tls_wait(h->c, t, h->target->limits.ehlo_ms) : ERR_TLS;

	h->in = (slice){ 0 };
	if (err) {
		const char *why = t && conn_tls(h->c) ? tls_why(conn_tls(h->c)) : "";

		hop_reason_err(h, err, why[0] ? why : "TLS handshake", &h->why);
		relay_count(h->r, tls_failed, 1);
		event_emit(&relay_events, RELAY_TLS_FAILED, log_slice("mx", h->host),
			log_addr("ip", &h->peer), log_str("why", why[0] ? why : NULL),
			log_err(err));
		return false;
	}
	h->tls = arena_new(&h->arena, struct tls_info);
	tls_info(conn_tls(h->c), h->tls);
	smtp_client_tls_done(&h->client);
	return true;
}

/* From the greeting to READY. *tls_broke: another try in clear makes sense. That is so whenever the
 * session broke, without a word in clear, once STARTTLS was asked for: bytes behind the 220, a close
 * instead of it, a handshake that failed, an alert that came behind our last flight. */
static enum err greet(struct hop *h, bool *tls_broke)
{
	for (;;) {
		struct smtp_client_event ev = { 0 };
		const struct route_limits *limits = &h->target->limits;
		enum smtp_event event =
			hop_step(h, h->greeted ? limits->ehlo_ms : limits->greeting_ms, &ev);

		h->greeted = h->greeted || event == SMTP_EV_STARTTLS || event == SMTP_EV_READY;
		switch (event) {
		case SMTP_EV_READY:
			return OK;
		case SMTP_EV_STARTTLS:
			if (start_tls(h))
				continue;
			*tls_broke = true;
			return ERR_TLS;
		case SMTP_EV_DOWN:
			if (ev.reply)
				hop_reason_reply(h, ev.reply, &h->why);
			else
				hop_reason_err(h, ev.err, "greeting", &h->why);
			*tls_broke = h->client.tls_asked && !ev.reply;
			return ev.err ? ev.err : ERR_REFUSED;
		default:
			hop_reason_err(h, ERR_PROTOCOL, "greeting", &h->why);
			return ERR_PROTOCOL;
		}
	}
}

static void init_machine(struct hop *h, bool broken)
{
	const struct route *route = h->target->route;

	h->conf = (struct smtp_client_conf){
		.name = h->target->ehlo,
		.lmtp = h->target->proto == ROUTE_LMTP,
		.tls = tlspol_use((enum route_tls)h->target->tls, broken,
			h->target->gen->tls != NULL),
	};
	struct smtp_client_setup setup = {
		.conf = &h->conf, .arena = &h->arena, .text = h->text, .text_cap = sizeof(h->text)
	};

	if (route && route->user.len > 0) {
		char nonce[24];

		entropy_fill(nonce, sizeof(nonce));
		for (size_t i = 0; i < sizeof(nonce); i++)
			nonce[i] = (char)('A' + (nonce[i] & 15));
		h->login = (struct sasl_client_conf){ .user = route->user,
			.password = route->password,
			.nonce = arena_dup(&h->arena, slice_of(nonce, sizeof(nonce))) };
		setup.login = &h->login;
	}
	smtp_client_init(&h->client, &setup);
	h->in = (slice){ 0 };
	h->greeted = h->said_421 = false;
	h->tls = NULL;
}

static void drop(struct hop *h)
{
	if (h->c)
		conn_abort(h->c, ERR_CANCELED);
	h->c = NULL;
	h->in = (slice){ 0 };
}

/* Descriptors are ours to find, the exchanger has no part in it: wait for one as long as for it. */
static enum err dial_patiently(struct hop *h, const struct dial_options *options)
{
	msec until = worker_now(h->r->w) + options->timeout_ms;
	enum err err;

	while ((err = dial(h->r->w, &h->peer, options, &h->c)) == ERR_NOFILES &&
		worker_now(h->r->w) < until && !h->stopping && !h->r->draining)
		if (fiber_sleep(NO_FILES_PAUSE_MS))
			break;
	return err;
}

static enum err try_once(struct hop *h, bool broken, bool *tls_broke)
{
	const struct target *t = h->target;
	struct dial_options options = { .timeout_ms = t->limits.connect_ms };
	struct addr source = t->source;

	source.port = 0;
	if (source.kind == h->peer.kind)
		options.source = &source;
	enum err err = dial_patiently(h, &options);

	if (err) {
		h->greeted = false;
		hop_reason_err(h, err, "connect", &h->why);
		return err;
	}
	init_machine(h, broken);
	err = greet(h, tls_broke);
	if (err)
		drop(h);
	return err;
}

struct host_news {
	struct post post;
	struct addr host;
};

static void host_news_arrived(struct worker *w, struct post *post)
{
	struct host_news *news = container_of(post, struct host_news, post);

	host_remember(relay_here(w)->hosts, &news->host, HOST_TLS_BROKEN, worker_now(w));
	free(news);
}

/* A handshake that failed is every worker's to know, or each would try it once an hour. */
static void tls_is_broken(struct relay_here *r, const struct addr *host)
{
	host_remember(r->hosts, host, HOST_TLS_BROKEN, worker_now(r->w));
	for (unsigned i = 0; i < r->workers; i++) {
		struct host_news *news = i == r->index ? NULL : malloc(sizeof(*news));

		if (!news) /* without memory it finds out for itself */
			continue;
		*news = (struct host_news){ .post = { .run = host_news_arrived }, .host = *host };
		news->host.path = NULL;
		post_to(i, &news->post);
	}
}

/* Another host would not do better. */
static bool ours_alone(enum err err)
{
	return err == ERR_STOPPED || err == ERR_NOFILES;
}

static enum err try_addr(struct hop *h)
{
	struct relay_here *r = h->r;
	bool tls_broke = false;
	bool broken = host_remembers(r->hosts, &h->peer, HOST_TLS_BROKEN, worker_now(r->w));
	enum err err = try_once(h, broken, &tls_broke);

	if (err && tls_broke && tlspol_may_fall_back((enum route_tls)h->target->tls)) {
		tls_is_broken(r, &h->peer);
		err = try_once(h, true, &tls_broke);
	}
	if (err && !ours_alone(err))
		host_remember(r->hosts, &h->peer, HOST_UNREACHABLE, worker_now(r->w));
	if (err)
		event_emit(&relay_events, RELAY_CONNECT_FAILED, log_slice("mx", h->host),
			log_addr("ip", &h->peer), log_slice("path", h->target->key),
			log_int(h->why.code ? "code" : NULL, h->why.code),
			log_slice("reply", slice_of(h->why.text, h->why.text_len)));
	return err;
}

/* Hosts and addresses -------------------------------------------------------------------------- */

static bool is_own(const struct relay_gen *gen, const struct addr *to)
{
	for (size_t i = 0; i < gen->own_count; i++) {
		const struct addr *own = &gen->own[i];
		static const unsigned char any[16];
		bool wild = memcmp(own->ip, any, sizeof(any)) == 0;

		if (own->port == to->port && own->kind == to->kind &&
			(addr_same_host(own, to) || (wild && addr_is_loopback(to))))
			return true;
	}
	return false;
}

struct tries {
	struct addr *addrs;
	size_t count;
};

/* Those that failed a moment ago come behind the others. */
static void order(struct hop *h, struct tries *t)
{
	size_t good = 0;
	msec now = worker_now(h->r->w);

	for (size_t i = 0; i < t->count; i++) {
		struct addr addr = t->addrs[i];

		if (host_remembers(h->r->hosts, &addr, HOST_UNREACHABLE, now))
			continue;
		memmove(&t->addrs[good + 1], &t->addrs[good], (i - good) * sizeof(addr));
		t->addrs[good++] = addr;
	}
}

static enum err addrs_of(struct hop *h, const struct target_host *host, struct tries *out)
{
	struct resolver_addrs found = { 0 };

	if (host->is_unix) {
		out->addrs = arena_new(&h->arena, struct addr);
		out->addrs[0] = (struct addr){ .kind = ADDR_UNIX,
			.path = arena_str(&h->arena, host->name) };
		out->count = 1;
		return OK;
	}
	enum err err = resolver_addrs(h->r->resolver, host->name, &h->arena, &found);

	if (err)
		return err;
	out->addrs = found.addrs;
	out->count = MIN(found.count, (size_t)ADDRS_TRIED_MAX);
	for (size_t i = 0; i < out->count; i++)
		out->addrs[i].port = host->port;
	order(h, out);
	return OK;
}

static enum err try_host(struct hop *h, const struct target_host *host)
{
	struct tries tries = { 0 };

	h->host = host->is_unix ? h->target->gen->hostname : host->name;
	h->is_unix = host->is_unix;
	h->peer = (struct addr){ 0 };
	enum err err = addrs_of(h, host, &tries);

	if (err) {
		h->greeted = false;
		hop_reason_err(h, err, "address of the exchanger", &h->why);
		return err;
	}
	for (size_t i = 0; i < tries.count; i++) {
		h->peer = tries.addrs[i];
		if (is_own(h->target->gen, &h->peer)) {
			reason_words(&h->why, OK, "5.4.6",
				SLICE("mail for this destination loops back to us"));
			err = ERR_EXISTS;
			continue;
		}
		err = try_addr(h);
		if (!err || ours_alone(err) || h->stopping)
			return err;
	}
	return err;
}

/* Hosts in order of preference, equal ones by lot (RFC 5321 5.1). */
static struct target_host *shuffled(struct hop *h)
{
	const struct target *t = h->target;
	struct target_host *hosts = arena_array(&h->arena, struct target_host, t->host_count);

	memcpy(hosts, t->hosts, t->host_count * sizeof(*hosts));
	for (size_t first = 0, end; first < t->host_count; first = end) {
		for (end = first + 1; end < t->host_count; end++)
			if (hosts[end].preference != hosts[first].preference)
				break;
		for (size_t left = end - first; left > 1; left--) {
			size_t pick = first + (size_t)entropy_below(left), last = first + left - 1;
			struct target_host held = hosts[pick];

			hosts[pick] = hosts[last];
			hosts[last] = held;
		}
	}
	return hosts;
}

enum err hop_open(struct hop *h)
{
	struct target_host *hosts = shuffled(h);
	bool absent = true, own = true;
	uint32_t cut = UINT32_MAX;
	enum err err = ERR_NOT_FOUND;

	reason_words(&h->why, ERR_NOT_FOUND, "4.4.4", SLICE("no host to deliver to"));
	for (size_t i = 0; i < h->target->host_count; i++) {
		if (hosts[i].preference >= cut)
			break;
		err = try_host(h, &hosts[i]);
		if (!err || ours_alone(err) || h->r->draining)
			return err;
		absent = absent && (err == ERR_DNS_NXDOMAIN || err == ERR_NOT_FOUND);
		own = own && err == ERR_EXISTS;
		/* RFC 5321 5.1: this is us by another name. Whoever stands behind us sends here too. */
		if (err == ERR_EXISTS && h->target->by_mx)
			cut = hosts[i].preference;
	}
	/* RFC 3463: 5.4.4 unable to route; an implicit exchanger that is not there is no domain. */
	if (absent && h->target->by_mx) {
		h->why.final = true;
		memcpy(h->why.status, h->target->implicit_mx ? "5.1.2" : "5.4.4", 6);
	} else if (own) {
		h->why.final = true;
	}
	return err;
}

/* The answer to QUIT tells nothing that we could use; the connection lingers without us. */
void hop_close(struct hop *h)
{
	if (!h->c)
		return;
	if (!conn_closing(h->c) && smtp_client_can_offer(&h->client))
		smtp_client_quit(&h->client, conn_out(h->c));
	conn_close(h->c);
	h->c = NULL;
}
