/* SPDX-License-Identifier: GPL-2.0-or-later */
/* addr.h - socket addresses as small values: IPv4, IPv6 and unix paths.
 *
 * 32 bytes, copied freely; only the path of a unix address is borrowed (from the
 * configuration, or an arena). sockaddr exists only at the system-call border. Parsers take
 * the whole slice and write nothing when they fail. Usable everywhere, from any thread. */
#ifndef CORE_ADDR_H
#define CORE_ADDR_H

#include "core/base/base.h"

#include <sys/socket.h>

enum addr_kind { ADDR_NONE, ADDR_IP4, ADDR_IP6, ADDR_UNIX };

struct addr {
	unsigned char ip[16]; /* IPv4 in the first four; the rest zero */
	const char *path;     /* ADDR_UNIX: borrowed; NULL: unnamed */
	uint32_t scope;       /* IPv6 link-local interface */
	uint16_t port;        /* host order */
	uint8_t kind;         /* enum addr_kind */
};

/* A network: an address and the number of leading bits that count. */
struct addr_net {
	struct addr addr;
	unsigned bits;
};

/* "192.0.2.1", "2001:db8::1", "fe80::1%2", "[2001:db8::1]"; no port. */
bool addr_parse_ip(slice text, struct addr *out) must_use;
/* "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path" ("/path" too); the path is copied into `a`. */
bool addr_parse(struct arena *a, slice text, struct addr *out) must_use;
/* "192.0.2.0/24", or a bare address (all bits). Stray bits beyond the mask are refused. */
bool addr_parse_net(slice text, struct addr_net *out) must_use;
struct addr addr_ip4(uint32_t host_order, uint16_t port);

/* IPv4-mapped IPv6 (::ffff:a.b.c.d) comes out as IPv4. The path of a unix address is not taken:
 * peers of unix sockets have none. */
struct addr addr_from_sockaddr(const struct sockaddr *sa, socklen_t len);
/* False for ADDR_NONE and a path that is too long. */
bool addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *out,
	socklen_t *out_len) must_use;

/* Address and port; paths by their text. */
bool addr_eq(const struct addr *a, const struct addr *b);
/* The address only. */
bool addr_same_host(const struct addr *a, const struct addr *b);
bool addr_in_net(const struct addr *addr, const struct addr_net *net);
bool addr_is_loopback(const struct addr *addr); /* a unix socket is */
/* What one client is counted by: an IPv4 address, or the /64 of an IPv6 one. Port 0. */
struct addr addr_client_key(const struct addr *addr);
/* The bytes that make the address, for hashing and keys: 4, 16 or the path. Points into *addr. */
slice addr_bytes(const struct addr *addr);

/* "192.0.2.1", "2001:db8::1" (RFC 5952), or the path ("unix" when unnamed). */
void addr_put_ip(struct out *o, const struct addr *addr);
/* With port, as addr_parse reads it. */
void addr_put(struct out *o, const struct addr *addr);
/* An address literal of mail: [192.0.2.1], [IPv6:2001:db8::1] (RFC 5321 4.1.3). */
void addr_put_literal(struct out *o, const struct addr *addr);
/* NUL-terminated, for logs: returns `buf`. */
enum { ADDR_TEXT = 128 };
const char *addr_text(const struct addr *addr, char buf[ADDR_TEXT]);

#endif
