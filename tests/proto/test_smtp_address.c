/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and paths of RFC 5321 4.1.2, internationalised domains, and xtext. */
#include "core/base/text.h"
#include "proto/smtp/address.h"
#include "proto/smtp/idn.h"
#include "proto/smtp/xtext.h"

#include <criterion/criterion.h>

static struct arena arena;

static const struct {
	const char *in, *local, *domain, *out; /* out: as rendered, NULL: as it came */
	bool utf8, literal;
} good[] = {
	{ .in = "bob@example.org", .local = "bob", .domain = "example.org" },
	{ .in = "\"bob\"@example.org",
		.local = "bob",
		.domain = "example.org",
		.out = "bob@example.org" },
	{ .in = "\"a b\"@x", .local = "a b", .domain = "x" },
	{ .in = "\"a\\\"b\\\\c\"@x", .local = "a\"b\\c", .domain = "x" },
	{ .in = "\"a\\bc\"@x", .local = "abc", .domain = "x", .out = "abc@x" },
	{ .in = "\"\"@x", .local = "", .domain = "x" },
	{ .in = "\"a>b@c\"@x", .local = "a>b@c", .domain = "x" },
	{ .in = "\"a..b\"@x", .local = "a..b", .domain = "x" },
	{ .in = "a.b+c/d=e@x", .local = "a.b+c/d=e", .domain = "x" },
	{ .in = "a@[192.0.2.1]", .local = "a", .domain = "192.0.2.1", .literal = true },
	{ .in = "a@[IPv6:2001:db8::1]",
		.local = "a",
		.domain = "IPv6:2001:db8::1",
		.literal = true },
	{ .in = "a@[tag:content]", .local = "a", .domain = "tag:content", .literal = true },
	{ .in = "b\xc3\xbc@x", .local = "b\xc3\xbc", .domain = "x", .utf8 = true },
	{ .in = "b@b\xc3\xbc.example", .local = "b", .domain = "b\xc3\xbc.example", .utf8 = true },
	{ .in = "bounce+0123456789012345678901234567890123456789012345678901234567890123456789@x",
		.local = "bounce+"
			 "0123456789012345678901234567890123456789012345678901234567890123456789",
		.domain = "x" },
};

static const char *const bad[] = { "", "bob", "@x", "bob@", "a b@x", ".a@x", "a.@x", "a..b@x",
	"a@x.", "a@-x", "a@x y", "a@[192.0.2]", "a@[192.0.2.1", "a@[IPv6:zz]", "a@[]", "a@[x]",
	"\"a@x", "\"a\"b@x", "\"a\nb\"@x", "\"a\\\"@x", "a@b@c", "a\xff@x", "<a@x>", "a@x>",
	"a,b@x", "a@[IPv6:2001:db8::1%eth0]", "a@[t:a]b]" };

Test(smtp_address, mailboxes)
{
	for (size_t i = 0; i < array_len(good); i++) {
		struct mail_addr addr, again;
		const char *want = good[i].out ? good[i].out : good[i].in;

		cr_assert(mail_addr_parse(&arena, slice_str(good[i].in), &addr), "%s", good[i].in);
		cr_assert(slice_eq(addr.local, slice_str(good[i].local)), "%s", good[i].in);
		cr_assert(slice_eq(addr.domain, slice_str(good[i].domain)), "%s", good[i].in);
		cr_assert(addr.utf8 == good[i].utf8 && addr.literal == good[i].literal);
		slice text = mail_addr_text(&arena, &addr);

		cr_assert(slice_eq(text, slice_str(want)), "%s: %.*s", good[i].in, SLICE_ARG(text));
		cr_assert(mail_addr_parse(&arena, text, &again));
		cr_assert(slice_eq(addr.local, again.local) && slice_eq(addr.domain, again.domain));
	}
	arena_done(&arena);
}

Test(smtp_address, refused)
{
	struct mail_addr addr;

	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(mail_addr_parse(&arena, slice_str(bad[i]), &addr), "%s", bad[i]);
	arena_done(&arena);
}

static const struct {
	const char *in, *out, *rest;
	unsigned kinds;
} paths[] = {
	{ "<a@x> SIZE=1", "<a@x>", " SIZE=1", 0 },
	{ "<@one,@two.example:a@x>", "<a@x>", "", 0 },
	{ "<> RET=HDRS", "<>", " RET=HDRS", MAIL_PATH_NULL },
	{ "<PostMaster>", "<PostMaster>", "", MAIL_PATH_POSTMASTER },
	{ "<\"a b>\"@x>", "<\"a b>\"@x>", "", 0 },
	{ "a@x SIZE=1", "<a@x>", " SIZE=1", 0 },
	{ "<a@[192.0.2.1]>", "<a@[192.0.2.1]>", "", 0 },
};

