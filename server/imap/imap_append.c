/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_append.c - APPEND. */
#include "server/imap/imap_int.h"

enum verdict imap_do_append(struct imap_session *s, const union imap_args *args)
{
	if (s->run->part.message)
		imap_message_refuse(&s->reader);
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}

size_t imap_take_literal(struct imap_session *s, slice in, bool *stop)
{
	s->input = IMAP_IN_COMMAND;
	return 0;
}

enum verdict imap_append_part(struct imap_session *s, const struct imap_part *part, bool fault)
{
	return imap_no(s, IMAP_CODE_CANNOT, "Not built yet");
}

void imap_append_drop(struct imap_session *s)
{
}
