/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers, UTF-8, domains, dates and JSON strings. Dates count days by the civil calendar of 400-year
 * eras that begin in March, so leap days stand at the end of a year. */
#include "core/base/text.h"

static const char day_names[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
	"Sep", "Oct", "Nov", "Dec" };

void text_lower_all(char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = text_lower(bytes[i]);
}

bool text_parse_uint(slice s, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!text_is_digit(s.ptr[i]))
			return false;
		uint64_t digit = (uint64_t)(s.ptr[i] - '0');

		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (n > max)
		return false;
	*out = n;
	return true;
}

struct unit {
	slice name;
	uint64_t factor;
};

/* A number and one of the units; rows[0] is what a bare number means. */
static bool parse_with_unit(slice s, const struct unit *rows, size_t n, uint64_t *out)
{
	size_t digits = 0;
	uint64_t number;

	while (digits < s.len && text_is_digit(s.ptr[digits]))
		digits++;
	slice name = slice_skip(s, digits);

	for (size_t i = 0; i < n; i++)
		if (slice_eq_nocase(rows[i].name, name)) {
			uint64_t max = (uint64_t)INT64_MAX / rows[i].factor;

			if (!text_parse_uint(slice_sub(s, 0, digits), max, &number))
				return false;
			*out = number * rows[i].factor;
			return true;
		}
	return false;
}

bool text_parse_duration(slice s, msec *out)
{
	static const struct unit units[] = { { SLICE_INIT(""), 1000 }, { SLICE_INIT("s"), 1000 },
		{ SLICE_INIT("ms"), 1 }, { SLICE_INIT("m"), 60000 }, { SLICE_INIT("h"), 3600000 },
		{ SLICE_INIT("d"), 86400000 } };
	uint64_t ms;

	if (!parse_with_unit(s, units, array_len(units), &ms))
		return false;
	*out = (msec)ms;
	return true;
}

bool text_parse_size(slice s, uint64_t *out)
{
	static const struct unit units[] = { { SLICE_INIT(""), 1 }, { SLICE_INIT("K"), 1 << 10 },
		{ SLICE_INIT("M"), 1 << 20 }, { SLICE_INIT("G"), 1 << 30 },
		{ SLICE_INIT("T"), (uint64_t)1 << 40 } };

	return parse_with_unit(s, units, array_len(units), out);
}

/* How many bytes of s, from the front, are ASCII; eight at a time. */
static size_t ascii_prefix(slice s)
{
	size_t i = 0;

	for (; s.len - i >= 8; i += 8) {
		uint64_t word;

		memcpy(&word, s.ptr + i, 8);
		if (word & 0x8080808080808080)
			break;
	}
	while (i < s.len && !(s.ptr[i] & 0x80))
		i++;
	return i;
}

bool text_is_ascii(slice s)
{
	return ascii_prefix(s) == s.len;
}

/* The length of the sequence at the front of s, or 0. RFC 3629 4: the second byte's range depends on
 * the first, all others are 80 to BF. */
static size_t utf8_sequence(slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char lead = p[0], low = 0x80, high = 0xbf;
	size_t len = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	if (lead > 0xf4 || len == 0 || len > s.len)
		return 0;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf)
		if (p[i] < low || p[i] > high)
			return 0;
	return len;
}

bool text_is_utf8(slice s)
{
	for (;;) {
		s = slice_skip(s, ascii_prefix(s));
		if (!s.len)
			return true;
		size_t len = utf8_sequence(s);

		if (!len)
			return false;
		s = slice_skip(s, len);
	}
}

static bool is_label(slice label)
{
	if (!label.len || label.len > 63)
		return false;
	if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return false; /* RFC 5321 4.1.2: Let-dig at both ends */
	for (size_t i = 0; i < label.len; i++) {
		char c = label.ptr[i];

		if (!text_is_alpha(c) && !text_is_digit(c) && c != '-' && c != '_' && !(c & 0x80))
			return false;
	}
	return true;
}

bool text_is_domain(slice s)
{
	slice rest = s, label;

	if (!s.len || s.len > 253 || s.ptr[s.len - 1] == '.' || !text_is_utf8(s))
		return false;
	while (slice_cut(&rest, '.', &label))
		if (!is_label(label))
			return false;
	return true;
}

static int64_t floor_div(int64_t n, int64_t by)
{
	return n / by - (n % by < 0);
}

struct text_date text_date_of(wall_ms at, int zone_minutes)
{
	int64_t seconds = floor_div(at, 1000) + (int64_t)zone_minutes * 60;
	int64_t days = floor_div(seconds, 86400), left = seconds - days * 86400;
	int64_t day = days + 719468; /* since 0000-03-01 */
	int64_t era = floor_div(day, 146097);
	int64_t doe = day - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t march = (5 * doy + 2) / 153; /* 0 is March */

	return (struct text_date){
		.year = (int)(yoe + era * 400 + (march >= 10)),
		.month = (int)(march < 10 ? march + 3 : march - 9),
		.day = (int)(doy - (153 * march + 2) / 5 + 1),
		.hour = (int)(left / 3600),
		.minute = (int)(left / 60 % 60),
		.second = (int)(left % 60),
		.weekday = (int)((days % 7 + 11) % 7),
		.zone_minutes = zone_minutes,
	};
}

wall_ms text_date_to_wall(const struct text_date *d)
{
	int64_t year = d->year - (d->month <= 2);
	int64_t era = floor_div(year, 400), yoe = year - era * 400;
	int64_t march = d->month > 2 ? d->month - 3 : d->month + 9;
	int64_t doy = (153 * march + 2) / 5 + d->day - 1;
	int64_t days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
	int64_t minutes = days * 1440 + d->hour * 60 + d->minute - d->zone_minutes;

	return (minutes * 60 + d->second) * 1000;
}

