/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: what binds, what is refused and in which words, what a reload may
 * change. */
#include "core/conf.h"

#include "tests/support/tmpdir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct cert {
	slice cert, key;
};

struct door {
	struct addr address;
	int64_t port;
	int service;
};

struct limits {
	slice name;
	int64_t connections;
	int64_t idle_ms;
};

struct options {
	slice hostname, data, banner;
	bool fast;
	int64_t rcpts, size, first_ms, unset;
	int mode;
	struct addr control;
	struct conf_strings headers;
	struct conf_addresses servers;
	struct conf_cidrs relay_from;
	struct conf_list certs, doors, limits;
};

static const struct conf_row cert_rows[] = {
	{ "cert", CONF_PATH, offsetof(struct cert, cert), CONF_REQUIRED, .doc = "file" },
	{ "key", CONF_PATH, offsetof(struct cert, key), CONF_REQUIRED, .doc = "key" },
};
static const struct conf_table cert_table = { CONF_TABLE(cert_rows, struct cert) };

static const char *const services[] = { "smtp", "submission", NULL };
static const struct conf_row door_rows[] = {
	{ "address", CONF_ADDRESS, offsetof(struct door, address), CONF_REQUIRED, .doc = "where" },
	{ "port", CONF_INT, offsetof(struct door, port), 0, "25", 1, 65535, .doc = "port" },
	{ "service", CONF_ENUM, offsetof(struct door, service), CONF_REQUIRED, .words = services,
		.doc = "what" },
};

static void check_door(struct conf_check *check, const void *options)
{
	const struct door *d = options;

	if (d->service == 1 && d->port == 25)
		conf_complain(check, "port", "submission on port 25 is not wanted");
}

static const struct conf_table door_table = { CONF_TABLE(door_rows, struct door),
	.check = check_door };

static const struct conf_row limit_rows[] = {
	{ "connections", CONF_INT, offsetof(struct limits, connections), 0, .min = 1, .max = 100,
		.doc = "how many" },
	{ "idle", CONF_DURATION, offsetof(struct limits, idle_ms), 0, "5s", .doc = "how long" },
};
static const struct conf_table limit_table = { CONF_TABLE(limit_rows, struct limits) };

static const char *const modes[] = { "reject", "fix", NULL };
static const struct conf_row rows[] = {
	{ "hostname", CONF_STRING, offsetof(struct options, hostname), CONF_REQUIRED, .max = 253,
		.doc = "our name" },
	{ "data", CONF_PATH, offsetof(struct options, data), 0, "/srv", .doc = "folder" },
	{ "banner", CONF_STRING, offsetof(struct options, banner), CONF_RELOAD, .doc = "text" },
	{ "relay.fast", CONF_BOOL, offsetof(struct options, fast), 0, "no", .doc = "speed" },
	{ "smtp.rcpts", CONF_INT, offsetof(struct options, rcpts), 0, "1000", 1, 100000,
		.doc = "n" },
	{ "smtp.size", CONF_SIZE, offsetof(struct options, size), CONF_RELOAD, "50M", .doc = "s" },
	{ "smtp.mode", CONF_ENUM, offsetof(struct options, mode), 0, "reject", .words = modes,
		.doc = "m" },
	{ "relay.retry.first", CONF_DURATION, offsetof(struct options, first_ms), 0, "15m", 1000,
		86400000, .doc = "first" },
	{ "relay.retry.never", CONF_DURATION, offsetof(struct options, unset), 0, .doc = "unset" },
	{ "control", CONF_ADDRESS, offsetof(struct options, control), 0, .doc = "socket" },
	{ "dkim.headers", CONF_STRINGS, offsetof(struct options, headers), CONF_RELOAD, "From",
		.doc = "h" },
	{ "resolver.servers", CONF_ADDRESSES, offsetof(struct options, servers), 0, .doc = "dns" },
	{ "relay_from", CONF_CIDRS, offsetof(struct options, relay_from), CONF_RELOAD,
		.doc = "nets" },
	{ "tls.certificates", CONF_STRUCTS, offsetof(struct options, certs), CONF_RELOAD,
		.sub = &cert_table, .doc = "certs" },
	{ "listen", CONF_STRUCTS, offsetof(struct options, doors), 0, .sub = &door_table, .max = 3,
		.doc = "doors" },
	{ "relay.destinations", CONF_MAP, offsetof(struct options, limits), CONF_RELOAD,
		.sub = &limit_table, .doc = "per destination" },
};
static const struct conf_table table = { CONF_TABLE(rows, struct options) };
static const struct conf_table *const tables[] = { &table };
static const struct conf_schema schema = { tables, 1 };

