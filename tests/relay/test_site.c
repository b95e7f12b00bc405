/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Delivery by MX: which hosts are tried, and what is final. DNS is a table. */
#include "tests/relay/peer.h"
#include "tests/relay/rig.h"

#include <stdlib.h>

#include "core/fiber.h"
#include "relay/resolver.h"

static const char hello[] = "From: a@s.test\r\nSubject: hi\r\n\r\nbody\r\n";

static struct peer *peer;
static char yaml[2000];
static struct rig the;
static atomic_uint asked_mx;

/* name, then the answers; an MX host is given as "preference host", an address as text. */
static const struct row {
	const char *name, *mx[3], *a;
	enum err err;
} table[] = {
	{ .name = "d.test", .mx = { "10 dead.test", "20 live.test" } },
	{ .name = "e.test", .mx = { "10 dead.test", "20 live.test" } },
	{ .name = "dead.test", .a = "127.0.0.2" },
	{ .name = "live.test", .a = "127.0.0.1" },
	{ .name = "s.test", .mx = { "0 live.test" } },
	{ .name = "null.test", .mx = { "0 " } },
	{ .name = "self.test", .mx = { "5 relay.test", "10 live.test" } },
	{ .name = "backup.test", .mx = { "5 live.test", "10 relay.test" } },
	{ .name = "implicit.test", .a = "127.0.0.1" },
	{ .name = "sick.test", .err = ERR_DNS_TEMP },
	{ .name = "gone.test", .mx = { "5 nowhere.test" } },
};

static void add_mx(struct resolver_answer *out, const char *text)
{
	char buf[300];
	struct out o = out_fixed(buf, sizeof(buf));
	char *host;
	slice label, name;

	out_u16(&o, (uint16_t)strtoul(text, &host, 10));
	name = slice_str(host + 1);
	while (slice_cut(&name, '.', &label)) {
		out_u8(&o, (uint8_t)label.len);
		out_slice(&o, label);
	}
	out_u8(&o, 0);
	resolver_answer_add(out, out_written(&o), 300);
}

static enum err answer(void *arg, const char *name, int rrtype, struct resolver_answer *out)
{
	for (size_t i = 0; i < array_len(table); i++) {
		const struct row *row = &table[i];
		struct addr addr;

		if (strcmp(row->name, name) != 0)
			continue;
		if (row->err)
			return row->err;
		if (rrtype == RESOLVER_MX) {
			atomic_fetch_add(&asked_mx, 1);
			for (size_t k = 0; k < 3 && row->mx[k]; k++)
				add_mx(out, row->mx[k]);
		} else if (rrtype == RESOLVER_A && row->a &&
			addr_parse_ip(slice_str(row->a), &addr)) {
			resolver_answer_add(out, addr_bytes(&addr), 300);
		}
		return OK;
	}
	return ERR_DNS_NXDOMAIN;
}

static void begin(void)
{
	peer = peer_start(0);
	rig_make(&the, 2);
	resolver_hook(answer, NULL);
	atomic_store(&asked_mx, 0);
	snprintf(yaml, sizeof(yaml),
		"relay:\n  retry: { first: 200ms, factor: 1, max: 1s, expire: 2s, warn: 0 }\n"
		"  idle: 200ms\n  port: %u\n  tls: none\n",
		peer->port);
}

static void finish(void)
{
	peer_stop(peer);
	rig_remove(&the);
}

static bool reported(const char *text)
{
	for (unsigned i = 0; i < atomic_load(&peer->count); i++)
		if (strstr(peer->messages[i].mail, "FROM:<>") &&
			strstr(peer->messages[i].data, text))
			return true;
	return false;
}

static const char *to;

static void give(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test", .to = to, .text = hello };

	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 30000));
}

Test(site, next_exchanger_is_tried)
{
	begin();
	to = "x@d.test y@e.test";
	rig_run(&the, yaml, give);
	cr_assert_eq(peer_rcpts(peer, "<x@d.test>"), 1u);
	cr_assert_eq(peer_rcpts(peer, "<y@e.test>"), 1u);
	finish();
}

Test(site, domain_without_exchangers_takes_its_own_mail)
{
	begin();
	to = "x@implicit.test";
	rig_run(&the, yaml, give);
	cr_assert_eq(peer_rcpts(peer, "<x@implicit.test>"), 1u);
	finish();
}

Test(site, backup_uses_better_exchangers_only)
{
	begin();
	to = "x@backup.test";
	rig_run(&the, yaml, give);
	cr_assert_eq(peer_rcpts(peer, "<x@backup.test>"), 1u);
	finish();
}

static const struct {
	const char *to, *status;
} finals[] = {
	{ "x@null.test", "5.1.10" },
	{ "x@nowhere.test", "5.1.2" },
	{ "x@self.test", "5.4.6" },
	{ "x@localhost", "5.1.2" },
	{ "x@gone.test", "5.4.4" },
	{ "x@sick.test", "5.4.7" },
};

Test(site, final_answers_are_reported)
{
	for (size_t i = 0; i < array_len(finals); i++) {
		begin();
		to = finals[i].to;
		rig_run(&the, yaml, give);
		cr_assert_eq(peer_rcpts(peer, to), 0u);
		cr_assert(reported(finals[i].status), "%s: %s", to,
			atomic_load(&peer->count) ? peer->messages[0].data : "no report");
		finish();
	}
}

static void give_many(struct rig *rig, struct worker *w)
{
	struct rig_mail mail = { .from = "a@s.test", .to = "x@d.test", .text = hello };

	for (int i = 0; i < 50; i++)
		check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 30000));
}

Test(site, answers_are_kept)
{
	begin();
	rig_run(&the, yaml, give_many);
	cr_assert_eq(atomic_load(&peer->count), 50u);
	cr_assert_leq(atomic_load(&asked_mx), 2u);
	finish();
}

static void reload_route(struct rig *rig, struct worker *w)
{
	static const struct conf_table *const tables[] = { &relay_conf };
	static const struct conf_schema schema = { tables, 1 };
	char buf[1000];
	struct out why = out_fixed(buf, sizeof(buf));
	struct conf *conf = NULL;
	struct rig_mail mail = { .from = "a@s.test", .to = "x@null.test", .text = hello };

	snprintf(yaml, sizeof(yaml),
		"relay:\n  tls: none\n  routes: [ { domain: null.test, hosts: [ \"live.test:%u\" ] "
		"} ]\n",
		peer->port);
	check(conf_parse(&schema, slice_str(yaml), "/tmp/again.yaml", &why, &conf) == OK);
	struct relay_setup setup = { .conf = conf,
		.options = conf_options(conf, &relay_conf),
		.hostname = SLICE("relay.test") };

	check(relay_reload(w, &setup, &why) == OK);
	conf_put(conf);
	check(rig_send(rig, w, &mail, NULL) == OK);
	check(rig_idle(w, 30000));
}

Test(site, reload_brings_new_routes)
{
	begin();
	rig_run(&the, yaml, reload_route);
	cr_assert_eq(peer_rcpts(peer, "<x@null.test>"), 1u);
	finish();
}
