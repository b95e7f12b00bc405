/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_runs.c - a set of runs against a plain array of bits, after every step. Four bytes a step: what
 * to do, where, how far. Combs make many runs of few bytes. */
#include "core/base/runs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { TOP = 4000 };

struct model {
	struct runs set;
	bool bits[TOP + 1];
};

static void put_range(struct model *m, uint32_t first, uint32_t last, bool in)
{
	for (uint32_t n = first; n <= last; n++)
		m->bits[n] = in;
	must(in ? runs_add_range(&m->set, first, last) : runs_remove_range(&m->set, first, last));
}

/* Every step-th number of the range. */
static void put_comb(struct model *m, uint32_t first, uint32_t last, bool in)
{
	uint32_t step = 2 + first % 3;

	for (uint32_t n = first; n <= last; n += step) {
		m->bits[n] = in;
		must(in ? runs_add(&m->set, n) : runs_remove_range(&m->set, n, n));
	}
}

static void check(const struct model *m)
{
	uint32_t count = 0, runs = 0;
	struct run run = { 0 };

	for (uint32_t n = 1; n <= TOP; n++) {
		count += m->bits[n];
		runs += m->bits[n] && !m->bits[n - 1];
		if (n % 13 == 0 || m->bits[n] != m->bits[n - 1]) {
			must(runs_has(&m->set, n) == m->bits[n]);
			must(runs_rank(&m->set, n) == count);
			must(!m->bits[n] || runs_nth(&m->set, count) == n);
		}
	}
	must(m->set.count == count && m->set.runs == runs);
	must(runs_nth(&m->set, count + 1) == 0);
	for (uint32_t n = 1; runs_next(&m->set, n, &run); n = run.last + 1) {
		must(run.first >= n && run.last >= run.first && m->bits[run.first]);
		runs--;
	}
	must(runs == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct model empty;
	struct model m = empty;

	for (size_t steps = 0; len >= 4 && steps < 64; steps++, bytes += 4, len -= 4) {
		uint32_t first = 1 + (bytes[1] | (uint32_t)bytes[2] << 8) % TOP;
		uint32_t last = MIN((uint32_t)TOP, first + bytes[3] * (bytes[0] & 0x10 ? 16 : 1));

		if (bytes[0] & 2)
			put_comb(&m, first, last, bytes[0] & 1);
		else
			put_range(&m, first, last, bytes[0] & 1);
		check(&m);
	}
	must(runs_remove_range(&m.set, 1, UINT32_MAX) && !m.set.root);
	runs_done(&m.set);
	return 0;
}
