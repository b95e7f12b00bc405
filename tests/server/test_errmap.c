/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_errmap.c - codes, enhanced codes and texts agree for every fault. */
#include <criterion/criterion.h>

#include "server/errmap.h"

Test(errmap, classes_agree)
{
	for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
		const struct smtp_words *w = fault_smtp((enum fault)i);

		cr_assert(w->code >= 400 && w->code < 600, "%s", fault_name((enum fault)i));
		/* RFC 3463 2: the class of the enhanced code is that of the reply. */
		cr_assert_eq(w->code / 100, (unsigned)(w->enhanced[0] - '0'), "%s",
			fault_name((enum fault)i));
		cr_assert(strlen(w->text) > 3 && !strpbrk(w->text, "\r\n"));
	}
}

Test(errmap, trouble_of_ours_is_temporary)
{
	static const enum err ours[] = { ERR_NOMEM, ERR_NOSPACE, ERR_IO, ERR_CORRUPT, ERR_BUSY,
		ERR_STOPPED, ERR_TIMEOUT, ERR_CANCELED, ERR_NOFILES, ERR_DNS_TEMP };

	cr_assert_eq(fault_of_err(OK), FAULT_NONE);
	for (size_t i = 0; i < array_len(ours); i++)
		cr_assert_eq(fault_smtp(fault_of_err(ours[i]))->code / 100, 4u, "%s",
			err_name(ours[i]));
	cr_assert_eq(fault_smtp(fault_of_err(ERR_NOSPACE))->code, 452u);
	cr_assert_eq(fault_smtp(fault_of_err(ERR_IO))->code, 452u);
}
