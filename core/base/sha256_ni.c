/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only file compiled for SHA-NI. The instructions keep the state as the word pairs ABEF and CDGH,
 * so it is put into that order once per call and back at the end; four rounds share one addition
 * of constants. */
#include "core/base/sha256_ni.h"

#include <immintrin.h>

/* FIPS 180-4 4.2.2. */
static const uint32_t constants[64] __attribute__((aligned(16))) = { 0x428a2f98, 0x71374491,
	0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
	0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc,
	0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354,
	0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c,
	0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f,
	0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };

/* Words t to t+3 of the message schedule from the sixteen before them (FIPS 180-4 6.2.2 step 1). */
static inline __m128i schedule(const __m128i w[4], int group)
{
	__m128i sum = _mm_sha256msg1_epu32(w[group & 3], w[(group + 1) & 3]);

	sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[(group + 3) & 3], w[(group + 2) & 3], 4));
	return _mm_sha256msg2_epu32(sum, w[(group + 3) & 3]);
}

static inline void compress(__m128i *abef, __m128i *cdgh, const unsigned char *block)
{
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	const __m128i *k = (const __m128i *)(const void *)constants;
	__m128i w[4], s0 = *abef, s1 = *cdgh;

#pragma GCC unroll 16
	for (int group = 0; group < 16; group++) {
		__m128i *now = &w[group & 3];

		if (group < 4)
			*now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void
								*)(block + 16 * group)),
				big_endian);
		else
			*now = schedule(w, group);
		__m128i sum = _mm_add_epi32(*now, k[group]);

		s1 = _mm_sha256rnds2_epu32(s1, s0, sum);
		s0 = _mm_sha256rnds2_epu32(s0, s1, _mm_shuffle_epi32(sum, 0x0e));
	}
	*abef = _mm_add_epi32(*abef, s0);
	*cdgh = _mm_add_epi32(*cdgh, s1);
}

void sha256_ni_blocks(uint32_t state[8], const unsigned char *bytes, size_t blocks)
{
	__m128i *at = (__m128i *)(void *)state;
	__m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(at), 0xb1);
	__m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(at + 1), 0x1b);
	__m128i abef = _mm_alignr_epi8(badc, efgh, 8);
	__m128i cdgh = _mm_blend_epi16(efgh, badc, 0xf0);

	for (; blocks; blocks--, bytes += 64)
		compress(&abef, &cdgh, bytes);
	__m128i feba = _mm_shuffle_epi32(abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);

	_mm_storeu_si128(at, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128(at + 1, _mm_alignr_epi8(dchg, feba, 8));
}
