/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Route rows: binding, lookups, hosts. */
#include "relay/relay.h"

#include <criterion/criterion.h>

static const struct conf_table *const tables[] = { &relay_conf };
static const struct conf_schema schema = { tables, array_len(tables) };

static struct conf *parse(const char *text, struct out *errors)
{
	struct conf *conf = NULL;
	enum err err = conf_parse(&schema, slice_str(text), "/tmp/test.yaml", errors, &conf);

	return err ? NULL : conf;
}

static struct conf *must_parse(const char *text)
{
	char buf[2000];
	struct out errors = out_fixed(buf, sizeof(buf));
	struct conf *conf = parse(text, &errors);

	cr_assert(conf, "%.*s", (int)errors.len, buf);
	return conf;
}

static const char routes[] =
	"relay:\n"
	"  retry: { first: 15m, factor: 2, max: 4h, expire: 5d }\n"
	"  routes:\n"
	"    - { domain: \"*\", hosts: [ 127.0.0.1 ], port: 2600, tls: opportunistic }\n"
	"    - { domain: \"b\xc3\xbc"
	"cher.example\", hosts: [ mx.x ], accept: true, connections: 3 }\n"
	"    - { domain: verify.example, tls: verify, login: { user: u, password: p } }\n";

Test(route, exact_wins_over_star)
{
	struct conf *conf = must_parse(routes);
	const struct relay_options *o = conf_options(conf, &relay_conf);
	struct route_table *t;
	struct out why = out_heap(1000);

	cr_assert_eq(route_table_make(&o->routes, &t, &why), OK);
	cr_assert_eq(route_find(t, SLICE("other.example"))->port, 2600);
	cr_assert_eq(route_find(t, SLICE("VERIFY.example"))->tls, ROUTE_TLS_VERIFY);
	cr_assert(slice_eq(route_find(t, SLICE("verify.example"))->user, SLICE("u")));
	cr_assert_eq(route_find(t, SLICE("xn--bcher-kva.example"))->limits.connections, 3);
	cr_assert_eq(route_find(t,
			     SLICE("B\xc3\xbc"
				   "cher.example"))
			     ->limits.connections,
		3);
	cr_assert(route_accepts(t, SLICE("xn--bcher-kva.example")));
	cr_assert_not(route_accepts(t, SLICE("other.example")));
	cr_assert(route_exact(t, SLICE("xn--bcher-kva.example")));
	cr_assert_not(route_exact(t, SLICE("other.example")));
	cr_assert_not(route_exact(t, SLICE("verify.example")));
	route_table_free(t);
	out_heap_done(&why);
	conf_put(conf);
}

Test(route, defaults_are_those_of_the_manual)
{
	struct conf *conf = must_parse("relay: { port: 25 }\n");
	const struct relay_options *o = conf_options(conf, &relay_conf);

	cr_assert_eq(o->limits.connections, 20);
	cr_assert_eq(o->limits.messages_per_connection, 100);
	cr_assert_eq(o->limits.idle_ms, 5000);
	cr_assert_eq(o->limits.expire_ms, 5LL * 86400000);
	cr_assert_eq(o->retry_warn_ms, 4 * 3600000);
	cr_assert_eq(o->tls, ROUTE_TLS_OPPORTUNISTIC);
	conf_put(conf);
}

static const char *const wrong[] = {
	"relay: { routes: [ { domain: \"*\", accept: true, hosts: [ a ] } ] }\n",
	"relay: { routes: [ { domain: \"a b\", hosts: [ a ] } ] }\n",
	"relay: { routes: [ { domain: a.b, hosts: [ \"a:0\" ] } ] }\n",
	"relay: { routes: [ { domain: a.b, protocol: lmtp } ] }\n",
	"relay: { routes: [ { domain: a.b, login: { password: x } } ] }\n",
	"relay: { routes: [ { domain: a.b, tls: maybe } ] }\n",
};

Test(route, nonsense_is_refused_with_a_line)
{
	for (size_t i = 0; i < array_len(wrong); i++) {
		char buf[2000];
		struct out errors = out_fixed(buf, sizeof(buf));

		cr_expect_null(parse(wrong[i], &errors), "%s", wrong[i]);
		cr_expect_gt(errors.len, 0u);
	}
}

Test(route, two_rows_for_one_domain_are_refused)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{ "relay: { routes: [ { domain: a.b, hosts: [ c ] }, { domain: A.B, hosts: [ d ] "
		  "} ] }\n",
			"`relay.routes`: \"A.B\" is no domain, or there are two rows for it" },
		{ "relay: { routes: [ { domain: \"*\" }, { domain: \"*\" } ] }\n",
			"`relay.routes`: two rows for *" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct out errors = out_heap(1000);

		cr_expect_null(parse(rows[i].text, &errors));
		cr_expect(slice_search(out_written(&errors), slice_str(rows[i].said)) >= 0, "%.*s",
			SLICE_ARG(out_written(&errors)));
		out_heap_done(&errors);
	}
}

static const struct {
	const char *text, *host;
	uint16_t port;
	bool is_unix, ok;
} hosts[] = {
	{ "mx.example", "mx.example", 25, false, true },
	{ "mx.example:2525", "mx.example", 2525, false, true },
	{ "127.0.0.1:1", "127.0.0.1", 1, false, true },
	{ "2001:db8::1", "2001:db8::1", 25, false, true },
	{ "[2001:db8::1]:26", "2001:db8::1", 26, false, true },
	{ "unix:/run/lmtp", "/run/lmtp", 0, true, true },
	{ "mx.example:99999", "", 0, false, false },
	{ "", "", 0, false, false },
};

Test(route, hosts_have_many_spellings)
{
	for (size_t i = 0; i < array_len(hosts); i++) {
		slice host;
		uint16_t port;
		bool is_unix,
			ok = route_parse_host(slice_str(hosts[i].text), 25, &host, &port, &is_unix);

		cr_assert_eq(ok, hosts[i].ok, "%s", hosts[i].text);
		if (!ok)
			continue;
		cr_assert(slice_eq(host, slice_str(hosts[i].host)), "%s", hosts[i].text);
		cr_assert(port == hosts[i].port && is_unix == hosts[i].is_unix);
	}
}
