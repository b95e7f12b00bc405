/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 is wolfCrypt's; HMAC and PBKDF2 stand on copies of its running state, which spares half of
 * the compressions. wolfCrypt's calls fail only on NULL arguments here: in this configuration its
 * context is plain memory, which the assertion on its size and the copying rely on. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "core/base/crypt.h"

_Static_assert(sizeof(wc_Sha256) <= CRYPT_SHA256_CTX, "wolfCrypt's context outgrew ours");

enum { BLOCK = 64 };

static wc_Sha256 *ctx(struct sha256 *h)
{
	return (wc_Sha256 *)(void *)h->state;
}

void sha256_init(struct sha256 *h)
{
	must(wc_InitSha256(ctx(h)) == 0);
}

void sha256_add(struct sha256 *h, slice bytes)
{
	while (bytes.len) {
		size_t n = MIN(bytes.len, (size_t)1 << 30);

		must(wc_Sha256Update(ctx(h), (const byte *)bytes.ptr, (word32)n) == 0);
		bytes = slice_skip(bytes, n);
	}
}

void sha256_end(struct sha256 *h, unsigned char out[SHA256_BYTES])
{
	must(wc_Sha256Final(ctx(h), out) == 0);
}

void sha256_of(slice bytes, unsigned char out[SHA256_BYTES])
{
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, bytes);
	sha256_end(&h, out);
}

/* Both hashes with the padded key already in (RFC 2104 2). */
struct hmac_key {
	struct sha256 inner, outer;
};

static void start_with(struct sha256 *h, const unsigned char *block, unsigned char mask)
{
	unsigned char pad[BLOCK];

	for (size_t i = 0; i < BLOCK; i++)
		pad[i] = block[i] ^ mask;
	sha256_init(h);
	sha256_add(h, slice_of(pad, BLOCK));
	crypt_wipe(pad, BLOCK);
}

static void hmac_key(struct hmac_key *k, slice key)
{
	unsigned char block[BLOCK] = { 0 };

	if (key.len > BLOCK)
		sha256_of(key, block);
	else if (key.len)
		memcpy(block, key.ptr, key.len);
	start_with(&k->inner, block, 0x36);
	start_with(&k->outer, block, 0x5c);
	crypt_wipe(block, BLOCK);
}

static void hmac_end(const struct hmac_key *k, struct sha256 *inner, unsigned char *out)
{
	struct sha256 outer = k->outer;

	sha256_end(inner, out);
	sha256_add(&outer, slice_of(out, SHA256_BYTES));
	sha256_end(&outer, out);
}

void hmac_sha256(slice key, slice bytes, unsigned char out[SHA256_BYTES])
{
	struct hmac_key k;

	hmac_key(&k, key);
	struct sha256 inner = k.inner;

	sha256_add(&inner, bytes);
	hmac_end(&k, &inner, out);
	crypt_wipe(&k, sizeof(k));
}

void pbkdf2_sha256(slice password, slice salt, unsigned iterations, unsigned char out[SHA256_BYTES])
{
	unsigned char u[SHA256_BYTES];
	struct hmac_key k;

	hmac_key(&k, password);
	struct sha256 inner = k.inner;

	sha256_add(&inner, salt);
	sha256_add(&inner, slice_of("\0\0\0\1", 4));
	hmac_end(&k, &inner, u);
	memcpy(out, u, SHA256_BYTES);
	for (unsigned i = 1; i < iterations; i++) {
		inner = k.inner;
		sha256_add(&inner, slice_of(u, SHA256_BYTES));
		hmac_end(&k, &inner, u);
		for (size_t j = 0; j < SHA256_BYTES; j++)
			out[j] ^= u[j];
	}
	crypt_wipe(&k, sizeof(k));
	crypt_wipe(u, sizeof(u));
}

bool crypt_eq(slice a, slice b)
{
	volatile unsigned char differ = a.len != b.len;

	for (size_t i = 0; i < MIN(a.len, b.len); i++)
		differ |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
	return !differ;
}

void crypt_wipe(void *bytes, size_t len)
{
	explicit_bzero(bytes, len);
}
