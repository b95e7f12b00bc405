/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_summary.c - a body passes through the builder in pieces. */
#include "server/imap/imap_summary.h"

#include "store/blob.h"

enum { READ_BYTES = 16 * 1024 };

static enum err read_all(struct store *st, uint64_t blob, struct summary_builder *b)
{
	struct blob_reader reader;
	char buf[READ_BYTES];
	size_t n = 1;
	enum err err = blob_open(&reader, st, blob);

	while (!err && n) {
		err = blob_read(&reader, buf, sizeof(buf), &n);
		if (!err && n)
			summary_add(b, slice_of(buf, n));
	}
	return err;
}

enum err imap_summary_make(struct store *st, uint64_t blob, struct arena *a, slice *out)
{
	struct out made = out_arena(a);
	struct summary_builder *b = summary_begin();
	enum err err = read_all(st, blob, b);

	if (err) {
		summary_drop(b);
		return err;
	}
	summary_end(b, &made);
	*out = out_written(&made);
	return out_ok(&made) ? OK : ERR_CORRUPT;
}

enum err imap_summary_open(struct store *st, slice stored, uint64_t blob, struct arena *a,
	struct summary *out)
{
	slice row;

	if (stored.len && summary_open(stored, out))
		return OK;
	enum err err = imap_summary_make(st, blob, a, &row);
	if (err)
		return err;
	return summary_open(row, out) ? OK : ERR_CORRUPT;
}

enum err imap_summary_whole_envelope(struct store *st, uint64_t blob, struct arena *a,
	struct summary *s)
{
	size_t len = MIN((size_t)s->header_len, (size_t)SUMMARY_LONG_MAX), have = 0, n = 1;
	struct arena scratch = { 0 };
	char *header = arena_alloc(&scratch, len + 1);
	struct blob_reader reader;
	struct out envelope = out_arena(a);
	enum err err = blob_open(&reader, st, blob);

	while (!err && n && have < len) {
		err = blob_read(&reader, header + have, len - have, &n);
		have += err ? 0 : n;
	}
	if (!err) {
		summary_make_envelope(slice_of(header, have), &envelope);
		s->envelope = out_written(&envelope);
	}
	arena_done(&scratch);
	return err;
}

bool imap_summary_is(struct store *st, slice stored, uint64_t blob)
{
	struct arena a = { 0 };
	struct out made = out_arena(&a);
	struct summary_builder *b = summary_begin();
	bool same = true;

	if (read_all(st, blob, b) == OK) {
		summary_end(b, &made);
		same = !out_ok(&made) || summary_agrees(stored, out_written(&made));
	} else {
		summary_drop(b);
	}
	arena_done(&a);
	return same;
}
