/* SPDX-License-Identifier: GPL-2.0-or-later */
/* limits.h - what one client may make us hold or do; each is an option row of the server.
 *
 * Passed to the reader of commands and to the parsers of arguments, which keep within them. */
#ifndef PROTO_IMAP_LIMITS_H
#define PROTO_IMAP_LIMITS_H

#include "core/base/base.h"

struct imap_limits {
	uint32_t line_max;    /* one command with its literals, APPEND's messages apart */
	uint32_t literal_max; /* one literal in it */
	uint32_t plus_max;    /* one non-synchronising literal; 4096 for LITERAL-, RFC 7888 5 */
	uint32_t depth_max;   /* nesting of search keys */
	uint32_t terms_max;   /* search keys, fetch items, flags, names: members of any list */
};

#endif
