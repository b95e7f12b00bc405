/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sasl.h - login exchanges, both sides: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and -PLUS (RFC 5802,
 * 7677, channel binding tls-exporter of RFC 9266).
 *
 * State machines over plain bytes: no storage, no randomness, no clock, no base64 (that belongs to the
 * wire of SMTP, POP3 and IMAP: sasl_wire_get, sasl_wire_put). Everything they keep lies in the
 * arena given at the start, secrets included; sasl_server_end and sasl_client_end wipe them. User
 * names and passwords must be UTF-8 and are compared as they come, without SASLprep: what a
 * client normalises differs from client to client, and ASCII and NFC texts are their own
 * normal form. NUL and control bytes are refused in user names. */
#ifndef PROTO_SASL_SASL_H
#define PROTO_SASL_SASL_H

#include "core/base/base.h"

/* A set of them is what a server offers. */
enum sasl_mech {
	SASL_NONE = 0,
	SASL_PLAIN = 1,
	SASL_LOGIN = 2,
	SASL_SCRAM_SHA_256 = 4,
	SASL_SCRAM_SHA_256_PLUS = 8,
	SASL_ALL = 15,
};

/* "SCRAM-SHA-256"; names are found without case; SASL_NONE when unknown. */
slice sasl_mech_name(enum sasl_mech mech);
enum sasl_mech sasl_mech_find(slice name);
/* " PLAIN LOGIN": each with a space before it, strongest first. */
void sasl_put_mechs(struct out *o, unsigned mechs);

/* A line of the exchange. Get: base64 into the arena; an empty line and "=" are empty; false on bad
 * base64. The lone "*" that cancels is for the caller to see first. */
bool sasl_wire_get(struct arena *a, slice line, slice *out) must_use;
void sasl_wire_put(struct out *o, slice bytes);

/* What a server keeps of a password for SCRAM. */
enum { SASL_SALT_BYTES = 16, SASL_KEY_BYTES = 32, SASL_NONCE_MIN = 18 };
struct scram_keys {
	unsigned char salt[SASL_SALT_BYTES];
	uint32_t iterations;
	unsigned char stored[SASL_KEY_BYTES], server[SASL_KEY_BYTES];
};

/* Fill stored and server from the password; salt and iterations are the caller's. Slow on purpose:
 * never on a worker. */
void scram_keys_derive(struct scram_keys *keys, slice password);
/* For a user that does not exist: the same salt each time for this name, and keys nobody has. */
void scram_keys_false(struct scram_keys *keys, slice secret, slice user, uint32_t iterations);

/* What the server does next. */
enum sasl_step {
	SASL_MORE,      /* send the challenge, feed what comes */
	SASL_NEED_KEYS, /* look `user` up, then sasl_server_keys */
	SASL_CHECK,     /* verify `user` and `password`, then sasl_server_checked */
	SASL_OK,        /* logged in as `user`, wants to act as `authzid` (empty: itself) */
	SASL_FAIL,      /* wrong credentials: 535 5.7.8 */
	SASL_BAD,       /* wrong syntax: 501 5.5.2; the exchange is over too */
};

struct sasl_server_conf {
	enum sasl_mech mech;
	bool plus_offered; /* SCRAM-SHA-256-PLUS stood in the list this client saw */
	slice binding;     /* 32 exported bytes (RFC 9266); empty: none on this connection */
	slice nonce;       /* SASL_NONCE_MIN or more printable bytes without comma, fresh */
};

struct sasl_server {
	struct arena *arena;
	struct sasl_server_conf conf;
	uint8_t state;
	slice user, authzid, password;
	slice client_first, server_first, gs2; /* SCRAM */
	struct scram_keys keys;
};

/* The slices of conf are copied. Then feed the initial response, or ask for one with
 * sasl_server_challenge. */
void sasl_server_start(struct sasl_server *s, struct arena *a, const struct sasl_server_conf *conf);
/* The first challenge when no initial response came: empty, or LOGIN's "Username:". */
slice sasl_server_challenge(const struct sasl_server *s);
/* A response. SASL_MORE and SASL_NEED_KEYS's answer write *challenge, which lives in the arena. A
 * SCRAM exchange ends with SASL_MORE (the server's proof) and an empty response, then SASL_OK. */
enum sasl_step sasl_server_feed(struct sasl_server *s, slice response, slice *challenge) must_use;
/* Answer SASL_NEED_KEYS; for an unknown user give scram_keys_false. Always SASL_MORE. */
enum sasl_step sasl_server_keys(struct sasl_server *s, const struct scram_keys *keys,
	slice *challenge) must_use;
/* Answer SASL_CHECK: SASL_OK or SASL_FAIL. */
enum sasl_step sasl_server_checked(struct sasl_server *s, bool ok) must_use;
/* Wipes what is secret. The arena is still the caller's. */
void sasl_server_end(struct sasl_server *s);

/* What SCRAM derived from a password, so that the next login to the same server is quick. The caller
 * keeps one per user and server, zeroed at first, and wipes it like the password itself. */
struct scram_cache {
	unsigned char salt[64], client[SASL_KEY_BYTES], server[SASL_KEY_BYTES];
	size_t salt_len;
	uint64_t iterations; /* 0: nothing is kept */
};

/* The client. Slices must live as long as the exchange. */
struct sasl_client_conf {
	slice user, password, authzid;
	slice binding; /* as above; empty: no -PLUS */
	slice nonce;
	uint32_t iterations_max;   /* 0: 200,000; a server may not make us work for longer */
	struct scram_cache *cache; /* NULL: derive at each login */
};

struct sasl_client {
	struct arena *arena;
	const struct sasl_client_conf *conf;
	enum sasl_mech mech;
	uint8_t state;
	bool plus_seen;
	slice client_first, auth_message;
	unsigned char server_key[SASL_KEY_BYTES];
};

/* The strongest of `offered` that conf can do; SASL_NONE when there is none. */
enum sasl_mech sasl_client_choose(const struct sasl_client_conf *conf, unsigned offered);
void sasl_client_start(struct sasl_client *c, struct arena *a, const struct sasl_client_conf *conf,
	enum sasl_mech mech, unsigned offered);
/* True with the initial response; false for LOGIN, which waits for the server. */
bool sasl_client_initial(struct sasl_client *c, slice *response) must_use;
/* SASL_MORE: send *response. SASL_FAIL: the server does not know the password either; SASL_BAD: it
 * broke the protocol; send "*" after both. SCRAM derives a key here, unless it is in the cache: about
 * a third of a millisecond for 1,000 iterations. */
enum sasl_step sasl_client_feed(struct sasl_client *c, slice challenge, slice *response) must_use;
/* The server said that we are in: true if it has proved itself where the mechanism asks for it. */
bool sasl_client_done(const struct sasl_client *c) must_use;
void sasl_client_end(struct sasl_client *c);

#endif
