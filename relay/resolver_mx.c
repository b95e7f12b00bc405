/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resolver_mx.c - who takes a domain's mail, and at which addresses (RFC 5321 5).
 *
 * Answers come from strangers: names in them are checked before use, the number of hosts and
 * addresses kept is bounded, and names that can only mean this machine are not believed. */
#include "relay/resolver_int.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "proto/smtp/idn.h"

enum { HOSTS_MAX = 64, ADDRS_MAX = 32 };

/* An uncompressed name in wire form; false when it is none, or the root. */
static bool name_of_wire(slice wire, struct arena *a, slice *out)
{
	char text[256];
	size_t len = 0;

	while (wire.len > 0 && wire.ptr[0] != 0) {
		size_t label = (unsigned char)wire.ptr[0];

		if (label > 63 || wire.len < label + 1 || len + label + 1 > 254)
			return false;
		if (len > 0)
			text[len++] = '.';
		memcpy(text + len, wire.ptr + 1, label);
		len += label;
		wire = slice_skip(wire, label + 1);
	}
	text_lower_all(text, len);
	if (len == 0 || !text_is_domain(slice_of(text, len)))
		return false;
	*out = arena_dup(a, slice_of(text, len));
	return true;
}

/* RFC 6761 6.3, 6.4: nobody's mail is there. */
static bool is_trap(slice name)
{
	return slice_eq_nocase(name, SLICE("localhost")) ||
		slice_ends_nocase(name, SLICE(".localhost")) ||
		slice_eq_nocase(name, SLICE("invalid")) ||
		slice_ends_nocase(name, SLICE(".invalid"));
}