static void put_digits(struct out *o, int64_t n, size_t width)
{
	char digits[20];

	must(width <= sizeof(digits));
	for (size_t i = width; i-- > 0; n /= 10)
		digits[i] = (char)('0' + n % 10);
	out_bytes(o, digits, width);
}

static void put_clock(struct out *o, const struct text_date *d)
{
	put_digits(o, d->hour, 2);
	out_char(o, ':');
	put_digits(o, d->minute, 2);
	out_char(o, ':');
	put_digits(o, d->second, 2);
}

void text_put_date(struct out *o, wall_ms at, int zone_minutes)
{
	struct text_date d = text_date_of(at, zone_minutes);
	int zone = zone_minutes < 0 ? -zone_minutes : zone_minutes;

	out_str(o, day_names[d.weekday]);
	out_str(o, ", ");
	out_int(o, d.day);
	out_char(o, ' ');
	out_str(o, month_names[d.month - 1]);
	out_char(o, ' ');
	put_digits(o, d.year, 4);
	out_char(o, ' ');
	put_clock(o, &d);
	out_str(o, zone_minutes < 0 ? " -" : " +");
	put_digits(o, zone / 60, 2);
	put_digits(o, zone % 60, 2);
}

void text_put_timestamp(struct out *o, wall_ms at)
{
	struct text_date d = text_date_of(at, 0);

	put_digits(o, d.year, 4);
	out_char(o, '-');
	put_digits(o, d.month, 2);
	out_char(o, '-');
	put_digits(o, d.day, 2);
	out_char(o, 'T');
	put_clock(o, &d);
	out_char(o, '.');
	put_digits(o, at - floor_div(at, 1000) * 1000, 3);
	out_char(o, 'Z');
}

/* Exactly n digits, then (unless it is 0) the byte `end`. */
static bool take_number(slice *s, size_t n, char end, int *out)
{
	uint64_t value;

	if (s->len < n + (end != 0) || !text_parse_uint(slice_sub(*s, 0, n), INT32_MAX, &value))
		return false;
	if (end && text_lower(s->ptr[n]) != end)
		return false;
	*s = slice_skip(*s, n + (end != 0));
	*out = (int)value;
	return true;
}

static int days_in(int year, int month)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* ".123456": digits beyond milliseconds are dropped. */
static bool take_fraction(slice *s, int *out_ms)
{
	int ms = 0, scale = 100;
	size_t n = 1;

	if (!s->len || s->ptr[0] != '.')
		return true;
	for (; n < s->len && text_is_digit(s->ptr[n]); n++, scale /= 10)
		ms += (s->ptr[n] - '0') * scale;
	if (n == 1)
		return false;
	*s = slice_skip(*s, n);
	*out_ms = ms;
	return true;
}

static bool take_zone(slice *s, int *out_minutes)
{
	int hours, minutes;

	if (s->len == 1 && text_lower(s->ptr[0]) == 'z') {
		*s = slice_skip(*s, 1);
		*out_minutes = 0;
		return true;
	}
	if (!s->len || (s->ptr[0] != '+' && s->ptr[0] != '-'))
		return false;
	bool west = s->ptr[0] == '-';

	*s = slice_skip(*s, 1);
	if (!take_number(s, 2, ':', &hours) || !take_number(s, 2, 0, &minutes))
		return false;
	if (hours > 23 || minutes > 59)
		return false;
	*out_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
	return true;
}

bool text_parse_timestamp(slice s, wall_ms *out)
{
	struct text_date d = { 0 };
	int ms = 0;

	if (!take_number(&s, 4, '-', &d.year) || !take_number(&s, 2, '-', &d.month) ||
		!take_number(&s, 2, 't', &d.day) || !take_number(&s, 2, ':', &d.hour) ||
		!take_number(&s, 2, ':', &d.minute) || !take_number(&s, 2, 0, &d.second))
		return false;
	if (!take_fraction(&s, &ms) || !take_zone(&s, &d.zone_minutes) || s.len)
		return false;
	if (d.month < 1 || d.month > 12 || d.day < 1 || d.day > days_in(d.year, d.month))
		return false;
	if (d.hour > 23 || d.minute > 59 || d.second > 60)
		return false;
	*out = text_date_to_wall(&d) + ms;
	return true;
}

static bool json_plain(char c)
{
	return (unsigned char)c >= 0x20 && !(c & 0x80) && c != '"' && c != '\\';
}

static void put_json_special(struct out *o, char c)
{
	static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (size_t i = 0; i + 1 < sizeof(names); i += 2)
		if (names[i] == c) {
			out_char(o, '\\');
			out_char(o, names[i + 1]);
			return;
		}
	out_printf(o, "\\u%04x", (unsigned)(unsigned char)c);
}

void text_put_json(struct out *o, slice s)
{
	out_char(o, '"');
	while (s.len) {
		size_t n = 0;

		while (n < s.len && json_plain(s.ptr[n]))
			n++;
		out_bytes(o, s.ptr, n);
		s = slice_skip(s, n);
		if (!s.len)
			break;
		n = utf8_sequence(s);
		if (n > 1)
			out_bytes(o, s.ptr, n);
		else if (n == 1)
			put_json_special(o, s.ptr[0]);
		else
			out_str(o, "\xef\xbf\xbd");
		s = slice_skip(s, MAX(n, (size_t)1));
	}
	out_char(o, '"');
}
