/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xtext and its UTF-8 sister. Decoded text is never longer than encoded text, so one allocation of the
 * input's size is enough. */
#include "proto/smtp/xtext.h"

#include "core/base/codec.h"
#include "core/base/text.h"

static bool is_xchar(char c)
{
	return c >= 33 && c <= 126 && c != '+' && c != '=';
}

bool xtext_get(struct arena *a, slice in, slice *out)
{
	char *text = arena_alloc(a, in.len);
	size_t len = 0, one;

	for (size_t i = 0; i < in.len; i++) {
		if (is_xchar(in.ptr[i])) {
			text[len++] = in.ptr[i];
			continue;
		}
		slice digits = slice_sub(in, i + 1, i + 3);

		if (in.ptr[i] != '+' || digits.len != 2 || !codec_get_hex(digits, text + len, &one))
			return false;
		len++;
		i += 2;
	}
	*out = slice_of(text, len);
	return true;
}

void xtext_put(struct out *o, slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if (is_xchar(bytes.ptr[i]))
			out_char(o, bytes.ptr[i]);
		else
			out_printf(o, "+%02X", (unsigned)(unsigned char)bytes.ptr[i]);
	}
}

/* A character as UTF-8; 0 when it is none (NUL, a surrogate, too big). */
static size_t encode_utf8(uint32_t c, char *to)
{
	if (c == 0 || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return 0;
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3f));
	to[0] = (char)(0xf00 >> len | c);
	return len;
}

/* "\x{20AC}" at the front of *in. */
static bool take_point(slice *in, uint32_t *out)
{
	ptrdiff_t end = slice_find(*in, '}');
	slice digits = slice_sub(*in, 3, end < 0 ? 0 : (size_t)end);
	char padded[6] = "000000";
	unsigned char bytes[3];
	size_t len;

	if (!slice_starts(*in, SLICE("\\x{")) || !digits.len || digits.len > sizeof(padded))
		return false;
	memcpy(padded + sizeof(padded) - digits.len, digits.ptr, digits.len);
	if (!codec_get_hex(slice_of(padded, sizeof(padded)), bytes, &len))
		return false;
	*out = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
	*in = slice_skip(*in, (size_t)end + 1);
	return true;
}

bool xtext_get_utf8(struct arena *a, slice in, slice *out)
{
	char *text = arena_alloc(a, in.len);
	size_t len = 0;

	if (!text_is_utf8(in))
		return false;
	while (in.len) {
		uint32_t point;

		if ((is_xchar(in.ptr[0]) && in.ptr[0] != '\\') || (in.ptr[0] & 0x80)) {
			text[len++] = in.ptr[0];
			in = slice_skip(in, 1);
			continue;
		}
		size_t size = take_point(&in, &point) ? encode_utf8(point, text + len) : 0;

		if (!size)
			return false;
		len += size;
	}
	*out = slice_of(text, len);
	return true;
}

/* The first character of well-formed UTF-8. */
static uint32_t take_char(slice *text)
{
	unsigned char lead = (unsigned char)text->ptr[0];
	size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? lead : lead & (0x7fu >> len);

	for (size_t i = 1; i < len && i < text->len; i++)
		c = c << 6 | ((unsigned char)text->ptr[i] & 0x3f);
	*text = slice_skip(*text, len);
	return c;
}

void xtext_put_utf8(struct out *o, slice text, bool unitext)
{
	while (text.len) {
		slice before = text;
		uint32_t c = take_char(&text);

		if (c >= 0x80 ? unitext : is_xchar((char)c) && c != '\\')
			out_bytes(o, before.ptr, before.len - text.len);
		else
			out_printf(o, "\\x{%02X}", (unsigned)c);
	}
}
