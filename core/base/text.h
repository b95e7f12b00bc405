/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.h - letters, numbers, dates, domains and UTF-8, without locale and without allocation.
 *
 * Everything here is a pure function of its arguments. Parsers take the whole slice: trailing bytes
 * make them fail. */
#ifndef CORE_BASE_TEXT_H
#define CORE_BASE_TEXT_H

#include "core/base/base.h"

static inline char text_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static inline bool text_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool text_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Lower-case ASCII letters in place. */
void text_lower_all(char *bytes, size_t len);

/* Decimal digits only, no sign; false when empty, foreign or over `max`. */
bool text_parse_uint(slice s, uint64_t max, uint64_t *out) must_use;
/* "15m", "4h", "5d", "300s", "250ms" or a bare number of seconds: milliseconds. */
bool text_parse_duration(slice s, msec *out) must_use;
/* "50M", "256K", "1G", "10": bytes, in powers of 1024. */
bool text_parse_size(slice s, uint64_t *out) must_use;

/* Well-formed UTF-8 (no surrogates, no overlong forms; RFC 3629). */
bool text_is_utf8(slice s);
bool text_is_ascii(slice s);

/* A domain of letters, digits, hyphens and (UTF-8 allowed) U-labels, dots between, no empty label,
 * labels <= 63 and all <= 253 bytes. An underscore is accepted: it occurs in real host names. */
bool text_is_domain(slice s);

/* Broken-down time. */
struct text_date {
	int year, month, day, hour, minute, second; /* month 1-12 */
	int weekday;                                /* 0 Sunday */
	int zone_minutes;
};
struct text_date text_date_of(wall_ms at, int zone_minutes);
wall_ms text_date_to_wall(const struct text_date *d);
/* "Fri, 21 Nov 1997 09:55:06 -0600" (RFC 5322 3.3). */
void text_put_date(struct out *o, wall_ms at, int zone_minutes);
/* "2026-11-21T22:39:52.123Z" (RFC 3339) for logs and JSON. */
void text_put_timestamp(struct out *o, wall_ms at);
/* Reads the RFC 3339 form. */
bool text_parse_timestamp(slice s, wall_ms *out) must_use;

/* A string literal of JSON, quotes included; bytes that are no UTF-8 become U+FFFD. */
void text_put_json(struct out *o, slice s);

#endif
