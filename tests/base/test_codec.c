/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base64 by the vectors of RFC 4648 10, hex, and CRC-32C by those of RFC 3720 B.4. */
#include "core/base/codec.h"
#include "core/base/cpu.h"

#include <criterion/criterion.h>

static const struct {
	const char *plain, *coded;
} base64_rows[] = {
	{ "", "" },
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
};

Test(codec, base64_vectors)
{
	for (size_t i = 0; i < array_len(base64_rows); i++) {
		slice plain = slice_str(base64_rows[i].plain),
		      coded = slice_str(base64_rows[i].coded);
		char buf[64];
		size_t len;
		struct out o = out_fixed(buf, sizeof(buf));

		codec_put_base64(&o, plain);
		cr_assert(slice_eq(out_written(&o), coded));
		cr_assert(codec_get_base64(coded, buf, &len));
		cr_assert(slice_eq(slice_of(buf, len), plain));
		cr_assert_leq(len, codec_base64_max(coded.len));
	}
}

Test(codec, base64_round_trip_of_long_input)
{
	unsigned char bytes[1000];
	char buf[2000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7 + i / 256);
	for (size_t n = 0; n < sizeof(bytes); n += 13) {
		struct out o = out_fixed(buf, sizeof(buf));
		unsigned char back[1100];
		size_t len;

		codec_put_base64(&o, slice_of(bytes, n));
		cr_assert(codec_get_base64(out_written(&o), back, &len));
		cr_assert(slice_eq(slice_of(back, len), slice_of(bytes, n)));
	}
}

Test(codec, base64_refuses)
{
	static const char *const bad[] = { "Zg",
		"Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9v", "Zm9v\n",
		"Zm-_", "=m9v", "Zm8=Zm9v" };
	char buf[64];
	size_t len;

	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(codec_get_base64(slice_str(bad[i]), buf, &len), "%s", bad[i]);
}

Test(codec, hex)
{
	char buf[16];
	size_t len;
	struct out o = out_fixed(buf, sizeof(buf));

	codec_put_hex(&o, SLICE("\x00\x9f\xff"));
	cr_assert(slice_eq(out_written(&o), SLICE("009fff")));
	cr_assert(codec_get_hex(SLICE("009fFF"), buf, &len));
	cr_assert(slice_eq(slice_of(buf, len), SLICE("\x00\x9f\xff")));
	cr_assert_not(codec_get_hex(SLICE("0"), buf, &len));
	cr_assert_not(codec_get_hex(SLICE("0g"), buf, &len));
}

Test(codec, crc32c_vectors)
{
	unsigned char bytes[32] = { 0 };

	cr_assert_eq(codec_crc32c(0, "123456789", 9), 0xe3069283);
	cr_assert_eq(codec_crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, 32);
	cr_assert_eq(codec_crc32c(0, bytes, 32), 0x62a8ab43);
	for (unsigned char i = 0; i < 32; i++)
		bytes[i] = i;
	cr_assert_eq(codec_crc32c(0, bytes, 32), 0x46dd794e);
}

/* The definition, one bit at a time. */
static uint32_t crc_by_bits(const unsigned char *p, size_t len)
{
	uint32_t crc = ~0u;

	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* Long ones are summed in three streams, longer ones in steps: every length about their borders. */
static void check_crc(void)
{
	static unsigned char bytes[9000];
	unsigned char seed = 7;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = seed = (unsigned char)(seed * 31 + i / 256 + 7);
	for (size_t n = 0; n<sizeof(bytes); n += n % 256> 240 || n % 256 < 20 ? 1 : 23) {
		uint32_t head = codec_crc32c(0, bytes, n / 3);

		cr_assert_eq(codec_crc32c(head, bytes + n / 3, n - n / 3), crc_by_bits(bytes, n));
	}
}

Test(codec, crc32c_continues_and_agrees_with_its_definition)
{
	check_crc();
}

Test(codec, crc32c_without_products)
{
	cpu_hide(CPU_CRC_WIDE);
	check_crc();
}

Test(codec, crc32c_without_instructions)
{
	cpu_hide(CPU_CRC | CPU_CRC_WIDE);
	check_crc();
}
