/* SPDX-License-Identifier: GPL-2.0-or-later */
/* login.h - who is this, and is that the password?
 *
 * One struct login per process, made once the store is open. Checks run on a fiber: stored hashes
 * (argon2id or crypt(3), which includes yescrypt) are tried on helper threads, at most half of them at
 * once; a success is remembered as a keyed hash, so a sender that opens thousands of connections
 * pays once. An unknown name takes the same time and gets the same answers. Failures are
 * counted by account and client on one worker per account, delayed, and lock in the end. */
#ifndef SERVER_LOGIN_H
#define SERVER_LOGIN_H

#include "core/addr.h"
#include "proto/sasl/sasl.h"
#include "server/errmap.h"
#include "server/login_table.h"
#include "server/options.h"

struct account;
struct domain;
struct login;
struct store;
struct worker;

/* (fiber or no worker) Reads or makes the secret behind false salts. */
enum err login_open(struct store *st, const struct auth_options *o, struct login **out) must_use;
/* (fiber or no worker) The options changed: made-up names learn of new iteration counts in time. */
enum err login_options(struct login *l, const struct auth_options *o) must_use;
void login_close(struct login *l); /* after the workers ended; NULL is harmless */
/* On each worker, before the first check there. */
enum err login_worker_start(struct login *l, struct worker *w,
	const struct auth_options *o) must_use;
void login_worker_stop(struct login *l, struct worker *w);

struct login_try {
	const struct auth_options *options;
	const struct addr *peer;
	slice name, password;
};

/* (fiber) FAULT_NONE, AUTH_FAILED (after the delay), AUTH_LOCKED or AUTH_BUSY. *out_name is the
 * account in its stored spelling, in the arena. */
enum fault login_password(struct login *l, struct worker *w, const struct login_try *t,
	struct arena *a, slice *out_name) must_use;

/* What SCRAM needs of an account; `known` false: an unknown name, or one without keys, whose
 * made-up but stable salt leads to certain failure. */
struct login_scram {
	bool known;
	slice name; /* as stored, in the arena */
	struct scram_keys keys;
};
enum fault login_scram_keys(struct login *l, const struct login_try *t, struct arena *a,
	struct login_scram *out) must_use;
/* (fiber) How a SCRAM exchange ended, for the counters; returns what to answer. */
enum fault login_scram_end(struct login *l, struct worker *w, const struct login_try *t,
	bool right) must_use;
/* (fiber) May this name be tried from there now? */
enum fault login_admit(struct login *l, struct worker *w, const struct login_try *t) must_use;

/* May this account send as that address (empty: the null sender)? Never waits. */
bool login_may_send_as(struct login *l, slice name, slice address);

/* (fiber or no worker) Fill hash and SCRAM keys of a row, in the arena. ERR_INVALID: a password that
 * is empty or over 512 bytes; ERR_NOMEM. */
enum err login_make_secrets(const struct auth_options *o, const struct domain *d, slice password,
	struct arena *a, struct account *row) must_use;

/* "alice@example.test" lower-cased and cut; false when it is no such thing. */
struct login_name {
	slice local, domain;
};
bool login_parse_name(slice text, struct arena *a, struct login_name *out) must_use;

extern struct metric_table login_metrics;

#endif
