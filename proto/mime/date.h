/* SPDX-License-Identifier: GPL-2.0-or-later */
/* date.h - the value of a Date field (RFC 5322 3.3, and 4.3 obsolete), as mail really writes it.
 *
 * Pure. Weekday, seconds and zone may be missing, comments stand anywhere, years may have two
 * digits, months come before or behind the day. False when there is no day, month and year in it. */
#ifndef PROTO_MIME_DATE_H
#define PROTO_MIME_DATE_H

#include "core/base/base.h"

struct date {
	wall_ms at;
	int zone_minutes; /* east of UTC, as stated; 0 when unknown */
};

bool date_parse(slice value, struct date *out) must_use;

#endif
