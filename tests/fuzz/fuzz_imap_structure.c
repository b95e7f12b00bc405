/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_imap_structure.c - whatever the message, its ENVELOPE and BODYSTRUCTURE are well-formed; a small
 * writer that flushes sees the same bytes; and the same bytes taken for a damaged row do no harm. */
#include "proto/imap/lexer.h"
#include "proto/imap/render.h"
#include "proto/mime/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void put_all(struct out *o, const struct summary *s, unsigned way)
{
	imap_put_envelope(o, s, way & 1);
	out_char(o, ' ');
	imap_put_body(o, s, way & 2, way & 1);
}

/* Two lists of lists, strings, NIL and numbers. */
static bool well_formed(slice text)
{
	static const struct imap_limits limits = { .terms_max = 1 };
	struct arena a = { 0 };
	struct imap_lex x = imap_lex_of(&a, text, &limits);
	size_t depth = 0, lists = 0;
	slice token;

	while (!imap_lex_at_end(&x)) {
		if (imap_lex_skip(&x, '('))
			depth++;
		else if (imap_lex_skip(&x, ')'))
			lists += --depth == 0;
		else if (!imap_lex_skip(&x, ' ') && !imap_lex_astring(&x, &token))
			break;
		if (depth > 10000)
			break;
	}
	bool good = imap_lex_at_end(&x) && !depth && lists == 2;

	arena_done(&a);
	return good;
}

struct flushed {
	char buf[40];
	struct out *all;
};

static bool flush(struct out *o, size_t want)
{
	struct flushed *f = o->owner;

	out_slice(f->all, out_written(o));
	o->len = 0;
	return true;
}

static void check_flushing(struct arena *a, const struct summary *s, unsigned way, slice want)
{
	struct out all = out_arena(a);
	struct flushed f = { .all = &all };
	struct out o = out_fixed(f.buf, sizeof(f.buf));

	o.more = flush;
	o.owner = &f;
	put_all(&o, s, way);
	flush(&o, 0);
	must(slice_eq(out_written(&all), want));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena a = { 0 };
	struct out row = out_arena(&a);
	struct summary s;

	summary_make(slice_of(bytes, len), &row);
	must(summary_open(out_written(&row), &s));
	for (unsigned way = 0; way < 4; way++) {
		struct out o = out_arena(&a);

		put_all(&o, &s, way);
		must(well_formed(out_written(&o)));
		check_flushing(&a, &s, way, out_written(&o));
	}
	if (row.len && len) { /* one byte of the row is wrong */
		struct out o = out_arena(&a);

		row.buf[bytes[0] * 7919u % row.len] ^= (char)bytes[len - 1];
		if (summary_open(out_written(&row), &s))
			put_all(&o, &s, 3);
	}
	arena_done(&a);
	return 0;
}
