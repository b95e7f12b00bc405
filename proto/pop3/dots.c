/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dots.c - bytes are copied in runs; only their ends are looked at.
 *
 * A whole message is searched for an LF with a dot behind it, blocks of bytes at a time, and most have
 * none. TOP counts lines, so its runs end at every LF. */
#include "proto/pop3/dots.h"

enum { BLOCK = 64 };

void pop3_dots_init(struct pop3_dots *d)
{
	*d = (struct pop3_dots){ .limited = false };
}

void pop3_dots_top(struct pop3_dots *d, uint32_t lines)
{
	*d = (struct pop3_dots){ .limited = true, .lines_left = lines };
}

/* A CRLF was written. */
static void end_line(struct pop3_dots *d, bool empty)
{
	d->line_begun = d->cr = d->only_cr = false;
	if (!d->limited)
		return;
	if (d->in_body)
		d->lines_left--;
	else
		d->in_body = empty;
	d->done = d->in_body && d->lines_left == 0;
}

/* A run with no line's end inside that matters. */
static void pass(struct pop3_dots *d, slice run)
{
	char last = run.ptr[run.len - 1];
	bool crlf = last == '\n' && (run.len > 1 ? run.ptr[run.len - 2] == '\r' : d->cr);
	bool empty = run.len > 1 ? run.len == 2 && !d->line_begun : d->only_cr;

	if (crlf) {
		end_line(d, empty);
		return;
	}
	d->only_cr = last == '\r' && run.len == 1 && !d->line_begun;
	d->cr = last == '\r';
	d->line_begun = true;
}

/* Is there an LF with a dot behind it among the first BLOCK + 1 bytes? Without a branch, so that
 * compilers make vectors of it. */
static bool block_has(const char *at)
{
	unsigned char found = 0;

	for (size_t i = 0; i < BLOCK; i++)
		found |= (unsigned char)((at[i] == '\n') & (at[i + 1] == '.'));
	return found;
}

size_t pop3_dots_find(slice s)
{
	size_t i = 0;

	while (s.len - i > BLOCK && !block_has(s.ptr + i))
		i += BLOCK;
	while (i + 1 < s.len) {
		const char *lf = memchr(s.ptr + i, '\n', s.len - 1 - i);

		if (!lf)
			break;
		i = (size_t)(lf - s.ptr) + 1;
		if (*(lf + 1) == '.')
			return i;
	}
	return s.len;
}

static size_t run_len(const struct pop3_dots *d, slice s)
{
	const char *lf;

	if (!d->limited)
		return pop3_dots_find(s);
	lf = memchr(s.ptr, '\n', s.len);
	return lf ? (size_t)(lf - s.ptr) + 1 : s.len;
}

void pop3_dots_put(struct pop3_dots *d, slice *in, struct out *o)
{
	while (in->len && !d->done && o->len < o->cap) {
		size_t room = o->cap - o->len;

		if (!d->line_begun && in->ptr[0] == '.') {
			if (room < 2)
				return;
			out_char(o, '.');
			room--;
		}
		slice run = slice_sub(*in, 0, room);

		run.len = run_len(d, run);
		out_slice(o, run);
		pass(d, run);
		*in = slice_skip(*in, run.len);
	}
}

bool pop3_dots_pass(struct pop3_dots *d, slice in)
{
	if (d->limited)
		return false;
	if (!in.len)
		return true;
	if ((!d->line_begun && in.ptr[0] == '.') || pop3_dots_find(in) < in.len)
		return false;
	pass(d, in);
	return true;
}

void pop3_dots_end(struct pop3_dots *d, struct out *o)
{
	if (d->line_begun)
		out_str(o, "\r\n");
	out_str(o, ".\r\n");
}
