/* SPDX-License-Identifier: GPL-2.0-or-later */
/* health.c - a change is told at once, trouble that goes on once a minute. */
#include "server/health.h"

#include <inttypes.h>

enum { CALM_MS = 5000, REPEAT_MS = 60000, MIB = 1 << 20 };

static void say_refused(const struct health_look *look, struct out *o)
{
	out_str(o, "new mail is refused: ");
	switch (look->refusing) {
	case ERR_NOSPACE:
		out_printf(o, "the disk or the journal is full, %" PRIu64 " MB are free\n",
			look->disk_free_bytes / MIB);
		break;
	case ERR_IO:
		out_str(o, "the journal cannot be written\n");
		break;
	case ERR_BUSY:
		out_str(o, "the index is far behind the journal\n");
		break;
	default:
		out_printf(o, "%s\n", err_text(look->refusing));
	}
}

/* A disk that fails is tried again every second, and looks well in between. */
static void tell_refusing(struct health *h, const struct health_look *look, struct out *bad,
	struct out *good)
{
	if (look->refusing) {
		h->fine_since = 0;
		if (h->refused_since &&
			(h->refusing == look->refusing || look->now - h->told < REPEAT_MS))
			return;
		h->refused_since = h->refused_since ? h->refused_since : look->now;
		h->refusing = look->refusing;
		h->told = look->now;
		say_refused(look, bad);
		return;
	}
	if (!h->refused_since)
		return;
	h->fine_since = h->fine_since ? h->fine_since : look->now;
	if (look->now - h->fine_since < CALM_MS)
		return;
	out_printf(good, "new mail is taken again after %lld s\n",
		(long long)(h->fine_since - h->refused_since) / 1000);
	h->refused_since = h->fine_since = 0;
}

static void tell_errors(struct health_count *count, uint64_t errors, msec now, const char *what,
	struct out *o)
{
	if (errors == count->told || (count->at && now - count->at < REPEAT_MS))
		return;
	out_printf(o, "%s: %" PRIu64 " failures\n", what, errors - count->told);
	*count = (struct health_count){ .told = errors, .at = now };
}

void health_tell(struct health *h, const struct health_look *look, struct out *bad,
	struct out *good)
{
	tell_errors(&h->writes, look->write_errors, look->now, "writing the journal", bad);
	tell_errors(&h->index, look->index_errors, look->now,
		"writing the index, what is accepted stays in the journal", bad);
	tell_refusing(h, look, bad, good);
}
