/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs into lanes and signatures out of them, around the kernel of rsa_mb_ifma.c. Lanes without a job
 * repeat the first one: what they cost is spent anyway, and nothing has to be told apart. */
#include "core/base/rsa_mb_int.h"

#include "core/base/cpu.h"
#include "core/base/crypt.h"

bool rsa_mb_here(void)
{
#ifdef RP_RSA_MB
	return cpu_has(CPU_IFMA);
#else
	return false;
#endif
}

size_t rsa_mb_work_bytes(void)
{
	return sizeof(struct rsa_mb_pass);
}

static void put_column(rsa_mb_row *rows, const uint64_t *digits, size_t count, size_t lane)
{
	for (size_t j = 0; j < count; j++)
		rows[j][lane] = digits[j];
}

static void load_prime(struct rsa_mb_pass *pass, const struct rsa_mb_prime *prime, size_t lane)
{
	put_column(pass->prime, prime->digits, pass->digits, lane);
	put_column(pass->one, prime->one, pass->digits, lane);
	put_column(pass->enter, prime->enter, pass->digits, lane);
	pass->k0[lane] = prime->k0;
	for (size_t i = 0; i < rsa_mb_windows(pass->digits); i++)
		pass->windows[i][lane] = prime->windows[i];
}

static void load_job(struct rsa_mb_pass *pass, const struct rsa_mb_job *job, size_t lane)
{
	static const uint64_t none[RSA_MB_DIGITS_MAX];
	uint64_t block[2 * RSA_MB_DIGITS_MAX];
	size_t wide = 2 * pass->digits;

	load_prime(pass, &job->key->p, lane);
	load_prime(pass, &job->key->q, lane + RSA_MB_JOBS);
	put_column(pass->qinv, job->key->qinv, pass->digits, lane);
	put_column(pass->qinv, none, pass->digits, lane + RSA_MB_JOBS);
	rsa_mb_digits(slice_of(job->block, rsa_mb_key_bytes(job->key)), block, wide);
	for (size_t both = lane; both < RSA_MB_LANES; both += RSA_MB_JOBS) {
		put_column(pass->block, block, wide, both);
		put_column(pass->n, job->key->n, wide, both);
	}
}

/* Digits to bytes, big-endian. */
static void put_sig(const struct rsa_mb_pass *pass, const struct rsa_mb_job *job, size_t lane)
{
	unsigned char *at = job->sig + rsa_mb_key_bytes(job->key);
	uint64_t held = 0;
	unsigned bits = 0;

	for (size_t j = 0; at > job->sig; j++) {
		uint64_t digit = pass->sig[j][lane];

		held |= digit << bits;
		bits += 52;
		for (; bits >= 8 && at > job->sig; bits -= 8, held >>= 8)
			*--at = (unsigned char)held;
	}
}

/* A pass uses under 9 KB of stack, making a key far less. */
__attribute__((noinline)) void rsa_mb_wipe_stack(void)
{
	unsigned char below[12 * 1024];

	crypt_wipe(below, sizeof(below));
}

void rsa_mb_run_on(rsa_mb_pass_run *run, void *work, struct rsa_mb_job *jobs, size_t count)
{
	struct rsa_mb_pass *pass = work;

	must(count && count <= RSA_MB_JOBS);
	pass->digits = jobs[0].key->digits;
	for (size_t i = 0; i < RSA_MB_JOBS; i++) {
		const struct rsa_mb_job *job = &jobs[i < count ? i : 0];

		must(job->key->digits == pass->digits);
		load_job(pass, job, i);
	}
	run(pass);
	rsa_mb_wipe_stack();
	for (size_t i = 0; i < count; i++) {
		unsigned both = 1u << i | 1u << (i + RSA_MB_JOBS);

		jobs[i].good = (pass->good & both) == both;
		if (jobs[i].good)
			put_sig(pass, &jobs[i], i);
	}
	/* The table comes last, and only its first rows were used. */
	crypt_wipe(pass,
		offsetof(struct rsa_mb_pass, table) + pass->digits * sizeof(pass->table[0]));
}

void rsa_mb_run(void *work, struct rsa_mb_job *jobs, size_t count)
{
#ifdef RP_RSA_MB
	rsa_mb_run_on(rsa_mb_ifma, work, jobs, count);
#else
	must(!"rsa_mb_here() was not asked");
#endif
}
