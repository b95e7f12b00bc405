/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of the simulated world, in the place of DNS. */
#include "tests/sim/relay_town.h"

const struct host town_hosts[] = {
	{ "mx1.a.test", 1, HOST_GOOD },
	{ "mx2.a.test", 2, HOST_CHUNKS },
	{ "x.b.test", 3, HOST_PLAIN },
	{ "y.b.test", 4, HOST_CHUNKS },
	{ "c.test", 5, HOST_GOOD },
	{ "gone.d.test", 6, HOST_ABSENT },
	{ "mx.d.test", 7, HOST_CHUNKS },
	{ "mx.picky.test", 8, HOST_REJECTS },
	{ "mx.never.test", 9, HOST_DEFERS },
	{ "mx.sender.test", 10, HOST_GOOD },
	{ "mx.six.test", 11, HOST_SIX },
	{ "box.test", 12, HOST_LMTP },
};
const unsigned town_host_count = array_len(town_hosts);

struct exchanger {
	const char *domain, *host;
	unsigned char preference;
};
static const struct exchanger exchangers[] = {
	{ "a.test", "mx1.a.test", 10 },
	{ "a.test", "mx2.a.test", 20 },
	{ "b.test", "x.b.test", 10 },
	{ "b.test", "y.b.test", 10 },
	{ "d.test", "gone.d.test", 5 },
	{ "d.test", "mx.d.test", 10 },
	{ "picky.test", "mx.picky.test", 10 },
	{ "never.test", "mx.never.test", 10 },
	{ "sender.test", "mx.sender.test", 10 },
	{ "six.test", "mx.six.test", 10 },
	{ "six.test", "mx.d.test", 20 },
	{ "null.test", "", 0 },
	/* The same site as a.test. */
	{ "e.test", "mx1.a.test", 10 },
	{ "e.test", "mx2.a.test", 20 },
};

/* Ordinary ones stand there more than once. */
const char *const town_domains[] = { "a.test", "a.test", "b.test", "b.test", "c.test", "c.test",
	"d.test", "e.test", "six.test", "box.test", "box.test", "picky.test", "never.test",
	"null.test", "unknown.test", NULL };

bool town_refuses(const char *domain)
{
	return !strcmp(domain, "never.test") || !strcmp(domain, "null.test") ||
		!strcmp(domain, "unknown.test");
}

struct addr town_address(const struct host *host)
{
	struct addr six = { .kind = ADDR_IP6, .ip = { 0x20, 1, 0x0d, 0xb8 }, .port = 25 };

	six.ip[15] = host->last_octet;
	if (host->kind == HOST_SIX)
		return six;
	return addr_ip4(0xc0000200u + host->last_octet, host->kind == HOST_LMTP ? 24 : 25);
}

static void put_name(struct out *o, const char *name)
{
	slice rest = slice_str(name), label;

	while (rest.len && slice_cut(&rest, '.', &label)) {
		out_char(o, (char)label.len);
		out_slice(o, label);
	}
	out_char(o, 0);
}

static bool known(const char *name)
{
	for (unsigned i = 0; i < town_host_count; i++)
		if (!strcmp(town_hosts[i].name, name))
			return true;
	for (size_t i = 0; i < array_len(exchangers); i++)
		if (!strcmp(exchangers[i].domain, name))
			return true;
	return false;
}

static void answer_mx(const char *name, struct resolver_answer *out)
{
	for (size_t i = 0; i < array_len(exchangers); i++) {
		char bytes[64];
		struct out o = out_fixed(bytes, sizeof(bytes));

		if (strcmp(exchangers[i].domain, name) != 0)
			continue;
		out_char(&o, 0);
		out_char(&o, (char)exchangers[i].preference);
		put_name(&o, exchangers[i].host);
		resolver_answer_add(out, out_written(&o), 60);
	}
}

enum err town_resolve(void *arg, const char *name, int rrtype, struct resolver_answer *out)
{
	(void)arg;
	if (town_bad(50))
		return ERR_DNS_TEMP;
	if (!known(name))
		return ERR_DNS_NXDOMAIN;
	if (rrtype == RESOLVER_MX)
		answer_mx(name, out);
	for (unsigned i = 0; i < town_host_count; i++) {
		struct addr at = town_address(&town_hosts[i]);
		int type = at.kind == ADDR_IP6 ? RESOLVER_AAAA : RESOLVER_A;

		if (rrtype == type && !strcmp(town_hosts[i].name, name))
			resolver_answer_add(out, addr_bytes(&at), 60);
	}
	return OK; /* nothing added: the name exists, the type does not */
}
