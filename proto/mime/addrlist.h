/* SPDX-License-Identifier: GPL-2.0-or-later */
/* addrlist.h - the addresses in From:, To:, Cc: and their like (RFC 5322 3.4, and 4.4 obsolete).
 *
 * An iterator over the raw value of a field: groups, comments, quoted strings, domain literals,
 * obsolete routes and blanks around dots are understood; UTF-8 (RFC 6532) passes. Text that had to
 * be unquoted lives in the arena, everything else points into the value. Never fails: what is no
 * address is skipped up to the next comma and `bad` is set; for display `salvage` keeps what can be. */
#ifndef PROTO_MIME_ADDRLIST_H
#define PROTO_MIME_ADDRLIST_H

#include "core/base/base.h"

/* Initialise with { .rest = field.value, .arena = a }. */
struct addrlist {
	slice rest;
	struct arena *arena;
	/* Set these first. Marks: the begin and the end of a group are items too. Salvage: of
	 * "A <a@x> B <b@y>" the first address is kept, and "a@x <b@y>" is b@y by the name of a@x. */
	bool marks, salvage;
	bool bad;        /* something was no address */
	slice group;     /* display name of the group we are in; ptr NULL outside of groups */
	unsigned groups; /* groups begun so far, empty ones too */
};

enum addrlist_kind { ADDRLIST_ADDRESS, ADDRLIST_GROUP, ADDRLIST_GROUP_END };

struct addrlist_item {
	enum addrlist_kind kind; /* with `marks`; a group has its name in `name` */
	slice route;             /* "@a,@b" of RFC 5322 4.4 */
	slice name; /* display name, unquoted, encoded words left alone; the comment of "a@b (c)" */
	slice local;  /* unquoted: quote it again when it is rendered */
	slice domain; /* "[...]" for a literal; empty when the address has none */
	slice group;
};

enum { ADDRLIST_COMMENT_DEPTH = 50 };

bool addrlist_next(struct addrlist *l, struct addrlist_item *out);
/* local@domain, the local part quoted where it must be. */
void addrlist_put(struct out *o, const struct addrlist_item *item);

#endif
