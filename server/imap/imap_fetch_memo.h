/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_fetch_memo.h - the last summary that a session had made of a body.
 *
 * The store keeps no summary that is very long: whoever needs it reads the message. Clients take a large
 * message in steps of some kilobytes, each a command of its own, and each wants the summary to know where
 * the part stands. A body never changes, so what was made of it stays true.
 *
 * It belongs to the box of the session and is used by the one command that runs, on its fiber or its
 * helper thread. It is made when there is something to keep; without memory nothing is kept. */
#ifndef SERVER_IMAP_IMAP_FETCH_MEMO_H
#define SERVER_IMAP_IMAP_FETCH_MEMO_H

#include "core/base/base.h"

struct fetch_memo;

void fetch_memo_free(struct fetch_memo *memo);
/* The row made of this body; empty: another was the last one, or none was made (memo NULL). */
slice fetch_memo_row(const struct fetch_memo *memo, uint64_t blob);
/* In place of the one before; *memo is made if it is NULL. */
void fetch_memo_keep(struct fetch_memo **memo, uint64_t blob, slice row);

#endif
