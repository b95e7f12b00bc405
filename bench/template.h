/* SPDX-License-Identifier: GPL-2.0-or-later */
/* template.h - realistic mail of chosen sizes, cheap enough not to be what is measured.
 *
 * A message is a header and greeting written anew for each, and a long rest taken from a pool that
 * was made once at the start: shared, constant, already in wire form (CRLF line ends, no line that
 * begins with a dot, no line over 998 bytes). The pool belongs to the template. Thread-safe to read.
 * Nothing fails but memory, which ends the program. */
#ifndef BENCH_TEMPLATE_H
#define BENCH_TEMPLATE_H

#include "core/base/base.h"

enum template_kind { TEMPLATE_TEXT, TEMPLATE_HTML, TEMPLATE_ATTACHMENT, TEMPLATE_MIX };

/* One row of a size mix: messages of `bytes`, with probability weight / sum of weights. */
struct template_size {
	size_t bytes;
	unsigned weight;
};

struct template;

/* "4K" or "4K:80,50K:15,1M:5"; false: not of that form. */
bool template_parse_sizes(slice text, struct template_size *sizes, size_t max,
	size_t *out_count) must_use;
bool template_parse_kind(slice text, enum template_kind *out) must_use;

struct template *template_new(enum template_kind kind, const struct template_size *sizes,
	size_t count);
void template_free(struct template *t);

/* What makes one message unlike all others. */
struct template_fields {
	uint64_t run, number; /* the sequence header: who finds doubles and gaps reads these */
	uint64_t sent_ns;     /* monotonic; end-to-end latency on one machine */
	wall_ms date;
	slice from, to;
	uint64_t thread; /* so many messages in a row answer one another; 0, 1: none does */
};

/* Writes the header and the greeting; returns the rest of the message. Which kind and size it is
 * follows from run and number alone, so a run can be repeated. */
slice template_render(const struct template *t, const struct template_fields *f, struct out *o);

/* The sequence header, for both ends: "X-Bench: <run hex> <number> <sent_ns>". */
extern const slice template_sequence_name;
bool template_parse_sequence(slice value, struct template_fields *out) must_use;

#endif
