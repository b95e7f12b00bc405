/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_mime_subject.c - the base of a base subject is itself, is UTF-8, and is never longer than it
 * may be; dates and words of any bytes do no harm. */
#include "core/base/text.h"
#include "proto/mime/date.h"
#include "proto/mime/subject.h"
#include "proto/mime/word.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	slice in = slice_of(bytes, len);
	struct arena a = { 0 };
	struct subject one = subject_base(in, &a), two;
	struct out words = out_arena(&a);
	struct date date;

	must(text_is_utf8(one.base) && one.base.len <= SUBJECT_MAX * 3);
	must(one.base.len == 0 ||
		(one.base.ptr[0] != ' ' && one.base.ptr[one.base.len - 1] != ' '));
	/* Words that decode to words decode again, and what was cut may be another subject. */
	if (slice_search(one.base, SLICE("=?")) < 0 && len < SUBJECT_MAX / 4) {
		two = subject_base(one.base, &a);
		must(slice_eq(one.base, two.base) && !two.reply);
	}
	if (date_parse(in, &date))
		must(date.zone_minutes > -1440 && date.zone_minutes < 1440);
	word_decode(in, &words);
	must(!text_is_utf8(in) || text_is_utf8(out_written(&words)));
	arena_done(&a);
	return 0;
}
