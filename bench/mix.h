/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mix.h - which command comes next: names with weights, "fetch-body=2,store=1,noop".
 *
 * The names are those of a generator's table, so a mix is a list of its rows. Thread-safe to read.
 * Nothing fails but parsing. */
#ifndef BENCH_MIX_H
#define BENCH_MIX_H

#include "core/base/base.h"

enum { MIX_MAX = 24 };

struct mix {
	size_t count;
	uint64_t total;
	struct {
		size_t row; /* in the table */
		uint64_t weight;
	} parts[MIX_MAX];
};

/* The names in a table whose rows have a `name`. */
struct mix_names {
	const char *const *first;
	size_t stride, count;
};
#define MIX_NAMES(table)                                               \
	{                                                              \
		&(table)[0].name, sizeof((table)[0]), array_len(table) \
	}
/* False: a word is no name, a weight no number from 1 on, or there are too many. */
bool mix_parse(struct mix *mix, slice text, const struct mix_names *names) must_use;
/* Index into parts for the task of this number: the same in each run. */
size_t mix_choose(const struct mix *mix, uint64_t number);

#endif