/* "192.0.2.1", "2001:db8::1", also "[192.0.2.1]" and "[IPv6:2001:db8::1]". */
static bool parse_literal(slice text, struct addr *out)
{
	if (text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		text = slice_sub(text, 1, text.len - 1);
	if (slice_starts_nocase(text, SLICE("IPv6:")))
		text = slice_skip(text, 5);
	return addr_parse_ip(text, out);
}

static int by_preference(const void *left, const void *right)
{
	const struct resolver_mx *x = left, *y = right;

	if (x->preference != y->preference)
		return x->preference < y->preference ? -1 : 1;
	return slice_cmp(x->host, y->host);
}

static void add_host(struct resolver_mx_set *set, slice rdata, struct arena *a)
{
	uint16_t preference;
	slice host;

	if (set->count == HOSTS_MAX || !take_u16(&rdata, &preference) ||
		!name_of_wire(rdata, a, &host) || is_trap(host))
		return;
	set->hosts[set->count++] = (struct resolver_mx){ .host = host, .preference = preference };
}

/* RFC 7505 3: one record, preference 0, host ".". A set with nothing usable is treated alike. */
static enum err set_of(const struct resolver_rdata *rdata, struct arena *a,
	struct resolver_mx_set *out)
{
	struct resolver_mx_set set = { .ttl_s = rdata->ttl_s };

	set.hosts = arena_array(a, struct resolver_mx, MIN(rdata->count, (size_t)HOSTS_MAX));
	for (size_t i = 0; i < rdata->count; i++)
		add_host(&set, rdata->items[i], a);
	if (set.count == 0)
		return ERR_DENIED;
	qsort(set.hosts, set.count, sizeof(set.hosts[0]), by_preference);
	*out = set;
	return OK;
}

static void only_host(slice host, uint32_t ttl_s, struct arena *a, struct resolver_mx_set *out)
{
	*out = (struct resolver_mx_set){ .count = 1, .ttl_s = ttl_s, .implicit = true };
	out->hosts = arena_new(a, struct resolver_mx);
	out->hosts[0].host = host;
}

enum { LITERAL_TTL_S = 3600, IMPLICIT_TTL_S = 300 };

enum err resolver_mx(struct resolver *r, slice domain, struct arena *a, struct resolver_mx_set *out)
{
	struct resolver_rdata rdata = { 0 };
	struct addr literal;
	slice name;

	if (domain.len > 0 && domain.ptr[0] == '[') {
		if (!parse_literal(domain, &literal))
			return ERR_INVALID;
		only_host(arena_dup(a, domain), LITERAL_TTL_S, a, out);
		return OK;
	}
	if (idn_to_ascii(a, domain, &name) || !text_is_domain(name))
		return ERR_INVALID;
	if (is_trap(name))
		return ERR_DNS_NXDOMAIN;
	enum err err = resolver_query(r, name, RESOLVER_MX, a, &rdata);

	if (!err)
		return set_of(&rdata, a, out);
	if (err != ERR_NOT_FOUND)
		return err;
	only_host(name, IMPLICIT_TTL_S, a, out);
	return OK;
}

bool resolver_mx_drop_self(struct resolver_mx_set *set, bool (*self)(void *arg, slice host),
	void *arg)
{
	for (size_t i = 0; i < set->count; i++) {
		if (!self(arg, set->hosts[i].host))
			continue;
		uint16_t ours = set->hosts[i].preference;
		size_t kept = 0;

		/* Equal ones go too: they would hand it back to us. */
		while (kept < set->count && set->hosts[kept].preference < ours)
			kept++;
		set->count = kept;
		break;
	}
	return set->count > 0;
}

static bool addr_of(slice rdata, bool v6, struct addr *out)
{
	if (rdata.len != (v6 ? 16u : 4u))
		return false;
	*out = (struct addr){ .kind = v6 ? ADDR_IP6 : ADDR_IP4 };
	memcpy(out->ip, rdata.ptr, rdata.len);
	return true;
}

/* Turn by turn, so that a broken family costs one time-out and not all of them. */
static void interleave(const struct resolver_rdata *six, const struct resolver_rdata *four,
	struct arena *a, struct resolver_addrs *out)
{
	size_t longest = MAX(six->count, four->count);

	out->addrs = arena_array(a, struct addr, six->count + four->count + 1);
	out->count = 0;
	for (size_t i = 0; i < longest && out->count + 2 <= ADDRS_MAX; i++) {
		if (i < six->count && addr_of(six->items[i], true, &out->addrs[out->count]))
			out->count++;
		if (i < four->count && addr_of(four->items[i], false, &out->addrs[out->count]))
			out->count++;
	}
	out->ttl_s = six->count && four->count ? MIN(six->ttl_s, four->ttl_s) :
		six->count                     ? six->ttl_s :
						 four->ttl_s;
}

/* What two failed questions say together: trouble anywhere means trouble, not absence. */
static enum err worse(enum err six, enum err four)
{
	if (six == ERR_DNS_NXDOMAIN || four == ERR_DNS_NXDOMAIN)
		return ERR_DNS_NXDOMAIN;
	if (six != ERR_NOT_FOUND)
		return six;
	return four;
}

static enum err literal_addr(const struct addr *literal, struct arena *a,
	struct resolver_addrs *out)
{
	out->addrs = arena_new(a, struct addr);
	out->addrs[0] = *literal;
	out->count = 1;
	out->ttl_s = LITERAL_TTL_S;
	return OK;
}

enum err resolver_addrs(struct resolver *r, slice host, struct arena *a, struct resolver_addrs *out)
{
	const struct resolver_options *o = resolver_options_of(r);
	struct question ask6 = { .arena = a }, ask4 = { .arena = a };
	struct resolver_rdata six = { 0 }, four = { 0 };
	enum err err6 = ERR_NOT_FOUND, err4 = ERR_NOT_FOUND;
	struct addr literal;
	slice name;

	if (parse_literal(host, &literal))
		return literal_addr(&literal, a, out);
	if (idn_to_ascii(a, host, &name))
		return ERR_INVALID;
	if (o->ipv6)
		resolver_ask(r, name, RESOLVER_AAAA, &ask6);
	if (o->ipv4)
		resolver_ask(r, name, RESOLVER_A, &ask4);
	if (o->ipv6)
		err6 = resolver_await(&ask6, &six);
	if (o->ipv4)
		err4 = resolver_await(&ask4, &four);
	interleave(&six, &four, a, out);
	if (out->count > 0)
		return OK;
	return !err6 || !err4 ? ERR_NOT_FOUND : worse(err6, err4);
}
