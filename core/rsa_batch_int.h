/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_batch_int.h - between rsa_batch.c (the queue), rsa_key.c (keys, wolfCrypt) and rsa_lanes.c
 * (the engine in vector lanes).
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

/* --- Lanes --- */
struct rsa_mb_key;
struct rsa_lanes_job {
	const struct rsa_mb_key *key;
	struct rsa_request request;
	unsigned char salt[32]; /* PSS */
	bool good;
};

/* By the options, the processor, and the known answers. */
bool rsa_lanes_usable(void);
unsigned rsa_lanes_wait_us(void);
/* NULL: not a key for the lanes. */
const struct rsa_mb_key *rsa_key_lanes(const struct rsa_key *key);
/* A workspace for passes, kept out of core dumps; NULL: out of memory. */
void *rsa_lanes_work_new(void);
void rsa_lanes_work_free(void *work);
/* Keep what holds secrets out of core dumps, with whatever shares its pages. */
void rsa_lanes_hide(const void *bytes, size_t len);
/* Make up to four, of keys of any size; sets `good`. */
void rsa_lanes_sign(void *work, struct rsa_lanes_job *jobs, size_t count);
/* Do all lanes know their answers? */
bool rsa_lanes_self_test(void);

/* Seeds of wolfCrypt come from core/entropy from here on. Any thread, any number of times. */
void rsa_batch_prepare(void);
/* Once more: wolfSSL_Init() puts its own source back. */
void rsa_batch_take_seeds(void);

#endif
