/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dates, flags and the closed vocabularies. */
#include "proto/imap/date.h"
#include "proto/imap/flags.h"
#include "proto/imap/words.h"
#include "tests/support/imap_text.h"

#include <criterion/criterion.h>

static struct arena arena;

static const struct {
	const char *in, *out; /* NULL: refused */
	wall_ms at;
} times[] = {
	{ "17-Jul-1996 02:44:25 -0700", "\"17-Jul-1996 02:44:25 -0700\"", 837596665000 },
	{ " 7-Feb-1994 21:52:25 -0800", "\" 7-Feb-1994 21:52:25 -0800\"", 760686745000 },
	{ "7-feb-1994 21:52:25 +0000", "\" 7-Feb-1994 21:52:25 +0000\"", 760657945000 },
	{ "01-Jan-1970 00:00:00 +0000", "\" 1-Jan-1970 00:00:00 +0000\"", 0 },
	{ "31-Dec-1969 23:59:59 +0000", "\"31-Dec-1969 23:59:59 +0000\"", -1000 },
	{ "29-Feb-2000 12:00:00 +1345", "\"29-Feb-2000 12:00:00 +1345\"", 951776100000 },
	{ "29-Feb-2001 12:00:00 +0000", NULL, 0 },
	{ "32-Jan-2001 12:00:00 +0000", NULL, 0 },
	{ "0-Jan-2001 12:00:00 +0000", NULL, 0 },
	{ "1-Foo-2001 12:00:00 +0000", NULL, 0 },
	{ "1-Jan-01 12:00:00 +0000", NULL, 0 },
	{ "1-Jan-2001 24:00:00 +0000", NULL, 0 },
	{ "1-Jan-2001 12:60:00 +0000", NULL, 0 },
	{ "1-Jan-2001 12:00:00 GMT", NULL, 0 },
	{ "1-Jan-2001 12:00:00 +0060", NULL, 0 },
	{ "1-Jan-2001 12:00:00 +000", NULL, 0 },
	{ "1-Jan-2001 12:00:00 +0000 ", NULL, 0 },
	{ "1-Jan-2001 1:00:00 +0000", NULL, 0 },
	{ "", NULL, 0 },
};

Test(imap_words, date_times)
{
	for (size_t i = 0; i < array_len(times); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));
		struct imap_date date;
		bool good = imap_parse_date_time(slice_str(times[i].in), &date);

		cr_assert_eq(good, times[i].out != NULL, "%s", times[i].in);
		if (!good)
			continue;
		cr_assert_eq(date.at, times[i].at, "%s: %lld", times[i].in, (long long)date.at);
		imap_put_date_time(&o, date.at, date.zone_minutes);
		cr_assert(slice_eq(out_written(&o), slice_str(times[i].out)), "%.*s",
			SLICE_ARG(out_written(&o)));
		cr_assert_eq(o.len, IMAP_DATE_TIME_LEN + 2);
	}
}

Test(imap_words, days)
{
	static const struct {
		const char *in, *out;
		int32_t day;
	} days[] = {
		{ "1-Feb-1994", "1-Feb-1994", 8797 },
		{ "01-feb-1994", "1-Feb-1994", 8797 },
		{ "31-Dec-1969", "31-Dec-1969", -1 },
		{ "1-Jan-0001", "1-Jan-0001", -719162 },
		{ "31-Dec-9999", "31-Dec-9999", 2932896 },
		{ "1-Jan-0000", NULL, 0 },
		{ "31-Apr-2000", NULL, 0 },
		{ "1-Feb-1994 ", NULL, 0 },
		{ "1 Feb 1994", NULL, 0 },
		{ "", NULL, 0 },
	};

	for (size_t i = 0; i < array_len(days); i++) {
		char buf[32];
		struct out o = out_fixed(buf, sizeof(buf));
		int32_t day;
		bool good = imap_parse_day(slice_str(days[i].in), &day);

		cr_assert_eq(good, days[i].out != NULL, "%s", days[i].in);
		if (!good)
			continue;
		cr_assert_eq(day, days[i].day, "%s: %d", days[i].in, day);
		imap_text_day(&o, day);
		cr_assert(slice_eq(out_written(&o), slice_str(days[i].out)), "%s", days[i].in);
	}
	/* Just before midnight in Greenwich it is the next day east of it. */
	cr_assert_eq(imap_day_of(86399999, 0), 0);
	cr_assert_eq(imap_day_of(86399999, 60), 1);
	cr_assert_eq(imap_day_of(0, -60), -1);
}

