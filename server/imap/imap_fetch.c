/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch.c - FETCH. */
#include "server/imap/imap_int.h"

enum verdict imap_do_fetch(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}
