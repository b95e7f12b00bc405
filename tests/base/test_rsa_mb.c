/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The RSA lane kernel against wolfCrypt, at its edges, and with faults put into it. Whatever the
 * kernel does is done twice: by the processor's lanes where it has them, and by emulated ones. */
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>
#undef MIN
#undef MAX

#include "core/base/cpu.h"
#include "core/base/crypt.h"
#include "core/base/rsa_mb_emulated.h"
#include "tests/base/rsa_mb_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct rig_key numbers[RIG_KEYS];
static struct rsa_mb_key keys[RIG_KEYS];
static RsaKey theirs[RIG_KEYS];
static unsigned char blocks[RSA_MB_JOBS][RSA_MB_BYTES_MAX], sigs[RSA_MB_JOBS][RSA_MB_BYTES_MAX];
static struct rsa_mb_job jobs[RSA_MB_JOBS];
static void *work;
static unsigned seed = 1;

static unsigned dice(void)
{
	seed = seed * 1103515245 + 12345;
	return seed >> 16;
}

static void set_up(void)
{
	work = aligned_alloc(64, (rsa_mb_work_bytes() + 63) / 64 * 64);
	cr_assert(work);
	for (size_t i = 0; i < RIG_KEYS; i++) {
		const struct rsa_mb_parts *parts = &numbers[i].parts;

		rig_load(i, &numbers[i]);
		cr_assert_eq(rsa_mb_key_init(&keys[i], parts), OK);
		cr_assert_eq(wc_InitRsaKey(&theirs[i], NULL), 0);
		cr_assert_eq(wc_RsaPublicKeyDecodeRaw((const byte *)parts->n.ptr,
				     (word32)parts->n.len, (const byte *)parts->e.ptr,
				     (word32)parts->e.len, &theirs[i]),
			0);
	}
}

static void tear_down(void)
{
	for (size_t i = 0; i < RIG_KEYS; i++)
		wc_FreeRsaKey(&theirs[i]);
	free(work);
}

TestSuite(rsa_mb, .init = set_up, .fini = tear_down);

static void need_the_processor(void)
{
	if (!rsa_mb_here())
		cr_skip_test("this processor has no AVX-512 IFMA");
}

static void give(size_t at, size_t key)
{
	unsigned char digest[SHA256_BYTES];

	for (size_t i = 0; i < sizeof(digest); i++)
		digest[i] = (unsigned char)dice();
	jobs[at] = (struct rsa_mb_job){ .key = &keys[key], .block = blocks[at], .sig = sigs[at] };
	memset(sigs[at], 0, sizeof(sigs[at]));
	rsa_mb_pkcs1(digest, blocks[at], rsa_mb_key_bytes(&keys[key]));
}

/* sig ^ e = block, by wolfCrypt and the public key alone. A block decides its PKCS#1 signature, so
 * this is equality with the signature wolfCrypt would have made. */
static bool right(size_t at)
{
	size_t key = (size_t)(jobs[at].key - keys);
	byte opened[RSA_MB_BYTES_MAX];
	word32 len = sizeof(opened), bytes = (word32)rsa_mb_key_bytes(jobs[at].key);

	int got =
		wc_RsaDirect(sigs[at], bytes, opened, &len, &theirs[key], RSA_PUBLIC_DECRYPT, NULL);

	return got == (int)bytes && memcmp(opened, blocks[at], bytes) == 0;
}

static void expect_right(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		cr_expect(jobs[i].good, "job %zu of %zu", i, count);
		cr_expect(right(i), "job %zu of %zu", i, count);
	}
}

static void sign_with_every_key(rsa_mb_pass_run *run)
{
	for (size_t key = 0; key < RIG_KEYS; key++) {
		for (size_t i = 0; i < RSA_MB_JOBS; i++)
			give(i, key);
		rsa_mb_run_on(run, work, jobs, RSA_MB_JOBS);
		expect_right(RSA_MB_JOBS);
	}
}

static void sign_with_mixed_keys(rsa_mb_pass_run *run, size_t rounds)
{
	for (size_t round = 0; round < rounds; round++) {
		size_t count = 1 + dice() % RSA_MB_JOBS;

		for (size_t i = 0; i < count; i++)
			give(i, dice() % RIG_SMALL);
		rsa_mb_run_on(run, work, jobs, count);
		expect_right(count);
	}
}