Test(smtp_address, paths)
{
	for (size_t i = 0; i < array_len(paths); i++) {
		slice in = slice_str(paths[i].in);
		struct mail_addr addr;
		char buf[300];
		struct out o = out_fixed(buf, sizeof(buf));

		cr_assert(mail_path_parse(&arena, &in, paths[i].kinds, &addr), "%s", paths[i].in);
		cr_assert(slice_eq(in, slice_str(paths[i].rest)), "%s", paths[i].in);
		mail_path_put(&o, &addr);
		if (i != 3)
			cr_assert(slice_eq(out_written(&o), slice_str(paths[i].out)), "%s",
				paths[i].in);
		else
			cr_assert(slice_eq(addr.local, SLICE("PostMaster")) && !addr.domain.len);
	}
	arena_done(&arena);
}

Test(smtp_address, bad_paths_leave_the_input)
{
	static const char *const rows[] = { "<>", "<postmaster>", "<a@x", "<a@x>x", "<@one:>",
		"<@one a@x>", "<a@x>>", "< a@x>", "<a@x >", "" };
	struct mail_addr addr;

	for (size_t i = 0; i < array_len(rows); i++) {
		slice in = slice_str(rows[i]);

		cr_assert_not(mail_path_parse(&arena, &in, MAIL_PATH_PLAIN, &addr), "%s", rows[i]);
		cr_assert(slice_eq(in, slice_str(rows[i])));
	}
	arena_done(&arena);
}

Test(smtp_address, a_path_over_256_bytes_is_refused)
{
	char text[300];
	struct mail_addr addr;

	memset(text, 'a', sizeof(text));
	text[252] = '@';
	cr_assert(mail_addr_parse(&arena, slice_of(text, 254), &addr));
	cr_assert_not(mail_addr_parse(&arena, slice_of(text, 255), &addr));
	arena_done(&arena);
}

Test(smtp_address, idn)
{
	static const struct {
		const char *unicode, *ascii;
	} rows[] = { { "b\xc3\xbc"
		       "cher.example",
			     "xn--bcher-kva.example" },
		{ "fa\xc3\x9f.de", "xn--fa-hia.de" }, { "example.org", "example.org" } };
	slice out;

	for (size_t i = 0; i < array_len(rows); i++) {
		cr_assert_eq(idn_to_ascii(&arena, slice_str(rows[i].unicode), &out), OK);
		cr_assert(slice_eq(out, slice_str(rows[i].ascii)), "%.*s", SLICE_ARG(out));
	}
	cr_assert_eq(idn_to_ascii(&arena, SLICE("Example.ORG"), &out), OK);
	cr_assert(slice_eq(out, SLICE("example.org")));
	cr_assert_eq(idn_to_ascii(&arena, SLICE("a..b"), &out), ERR_INVALID);
	cr_assert_eq(idn_to_ascii(&arena, SLICE("\xe2\x80\x8b.x"), &out), ERR_INVALID);
	arena_done(&arena);
}

Test(smtp_address, xtext)
{
	slice out;
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(xtext_get(&arena, SLICE("a+3Db+2Bc"), &out) && slice_eq(out, SLICE("a=b+c")));
	xtext_put(&o, SLICE("a=b+c \xff"));
	cr_assert(slice_eq(out_written(&o), SLICE("a+3Db+2Bc+20+FF")));
	static const char *const wrong[] = { "a=b", "+", "+3", "+3G", "a b", "\x80" };

	for (size_t i = 0; i < array_len(wrong); i++)
		cr_assert_not(xtext_get(&arena, slice_str(wrong[i]), &out), "%s", wrong[i]);
	arena_done(&arena);
}

/* RFC 6533 3: the same address in its three spellings. */
Test(smtp_address, utf8_xtext)
{
	slice out, want = SLICE("\xe2\x82\xac+=\\@x");
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(xtext_get_utf8(&arena, SLICE("\\x{20AC}\\x{2B}\\x{3D}\\x{5C}@x"), &out));
	cr_assert(slice_eq(out, want));
	cr_assert(xtext_get_utf8(&arena, SLICE("\xe2\x82\xac\\x{2B}\\x{3D}\\x{5C}@x"), &out));
	cr_assert(slice_eq(out, want));
	xtext_put_utf8(&o, want, false);
	cr_assert(slice_eq(out_written(&o), SLICE("\\x{20AC}\\x{2B}\\x{3D}\\x{5C}@x")));
	o.len = 0;
	xtext_put_utf8(&o, want, true);
	cr_assert(slice_eq(out_written(&o), SLICE("\xe2\x82\xac\\x{2B}\\x{3D}\\x{5C}@x")));
	static const char *const wrong[] = { "+", "=", "\\", "\\x{", "\\x{}", "\\x{0}", "\\x{D800}",
		"\\x{110000}", "\\x{1234567}", "\\x{zz}", "\xff", "a b" };

	for (size_t i = 0; i < array_len(wrong); i++)
		cr_assert_not(xtext_get_utf8(&arena, slice_str(wrong[i]), &out), "%s", wrong[i]);
	arena_done(&arena);
}
