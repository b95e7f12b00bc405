/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_int.h - shared by the files of the admin requests. */
#ifndef SERVER_ADMIN_INT_H
#define SERVER_ADMIN_INT_H

#include "server/admin.h"

struct admin_row {
	const char *name; /* "queue list" */
	bool relay;       /* needs a worker with a relay */
	json_t *(*run)(struct admin *admin, json_t *request);
};
/* Each ends with a NULL name. */
extern const struct admin_row admin_account_rows[], admin_alias_rows[], admin_dkim_rows[],
	admin_domain_rows[], admin_mailbox_rows[], admin_message_rows[], admin_queue_rows[],
	admin_quota_rows[], admin_status_rows[], admin_transfer_rows[], admin_upload_rows[];

enum { ADMIN_PAGE = 200 };

/* A string member; empty when absent. */
slice admin_text(const json_t *request, const char *member);
bool admin_flag(const json_t *request, const char *member);
json_t *admin_slice(slice text); /* bytes that are no UTF-8 are replaced */
/* {"error": what: reason}, or an empty object for OK. */
json_t *admin_result(enum err err, const char *what, slice name);
/* A number member, or one in digits. False: neither. */
bool admin_number(const json_t *request, const char *member, uint64_t *out) must_use;
/* {"rows": ..., "next": ...}, without it at the end. Takes the rows over. */
json_t *admin_page(json_t *rows, bool more, slice next);
json_t *admin_time(wall_ms at);
wall_ms admin_now(const struct admin *admin);
/* "a@b.test, c@d.test" as the store keeps it: domains in lower case, NUL between. False: not addresses. */
bool admin_addresses(struct admin *admin, slice text, slice *out) must_use;
/* The way back. */
json_t *admin_list(struct admin *admin, slice separated);
/* An account in its stored form, and its row (lives until the fiber waits). NULL: found; else the
 * answer. */
struct account;
struct login_name;
json_t *admin_account(struct admin *admin, slice text, struct login_name *name,
	const struct account **out);
/* A domain in its stored form (A-labels, lower case), in the arena. */
bool admin_domain(struct admin *admin, const json_t *request, slice *out) must_use;
/* The row of a domain in its stored form; its slices live until the fiber waits. NULL: found; else the
 * answer. */
struct domain;
json_t *admin_find_domain(struct admin *admin, slice name, struct domain *out);
/* The same of the domain that the request names, which must be a domain name. */
json_t *admin_named_domain(struct admin *admin, const json_t *request, slice *name,
	struct domain *out);

/* Who may log in no more is logged out. Without a local part: all of the domain. */
void admin_expel(struct admin *admin, slice local, slice domain);

/* "--quota 5G": a size (or, not a `size`, a plain number), or none; absent, *out stays. False: neither. */
bool admin_quota_member(const json_t *request, const char *member, bool size,
	uint64_t *out) must_use;
static inline void admin_set_bit(uint32_t *flags, uint32_t bit, bool on)
{
	*flags = on ? *flags | bit : *flags & ~bit;
}

#endif
