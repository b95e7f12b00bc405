/* SPDX-License-Identifier: GPL-2.0-or-later */
/* date.h - dates of IMAP: "17-Jul-1996 02:44:25 -0700" and 1-Feb-1994 (RFC 9051 9, date-time, date).
 *
 * Pure functions; what is no such date, and a day that no month has, is false. */
#ifndef PROTO_IMAP_DATE_H
#define PROTO_IMAP_DATE_H

#include "core/base/base.h"

struct imap_date {
	wall_ms at;
	int zone_minutes;
};

enum { IMAP_DATE_TIME_LEN = 26 };

/* Without the quotes; the day may begin with a space or be one digit. */
bool imap_parse_date_time(slice in, struct imap_date *out) must_use;
/* With the quotes. */
void imap_put_date_time(struct out *o, wall_ms at, int zone_minutes);

/* A day is counted from 1970-01-01, and is what a calendar shows: no zone. */
bool imap_parse_day(slice in, int32_t *out_day) must_use;
/* The day that `at` falls on in that zone. */
int32_t imap_day_of(wall_ms at, int zone_minutes);

#endif
