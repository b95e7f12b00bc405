/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base64 and hex by tables; CRC-32C by the CPU's instruction when it has one, chosen at each call
 * (the test is one load), so that no global has to be set up. */
#include "core/base/codec.h"

#include "core/base/text.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_quad(char *to, uint32_t bits)
{
	to[0] = base64_digits[bits >> 18 & 63];
	to[1] = base64_digits[bits >> 12 & 63];
	to[2] = base64_digits[bits >> 6 & 63];
	to[3] = base64_digits[bits & 63];
}

void codec_put_base64(struct out *o, slice bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	size_t left = bytes.len;
	char block[256];

	while (left >= 3) {
		size_t at = 0;

		for (; left >= 3 && at < sizeof(block); at += 4, p += 3, left -= 3)
			put_quad(block + at, (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]);
		out_bytes(o, block, at);
	}
	if (!left)
		return;
	put_quad(block, (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0));
	block[3] = '=';
	if (left == 1)
		block[2] = '=';
	out_bytes(o, block, 4);
}

/* 0 to 63, or 255. */
static unsigned base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (text_is_digit(c))
		return (unsigned)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : 255;
}

bool codec_get_base64(slice in, void *buf, size_t *out_len)
{
	unsigned char *to = buf;
	size_t at = 0, pad = 0;

	if (in.len % 4)
		return false;
	for (size_t i = 0; i < in.len; i += 4) {
		const char *q = in.ptr + i;

		if (i + 4 == in.len && q[3] == '=')
			pad = q[2] == '=' ? 2 : 1;
		unsigned a = base64_value(q[0]), b = base64_value(q[1]);
		unsigned c = pad == 2 ? 0 : base64_value(q[2]), d = pad ? 0 : base64_value(q[3]);

		if ((a | b | c | d) > 63)
			return false;
		uint32_t bits = a << 18 | b << 12 | c << 6 | d;

		if (pad && bits & (pad == 2 ? 0xffffu : 0xffu))
			return false; /* stray bits: two spellings of one value */
		to[at++] = (unsigned char)(bits >> 16);
		if (pad < 2)
			to[at++] = (unsigned char)(bits >> 8);
		if (pad < 1)
			to[at++] = (unsigned char)bits;
	}
	*out_len = at;
	return true;
}

void codec_put_hex(struct out *o, slice bytes)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char byte = (unsigned char)bytes.ptr[i];
		char pair[2] = { digits[byte >> 4], digits[byte & 15] };

		out_bytes(o, pair, 2);
	}
}

/* 0 to 15, or 255. */
static unsigned hex_value(char c)
{
	if (text_is_digit(c))
		return (unsigned)(c - '0');
	c = text_lower(c);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 255;
}

bool codec_get_hex(slice in, void *buf, size_t *out_len)
{
	unsigned char *to = buf;

	if (in.len % 2)
		return false;
	for (size_t i = 0; i < in.len; i += 2) {
		unsigned high = hex_value(in.ptr[i]), low = hex_value(in.ptr[i + 1]);

		if ((high | low) > 15)
			return false;
		to[i / 2] = (unsigned char)(high << 4 | low);
	}
	*out_len = in.len / 2;
	return true;
}

/* --- CRC-32C --- */

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
static bool has_crc(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

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

__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_moved(uint64_t crc, uint64_t by)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
		_mm_cvtsi64_si128((long long)by), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_three(const struct crc_lane *lane,
	uint64_t a, const unsigned char *p)
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

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_by_cpu(uint32_t crc,
	const unsigned char *p, size_t len)
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
#elif defined(__aarch64__)
static bool has_crc(void)
{
	return getauxval(AT_HWCAP) & (1ul << 7);
}

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
#else
static bool has_crc(void)
{
	return false;
}
#define crc_by_cpu crc_by_table
#endif

uint32_t codec_crc32c(uint32_t crc, const void *bytes, size_t len)
{
	if (!len)
		return crc;
	return ~(has_crc() ? crc_by_cpu(~crc, bytes, len) : crc_by_table(~crc, bytes, len));
}
