/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.c - numbers and words of POP3 commands. Blanks around numbers are forgiven. */
#include "proto/pop3/command.h"

#include "core/base/text.h"

void pop3_split(slice line, slice *out_verb, slice *out_rest)
{
	const char *space = memchr(line.ptr, ' ', line.len);
	size_t len = space ? (size_t)(space - line.ptr) : line.len;

	*out_verb = slice_sub(line, 0, len);
	*out_rest = slice_skip(line, MIN(len + 1, line.len));
}

static slice trim(slice s)
{
	while (s.len && s.ptr[0] == ' ')
		s = slice_skip(s, 1);
	while (s.len && s.ptr[s.len - 1] == ' ')
		s.len--;
	return s;
}

static slice word(slice *rest)
{
	slice first, more;

	pop3_split(trim(*rest), &first, &more);
	*rest = trim(more);
	return first;
}

bool pop3_no_args(slice rest)
{
	return trim(rest).len == 0;
}

static bool number(slice s, uint32_t *out)
{
	uint64_t n;

	if (!text_parse_uint(s, UINT32_MAX, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

bool pop3_number(slice rest, uint32_t *out)
{
	uint32_t n;

	if (!number(trim(rest), &n) || !n)
		return false;
	*out = n;
	return true;
}

bool pop3_top(slice rest, struct pop3_top *out)
{
	struct pop3_top top;
	slice first = word(&rest);

	if (!number(first, &top.number) || !top.number || !number(rest, &top.lines))
		return false;
	*out = top;
	return true;
}

bool pop3_auth(slice rest, struct pop3_auth *out)
{
	struct pop3_auth auth = { .mechanism = word(&rest) };

	if (rest.len)
		auth.initial = word(&rest);
	if (!auth.mechanism.len || rest.len)
		return false;
	*out = auth;
	return true;
}
