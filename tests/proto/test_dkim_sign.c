/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_dkim_sign.c - which fields are signed, how the field looks, and that it verifies. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/random.h>
#undef MIN
#undef MAX

#include "core/base/codec.h"
#include "proto/mailauth/dkim_sign.h"
#include "proto/mailauth/dkim_verify.h"
#include "proto/mime/header.h"
#include "tests/support/rfc8463.h"

#include <criterion/criterion.h>

static struct arena arena;

static slice names_for(const char *option, slice block)
{
	struct dkim_fields fields;
	struct dkim_selection selection;
	struct out o = out_arena(&arena);

	cr_assert_eq(dkim_fields_parse(slice_str(option), &arena, &fields), OK, "%s", option);
	cr_assert_eq(dkim_select(&fields, block, DKIM_RELAXED, &arena, &selection), OK);
	for (size_t i = 0; i < selection.count; i++) {
		out_str(&o, i ? ":" : "");
		out_slice(&o, selection.names[i]);
	}
	return out_written(&o);
}

Test(dkim_sign, fields_are_chosen)
{
	static const struct {
		const char *why, *option, *block, *want;
	} rows[] = {
		{ "only what is there", "From:To:Cc", "From: a\r\nCc: b\r\n\r\n", "From:Cc" },
		{ "each occurrence", "From:To", "To: a\r\nFrom: b\r\nto: c\r\n\r\n", "From:To:To" },
		{ "over-signed", "+From:+Subject", "From: a\r\n\r\n", "From:From:Subject" },
		{ "over-signed when present", "From:~X:~Y", "From: a\r\nX: b\r\n\r\n", "From:X:X" },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		slice names = names_for(rows[i].option, slice_str(rows[i].block));

		cr_expect(slice_eq(names, slice_str(rows[i].want)), "%s: %.*s", rows[i].why,
			SLICE_ARG(names));
	}
	arena_done(&arena);
}

Test(dkim_sign, default_list_over_signs)
{
	slice names = names_for(DKIM_FIELDS_DEFAULT,
		SLICE("From: a\r\nList-Unsubscribe: <b>\r\nReceived: c\r\nX: d\r\n\r\n"));

	cr_expect(slice_eq(names,
			  SLICE("From:From:Subject:Date:To:List-Unsubscribe:List-Unsubscribe")),
		"%.*s", SLICE_ARG(names));
	arena_done(&arena);
}

Test(dkim_sign, bad_lists_are_refused)
{
	static const char *const rows[] = { "", "To", "From::To", "From:To:from", "From:Received",
		"From:Return-Path", "From:a b", "From:+", "From:x;y" };
	struct dkim_fields fields;

	for (size_t i = 0; i < array_len(rows); i++)
		cr_expect_eq(dkim_fields_parse(slice_str(rows[i]), &arena, &fields), ERR_INVALID,
			"%s", rows[i]);
	arena_done(&arena);
}

struct job {
	enum dkim_canon header, body;
	enum sigkey_type type;
	slice block, text;
};

static struct sigkey *key_of(enum sigkey_type type)
{
	struct sigkey *key = NULL;

	cr_assert_eq(sigkey_parse_private(type == SIGKEY_RSA ? SLICE(RFC8463_RSA_PRIVATE) :
							       SLICE(RFC8463_ED25519_SEED),
			     &key),
		OK);
	return key;
}

static void body_hash(const struct job *job, unsigned char out[DKIM_HASH])
{
	struct dkim_body body;

	dkim_body_init(&body, job->body);
	dkim_body_add(&body, job->text);
	dkim_body_end(&body, out);
}

/* The header block with the new field in front. */
static slice sign(const struct job *job, const char *domain)
{
	struct dkim_fields fields;
	struct dkim_selection selection;
	struct dkim_draft draft;
	struct out o = out_arena(&arena);
	unsigned char hash[DKIM_HASH], sig[SIGKEY_SIG_MAX];
	struct dkim_signer signer = { .domain = slice_str(domain),
		.selector = SLICE("sel"),
		.identity = SLICE(""),
		.type = job->type,
		.body_canon = job->body,
		.signed_at = 1700000000,
		.expires_at = 1800000000 };
	struct sigkey *key = key_of(job->type);
	size_t len = 0;
	WC_RNG rng;

#ifdef WC_RNG_SEED_CB
	wc_SetSeed_Cb(wc_GenerateSeed);
#endif
	cr_assert_eq(wc_InitRng(&rng), 0);
	body_hash(job, hash);
	cr_assert_eq(dkim_fields_parse(SLICE(DKIM_FIELDS_DEFAULT), &arena, &fields), OK);
	cr_assert_eq(dkim_select(&fields, job->block, job->header, &arena, &selection), OK);
	dkim_sign_begin(&signer, &selection, hash, &arena, &draft);
	cr_assert_eq(sigkey_sign(key, &rng, draft.digest, sig, &len), OK);
	dkim_sign_finish(&draft, slice_of(sig, len), &o);
	out_slice(&o, job->block);
	sigkey_free(key);
	wc_FreeRng(&rng);
	return out_written(&o);
}

