/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_mb_int.h - between rsa_mb.c (keys and jobs as bytes) and rsa_mb_ifma.c (lanes).
 *
 * Everything a pass touches stands in one struct, so that one wipe ends it. Lane i is p of job i,
 * lane 4 + i its q; a row is one digit of every lane. */
#ifndef CORE_BASE_RSA_MB_INT_H
#define CORE_BASE_RSA_MB_INT_H

#include "core/base/rsa_mb.h"

#define RSA_MB_DIGIT ((UINT64_C(1) << 52) - 1)
enum { RSA_MB_WINDOW_BITS = 5, RSA_MB_ENTRIES = 1 << RSA_MB_WINDOW_BITS };

typedef uint64_t rsa_mb_row[RSA_MB_LANES] __attribute__((aligned(64)));

struct rsa_mb_pass {
	/* In. */
	unsigned digits;
	rsa_mb_row prime[RSA_MB_DIGITS_MAX];
	rsa_mb_row one[RSA_MB_DIGITS_MAX];
	rsa_mb_row enter[RSA_MB_DIGITS_MAX];
	rsa_mb_row qinv[RSA_MB_DIGITS_MAX];
	rsa_mb_row k0;
	rsa_mb_row block[2 * RSA_MB_DIGITS_MAX]; /* the same in both lanes of a job */
	rsa_mb_row n[2 * RSA_MB_DIGITS_MAX];     /* the same in both lanes of a job */
	unsigned char windows[RSA_MB_WINDOWS_MAX][RSA_MB_LANES];
	/* Out: the signatures, in both lanes of a job, and a bit for every lane that verifies. */
	rsa_mb_row sig[2 * RSA_MB_DIGITS_MAX];
	unsigned good;
	/* Between. */
	rsa_mb_row base[RSA_MB_DIGITS_MAX];
	rsa_mb_row power[RSA_MB_DIGITS_MAX];
	rsa_mb_row picked[RSA_MB_DIGITS_MAX];
	rsa_mb_row other[RSA_MB_DIGITS_MAX];
	rsa_mb_row wide[2 * RSA_MB_DIGITS_MAX];
	/* The powers 0 to 31 of the block, digit by digit. */
	rsa_mb_row table[RSA_MB_DIGITS_MAX][RSA_MB_ENTRIES];
};

/* 1024, 1536 or 2048; and the windows of an exponent of so many bits. */
static inline unsigned rsa_mb_prime_bits(unsigned digits)
{
	return digits * 256 / 5;
}

static inline unsigned rsa_mb_windows(unsigned digits)
{
	return (rsa_mb_prime_bits(digits) + RSA_MB_WINDOW_BITS - 1) / RSA_MB_WINDOW_BITS;
}

/* The low `count` digits of a big-endian number. */
void rsa_mb_digits(slice number, uint64_t *out, size_t count);

/* What the caller's calls left below it on the stack: spilled digits of secrets. */
void rsa_mb_wipe_stack(void);

/* The pass itself; rsa_mb_ifma.c once compiled for AVX-512 IFMA, and in tests a second time over
 * lanes emulated in plain C. */
void rsa_mb_ifma(struct rsa_mb_pass *pass);
void rsa_mb_emulated(struct rsa_mb_pass *pass);

/* rsa_mb_run() with a pass of one's choice. */
typedef void rsa_mb_pass_run(struct rsa_mb_pass *pass);
void rsa_mb_run_on(rsa_mb_pass_run *run, void *work, struct rsa_mb_job *jobs, size_t count);

#endif
