/* SPDX-License-Identifier: GPL-2.0-or-later */
/* report.h - what a run found, as text, as JSON, or as one self-contained HTML page.
 *
 * Filled by the load generator when the run is over; nothing here measures. Times are microseconds
 * inside histograms. Renderers only append to a writer, and never fail but by its overflow. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "core/base/histogram.h"

enum { REPORT_SECONDS_MAX = 4 * 3600, REPORT_REPLIES_MAX = 64, REPORT_VERBS_MAX = 24 };

/* A refusal by code and by verb, with the first words seen. */
struct report_reply {
	unsigned code;
	const char *verb;
	uint64_t count;
	char text[96];
};

/* What one kind of command cost; only where commands are counted apart. */
struct report_verb {
	const char *name;
	uint64_t items, bytes;        /* messages answered with, bytes of answers */
	struct histogram done, first; /* to the end of the answer, to its first byte */
};

struct report {
	const char *unit;    /* what is counted: "message" */
	const char *title;   /* the command line's gist */
	const char *machine; /* cpu and kernel in one line */
	uint64_t run;
	double seconds; /* measured part, warm-up left out */
	uint64_t messages_sent, messages_accepted, messages_refused, messages_broken;
	uint64_t recipients_refused;
	uint64_t bytes; /* of accepted messages, as content */
	uint64_t connections, connections_failed;
	double rate_wanted;                           /* 0: closed loop */
	struct histogram message, connect, tls, auth; /* message: from its due time to the 250 */
	uint32_t *per_second; /* accepted in each second of the measured part */
	size_t second_count;
	struct report_reply replies[REPORT_REPLIES_MAX];
	size_t reply_count;
	uint64_t replies_other;                     /* kinds beyond REPORT_REPLIES_MAX */
	struct report_verb verbs[REPORT_VERBS_MAX]; /* the first without a name ends them */
};

void report_put_text(const struct report *r, struct out *o);
void report_put_json(const struct report *r, struct out *o);
void report_put_html(const struct report *r, struct out *o);

/* Counts a reply under its code and verb. */
void report_count_reply(struct report *r, unsigned code, const char *verb, slice text);
/* Adds the numbers of one worker's report to the whole. */
void report_merge(struct report *into, const struct report *from);

/* "0.84 ms", "12.3 s": from microseconds. */
void report_put_time(struct out *o, uint64_t us);

#endif
