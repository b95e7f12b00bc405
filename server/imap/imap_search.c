/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_search.c - SEARCH. */
#include "server/imap/imap_int.h"

enum verdict imap_do_search(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}
