/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine in vector lanes: whether it is used, its memory, and jobs of mixed sizes into passes of
 * one size. Whether it may be used is found out once, from the options, the processor and the known
 * answers; threads that race for that find the same. */
#include "core/rsa_batch_int.h"

#include "core/base/crypt.h"
#include "core/base/rsa_mb.h"
#include "core/conf.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const engines[] = { "auto", "ifma", "wolfcrypt", NULL };

static void check_options(struct conf_check *check, const void *options)
{
	const struct rsa_batch_options *o = options;

	if (o->engine == RSA_ENGINE_IFMA && !rsa_mb_here())
		conf_complain(check, "sign.engine",
			"ifma: this processor has no AVX-512 IFMA; auto would use wolfcrypt");
}

static const struct conf_row rows[] = {
	{ "sign.engine", CONF_ENUM, offsetof(struct rsa_batch_options, engine), .def = "auto",
		.words = engines,
		.doc = "What makes RSA signatures: ifma, four at a time in AVX-512 lanes; "
		       "wolfcrypt, one by one; auto, the former where the processor has it" },
	{ "sign.batch_wait_us", CONF_INT, offsetof(struct rsa_batch_options, batch_wait_us),
		.def = "300", .max = 100000,
		.doc = "Microseconds a signature waits for others to be made with; 0: it does "
		       "not" },
};
const struct conf_table rsa_batch_options_table = { CONF_TABLE(rows, struct rsa_batch_options),
	.check = check_options };

static struct rsa_batch_options chosen = { .engine = RSA_ENGINE_AUTO, .batch_wait_us = 300 };

enum { UNKNOWN, USABLE, UNUSABLE };
static atomic_int state;

bool rsa_lanes_usable(void)
{
	int known = atomic_load_explicit(&state, memory_order_relaxed);

	if (known == UNKNOWN) {
		known = chosen.engine != RSA_ENGINE_WOLFCRYPT && rsa_mb_here() &&
				rsa_lanes_self_test() ?
			USABLE :
			UNUSABLE;
		atomic_store(&state, known);
	}
	return known == USABLE;
}

void rsa_batch_configure(const struct rsa_batch_options *options)
{
	chosen = *options;
	atomic_store(&state, UNKNOWN);
	rsa_lanes_usable();
}

unsigned rsa_lanes_wait_us(void)
{
	return (unsigned)chosen.batch_wait_us;
}

const char *rsa_batch_engine(void)
{
	return rsa_lanes_usable() ? engines[RSA_ENGINE_IFMA] : engines[RSA_ENGINE_WOLFCRYPT];
}

void rsa_lanes_hide(const void *bytes, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)bytes & ~(page - 1);
	uintptr_t end = ((uintptr_t)bytes + len + page - 1) & ~(page - 1);

	/* A kernel without it dumps them: worse, but not wrong. */
	(void)!madvise((void *)from, end - from, MADV_DONTDUMP);
}

void *rsa_lanes_work_new(void)
{
	size_t bytes = (rsa_mb_work_bytes() + 63) & ~(size_t)63;
	void *work = aligned_alloc(64, bytes);

	if (!work)
		return NULL;
	memset(work, 0, bytes);
	rsa_lanes_hide(work, bytes);
	return work;
}

void rsa_lanes_work_free(void *work)
{
	free(work);
}

static void put_block(const struct rsa_lanes_job *job)
{
	unsigned char *block = job->request.out->bytes;
	size_t len = rsa_mb_key_bytes(job->key);

	if (job->request.padding == RSA_PSS_SHA256)
		rsa_mb_pss(job->request.digest, job->salt, block, len);
	else
		rsa_mb_pkcs1(job->request.digest, block, len);
}

/* The block stands where the signature will. */
static void run_pass(void *work, struct rsa_lanes_job *const *chosen_jobs, size_t count)
{
	struct rsa_mb_job pass[RSA_MB_JOBS];

	for (size_t i = 0; i < count; i++) {
		unsigned char *bytes = chosen_jobs[i]->request.out->bytes;

		put_block(chosen_jobs[i]);
		pass[i] = (struct rsa_mb_job){ chosen_jobs[i]->key, bytes, bytes, false };
	}
	rsa_mb_run(work, pass, count);
	for (size_t i = 0; i < count; i++) {
		chosen_jobs[i]->good = pass[i].good;
		chosen_jobs[i]->request.out->len = rsa_mb_key_bytes(chosen_jobs[i]->key);
	}
}

void rsa_lanes_sign(void *work, struct rsa_lanes_job *jobs, size_t count)
{
	struct rsa_lanes_job *pass[RSA_MB_JOBS];

	for (unsigned digits = 20; digits <= RSA_MB_DIGITS_MAX; digits += 10) {
		size_t taken = 0;

		for (size_t i = 0; i < count; i++)
			if (jobs[i].key->digits == digits)
				pass[taken++] = &jobs[i];
		if (taken)
			run_pass(work, pass, taken);
	}
}
