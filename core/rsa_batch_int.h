/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_batch_int.h - between rsa_batch.c (the queue) and rsa_key.c (keys, wolfCrypt).
 *
 * tls_session.c includes it for rsa_batch_prepare; nobody else does. The self-test is
 * rsa_selftest.c. */
#ifndef CORE_RSA_BATCH_INT_H
#define CORE_RSA_BATCH_INT_H

#include "core/rsa_batch.h"

#define RSA_NO_WORKER UINT32_MAX

struct rsa_request {
	enum rsa_padding padding;
	const unsigned char *digest;
	struct rsa_sig *out;
};

/* Sign and verify with the instance of that worker (RSA_NO_WORKER: one made for the call). */
enum err rsa_key_sign(struct rsa_key *key, unsigned worker, struct WC_RNG *rng,
	const struct rsa_request *request) must_use;

/* Seeds of wolfCrypt come from core/entropy from here on. Any thread, any number of times. */
void rsa_batch_prepare(void);
/* Once more: wolfSSL_Init() puts its own source back. */
void rsa_batch_take_seeds(void);

#endif
