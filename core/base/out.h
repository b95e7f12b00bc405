/* SPDX-License-Identifier: GPL-2.0-or-later */
/* out.h - an append-only writer with sticky overflow.
 *
 * Format everything, check once at the end: when room runs out the writer asks `more` (if it has one)
 * to make some, by flushing or by growing; if that fails it drops what follows and out_ok() is false
 * for ever. The bytes belong to whoever made the writer. No call here fails by itself. */
#ifndef CORE_BASE_OUT_H
#define CORE_BASE_OUT_H

#include "core/base/arena.h"

struct out {
	char *buf;
	size_t len, cap;
	bool overflow;
	/* Make room for at least one more byte: move buf/len/cap. False: cannot. May be NULL. */
	bool (*more)(struct out *o, size_t want);
	void *owner; /* for `more` */
};

/* A writer over caller's memory that never grows. */
static inline struct out out_fixed(void *buf, size_t cap)
{
	return (struct out){ .buf = buf, .cap = cap };
}

/* A writer that grows on the heap up to `max` bytes; end it with out_heap_done. */
struct out out_heap(size_t max);
void out_heap_done(struct out *o);
/* A writer that grows inside an arena (each growth leaves the old bytes behind). */
struct out out_arena(struct arena *a);

void out_bytes(struct out *o, const void *bytes, size_t len);
void out_slice(struct out *o, slice s);
void out_fill(struct out *o, char c, size_t n);
void out_uint(struct out *o, uint64_t n);
void out_int(struct out *o, int64_t n);
void out_printf(struct out *o, const char *fmt, ...) printf_like(2, 3);
/* Big-endian binary, for keys and frames. */
void out_u8(struct out *o, uint8_t n);
void out_u16(struct out *o, uint16_t n);
void out_u32(struct out *o, uint32_t n);
void out_u64(struct out *o, uint64_t n);
/* LEB128; the same of either sign (zigzag: small ones are short); a varint length and the bytes. */
void out_varint(struct out *o, uint64_t n);
void out_signed(struct out *o, int64_t n);
void out_field(struct out *o, slice s);

static inline bool out_ok(const struct out *o)
{
	return !o->overflow;
}

/* What was written so far and not flushed. */
static inline slice out_written(const struct out *o)
{
	return slice_of(o->buf, o->len);
}

/* Reading back what the binary writers wrote: each cuts from the front of *in, and is false (writing
 * nothing to out) when the bytes do not suffice or do not make such a value. */
bool take_u8(slice *in, uint8_t *out) must_use;
bool take_u16(slice *in, uint16_t *out) must_use;
bool take_u32(slice *in, uint32_t *out) must_use;
bool take_u64(slice *in, uint64_t *out) must_use;
bool take_long_varint(slice *in, uint64_t *out) must_use;
bool take_varint32(slice *in, uint32_t *out) must_use;
bool take_signed(slice *in, int64_t *out) must_use;
bool take_field(slice *in, slice *out) must_use;

/* --- What answers of a million lines are made of stands here whole --- */

static inline void out_char(struct out *o, char c)
{
	if (o->len < o->cap && !o->overflow)
		o->buf[o->len++] = c;
	else
		out_bytes(o, &c, 1);
}

static inline void out_str(struct out *o, const char *text)
{
	size_t len = strlen(text);

	if (__builtin_constant_p(len) && o->cap - o->len >= len && !o->overflow) {
		memcpy(o->buf + o->len, text, len);
		o->len += len;
	} else {
		out_bytes(o, text, len);
	}
}

/* Most have one byte. */
static inline bool take_varint(slice *in, uint64_t *out)
{
	if (!in->len || (unsigned char)*in->ptr & 0x80)
		return take_long_varint(in, out);
	*out = (unsigned char)*in->ptr;
	*in = slice_skip(*in, 1);
	return true;
}

#endif
