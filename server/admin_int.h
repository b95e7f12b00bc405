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
extern const struct admin_row admin_names[], admin_queue[], admin_status[], admin_mail[],
	admin_transfer[];

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

#endif
