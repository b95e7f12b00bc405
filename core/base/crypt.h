/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crypt.h - hashes and comparisons, over wolfCrypt and the processor's own SHA-256.
 *
 * Contexts are plain memory of the caller, need no end call, and may be copied to fork a running
 * hash. Randomness is a system call and lives elsewhere (core/entropy.h). Nothing here fails. */
#ifndef CORE_BASE_CRYPT_H
#define CORE_BASE_CRYPT_H

#include "core/base/base.h"

enum { SHA256_BYTES = 32, CRYPT_SHA256_CTX = 256 };

struct sha256 {
	_Alignas(16) unsigned char state[CRYPT_SHA256_CTX];
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, slice bytes);
/* Leaves *h unusable until the next init. */
void sha256_end(struct sha256 *h, unsigned char out[SHA256_BYTES]);
void sha256_of(slice bytes, unsigned char out[SHA256_BYTES]);

void hmac_sha256(slice key, slice bytes, unsigned char out[SHA256_BYTES]);
/* RFC 8018 5.2 with HMAC-SHA-256: slow on purpose, never on a worker. */
void pbkdf2_sha256(slice password, slice salt, unsigned iterations,
	unsigned char out[SHA256_BYTES]);

/* Constant time in the contents. */
bool crypt_eq(slice a, slice b);
/* Not removed by the optimiser. */
void crypt_wipe(void *bytes, size_t len);

#endif
