/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_addrlist.c - the addresses of a field. */
#include "proto/mime/addrlist.h"

#include <criterion/criterion.h>

/* Rendered as name|local|domain|group; one after the other, "BAD" at the end. */
static const struct {
	const char *why, *in, *want;
} rows[] = {
	{ "bare", "a@b.example", "|a|b.example|;" },
	{ "angle", "<a@b.example>", "|a|b.example|;" },
	{ "name", "Joe Q. Public <joe@x.example>", "Joe Q. Public|joe|x.example|;" },
	{ "quoted name", "\"Joe, \\\"Q\\\"\" <joe@x>", "Joe, \"Q\"|joe|x|;" },
	{ "name of two quoted words", "\"A\" B  \"C\" <a@x>", "A B C|a|x|;" },
	{ "list", "a@x, b@y,c@z", "|a|x|;|b|y|;|c|z|;" },
	{ "empty elements", ",, a@x,,", "|a|x|;" },
	{ "comment name", "a@x (Joe (the) Man)", "Joe (the) Man|a|x|;" },
	{ "comments everywhere", "(1) a(2)@(3)x(4)", "4|a|x|;" },
	{ "folded", "Joe\r\n Public\r\n\t<a@x>", "Joe Public|a|x|;" },
	{ "quoted local part", "\"a b\"@x", "|a b|x|;" },
	{ "obsolete blanks at dots", "a . b @ x . y", "|a.b|x.y|;" },
	{ "obsolete route", "<@r1,@r2:a@x>", "|a|x|;" },
	{ "literal", "a@[192.0.2.1]", "|a|[192.0.2.1]|;" },
	{ "literal in angle", "N <a@[IPv6:2001:db8::1]>", "N|a|[IPv6:2001:db8::1]|;" },
	{ "group", "Team: a@x, B <b@y>; c@z", "|a|x|Team;B|b|y|Team;|c|z|;" },
	{ "empty group", "Undisclosed recipients:;", "" },
	{ "group without end", "T: a@x", "|a|x|T;" },
	{ "no domain", "root", "|root||;" },
	{ "UTF-8", "J\303\266 <j\303\266@\303\266.example>",
		"J\303\266|j\303\266|\303\266.example|;" },
	{ "encoded word stays", "=?utf-8?q?J?= <a@x>", "=?utf-8?q?J?=|a|x|;" },
	{ "empty", "", "" },
	{ "only blanks", " \r\n ", "" },
	{ "Outlook's semicolon", "a@x; b@y", "|a|x|;|b|y|;BAD" },
	{ "two words", "a b", "BAD" },
	{ "no local part", "@x", "BAD" },
	{ "no local part in angle", "<@x>", "BAD" },
	{ "empty angle", "<>", "BAD" },
	{ "domain missing", "a@, b@y", "|b|y|;BAD" },
	{ "junk behind", "<a@x> junk, b@y", "|b|y|;BAD" },
	{ "open quote", "\"a <b@x>", "BAD" },
	{ "open comment", "a@x (b", "BAD" },
	{ "open literal", "a@[1", "BAD" },
	{ "open angle", "<a@x", "BAD" },
	{ "two at", "a@b@c", "BAD" },
	{ "quoted domain", "a@\"b\"", "BAD" },
	{ "control byte", "a\001@x", "BAD" },
	{ "address as name", "a@x <b@y>", "BAD" },
};

static void show_with(slice value, bool salvage, struct arena *a, struct out *o)
{
	struct addrlist l = { .rest = value, .arena = a, .salvage = salvage };
	struct addrlist_item i;

	while (addrlist_next(&l, &i))
		out_printf(o, "%.*s|%.*s|%.*s|%.*s;", SLICE_ARG(i.name), SLICE_ARG(i.local),
			SLICE_ARG(i.domain), SLICE_ARG(i.group));
	if (l.bad)
		out_str(o, "BAD");
}

static void show(slice value, struct arena *a, struct out *o)
{
	show_with(value, false, a, o);
}

Test(mime_addrlist, addresses_by_table)
{
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[256];
		struct out o = out_fixed(buf, sizeof(buf));

		show(slice_str(rows[i].in), &a, &o);
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
	arena_done(&a);
}

