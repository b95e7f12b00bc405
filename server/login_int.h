/* SPDX-License-Identifier: GPL-2.0-or-later */
/* login_int.h - what a login is made of; shared by login.c and login_check.c. */
#ifndef SERVER_LOGIN_INT_H
#define SERVER_LOGIN_INT_H

#include "server/login.h"

#include <stdatomic.h>

#include "core/base/map.h"
#include "core/job.h"
#include "core/worker.h"
#include "server/iterations.h"
#include "server/password.h"

enum { LOGIN_KEY_BYTES = 32, LOGIN_LANES = 2 };
enum { LOGIN_M_OK, LOGIN_M_CACHED, LOGIN_M_FAILED, LOGIN_M_LOCKED, LOGIN_M_HASHES };

struct login_tables {
	struct login_table cache, failures;
	struct map pending;
};

struct login {
	struct store *store;
	unsigned slot;
	int hash;                              /* enum auth_hash of the dummy */
	unsigned char key[LOGIN_KEY_BYTES];    /* of the cache, for this run */
	unsigned char secret[LOGIN_KEY_BYTES]; /* behind false salts, for ever */
	struct job_queue lanes[LOGIN_LANES];   /* hashes run at most this many at once */
	_Atomic unsigned next_lane;
	/* Of auth.scram_iterations. A copy is never changed; older ones stay for who reads them. */
	struct past {
		struct iterations iterations;
		struct past *older;
	} * _Atomic past;
	_Atomic unsigned failing;      /* entries in all failure tables: 0 spares the question */
	char dummy[PASSWORD_HASH_MAX]; /* a hash of a random password */
};

static inline struct login_tables *login_tables(const struct login *l, struct worker *w)
{
	return *worker_slot(w, l->slot);
}

/* (fiber) Is that the password? `stored` is the account's hash, ended by NUL, or the dummy. */
bool login_check(struct login *l, struct worker *w, const struct login_try *t, slice stored);

#endif
