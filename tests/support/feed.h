/* SPDX-License-Identifier: GPL-2.0-or-later */
/* feed.h - the same bytes in every possible division, and always the same result.
 *
 * The network cuts where it likes, so a parser must not care. A test describes its parser once, by a
 * struct feed_parser whose `take` writes what it saw into an `out` (one line per value found, then
 * the outcome), and calls feed_all_ways: the bytes are given whole, byte by byte, cut at every point,
 * and cut at random points; each time the written text must be the same.
 *
 * Each piece is handed over in a block of exactly its size that is freed after the call, so that
 * reading past the end, or keeping a slice, is seen by the address sanitizer. Bytes that `take` left
 * are given again in front of the next piece, as a receive buffer would do it.
 *
 *	static size_t take(void *state, slice in, bool last, struct out *o)
 *	{
 *		size_t used = 0;
 *		struct smtp_line line;
 *		switch (smtp_line_parse(in, &used, &line)) {
 *		case STEP_MORE:
 *			return 0;
 *		case STEP_DONE:
 *			out_printf(o, "line %.*s\n", SLICE_ARG(line.text));
 *			return used;
 *		default:
 *			out_str(o, "bad\n");
 *			return FEED_STOP;
 *		}
 *	}
 *	static const struct feed_parser parser = { .name = "line", .take = take };
 *
 *	cr_assert(feed_all_ways(&parser, NULL, SLICE("NOOP\r\nQU"), &seen));
 *
 * The caller owns everything. No Criterion in here, so fuzzers use it too. */
#ifndef TESTS_SUPPORT_FEED_H
#define TESTS_SUPPORT_FEED_H

#include "core/base/base.h"

/* What `take` returns when it has come to its end (good or bad): nothing more is fed. */
#define FEED_STOP SIZE_MAX

struct feed_parser {
	const char *name;
	/* Size of the parser's own state; it is zeroed for every way. May be 0. */
	size_t state_size;
	/* Before the first byte, and after the last; either may be NULL. `arg` is what the test gave. */
	void (*init)(void *state, const void *arg);
	void (*done)(void *state);
	/* Look at `in`, write what was found, and return how many bytes were used (0: more are needed)
	 * or FEED_STOP. Called again while it uses some and some are left. After all bytes, unless it
	 * stopped, it is called exactly once with `last` and what it had left, often nothing. */
	size_t (*take)(void *state, slice in, bool last, struct out *o);
};

/* True when every way gave the same text; it is then in *result (a writer of the caller's, may be
 * NULL). False after printing to standard error the first way that differs, with both texts.
 * Inputs over 600 bytes are cut at the first and last 100 points and at 400 between. */
bool feed_all_ways(const struct feed_parser *p, const void *arg, slice bytes,
	struct out *result) must_use;

/* For fuzzers: whole, byte by byte, and three random divisions. */
bool feed_few_ways(const struct feed_parser *p, const void *arg, slice bytes,
	struct out *result) must_use;

/* True when `part` lies inside `whole` (empty slices always do): the oracle of slice parsers. */
bool feed_inside(slice part, slice whole);

/* --- Dialogues, for fuzzers of whole sessions --- */

/* How a client's bytes come: all at once, a line each, or lines in pieces. */
enum feed_cut { FEED_WHOLE, FEED_LINES, FEED_INSIDE_LINES };
/* How much of `bytes` the next segment holds; moves the seed on. */
size_t feed_segment(slice bytes, enum feed_cut cut, uint32_t *seed);

#endif
