/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libidn2 wants and gives NUL-terminated strings of its own; they are copied and freed here. */
#include "proto/smtp/idn.h"

#include "core/base/text.h"

#include <idn2.h>

static slice keep_lower(struct arena *a, slice text)
{
	char *copy = arena_str(a, text);

	text_lower_all(copy, text.len);
	return slice_of(copy, text.len);
}

enum err idn_to_ascii(struct arena *a, slice domain, slice *out)
{
	char *result = NULL;

	if (!text_is_domain(domain))
		return ERR_INVALID;
	if (text_is_ascii(domain)) {
		*out = keep_lower(a, domain);
		return OK;
	}
	int failed = idn2_to_ascii_8z(arena_str(a, domain), &result,
		IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

	if (!failed && text_is_domain(slice_str(result)))
		*out = keep_lower(a, slice_str(result));
	else
		failed = 1;
	idn2_free(result);
	return failed ? ERR_INVALID : OK;
}
