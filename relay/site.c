/* SPDX-License-Identifier: GPL-2.0-or-later */
/* site.c - targets of domains, cached by TTL.
 *
 * A site being resolved holds the parcels that came for it; the fiber that resolves it sends them
 * on, or ends them when the answer is final. The cache is bounded: when it is full, all entries
 * nobody waits for go at once, which costs less than keeping an order. */
#include "relay/site.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/entropy.h"
#include "relay/event.h"
#include "relay/path.h"
#include "relay/relay_int.h"
#include "relay/result.h"
#include "relay/shape.h"

enum {
	SITES_MAX = 100000,
	TTL_MIN_MS = 60 * 1000, /* also how long a failure is believed */
	TTL_MAX_MS = 3600 * 1000,
	FAILED_MS = 10 * 1000,
};

struct site {
	struct map_link link;
	struct relay_here *r;
	slice domain;
	struct target *target; /* NULL: not resolved, or failed */
	struct list waiting;
	msec expires;
	enum err err; /* why it failed */
	bool resolving;
	char name[];
};

struct target *target_hold(struct target *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void target_put(struct target *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
		return;
	relay_gen_put(t->gen);
	arena_done(&t->arena);
	free(t);
}

/* Making a target ------------------------------------------------------------------------------ */

static void hosts_of_route(struct target *t, const struct route *route, uint16_t port)
{
	t->hosts = arena_array(&t->arena, struct target_host, route->hosts.count);
	for (size_t i = 0; i < route->hosts.count; i++) {
		struct target_host *h = &t->hosts[t->host_count];

		if (!route_parse_host(route->hosts.at[i], port, &h->name, &h->port, &h->is_unix))
			continue;
		h->preference = (uint16_t)i;
		t->host_count++;
	}
}

static void hosts_of_mx(struct target *t, const struct resolver_mx_set *set, uint16_t port)
{
	t->hosts = arena_array(&t->arena, struct target_host, set->count);
	t->host_count = set->count;
	for (size_t i = 0; i < set->count; i++)
		t->hosts[i] = (struct target_host){
			.name = arena_dup(&t->arena, set->hosts[i].host),
			.port = port,
			.preference = set->hosts[i].preference,
		};
}

/* Everything two connections must share to be of one pool. */
static void make_key(struct target *t)
{
	struct out o = out_arena(&t->arena);

	if (t->source.kind != ADDR_NONE)
		addr_put_ip(&o, &t->source);
	out_char(&o, '>');
	for (size_t i = 0; i < t->host_count; i++) {
		out_str(&o, i > 0 ? "," : "");
		out_slice(&o, t->hosts[i].name);
		if (t->hosts[i].port != 25 && !t->hosts[i].is_unix)
			out_printf(&o, ":%u", t->hosts[i].port);
	}
	if (t->proto == ROUTE_LMTP)
		out_str(&o, "/lmtp");
	if (t->tls != ROUTE_TLS_OPPORTUNISTIC)
		out_printf(&o, "/tls%d", t->tls);
	if (t->route && t->route->ehlo.len > 0)
		out_printf(&o, "/as %.*s", SLICE_ARG(t->route->ehlo));
	if (t->route && t->route->user.len > 0) {
		out_char(&o, '/');
		out_slice(&o, t->route->user);
	}
	t->key = out_written(&o);
}

static uint16_t port_of(const struct relay_options *o, const struct route *route)
{
	if (route && route->port != CONF_UNSET && route->port > 0)
		return (uint16_t)route->port;
	return route && route->proto == ROUTE_LMTP ? 24 : (uint16_t)o->port;
}

/* Pure: the target of a route row with hosts, or of an MX set. NULL: memory ran out. */
static struct target *make_target(struct relay_here *r, const struct route *route,
	const struct resolver_mx_set *set)
{
	const struct relay_options *o = r->gen->o;
	struct target *t = calloc(1, sizeof(*t));
	uint16_t port = port_of(o, route);

	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->gen = relay_gen_hold(r->gen);
	t->route = route;
	t->proto = route ? route->proto : ROUTE_SMTP;
	t->tls = route && route->tls >= 0 ? route->tls : o->tls;
	t->source = route && route->source.kind != ADDR_NONE ? route->source : o->source;
	t->ehlo = route && route->ehlo.len > 0 ? route->ehlo : r->gen->ehlo;
	t->by_mx = set != NULL;
	t->implicit_mx = set && set->implicit;
	shape_limits(&o->limits, route, &t->limits);
	if (set)
		hosts_of_mx(t, set, port);
	else
		hosts_of_route(t, route, port);
	make_key(t);
	t->hash = map_hash(&r->seed, t->key);
	t->owner = relay_owner(r, t->hash);
	return t;
}

/* Sending on ----------------------------------------------------------------------------------- */

static void arrive(struct worker *w, struct post *post)
{
	path_add(relay_here(w), container_of(post, struct parcel, post));
}

static void send_to_owner(struct relay_here *r, struct parcel *p, struct target *t)
{
	target_put(p->target);
	p->target = target_hold(t);
	if (t->owner == r->index) {
		path_add(r, p);
		return;
	}
	p->post.run = arrive;
	post_to(t->owner, &p->post);
}

/* RFC 3463 codes of what routing may end in. */
static const char *status_of(enum err err)
{
	switch (err) {
	case ERR_DENIED:
		return "5.1.10"; /* RFC 7505 4.2 */
	case ERR_EXISTS:
		return "5.4.6"; /* a loop to ourselves */
	case ERR_DNS_NXDOMAIN:
	case ERR_NOT_FOUND:
	case ERR_INVALID:
		return "5.1.2";
	default:
		return "4.4.3";
	}
}

static slice words_of(enum err err)
{
	switch (err) {
	case ERR_DENIED:
		return SLICE("the domain takes no mail (null MX)");
	case ERR_EXISTS:
		return SLICE("mail for this domain loops back to us");
	case ERR_DNS_NXDOMAIN:
		return SLICE("the domain does not exist");
	case ERR_INVALID:
		return SLICE("not a domain name");
	case ERR_DNS_BOGUS:
		return SLICE("DNSSEC validation of the domain failed");
	default:
		return SLICE("the domain's name servers gave no answer");
	}
}

static void end_unroutable(struct relay_here *r, struct parcel *p, enum err err)
{
	struct reason why;

	if (err == ERR_STOPPED) {
		queue_park(r, p, worker_wall(r->w), "the server is stopping");
		return;
	}
	bool final = err == ERR_EXISTS || retry_action_of_route(err) == RETRY_FAIL;

	if (!final)
		relay_count(r, dns_failed, 1);
	reason_words(&why, err == ERR_EXISTS ? OK : err, status_of(err), words_of(err));
	parcel_all(p, final ? OUTCOME_FAILED : OUTCOME_DEFERRED, &why);
	result_parcel(r, p);
}

/* Resolving ------------------------------------------------------------------------------------ */

static bool is_self(void *arg, slice host)
{
	const struct relay_gen *gen = arg;

	return slice_eq_nocase(host, gen->hostname) || slice_eq_nocase(host, gen->ehlo);
}

static enum err resolve(struct site *s, struct target **out)
{
	struct relay_here *r = s->r;
	struct arena a = { 0 };
	struct resolver_mx_set set = { 0 };
	enum err err = resolver_mx(r->resolver, s->domain, &a, &set);

	if (!err && !resolver_mx_drop_self(&set, is_self, r->gen))
		err = ERR_EXISTS;
	if (!err) {
		/* Only now: a reload may have come while we waited. */
		*out = make_target(r, route_find(r->gen->routes, s->domain), &set);
		err = *out ? OK : ERR_NOMEM;
		s->expires = worker_now(r->w) +
			MIN(MAX((msec)set.ttl_s * 1000, (msec)TTL_MIN_MS), (msec)TTL_MAX_MS);
	} else {
		s->expires = worker_now(r->w) + FAILED_MS;
	}
	arena_done(&a);
	return err;
}

static void flush_waiting(struct site *s)
{
	for (struct list_link *link; (link = list_pop(&s->waiting));) {
		struct parcel *p = container_of(link, struct parcel, link);

		relay_count(s->r, ready, -(int64_t)p->count);
		if (s->err)
			end_unroutable(s->r, p, s->err);
		else
			send_to_owner(s->r, p, s->target);
	}
}

static void resolve_fiber(void *arg)
{
	struct site *s = arg;
	struct target *t = NULL;
	struct relay_here *r = s->r;

	s->err = resolve(s, &t);
	s->resolving = false;
	target_put(s->target);
	s->target = t;
	flush_waiting(s);
	relay_fiber_end(r);
}

/* The cache ------------------------------------------------------------------------------------ */

static struct site *find(struct relay_here *r, slice domain, uint64_t hash)
{
	for (struct map_link *link = map_find(&r->sites, hash); link;
		link = map_find_next(&r->sites, link)) {
		struct site *s = container_of(link, struct site, link);

		if (slice_eq(s->domain, domain))
			return s;
	}
	return NULL;
}

static struct site *add(struct relay_here *r, slice domain, uint64_t hash)
{
	struct site *s = calloc(1, sizeof(*s) + domain.len);

	if (!s)
		return NULL;
	memcpy(s->name, domain.ptr, domain.len);
	s->domain = slice_of(s->name, domain.len);
	s->r = r;
	list_init(&s->waiting);
	if (r->sites.len >= SITES_MAX)
		site_trim(r, true);
	if (!map_insert(&r->sites, &s->link, hash)) {
		free(s);
		return NULL;
	}
	return s;
}

static void refresh(struct relay_here *r, struct site *s)
{
	const struct route *route = route_find(r->gen->routes, s->domain);

	s->err = OK;
	if (route && route->hosts.count > 0) {
		target_put(s->target);
		s->target = make_target(r, route, NULL);
		s->err = s->target ? OK : ERR_NOMEM;
		s->expires = worker_now(r->w) + TTL_MAX_MS;
		return;
	}
	s->resolving = true;
	if (relay_fiber(r, resolve_fiber, s)) {
		s->resolving = false;
		s->err = ERR_NOMEM;
	}
}

void site_route(struct relay_here *r, struct parcel *p)
{
	uint64_t hash = map_hash(&r->seed, p->domain);
	struct site *s = find(r, p->domain, hash);

	if (!s)
		s = add(r, p->domain, hash);
	if (!s) {
		end_unroutable(r, p, ERR_NOMEM);
		return;
	}
	/* A failed answer is believed for a moment too, or every message would ask anew. */
	if (!s->resolving && s->expires <= worker_now(r->w))
		refresh(r, s);
	if (s->resolving) {
		relay_count(r, ready, p->count);
		list_push(&s->waiting, &p->link);
	} else if (s->err || !s->target) {
		end_unroutable(r, p, s->err ? s->err : ERR_NOMEM);
	} else {
		send_to_owner(r, p, s->target);
	}
}

struct trim {
	struct relay_here *r;
	bool all;
};

static void trim_one(struct map_link *link, void *arg)
{
	struct trim *trim = arg;
	struct site *s = container_of(link, struct site, link);

	if (s->resolving || !list_empty(&s->waiting))
		return;
	if (!trim->all && s->expires > worker_now(trim->r->w))
		return;
	map_remove(&trim->r->sites, &s->link);
	target_put(s->target);
	free(s);
}

void site_trim(struct relay_here *r, bool all)
{
	struct trim trim = { .r = r, .all = all };

	map_walk(&r->sites, trim_one, &trim);
}

void site_forget_all(struct relay_here *r)
{
	site_trim(r, true);
	map_done(&r->sites);
}

struct walk {
	bool (*each)(void *arg, struct parcel *p);
	void *arg;
	bool stopped;
};

static void walk_one(struct map_link *link, void *arg)
{
	struct walk *walk = arg;
	struct site *s = container_of(link, struct site, link);

	list_each(&s->waiting, waiting) if (!walk->stopped) walk->stopped =
		!walk->each(walk->arg, container_of(waiting, struct parcel, link));
}

void site_walk(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg)
{
	struct walk walk = { .each = each, .arg = arg };

	map_walk(&r->sites, walk_one, &walk);
}

void site_rest(struct relay_here *r, struct parcel *p)
{
	list_push(&r->resting, &p->link);
	relay_count(r, ready, p->count);
}

void site_walk_resting(struct relay_here *r, bool (*each)(void *arg, struct parcel *p), void *arg)
{
	list_each(&r->resting,
		link) if (!each(arg, container_of(link, struct parcel, link))) return;
}

void site_take(struct relay_here *r, struct parcel *p)
{
	list_remove(&p->link);
	relay_count(r, ready, -(int64_t)p->count);
}
