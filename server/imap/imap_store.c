/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_store.c - STORE. */
#include "server/imap/imap_int.h"

enum verdict imap_do_store(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}
