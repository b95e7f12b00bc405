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
extern const struct admin_row admin_names[], admin_queue[], admin_status[];

enum { ADMIN_PAGE = 200 };

/* A string member; empty when absent. */
slice admin_text(const json_t *request, const char *member);
bool admin_flag(const json_t *request, const char *member);
json_t *admin_slice(slice text); /* bytes that are no UTF-8 are replaced */
/* {"error": what: reason}, or an empty object for OK. */
json_t *admin_result(enum err err, const char *what, slice name);
/* A domain in its stored form (A-labels, lower case), in the arena. */
bool admin_domain(struct admin *admin, const json_t *request, slice *out) must_use;

#endif
