/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dates of IMAP. The calendar is text.h's; here are the spelling and what may be said. */
#include "proto/imap/date.h"

#include "core/base/text.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

static const char months[12][3] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
	"Oct", "Nov", "Dec" };

/* Exactly n digits. */
static bool take_digits(slice *in, size_t n, int *out)
{
	uint64_t number;

	if (in->len < n || !text_parse_uint(slice_sub(*in, 0, n), 9999, &number))
		return false;
	*out = (int)number;
	*in = slice_skip(*in, n);
	return true;
}

static bool take_char(slice *in, char c)
{
	if (!in->len || in->ptr[0] != c)
		return false;
	*in = slice_skip(*in, 1);
	return true;
}

static bool take_month(slice *in, int *out)
{
	for (int i = 0; i < 12; i++)
		if (slice_starts_nocase(*in, slice_of(months[i], 3))) {
			*out = i + 1;
			*in = slice_skip(*in, 3);
			return true;
		}
	return false;
}

static bool real_day(const struct text_date *d)
{
	struct text_date back = text_date_of(text_date_to_wall(d), d->zone_minutes);

	return d->year >= 1 && back.day == d->day && back.month == d->month && back.year == d->year;
}

/* "1-Feb-1994", the day of one or two digits. */
static bool take_day(slice *in, struct text_date *d)
{
	size_t len = in->len > 1 && text_is_digit(in->ptr[1]) ? 2 : 1;

	return take_digits(in, len, &d->day) && take_char(in, '-') && take_month(in, &d->month) &&
		take_char(in, '-') && take_digits(in, 4, &d->year) && real_day(d);
}

static bool take_time(slice *in, struct text_date *d)
{
	return take_digits(in, 2, &d->hour) && take_char(in, ':') &&
		take_digits(in, 2, &d->minute) && take_char(in, ':') &&
		take_digits(in, 2, &d->second) && d->hour < 24 && d->minute < 60 && d->second <= 60;
}

static bool take_zone(slice *in, struct text_date *d)
{
	bool minus = take_char(in, '-');
	int hours, minutes;

	if ((!minus && !take_char(in, '+')) || !take_digits(in, 2, &hours) ||
		!take_digits(in, 2, &minutes) || minutes >= 60 || hours >= 24)
		return false;
	d->zone_minutes = (minus ? -1 : 1) * (hours * 60 + minutes);
	return true;
}

bool imap_parse_date_time(slice in, struct imap_date *out)
{
	struct text_date d = { 0 };

	take_char(&in, ' ');
	if (!take_day(&in, &d) || !take_char(&in, ' ') || !take_time(&in, &d) ||
		!take_char(&in, ' ') || !take_zone(&in, &d) || in.len)
		return false;
	*out = (struct imap_date){ .at = text_date_to_wall(&d), .zone_minutes = d.zone_minutes };
	return true;
}

static void digits2(char *to, int n)
{
	to[0] = (char)('0' + n / 10 % 10);
	to[1] = (char)('0' + n % 10);
}

void imap_put_date_time(struct out *o, wall_ms at, int zone_minutes)
{
	char text[IMAP_DATE_TIME_LEN + 2] = "\"  -   -       :  :   +    \"";
	struct text_date d = text_date_of(at, zone_minutes);
	int zone = zone_minutes < 0 ? -zone_minutes : zone_minutes;

	digits2(text + 1, d.day);
	if (text[1] == '0')
		text[1] = ' ';
	memcpy(text + 4, months[d.month - 1], 3);
	digits2(text + 8, d.year / 100);
	digits2(text + 10, d.year);
	digits2(text + 13, d.hour);
	digits2(text + 16, d.minute);
	digits2(text + 19, d.second);
	text[22] = zone_minutes < 0 ? '-' : '+';
	digits2(text + 23, zone / 60);
	digits2(text + 25, zone % 60);
	out_bytes(o, text, sizeof(text));
}

bool imap_parse_day(slice in, int32_t *out_day)
{
	struct text_date d = { 0 };

	if (!take_day(&in, &d) || in.len)
		return false;
	*out_day = imap_day_of(text_date_to_wall(&d), 0);
	return true;
}

int32_t imap_day_of(wall_ms at, int zone_minutes)
{
	wall_ms local = at + (wall_ms)zone_minutes * 60000;

	return (int32_t)((local - (local < 0 ? DAY_MS - 1 : 0)) / DAY_MS);
}
