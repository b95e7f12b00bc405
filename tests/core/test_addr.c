/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses: what is read is written back the same, and nothing else is read. */
#include "core/addr.h"

#include <criterion/criterion.h>

static struct arena a;

static void cleanup(void)
{
	arena_done(&a);
}

Test(addr, round_trip, .fini = cleanup)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "192.0.2.1:25", "192.0.2.1:25" },
		{ "0.0.0.0:0", "0.0.0.0:0" },
		{ "[2001:DB8:0::1]:65535", "[2001:db8::1]:65535" },
		{ "[::]:587", "[::]:587" },
		{ "[fe80::1%2]:25", "[fe80::1%2]:25" },
		{ "unix:/run/x.sock", "unix:/run/x.sock" },
		{ "/run/x.sock", "unix:/run/x.sock" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct addr addr, again;
		struct sockaddr_storage sa;
		socklen_t len;
		char text[ADDR_TEXT];

		cr_assert(addr_parse(&a, slice_str(rows[i].in), &addr), "%s", rows[i].in);
		cr_assert_str_eq(addr_text(&addr, text), rows[i].out);
		cr_assert(addr_parse(&a, slice_str(text), &again));
		cr_assert(addr_eq(&addr, &again));
		cr_assert(addr_to_sockaddr(&addr, &sa, &len));
		again = addr_from_sockaddr((struct sockaddr *)&sa, len);
		cr_assert(addr.kind == ADDR_UNIX || addr_eq(&addr, &again), "%s", rows[i].in);
	}
}

Test(addr, nothing_else_is_read, .fini = cleanup)
{
	static const char *const rows[] = { "", ":25", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536",
		"192.0.2.1:+5", "192.0.2.256:25", "192.0.2:25", "2001:db8::1:25", "[2001:db8::1:25",
		"[]:25", "[::1]25", "[fe80::1%]:25", "localhost:25", "unix:", "[192.0.2.1:25",
		" 192.0.2.1:25", "192.0.2.1:25 " };

	for (size_t i = 0; i < array_len(rows); i++) {
		struct addr addr = { .port = 7 };

		cr_assert_not(addr_parse(&a, slice_str(rows[i]), &addr), "%s", rows[i]);
		cr_assert_eq(addr.port, 7);
	}
}

Test(addr, networks)
{
	static const struct {
		const char *net, *addr;
		bool in;
	} rows[] = {
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "::1", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "::/0", "2001:db8::1", true },
	};
	struct addr_net net;

	for (size_t i = 0; i < array_len(rows); i++) {
		struct addr addr;

		cr_assert(addr_parse_net(slice_str(rows[i].net), &net));
		cr_assert(addr_parse_ip(slice_str(rows[i].addr), &addr));
		cr_assert_eq(addr_in_net(&addr, &net), rows[i].in, "%s", rows[i].addr);
	}
	cr_assert_not(addr_parse_net(SLICE("192.0.2.1/24"), &net), "stray bits");
	cr_assert_not(addr_parse_net(SLICE("192.0.2.0/33"), &net));
	cr_assert_not(addr_parse_net(SLICE("::/129"), &net));
}

Test(addr, literals_and_kinds)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));
	struct addr four = addr_ip4(0x7f000001, 25), six, mapped;

	cr_assert(addr_parse_ip(SLICE("2001:db8::1"), &six));
	addr_put_literal(&o, &four);
	addr_put_literal(&o, &six);
	cr_assert(slice_eq(out_written(&o), SLICE("[127.0.0.1][IPv6:2001:db8::1]")));
	cr_assert(addr_is_loopback(&four) && !addr_is_loopback(&six));

	struct addr key = addr_client_key(&six), other = six;

	other.ip[15] = 99;
	other = addr_client_key(&other);
	cr_assert(addr_eq(&key, &other));

	/* ::ffff:127.0.0.1 is the IPv4 address it stands for. */
	struct sockaddr_storage sa;
	socklen_t len;

	cr_assert(addr_parse_ip(SLICE("::ffff:127.0.0.1"), &mapped));
	mapped.port = 25;
	cr_assert(addr_to_sockaddr(&mapped, &sa, &len));
	mapped = addr_from_sockaddr((struct sockaddr *)&sa, len);
	cr_assert(addr_eq(&mapped, &four));
}
