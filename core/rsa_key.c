/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_key.c - RSA private keys that all workers share.
 *
 * wolfCrypt keeps state in a key while it works, so every worker decodes its own instance at
 * first use; each slot is touched by its worker only, and all are freed with the last reference.
 * The form for the lanes is read only, and one serves all. */
#include <wolfssl/options.h>

#include "core/rsa_batch_int.h"

#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"
#include "core/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/rsa.h>

enum { PEM_MAX = 16 * 1024, DER_MAX = 4096, SALT_BYTES = 32 };

struct rsa_key {
	atomic_uint refs;
	size_t bytes;             /* of the modulus */
	struct rsa_mb_key *lanes; /* NULL: not for them */
	RsaKey *instances[WORKERS_MAX];
	size_t der_len;
	unsigned char der[]; /* secret */
};

/* NULL: out of memory, or not such a key. */
static RsaKey *decode(slice der)
{
	RsaKey *key = calloc(1, sizeof(*key));
	word32 at = 0;

	if (!key || wc_InitRsaKey(key, NULL)) {
		free(key);
		return NULL;
	}
	rsa_lanes_hide(key, sizeof(*key));
	if (wc_RsaPrivateKeyDecode((const byte *)der.ptr, &at, key, (word32)der.len) == 0)
		return key;
	wc_FreeRsaKey(key);
	free(key);
	return NULL;
}

static void free_instance(RsaKey *key)
{
	if (!key)
		return;
	wc_FreeRsaKey(key);
	crypt_wipe(key, sizeof(*key));
	free(key);
}

/* NULL: the key is not for the lanes, or there is no memory; then wolfCrypt signs. */
static struct rsa_mb_key *lanes_of(RsaKey *key)
{
	unsigned char der[DER_MAX]; /* PKCS#1, whatever it was read from */
	struct rsa_mb_key *lanes = calloc(1, sizeof(*lanes));
	int len = wc_RsaKeyToDer(key, der, sizeof(der));

	if (!lanes || len <= 0 || rsa_mb_key_pkcs1(lanes, slice_of(der, (size_t)len))) {
		free(lanes);
		lanes = NULL;
	}
	if (lanes)
		rsa_lanes_hide(lanes, sizeof(*lanes));
	crypt_wipe(der, sizeof(der));
	return lanes;
}

static enum err key_from_der(slice der, struct rsa_key **out)
{
	RsaKey *probe = decode(der);

	if (!probe)
		return ERR_UNSUPPORTED;
	int bytes = wc_RsaEncryptSize(probe);
	bool fits = bytes >= 2048 / 8 && bytes <= 4096 / 8;
	struct rsa_key *key = fits ? calloc(1, sizeof(*key) + der.len) : NULL;

	if (key && rsa_mb_here())
		key->lanes = lanes_of(probe);
	free_instance(probe);
	if (!key)
		return fits ? ERR_NOMEM : ERR_UNSUPPORTED;
	key->refs = 1;
	key->bytes = (size_t)bytes;
	key->der_len = der.len;
	memcpy(key->der, der.ptr, der.len);
	rsa_lanes_hide(key, sizeof(*key) + der.len);
	*out = key;
	return OK;
}

enum err rsa_key_parse(slice pem, struct rsa_key **out)
{
	unsigned char *der = pem.len && pem.len <= PEM_MAX ? calloc(1, pem.len) : NULL;
	enum err err = ERR_INVALID;

	if (!der)
		return pem.len && pem.len <= PEM_MAX ? ERR_NOMEM : ERR_INVALID;
	int len = wc_KeyPemToDer((const byte *)pem.ptr, (int)pem.len, der, (int)pem.len, NULL);

	if (len > 0)
		err = key_from_der(slice_of(der, (size_t)len), out);
	crypt_wipe(der, pem.len);
	free(der);
	return err;
}

struct rsa_key *rsa_key_hold(struct rsa_key *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void rsa_key_put(struct rsa_key *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < WORKERS_MAX; i++)
		free_instance(key->instances[i]);
	if (key->lanes) {
		crypt_wipe(key->lanes, sizeof(*key->lanes));
		free(key->lanes);
	}
	crypt_wipe(key->der, key->der_len);
	free(key);
}

const struct rsa_mb_key *rsa_key_lanes(const struct rsa_key *key)
{
	return key->lanes;
}

/* --- Signing --- */

static bool sign_pss(RsaKey *key, WC_RNG *rng, const struct rsa_request *r)
{
	byte check[RSA_SIG_MAX];
	int len = wc_RsaPSS_Sign_ex(r->digest, 32, r->out->bytes, RSA_SIG_MAX, WC_HASH_TYPE_SHA256,
		WC_MGF1SHA256, SALT_BYTES, key, rng);

	if (len <= 0)
		return false;
	r->out->len = (size_t)len;
	return wc_RsaPSS_VerifyCheck(r->out->bytes, (word32)len, check, sizeof(check), r->digest,
		       32, WC_HASH_TYPE_SHA256, WC_MGF1SHA256, key) > 0;
}

static bool sign_pkcs1(RsaKey *key, WC_RNG *rng, const struct rsa_request *r)
{
	byte info[128], check[RSA_SIG_MAX];
	word32 info_len = wc_EncodeSignature(info, r->digest, 32, SHA256h);
	int len = wc_RsaSSL_Sign(info, info_len, r->out->bytes, RSA_SIG_MAX, key, rng);

	if (len <= 0)
		return false;
	r->out->len = (size_t)len;
	int said = wc_RsaSSL_Verify(r->out->bytes, (word32)len, check, sizeof(check), key);

	return said == (int)info_len && memcmp(check, info, info_len) == 0;
}

enum err rsa_key_sign(struct rsa_key *key, unsigned worker, struct WC_RNG *rng,
	const struct rsa_request *request)
{
	slice der = slice_of(key->der, key->der_len);
	RsaKey *once = NULL, **mine = worker < WORKERS_MAX ? &key->instances[worker] : &once;

	if (!*mine)
		*mine = decode(der);
	if (!*mine)
		return ERR_NOMEM;
	/* Blinding draws from the worker's generator. */
	wc_RsaSetRNG(*mine, rng);
	bool good = request->padding == RSA_PSS_SHA256 ? sign_pss(*mine, rng, request) :
							 sign_pkcs1(*mine, rng, request);

	wc_RsaSetRNG(*mine, NULL);
	free_instance(once);
	return good ? OK : ERR_CORRUPT;
}
