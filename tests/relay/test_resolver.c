/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exchangers and addresses, answered from a table; and one question over a real socket. */
#include "relay/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/text.h"
#include "tests/core/workers.h"

/* rdata: MX as preference and host, A and AAAA as text; "!" and an err. */
static const struct row {
	const char *name;
	int type;
	const char *text;
	enum err err;
} table[] = {
	{ "d.test", RESOLVER_MX, "20 backup.d.test", OK },
	{ "d.test", RESOLVER_MX, "10 mx1.d.test", OK },
	{ "d.test", RESOLVER_MX, "10 MX2.d.test", OK },
	{ "null.test", RESOLVER_MX, "0 ", OK },
	{ "trap.test", RESOLVER_MX, "10 localhost", OK },
	{ "plain.test", RESOLVER_MX, NULL, ERR_NOT_FOUND },
	{ "sick.test", RESOLVER_MX, NULL, ERR_DNS_TEMP },
	{ "bogus.test", RESOLVER_MX, NULL, ERR_DNS_BOGUS },
	{ "mx1.d.test", RESOLVER_A, "192.0.2.1", OK },
	{ "mx1.d.test", RESOLVER_A, "192.0.2.2", OK },
	{ "mx1.d.test", RESOLVER_AAAA, "2001:db8::1", OK },
	{ "half.test", RESOLVER_A, NULL, ERR_DNS_TEMP },
	{ "half.test", RESOLVER_AAAA, NULL, ERR_NOT_FOUND },
	{ "empty.test", RESOLVER_A, NULL, ERR_NOT_FOUND },
	{ "empty.test", RESOLVER_AAAA, NULL, ERR_NOT_FOUND },
};

static void put_name(struct out *o, slice name)
{
	slice label;

	while (slice_cut(&name, '.', &label)) {
		out_u8(o, (uint8_t)label.len);
		out_slice(o, label);
	}
	out_u8(o, 0);
}

static void add(struct resolver_answer *answer, const struct row *row)
{
	char buf[300];
	struct out o = out_fixed(buf, sizeof(buf));
	slice text = slice_str(row->text), number;
	struct addr addr;
	uint64_t preference;

	if (row->type == RESOLVER_MX) {
		must(slice_cut(&text, ' ', &number) && text_parse_uint(number, 99, &preference));
		out_u16(&o, (uint16_t)preference);
		put_name(&o, text);
	} else if (addr_parse_ip(text, &addr)) {
		out_slice(&o, addr_bytes(&addr));
	}
	resolver_answer_add(answer, out_written(&o), 300);
}

static enum err from_table(void *arg, const char *name, int rrtype, struct resolver_answer *out)
{
	bool found = false;

	for (size_t i = 0; i < array_len(table); i++) {
		if (strcmp(table[i].name, name) != 0 || table[i].type != rrtype)
			continue;
		if (table[i].err)
			return table[i].err;
		add(out, &table[i]);
		found = true;
	}
	return found ? OK : ERR_DNS_NXDOMAIN;
}

static const struct resolver_options both = { .timeout_ms = 5000, .ipv4 = true, .ipv6 = true };

static enum err mx(struct resolver *r, const char *domain, struct arena *a,
	struct resolver_mx_set *set)
{
	return resolver_mx(r, slice_str(domain), a, set);
}

static void look_up(struct worker *w)
{
	struct resolver *r;
	struct arena a = { 0 };
	struct resolver_mx_set set = { 0 };
	struct resolver_addrs addrs = { 0 };

	check(resolver_open(w, &both, &r) == OK);
	check(mx(r, "D.test", &a, &set) == OK && set.count == 3 && !set.implicit);
	check(slice_eq(set.hosts[0].host, SLICE("mx1.d.test")));
	check(slice_eq(set.hosts[1].host, SLICE("mx2.d.test")));
	check(slice_eq(set.hosts[2].host, SLICE("backup.d.test")));
	check(mx(r, "null.test", &a, &set) == ERR_DENIED);
	check(mx(r, "trap.test", &a, &set) == ERR_DENIED);
	check(mx(r, "plain.test", &a, &set) == OK && set.implicit && set.count == 1);
	check(slice_eq(set.hosts[0].host, SLICE("plain.test")));
	check(mx(r, "nowhere.test", &a, &set) == ERR_DNS_NXDOMAIN);
	check(mx(r, "sick.test", &a, &set) == ERR_DNS_TEMP);
	check(mx(r, "bogus.test", &a, &set) == ERR_DNS_BOGUS);
	check(mx(r, "localhost", &a, &set) == ERR_DNS_NXDOMAIN);
	check(mx(r, "x.invalid", &a, &set) == ERR_DNS_NXDOMAIN);
	check(mx(r, "a b", &a, &set) == ERR_INVALID);
	check(mx(r, "", &a, &set) == ERR_INVALID);
	check(mx(r, "[192.0.2.7]", &a, &set) == OK && set.count == 1);
	check(mx(r, "[nonsense]", &a, &set) == ERR_INVALID);
	check(resolver_addrs(r, SLICE("mx1.d.test"), &a, &addrs) == OK && addrs.count == 3);
	check(addrs.addrs[0].kind == ADDR_IP6 && addrs.addrs[1].kind == ADDR_IP4);
	check(resolver_addrs(r, SLICE("[IPv6:2001:db8::2]"), &a, &addrs) == OK);
	check(addrs.count == 1 && addrs.addrs[0].kind == ADDR_IP6);
	check(resolver_addrs(r, SLICE("half.test"), &a, &addrs) == ERR_DNS_TEMP);
	check(resolver_addrs(r, SLICE("empty.test"), &a, &addrs) == ERR_NOT_FOUND);
	check(resolver_addrs(r, SLICE("nowhere.test"), &a, &addrs) == ERR_DNS_NXDOMAIN);
	arena_done(&a);
	resolver_close(r);
}

