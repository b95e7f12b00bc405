/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_mutf7.c - a name has one spelling: what decodes encodes to itself, and what is UTF-8 comes back.
 * Patterns against a plain matcher that tries everything, on short ones. */
#include "proto/imap/mutf7.h"

#include "core/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_decode(struct arena *a, slice in)
{
	struct out utf8 = out_arena(a), back = out_arena(a);

	if (!imap_mutf7_decode(&utf8, in))
		return;
	must(text_is_utf8(out_written(&utf8)));
	must(imap_mutf7_encode(&back, out_written(&utf8)));
	must(slice_eq(out_written(&back), in));
}

static void check_encode(struct arena *a, slice in)
{
	struct out coded = out_arena(a), back = out_arena(a);

	must(imap_mutf7_encode(&coded, in) == text_is_utf8(in));
	if (!text_is_utf8(in))
		return;
	must(text_is_ascii(out_written(&coded)));
	must(imap_mutf7_decode(&back, out_written(&coded)));
	must(slice_eq(out_written(&back), in));
}

static bool slow_match(slice pattern, slice name)
{
	if (!pattern.len)
		return !name.len;
	char c = pattern.ptr[0];

	if (c != '*' && c != '%')
		return name.len && name.ptr[0] == c &&
			slow_match(slice_skip(pattern, 1), slice_skip(name, 1));
	return slow_match(slice_skip(pattern, 1), name) ||
		(name.len && (c == '*' || name.ptr[0] != '/') &&
			slow_match(pattern, slice_skip(name, 1)));
}

static void check_pattern(slice in)
{
	slice pattern, name = in;

	if (!slice_cut(&name, '\n', &pattern) || pattern.len > 10 || name.len > 10 ||
		imap_name_is_inbox(slice_sub(name, 0, 5)))
		return;
	must(imap_pattern_match(pattern, name) == slow_match(pattern, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena a = { 0 };
	slice in = slice_of(bytes, len);

	check_decode(&a, in);
	check_encode(&a, in);
	check_pattern(in);
	if (!imap_name_wrong(in) && imap_name_is_normal(in))
		must(slice_eq_nocase(imap_name_canon(&a, in), in) && text_is_utf8(in));
	arena_done(&a);
	return 0;
}
