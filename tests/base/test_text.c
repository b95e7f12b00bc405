/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers with units, UTF-8, domains, dates and JSON strings. */
#include "core/base/text.h"

#include <criterion/criterion.h>
#include <time.h>

Test(text, uint)
{
	uint64_t n = 9;

	cr_assert(text_parse_uint(SLICE("18446744073709551615"), UINT64_MAX, &n) &&
		n == UINT64_MAX);
	cr_assert(text_parse_uint(SLICE("007"), 7, &n) && n == 7);
	static const char *const bad[] = { "", "-1", "+1", "1 ", "8", "18446744073709551616",
		"0x1" };

	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(text_parse_uint(slice_str(bad[i]), i == 5 ? UINT64_MAX : 7, &n), "%s",
			bad[i]);
	cr_assert_eq(n, 7);
}

Test(text, duration)
{
	static const struct {
		const char *text;
		msec want;
	} rows[] = { { "15m", 900000 }, { "4h", 14400000 }, { "5d", 432000000 }, { "300s", 300000 },
		{ "250ms", 250 }, { "7", 7000 }, { "0", 0 } };
	static const char *const bad[] = { "", "s", "-1s", "1 s", "1w", "1.5h",
		"9223372036854775807d" };
	msec got;

	for (size_t i = 0; i < array_len(rows); i++)
		cr_assert(text_parse_duration(slice_str(rows[i].text), &got) &&
			got == rows[i].want);
	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(text_parse_duration(slice_str(bad[i]), &got), "%s", bad[i]);
}

Test(text, size)
{
	uint64_t n;

	cr_assert(text_parse_size(SLICE("50M"), &n) && n == 50 << 20);
	cr_assert(text_parse_size(SLICE("256k"), &n) && n == 256 << 10);
	cr_assert(text_parse_size(SLICE("10"), &n) && n == 10);
	cr_assert(text_parse_size(SLICE("1G"), &n) && n == 1 << 30);
	cr_assert_not(text_parse_size(SLICE("1X"), &n));
	cr_assert_not(text_parse_size(SLICE("M"), &n));
}

Test(text, utf8)
{
	static const char *const good[] = { "", "plain ascii of some length", "\xc3\xa4",
		"\xe2\x82\xac", "\xf0\x9f\x98\x80", "12345678\xc3\xa4", "\xef\xbf\xbf",
		"\xf4\x8f\xbf\xbf", "\xed\x9f\xbf" };
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3",
		"abcdefgh\xe2\x82", "\xc3(", "\xff" };

	for (size_t i = 0; i < array_len(good); i++)
		cr_assert(text_is_utf8(slice_str(good[i])), "good %zu", i);
	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(text_is_utf8(slice_str(bad[i])), "bad %zu", i);
	cr_assert(text_is_ascii(SLICE("abcdefghi\x7f")));
	cr_assert_not(text_is_ascii(SLICE("abcdefghi\x80")));
}

Test(text, domain)
{
	static const char *const good[] = { "a", "example.org", "a-b.c", "1.2", "_dmarc.example",
		"\xc3\xbc-x.example",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b" };
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a@b",
		"a\xff", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b" };
	char big[254];

	for (size_t i = 0; i < array_len(good); i++)
		cr_assert(text_is_domain(slice_str(good[i])), "%s", good[i]);
	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(text_is_domain(slice_str(bad[i])), "%s", bad[i]);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 50 == 49 ? '.' : 'a';
	cr_assert(text_is_domain(slice_of(big, 253)));
	cr_assert_not(text_is_domain(slice_of(big, 254)));
}

Test(text, dates_agree_with_the_c_library)
{
	for (int64_t at = -5000000000; at < 9000000000; at += 12345678) {
		struct text_date d = text_date_of(at * 1000, 0);
		time_t t = at;
		struct tm tm;

		gmtime_r(&t, &tm);
		cr_assert(d.year == tm.tm_year + 1900 && d.month == tm.tm_mon + 1 &&
			d.day == tm.tm_mday);
		cr_assert(d.hour == tm.tm_hour && d.minute == tm.tm_min && d.second == tm.tm_sec);
		cr_assert_eq(d.weekday, tm.tm_wday);
		cr_assert_eq(text_date_to_wall(&d), at * 1000);
	}
}

Test(text, date_of_rfc5322)
{
	char buf[64];
	struct out o = out_fixed(buf, sizeof(buf));
	wall_ms at;

	cr_assert(text_parse_timestamp(SLICE("1997-11-21T09:55:06-06:00"), &at));
	text_put_date(&o, at, -360);
	cr_assert(slice_eq(out_written(&o), SLICE("Fri, 21 Nov 1997 09:55:06 -0600")));
	o.len = 0;
	text_put_date(&o, 0, 330);
	cr_assert(slice_eq(out_written(&o), SLICE("Thu, 1 Jan 1970 05:30:00 +0530")));
}

Test(text, timestamp_round_trip)
{
	static const wall_ms rows[] = { 0, 1, 999, 1795300792123, -1, -62135596800000 };

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));
		wall_ms back;

		text_put_timestamp(&o, rows[i]);
		cr_assert(text_parse_timestamp(out_written(&o), &back), "%.*s",
			SLICE_ARG(out_written(&o)));
		cr_assert_eq(back, rows[i]);
	}
}

Test(text, timestamp_refuses)
{
	static const char *const bad[] = { "", "2026-11-21", "2026-13-01T00:00:00Z",
		"2026-02-29T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T00:00:00",
		"2026-11-21 00:00:00Z", "2026-11-21T00:00:00.Z", "2026-11-21T00:00:00Zx",
		"2026-11-21T00:00:00+2400", "2026-00-01T00:00:00Z", "2026-11-00T00:00:00Z" };
	wall_ms at;

	for (size_t i = 0; i < array_len(bad); i++)
		cr_assert_not(text_parse_timestamp(slice_str(bad[i]), &at), "%s", bad[i]);
	cr_assert(text_parse_timestamp(SLICE("2024-02-29T00:00:00.5z"), &at));
	cr_assert_eq(at % 1000, 500);
}

Test(text, json)
{
	static const struct {
		slice in, want;
	} rows[] = {
		{ SLICE_INIT(""), SLICE_INIT("\"\"") },
		{ SLICE_INIT("a\"b\\c"), SLICE_INIT("\"a\\\"b\\\\c\"") },
		{ SLICE_INIT("\r\n\t\b\f\0\x1f"), SLICE_INIT("\"\\r\\n\\t\\b\\f\\u0000\\u001f\"") },
		{ SLICE_INIT("\xc3\xa4\xff"
			     "x\xe2\x82"),
			SLICE_INIT("\"\xc3\xa4\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\"") },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));

		text_put_json(&o, rows[i].in);
		cr_assert(slice_eq(out_written(&o), rows[i].want), "%.*s",
			SLICE_ARG(out_written(&o)));
	}
}
