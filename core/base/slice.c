/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparing and cutting slices. */
#include "core/base/slice.h"

#include "core/base/text.h"

int slice_cmp(slice a, slice b)
{
	size_t shared = MIN(a.len, b.len);
	int order = shared ? memcmp(a.ptr, b.ptr, shared) : 0;

	if (order)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

bool slice_eq_nocase(slice a, slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (text_lower(a.ptr[i]) != text_lower(b.ptr[i]))
			return false;
	return true;
}

bool slice_starts_nocase(slice s, slice prefix)
{
	return s.len >= prefix.len && slice_eq_nocase(slice_sub(s, 0, prefix.len), prefix);
}

bool slice_ends_nocase(slice s, slice suffix)
{
	return s.len >= suffix.len && slice_eq_nocase(slice_skip(s, s.len - suffix.len), suffix);
}

ptrdiff_t slice_find(slice s, char byte)
{
	const char *hit = s.len ? memchr(s.ptr, byte, s.len) : NULL;

	return hit ? hit - s.ptr : -1;
}

ptrdiff_t slice_rfind(slice s, char byte)
{
	const char *hit = s.len ? memrchr(s.ptr, byte, s.len) : NULL;

	return hit ? hit - s.ptr : -1;
}

ptrdiff_t slice_search(slice s, slice what)
{
	const char *hit;

	if (what.len == 0)
		return 0;
	hit = s.len ? memmem(s.ptr, s.len, what.ptr, what.len) : NULL;
	return hit ? hit - s.ptr : -1;
}

size_t slice_crlf(slice s, size_t from)
{
	for (;;) {
		ptrdiff_t at = slice_find(slice_skip(s, from), '\n');

		if (at < 0)
			return 0;
		from += (size_t)at + 1;
		if (from >= 2 && s.ptr[from - 2] == '\r')
			return from;
	}
}

bool slice_cut(slice *s, char byte, slice *head)
{
	ptrdiff_t at = slice_find(*s, byte);

	if (s->len == 0)
		return false;
	*head = at < 0 ? *s : slice_sub(*s, 0, (size_t)at);
	*s = slice_skip(*s, at < 0 ? s->len : (size_t)at + 1);
	return true;
}

slice slice_trim(slice s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = slice_skip(s, 1);
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}
