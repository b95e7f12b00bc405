/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_sigkey.c - keys go in and out, and what one signs the other verifies. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/random.h>
#undef MIN
#undef MAX

#include "core/base/codec.h"
#include "core/base/sigkey.h"
#include "tests/support/rfc8463.h"

#include <criterion/criterion.h>

static const unsigned char digest[SIGKEY_DIGEST] = { 1, 2, 3, 4, 5 };

static WC_RNG *new_rng(void)
{
	static WC_RNG rng;

#ifdef WC_RNG_SEED_CB
	wc_SetSeed_Cb(wc_GenerateSeed);
#endif
	cr_assert_eq(wc_InitRng(&rng), 0);
	return &rng;
}

static struct sigkey *parse_private(slice text)
{
	struct sigkey *key = NULL;

	cr_assert_eq(sigkey_parse_private(text, &key), OK, "%.*s", SLICE_ARG(text));
	return key;
}

static struct sigkey *parse_public(enum sigkey_type type, slice base64)
{
	unsigned char der[1024];
	struct sigkey *key = NULL;
	size_t len;

	cr_assert(codec_get_base64(base64, der, &len));
	cr_assert_eq(sigkey_parse_public(type, slice_of(der, len), &key), OK);
	return key;
}

/* Its public half, as others read it from our record. */
static struct sigkey *public_of(struct sigkey *key)
{
	char text[2048];
	struct out o = out_fixed(text, sizeof(text));

	sigkey_put_public(key, &o);
	cr_assert(out_ok(&o));
	return parse_public(sigkey_type_of(key), out_written(&o));
}

static void signs_and_verifies(struct sigkey *key, WC_RNG *rng)
{
	unsigned char sig[SIGKEY_SIG_MAX], other[SIGKEY_DIGEST] = { 9 };
	struct sigkey *public = public_of(key);
	size_t len = 0;

	cr_assert_eq(sigkey_sign(key, rng, digest, sig, &len), OK);
	cr_expect_eq(len, sigkey_type_of(key) == SIGKEY_RSA ? sigkey_bits(key) / 8 : 64);
	cr_expect(sigkey_verify(public, digest, slice_of(sig, len)));
	cr_expect(sigkey_verify(key, digest, slice_of(sig, len)));
	cr_expect_not(sigkey_verify(public, other, slice_of(sig, len)));
	cr_expect_not(sigkey_verify(public, digest, slice_of(sig, len - 1)));
	sig[10] ^= 1;
	cr_expect_not(sigkey_verify(public, digest, slice_of(sig, len)));
	cr_expect_eq(sigkey_sign(public, rng, digest, sig, &len), ERR_INVALID);
	sigkey_free(public);
}

/* Out as PEM, in again, and the same public half. */
static void round_trips(struct sigkey *key, WC_RNG *rng)
{
	char pem[4096], one[1024], two[1024];
	struct out o = out_fixed(pem, sizeof(pem)), p1 = out_fixed(one, sizeof(one)),
		   p2 = out_fixed(two, sizeof(two));

	sigkey_put_private(key, &o);
	cr_assert(out_ok(&o) && slice_starts(out_written(&o), SLICE("-----BEGIN PRIVATE KEY")));
	struct sigkey *again = parse_private(out_written(&o));

	sigkey_put_record(key, &p1);
	sigkey_put_record(again, &p2);
	cr_expect(slice_eq(out_written(&p1), out_written(&p2)));
	signs_and_verifies(again, rng);
	sigkey_free(again);
}

Test(sigkey, rfc8463_keys)
{
	WC_RNG *rng = new_rng();
	struct sigkey *ed = parse_private(SLICE(RFC8463_ED25519_SEED));
	struct sigkey *rsa = parse_private(SLICE(RFC8463_RSA_PRIVATE));
	char text[1024];
	struct out o = out_fixed(text, sizeof(text));

	sigkey_put_record(ed, &o);
	cr_expect(slice_eq(out_written(&o),
		SLICE("v=DKIM1; k=ed25519; p=" RFC8463_ED25519_PUBLIC)));
	o.len = 0;
	sigkey_put_record(rsa, &o);
	cr_expect(slice_eq(out_written(&o), SLICE("v=DKIM1; k=rsa; p=" RFC8463_RSA_PUBLIC)));
	cr_expect_eq(sigkey_bits(rsa), 1024);
	signs_and_verifies(ed, rng);
	signs_and_verifies(rsa, rng);
	round_trips(ed, rng);
	round_trips(rsa, rng);
	sigkey_free(ed);
	sigkey_free(rsa);
	wc_FreeRng(rng);
}

Test(sigkey, generated_keys)
{
	WC_RNG *rng = new_rng();
	struct sigkey *key = NULL;

	cr_assert_eq(sigkey_generate(SIGKEY_ED25519, 0, rng, &key), OK);
	signs_and_verifies(key, rng);
	round_trips(key, rng);
	sigkey_free(key);
	cr_assert_eq(sigkey_generate(SIGKEY_RSA, 2048, rng, &key), OK);
	cr_expect_eq(sigkey_bits(key), 2048);
	signs_and_verifies(key, rng);
	round_trips(key, rng);
	sigkey_free(key);
	cr_expect_eq(sigkey_generate(SIGKEY_RSA, 1024, rng, &key), ERR_UNSUPPORTED);
	wc_FreeRng(rng);
}

/* openssl genpkey -algorithm ed25519 */
#define OPENSSL_ED25519                                                        \
	"-----BEGIN PRIVATE KEY-----\r\n"                                      \
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\r\n" \
	"-----END PRIVATE KEY-----\r\n"

Test(sigkey, openssl_pkcs8_is_read)
{
	struct sigkey *key = parse_private(SLICE("Bag\n" OPENSSL_ED25519));
	char text[256];
	struct out o = out_fixed(text, sizeof(text));

	cr_expect_eq(sigkey_type_of(key), SIGKEY_ED25519);
	sigkey_put_public(key, &o);
	cr_expect(slice_eq(out_written(&o), SLICE(RFC8463_ED25519_PUBLIC)));
	sigkey_free(key);
}

Test(sigkey, bad_keys_are_refused)
{
	static const struct {
		const char *why, *text;
		enum err want;
	} rows[] = {
		{ "empty", "", ERR_INVALID },
		{ "no base64", "hello", ERR_INVALID },
		{ "seed too short", "AAAA", ERR_INVALID },
		{ "no end line", "-----BEGIN PRIVATE KEY-----\nAAAA\n", ERR_INVALID },
		{ "garbage inside",
			"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			ERR_INVALID },
		{ "another kind",
			"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
			ERR_UNSUPPORTED },
		{ "encrypted",
			"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"
			"-----END ENCRYPTED PRIVATE KEY-----\n",
			ERR_UNSUPPORTED },
	};
	struct sigkey *key = NULL;

	for (size_t i = 0; i < array_len(rows); i++)
		cr_expect_eq(sigkey_parse_private(slice_str(rows[i].text), &key), rows[i].want,
			"%s", rows[i].why);
	cr_expect_eq(sigkey_parse_public(SIGKEY_RSA, SLICE("garbage"), &key), ERR_INVALID);
	cr_expect_eq(sigkey_parse_public(SIGKEY_ED25519, SLICE("short"), &key), ERR_INVALID);
	cr_expect_eq(sigkey_parse_public(SIGKEY_RSA, SLICE(""), &key), ERR_INVALID);
	cr_expect_null(key);
	sigkey_free(NULL);
}
