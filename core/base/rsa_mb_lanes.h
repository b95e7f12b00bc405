/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rsa_mb_lanes.h - the few operations on eight 64-bit lanes that the RSA kernel is written in.
 *
 * As AVX-512 intrinsics, or with RSA_MB_EMULATED in plain C that does the same without a branch on
 * a value, so that Memcheck, which knows no AVX-512, can watch where secrets go. A `mask` has a bit
 * for every lane. */
#ifndef CORE_BASE_RSA_MB_LANES_H
#define CORE_BASE_RSA_MB_LANES_H

#ifdef RSA_MB_EMULATED
#include "core/base/rsa_mb_emulated.h"
#elif defined(__AVX512IFMA__)
#include "core/base/rsa_mb_int.h"

#define LANES_INLINE static inline __attribute__((always_inline))
#define LANES_DIGIT RSA_MB_DIGIT

#include <immintrin.h>

typedef __m512i lanes;
typedef __mmask8 mask;

LANES_INLINE lanes lanes_load(const rsa_mb_row *from)
{
	return _mm512_load_si512(from);
}

LANES_INLINE void lanes_store(rsa_mb_row *to, lanes a)
{
	_mm512_store_si512(to, a);
}

/* Wanted in a register: the compiler would rather load it again for every use, and there is no more
 * than one load for every product. */
LANES_INLINE lanes lanes_held(lanes a)
{
	__asm__("" : "+v"(a));
	return a;
}

/* What `rows` points to is to be loaded where it is used: the compiler would rather keep it in
 * registers over a loop, and the sums of that loop in memory. */
LANES_INLINE const rsa_mb_row *lanes_afresh(const rsa_mb_row *rows)
{
	__asm__("" : "+r"(rows));
	return rows;
}

/* Eight bytes, each to its lane. */
LANES_INLINE lanes lanes_of_bytes(const unsigned char *from)
{
	return _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)from));
}

LANES_INLINE lanes lanes_all(uint64_t value)
{
	return _mm512_set1_epi64((long long)value);
}

/* sum + the low, or the high, 52 bits of the product of the low 52 bits of a and b. */
LANES_INLINE lanes lanes_low(lanes sum, lanes a, lanes b)
{
	return _mm512_madd52lo_epu64(sum, a, b);
}

LANES_INLINE lanes lanes_high(lanes sum, lanes a, lanes b)
{
	return _mm512_madd52hi_epu64(sum, a, b);
}

LANES_INLINE lanes lanes_add(lanes a, lanes b)
{
	return _mm512_add_epi64(a, b);
}

LANES_INLINE lanes lanes_sub(lanes a, lanes b)
{
	return _mm512_sub_epi64(a, b);
}

LANES_INLINE lanes lanes_and(lanes a, lanes b)
{
	return _mm512_and_si512(a, b);
}

/* What is above a digit: of an unsigned number, and of a signed one. */
LANES_INLINE lanes lanes_carry(lanes a)
{
	return _mm512_srli_epi64(a, 52);
}

LANES_INLINE lanes lanes_borrow(lanes a)
{
	return _mm512_srai_epi64(a, 52);
}

/* p lanes for q lanes. */
LANES_INLINE lanes lanes_swap(lanes a)
{
	return _mm512_shuffle_i64x2(a, a, 0x4e);
}

LANES_INLINE mask lanes_equal(lanes a, lanes b)
{
	return _mm512_cmpeq_epi64_mask(a, b);
}

LANES_INLINE mask lanes_negative(lanes a)
{
	return _mm512_movepi64_mask(a);
}

/* b where the mask says so, else a. */
LANES_INLINE lanes lanes_pick(mask which, lanes a, lanes b)
{
	return _mm512_mask_mov_epi64(a, which, b);
}
#endif

#endif
