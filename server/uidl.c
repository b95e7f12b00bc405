/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uidl.c - the form of our own unique ids stands in this file only. */
#include "server/uidl.h"

#include "core/base/text.h"

static bool is_hex(char c)
{
	return text_is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool looks_own(slice text)
{
	for (size_t i = 0; i < UIDL_OWN_LEN; i++)
		if (i == text.len || !is_hex(text.ptr[i]))
			return false;
	return text.len == UIDL_OWN_LEN || text.ptr[UIDL_OWN_LEN] == '.';
}

bool uidl_may_be_shown(slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < 0x21 || text.ptr[i] > 0x7e)
			return false;
	return text.len > 0 && text.len <= UIDL_MAX && !looks_own(text);
}

void uidl_put_own(struct out *o, uint64_t blob, uint32_t copy_uid)
{
	out_printf(o, "%016llx", (unsigned long long)blob);
	if (copy_uid)
		out_printf(o, ".%u", copy_uid);
}
