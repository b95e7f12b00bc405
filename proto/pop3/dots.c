/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dots.c - runs up to the next LF are copied whole; only their ends are looked at. */
#include "proto/pop3/dots.h"

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

/* A piece without LF, or with one at its end. */
static void pass(struct pop3_dots *d, slice run, struct out *o)
{
	char last = run.ptr[run.len - 1];
	bool crlf = last == '\n' && (run.len > 1 ? run.ptr[run.len - 2] == '\r' : d->cr);
	bool empty = run.len > 1 ? run.len == 2 && !d->line_begun : d->only_cr;

	out_slice(o, run);
	if (crlf) {
		end_line(d, empty);
		return;
	}
	d->only_cr = last == '\r' && run.len == 1 && !d->line_begun;
	d->cr = last == '\r';
	d->line_begun = true;
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
		const char *lf = memchr(run.ptr, '\n', run.len);
		if (lf)
			run.len = (size_t)(lf - run.ptr) + 1;
		pass(d, run, o);
		*in = slice_skip(*in, run.len);
	}
}

void pop3_dots_end(struct pop3_dots *d, struct out *o)
{
	if (d->line_begun)
		out_str(o, "\r\n");
	out_str(o, ".\r\n");
}
