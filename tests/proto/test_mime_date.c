/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mime_date.c - dates as mail writes them. */
#include "core/base/text.h"
#include "proto/mime/date.h"

#include <criterion/criterion.h>

Test(mime_date, by_table)
{
	static const struct {
		const char *in, *want;
		int zone;
	} rows[] = {
		{ "Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06.000Z", -360 },
		{ "Tue, 1 Jul 2003 10:52:37 +0200", "2003-07-01T08:52:37.000Z", 120 },
		{ "21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06.000Z", 0 },
		{ "Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)",
			"1969-02-14T03:02:00.000Z", -210 },
		{ "Fri, 21 Nov 1997 09:55 EST", "1997-11-21T14:55:00.000Z", -300 },
		{ "Fri, 6 Apr 2001 09:23:06 -0800 (GMT-0800)", "2001-04-06T17:23:06.000Z", -480 },
		{ "Fri Nov 21 09:55:06 1997", "1997-11-21T09:55:06.000Z", 0 },
		{ "Fri Nov 21 09:55:06 PST 1997", "1997-11-21T17:55:06.000Z", -480 },
		{ "21-Nov-1997 09:55:06 +0100", "1997-11-21T08:55:06.000Z", 60 },
		{ "21 November 2004 1:02:03", "2004-11-21T01:02:03.000Z", 0 },
		{ "21 Nov 1997 09:55:06 +01:00", "1997-11-21T08:55:06.000Z", 60 },
		{ "21 Nov 1997", "1997-11-21T00:00:00.000Z", 0 },
		{ "1 Jan 100 00:00", "2000-01-01T00:00:00.000Z", 0 },
		{ "1 Jan 03 9:00:00 PM", "2003-01-01T21:00:00.000Z", 0 },
		{ "Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00.000Z", 0 },
		{ "", NULL, 0 },
		{ "yesterday", NULL, 0 },
		{ "Fri, 21 Nov", NULL, 0 },
		{ "32 Nov 1997 00:00", NULL, 0 },
		{ "0 Nov 1997 00:00", NULL, 0 },
		{ "21 Nov 1997 25:00", "1997-11-21T00:00:00.000Z", 0 },
		{ "(((", NULL, 0 },
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		char buf[64];
		struct out o = out_fixed(buf, sizeof(buf));
		struct date date;
		bool good = date_parse(slice_str(rows[i].in), &date);

		cr_expect_eq(good, rows[i].want != NULL, "%s", rows[i].in);
		if (!good || !rows[i].want)
			continue;
		text_put_timestamp(&o, date.at);
		cr_expect(slice_eq(out_written(&o), slice_str(rows[i].want)), "%s: %.*s",
			rows[i].in, SLICE_ARG(out_written(&o)));
		cr_expect_eq(date.zone_minutes, rows[i].zone, "%s", rows[i].in);
	}
}
