/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_copy.c - COPY and MOVE. */
#include "server/imap/imap_int.h"

enum verdict imap_do_copy(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}

enum verdict imap_do_move(struct imap_session *s, const union imap_args *args)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}
