/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mime_charset.c - the first line names a charset, the rest is text of it: whatever the cuts,
 * the same well-formed UTF-8 comes out, and not too much of it. */
#include "core/base/text.h"
#include "proto/mime/charset.h"
#include "tests/support/proto_feeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	slice text = slice_of(bytes, len), name = { 0 };
	struct arena a = { 0 };
	struct out o = out_arena(&a);

	slice_cut(&text, '\n', &name);
	must(feed_few_ways(&feed_charset, &name, text, &o));
	must(text_is_utf8(out_written(&o)));
	must(o.len <= text.len * CHARSET_GROWTH + 64);
	arena_done(&a);
	return 0;
}
