/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_mb_emulated.h - the lanes of rsa_mb_lanes.h in plain C, for tests.
 *
 * The same operations without a branch on a value, each with a place where a test may put a fault.
 * Memcheck, which knows no AVX-512, sees through these where secrets go. */
#ifndef CORE_BASE_RSA_MB_EMULATED_H
#define CORE_BASE_RSA_MB_EMULATED_H

#include "core/base/rsa_mb_int.h"

#define LANES_INLINE static inline
#define LANES_DIGIT RSA_MB_DIGIT

typedef struct lanes {
	uint64_t at[RSA_MB_LANES];
} lanes;
typedef unsigned mask;

/* What a test may spoil: lane `lane` of the product counted down to zero. */
struct rsa_mb_fault {
	long countdown;
	unsigned lane;
	uint64_t flip;
};
extern struct rsa_mb_fault rsa_mb_fault;

#define LANES_EACH(expression)                              \
	do {                                                \
		lanes out;                                  \
		for (size_t i = 0; i < RSA_MB_LANES; i++)   \
			out.at[i] = (uint64_t)(expression); \
		return out;                                 \
	} while (0)
#define LANES_MASK(expression)                            \
	do {                                              \
		mask out = 0;                             \
		for (size_t i = 0; i < RSA_MB_LANES; i++) \
			out |= (mask)(expression) << i;   \
		return out;                               \
	} while (0)

static inline lanes lanes_load(const rsa_mb_row *from)
{
	LANES_EACH((*from)[i]);
}

static inline void lanes_store(rsa_mb_row *to, lanes a)
{
	memcpy(to, a.at, sizeof(a.at));
}

static inline lanes lanes_held(lanes a)
{
	return a;
}

static inline const rsa_mb_row *lanes_afresh(const rsa_mb_row *rows)
{
	return rows;
}

static inline lanes lanes_of_bytes(const unsigned char *from)
{
	LANES_EACH(from[i]);
}

static inline lanes lanes_all(uint64_t value)
{
	LANES_EACH(value);
}

static inline lanes lanes_spoilt(lanes a)
{
	if (rsa_mb_fault.countdown && !--rsa_mb_fault.countdown)
		a.at[rsa_mb_fault.lane] ^= rsa_mb_fault.flip;
	return a;
}

static inline unsigned __int128 lanes_product(uint64_t a, uint64_t b)
{
	return (unsigned __int128)(a & LANES_DIGIT) * (b & LANES_DIGIT);
}

static inline lanes lanes_low(lanes sum, lanes a, lanes b)
{
	for (size_t i = 0; i < RSA_MB_LANES; i++)
		sum.at[i] += (uint64_t)lanes_product(a.at[i], b.at[i]) & LANES_DIGIT;
	return lanes_spoilt(sum);
}

static inline lanes lanes_high(lanes sum, lanes a, lanes b)
{
	for (size_t i = 0; i < RSA_MB_LANES; i++)
		sum.at[i] += (uint64_t)(lanes_product(a.at[i], b.at[i]) >> 52);
	return sum;
}

static inline lanes lanes_add(lanes a, lanes b)
{
	LANES_EACH(a.at[i] + b.at[i]);
}

static inline lanes lanes_sub(lanes a, lanes b)
{
	LANES_EACH(a.at[i] - b.at[i]);
}

static inline lanes lanes_and(lanes a, lanes b)
{
	LANES_EACH(a.at[i] & b.at[i]);
}

static inline lanes lanes_carry(lanes a)
{
	LANES_EACH(a.at[i] >> 52);
}

static inline lanes lanes_borrow(lanes a)
{
	LANES_EACH((int64_t)a.at[i] >> 52);
}

static inline lanes lanes_swap(lanes a)
{
	LANES_EACH(a.at[i ^ RSA_MB_JOBS]);
}

static inline mask lanes_equal(lanes a, lanes b)
{
	LANES_MASK(1 ^ (((a.at[i] ^ b.at[i]) | (0 - (a.at[i] ^ b.at[i]))) >> 63));
}

static inline mask lanes_negative(lanes a)
{
	LANES_MASK(a.at[i] >> 63);
}

static inline lanes lanes_pick(mask which, lanes a, lanes b)
{
	LANES_EACH(a.at[i] ^ ((a.at[i] ^ b.at[i]) & (0 - (uint64_t)(which >> i & 1))));
}

#endif
