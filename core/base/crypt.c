/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 by the processor's instructions where it has them, else wolfCrypt's; HMAC and PBKDF2 stand
 * on copies of a running state, which spares half of the compressions. Which of the two a context
 * belongs to is one answer for the whole process (cpu.h), so nothing in it says so. wolfCrypt's
 * calls fail only on NULL arguments here: in this configuration its context is plain memory, which
 * the assertions on sizes and the copying rely on. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>
#undef MIN
#undef MAX

#include "core/base/crypt.h"

#include "core/base/cpu.h"
#include "core/base/sha256_ni.h"

enum { BLOCK = 64 };

/* A running hash of our own. */
struct running {
	uint32_t state[8];
	uint64_t bytes; /* so far; the last bytes % BLOCK of them stand in `tail` */
	unsigned char tail[BLOCK];
};

_Static_assert(sizeof(wc_Sha256) <= CRYPT_SHA256_CTX, "wolfCrypt's context outgrew ours");
_Static_assert(sizeof(struct running) <= CRYPT_SHA256_CTX, "a running hash outgrew its context");

static wc_Sha256 *ctx(struct sha256 *h)
{
	return (wc_Sha256 *)(void *)h->state;
}

static void soft_add(wc_Sha256 *h, slice bytes)
{
	while (bytes.len) {
		size_t n = MIN(bytes.len, (size_t)1 << 30);

		must(wc_Sha256Update(h, (const byte *)bytes.ptr, (word32)n) == 0);
		bytes = slice_skip(bytes, n);
	}
}

#ifdef __x86_64__
static bool hard(void)
{
	return cpu_has(CPU_SHA);
}

static void hard_init(struct running *r)
{
	/* FIPS 180-4 5.3.3. */
	*r = (struct running){ .state = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 } };
}

static void hard_add(struct running *r, slice bytes)
{
	const unsigned char *at = (const unsigned char *)bytes.ptr;
	size_t len = bytes.len, held = r->bytes % BLOCK;

	r->bytes += len;
	if (held) {
		size_t n = MIN(len, BLOCK - held);

		memcpy(r->tail + held, at, n);
		at += n;
		len -= n;
		if (held + n < BLOCK)
			return;
		sha256_ni_blocks(r->state, r->tail, 1);
	}
	if (len >= BLOCK)
		sha256_ni_blocks(r->state, at, len / BLOCK);
	if (len % BLOCK)
		memcpy(r->tail, at + len - len % BLOCK, len % BLOCK);
}

static void put_be(unsigned char *to, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (unsigned char)(value >> 8 * (bytes - 1 - i));
}

/* The padding of FIPS 180-4 5.1.1: a one bit, zeros, and the length in bits. */
static void hard_end(struct running *r, unsigned char *out)
{
	size_t held = r->bytes % BLOCK;

	r->tail[held++] = 0x80;
	memset(r->tail + held, 0, BLOCK - held);
	if (held > BLOCK - 8) {
		sha256_ni_blocks(r->state, r->tail, 1);
		memset(r->tail, 0, BLOCK);
	}
	put_be(r->tail + BLOCK - 8, r->bytes * 8, 8);
	sha256_ni_blocks(r->state, r->tail, 1);
	for (size_t i = 0; i < array_len(r->state); i++)
		put_be(out + 4 * i, r->state[i], 4);
}
#else
static bool hard(void)
{
	return false;
}

static void hard_init(struct running *r)
{
}

static void hard_add(struct running *r, slice bytes)
{
}

static void hard_end(struct running *r, unsigned char *out)
{
}
#endif

void sha256_init(struct sha256 *h)
{
	if (hard())
		hard_init((struct running *)(void *)h->state);
	else
		must(wc_InitSha256(ctx(h)) == 0);
}

void sha256_add(struct sha256 *h, slice bytes)
{
	if (!bytes.len)
		return;
	if (hard())
		hard_add((struct running *)(void *)h->state, bytes);
	else
		soft_add(ctx(h), bytes);
}

void sha256_end(struct sha256 *h, unsigned char out[SHA256_BYTES])
{
	if (hard())
		hard_end((struct running *)(void *)h->state, out);
	else
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