/* For display, an address in angles counts whatever stands behind it. */
Test(mime_addrlist, salvage_keeps_the_first)
{
	static const struct {
		const char *why, *in, *strict, *salvaged;
	} cases[] = {
		{ "no comma", "A <a@x> B <b@y>", "BAD", "A|a|x|;BAD" },
		{ "and a good one behind", "A <a@x> B <b@y>, c@z", "|c|z|;BAD",
			"A|a|x|;|c|z|;BAD" },
		{ "angle at angle", "<a@x><b@y>", "BAD", "|a|x|;BAD" },
		{ "junk behind", "<a@x> junk, b@y", "|b|y|;BAD", "|a|x|;|b|y|;BAD" },
		{ "open quote behind", "<a@x> \"b, c@z", "BAD", "|a|x|;BAD" },
		{ "open angle", "A <a@x", "BAD", "BAD" },
		{ "junk in the angle", "<a b@x> c", "BAD", "BAD" },
		{ "no angle", "a@x b@y", "BAD", "BAD" },
		{ "two at", "a@b@c", "BAD", "BAD" },
		{ "address as name", "a@x <b@y>, c@z", "|c|z|;BAD", "a@x|b|y|;|c|z|;BAD" },
		{ "words and an address as name", "\"q, r\" a@x (c) <b@y>", "BAD",
			"q, r a@x|b|y|;BAD" },
		{ "two addresses as name", "a@x b@y <c@z> d", "BAD", "a@x b@y|c|z|;BAD" },
		{ "literal as name, no blank", "a@[1.2.3.4]<b@y>", "BAD", "a@[1.2.3.4]|b|y|;BAD" },
		{ "in a group", "g: a@x <b@y>;", "BAD", "a@x|b|y|g;BAD" },
		{ "junk in its angle", "a@x <b y>", "BAD", "BAD" },
		{ "comma before the angle", "a@x b, <c@z>", "|c|z|;BAD", "|c|z|;BAD" },
		{ "nothing before the at", "@x <b@y>", "BAD", "BAD" },
		{ "nothing wrong", "A <a@x> (c), b@y", "A|a|x|;|b|y|;", "A|a|x|;|b|y|;" },
	};
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(cases); i++) {
		char strict[128], salvaged[128];
		struct out one = out_fixed(strict, sizeof(strict));
		struct out two = out_fixed(salvaged, sizeof(salvaged));

		show_with(slice_str(cases[i].in), false, &a, &one);
		show_with(slice_str(cases[i].in), true, &a, &two);
		cr_expect(slice_eq(out_written(&one), slice_str(cases[i].strict)), "%s: %.*s",
			cases[i].why, SLICE_ARG(out_written(&one)));
		cr_expect(slice_eq(out_written(&two), slice_str(cases[i].salvaged)), "%s: %.*s",
			cases[i].why, SLICE_ARG(out_written(&two)));
	}
	arena_done(&a);
}

/* Whatever was read can be written, and is then read the same. */
Test(mime_addrlist, round_trip)
{
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		struct addrlist l = { .rest = slice_str(rows[i].in), .arena = &a, .salvage = true };
		struct addrlist_item one, two;

		while (addrlist_next(&l, &one)) {
			struct out o = out_arena(&a);

			addrlist_put(&o, &one);
			struct addrlist again = { .rest = out_written(&o), .arena = &a };

			cr_assert(addrlist_next(&again, &two), "%s: %.*s", rows[i].why,
				SLICE_ARG(out_written(&o)));
			cr_expect(slice_eq(one.local, two.local), "%s", rows[i].why);
			cr_expect(slice_eq(one.domain, two.domain), "%s", rows[i].why);
			cr_expect(!addrlist_next(&again, &two) && !again.bad, "%s", rows[i].why);
		}
	}
	arena_done(&a);
}

/* An attacker's value costs memory in proportion, and no stack. */
Test(mime_addrlist, deep_nesting_is_bounded)
{
	struct arena a = { 0 };
	static char deep[100000];
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	memset(deep, '(', sizeof(deep));
	show(slice_of(deep, sizeof(deep)), &a, &o);
	cr_expect(slice_eq(out_written(&o), SLICE("BAD")));
	arena_done(&a);
}
