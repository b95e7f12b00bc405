/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writers: sticky overflow, growth, and the binary forms read back. */
#include "core/base/base.h"

#include <criterion/criterion.h>

Test(out, overflow_is_sticky_and_keeps_what_fitted)
{
	char buf[8];
	struct out o = out_fixed(buf, sizeof(buf));

	out_str(&o, "12345");
	cr_assert(out_ok(&o));
	out_str(&o, "67890");
	cr_assert_not(out_ok(&o));
	out_str(&o, "x");
	cr_assert_not(out_ok(&o));
	cr_assert(slice_eq(out_written(&o), SLICE("12345678")));
}

Test(out, heap_grows_to_its_limit_and_no_further)
{
	struct out o = out_heap(1000);

	out_fill(&o, 'a', 1000);
	cr_assert(out_ok(&o));
	cr_assert_eq(o.len, 1000);
	out_char(&o, 'b');
	cr_assert_not(out_ok(&o));
	out_heap_done(&o);
}

Test(out, arena_writer_keeps_all)
{
	struct arena a = { 0 };
	struct out o = out_arena(&a);

	for (unsigned i = 0; i < 2000; i++)
		out_printf(&o, "%u,", i);
	cr_assert(out_ok(&o));
	cr_assert(slice_starts(out_written(&o), SLICE("0,1,2,3,")));
	cr_assert(slice_ends_nocase(out_written(&o), SLICE(",1998,1999,")));
	arena_done(&a);
}

static bool flush(struct out *o, size_t want)
{
	(void)want;
	out_slice(o->owner, out_written(o));
	o->len = 0;
	return true;
}

Test(out, more_may_flush)
{
	char small[7];
	struct out all = out_heap(100000);
	struct out o = { .buf = small, .cap = sizeof(small), .more = flush, .owner = &all };

	for (unsigned i = 0; i < 100; i++)
		out_printf(&o, "line %u with more than seven bytes\n", i);
	flush(&o, 0);
	cr_assert(out_ok(&o) && out_ok(&all));
	cr_assert(slice_ends_nocase(out_written(&all),
		SLICE("line 99 with more than seven bytes\n")));
	out_heap_done(&all);
}

Test(out, numbers)
{
	char buf[128];
	struct out o = out_fixed(buf, sizeof(buf));

	out_uint(&o, UINT64_MAX);
	out_char(&o, ' ');
	out_int(&o, INT64_MIN);
	out_char(&o, ' ');
	out_int(&o, 0);
	cr_assert(slice_eq(out_written(&o), SLICE("18446744073709551615 -9223372036854775808 0")));
}

Test(out, printf_longer_than_its_stack_buffer)
{
	struct out o = out_heap(10000);

	out_printf(&o, "%0900d", 1);
	cr_assert_eq(o.len, 900);
	cr_assert_eq(o.buf[899], '1');
	out_heap_done(&o);
}

static const uint64_t numbers[] = { 0, 1, 127, 128, 255, 256, 16383, 16384, UINT32_MAX,
	(uint64_t)UINT32_MAX + 1, INT64_MAX, UINT64_MAX };

Test(out, binary_forms_come_back)
{
	char buf[64];

	for (size_t i = 0; i < array_len(numbers); i++) {
		struct out o = out_fixed(buf, sizeof(buf));
		uint64_t n = numbers[i], wide, var;
		uint32_t word;
		uint16_t half;
		uint8_t byte;
		int64_t any;
		slice field;

		out_u64(&o, n);
		out_u32(&o, (uint32_t)n);
		out_u16(&o, (uint16_t)n);
		out_u8(&o, (uint8_t)n);
		out_varint(&o, n);
		out_signed(&o, (int64_t)n);
		out_field(&o, SLICE("xyz"));
		slice in = out_written(&o);

		cr_assert(take_u64(&in, &wide) && take_u32(&in, &word) && take_u16(&in, &half));
		cr_assert(take_u8(&in, &byte) && take_varint(&in, &var) && take_signed(&in, &any));
		cr_assert(take_field(&in, &field));
		cr_assert(wide == n && word == (uint32_t)n && half == (uint16_t)n);
		cr_assert(byte == (uint8_t)n && var == n && any == (int64_t)n);
		cr_assert(slice_eq(field, SLICE("xyz")) && in.len == 0);
	}
}

Test(out, short_or_false_bytes_are_refused_and_left)
{
	slice in = SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
	uint64_t n = 5;
	uint32_t word;
	slice field;

	cr_assert_not(take_varint(&in, &n));
	cr_assert(in.len == 10 && n == 5);
	in = SLICE("\x80\x80\x80\x80\x10");
	cr_assert_not(take_varint32(&in, &word));
	cr_assert(take_varint(&in, &n) && n == (uint64_t)UINT32_MAX + 1);
	n = 5;
	in = SLICE("\x80");
	cr_assert_not(take_varint(&in, &n));
	in = SLICE("\x04"
		   "abc");
	cr_assert_not(take_field(&in, &field));
	cr_assert_eq(in.len, 4);
	in = SLICE("abc");
	cr_assert_not(take_u64(&in, &n));
	cr_assert_eq(in.len, 3);
}
