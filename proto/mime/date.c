/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each token says by its looks what it is: a time has a colon, a zone has a sign, a month and a zone
 * have names, the first short number is the day, the next one the year. So order hardly matters. */
#include "proto/mime/date.h"

#include "core/base/text.h"

struct reading {
	struct text_date date;
	bool day, month, year, time, zone;
};

static bool is_gap(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',';
}

/* Blanks, commas and comments; an open comment swallows the rest. */
static slice skip_gaps(slice in)
{
	unsigned depth = 0;

	while (in.len && (depth || is_gap(in.ptr[0]) || in.ptr[0] == '(')) {
		if (in.ptr[0] == '(')
			depth++;
		else if (in.ptr[0] == ')')
			depth--;
		in = slice_skip(in, in.ptr[0] == '\\' ? 2 : 1);
	}
	return in;
}

/* A '-' parts "21-Nov-1997", but begins "-0600". */
static slice cut_token(slice *in)
{
	size_t len = 1;

	while (len < in->len && !is_gap(in->ptr[len]) && in->ptr[len] != '(' &&
		(in->ptr[len] != '-' || slice_find(slice_sub(*in, 0, len), ':') >= 0))
		len++;
	slice token = slice_sub(*in, 0, len);

	*in = slice_skip(*in, len);
	return token;
}

static bool read_number(slice s, unsigned max, int *out)
{
	uint64_t n;

	if (!text_parse_uint(s, max, &n))
		return false;
	*out = (int)n;
	return true;
}

/* "09:55", "09:55:06", "9:5:6.25". */
static bool read_time(struct reading *r, slice token)
{
	slice hour, minute, second = SLICE("0");

	slice_cut(&token, ':', &hour);
	if (!slice_cut(&token, ':', &minute))
		return false;
	if (token.len)
		slice_cut(&token, '.', &second);
	r->time = true;
	return read_number(hour, 24, &r->date.hour) && read_number(minute, 59, &r->date.minute) &&
		read_number(second, 60, &r->date.second);
}

/* "+0100", "-06:00", "+1". */
static void read_offset(struct reading *r, slice token)
{
	int digits = 0, n = 0;

	for (size_t i = 1; i < token.len && digits < 4; i++)
		if (text_is_digit(token.ptr[i])) {
			n = n * 10 + (token.ptr[i] - '0');
			digits++;
		}
	n = digits <= 2 ? n * 60 : n / 100 * 60 + n % 100;
	r->zone = true;
	if (n < 24 * 60)
		r->date.zone_minutes = token.ptr[0] == '-' ? -n : n;
}

/* RFC 5322 4.3: the North American ones; all other letters mean nothing. */
static void read_zone_name(struct reading *r, slice token)
{
	static const struct {
		slice name;
		int hours;
	} rows[] = {
		{ SLICE_INIT("EST"), -5 },
		{ SLICE_INIT("EDT"), -4 },
		{ SLICE_INIT("CST"), -6 },
		{ SLICE_INIT("CDT"), -5 },
		{ SLICE_INIT("MST"), -7 },
		{ SLICE_INIT("MDT"), -6 },
		{ SLICE_INIT("PST"), -8 },
		{ SLICE_INIT("PDT"), -7 },
	};

	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq_nocase(token, rows[i].name)) {
			r->date.zone_minutes = rows[i].hours * 60;
			r->zone = true;
		}
}

static void read_name(struct reading *r, slice token)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

	for (int i = 0; i < 12 && !r->month && token.len >= 3; i++)
		if (slice_eq_nocase(slice_sub(token, 0, 3), slice_of(names + i * 3, 3))) {
			r->date.month = i + 1;
			r->month = true;
			return;
		}
	if (slice_eq_nocase(token, SLICE("PM")) && r->date.hour < 12)
		r->date.hour += 12;
	if (r->time && !r->zone)
		read_zone_name(r, token);
}

static bool read_count(struct reading *r, slice token)
{
	int n;

	if (!read_number(token, 9999, &n))
		return false;
	if (!r->day && token.len <= 2) {
		r->day = true;
		r->date.day = n;
	} else if (!r->year) {
		/* RFC 5322 4.3: two and three digits. */
		r->year = true;
		r->date.year = token.len >= 4 ? n : n < 50 && token.len < 3 ? n + 2000 : n + 1900;
	}
	return true;
}

static bool read_token(struct reading *r, slice token)
{
	if (text_is_alpha(token.ptr[0])) {
		read_name(r, token);
		return true;
	}
	if (slice_find(token, ':') > 0 && !r->time)
		return read_time(r, token);
	if (token.ptr[0] == '+' || token.ptr[0] == '-') {
		if (r->time && !r->zone)
			read_offset(r, token);
		else if (token.ptr[0] == '-' && token.len > 1)
			return read_token(r, slice_skip(token, 1));
		return true;
	}
	return read_count(r, token);
}

bool date_parse(slice value, struct date *out)
{
	struct reading r = { .date = { .month = 1 } };
	unsigned tokens = 0;

	value = skip_gaps(slice_sub(value, 0, 256));
	while (value.len && tokens++ < 16) {
		if (!read_token(&r, cut_token(&value)) && !(r.day && r.month && r.year))
			return false;
		value = skip_gaps(value);
	}
	if (!r.day || !r.month || !r.year || r.date.day < 1 || r.date.day > 31 ||
		r.date.year < 1900)
		return false;
	out->zone_minutes = r.date.zone_minutes;
	out->at = text_date_to_wall(&r.date);
	return true;
}
