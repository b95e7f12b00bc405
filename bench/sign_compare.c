/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lanes against wolfCrypt and against OpenSSL, on random keys and blocks: every pass holds jobs of
 * several keys, most of them padded digests, some random numbers below n, and some 0, 1 and n - 1,
 * which the private operation leaves as they are. */
#include <wolfssl/options.h>

#include "bench/sign.h"

#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"
#include "core/base/sigkey.h"
#include "core/entropy.h"
#include "core/rsa_batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/rsa.h>

enum { SIZES = 3, KEYS = 4, PEM_MAX = 8192 };
/* Passes with the same four keys, since making one takes as long as hundreds of signatures. */
enum { PASSES = 125 };
static const unsigned sizes[SIZES] = { 2048, 3072, 4096 };

struct key {
	struct sigkey *sigkey;
	const struct rsa_mb_key *lanes;
	RsaKey wolfcrypt;
	struct openssl_key *openssl; /* NULL: no OpenSSL here */
	unsigned char n[RSA_MB_BYTES_MAX];
	size_t bytes;
};

enum kind { DIGEST, NUMBER, ZERO, ONE, LAST, KINDS };
static const char *const kind_names[KINDS] = { "padded digests", "numbers", "0", "1", "n - 1" };

struct job {
	struct key *key;
	enum kind kind;
	unsigned char digest[SHA256_BYTES];
	unsigned char block[RSA_MB_BYTES_MAX], sig[RSA_MB_BYTES_MAX];
};

struct comparison {
	struct key *keys[SIZES][KEYS];
	unsigned renewed[SIZES];
	bool openssl;
	void *work;
	struct job jobs[RSA_MB_JOBS];
	uint64_t made[KINDS], mixed;
};

/* --- Keys --- */

static void hide_nothing(const void *bytes, size_t len)
{
	(void)bytes;
	(void)len;
}

static void free_key(struct key *key)
{
	if (!key)
		return;
	sigkey_free(key->sigkey);
	wc_FreeRsaKey(&key->wolfcrypt);
	openssl_key_free(key->openssl);
	free(key);
}

static bool read_wolfcrypt(struct key *key, slice pem)
{
	unsigned char der[PEM_MAX];
	unsigned char e[8];
	word32 at = 0, e_len = sizeof(e), n_len = sizeof(key->n);
	int len = wc_KeyPemToDer((const byte *)pem.ptr, (int)pem.len, der, sizeof(der), NULL);

	return len > 0 && wc_InitRsaKey(&key->wolfcrypt, NULL) == 0 &&
		wc_RsaPrivateKeyDecode(der, &at, &key->wolfcrypt, (word32)len) == 0 &&
		wc_RsaSetRNG(&key->wolfcrypt, rsa_batch_rng(NULL)) == 0 &&
		wc_RsaFlattenPublicKey(&key->wolfcrypt, e, &e_len, key->n, &n_len) == 0;
}

static struct key *new_key(unsigned bits, bool openssl)
{
	struct key *key = calloc(1, sizeof(*key));
	unsigned char pem[PEM_MAX];
	struct out o = out_fixed(pem, sizeof(pem));

	must(key);
	key->bytes = bits / 8;
	if (sigkey_generate(SIGKEY_RSA, bits, rsa_batch_rng(NULL), &key->sigkey) == OK) {
		sigkey_put_private(key->sigkey, &o);
		key->lanes = sigkey_lanes(key->sigkey, hide_nothing);
		if (key->lanes && read_wolfcrypt(key, out_written(&o)) &&
			(!openssl || (key->openssl = openssl_key_new(out_written(&o)))))
			return key;
	}
	fprintf(stderr, "no RSA-%u key could be made that all engines take\n", bits);
	free_key(key);
	return NULL;
}

/* --- Jobs --- */

/* Three of four are what mail has. */
static enum kind roll(unsigned char die)
{
	return die < 192 ? DIGEST : die < 224 ? NUMBER : (enum kind)(ZERO + die % 3);
}

static void fill(struct job *job)
{
	size_t bytes = job->key->bytes;

	memset(job->block, 0, bytes);
	switch (job->kind) {
	case DIGEST:
		rsa_mb_pkcs1(job->digest, job->block, bytes);
		break;
	case NUMBER:
		entropy_fill(job->block + 1, bytes - 1);
		break;
	case ONE:
		job->block[bytes - 1] = 1;
		break;
	case LAST: /* n is odd */
		memcpy(job->block, job->key->n, bytes);
		job->block[bytes - 1]--;
		break;
	default:
		break;
	}
}

