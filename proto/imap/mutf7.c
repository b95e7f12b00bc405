/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modified UTF-7 is base64 of UTF-16 between `&` and `-`, with `,` for `/`. A name has exactly one
 * spelling in it, and only that is accepted: two spellings would be two mailboxes to a client. */
#include "proto/imap/mutf7.h"

#include <utf8proc.h>

#include "core/base/text.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (text_is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == ',' ? 63 : -1;
}

static void put_utf8(struct out *o, uint32_t c)
{
	if (c < 0x80) {
		out_char(o, (char)c);
		return;
	}
	if (c < 0x800) {
		out_char(o, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			out_char(o, (char)(0xe0 | c >> 12));
		} else {
			out_char(o, (char)(0xf0 | c >> 18));
			out_char(o, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		out_char(o, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	out_char(o, (char)(0x80 | (c & 0x3f)));
}

static bool is_direct(uint32_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* One unit of UTF-16; *high holds the first half of a pair. */
static bool take_unit(struct out *o, uint32_t unit, uint32_t *high)
{
	bool low = unit >= 0xdc00 && unit <= 0xdfff;

	if (low != (*high != 0) || is_direct(unit))
		return false;
	if (low) {
		put_utf8(o, 0x10000 + ((*high & 0x3ff) << 10 | (unit & 0x3ff)));
		*high = 0;
	} else if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
	} else {
		put_utf8(o, unit);
	}
	return true;
}

/* What stands between `&` and `-`. */
static bool decode_run(struct out *o, slice in)
{
	uint32_t bits = 0, have = 0, high = 0;

	for (size_t i = 0; i < in.len; i++) {
		int digit = digit_of(in.ptr[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have < 16)
			continue;
		have -= 16;
		if (!take_unit(o, bits >> have & 0xffff, &high))
			return false;
	}
	return !high && have < 6 && !(bits & ((1u << have) - 1));
}

bool imap_mutf7_decode(struct out *o, slice in)
{
	bool behind_run = false;

	while (in.len) {
		if (in.ptr[0] != '&') {
			if (!is_direct((unsigned char)in.ptr[0]))
				return false;
			out_char(o, in.ptr[0]);
			in = slice_skip(in, 1);
			behind_run = false;
			continue;
		}
		ptrdiff_t end = slice_find(in, '-');

		if (end < 0 || (end > 1 && behind_run))
			return false;
		if (end == 1)
			out_char(o, '&');
		else if (!decode_run(o, slice_sub(in, 1, (size_t)end)))
			return false;
		behind_run = end > 1;
		in = slice_skip(in, (size_t)end + 1);
	}
	return true;
}

/* Cuts a character off well-formed UTF-8. */
static uint32_t take_char(slice *in)
{
	unsigned char lead = (unsigned char)in->ptr[0];
	size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? lead : lead & (0x7fu >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)in->ptr[i] & 0x3f);
	*in = slice_skip(*in, len);
	return c;
}

struct encoder {
	struct out *o;
	uint32_t bits, have;
	bool open;
};

static void put_unit(struct encoder *e, uint32_t unit)
{
	if (!e->open)
		out_char(e->o, '&');
	e->open = true;
	e->bits = e->bits << 16 | unit;
	for (e->have += 16; e->have >= 6; e->have -= 6)
		out_char(e->o, digits[e->bits >> (e->have - 6) & 0x3f]);
}

static void close_run(struct encoder *e)
{
	if (e->have)
		out_char(e->o, digits[e->bits << (6 - e->have) & 0x3f]);
	if (e->open)
		out_char(e->o, '-');
	e->have = 0;
	e->open = false;
}

bool imap_mutf7_encode(struct out *o, slice in)
{
	struct encoder e = { .o = o };

	if (!text_is_utf8(in))
		return false;
	while (in.len) {
		uint32_t c = take_char(&in);

		if (is_direct(c)) {
			close_run(&e);
			out_char(o, (char)c);
			if (c == '&')
				out_char(o, '-');
		} else if (c < 0x10000) {
			put_unit(&e, c);
		} else {
			put_unit(&e, 0xd800 + ((c - 0x10000) >> 10));
			put_unit(&e, 0xdc00 + ((c - 0x10000) & 0x3ff));
		}
	}
	close_run(&e);
	return true;
}

/* --- Names --- */

const char *imap_name_wrong(slice name)
{
	unsigned levels = 1;

	if (!name.len)
		return "the mailbox name is empty";
	if (name.len > IMAP_NAME_MAX)
		return "the mailbox name is too long";
	if (!text_is_utf8(name))
		return "the mailbox name is not UTF-8";
	if (name.ptr[0] == '/' || name.ptr[name.len - 1] == '/' ||
		slice_search(name, SLICE("//")) >= 0)
		return "a level of the mailbox name is empty";
	for (slice rest = name; rest.len;) {
		uint32_t c = take_char(&rest);

		levels += c == '/';
		if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
			return "a control character in the mailbox name";
		if (c == '*' || c == '%')
			return "a wildcard in the mailbox name";
	}
	return levels > IMAP_LEVELS_MAX ? "the mailbox name has too many levels" : NULL;
}

bool imap_name_is_normal(slice name)
{
	const utf8proc_option_t form = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
	const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)name.ptr;
	utf8proc_int32_t composed[4 * IMAP_NAME_MAX];
	utf8proc_ssize_t len = (utf8proc_ssize_t)name.len, count;

	if (text_is_ascii(name))
		return true;
	count = utf8proc_decompose(bytes, len, composed, array_len(composed), form);
	if (count < 0 || count >= (utf8proc_ssize_t)array_len(composed))
		return false;
	count = utf8proc_reencode(composed, count, form); /* in place, and a NUL behind it */
	return count >= 0 && slice_eq(slice_of((const char *)composed, (size_t)count), name);
}

bool imap_name_is_inbox(slice name)
{
	return slice_eq_nocase(name, SLICE("INBOX"));
}

slice imap_name_canon(struct arena *a, slice name)
{
	slice rest = name, first;

	if (!slice_cut(&rest, '/', &first) || !imap_name_is_inbox(first) ||
		slice_eq(first, SLICE("INBOX")))
		return name;
	slice copy = arena_dup(a, name);

	memcpy((char *)(uintptr_t)copy.ptr, "INBOX", 5);
	return copy;
}
