/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Appending, and reading back what was appended. The grow functions are the only ones that allocate. */
#include "core/base/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool grow_heap(struct out *o, size_t want)
{
	size_t max = (size_t)(uintptr_t)o->owner;
	size_t need = o->len + want;
	size_t cap = MAX(need, MIN(max, MAX((size_t)256, o->cap * 2)));
	char *buf = need > max ? NULL : realloc(o->buf, cap);

	if (!buf)
		return false;
	o->buf = buf;
	o->cap = cap;
	return true;
}

struct out out_heap(size_t max)
{
	return (struct out){ .more = grow_heap, .owner = (void *)(uintptr_t)max };
}

void out_heap_done(struct out *o)
{
	free(o->buf);
	*o = (struct out){ .overflow = true };
}

static bool grow_arena(struct out *o, size_t want)
{
	size_t cap = MAX(o->len + want, MAX((size_t)128, o->cap * 2));
	char *buf = arena_alloc(o->owner, cap);

	if (o->len)
		memcpy(buf, o->buf, o->len);
	o->buf = buf;
	o->cap = cap;
	return true;
}

struct out out_arena(struct arena *a)
{
	return (struct out){ .more = grow_arena, .owner = a };
}

/* True when at least one byte fits now. */
static bool make_room(struct out *o, size_t want)
{
	if (o->overflow)
		return false;
	if (o->cap - o->len >= want)
		return true;
	if (o->more && o->more(o, want) && o->cap > o->len)
		return true;
	if (o->cap > o->len && !o->more)
		return true; /* a fixed writer fills to its end before it overflows */
	o->overflow = true;
	return false;
}

void out_bytes(struct out *o, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (len && make_room(o, len)) {
		size_t n = MIN(len, o->cap - o->len);

		memcpy(o->buf + o->len, from, n);
		o->len += n;
		from += n;
		len -= n;
	}
}

void out_slice(struct out *o, slice s)
{
	out_bytes(o, s.ptr, s.len);
}

void out_fill(struct out *o, char c, size_t n)
{
	while (n-- && !o->overflow)
		out_char(o, c);
}

void out_uint(struct out *o, uint64_t n)
{
	static const char pairs[] =
		"00010203040506070809101112131415161718192021222324252627282930313233343536373839"
		"40414243444546474849505152535455565758596061626364656667686970717273747576777879"
		"8081828384858687888990919293949596979899";
	char digits[20];
	size_t at = sizeof(digits);

	for (; n >= 100; n /= 100)
		memcpy(digits + (at -= 2), pairs + n % 100 * 2, 2);
	if (n >= 10)
		memcpy(digits + (at -= 2), pairs + n * 2, 2);
	else
		digits[--at] = (char)('0' + n);
	out_bytes(o, digits + at, sizeof(digits) - at);
}

void out_int(struct out *o, int64_t n)
{
	if (n < 0)
		out_char(o, '-');
	out_uint(o, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

void out_printf(struct out *o, const char *fmt, ...)
{
	char stack[512], *text = stack;
	va_list args, again;

	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(stack, sizeof(stack), fmt, args);

	must(len >= 0);
	if ((size_t)len >= sizeof(stack)) {
		text = malloc((size_t)len + 1);
		must(text);
		vsnprintf(text, (size_t)len + 1, fmt, again);
	}
	out_bytes(o, text, (size_t)len);
	if (text != stack)
		free(text);
	va_end(again);
	va_end(args);
}

static void out_be(struct out *o, uint64_t n, size_t bytes)
{
	unsigned char be[8];

	for (size_t i = 0; i < bytes; i++)
		be[i] = (unsigned char)(n >> (8 * (bytes - 1 - i)));
	out_bytes(o, be, bytes);
}

void out_u8(struct out *o, uint8_t n)
{
	out_char(o, (char)n);
}

void out_u16(struct out *o, uint16_t n)
{
	out_be(o, n, 2);
}

void out_u32(struct out *o, uint32_t n)
{
	out_be(o, n, 4);
}

void out_u64(struct out *o, uint64_t n)
{
	out_be(o, n, 8);
}

void out_varint(struct out *o, uint64_t n)
{
	while (n >= 0x80) {
		out_char(o, (char)(n | 0x80));
		n >>= 7;
	}
	out_char(o, (char)n);
}

void out_signed(struct out *o, int64_t n)
{
	out_varint(o, (uint64_t)n << 1 ^ (uint64_t)(n >> 63));
}

void out_field(struct out *o, slice s)
{
	out_varint(o, s.len);
	out_slice(o, s);
}

static bool take_be(slice *in, size_t bytes, uint64_t *out)
{
	uint64_t n = 0;

	if (in->len < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | (unsigned char)in->ptr[i];
	*in = slice_skip(*in, bytes);
	*out = n;
	return true;
}

bool take_u8(slice *in, uint8_t *out)
{
	uint64_t n;

	if (!take_be(in, 1, &n))
		return false;
	*out = (uint8_t)n;
	return true;
}

bool take_u16(slice *in, uint16_t *out)
{
	uint64_t n;

	if (!take_be(in, 2, &n))
		return false;
	*out = (uint16_t)n;
	return true;
}

bool take_u32(slice *in, uint32_t *out)
{
	uint64_t n;

	if (!take_be(in, 4, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

bool take_u64(slice *in, uint64_t *out)
{
	return take_be(in, 8, out);
}

bool take_long_varint(slice *in, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < in->len && i < 10; i++) {
		uint64_t bits = (unsigned char)in->ptr[i] & 0x7f;

		if (i == 9 && bits > 1)
			return false;
		n |= bits << (7 * i);
		if (!((unsigned char)in->ptr[i] & 0x80)) {
			*in = slice_skip(*in, i + 1);
			*out = n;
			return true;
		}
	}
	return false;
}

bool take_varint32(slice *in, uint32_t *out)
{
	slice rest = *in;
	uint64_t n;

	if (!take_varint(&rest, &n) || n > UINT32_MAX)
		return false;
	*in = rest;
	*out = (uint32_t)n;
	return true;
}

bool take_signed(slice *in, int64_t *out)
{
	uint64_t n;

	if (!take_varint(in, &n))
		return false;
	*out = (int64_t)(n >> 1 ^ (0 - (n & 1)));
	return true;
}

bool take_field(slice *in, slice *out)
{
	slice rest = *in;
	uint64_t len;

	if (!take_varint(&rest, &len) || len > rest.len)
		return false;
	*out = slice_sub(rest, 0, (size_t)len);
	*in = slice_skip(rest, (size_t)len);
	return true;
}