static bool wolfcrypt_agrees(struct job *job)
{
	unsigned char sig[RSA_MB_BYTES_MAX];
	word32 len = sizeof(sig);
	size_t signed_len;

	if (job->kind == DIGEST)
		return sigkey_sign(job->key->sigkey, rsa_batch_rng(NULL), job->digest, sig,
			       &signed_len) == OK &&
			memcmp(sig, job->sig, signed_len) == 0;
	/* It refuses the others, whose answers are known. */
	if (job->kind != NUMBER)
		return memcmp(job->block, job->sig, job->key->bytes) == 0;
	return wc_RsaDirect(job->block, (word32)job->key->bytes, sig, &len, &job->key->wolfcrypt,
		       RSA_PRIVATE_ENCRYPT, rsa_batch_rng(NULL)) > 0 &&
		memcmp(sig, job->sig, job->key->bytes) == 0;
}

static bool openssl_agrees(struct job *job)
{
	unsigned char sig[RSA_MB_BYTES_MAX];
	bool raw = job->kind != DIGEST;
	slice in = raw ? slice_of(job->block, job->key->bytes) :
			 slice_of(job->digest, sizeof(job->digest));

	return !job->key->openssl ||
		(openssl_sign(job->key->openssl, raw, in, sig) &&
			memcmp(sig, job->sig, job->key->bytes) == 0);
}

static bool one_pass(struct comparison *c, struct key *const *keys)
{
	struct rsa_mb_job pass[RSA_MB_JOBS];

	for (size_t i = 0; i < RSA_MB_JOBS; i++) {
		struct job *job = &c->jobs[i];
		unsigned char dice[2];

		entropy_fill(dice, sizeof(dice));
		entropy_fill(job->digest, sizeof(job->digest));
		job->key = keys[dice[0] % KEYS];
		job->kind = roll(dice[1]);
		fill(job);
		pass[i] = (struct rsa_mb_job){ job->key->lanes, job->block, job->sig, false };
		c->made[job->kind]++;
		c->mixed += job->key != c->jobs[0].key;
	}
	rsa_mb_run(c->work, pass, RSA_MB_JOBS);
	for (size_t i = 0; i < RSA_MB_JOBS; i++) {
		struct job *job = &c->jobs[i];
		const char *who = !pass[i].good ? "the lanes' own check" :
			!wolfcrypt_agrees(job)  ? "wolfCrypt" :
			!openssl_agrees(job)    ? "OpenSSL" :
						  NULL;

		if (!who)
			continue;
		printf("RSA-%zu, %s, lane %zu: %s differs\n", job->key->bytes * 8,
			kind_names[job->kind], i, who);
		return false;
	}
	return true;
}

/* --- The run --- */

/* A new key in the place of the oldest. */
static bool renew(struct comparison *c, size_t size)
{
	struct key **keys = c->keys[size];
	size_t oldest = c->renewed[size]++ % KEYS;

	for (size_t i = 0; i < KEYS; i++) {
		if (keys[i] && i != oldest)
			continue;
		free_key(keys[i]);
		keys[i] = new_key(sizes[size], c->openssl);
		if (!keys[i])
			return false;
	}
	return true;
}

/* Mostly the smallest size; every eighth time one of the others. */
static bool run(struct comparison *c, uint64_t count, uint64_t *done)
{
	for (unsigned turn = 0; *done < count; turn++) {
		size_t size = turn % 8 ? 0 : 1 + turn / 8 % 2;

		if (!renew(c, size))
			return false;
		for (unsigned i = 0; i < PASSES && *done < count; i++, *done += RSA_MB_JOBS)
			if (!one_pass(c, c->keys[size]))
				return false;
	}
	return true;
}

int sign_compare(uint64_t count)
{
	struct comparison *c = calloc(1, sizeof(*c));
	uint64_t done = 0;

	must(c);
	c->work = aligned_alloc(64, (rsa_mb_work_bytes() + 63) & ~(size_t)63);
	must(c->work);
	memset(c->work, 0, rsa_mb_work_bytes());
	c->openssl = openssl_load();
	bool good = run(c, count, &done);

	printf("%" PRIu64 " private operations in lanes, %s as by wolfCrypt%s\n", done,
		good ? "all the same" : "NOT all the same",
		c->openssl ? " and by OpenSSL" : "; no OpenSSL's library here");
	for (size_t k = 0; k < KINDS; k++)
		printf("  %-16s %10" PRIu64 "\n", kind_names[k], c->made[k]);
	printf("  %-16s %10" PRIu64 "\n", "beside another key", c->mixed);
	for (size_t i = 0; i < SIZES * KEYS; i++)
		free_key(c->keys[i / KEYS][i % KEYS]);
	free(c->work);
	free(c);
	return good ? 0 : 1;
}
