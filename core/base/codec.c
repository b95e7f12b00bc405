/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base64 and hex by tables. */
#include "core/base/codec.h"

#include "core/base/text.h"

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
