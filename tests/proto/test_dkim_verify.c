/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_dkim_verify.c - the RFC's own signatures, and everything that may be wrong with one. */
#include "proto/mailauth/dkim_verify.h"
#include "tests/support/dkim_words.h"
#include "tests/support/feed.h"
#include "tests/support/rfc8463.h"

#include <criterion/criterion.h>

#define ED_RECORD "v=DKIM1; k=ed25519; p=" RFC8463_ED25519_PUBLIC
#define RSA_RECORD "v=DKIM1; k=rsa; p=" RFC8463_RSA_PUBLIC

struct verify_state {
	struct dkim_verifier v;
	struct arena arena;
};

static void init_verify(void *state, const void *arg)
{
	struct verify_state *s = state;

	dkim_verify_init(&s->v, &s->arena);
	dkim_verify_header(&s->v, SLICE(RFC8463_SIGNED_HEADER), 0);
}

static size_t take_body(void *state, slice in, bool last, struct out *o)
{
	struct verify_state *s = state;

	dkim_verify_body(&s->v, in);
	if (!last)
		return in.len;
	dkim_verify_body_end(&s->v);
	for (size_t i = 0; i < s->v.count; i++) {
		dkim_verify_query(&s->v.checks[i], o);
		slice record = i ? SLICE(RSA_RECORD) : SLICE(ED_RECORD);

		out_printf(o, " %s\n", dkim_word(dkim_verify_key(&s->v, i, OK, record)));
	}
	return FEED_STOP;
}

static void done_verify(void *state)
{
	arena_done(&((struct verify_state *)state)->arena);
}

static const struct feed_parser parser = { .name = "verify",
	.init = init_verify,
	.take = take_body,
	.done = done_verify,
	.state_size = sizeof(struct verify_state) };

Test(dkim_verify, rfc8463_appendix_a)
{
	char buf[256];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(feed_all_ways(&parser, NULL, SLICE(RFC8463_BODY), &o));
	cr_expect(slice_eq(out_written(&o),
		SLICE("brisbane._domainkey.football.example.com pass\n"
		      "test._domainkey.football.example.com pass\n")));
	o.len = 0;
	cr_assert(feed_all_ways(&parser, NULL, SLICE("Hi.\r\n"), &o));
	cr_expect(slice_search(out_written(&o), SLICE("pass")) < 0);
}

static struct arena arena;

/* RFC 6376 appendix A.2 with the key of A.3: simple/simple. */
#define RFC6376_HEADER                                                      \
	"DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n" \
	"      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n" \
	"      h=Received : From : To : Subject : Date : Message-ID;\r\n"   \
	"      bh=" RFC8463_BODY_HASH ";\r\n"                               \
	"      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n"  \
	"      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n"    \
	"      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n"    \
	"      4bmp/YzhwvcubU4=;\r\n"                                       \
	"Received: from client1.football.example.com  [192.0.2.1]\r\n"      \
	"      by submitserver.example.com with SUBMISSION;\r\n"            \
	"      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n" RFC8463_HEADER
#define RFC6376_RECORD                                   \
	"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ"  \
	"KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" \
	"IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v" \
	"/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi" \
	"tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"

Test(dkim_verify, rfc6376_appendix_a)
{
	static struct dkim_verifier v;

	/* The RFC claims i=joe@football.example.com for d=example.com: a subdomain is fine. */
	dkim_verify_init(&v, &arena);
	dkim_verify_header(&v, SLICE(RFC6376_HEADER), 0);
	dkim_verify_body(&v,
		SLICE("Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n"));
	dkim_verify_body_end(&v);
	cr_assert_eq(v.count, 1);
	cr_expect_eq(dkim_verify_key(&v, 0, OK, SLICE(RFC6376_RECORD)), DKIM_PASS, "%s",
		v.checks[0].why);
	arena_done(&arena);
}

/* The first signature of the RFC's message with a part of its text replaced. */
static struct dkim_check check_with(const char *from, const char *to, enum err err, slice record)
{
	static struct dkim_verifier v;
	slice block = SLICE(RFC8463_SIGNED_HEADER);
	ptrdiff_t at = slice_search(block, slice_str(from));
	struct out o = out_arena(&arena);

