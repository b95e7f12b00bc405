/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines and the verbs with few arguments; the parameters of MAIL and RCPT are in params.c. */
#include "proto/smtp/command.h"

#include "core/base/text.h"

enum step smtp_line_cut(struct smtp_lines *lines, slice in, size_t max, size_t *used, slice *line)
{
	size_t end = slice_crlf(in, 0);
	/* A CR that may turn out to begin the end of the line must stay. */
	size_t open = in.len && in.ptr[in.len - 1] == '\r';

	*used = end;
	if (!end) {
		lines->skipping |= in.len >= max;
		if (lines->skipping)
			*used = in.len - open;
		return STEP_MORE;
	}
	if (lines->skipping || end > max) {
		lines->skipping = false;
		return STEP_TOO_LONG;
	}
	slice text = slice_sub(in, 0, end - 2);

	if (slice_find(text, '\r') >= 0 || slice_find(text, '\n') >= 0 || slice_find(text, 0) >= 0)
		return STEP_BAD;
	*line = text;
	return STEP_DONE;
}

void smtp_split(slice line, slice *verb, slice *rest)
{
	while (line.len && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
		line.len--;
	ptrdiff_t space = slice_find(line, ' ');

	*verb = space < 0 ? line : slice_sub(line, 0, (size_t)space);
	*rest = slice_trim(slice_skip(line, verb->len));
}

static bool is_printable(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return false;
	return text_is_utf8(s);
}

enum smtp_syntax smtp_parse_string(slice rest, slice *out)
{
	if (!rest.len || !is_printable(rest))
		return SMTP_SYNTAX_BAD;
	*out = rest;
	return SMTP_SYNTAX_OK;
}

enum smtp_syntax smtp_parse_hello(slice rest, slice *out_name)
{
	slice name;

	if (!is_printable(rest) || !slice_cut(&rest, ' ', &name))
		return SMTP_SYNTAX_BAD;
	*out_name = name;
	return SMTP_SYNTAX_OK;
}

enum smtp_syntax smtp_parse_none(slice rest)
{
	return rest.len ? SMTP_SYNTAX_BAD : SMTP_SYNTAX_OK;
}

enum smtp_syntax smtp_parse_bdat(slice rest, struct smtp_bdat *out)
{
	struct smtp_bdat bdat = { 0 };
	slice size;

	if (!slice_cut(&rest, ' ', &size) || !text_parse_uint(size, INT64_MAX, &bdat.size_bytes))
		return SMTP_SYNTAX_BAD;
	rest = slice_trim(rest);
	bdat.last = slice_eq_nocase(rest, SLICE("LAST"));
	if (rest.len && !bdat.last)
		return SMTP_SYNTAX_BAD;
	*out = bdat;
	return SMTP_SYNTAX_OK;
}

enum smtp_syntax smtp_parse_auth(slice rest, struct smtp_auth *out)
{
	struct smtp_auth auth = { 0 };

	if (!slice_cut(&rest, ' ', &auth.mechanism) || auth.mechanism.len > 20)
		return SMTP_SYNTAX_BAD;
	for (size_t i = 0; i < auth.mechanism.len; i++) {
		char c = auth.mechanism.ptr[i];

		if (!text_is_alpha(c) && !text_is_digit(c) && c != '-' && c != '_')
			return SMTP_SYNTAX_BAD;
	}
	auth.initial = slice_trim(rest);
	auth.has_initial = auth.initial.len > 0;
	if (slice_find(auth.initial, ' ') >= 0)
		return SMTP_SYNTAX_BAD;
	if (slice_eq(auth.initial, SLICE("=")))
		auth.initial.len = 0;
	*out = auth;
	return SMTP_SYNTAX_OK;
}

void smtp_put_verb(struct out *o, const char *verb, slice arg)
{
	out_str(o, verb);
	if (arg.len) {
		out_char(o, ' ');
		out_slice(o, arg);
	}
	out_str(o, "\r\n");
}

void smtp_put_bdat(struct out *o, const struct smtp_bdat *bdat)
{
	out_str(o, "BDAT ");
	out_uint(o, bdat->size_bytes);
	out_str(o, bdat->last ? " LAST\r\n" : "\r\n");
}
