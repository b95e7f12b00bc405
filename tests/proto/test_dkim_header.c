/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_dkim_header.c - tag lists, signature fields, key records. */
#include "core/base/codec.h"
#include "proto/mailauth/dkim_header.h"
#include "tests/support/rfc8463.h"

#include <criterion/criterion.h>

Test(dkim_header, tag_lists)
{
	static const struct {
		const char *why, *in, *want;
	} rows[] = {
		{ "two tags", "a=1; b=2", "a=1|b=2|" },
		{ "last semicolon", "a=1;", "a=1|" },
		{ "folded", " a =\r\n 1 ;\r\n\tb= 2 3 ;\r\n ", "a=1|b=2 3|" },
		{ "empty value", "a=;b=", "a=|b=|" },
		{ "equals in the value", "p=AA==", "p=AA==|" },
		{ "no equals", "a", "bad" },
		{ "empty tag", "a=1;;b=2", "a=1|bad" },
		{ "bad name", "1a=2", "bad" },
		{ "no name", "=2", "bad" },
		{ "nothing", "", "" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));
		struct dkim_tags tags = { .rest = slice_str(rows[i].in) };
		struct dkim_tag tag;

		while (dkim_tag_next(&tags, &tag))
			out_printf(&o, "%.*s=%.*s|", SLICE_ARG(tag.name), SLICE_ARG(tag.value));
		if (tags.bad)
			out_str(&o, "bad");
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].why, SLICE_ARG(out_written(&o)));
	}
}

#define BH "bh=" RFC8463_BODY_HASH ";"
#define GOOD "v=1;a=rsa-sha256;d=a.example;s=s1;h=from:to;" BH "b=AAAA"

Test(dkim_header, signatures_are_judged)
{
	static const struct {
		const char *why, *in;
		enum err want;
	} rows[] = {
		{ "minimal", GOOD, OK },
		{ "everything",
			GOOD ";c=relaxed/simple;i=x@b.a.example;l=10;t=5;x=6;q=dns/txt;z=a:b", OK },
		{ "header form only", GOOD ";c=relaxed", OK },
		{ "unknown tag", GOOD ";foo=bar", OK },
		{ "version 2", "v=2;a=rsa-sha256;d=a.example;s=s1;h=from;" BH "b=AAAA",
			ERR_UNSUPPORTED },
		{ "no version", "a=rsa-sha256;d=a.example;s=s1;h=from;" BH "b=AAAA", ERR_INVALID },
		{ "no b=", "v=1;a=rsa-sha256;d=a.example;s=s1;h=from;" BH, ERR_INVALID },
		{ "empty b=", "v=1;a=rsa-sha256;d=a.example;s=s1;h=from;" BH "b=", ERR_INVALID },
		{ "sha1", "v=1;a=rsa-sha1;d=a.example;s=s1;h=from;" BH "b=AAAA", ERR_UNSUPPORTED },
		{ "unknown algorithm", "v=1;a=x;d=a.example;s=s1;h=from;" BH "b=AAAA",
			ERR_UNSUPPORTED },
		{ "From not signed", "v=1;a=rsa-sha256;d=a.example;s=s1;h=to;" BH "b=AAAA",
			ERR_INVALID },
		{ "short bh=", "v=1;a=rsa-sha256;d=a.example;s=s1;h=from;bh=AAAA;b=AAAA",
			ERR_INVALID },
		{ "twice a tag", GOOD ";v=1", ERR_INVALID },
		{ "twice an unknown tag", GOOD ";n=1;n=2", ERR_INVALID },
		{ "i= elsewhere", GOOD ";i=@b.example", ERR_INVALID },
		{ "i= only looks below", GOOD ";i=@xa.example", ERR_INVALID },
		{ "i= without domain", GOOD ";i=x", ERR_INVALID },
		{ "x= before t=", GOOD ";t=5;x=4", ERR_INVALID },
		{ "t= no number", GOOD ";t=z", ERR_INVALID },
		{ "unknown canonical form", GOOD ";c=nofws", ERR_UNSUPPORTED },
		{ "unknown query", GOOD ";q=http", ERR_UNSUPPORTED },
		{ "garbage", "hello", ERR_INVALID },
		{ "empty", "", ERR_INVALID },
	};
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		struct dkim_signature sig;
		const char *why;

		cr_expect_eq(dkim_signature_parse(slice_str(rows[i].in), &a, &sig, &why),
			rows[i].want, "%s: %s", rows[i].why, why ? why : "good");
		cr_expect_eq(why == NULL, rows[i].want == OK, "%s", rows[i].why);
	}
	arena_done(&a);
}

Test(dkim_header, signature_values)
{
	struct arena a = { 0 };
	struct dkim_signature sig;
	const char *why;

	cr_assert_eq(dkim_signature_parse(SLICE(GOOD "AA\r\n AA ;c=relaxed; l=7;t=5;x=9"), &a, &sig,
			     &why),
		OK);
	cr_expect_eq(sig.header_canon, DKIM_RELAXED);
	cr_expect_eq(sig.body_canon, DKIM_SIMPLE);
	cr_expect(sig.has_length && sig.length == 7 && sig.signed_at == 5 && sig.expires_at == 9);
	cr_expect(slice_eq(sig.b_raw, SLICE("AAAAAA\r\n AA ")));
	cr_expect_eq(sig.sig.len, 6);
	arena_done(&a);
}

Test(dkim_header, key_records)
{
	static const struct {
		const char *why, *in;
		enum err want;
	} rows[] = {
		{ "usual", "v=DKIM1; k=rsa; p=AAAA", OK },
		{ "only the key", "p=AAAA", OK },
		{ "revoked", "v=DKIM1; p=", OK },
		{ "flags", "v=DKIM1; t=y:s; p=AAAA", OK },
		{ "for mail", "v=DKIM1; s=email; p=AAAA", OK },
		{ "not for mail", "v=DKIM1; s=tlsrpt; p=AAAA", ERR_INVALID },
		{ "sha1 only", "v=DKIM1; h=sha1; p=AAAA", ERR_INVALID },
		{ "both hashes", "v=DKIM1; h=sha1 : sha256; p=AAAA", OK },
		{ "other kind", "v=DKIM1; k=ecdsa; p=AAAA", ERR_UNSUPPORTED },
		{ "v= not first", "p=AAAA; v=DKIM1", ERR_INVALID },
		{ "other version", "v=DKIM2; p=AAAA", ERR_INVALID },
		{ "no key", "v=DKIM1; k=rsa", ERR_INVALID },
		{ "no base64", "v=DKIM1; p=!!", ERR_INVALID },
		{ "another record", "v=spf1 -all", ERR_INVALID },
		{ "empty", "", ERR_INVALID },
	};
	struct arena a = { 0 };

	for (size_t i = 0; i < array_len(rows); i++) {
		struct dkim_key key;
		const char *why;

		cr_expect_eq(dkim_key_parse(slice_str(rows[i].in), &a, &key, &why), rows[i].want,
			"%s", rows[i].why);
	}
	arena_done(&a);
}
