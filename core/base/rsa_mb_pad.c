/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The blocks that RSA signs: both encodings of RFC 8017 with SHA-256. Block and modulus have the
 * same length, so the first byte keeps the number below the modulus. */
#include "core/base/rsa_mb.h"

#include "core/base/crypt.h"

enum { SALT = 32 };

void rsa_mb_pkcs1(const unsigned char digest[32], unsigned char *block, size_t len)
{
	/* DigestInfo up to the digest, RFC 8017 9.2 note 1. */
	static const unsigned char info[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48,
		0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };

	must(len >= 11 + sizeof(info) + SHA256_BYTES);
	unsigned char *at = block + len - SHA256_BYTES;

	memcpy(at, digest, SHA256_BYTES);
	at -= sizeof(info);
	memcpy(at, info, sizeof(info));
	memset(block, 0xff, (size_t)(at - block));
	block[0] = 0;
	block[1] = 1;
	at[-1] = 0;
}

/* out ^= MGF1(seed), RFC 8017 B.2.1. */
static void mask_with(unsigned char *out, size_t len, slice seed)
{
	struct sha256 seeded;

	sha256_init(&seeded);
	sha256_add(&seeded, seed);
	for (size_t done = 0; done < len; done += SHA256_BYTES) {
		size_t counter = done / SHA256_BYTES;
		unsigned char mask[SHA256_BYTES];
		struct sha256 h = seeded;

		/* The longest block here takes 15 rounds, so one byte of four counts. */
		sha256_add(&h, slice_of((char[]){ 0, 0, 0, (char)counter }, 4));
		sha256_end(&h, mask);
		for (size_t i = 0; i < MIN(len - done, (size_t)SHA256_BYTES); i++)
			out[done + i] ^= mask[i];
	}
}

void rsa_mb_pss(const unsigned char digest[32], const unsigned char salt[32], unsigned char *block,
	size_t len)
{
	static const char zeros[8];
	struct sha256 h;

	must(len >= SHA256_BYTES + SALT + 2 && len <= RSA_MB_BYTES_MAX);
	size_t masked = len - SHA256_BYTES - 1;
	unsigned char *hash = block + masked;

	sha256_init(&h);
	sha256_add(&h, slice_of(zeros, sizeof(zeros)));
	sha256_add(&h, slice_of(digest, SHA256_BYTES));
	sha256_add(&h, slice_of(salt, SALT));
	sha256_end(&h, hash);
	memset(block, 0, masked);
	block[masked - SALT - 1] = 1;
	memcpy(block + masked - SALT, salt, SALT);
	mask_with(block, masked, slice_of(hash, SHA256_BYTES));
	block[0] &= 0x7f;
	block[len - 1] = 0xbc;
}
