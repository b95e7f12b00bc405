/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sigkey.h - RSA and Ed25519 keys that sign and verify SHA-256 digests.
 *
 * Made for DKIM (RFC 6376, 8301, 8463): RSA means PKCS#1 v1.5 over SHA-256; Ed25519 signs the 32
 * bytes of the digest as its message. A key is on the heap, ended by sigkey_free, and used by one
 * thread at a time (wolfCrypt keeps state in it): parse one per worker. Randomness comes from the
 * caller, because it is a system call. */
#ifndef CORE_BASE_SIGKEY_H
#define CORE_BASE_SIGKEY_H

#include "core/base/base.h"

struct WC_RNG;
struct sigkey;

enum sigkey_type { SIGKEY_RSA, SIGKEY_ED25519 };

enum {
	SIGKEY_DIGEST = 32,    /* bytes of what is signed */
	SIGKEY_SIG_MAX = 512,  /* RSA-4096 */
	SIGKEY_RSA_MIN = 1024, /* bits; less is ERR_UNSUPPORTED (RFC 8301 3.2) */
	SIGKEY_RSA_MAX = 4096,
	SIGKEY_ED25519_BYTES = 32,
};

/* A private key: PEM (RSA PKCS#1 or PKCS#8, Ed25519 PKCS#8), or the base64 of a bare Ed25519 seed
 * as RFC 8463 A.2 prints it. ERR_INVALID: not such a key; ERR_UNSUPPORTED: another kind or size. */
enum err sigkey_parse_private(slice text, struct sigkey **out) must_use;
/* A public key as in p= of a DKIM record, base64 already undone: SubjectPublicKeyInfo or
 * RSAPublicKey; for Ed25519 the 32 bytes. Same errors. */
enum err sigkey_parse_public(enum sigkey_type type, slice bytes, struct sigkey **out) must_use;
/* `bits` counts for RSA only: 2048 to 4096. Takes up to seconds: never on a worker. */
enum err sigkey_generate(enum sigkey_type type, unsigned bits, struct WC_RNG *rng,
	struct sigkey **out) must_use;
/* NULL is fine; the secret is wiped. */
void sigkey_free(struct sigkey *key);

enum sigkey_type sigkey_type_of(const struct sigkey *key);
/* Of the modulus; 256 for Ed25519. */
unsigned sigkey_bits(const struct sigkey *key);

/* RSA wants `rng` for blinding; Ed25519 takes NULL. A public key gives ERR_INVALID. */
enum err sigkey_sign(struct sigkey *key, struct WC_RNG *rng,
	const unsigned char digest[SIGKEY_DIGEST], unsigned char sig[SIGKEY_SIG_MAX],
	size_t *out_len) must_use;
bool sigkey_verify(struct sigkey *key, const unsigned char digest[SIGKEY_DIGEST], slice sig);

/* A private RSA key for the lanes of rsa_mb.h: made at first call, lives as long as the key. Both are
 * shown to `hide` then (to keep them out of core dumps). NULL: not such a key, or no memory. */
struct rsa_mb_key;
const struct rsa_mb_key *sigkey_lanes(struct sigkey *key,
	void (*hide)(const void *bytes, size_t len));

/* PKCS#8 in PEM. Nothing for a public key. The caller wipes what was written. */
void sigkey_put_private(struct sigkey *key, struct out *o);
/* The bytes for p= in base64, and the whole record: "v=DKIM1; k=rsa; p=...". */
void sigkey_put_public(struct sigkey *key, struct out *o);
void sigkey_put_record(struct sigkey *key, struct out *o);

#endif