static enum err parse(const char *text, struct out *errors, struct conf **out)
{
	return conf_parse(&schema, slice_str(text), "/etc/rp/ringpost.yaml", errors, out);
}

static struct conf *good(const char *text)
{
	struct out errors = out_heap(65536);
	struct conf *conf = NULL;
	enum err err = parse(text, &errors, &conf);

	cr_assert_eq(err, OK, "%.*s", SLICE_ARG(out_written(&errors)));
	out_heap_done(&errors);
	return conf;
}

#define text_is(s, text) cr_expect(slice_eq(s, SLICE(text)), "%.*s", SLICE_ARG(s))

Test(conf, defaults_and_unset)
{
	struct conf *conf = good("hostname: mx.example.test\n");
	const struct options *o = conf_options(conf, &table);

	text_is(o->hostname, "mx.example.test");
	text_is(o->data, "/srv");
	cr_expect_eq(o->banner.ptr, NULL);
	cr_expect_eq(o->rcpts, 1000);
	cr_expect_eq(o->size, 50 << 20);
	cr_expect_eq(o->first_ms, 900000);
	cr_expect_eq(o->unset, CONF_UNSET);
	cr_expect_eq(o->mode, 0);
	cr_expect_eq(o->control.kind, ADDR_NONE);
	cr_expect_eq(o->headers.count, 1);
	cr_expect_eq(o->doors.count, 0);
	conf_put(conf);
}

Test(conf, every_type_binds)
{
	struct conf *conf = good("hostname: a.test\n"
				 "data: spool\n"
				 "control: unix:run/control.sock\n"
				 "tls:\n  certificates: [ { cert: cert.pem, key: /k/key.pem } ]\n"
				 "listen:\n"
				 "  - { address: 127.0.0.1, port: 2525, service: smtp }\n"
				 "  - { address: '::1', port: 2587, service: submission }\n"
				 "resolver: { servers: [ \"127.0.0.1@5353\", '[::1]:53' ] }\n"
				 "relay_from: [ 10.0.0.0/8, 10.1.0.0/16, '2001:db8::/32' ]\n"
				 "dkim.headers: [ From, To ]\n"
				 "relay:\n"
				 "  fast: yes\n"
				 "  retry: { first: 30s }\n"
				 "  destinations:\n"
				 "    gmail.example: { connections: 5 }\n"
				 "    other.example:\n"
				 "smtp: { mode: fix, size: 1G, rcpts: 7 }\n");
	const struct options *o = conf_options(conf, &table);

	text_is(o->data, "/etc/rp/spool");
	cr_expect_str_eq(o->control.path, "/etc/rp/run/control.sock");
	text_is(conf_item(&o->certs, struct cert, 0)->cert, "/etc/rp/cert.pem");
	text_is(conf_item(&o->certs, struct cert, 0)->key, "/k/key.pem");
	cr_expect_eq(o->doors.count, 2);
	cr_expect_eq(conf_item(&o->doors, struct door, 1)->service, 1);
	cr_expect_eq(conf_item(&o->doors, struct door, 1)->address.kind, ADDR_IP6);
	cr_expect_eq(o->servers.at[0].port, 5353);
	cr_expect_eq(o->servers.at[1].port, 53);
	cr_expect_eq(o->relay_from.count, 2, "the inner network is dropped");
	cr_expect(o->fast);
	cr_expect_eq(o->first_ms, 30000);
	cr_expect_eq(o->mode, 1);
	cr_expect_eq(o->size, 1 << 30);
	text_is(conf_item(&o->limits, struct limits, 0)->name, "gmail.example");
	cr_expect_eq(conf_item(&o->limits, struct limits, 0)->connections, 5);
	cr_expect_eq(conf_item(&o->limits, struct limits, 1)->connections, CONF_UNSET);
	cr_expect_eq(conf_item(&o->limits, struct limits, 1)->idle_ms, 5000);
	conf_put(conf);
}

