/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_mb.h - RSA private operations, four at a time, one per pair of vector lanes.
 *
 * A pass makes up to four signatures with keys of one size, one lane for each prime (AVX-512 IFMA,
 * radix 2^52, CRT), and verifies each before it is given out. Everything lives in the caller's
 * memory: keys and the workspace hold secrets, and belong on pages that are not dumped. The
 * workspace is wiped when a pass ends; a key is wiped by its owner. Keys are read only, and may be
 * shared by threads; a workspace serves one pass at a time.
 *
 * No branch and no address depends on a secret. A key outside the usual shape (2048, 3072 or 4096
 * bits, primes of exactly half of that, e = 65537) is refused, as is any key on a processor that
 * lacks the instructions: those are for wolfCrypt. */
#ifndef CORE_BASE_RSA_MB_H
#define CORE_BASE_RSA_MB_H

#include "core/base/base.h"

enum {
	RSA_MB_JOBS = 4,        /* signatures in a pass */
	RSA_MB_LANES = 8,       /* p of each, then q of each */
	RSA_MB_DIGITS_MAX = 40, /* of a prime of 2048 bits */
	RSA_MB_WINDOWS_MAX = 410,
	RSA_MB_BYTES_MAX = 512,
};

/* Can a pass run here at all? Public, and asked before anything below but the encodings. */
bool rsa_mb_here(void);

/* --- Keys --- */
/* Big-endian numbers of an RSA key (RFC 8017 3.2), leading zeros allowed. */
struct rsa_mb_parts {
	slice n, e, p, q, dp, dq, qinv;
};

struct rsa_mb_prime {
	uint64_t digits[RSA_MB_DIGITS_MAX];
	uint64_t one[RSA_MB_DIGITS_MAX];   /* R mod p: 1 in Montgomery's form */
	uint64_t enter[RSA_MB_DIGITS_MAX]; /* R^3 mod p: into that form, and undoes a reduction */
	uint64_t k0;                       /* -1/p mod 2^52 */
	unsigned char windows[RSA_MB_WINDOWS_MAX]; /* of the exponent, five bits each, low first */
};

/* The form a pass wants. Its fields are for rsa_mb*.c. */
struct rsa_mb_key {
	unsigned digits; /* of a prime: 20, 30 or 40 */
	struct rsa_mb_prime p, q;
	uint64_t qinv[RSA_MB_DIGITS_MAX]; /* 1/q mod p, in Montgomery's form */
	uint64_t n[2 * RSA_MB_DIGITS_MAX];
};

/* ERR_UNSUPPORTED: not such a key. Takes some hundred microseconds, in constant time. */
enum err rsa_mb_key_init(struct rsa_mb_key *key, const struct rsa_mb_parts *parts) must_use;
/* The same from the DER of a private key (RFC 8017 A.1.2). ERR_INVALID: it is none. */
enum err rsa_mb_key_pkcs1(struct rsa_mb_key *key, slice der) must_use;
/* Of the modulus, of a block and of a signature. */
size_t rsa_mb_key_bytes(const struct rsa_mb_key *key);

/* --- Blocks to be signed, of the length of the modulus --- */
/* RFC 8017 9.2 with SHA-256. */
void rsa_mb_pkcs1(const unsigned char digest[32], unsigned char *block, size_t len);
/* RFC 8017 9.1 with SHA-256 throughout and a salt of 32 bytes, which must be random. */
void rsa_mb_pss(const unsigned char digest[32], const unsigned char salt[32], unsigned char *block,
	size_t len);

/* --- Passes --- */
struct rsa_mb_job {
	const struct rsa_mb_key *key;
	const unsigned char *block;
	unsigned char *sig; /* written only when good; may be `block` */
	bool good;          /* it was made, and verifies */
};

/* The workspace: its size, and its alignment of 64 bytes. */
size_t rsa_mb_work_bytes(void);
/* One to four jobs whose keys have one size. A job that does not come out good met a fault: make
 * that signature by other means. */
void rsa_mb_run(void *work, struct rsa_mb_job *jobs, size_t count);

#endif
