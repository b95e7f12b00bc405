/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 (FIPS 180 examples), HMAC (RFC 4231) and PBKDF2 (RFC 7914 11) by their vectors; and the
 * processor's SHA-256 against wolfCrypt's. Every test here runs on whichever the machine has; the
 * differential one holds both side by side. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>
#undef MIN
#undef MAX

#include "core/base/crypt.h"

#include "core/base/codec.h"
#include "core/base/cpu.h"

#include <criterion/criterion.h>

static void expect(const unsigned char got[SHA256_BYTES], const char *hex)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));

	codec_put_hex(&o, slice_of(got, SHA256_BYTES));
	cr_assert(slice_eq(out_written(&o), slice_str(hex)), "%.*s", SLICE_ARG(out_written(&o)));
}

Test(crypt, sha256)
{
	unsigned char got[SHA256_BYTES];

	sha256_of(SLICE(""), got);
	expect(got, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_of(SLICE("abc"), got);
	expect(got, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* A million times "a": FIPS 180-2 B.3. */
static void hash_a_million(void)
{
	unsigned char got[SHA256_BYTES];
	struct sha256 h;

	sha256_init(&h);
	for (size_t i = 0; i < 100000; i++)
		sha256_add(&h, SLICE("aaaaaaaaaa"));
	sha256_end(&h, got);
	expect(got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

Test(crypt, sha256_of_much)
{
	hash_a_million();
}

Test(crypt, sha256_of_much_without_the_instructions)
{
	cpu_hide(CPU_SHA);
	cr_assert_not(cpu_has(CPU_SHA));
	hash_a_million();
}

/* Cut anywhere, and forked anywhere. */
static void hash_in_pieces(slice bytes, unsigned seed, unsigned char out[SHA256_BYTES])
{
	struct sha256 h, fork;

	sha256_init(&h);
	while (bytes.len) {
		seed = seed * 1103515245 + 12345;
		slice piece = slice_sub(bytes, 0, 1 + (seed >> 16) % 150);

		fork = h;
		sha256_add(&fork, piece);
		h = fork;
		bytes = slice_skip(bytes, piece.len);
	}
	sha256_end(&h, out);
}

Test(crypt, sha256_agrees_with_wolfcrypt)
{
	unsigned char bytes[1024], got[SHA256_BYTES], want[SHA256_BYTES];
	unsigned seed = 1;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		slice in = slice_of(bytes + sizeof(bytes) - len, len);
		wc_Sha256 theirs;

		cr_assert_eq(wc_InitSha256(&theirs), 0);
		cr_assert_eq(wc_Sha256Update(&theirs, (const byte *)in.ptr, (word32)len), 0);
		cr_assert_eq(wc_Sha256Final(&theirs, want), 0);
		sha256_of(in, got);
		cr_assert_arr_eq(got, want, SHA256_BYTES, "%zu bytes at once", len);
		hash_in_pieces(in, (unsigned)len, got);
		cr_assert_arr_eq(got, want, SHA256_BYTES, "%zu bytes in pieces", len);
	}
}

Test(crypt, a_running_hash_may_be_forked)
{
	unsigned char got[SHA256_BYTES];
	struct sha256 h, fork;

	sha256_init(&h);
	sha256_add(&h, SLICE("a"));
	fork = h;
	sha256_add(&h, SLICE("x"));
	sha256_end(&h, got);
	sha256_add(&fork, SLICE("b"));
	sha256_add(&fork, SLICE("c"));
	sha256_end(&fork, got);
	expect(got, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

Test(crypt, hmac)
{
	unsigned char got[SHA256_BYTES], key[131];

	hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), got);
	expect(got, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	hmac_sha256(slice_of(key, sizeof(key)),
		SLICE("Test Using Larger Than Block-Size Key - Hash Key First"), got);
	expect(got, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

Test(crypt, pbkdf2)
{
	unsigned char got[SHA256_BYTES];

	pbkdf2_sha256(SLICE("passwd"), SLICE("salt"), 1, got);
	expect(got, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
	pbkdf2_sha256(SLICE("Password"), SLICE("NaCl"), 80000, got);
	expect(got, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
}

Test(crypt, equality_needs_length_and_contents)
{
	cr_assert(crypt_eq(SLICE("abc"), SLICE("abc")));
	cr_assert(crypt_eq((slice){ 0 }, SLICE("")));
	cr_assert_not(crypt_eq(SLICE("abc"), SLICE("abd")));
	cr_assert_not(crypt_eq(SLICE("abc"), SLICE("ab")));
}

Test(crypt, wipe)
{
	char secret[8] = "secret";

	crypt_wipe(secret, sizeof(secret));
	for (size_t i = 0; i < sizeof(secret); i++)
		cr_assert_eq(secret[i], 0);
}
