/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_mailbox.h - where a request about mail points to, and the words for flags; for all admin
 * requests that touch mailboxes. */
#ifndef SERVER_ADMIN_MAILBOX_H
#define SERVER_ADMIN_MAILBOX_H

#include "server/admin.h"
#include "store/mailbox.h"

struct admin_place {
	uint64_t account;
	slice domain;
	struct mailbox mailbox; /* id 0: the request named none */
};
/* Members "name" and "mailbox" of a request; all that was stored before it is visible then. NULL: found,
 * else the answer. */
json_t *admin_place(struct admin *admin, json_t *request, struct admin_place *out);
/* The place of the account alone: the mailbox need not be there. */
json_t *admin_account_place(struct admin *admin, json_t *request, struct admin_place *out);

/* What local_take_room and local_take_copy want to know of an account; before = 0. Lives until the fiber
 * waits. */
struct local_room;
enum err admin_room(struct admin *admin, slice account, struct local_room *out) must_use;

enum { ADMIN_KEYWORD_BYTES = 1024 };
struct admin_flags {
	uint32_t flags;
	size_t len;
	char keywords[ADMIN_KEYWORD_BYTES]; /* each ended by NUL */
};
/* "\Seen,$Junk" is added to *out. False: no such words. */
bool admin_flags(slice text, struct admin_flags *out) must_use;

#endif
