/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uidl.h - unique ids of messages as POP3 clients see them (RFC 1939 7).
 *
 * A message has its body's id, or the one that came with it when it was imported. What was kept with a
 * message that way is only an id if it looks like one, and not like one of ours: those must stay
 * unique whatever was imported. */
#ifndef SERVER_UIDL_H
#define SERVER_UIDL_H

#include "core/base/base.h"

enum { UIDL_MAX = 70, UIDL_OWN_LEN = 16 };

/* 1 to 70 characters of 0x21 to 0x7e, and not 16 hexadecimal digits (with ".number" behind them). */
bool uidl_may_be_shown(slice text);
/* Ours: of a message, or of a copy, whose uid is not 0. */
void uidl_put_own(struct out *o, uint64_t blob, uint32_t copy_uid);

#endif