static enum dkim_result verify(slice block, slice text, enum sigkey_type type)
{
	struct dkim_verifier v;
	slice record = type == SIGKEY_RSA ? SLICE("v=DKIM1; k=rsa; p=" RFC8463_RSA_PUBLIC) :
					    SLICE("v=DKIM1; k=ed25519; p=" RFC8463_ED25519_PUBLIC);

	dkim_verify_init(&v, &arena);
	dkim_verify_header(&v, block, 1750000000);
	dkim_verify_body(&v, text);
	dkim_verify_body_end(&v);
	cr_assert_geq(v.count, 1);
	return dkim_verify_key(&v, 0, OK, record);
}

Test(dkim_sign, every_form_verifies)
{
	static const char *const domains[] = {
		"a.example",
		"a-very-long-domain-name-that-will-not-fit-on-the-line.with-more-labels.example.org"
	};

	for (int form = 0; form < 16; form++) {
		struct job job = { .header = (enum dkim_canon)(form & 1),
			.body = (enum dkim_canon)(form >> 1 & 1),
			.type = (enum sigkey_type)(form >> 2 & 1),
			.block = SLICE(RFC8463_HEADER),
			.text = SLICE("a  b \r\n\r\n") };
		slice block = sign(&job, domains[form >> 3]);

		cr_expect_eq(verify(block, job.text, job.type), DKIM_PASS, "form %d:\n%.*s", form,
			SLICE_ARG(block));
		cr_expect_eq(verify(block, SLICE("other\r\n"), job.type), DKIM_FAIL);
	}
	arena_done(&arena);
}

Test(dkim_sign, nothing_can_be_added_to_what_is_over_signed)
{
	struct job job = { DKIM_RELAXED, DKIM_RELAXED, SIGKEY_ED25519, SLICE(RFC8463_HEADER),
		SLICE(RFC8463_BODY) };
	slice block = sign(&job, "a.example");
	static const char *const added[] = { "From: evil@x.example\r\n", "Subject: evil\r\n",
		"To: x\r\n", "Date: y\r\n" };

	for (size_t i = 0; i < array_len(added); i++) {
		struct out o = out_arena(&arena);

		out_slice(&o, block);
		o.len -= 2;
		out_str(&o, added[i]);
		out_str(&o, "\r\n");
		cr_expect_eq(verify(out_written(&o), job.text, job.type), DKIM_FAIL, "%s",
			added[i]);
		o = out_arena(&arena);
		out_str(&o, added[i]);
		out_slice(&o, block);
		cr_expect_eq(verify(out_written(&o), job.text, job.type), DKIM_FAIL, "%s",
			added[i]);
	}
	arena_done(&arena);
}

/* The field is one that every line-based reader takes: short lines, names whole, no l=. */
Test(dkim_sign, field_is_well_folded)
{
	struct job job = { DKIM_RELAXED, DKIM_RELAXED, SIGKEY_RSA, SLICE(RFC8463_HEADER),
		SLICE(RFC8463_BODY) };
	slice block = sign(&job, "example.org"), line;
	struct header_field field;

	cr_assert(header_find(block, SLICE("DKIM-Signature"), &field));
	cr_expect(slice_search(field.whole, SLICE("l=")) < 0);
	cr_expect(slice_search(field.whole, SLICE("Subject:Subject:")) > 0);
	for (slice rest = field.whole; slice_cut(&rest, '\n', &line);)
		cr_expect_leq(line.len, 78, "%.*s", SLICE_ARG(line));
	arena_done(&arena);
}

Test(dkim_sign, no_from_no_signature)
{
	struct dkim_fields fields;
	struct dkim_selection selection;

	cr_assert_eq(dkim_fields_parse(SLICE("From"), &arena, &fields), OK);
	cr_expect_eq(dkim_select(&fields, SLICE("To: a\r\n\r\n"), DKIM_RELAXED, &arena, &selection),
		ERR_INVALID);
	arena_done(&arena);
}
