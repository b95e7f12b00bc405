/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local.h - who gets mail for an address of an own domain: accounts, aliases, forwards.
 *
 * A plan is made for one message: every recipient is added, and comes out as accounts to deliver into
 * and as addresses that the queue must send to. It lives in its arena, needs no end, and each account
 * and address is in it once however many ways lead there; aliases that name each other are walked
 * once. Nothing waits: what is read are warm rows of the directory. A domain with a route of its
 * own is not local, whatever accounts it has. */
#ifndef RELAY_LOCAL_H
#define RELAY_LOCAL_H

#include "core/base/base.h"
#include "store/mailbox.h"
#include "store/room.h"

struct account;
struct conf_table;
struct deliver;
struct domain;
struct envelope;
struct route_table;
struct store;
struct worker;

enum local_over_quota { LOCAL_REJECT, LOCAL_DEFER };

/* Rows "local.*". */
struct local_options {
	slice separator;  /* "+": user+folder@domain; empty: none */
	slice postmaster; /* of domains without one */
	int64_t depth_max, targets_max;
	int64_t quota_bytes, quota_messages; /* of accounts where account and domain say nothing */
	int64_t srs_expire_ms;
	int over_quota; /* enum local_over_quota */
	bool srs;
};
extern const struct conf_table local_conf;
/* All defaults. */
extern const struct local_options local_options_default;

enum { LOCAL_SECRET = 32 };
/* (fiber or no worker) The secret of forwarded senders, made if there is none. */
enum err local_read_secret(struct store *st, unsigned char out[LOCAL_SECRET]) must_use;

/* An account that gets the message. */
struct local_target {
	uint64_t account;
	slice address; /* the account's own: Delivered-To */
	slice folder;  /* asked for by user+folder; empty: INBOX */
	slice domain;
	uint32_t rcpt; /* of the recipient that led there first */
	struct room_sum limit, domain_limit;
	bool bare; /* has no mailboxes yet; only with `usage` */
	bool full; /* local_take: gets nothing */
};
/* An address for the queue. */
struct local_remote {
	slice address;
	uint32_t rcpt;  /* of the recipient that led there first */
	bool forwarded; /* by an alias or an account; else it is that recipient */
};

struct local_seen;
struct local {
	/* Set by local_begin. */
	struct store *store;
	const struct local_options *options;
	const struct route_table *routes;
	struct arena *arena;
	slice secret;
	wall_ms now;
	bool usage;                      /* the caller's: look at what the accounts hold */
	const struct local_taken *taken; /* the caller's: who is full is known already. NULL: not */
	/* The plan. */
	struct local_target *targets;
	size_t target_count, target_cap;
	struct local_remote *remotes;
	size_t remote_count, remote_cap;
	slice forwarder; /* the first address of ours that sends something on */
	/* private */
	struct local_seen **seen;
	size_t seen_count, seen_cap;
	uint32_t rcpt;
};

/* relay.c: with the relay's own routes, options and secret. */
void local_begin(struct local *l, struct worker *w, struct arena *a);

/* Recipient number `rcpt`. OK; ERR_NOT_FOUND: nobody has the address; ERR_DENIED: the account is
 * disabled; ERR_TIMEOUT: a rewritten sender that is too old; ERR_LIMIT: aliases that lead nowhere, too
 * deep or to too many; with `usage` ERR_QUOTA: all accounts it leads to are full (they are in the plan
 * all the same). Else what the store said. */
enum err local_add(struct local *l, slice address, uint32_t rcpt) must_use;
/* Did any recipient lead over this address (lower-cased) of ours? */
bool local_passed(const struct local *l, slice address);
/* The envelope sender for what is forwarded: the old one, if it needs no change or cannot have one. */
slice local_sender(struct local *l, slice sender);

/* --- Room. What an account may hold; the domain's row may be NULL. --- */
struct room_sum local_quota_of(const struct local_options *o, const struct account *acc,
	const struct domain *d);
/* By what can be read now, without what is on its way: early, and roughly. Never waits. ERR_QUOTA: the
 * account or its domain is full (one message may go over). */
struct local_room {
	struct store *store;
	const struct local_options *options;
	const struct account *account; /* not looked at behind a wait */
	struct room_sum before;        /* comes in the same command before the last message */
	struct mailbox_usage usage;    /* out, of local_has_room: of the account */
};
enum err local_has_room(struct local_room *room) must_use;
/* (fiber or no worker) Exactly, and taken until room_end: for `all`, which has `before` in it. */
enum err local_take_room(const struct local_room *room, const struct room_sum *all,
	struct room **out) must_use;
/* The same for what a copy will bring; nothing for a move. */
struct message_copy;
enum err local_take_copy(const struct local_room *room, const struct message_copy *copy,
	struct room **out) must_use;

/* (fiber or no worker) Room for all targets of a plan; those without it are marked full. A plan that
 * is made again with l->taken goes by that. */
struct local_load {
	slice sender;
	uint64_t bytes; /* of the body */
	bool always;    /* nobody counts as full */
};
struct local_taken {
	struct room **rooms; /* a domain each, in the plan's arena */
	size_t count;
	const struct local_target *targets;
	size_t target_count;
	bool any_full;
};
enum err local_take(struct local *l, const struct local_load *load,
	struct local_taken *out) must_use;
/* room_end of all; harmless when nothing was taken. */
void local_end(struct local_taken *taken, modseq pos);

/* (fiber or no worker) The plan as the store wants it, in the arena, without those who are full: makes
 * the mailboxes of accounts that have none, finds folders. `summary` is a row of proto/mime/summary.h, or empty. */
struct local_mail {
	slice sender, summary;
	wall_ms received;
};
enum err local_deliver(struct local *l, const struct local_mail *mail,
	const struct deliver **out) must_use;
/* What stands before the body in this target's mailbox. */
slice local_splice(struct local *l, slice sender, const struct local_target *t);
/* The message `id` is in the mailboxes of all recipients of `env`, who are to be reported as delivered
 * (RFC 3461 4.1). Never waits. */
void local_report(struct worker *w, const struct envelope *env, uint64_t id);
/* (fiber) The same of recipients who lead to somebody whose mailbox is full, while others got it: they
 * are to be reported as failed. Durable when it returns, or logged. */
void local_report_full(struct worker *w, const struct envelope *env, uint64_t id);

#endif
