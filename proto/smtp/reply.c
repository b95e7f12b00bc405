/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies, read leniently: they are other people's. */
#include "proto/smtp/reply.h"

#include "core/base/text.h"
#include "proto/smtp/limits.h"

enum step smtp_reply_line(slice in, size_t *used, struct smtp_reply_line *out)
{
	ptrdiff_t end = slice_find(slice_sub(in, 0, SMTP_REPLY_ACCEPT_MAX), '\n');
	uint64_t code;

	if (end < 0)
		return in.len >= SMTP_REPLY_ACCEPT_MAX ? STEP_TOO_LONG : STEP_MORE;
	slice line = slice_sub(in, 0, (size_t)end);

	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (!text_parse_uint(slice_sub(line, 0, 3), 599, &code) || line.len < 3 || code < 200)
		return STEP_BAD;
	char mark = line.len > 3 ? line.ptr[3] : ' ';

	if (mark != ' ' && mark != '-' && mark != '\t')
		return STEP_BAD;
	*used = (size_t)end + 1;
	*out = (struct smtp_reply_line){
		.code = (int)code,
		.last = mark != '-',
		.text = slice_skip(line, 4),
	};
	return STEP_DONE;
}

static bool take_status_number(slice *in, uint16_t *out)
{
	uint64_t n;
	size_t digits = 0;

	while (digits < in->len && digits < 4 && text_is_digit(in->ptr[digits]))
		digits++;
	if (digits > 3 || !text_parse_uint(slice_sub(*in, 0, digits), 999, &n))
		return false;
	*in = slice_skip(*in, digits);
	*out = (uint16_t)n;
	return true;
}

static bool take_dot(slice *in)
{
	if (!in->len || in->ptr[0] != '.')
		return false;
	*in = slice_skip(*in, 1);
	return true;
}

/* Cut a status off the front. */
static bool take_status(slice *in, struct smtp_status *out)
{
	struct smtp_status s;
	slice rest = *in;
	uint16_t class;

	if (!take_status_number(&rest, &class) || !take_dot(&rest) ||
		!take_status_number(&rest, &s.subject) || !take_dot(&rest) ||
		!take_status_number(&rest, &s.detail))
		return false;
	if (class != 2 && class != 4 && class != 5)
		return false;
	s.class = (uint8_t) class;
	*in = rest;
	*out = s;
	return true;
}

void smtp_status_put(struct out *o, struct smtp_status status)
{
	out_uint(o, status.class);
	out_char(o, '.');
	out_uint(o, status.subject);
	out_char(o, '.');
	out_uint(o, status.detail);
}

void smtp_replies_init(struct smtp_replies *r, char *text, size_t cap)
{
	*r = (struct smtp_replies){ .text = text, .cap = cap };
}

static void keep_text(struct smtp_replies *r, slice text)
{
	if (r->lines > 1) {
		if (r->len < r->cap)
			r->text[r->len++] = '\n';
		else
			r->cut = true;
	}
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (r->len == r->cap) {
			r->cut = true;
			return;
		}
		r->text[r->len++] = (char)(c < 0x20 || c == 0x7f ? ' ' : c);
	}
}

/* The enhanced code that fits the reply's class; RFC 2034 4: one that does not is only text. */
static slice strip_status(struct smtp_replies *r, slice text)
{
	struct smtp_status status;
	slice rest = text;

	if (!take_status(&rest, &status) || status.class != r->code / 100)
		return text;
	if (rest.len && rest.ptr[0] != ' ' && rest.ptr[0] != '\t')
		return text;
	if (!r->status.class)
		r->status = status;
	return slice_trim(rest);
}

enum step smtp_replies_add(struct smtp_replies *r, const struct smtp_reply_line *line,
	struct smtp_reply *out)
{
	if (!r->lines) {
		r->code = (uint16_t)line->code;
		r->status = (struct smtp_status){ 0 };
		r->len = 0;
		r->cut = false;
	}
	if (r->code != line->code)
		return STEP_BAD;
	if (r->lines == SMTP_REPLY_LINES_MAX)
		return STEP_TOO_LONG;
	r->lines++;
	keep_text(r, strip_status(r, line->text));
	if (!line->last)
		return STEP_MORE;
	r->lines = 0;
	*out = (struct smtp_reply){
		.code = r->code,
		.status = r->status,
		.text = slice_of(r->text, r->len),
		.cut = r->cut,
	};
	return STEP_DONE;
}
