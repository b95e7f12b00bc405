/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C: 256 bytes a step by carry-less products of 512 bits, by the CPU's instruction for this very
 * sum, or by a table; chosen at each call (the test is one load), so that no global has to be set up.
 * Every stored byte is summed when it is written and each time it is read. */
#include "core/base/codec.h"

#include "core/base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#endif

/* The table is linear over GF(2): an entry is the sum of those of its bits. */
#define BIT(n, bit, value) ((n) >> (bit)&1 ? value##u : 0u)
#define ENTRY(n)                                                                        \
	(BIT(n, 0, 0xf26b8303) ^ BIT(n, 1, 0xe13b70f7) ^ BIT(n, 2, 0xc79a971f) ^        \
		BIT(n, 3, 0x8ad958cf) ^ BIT(n, 4, 0x105ec76f) ^ BIT(n, 5, 0x20bd8ede) ^ \
		BIT(n, 6, 0x417b1dbc) ^ BIT(n, 7, 0x82f63b78))
#define ENTRY4(n) ENTRY(n), ENTRY((n) + 1), ENTRY((n) + 2), ENTRY((n) + 3)
#define ENTRY16(n) ENTRY4(n), ENTRY4((n) + 4), ENTRY4((n) + 8), ENTRY4((n) + 12)
#define ENTRY64(n) ENTRY16(n), ENTRY16((n) + 16), ENTRY16((n) + 32), ENTRY16((n) + 48)

static uint32_t crc_by_table(uint32_t crc, const unsigned char *p, size_t len)
{
	static const uint32_t table[256] = { ENTRY64(0), ENTRY64(64), ENTRY64(128), ENTRY64(192) };

	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}

#if defined(__x86_64__)
#define BY_INSTRUCTION __attribute__((target("sse4.2,pclmul")))
#define BY_PRODUCTS __attribute__((target("avx512f,avx512vl,vpclmulqdq,sse4.2,pclmul")))

/* Three streams side by side: the instruction takes three cycles but begins anew in each. */
struct crc_lane {
	size_t len;
	/* x^(8n - 33) mod P, bits reversed: what a sum is multiplied by that stands n = 2 len, n = len
	 * bytes before the end. The missing 33 come from the instruction (32) and from the product of
	 * reversed numbers (1). */
	uint64_t by_two, by_one;
};
static const struct crc_lane crc_lanes[] = {
	{ 1024, 0xa51b6135, 0x170076fa },
	{ 256, 0xdd7e3b0c, 0xb9e02b86 },
};

BY_INSTRUCTION static uint64_t crc_moved(uint64_t crc, uint64_t by)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
		_mm_cvtsi64_si128((long long)by), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

BY_INSTRUCTION static uint64_t crc_three(const struct crc_lane *lane, uint64_t a,
	const unsigned char *p)
{
	uint64_t words[3], b = 0, c = 0;

	for (size_t i = 0; i < lane->len; i += 8) {
		memcpy(&words[0], p + i, 8);
		memcpy(&words[1], p + lane->len + i, 8);
		memcpy(&words[2], p + 2 * lane->len + i, 8);
		a = _mm_crc32_u64(a, words[0]);
		b = _mm_crc32_u64(b, words[1]);
		c = _mm_crc32_u64(c, words[2]);
	}
	return crc_moved(a, lane->by_two) ^ crc_moved(b, lane->by_one) ^ c;
}

BY_INSTRUCTION static uint32_t crc_by_cpu(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t word, wide = crc;

	for (size_t i = 0; i < array_len(crc_lanes); i++) {
		size_t three = 3 * crc_lanes[i].len;

		for (; len >= three; p += three, len -= three)
			wide = crc_three(&crc_lanes[i], wide, p);
	}

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		wide = _mm_crc32_u64(wide, word);
	}
	crc = (uint32_t)wide;
	while (len--)
		crc = _mm_crc32_u8(crc, *p++);
	return crc;
}

/* A number x is moved over a distance of d bits when its halves are multiplied by x^(d + 32) and
 * x^(d - 32) mod P and added, all with their bits reversed: what is left has 128 bits again. */
struct crc_distance {
	uint64_t low, high;
};
static const struct crc_distance over_2048 = { 0xdcb17aa4, 0xb9e02b86 };
static const struct crc_distance over_512 = { 0x740eef02, 0x9e4addf8 };
static const struct crc_distance over_128 = { 0xf20c0dfe, 0x14cd00bd6 };

enum { STEP = 256, WIDE_MIN = 2 * STEP, THREE_ADDED = 0x96 };

BY_PRODUCTS static __m512i factors(const struct crc_distance *d)
{
	return _mm512_broadcast_i32x4(_mm_set_epi64x((long long)d->high, (long long)d->low));
}

/* x moved, + y. */
BY_PRODUCTS static __m512i move_onto(__m512i x, __m512i by, __m512i y)
{
	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, by, 0x00),
		_mm512_clmulepi64_epi128(x, by, 0x11), y, THREE_ADDED);
}

BY_PRODUCTS static uint32_t crc_of_four(__m512i x)
{
	const __m128i by = _mm512_castsi512_si128(factors(&over_128));
	__m128i part[4];

	_mm512_storeu_si512(part, x);
	for (int i = 1; i < 4; i++)
		part[i] = _mm_xor_si128(part[i],
			_mm_xor_si128(_mm_clmulepi64_si128(part[i - 1], by, 0x00),
				_mm_clmulepi64_si128(part[i - 1], by, 0x11)));
	uint64_t crc = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(part[3]));

	return (uint32_t)_mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(part[3], 1));
}

/* At least WIDE_MIN bytes. */
BY_PRODUCTS static uint32_t crc_by_products(uint32_t crc, const unsigned char *p, size_t len)
{
	const __m512i by_step = factors(&over_2048), by_one = factors(&over_512);
	__m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 64);
	__m512i c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);

	a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
	for (p += STEP, len -= STEP; len >= STEP; p += STEP, len -= STEP) {
		a = move_onto(a, by_step, _mm512_loadu_si512(p));
		b = move_onto(b, by_step, _mm512_loadu_si512(p + 64));
		c = move_onto(c, by_step, _mm512_loadu_si512(p + 128));
		d = move_onto(d, by_step, _mm512_loadu_si512(p + 192));
	}
	d = move_onto(move_onto(move_onto(a, by_one, b), by_one, c), by_one, d);
	return crc_by_cpu(crc_of_four(d), p, len);
}

static uint32_t crc_best(uint32_t crc, const unsigned char *p, size_t len)
{
	if (len >= WIDE_MIN && cpu_has(CPU_CRC_WIDE))
		return crc_by_products(crc, p, len);
	return cpu_has(CPU_CRC) ? crc_by_cpu(crc, p, len) : crc_by_table(crc, p, len);
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) static uint32_t crc_by_cpu(uint32_t crc, const unsigned char *p,
	size_t len)
{
	uint64_t word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		crc = __crc32cd(crc, word);
	}
	while (len--)
		crc = __crc32cb(crc, *p++);
	return crc;
}

static uint32_t crc_best(uint32_t crc, const unsigned char *p, size_t len)
{
	return cpu_has(CPU_CRC) ? crc_by_cpu(crc, p, len) : crc_by_table(crc, p, len);
}
#else
#define crc_best crc_by_table
#endif

uint32_t codec_crc32c(uint32_t crc, const void *bytes, size_t len)
{
	return len ? ~crc_best(~crc, bytes, len) : crc;
}
