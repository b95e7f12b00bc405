/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PROXY headers: what each version allows, in every division. */
#include "core/proxy.h"

#include "core/base/codec.h"
#include "tests/support/feed.h"

#include <criterion/criterion.h>

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct proxy_header h;
	size_t used;

	(void)state;
	(void)last;
	switch (proxy_parse(in, &h, &used)) {
	case STEP_MORE:
		return 0;
	case STEP_DONE:
		out_printf(o, "%s%s ", h.local ? "local" : "remote", h.tls ? " tls" : "");
		if (h.source.kind == ADDR_UNIX)
			out_str(o, "unix");
		else if (h.source.kind != ADDR_NONE) {
			addr_put(o, &h.source);
			out_str(o, " > ");
			addr_put(o, &h.dest);
		}
		out_printf(o, " [%.*s] rest %.*s", SLICE_ARG(h.authority),
			SLICE_ARG(slice_skip(in, used)));
		return FEED_STOP;
	case STEP_TOO_LONG:
		out_str(o, "too long");
		return FEED_STOP;
	default:
		out_str(o, "bad");
		return FEED_STOP;
	}
}

/* The rest depends on the division: feed only headers, and look at the rest once. */
static const struct feed_parser parser = { .name = "proxy", .take = take };

#define LONG_V1                                                                                    \
	"PROXY UNKNOWN "                                                                           \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
	"xxxxxxxxxxx"

static const struct {
	const char *why, *text, *result;
} v1[] = {
	{ "IPv4", "PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n",
		"remote 192.0.2.1:56324 > 198.51.100.2:25 [] rest " },
	{ "IPv6", "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
		"remote [2001:db8::1]:1 > [::1]:65535 [] rest " },
	{ "unknown", "PROXY UNKNOWN\r\n", "local  [] rest " },
	{ "unknown with more", "PROXY UNKNOWN ffff::1 x 1 y\r\n", "local  [] rest " },
	{ "port 0 is a number", "PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n",
		"remote 1.2.3.4:0 > 5.6.7.8:0 [] rest " },
	{ "bare LF", "PROXY UNKNOWN\n", "bad" },
	{ "CR inside", "PROXY UNK\rNOWN\r\n", "bad" },
	{ "two spaces", "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "bad" },
	{ "trailing space", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", "bad" },
	{ "too few", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "bad" },
	{ "too many", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", "bad" },
	{ "family and address differ", "PROXY TCP4 ::1 ::2 1 2\r\n", "bad" },
	{ "mapped for IPv6's form", "PROXY TCP6 1.2.3.4 ::2 1 2\r\n", "bad" },
	{ "leading zero", "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "bad" },
	{ "port too large", "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "bad" },
	{ "brackets", "PROXY TCP6 [::1] ::2 1 2\r\n", "bad" },
	{ "scope", "PROXY TCP6 fe80::1%1 ::2 1 2\r\n", "bad" },
	{ "another family", "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "bad" },
	{ "something else", "EHLO x\r\n", "bad" },
	{ "TLS", "\x16\x03\x01", "bad" },
	{ "over long", LONG_V1, "too long" },
	{ "not finished", "PROXY TCP4 1.2.3.4", "" },
	{ "the signature begins", "\r\n\r\n", "" },
};

static void check(const char *why, slice bytes, const char *result)
{
	struct out seen = out_heap(4096);

	cr_expect(feed_all_ways(&parser, NULL, bytes, &seen), "%s", why);
	cr_expect(slice_eq(out_written(&seen), slice_str(result)), "%s: %.*s", why,
		SLICE_ARG(out_written(&seen)));
	out_heap_done(&seen);
}

Test(proxy, version_1)
{
	for (size_t i = 0; i < array_len(v1); i++)
		check(v1[i].why, slice_str(v1[i].text), v1[i].result);
}

Test(proxy, leaves_what_follows)
{
	slice in = SLICE("PROXY UNKNOWN\r\nEHLO x\r\n");
	struct proxy_header h;
	size_t used;

	cr_assert_eq(proxy_parse(in, &h, &used), STEP_DONE);
	cr_expect_eq(used, 15);
}

#define SIG "0d0a0d0a000d0a515549540a"
#define V4         \
	"c0000201" \
	"c6336402" \
	"dc04"     \
	"0019"
#define V6                                 \
	"20010db8000000000000000000000001" \
	"00000000000000000000000000000001" \
	"dc04"                             \
	"0019"

/* Version 2 in hex, behind the signature. */
static const struct {
	const char *why, *hex, *result;
} v2[] = {
	{ "IPv4", SIG "2111000c" V4, "remote 192.0.2.1:56324 > 198.51.100.2:25 [] rest " },
	{ "IPv6", SIG "21210024" V6, "remote [2001:db8::1]:56324 > [::1]:25 [] rest " },
	{ "local", SIG "20000000", "local  [] rest " },
	{ "local with addresses", SIG "2011000c" V4, "local  [] rest " },
	{ "unspec",
		SIG "21000003"
		    "aabbcc",
		"local  [] rest " },
	{ "TLVs skipped",
		SIG "21110013" V4 "ee0004"
		    "01020304",
		"remote 192.0.2.1:56324 > 198.51.100.2:25 [] rest " },
	{ "authority",
		SIG "21110012" V4 "020003"
		    "612e62",
		"remote 192.0.2.1:56324 > 198.51.100.2:25 [a.b] rest " },
	{ "ssl",
		SIG "21110014" V4 "200005"
		    "0100000000",
		"remote tls 192.0.2.1:56324 > 198.51.100.2:25 [] rest " },
	{ "TLV over the end",
		SIG "21110011" V4 "ee0004"
		    "0102",
		"bad" },
	{ "TLV head cut", SIG "2111000e" V4 "ee00", "bad" },
	{ "addresses cut",
		SIG "2111000b"
		    "c0000201c6336402dc0400",
		"bad" },
	{ "version 1 in version 2", SIG "1111000c" V4, "bad" },
	{ "unknown command", SIG "2211000c" V4, "bad" },
	{ "unknown family", SIG "2141000c" V4, "bad" },
	{ "unknown transport", SIG "2113000c" V4, "bad" },
	{ "too long", SIG "2111ffff" V4, "too long" },
	{ "wrong checksum",
		SIG "21110013" V4 "030004"
		    "00000000",
		"bad" },
	{ "unfinished",
		SIG "2111000c"
		    "c000",
		"" },
};

static slice unhex(const char *hex, char *buf)
{
	size_t len;

	cr_assert(codec_get_hex(slice_str(hex), buf, &len), "%s", hex);
	return slice_of(buf, len);
}

Test(proxy, version_2)
{
	for (size_t i = 0; i < array_len(v2); i++) {
		char buf[512];

		check(v2[i].why, unhex(v2[i].hex, buf), v2[i].result);
	}
}

Test(proxy, version_2_unix)
{
	char buf[512] = { 0 };
	slice head = unhex(SIG "213100d8", buf);

	check("unix", slice_of(buf, head.len + 216), "remote unix [] rest ");
}

Test(proxy, version_2_checksum)
{
	char buf[512];
	slice all = unhex(SIG "21110013" V4 "030004"
			      "00000000",
		buf);
	uint32_t crc = codec_crc32c(0, all.ptr, all.len);

	for (int i = 0; i < 4; i++)
		buf[all.len - 4 + (size_t)i] = (char)(crc >> (24 - 8 * i));
	check("right checksum", all, "remote 192.0.2.1:56324 > 198.51.100.2:25 [] rest ");
}
