/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_thread.c - THREAD. */
#include "server/imap/imap_int.h"

enum verdict imap_do_thread(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}
