/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_batch.h - RSA signatures, gathered per worker and made together.
 *
 * A fiber hands in {key, digest} and waits. The worker makes what has gathered at the end of a turn,
 * when four wait or the oldest has waited for the option: at most four in one turn (others get
 * their share), in the vector lanes of core/base/rsa_mb.h where the processor has them and the
 * key fits, else by wolfCrypt one by one. Each is verified before it is given back (a faulty CRT
 * result would give the key away); one that the lanes got wrong is made again by wolfCrypt, and
 * counted. A worker with two passes waiting gives one to the worker with the least to do. A key
 * may be shared by all workers; whoever waits holds a reference. A cancel ends the wait with its
 * error and takes the job back, from another worker within some milliseconds. Ed25519 and everything
 * outside a fiber is signed at once. */
#ifndef CORE_RSA_BATCH_H
#define CORE_RSA_BATCH_H

#include "core/base/base.h"

struct conf_table;
struct rsa_key;
struct sigkey;
struct worker;

enum { RSA_SIG_MAX = 512 }; /* RSA-4096 */

enum rsa_padding {
	RSA_PKCS1_SHA256, /* RFC 8017 8.2: DKIM, TLS 1.2 */
	RSA_PSS_SHA256,   /* RFC 8017 8.1, salt 32: TLS 1.3 */
};

/* --- Which engine --- */
enum rsa_engine { RSA_ENGINE_AUTO, RSA_ENGINE_IFMA, RSA_ENGINE_WOLFCRYPT };

struct rsa_batch_options {
	int engine;
	int64_t batch_wait_us; /* for a batch to fill */
};
extern const struct conf_table rsa_batch_options_table; /* sign.* */

/* Before workers start; without it, the defaults. */
void rsa_batch_configure(const struct rsa_batch_options *options);
/* "ifma" or "wolfcrypt": what signs with keys of the usual shape. The first of these calls tries the
 * lanes against known answers; lanes that fail are not used. */
const char *rsa_batch_engine(void);

/* --- Keys: parsed once, shared by all workers, reference-counted --- */
/* PEM, PKCS#1 or PKCS#8. ERR_INVALID: no private key; ERR_UNSUPPORTED: not RSA, or not 2048 to
 * 4096 bits. */
enum err rsa_key_parse(slice pem, struct rsa_key **out) must_use;
struct rsa_key *rsa_key_hold(struct rsa_key *key);
void rsa_key_put(struct rsa_key *key); /* NULL is harmless; the last one wipes it */

struct rsa_sig {
	size_t len;
	unsigned char bytes[RSA_SIG_MAX];
};

/* On a fiber of `w` (waits), or elsewhere with w = NULL or on its loop (signs at once).
 * ERR_NOMEM, ERR_CORRUPT: the signature did not verify; or the error of a cancel. */
enum err rsa_batch_sign(struct worker *w, struct rsa_key *key, enum rsa_padding padding,
	const unsigned char digest[32], struct rsa_sig *out) must_use;
/* The same for a key of core/base/sigkey.h (one per worker): RSA means PKCS#1; Ed25519 does not
 * wait. */
enum err rsa_batch_sign_sigkey(struct worker *w, struct sigkey *key, const unsigned char digest[32],
	struct rsa_sig *out) must_use;

/* A worker's random generator for wolfCrypt (blinding, salts); seeded from core/entropy. NULL
 * worker: the calling thread's own. NULL when memory ran out. Lives as long as the thread. */
struct WC_RNG;
struct WC_RNG *rsa_batch_rng(struct worker *w);

struct rsa_batch_stats {
	uint64_t signatures, batches, waiting, failed;
	uint64_t in_lanes;    /* of the signatures */
	uint64_t redone;      /* made wrong by the lanes: not one should be */
	uint64_t handed_over; /* asked for here, and given to another worker to make */
};
/* From any thread; a glance. */
void rsa_batch_stats(struct worker *w, struct rsa_batch_stats *out);

#endif
