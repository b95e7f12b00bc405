/* SPDX-License-Identifier: GPL-2.0-or-later */
/* address.h - mail addresses as SMTP spells them (RFC 5321 4.1.2, RFC 6531 3.3).
 *
 * Parsed once into a struct mail_addr, rendered when written; raw address bytes never travel on. The
 * local part is kept by meaning: "a b"@x has the local part `a b`, and "bob"@x equals bob@x. The
 * slices point into the input, or into the arena where a quoted pair had to be resolved. Parsers
 * are false, and write nothing, on a syntax error or when a limit of RFC 5321 4.5.3.1 is passed.
 * UTF-8 is accepted and told by `utf8`; whether it is allowed here is the caller's question. */
#ifndef PROTO_SMTP_ADDRESS_H
#define PROTO_SMTP_ADDRESS_H

#include "core/base/base.h"

struct mail_addr {
	slice local; /* unquoted; both empty: the null path <> */
	slice domain; /* as it came, a literal without its brackets; empty only in <> and <postmaster> */
	bool utf8;    /* local or domain has a byte beyond ASCII */
	bool literal; /* [192.0.2.1], [IPv6:2001:db8::1] */
};

/* What a path may be besides <local@domain>. */
enum mail_path_kind {
	MAIL_PATH_PLAIN = 0,
	MAIL_PATH_NULL = 1,       /* <>, for MAIL FROM */
	MAIL_PATH_POSTMASTER = 2, /* <postmaster> without a domain, for RCPT TO */
};

/* The whole slice is a mailbox: local@domain. */
bool mail_addr_parse(struct arena *a, slice in, struct mail_addr *out) must_use;
/* Cut a path off the front of *in: <@route:local@domain>, the source route dropped. Angle brackets
 * may be missing, as real clients do; the path then ends at a space. */
bool mail_path_parse(struct arena *a, slice *in, unsigned kinds, struct mail_addr *out) must_use;

/* local@domain, quoted where needed; nothing for the null address. The path form has the brackets. */
void mail_addr_put(struct out *o, const struct mail_addr *addr);
void mail_path_put(struct out *o, const struct mail_addr *addr);
/* The same as a slice of the arena. */
slice mail_addr_text(struct arena *a, const struct mail_addr *addr) must_use;

static inline bool mail_addr_is_null(const struct mail_addr *addr)
{
	return addr->local.len == 0 && addr->domain.len == 0;
}

#endif