	cr_assert_geq(at, 0, "%s", from);
	out_slice(&o, slice_sub(block, 0, (size_t)at));
	out_str(&o, to);
	out_slice(&o, slice_skip(block, (size_t)at + strlen(from)));
	dkim_verify_init(&v, &arena);
	dkim_verify_header(&v, out_written(&o), 1600000000);
	dkim_verify_body(&v, SLICE(RFC8463_BODY));
	dkim_verify_body_end(&v);
	dkim_verify_key(&v, 0, err, record);
	return v.checks[0];
}

Test(dkim_verify, faults_by_table)
{
	static const struct {
		const char *why, *from, *to, *record;
		enum err err;
		enum dkim_result want;
	} rows[] = {
		{ "untouched", "Joe", "Joe", ED_RECORD, OK, DKIM_PASS },
		{ "blanks do not count", "Joe SixPack", "Joe  \r\n SixPack", ED_RECORD, OK,
			DKIM_PASS },
		{ "subject changed", "dinner", "supper", ED_RECORD, OK, DKIM_FAIL },
		{ "signature's own text changed", "t=1528637909", "t=1528637908", ED_RECORD, OK,
			DKIM_FAIL },
		{ "sender added", "From: Joe", "From: Eve\r\nFrom: Joe", ED_RECORD, OK, DKIM_FAIL },
		{ "body hash changed", "bh=2j", "bh=3j", ED_RECORD, OK, DKIM_FAIL },
		{ "expired", "t=1528637909", "t=1528637909; x=1528637999", ED_RECORD, OK,
			DKIM_PERMERROR },
		{ "l= too long", "t=1528637909", "t=1528637909; l=1000", ED_RECORD, OK, DKIM_FAIL },
		{ "not a signature", "v=1", "v=x", ED_RECORD, OK, DKIM_PERMERROR },
		{ "no key", "Joe", "Joe", "", ERR_NOT_FOUND, DKIM_PERMERROR },
		{ "DNS down", "Joe", "Joe", "", ERR_DNS_TEMP, DKIM_TEMPERROR },
		{ "revoked", "Joe", "Joe", "v=DKIM1; k=ed25519; p=", OK, DKIM_PERMERROR },
		{ "wrong kind", "Joe", "Joe", RSA_RECORD, OK, DKIM_PERMERROR },
		{ "bad key", "Joe", "Joe", "v=DKIM1; k=ed25519; p=AAAA", OK, DKIM_PERMERROR },
		{ "other key", "Joe", "Joe",
			"v=DKIM1; k=ed25519; p=PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=", OK,
			DKIM_FAIL },
		{ "test mode", "Joe", "Joe", ED_RECORD "; t=y", OK, DKIM_PASS },
		{ "strict and equal", "Joe", "Joe", ED_RECORD "; t=s", OK, DKIM_PASS },
		{ "strict and below", "i=@football", "i=@sub.football", ED_RECORD "; t=s", OK,
			DKIM_PERMERROR },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct dkim_check check = check_with(rows[i].from, rows[i].to, rows[i].err,
			slice_str(rows[i].record));

		cr_expect_eq(check.result, rows[i].want, "%s: %s, %s", rows[i].why,
			dkim_word(check.result), check.why ? check.why : "-");
		cr_expect_eq(check.why == NULL, check.result == DKIM_PASS, "%s", rows[i].why);
	}
	arena_done(&arena);
}

Test(dkim_verify, signatures_beyond_the_limit_are_counted)
{
	static struct dkim_verifier v;
	struct out o = out_arena(&arena);

	for (int i = 0; i < DKIM_SIGS_MAX + 3; i++)
		out_str(&o, "DKIM-Signature: x\r\n");
	out_str(&o, "\r\n");
	dkim_verify_init(&v, &arena);
	dkim_verify_header(&v, out_written(&o), 0);
	cr_expect_eq(v.count, DKIM_SIGS_MAX);
	cr_expect_eq(v.ignored, 3);
	arena_done(&arena);
}