/* Each text is wrong in one way; the complaint must hold `line` and `says`. */
static const struct {
	const char *why, *text, *says;
} wrong[] = {
	{ "missing", "data: /x\n", ":1: `hostname` is missing" },
	{ "unknown key names the nearest", "hostname: a\nhostnam: b\n",
		":2: `hostnam` is not known; did you mean `hostname`?" },
	{ "unknown inner key", "hostname: a\nrelay:\n  retry:\n    frist: 1m\n",
		":4: `relay.retry.frist` is not known; did you mean `first`?" },
	{ "unknown and unlike anything", "hostname: a\nzzzzzzzzzz: 1\n",
		":2: `zzzzzzzzzz` is not known\n" },
	{ "not a number", "hostname: a\nsmtp:\n  rcpts: many\n",
		":3: `smtp.rcpts`: `many` is not allowed; allowed: a number, 1 to 100000" },
	{ "out of range", "hostname: a\nsmtp: { rcpts: 0 }\n",
		":2: `smtp.rcpts`: `0` is not allowed; allowed: a number, 1 to 100000" },
	{ "not a duration", "hostname: a\nrelay: { retry: { first: soon } }\n",
		"a duration (250ms, 30s, 15m, 4h, 5d), 1s to 1d" },
	{ "not one of the words", "hostname: a\nsmtp: { mode: maybe }\n",
		"allowed: one of reject, fix" },
	{ "double key", "hostname: a\nhostname: b\n",
		":2: `hostname` stands here again (the other one is in line 1)" },
	{ "double, dotted and nested", "hostname: a\nsmtp.rcpts: 5\nsmtp: { rcpts: 6 }\n",
		":3: `smtp.rcpts` stands here again (the other one is in line 2)" },
	{ "scalar for a mapping", "hostname: a\nrelay: 5\n", ":2: `relay` must be a mapping" },
	{ "mapping for a scalar", "hostname: { a: b }\n",
		":1: `hostname`: a mapping is not allowed here; allowed: a text" },
	{ "bad network", "hostname: a\nrelay_from: [ 10.0.0.1/8 ]\n",
		"`10.0.0.1/8` is not allowed; allowed: a list of networks" },
	{ "list item not a mapping", "hostname: a\nlisten: [ 25 ]\n",
		"`listen`: each item must be a mapping" },
	{ "too many items", "hostname: a\nlisten: [ {}, {}, {}, {} ]\n",
		"`listen` must be a list of mappings, at most 3 items" },
	{ "missing in an item", "hostname: a\nlisten:\n  - address: 1.2.3.4\n",
		":3: `listen.service` is missing" },
	{ "check of an item",
		"hostname: a\nlisten:\n  - { address: 1.2.3.4, service: submission }\n",
		":3: `listen.port`: submission on port 25 is not wanted" },
	{ "alias", "hostname: &a x\ndata: *a\n", "anchors and aliases are not supported" },
	{ "two documents", "hostname: a\n---\nhostname: b\n", "only one document" },
	{ "broken YAML", "hostname: [ a\n", "not valid YAML" },
	{ "a list", "- a\n", ":1: the file must be a mapping" },
	{ "not UTF-8", "hostname: \xff\xfe\n", "not a text in UTF-8" },
	{ "too deep", "hostname: [[[[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]]]]\n", "nested deeper" },
};

Test(conf, refuses)
{
	for (size_t i = 0; i < array_len(wrong); i++) {
		struct out errors = out_heap(65536);
		struct conf *conf = NULL;
		enum err err = parse(wrong[i].text, &errors, &conf);
		slice said = out_written(&errors);

		cr_expect_eq(err, ERR_INVALID, "%s", wrong[i].why);
		cr_expect_eq(conf, NULL);
		cr_expect(slice_search(said, slice_str(wrong[i].says)) >= 0, "%s:\n%.*s",
			wrong[i].why, SLICE_ARG(said));
		cr_expect(slice_starts(said, SLICE("/etc/rp/ringpost.yaml:")), "%s", wrong[i].why);
		out_heap_done(&errors);
	}
}

Test(conf, tells_all_at_once)
{
	struct out errors = out_heap(65536);
	struct conf *conf = NULL;
	size_t lines = 0;
	enum err err =
		parse("nonsense: 1\nsmtp: { rcpts: 0, mode: x }\nlisten: [ {} ]\n", &errors, &conf);

	for (size_t i = 0; i < errors.len; i++)
		lines += errors.buf[i] == '\n';
	cr_expect_eq(err, ERR_INVALID);
	/* nonsense, rcpts, mode, address and service of the item, hostname */
	cr_expect_eq(lines, 6, "%.*s", SLICE_ARG(out_written(&errors)));
	out_heap_done(&errors);
}

