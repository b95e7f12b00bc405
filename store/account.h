/* SPDX-License-Identifier: GPL-2.0-or-later */
/* account.h - domains, accounts, signing keys and settings.
 *
 * Rows of the index, changed by journal records only. Reading never waits and takes no lock: each
 * worker keeps a bounded cache of decoded rows, valid for one generation of the directory (any
 * change starts a new one), and fills it with short reads of a few warm pages. What a find returns
 * lives until the calling fiber waits or returns to the loop: copy what is needed longer. Changes
 * wait (fiber) until they are durable, applied and visible to every worker. Names are compared as
 * given: the caller lower-cases. Errors: those of journal_append; ERR_EXISTS, ERR_NOT_FOUND by the
 * mode of the change, decided in journal order; ERR_TOO_LARGE; ERR_INVALID: an empty or long name. */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include "core/base/base.h"

struct store;

enum row_mode {
	ROW_PUT,     /* create or replace */
	ROW_CREATE,  /* ERR_EXISTS when it is there */
	ROW_REPLACE, /* ERR_NOT_FOUND when it is not */
};

enum {
	ACCOUNT_LOCAL_MAX = 128,
	ACCOUNT_HASH_MAX = 512,
	ACCOUNT_FROM_MAX = 1024,
	ACCOUNT_FORWARD_MAX = 1024,
	KEY_PEM_MAX = 8192,
	ALIAS_TARGETS_MAX = 1900
};

enum domain_flags {
	DOMAIN_NO_SCRAM = 1 << 0,      /* store no SCRAM keys */
	DOMAIN_SIGN_REQUIRED = 1 << 1, /* hold mail that no key can sign */
	DOMAIN_DISABLED = 1 << 2,
};

struct domain {
	slice name;
	uint32_t flags;
	wall_ms created;
	/* Of all its accounts together; 0: none. */
	uint64_t quota_bytes, quota_messages;
	/* Of an account that has none of its own; 0: the option's. */
	uint64_t account_quota_bytes, account_quota_messages;
	slice extra; /* the caller's, opaque, <= 1 KB */
};

enum account_flags {
	ACCOUNT_DISABLED = 1 << 0,
	ACCOUNT_ADMIN = 1 << 1,
	ACCOUNT_FROM_ANY = 1 << 2,     /* may use any sender address */
	ACCOUNT_FORWARD_ONLY = 1 << 3, /* keeps no copy of what it forwards */
};

struct account {
	slice local, domain;
	/* Names its mailboxes. Of a new one 0: it is made; a change keeps it, whatever stands here. */
	uint64_t id;
	slice hash; /* of the password, in crypt(3) form; empty: no password login */
	/* SCRAM-SHA-256; iterations 0: none. */
	slice scram_salt;
	uint32_t scram_iterations;
	unsigned char scram_stored[32], scram_server[32];
	slice from_domains;                   /* further sender domains allowed, separated by NUL */
	uint64_t quota_bytes, quota_messages; /* 0: the domain's */
	slice forward;                        /* addresses, separated by NUL */
	uint32_t flags;
	wall_ms created, changed;
	slice extra;
};

/* Another name: mail for it goes to the targets. An empty local part takes all that no account and no
 * other alias of the domain takes. */
struct alias {
	slice local, domain;
	slice targets; /* addresses, separated by NUL; <= ALIAS_TARGETS_MAX bytes */
};

enum domain_key_kind { KEY_RSA = 1, KEY_ED25519 = 2 };

struct domain_key {
	slice domain, selector;
	slice pem; /* the private key */
	uint8_t kind;
	bool disabled; /* kept, not used for signing */
	wall_ms created;
	uint64_t generation; /* differs whenever the key does: for caches of parsed keys */
};

/* --- Mail path: on a worker or a thread without one; NULL when there is none. `*failed` (may be NULL) tells
 * an index that could not be read from a name that is not there. --- */
const struct domain *domain_find(struct store *st, slice name, enum err *failed);
const struct account *account_find(struct store *st, slice local, slice domain, enum err *failed);
const struct alias *alias_find(struct store *st, slice local, slice domain, enum err *failed);
/* Keys of exactly this domain in order of selector, disabled ones too. */
const struct domain_key *domain_keys(struct store *st, slice domain, size_t *out_count);
/* Grows with every visible change of the directory: for caches built on top. */
uint64_t account_generation(const struct store *st);

/* --- Changes --- */
enum err domain_put(struct store *st, const struct domain *d, enum row_mode mode) must_use;
/* ERR_BUSY while it has accounts, unless `with_accounts`; its keys go too. */
enum err domain_remove(struct store *st, slice name, bool with_accounts) must_use;
enum err account_put(struct store *st, const struct account *acc, enum row_mode mode) must_use;
/* With its mailboxes. */
enum err account_remove(struct store *st, slice local, slice domain) must_use;
/* After a start: mailboxes of removed accounts that a crash left behind. */
enum err account_finish_removals(struct store *st) must_use;
enum err alias_put(struct store *st, const struct alias *alias, enum row_mode mode) must_use;
enum err alias_remove(struct store *st, slice local, slice domain) must_use;
enum err domain_key_put(struct store *st, const struct domain_key *key,
	enum row_mode mode) must_use;
enum err domain_key_remove(struct store *st, slice domain, slice selector) must_use;

/* --- Listings, in order of name; `after` empty: from the start. At most `limit` rows, in the arena. --- */
struct domain_page {
	struct domain *rows;
	size_t len;
	bool more;
};
enum err domain_list(struct store *st, slice after, size_t limit, struct arena *a,
	struct domain_page *out) must_use;
struct account_page {
	struct account *rows;
	size_t len;
	bool more;
};
/* Of one domain; `after` is a local part. */
struct account_query {
	slice domain, after;
	size_t limit;
};
enum err account_list(struct store *st, const struct account_query *query, struct arena *a,
	struct account_page *out) must_use;
struct alias_page {
	struct alias *rows;
	size_t len;
	bool more;
};
enum err alias_list(struct store *st, const struct account_query *query, struct arena *a,
	struct alias_page *out) must_use;
enum err domain_key_list(struct store *st, slice domain, struct arena *a, struct domain_key **out,
	size_t *out_len) must_use;

/* --- Settings: small named values of other modules (tokens, counters, secrets) --- */
struct setting {
	slice table, key; /* <= 32 and <= 255 bytes */
	slice value;      /* <= 1900 bytes */
};
enum err setting_put(struct store *st, const struct setting *row, enum row_mode mode) must_use;
enum err setting_remove(struct store *st, slice table, slice key) must_use;
enum err setting_get(struct store *st, const struct setting *name, struct arena *a,
	slice *out) must_use;
struct setting_page {
	struct setting *rows;
	size_t len;
	bool more;
};
struct setting_query {
	slice table, after;
	size_t limit;
};
enum err setting_list(struct store *st, const struct setting_query *query, struct arena *a,
	struct setting_page *out) must_use;

#endif
