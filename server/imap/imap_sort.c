/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_sort.c - SORT. */
#include "server/imap/imap_int.h"

enum verdict imap_do_sort(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}