Test(conf, a_null_value_is_absent)
{
	struct conf *conf = good("hostname: a\nrelay:\nsmtp: ~\nlisten: null\nbanner: '~'\n");
	const struct options *o = conf_options(conf, &table);

	cr_expect_eq(o->rcpts, 1000);
	text_is(o->banner, "~");
	conf_put(conf);
}

Test(conf, compare_names_what_needs_a_restart)
{
	struct conf *old = good("hostname: a\nsmtp: { size: 1M, rcpts: 5 }\n"
				"listen: [ { address: 1.2.3.4, service: smtp } ]\n");
	struct conf *new = good("hostname: a\nsmtp: { size: 2M, rcpts: 6 }\nbanner: hi\n"
				"listen: [ { address: 1.2.3.5, service: smtp } ]\n");
	struct out changed = out_heap(4096);

	cr_expect_eq(conf_compare(old, old, &changed), 0);
	cr_expect_eq(conf_compare(old, new, &changed), 2);
	text_is(out_written(&changed), "smtp.rcpts\nlisten\n");
	out_heap_done(&changed);
	conf_put(old);
	conf_put(new);
}

Test(conf, cidrs_by_binary_search)
{
	struct conf *conf =
		good("hostname: a\nrelay_from: [ 192.168.1.0/24, 10.0.0.0/8, 172.16.0.5, "
		     "'2001:db8::/32', 10.200.0.0/16 ]\n");
	const struct conf_cidrs *nets =
		&((const struct options *)conf_options(conf, &table))->relay_from;
	static const struct {
		const char *ip;
		bool in;
	} look[] = { { "10.0.0.0", true }, { "10.255.1.1", true }, { "11.0.0.0", false },
		{ "9.255.255.255", false }, { "192.168.1.255", true }, { "192.168.2.0", false },
		{ "172.16.0.5", true }, { "172.16.0.6", false }, { "2001:db8::1", true },
		{ "2001:db9::", false }, { "::1", false } };

	for (size_t i = 0; i < array_len(look); i++) {
		struct addr addr;

		cr_assert(addr_parse_ip(slice_str(look[i].ip), &addr));
		cr_expect_eq(conf_cidrs_have(nets, &addr), look[i].in, "%s", look[i].ip);
	}
	conf_put(conf);
}

Test(conf, loads_a_file_and_keeps_it_alive)
{
	struct tmpdir dir;
	char path[512];
	struct out errors = out_heap(4096);
	struct conf *conf = NULL;

	tmpdir_make(&dir);
	tmpdir_file(&dir, "ringpost.yaml", path, sizeof(path));
	cr_expect_eq(conf_load(&schema, path, &errors, &conf), ERR_NOT_FOUND);
	cr_expect(slice_search(out_written(&errors), SLICE("cannot be read: not found")) >= 0);
	FILE *f = fopen(path, "w");

	fputs("hostname: a.test\ndata: d\n", f);
	fclose(f);
	cr_assert_eq(conf_load(&schema, path, &errors, &conf), OK);
	conf_put(conf_hold(conf));
	const struct options *o = conf_options(conf, &table);

	cr_expect(slice_starts(o->data, SLICE("/")));
	cr_expect(slice_ends_nocase(o->data, SLICE("/d")));
	text_is(slice_sub(conf_path(conf), 0, 1), "/");
	conf_put(conf);
	out_heap_done(&errors);
	tmpdir_remove(&dir);
}

Test(conf, prints_every_row)
{
	struct out o = out_heap(65536);

	conf_print_markdown(&schema, &o);
	for (size_t i = 0; i < array_len(rows); i++) {
		char cell[128];

		snprintf(cell, sizeof(cell), "| `%s` |", rows[i].name);
		cr_expect(slice_search(out_written(&o), slice_str(cell)) >= 0, "%s", rows[i].name);
	}
	cr_expect(slice_search(out_written(&o), SLICE("### `relay.destinations.NAME`")) >= 0);
	cr_expect(slice_search(out_written(&o), SLICE("### `listen[]`")) >= 0);
	out_heap_done(&o);
}