/* Numbers that make carries, borrows and final subtractions meet their limits: 0, 1, n-1, p. */
static void sign_edges(rsa_mb_pass_run *run)
{
	for (size_t i = 0; i < RSA_MB_JOBS; i++) {
		give(i, i % RIG_SMALL);
		memset(blocks[i], 0, 256);
	}
	blocks[1][255] = 1;
	memcpy(blocks[2], numbers[0].parts.n.ptr, 256);
	blocks[2][255] ^= 1;
	memcpy(blocks[3] + 128, numbers[1].parts.p.ptr, 128);
	rsa_mb_run_on(run, work, jobs, RSA_MB_JOBS);
	expect_right(RSA_MB_JOBS);
	/* x^d is x for the first three, d being odd. */
	for (size_t i = 0; i < 3; i++)
		cr_expect_arr_eq(sigs[i], blocks[i], 256, "edge %zu", i);
}

Test(rsa_mb, signs_with_every_key)
{
	need_the_processor();
	sign_with_every_key(rsa_mb_ifma);
}

Test(rsa_mb, signs_with_mixed_keys)
{
	need_the_processor();
	sign_with_mixed_keys(rsa_mb_ifma, 1200);
}

Test(rsa_mb, signs_edges)
{
	need_the_processor();
	sign_edges(rsa_mb_ifma);
}

Test(rsa_mb, emulated_lanes_sign_too)
{
	sign_edges(rsa_mb_emulated);
	sign_with_mixed_keys(rsa_mb_emulated, 3);
}

Test(rsa_mb, emulated_lanes_sign_with_every_key)
{
	sign_with_every_key(rsa_mb_emulated);
}

/* What a fault in a key, or in the copy of one in a pass, may hit. */
static uint64_t *part_of(struct rsa_mb_key *key, unsigned which)
{
	struct rsa_mb_prime *prime = which % 2 ? &key->p : &key->q;
	uint64_t *parts[] = { prime->digits, prime->one, prime->enter, &prime->k0, key->qinv,
		key->n };
	size_t at = which / 2 % array_len(parts);

	return parts[at] == &prime->k0 ? parts[at] : parts[at] + dice() % key->digits;
}

/* A signature is good and right, or it is not given out. */
static void sign_with_faulty_key(rsa_mb_pass_run *run, unsigned which)
{
	static struct rsa_mb_key broken;
	size_t hit = dice() % RSA_MB_JOBS;

	broken = keys[0];
	if (which % 7)
		*part_of(&broken, which) ^= UINT64_C(1) << dice() % 52;
	else
		broken.q.windows[dice() % 204] ^= (unsigned char)(1 << dice() % 5);
	for (size_t i = 0; i < RSA_MB_JOBS; i++)
		give(i, 0);
	jobs[hit].key = &broken;
	rsa_mb_run_on(run, work, jobs, RSA_MB_JOBS);
	for (size_t i = 0; i < RSA_MB_JOBS; i++)
		if (i != hit)
			cr_expect(jobs[i].good && right(i), "job %zu beside fault %u", i, which);
	static const unsigned char none[RSA_MB_BYTES_MAX];

	cr_expect_not(jobs[hit].good, "fault %u in job %zu", which, hit);
	cr_expect_arr_eq(sigs[hit], none, sizeof(none), "fault %u: something leaked", which);
}

Test(rsa_mb, a_faulty_key_is_noticed)
{
	need_the_processor();
	for (unsigned which = 0; which < 300; which++)
		sign_with_faulty_key(rsa_mb_ifma, which);
}