Test(resolver, answers_by_the_rules_of_mail)
{
	resolver_hook(from_table, NULL);
	run_on_workers(1, look_up);
	resolver_hook(NULL, NULL);
}

static bool is_b(void *arg, slice host)
{
	return slice_eq(host, SLICE("b"));
}

Test(resolver, own_name_cuts_the_set)
{
	struct resolver_mx hosts[] = { { SLICE("a"), 5 }, { SLICE("x"), 10 }, { SLICE("b"), 10 },
		{ SLICE("c"), 20 } };
	struct resolver_mx_set set = { .hosts = hosts, .count = 4 };

	cr_assert(resolver_mx_drop_self(&set, is_b, NULL));
	cr_assert_eq(set.count, 1u);
	set = (struct resolver_mx_set){ .hosts = hosts + 1, .count = 2 };
	cr_assert_not(resolver_mx_drop_self(&set, is_b, NULL));
}

/* A name server of one answer: whatever is asked, 192.0.2.9; NXDOMAIN for names with an n. ------- */

static int dns_fd;

static void *name_server(void *arg)
{
	unsigned char msg[1024];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t got;

	while ((got = recvfrom(dns_fd, msg, sizeof(msg) - 64, 0, (struct sockaddr *)&from, &len)) >
		12) {
		size_t end = 12;

		while (msg[end])
			end += msg[end] + 1u;
		unsigned type = msg[end + 2];
		bool no = msg[13] == 'n';

		end += 5;
		msg[2] = 0x84;
		msg[3] = no ? 3 : 0;
		memset(msg + 6, 0, 6);
		if (!no && type == RESOLVER_A) {
			static const unsigned char rr[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4,
				192, 0, 2, 9 };

			msg[7] = 1;
			memcpy(msg + end, rr, sizeof(rr));
			end += sizeof(rr);
		}
		sendto(dns_fd, msg, end, 0, (struct sockaddr *)&from, len);
		len = sizeof(from);
	}
	return NULL;
}

static struct addr dns_addr;

static void ask_server(struct worker *w)
{
	struct resolver_options o = both;
	struct resolver *r;
	struct arena a = { 0 };
	struct resolver_addrs addrs = { 0 };
	struct resolver_mx_set set;

	o.servers = (struct conf_addresses){ .at = &dns_addr, .count = 1 };
	check(resolver_open(w, &o, &r) == OK);
	check(resolver_addrs(r, SLICE("yes.test"), &a, &addrs) == OK);
	check(addrs.count == 1 && addrs.addrs[0].ip[3] == 9);
	check(mx(r, "no.test", &a, &set) == ERR_DNS_NXDOMAIN);
	check(mx(r, "yes.test", &a, &set) == OK && set.implicit);
	arena_done(&a);
	resolver_close(r);
}

Test(resolver, asks_the_server_it_is_given)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	pthread_t thread;

	dns_fd = socket(AF_INET, SOCK_DGRAM, 0);
	cr_assert_eq(bind(dns_fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(getsockname(dns_fd, (struct sockaddr *)&at, &len), 0);
	dns_addr = addr_from_sockaddr((struct sockaddr *)&at, len);
	cr_assert_eq(pthread_create(&thread, NULL, name_server, NULL), 0);
	run_on_workers(1, ask_server);
	shutdown(dns_fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(dns_fd);
}
