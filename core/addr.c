/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading, writing and comparing addresses. The C library does the syntax of IP addresses
 * itself; what is around it (ports, brackets, scopes, masks) is ours. */
#include "core/addr.h"

#include "core/base/text.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

/* inet_pton wants a C string; no address is longer than this. */
static bool to_c_string(slice s, char *buf, size_t size)
{
	if (s.len == 0 || s.len >= size || memchr(s.ptr, '\0', s.len))
		return false;
	memcpy(buf, s.ptr, s.len);
	buf[s.len] = '\0';
	return true;
}

static bool parse_scope(slice text, uint32_t *out)
{
	char name[IF_NAMESIZE];
	uint64_t number;

	if (text_parse_uint(text, UINT32_MAX, &number)) {
		*out = (uint32_t)number;
		return number != 0;
	}
	if (!to_c_string(text, name, sizeof(name)))
		return false;
	*out = if_nametoindex(name);
	return *out != 0;
}

static bool parse_ip6(slice text, struct addr *out)
{
	char buf[INET6_ADDRSTRLEN];
	struct addr addr = { .kind = ADDR_IP6 };
	ptrdiff_t percent = slice_find(text, '%');

	if (percent >= 0) {
		if (!parse_scope(slice_skip(text, (size_t)percent + 1), &addr.scope))
			return false;
		text = slice_sub(text, 0, (size_t)percent);
	}
	if (!to_c_string(text, buf, sizeof(buf)) || inet_pton(AF_INET6, buf, addr.ip) != 1)
		return false;
	*out = addr;
	return true;
}

bool addr_parse_ip(slice text, struct addr *out)
{
	char buf[INET_ADDRSTRLEN];
	struct addr addr = { .kind = ADDR_IP4 };

	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		return parse_ip6(slice_sub(text, 1, text.len - 1), out);
	if (slice_find(text, ':') >= 0)
		return parse_ip6(text, out);
	if (!to_c_string(text, buf, sizeof(buf)) || inet_pton(AF_INET, buf, addr.ip) != 1)
		return false;
	*out = addr;
	return true;
}

static bool parse_path(struct arena *a, slice text, struct addr *out)
{
	if (text.len == 0 || text.len >= sizeof(((struct sockaddr_un *)0)->sun_path) ||
		slice_find(text, '\0') >= 0)
		return false;
	*out = (struct addr){ .kind = ADDR_UNIX, .path = arena_str(a, text) };
	return true;
}

bool addr_parse(struct arena *a, slice text, struct addr *out)
{
	slice unix_prefix = SLICE("unix:");
	ptrdiff_t colon = slice_rfind(text, ':');
	struct addr addr;
	uint64_t port;

	if (slice_starts(text, unix_prefix))
		return parse_path(a, slice_skip(text, unix_prefix.len), out);
	if (slice_starts(text, SLICE("/")))
		return parse_path(a, text, out);
	if (colon < 0 || !text_parse_uint(slice_skip(text, (size_t)colon + 1), 65535, &port))
		return false;
	slice host = slice_sub(text, 0, (size_t)colon);

	/* A bare IPv6 address has no place for a port. */
	if (slice_find(host, ':') >= 0 && host.ptr[0] != '[')
		return false;
	if (!addr_parse_ip(host, &addr))
		return false;
	addr.port = (uint16_t)port;
	*out = addr;
	return true;
}

static bool bit_at(const struct addr *addr, unsigned bit)
{
	return addr->ip[bit / 8] >> (7 - bit % 8) & 1;
}

bool addr_parse_net(slice text, struct addr_net *out)
{
	struct addr_net net;
	ptrdiff_t mask = slice_find(text, '/');
	slice host = mask < 0 ? text : slice_sub(text, 0, (size_t)mask);
	uint64_t bits;

	if (!addr_parse_ip(host, &net.addr))
		return false;
	unsigned all = net.addr.kind == ADDR_IP4 ? 32 : 128;

	if (mask < 0)
		bits = all;
	else if (!text_parse_uint(slice_skip(text, (size_t)mask + 1), all, &bits))
		return false;
	for (unsigned i = (unsigned)bits; i < all; i++)
		if (bit_at(&net.addr, i))
			return false;
	net.bits = (unsigned)bits;
	*out = net;
	return true;
}

struct addr addr_ip4(uint32_t host_order, uint16_t port)
{
	struct addr addr = { .kind = ADDR_IP4, .port = port };
	uint32_t net = htonl(host_order);

	memcpy(addr.ip, &net, sizeof(net));
	return addr;
}

/* --- sockaddr --- */

static struct addr from_in6(const struct sockaddr_in6 *in6)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct addr addr = {
		.kind = ADDR_IP6, .port = ntohs(in6->sin6_port), .scope = in6->sin6_scope_id
	};

	if (memcmp(in6->sin6_addr.s6_addr, mapped, sizeof(mapped)) == 0) {
		addr.kind = ADDR_IP4;
		memcpy(addr.ip, in6->sin6_addr.s6_addr + 12, 4);
	} else {
		memcpy(addr.ip, in6->sin6_addr.s6_addr, 16);
	}
	return addr;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa, socklen_t len)
{
	struct addr addr = { 0 };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (len < sizeof(sa->sa_family))
		return addr;
	if (sa->sa_family == AF_UNIX) {
		addr.kind = ADDR_UNIX;
	} else if (sa->sa_family == AF_INET && len >= sizeof(in)) {
		memcpy(&in, sa, sizeof(in));
		addr = addr_ip4(ntohl(in.sin_addr.s_addr), ntohs(in.sin_port));
	} else if (sa->sa_family == AF_INET6 && len >= sizeof(in6)) {
		memcpy(&in6, sa, sizeof(in6));
		addr = from_in6(&in6);
	}
	return addr;
}