/* One product somewhere in the pass goes wrong in one lane. */
Test(rsa_mb, a_faulty_product_is_noticed)
{
	for (unsigned round = 0; round < 24; round++) {
		unsigned lane = dice() % RSA_MB_LANES, hit = lane % RSA_MB_JOBS;
		long products = 1 + (long)(((uint64_t)dice() << 16 | dice()) % 800000);

		for (size_t i = 0; i < RSA_MB_JOBS; i++)
			give(i, i % RIG_SMALL);
		rsa_mb_fault = (struct rsa_mb_fault){
			.countdown = products, .lane = lane, .flip = UINT64_C(1) << dice() % 52
		};
		rsa_mb_run_on(rsa_mb_emulated, work, jobs, RSA_MB_JOBS);
		cr_expect_eq(rsa_mb_fault.countdown, 0);
		cr_expect_not(jobs[hit].good, "product %ld, lane %u", products, lane);
		for (size_t i = 0; i < RSA_MB_JOBS; i++)
			cr_expect(i == hit || (jobs[i].good && right(i)));
	}
}

Test(rsa_mb, leaves_nothing_behind)
{
	static const unsigned char zeros[64];

	give(0, 0);
	memset(work, 0, rsa_mb_work_bytes());
	rsa_mb_run_on(rsa_mb_emulated, work, jobs, 1);
	for (size_t at = 0; at + 64 <= rsa_mb_work_bytes(); at += 64)
		cr_assert_arr_eq((const char *)work + at, zeros, 64, "at %zu", at);
}

Test(rsa_mb, refuses_other_keys)
{
	struct rsa_mb_parts good = numbers[0].parts, bad[] = { good, good, good, good, good, good };
	struct rsa_mb_key key;

	bad[0].p = slice_sub(good.p, 0, good.p.len - 1); /* primes of unequal length */
	bad[1].e = SLICE("\3");
	bad[2].n = slice_sub(good.n, 0, 128);
	bad[3].q = slice_sub(good.n, 0, good.q.len); /* even or not a factor: the first is seen */
	bad[4].dp = good.n;
	bad[5].n = slice_of(NULL, 0);
	((unsigned char *)numbers[0].bytes[0])[good.q.len - 1] &= 0xfe;
	for (size_t i = 0; i < array_len(bad); i++)
		cr_expect_eq(rsa_mb_key_init(&key, &bad[i]), ERR_UNSUPPORTED, "row %zu", i);
}

Test(rsa_mb, refuses_what_is_no_der)
{
	static const slice bad[] = { SLICE_INIT(""), SLICE_INIT("\x30"), SLICE_INIT("\x30\x80"),
		SLICE_INIT("\x30\x82\xff"), SLICE_INIT("\x30\x82\xff\xff"),
		SLICE_INIT("\x30\x83\0\0\0"), SLICE_INIT("\x30\x02\x02\x01"),
		SLICE_INIT("\x30\x03\x02\x01\0"), SLICE_INIT("\x02\x01\0") };
	struct rsa_mb_key key;

	for (size_t i = 0; i < array_len(bad); i++)
		cr_expect_eq(rsa_mb_key_pkcs1(&key, bad[i]), ERR_INVALID, "row %zu", i);
}

/* wolfCrypt opens what both encodings make; a wrong digest does not fit. */
Test(rsa_mb, encodings)
{
	unsigned char digest[SHA256_BYTES] = "digest", salt[32] = "salt", other[SHA256_BYTES] = "x";
	byte opened[RSA_MB_BYTES_MAX], again[RSA_MB_BYTES_MAX];

	for (size_t key = 0; key < RIG_KEYS; key++) {
		size_t len = rsa_mb_key_bytes(&keys[key]);

		give(0, key);
		rsa_mb_pss(digest, salt, blocks[0], len);
		rsa_mb_run_on(rsa_mb_emulated, work, jobs, 1);
		cr_assert(jobs[0].good);
		memcpy(again, sigs[0], len);
		cr_expect_gt(wc_RsaPSS_VerifyCheck(sigs[0], (word32)len, opened, sizeof(opened),
				     digest, 32, WC_HASH_TYPE_SHA256, WC_MGF1SHA256, &theirs[key]),
			0);
		cr_expect_leq(wc_RsaPSS_VerifyCheck(again, (word32)len, opened, sizeof(opened),
				      other, 32, WC_HASH_TYPE_SHA256, WC_MGF1SHA256, &theirs[key]),
			0);
	}
}

Test(rsa_mb, is_not_here_when_hidden)
{
	cpu_hide(CPU_IFMA);
	cr_expect_not(rsa_mb_here());
}