Test(imap_words, flags)
{
	char buf[100];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(imap_put_system_flags(&o, IMAP_FLAGS_ALL));
	cr_assert(slice_eq(out_written(&o),
		SLICE("\\Seen \\Answered \\Flagged \\Deleted \\Draft")));
	cr_assert_not(imap_put_system_flags(&o, 0));
	cr_assert_eq(imap_flag_bit(SLICE("\\sEEN")), IMAP_SEEN);
	cr_assert_eq(imap_flag_bit(SLICE("Seen")), 0);
	cr_assert(imap_is_keyword(SLICE("$Forwarded")) && !imap_is_keyword(SLICE("\\Seen")));
	cr_assert(!imap_is_keyword(SLICE("")) && !imap_is_keyword(SLICE("a]b")));
	cr_assert(slice_eq(imap_keyword_spelling(SLICE("$mdnsent")), SLICE("$MDNSent")));
	cr_assert(slice_eq(imap_keyword_spelling(SLICE("other")), SLICE("other")));
	cr_assert(slice_eq(imap_keyword_opposite(SLICE("$JUNK")), SLICE("$NotJunk")));
	cr_assert(!imap_keyword_opposite(SLICE("$Phishing")).len);
}

Test(imap_words, flags_of_a_command_have_limits)
{
	static const struct imap_limits limits = { .terms_max = 10000 };
	struct out o = out_arena(&arena);
	struct imap_flags flags;

	out_char(&o, '(');
	for (int i = 0; i < IMAP_KEYWORDS_MAX; i++)
		out_printf(&o, "k%d k%d ", i, i);
	o.buf[o.len - 1] = ')';
	struct imap_lex x = imap_lex_of(&arena, out_written(&o), &limits);

	cr_assert(imap_lex_flags(&x, false, &flags), "%s", x.why);
	cr_assert_eq(flags.keywords.len, IMAP_KEYWORDS_MAX);
	o.buf[o.len - 1] = ' ';
	out_str(&o, "more)");
	x = imap_lex_of(&arena, out_written(&o), &limits);
	cr_assert(!imap_lex_flags(&x, false, &flags));
	char longest[IMAP_KEYWORD_MAX + 2];

	memset(longest, 'k', sizeof(longest));
	x = imap_lex_of(&arena, slice_of(longest, IMAP_KEYWORD_MAX + 1), &limits);
	cr_assert(!imap_lex_flags(&x, true, &flags));
	arena_done(&arena);
}

Test(imap_words, tables)
{
	char buf[100];
	struct out o = out_fixed(buf, sizeof(buf));

	cr_assert(slice_eq(imap_code_name(IMAP_CODE_READ_ONLY), SLICE("READ-ONLY")));
	cr_assert(!imap_code_name(IMAP_CODE_NONE).len);
	for (enum imap_code code = 1; code <= IMAP_CODE_USEATTR; code++)
		cr_assert(imap_code_name(code).len > 2);
	for (unsigned bit = 1; bit <= IMAP_STATUS_DELETED_STORAGE; bit <<= 1)
		cr_assert_eq(imap_status_bit(imap_status_name(bit)), bit);
	cr_assert(!imap_status_bit(SLICE("FOO")) && !imap_status_name(3).len);
	cr_assert(imap_put_uses(&o, IMAP_USE_SENT | IMAP_USE_ALL));
	cr_assert(!imap_put_uses(&o, 0));
	cr_assert(slice_eq(out_written(&o), SLICE("\\Sent \\All")));
	cr_assert_eq(imap_use_bit(SLICE("\\archive")), IMAP_USE_ARCHIVE);
	cr_assert_eq(imap_use_bit(SLICE("\\foo")), 0);
}