static bool to_unix(const struct addr *addr, struct sockaddr_storage *out, socklen_t *out_len)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t len = addr->path ? strlen(addr->path) : 0;

	if (len == 0 || len >= sizeof(un.sun_path))
		return false;
	memcpy(un.sun_path, addr->path, len);
	*out = (struct sockaddr_storage){ 0 };
	memcpy(out, &un, sizeof(un));
	*out_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return true;
}

static void to_in(const struct addr *addr, struct sockaddr_storage *out, socklen_t *out_len)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(addr->port) };

	memcpy(&in.sin_addr, addr->ip, 4);
	memcpy(out, &in, sizeof(in));
	*out_len = sizeof(in);
}

static void to_in6(const struct addr *addr, struct sockaddr_storage *out, socklen_t *out_len)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(addr->port),
		.sin6_scope_id = addr->scope };

	memcpy(&in6.sin6_addr, addr->ip, 16);
	memcpy(out, &in6, sizeof(in6));
	*out_len = sizeof(in6);
}

bool addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out, socklen_t *out_len)
{
	switch ((enum addr_kind)addr->kind) {
	case ADDR_NONE:
		return false;
	case ADDR_UNIX:
		return to_unix(addr, out, out_len);
	case ADDR_IP4:
		*out = (struct sockaddr_storage){ 0 };
		to_in(addr, out, out_len);
		return true;
	case ADDR_IP6:
		*out = (struct sockaddr_storage){ 0 };
		to_in6(addr, out, out_len);
		return true;
	}
	return false;
}

/* --- Comparing --- */

slice addr_bytes(const struct addr *addr)
{
	switch ((enum addr_kind)addr->kind) {
	case ADDR_IP4:
		return slice_of(addr->ip, 4);
	case ADDR_IP6:
		return slice_of(addr->ip, 16);
	case ADDR_UNIX:
		return slice_str(addr->path);
	case ADDR_NONE:
		break;
	}
	return slice_of(NULL, 0);
}

bool addr_same_host(const struct addr *a, const struct addr *b)
{
	return a->kind == b->kind && a->scope == b->scope && slice_eq(addr_bytes(a), addr_bytes(b));
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_same_host(a, b);
}

bool addr_in_net(const struct addr *addr, const struct addr_net *net)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (addr->kind != net->addr.kind || memcmp(addr->ip, net->addr.ip, whole) != 0)
		return false;
	return rest == 0 || (addr->ip[whole] ^ net->addr.ip[whole]) >> (8 - rest) == 0;
}

bool addr_is_loopback(const struct addr *addr)
{
	static const unsigned char one[16] = { [15] = 1 };

	switch ((enum addr_kind)addr->kind) {
	case ADDR_IP4:
		return addr->ip[0] == 127;
	case ADDR_IP6:
		return memcmp(addr->ip, one, sizeof(one)) == 0;
	case ADDR_UNIX:
		return true;
	case ADDR_NONE:
		break;
	}
	return false;
}

struct addr addr_client_key(const struct addr *addr)
{
	struct addr key = *addr;

	key.port = 0;
	key.scope = 0;
	if (key.kind == ADDR_IP6)
		memset(key.ip + 8, 0, 8);
	return key;
}

/* --- Writing --- */

void addr_put_ip(struct out *o, const struct addr *addr)
{
	char buf[INET6_ADDRSTRLEN];

	switch ((enum addr_kind)addr->kind) {
	case ADDR_IP4:
		out_str(o, inet_ntop(AF_INET, addr->ip, buf, sizeof(buf)));
		break;
	case ADDR_IP6:
		out_str(o, inet_ntop(AF_INET6, addr->ip, buf, sizeof(buf)));
		if (addr->scope) {
			out_char(o, '%');
			out_uint(o, addr->scope);
		}
		break;
	case ADDR_UNIX:
		out_str(o, addr->path ? addr->path : "unix");
		break;
	case ADDR_NONE:
		out_str(o, "none");
		break;
	}
}

void addr_put(struct out *o, const struct addr *addr)
{
	bool ip6 = addr->kind == ADDR_IP6;

	if (ip6)
		out_char(o, '[');
	else if (addr->kind == ADDR_UNIX && addr->path)
		out_str(o, "unix:");
	addr_put_ip(o, addr);
	if (ip6)
		out_char(o, ']');
	if (ip6 || addr->kind == ADDR_IP4) {
		out_char(o, ':');
		out_uint(o, addr->port);
	}
}

void addr_put_literal(struct out *o, const struct addr *addr)
{
	struct addr plain = *addr;

	plain.scope = 0;
	out_str(o, addr->kind == ADDR_IP6 ? "[IPv6:" : "[");
	addr_put_ip(o, &plain);
	out_char(o, ']');
}

const char *addr_text(const struct addr *addr, char buf[ADDR_TEXT])
{
	struct out o = out_fixed(buf, ADDR_TEXT - 1);

	addr_put(&o, addr);
	buf[o.len] = '\0';
	return buf;
}
