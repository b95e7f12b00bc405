/* SPDX-License-Identifier: GPL-2.0-or-later */
/* route.c - relay.routes: the rows' options, and the index over them.
 *
 * Domains are compared in their A-label form and lower case, so `bücher.example` and its A-labels
 * are one row. The table is immutable: all workers read it without asking. */
#include "relay/route.h"

#include <stdlib.h>

#include "core/base/map.h"
#include "core/base/text.h"
#include "core/entropy.h"
#include "proto/smtp/idn.h"

#define AT(member) (uint32_t) offsetof(struct route, member)
#define LIMIT(name_, type_, member, doc_)                                                        \
	{                                                                                        \
		.name = (name_), .type = (type_), .at = AT(limits.member), .flags = CONF_RELOAD, \
		.doc = (doc_)                                                                    \
	}

static const char *const proto_words[] = { "smtp", "lmtp", NULL };
static const char *const tls_words[] = { "none", "opportunistic", "required", "verify", NULL };

static const struct conf_row rows[] = {
	{ .name = "domain",
		.type = CONF_STRING,
		.at = AT(domain),
		.flags = CONF_RELOAD | CONF_REQUIRED,
		.min = 1,
		.max = 253,
		.doc = "the recipient domain, or * for every domain without a row" },
	{ .name = "hosts",
		.type = CONF_STRINGS,
		.at = AT(hosts),
		.flags = CONF_RELOAD,
		.doc = "next hops in order: name, name:port, address, [v6]:port, unix:/path; none: "
		       "by MX" },
	{ .name = "port",
		.type = CONF_INT,
		.at = AT(port),
		.flags = CONF_RELOAD,
		.min = 1,
		.max = 65535,
		.doc = "of hosts that name none; default relay.port, 24 for lmtp" },
	{ .name = "protocol",
		.type = CONF_ENUM,
		.at = AT(proto),
		.flags = CONF_RELOAD,
		.def = "smtp",
		.words = proto_words,
		.doc = "what the next hop speaks" },
	{ .name = "tls",
		.type = CONF_ENUM,
		.at = AT(tls),
		.flags = CONF_RELOAD,
		.words = tls_words,
		.doc = "default relay.tls" },
	{ .name = "login.user",
		.type = CONF_STRING,
		.at = AT(user),
		.flags = CONF_RELOAD,
		.max = 255,
		.doc = "log in at the next hop as" },
	{ .name = "login.password",
		.type = CONF_STRING,
		.at = AT(password),
		.flags = CONF_RELOAD | CONF_SECRET,
		.max = 255,
		.doc = "with this password" },
	{ .name = "source",
		.type = CONF_ADDRESS,
		.at = AT(source),
		.flags = CONF_RELOAD,
		.doc = "address connections come from; default relay.source" },
	{ .name = "ehlo",
		.type = CONF_STRING,
		.at = AT(ehlo),
		.flags = CONF_RELOAD,
		.max = 255,
		.doc = "our name in EHLO; default relay.ehlo" },
	{ .name = "accept",
		.type = CONF_BOOL,
		.at = AT(accept),
		.flags = CONF_RELOAD,
		.doc = "port 25 takes mail for this domain from anybody" },
	LIMIT("connections", CONF_INT, connections, "at most open to this destination"),
	LIMIT("messages_per_connection", CONF_INT, messages_per_connection, "then a new one"),
	LIMIT("recipients_per_message", CONF_INT, recipients_per_message, "then a new transaction"),
	LIMIT("idle", CONF_DURATION, idle_ms, "close a connection unused for so long"),
	LIMIT("timeouts.connect", CONF_DURATION, connect_ms, "for the connection"),
	LIMIT("timeouts.greeting", CONF_DURATION, greeting_ms, "for the greeting"),
	LIMIT("timeouts.ehlo", CONF_DURATION, ehlo_ms, "for the reply to EHLO, STARTTLS, AUTH"),
	LIMIT("timeouts.mail", CONF_DURATION, mail_ms, "for the reply to MAIL"),
	LIMIT("timeouts.rcpt", CONF_DURATION, rcpt_ms, "for the reply to RCPT"),
	LIMIT("timeouts.data", CONF_DURATION, data_ms, "for the reply to DATA"),
	LIMIT("timeouts.body", CONF_DURATION, body_ms, "for each piece of the body to be taken"),
	LIMIT("timeouts.dot", CONF_DURATION, dot_ms, "for the reply to the message"),
	LIMIT("retry.first", CONF_DURATION, retry_first_ms, "wait behind the first attempt"),
	LIMIT("retry.max", CONF_DURATION, retry_max_ms, "longest wait between attempts"),
	LIMIT("retry.expire", CONF_DURATION, expire_ms, "give up after"),
};

bool route_ehlo_ok(slice name)
{
	return name.len == 0 || text_is_domain(name) ||
		(name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']');
}

