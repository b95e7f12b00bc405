/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls.h - TLS 1.2 and 1.3 for both ends, over wolfSSL.
 *
 * A tls_server (certificates, tickets) or tls_client (trust, resumption) is made from the
 * configuration off the workers, shared by all of them and reference-counted: sessions keep
 * theirs alive over a reload. Inside, each worker has contexts of its own, made at first use. A
 * session is bytes in, bytes out (core/conn_tls.h): make it, and give it to conn_start_tls() or
 * conn_start_tls_wait(), which own it from then on. Forward secrecy only, no renegotiation, no
 * TLS 1.1. Memory of an idle session is what wolfSSL keeps (about 5 KB). */
#ifndef CORE_TLS_H
#define CORE_TLS_H

#include "core/conf.h"
#include "core/conn_tls.h"

struct tls_client;
struct tls_server;
struct worker;

/* --- Options: the `tls` part of the file --- */
struct tls_cert_options {
	slice cert, key; /* paths; PEM, the chain behind the certificate */
};
struct tls_options {
	struct conf_list certificates; /* struct tls_cert_options; the first is the default */
	int64_t ticket_lifetime_ms;
	int64_t client_sessions; /* kept for resumption, per worker */
	slice ca_file;           /* trust for TLS_VERIFY; unset: the system's store */
	int min_version;         /* enum tls_min */
};
enum tls_min { TLS_MIN_12, TLS_MIN_13 };
extern const struct conf_table tls_options_table;

/* --- Server --- */
/* Reads certificates and keys (blocks: start, or a helper thread). Complaints go to `errors`, one
 * line each. ERR_INVALID, ERR_NOT_FOUND, ERR_DENIED, ERR_NOMEM. Ticket keys live outside and
 * survive reloads. */
enum err tls_server_new(const struct tls_options *options, struct out *errors,
	struct tls_server **out) must_use;
struct tls_server *tls_server_hold(struct tls_server *server);
void tls_server_put(struct tls_server *server); /* NULL is harmless */

struct tls_accept {
	const char *alpn; /* in order of preference: "h2,http/1.1"; NULL: any offer is ignored */
	bool exporter;    /* derive the channel binding when the handshake ends (TLS 1.3) */
};
/* Holds the server until it is closed. NULL: out of memory. */
struct tls_session *tls_server_session(struct tls_server *server, struct worker *w,
	const struct tls_accept *args) must_use;

/* --- Client --- */
enum tls_policy {
	TLS_NONE,          /* never */
	TLS_OPPORTUNISTIC, /* when offered, any certificate */
	TLS_REQUIRED,      /* always, any certificate */
	TLS_VERIFY,        /* always, the chain must lead to our trust and name the host */
};

enum err tls_client_new(const struct tls_options *options, struct out *errors,
	struct tls_client **out) must_use;
struct tls_client *tls_client_hold(struct tls_client *client);
void tls_client_put(struct tls_client *client);

struct tls_connect {
	slice host;             /* SNI, and the name TLS_VERIFY looks for; an address: no SNI */
	enum tls_policy policy; /* not TLS_NONE */
	const char *alpn;       /* offered, "h2,http/1.1"; NULL: none */
	bool exporter;
	bool no_resume; /* neither offer nor keep a session */
	uint16_t port;  /* sessions are kept by (host, port, policy) */
};
/* On a fiber of `w`; may wait for a helper thread the first time. Holds the client until it is
 * closed. `host` is copied, `alpn` must outlive it. NULL: out of memory. */
struct tls_session *tls_client_session(struct tls_client *client, struct worker *w,
	const struct tls_connect *args) must_use;

/* --- What came of it: after the handshake, on the connection's worker (conn_tls(c)) --- */
struct tls_info {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* "TLS_AES_128_GCM_SHA256" */
	unsigned bits;       /* of the cipher */
	bool resumed;
	bool verified; /* client: chain and name were right, now or when the session began */
	slice sni;     /* server: what was asked for, lower case; empty: nothing */
	slice alpn;    /* agreed; empty: none */
};
/* Slices and strings live as long as the session. */
void tls_info(const struct tls_session *t, struct tls_info *out);
/* RFC 9266: 32 bytes, or empty when not asked for or TLS 1.2. */
slice tls_exporter(const struct tls_session *t);
/* Why the session failed, one line for logs and deferrals; "" if it did not. Valid until close.
 * The error of the handshake is ERR_TLS_CERT when the certificate was the reason, else ERR_TLS. */
const char *tls_why(const struct tls_session *t);

/* New keys for what we send from here on (RFC 8446 4.6.3); ERR_UNSUPPORTED before TLS 1.3. Peers do it when they
 * like, we only in tests. */
enum err tls_update_keys(struct tls_session *t, struct out *records) must_use;

/* --- Process --- */
/* Once, before anything else here. ERR_NOMEM. In the simulation randomness follows
 * entropy_seed(). */
enum err tls_start(void) must_use;
/* When no session, server or client is left; a program that ends may leave it out. */
void tls_stop(void);
/* Tickets are sealed with a new key from here on; three calls make all earlier ones worthless. It
 * happens by itself twice in a ticket's lifetime; the call is for tests. Any thread. */
void tls_ticket_rotate(void);

/* Counters: handshakes, resumptions, failures; register before threads start. */
struct metric_table;
extern struct metric_table tls_metrics;

#endif
