/* SPDX-License-Identifier: GPL-2.0-or-later */
/* login_table.h - recent successes and recent failures of logins, each in bounded memory.
 *
 * Both tables are one worker's and are asked with the time as an argument. Successes are kept as a
 * keyed hash of name, stored password and password tried, so that a changed password is a miss by
 * itself and nothing in memory can be tried offline without the process's own key. Failures
 * are counted by account and client address. When a table is full its oldest entry goes. The memory
 * is the table's; insertion without memory does nothing. */
#ifndef SERVER_LOGIN_TABLE_H
#define SERVER_LOGIN_TABLE_H

#include "core/addr.h"
#include "core/base/crypt.h"
#include "core/base/map.h"

struct login_table {
	struct map map;
	struct list ages; /* oldest first */
	struct map_seed seed;
	size_t max;
};

void login_table_init(struct login_table *t, const struct map_seed *seed, size_t max);
void login_table_done(struct login_table *t);

/* Successes. `mark` is login_mark() of what was tried. */
typedef struct login_mark {
	unsigned char bytes[SHA256_BYTES];
} login_mark;
login_mark login_mark_of(slice key, slice name, slice stored, slice password);
/* Until when it is remembered; 0: it is not. */
msec login_table_until(struct login_table *t, const login_mark *mark, msec now);
void login_table_add(struct login_table *t, const login_mark *mark, msec until);

/* Failures of one account from one client (an IPv4 address, or a /64). */
struct login_who {
	slice name;
	const struct addr *peer;
};
struct login_limits {
	unsigned lock_after; /* failures */
	msec window_ms;      /* forgotten after this long without one */
	msec lock_ms;
	msec delay_ms, delay_max_ms; /* before the first failure's answer; doubles */
};
/* Still locked? */
bool login_table_locked(struct login_table *t, const struct login_who *who, msec now);
/* One more; returns how long its answer is to be held back. *out_locked: this one locked it. */
msec login_table_fail(struct login_table *t, const struct login_who *who,
	const struct login_limits *limits, msec now, bool *out_locked);
void login_table_forget(struct login_table *t, const struct login_who *who);

#endif