static void check_route(struct conf_check *check, const void *options)
{
	const struct route *r = options;
	bool star = slice_eq(r->domain, SLICE("*"));

	if (!star && !text_is_domain(r->domain))
		conf_complain(check, "domain", "\"%.*s\" is neither a domain nor *",
			SLICE_ARG(r->domain));
	if (star && r->accept)
		conf_complain(check, "accept", "cannot be true for *: this would be an open relay");
	if (!route_ehlo_ok(r->ehlo))
		conf_complain(check, "ehlo", "allowed: a domain name, or an [address]");
	if (r->proto == ROUTE_LMTP && r->hosts.count == 0)
		conf_complain(check, "hosts", "lmtp needs hosts");
	if (r->password.len > 0 && r->user.len == 0)
		conf_complain(check, "login.password", "without login.user");
	for (size_t i = 0; i < r->hosts.count; i++) {
		slice host;
		uint16_t port;
		bool is_unix;

		if (!route_parse_host(r->hosts.at[i], 25, &host, &port, &is_unix))
			conf_complain(check, "hosts",
				"\"%.*s\" is no host, host:port or unix:/path",
				SLICE_ARG(r->hosts.at[i]));
	}
}

const struct conf_table route_conf = { CONF_TABLE(rows, struct route), .check = check_route };

bool route_parse_host(slice text, uint16_t port, slice *out_host, uint16_t *out_port,
	bool *out_unix)
{
	slice host = text;
	struct addr literal;
	uint64_t number = port;

	if (slice_starts(text, SLICE("unix:/"))) {
		*out_host = slice_skip(text, 5);
		*out_port = 0;
		*out_unix = true;
		return true;
	}
	ptrdiff_t colon = slice_rfind(text, ':');
	/* A bare IPv6 address has colons and no port. */
	if (colon >= 0 && !addr_parse_ip(text, &literal)) {
		host = slice_sub(text, 0, (size_t)colon);
		if (!text_parse_uint(slice_skip(text, (size_t)colon + 1), 65535, &number) ||
			number == 0)
			return false;
	}
	if (addr_parse_ip(host, &literal) && host.len > 2 && host.ptr[0] == '[')
		host = slice_sub(host, 1, host.len - 1);
	else if (!addr_parse_ip(host, &literal) && !text_is_domain(host))
		return false;
	*out_host = host;
	*out_port = (uint16_t)number;
	*out_unix = false;
	return true;
}

struct route_link {
	struct map_link link;
	slice domain; /* A-labels, lower case */
	const struct route *route;
};

struct route_table {
	struct arena arena;
	struct map map;
	struct map_seed seed;
	const struct route *star;
	const struct conf_list *rows;
};

static const struct route *find_exact(const struct route_table *t, slice name)
{
	struct map_link *link = map_find(&t->map, map_hash(&t->seed, name));

	for (; link; link = map_find_next(&t->map, link)) {
		struct route_link *row = container_of(link, struct route_link, link);

		if (slice_eq(row->domain, name))
			return row->route;
	}
	return NULL;
}

/* Lower-case ASCII without an arena, the case of nearly every lookup; false: it needs IDNA. */
static bool plain_name(slice domain, char buf[256], slice *out)
{
	if (domain.len > 253 || !text_is_ascii(domain))
		return false;
	memcpy(buf, domain.ptr, domain.len);
	text_lower_all(buf, domain.len);
	*out = slice_of(buf, domain.len);
	return true;
}

static const struct route *find_named(const struct route_table *t, slice domain)
{
	char buf[256];
	slice name;
	struct arena a = { 0 };
	const struct route *found = NULL;

	if (t->map.len == 0 || domain.len == 0)
		return NULL;
	if (plain_name(domain, buf, &name))
		return find_exact(t, name);
	if (idn_to_ascii(&a, domain, &name) == OK)
		found = find_exact(t, name);
	arena_done(&a);
	return found;
}

const struct route *route_find(const struct route_table *t, slice domain)
{
	const struct route *found = find_named(t, domain);

	return found ? found : t->star;
}

bool route_accepts(const struct route_table *t, slice domain)
{
	const struct route *found = find_named(t, domain);

	return found && found->accept;
}

bool route_exact(const struct route_table *t, slice domain)
{
	const struct route *found = find_named(t, domain);

	return found && found->hosts.count > 0;
}

const struct route *route_at(const struct route_table *t, size_t i)
{
	return i < t->rows->count ? conf_item(t->rows, struct route, i) : NULL;
}

static enum err add_row(struct route_table *t, const struct route *route, struct out *why)
{
	slice name;

	if (slice_eq(route->domain, SLICE("*"))) {
		if (t->star) {
			out_str(why, "two rows for *");
			return ERR_INVALID;
		}
		t->star = route;
		return OK;
	}
	if (idn_to_ascii(&t->arena, route->domain, &name) || find_exact(t, name)) {
		out_printf(why, "\"%.*s\" is no domain, or there are two rows for it",
			SLICE_ARG(route->domain));
		return ERR_INVALID;
	}
	struct route_link *row = arena_new(&t->arena, struct route_link);

	row->domain = name;
	row->route = route;
	return map_insert(&t->map, &row->link, map_hash(&t->seed, name)) ? OK : ERR_NOMEM;
}

enum err route_table_make(const struct conf_list *list, struct route_table **out, struct out *why)
{
	struct route_table *t = calloc(1, sizeof(*t));

	if (!t)
		return ERR_NOMEM;
	entropy_fill(&t->seed, sizeof(t->seed));
	t->rows = list;
	for (size_t i = 0; i < list->count; i++) {
		enum err err = add_row(t, conf_item(list, struct route, i), why);

		if (err) {
			route_table_free(t);
			return err;
		}
	}
	*out = t;
	return OK;
}

void route_table_free(struct route_table *t)
{
	if (!t)
		return;
	map_done(&t->map);
	arena_done(&t->arena);
	free(t);
}
