/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_server_int.h - the server's set of certificates; shared by tls_certs.c and tls_server.c.
 *
 * Immutable once made; each worker touches only its own context of a certificate (made at first
 * use), so nothing is locked. */
#ifndef CORE_TLS_SERVER_INT_H
#define CORE_TLS_SERVER_INT_H

#include "core/tls_int.h"
#include "core/worker.h"

#include <stdatomic.h>

struct client_hello;

enum cert_kind { CERT_ECDSA, CERT_RSA, CERT_ED25519, CERT_KINDS };

struct tls_cert {
	enum cert_kind kind;
	slice chain, key; /* PEM */
	struct rsa_key *rsa;
	struct WOLFSSL_CTX *ctx[WORKERS_MAX];
};

struct tls_name {
	struct map_link link;
	slice text; /* lower case; "*.example.com" as it stands in the certificate */
	struct tls_cert *by_kind[CERT_KINDS];
};

struct tls_server {
	atomic_uint refs;
	struct arena a;
	struct tls_cert **certs;
	size_t count;
	struct map names;
	struct map_seed seed;
	struct tls_name fallback; /* the first of each kind */
	int64_t ticket_lifetime_ms;
	enum tls_min min_version;
};

/* --- tls_certs.c --- */
/* The certificate for a name (lower case; empty: none was asked for) that the client can check. Something
 * is always given: wolfSSL words the refusal when it does not fit. */
struct tls_cert *tls_certs_choose(const struct tls_server *server, slice sni,
	const struct client_hello *h);

/* --- tls_server.c --- */
/* A context of its own for this certificate; NULL: it is not usable. The caller's. */
struct WOLFSSL_CTX *tls_server_make_ctx(const struct tls_server *server,
	const struct tls_cert *cert);

#endif
