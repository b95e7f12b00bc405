/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking characters apart and putting them together; ASCII by eight bytes at a time. */
#include "proto/mime/utf8.h"

/* What the byte behind the lead may be: no overlong form, no surrogate, nothing over U+10FFFF. */
static bool fits_second(unsigned char lead, unsigned char c)
{
	switch (lead) {
	case 0xe0:
		return c >= 0xa0 && c < 0xc0;
	case 0xed:
		return c >= 0x80 && c < 0xa0;
	case 0xf0:
		return c >= 0x90 && c < 0xc0;
	case 0xf4:
		return c >= 0x80 && c < 0x90;
	default:
		return (c & 0xc0) == 0x80;
	}
}

size_t utf8_take(slice in, uint32_t *out)
{
	const unsigned char *s = (const unsigned char *)in.ptr;
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t c = len < 2 ? s[0] : s[0] & (0x7fu >> len);

	*out = UTF8_REPLACEMENT;
	if (len == 0 || s[0] > 0xf4)
		return 1;
	for (size_t i = 1; i < len; i++) {
		if (i == in.len)
			return 0;
		if (i == 1 ? !fits_second(s[0], s[1]) : (s[i] & 0xc0) != 0x80)
			return 1;
		c = c << 6 | (s[i] & 0x3fu);
	}
	*out = c;
	return len;
}

size_t utf8_put(uint32_t c, char buf[4])
{
	unsigned char *to = (unsigned char *)buf;
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = len; i > 1; i--) {
		to[i - 1] = (unsigned char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	to[0] = (unsigned char)(lead[len] | c);
	return len;
}

size_t utf8_ascii_len(slice s)
{
	size_t len = 0;

	while (len + 8 <= s.len) {
		uint64_t eight;

		memcpy(&eight, s.ptr + len, 8);
		if (eight & 0x8080808080808080u)
			break;
		len += 8;
	}
	while (len < s.len && (unsigned char)s.ptr[len] < 0x80)
		len++;
	return len;
}
