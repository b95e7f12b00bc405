/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_int.h - between the files of tls: sessions, the server's set, the client's cache, tickets.
 *
 * Nobody else includes it. wolfSSL is included by its users, after <wolfssl/options.h>. */
#ifndef CORE_TLS_INT_H
#define CORE_TLS_INT_H

#include "core/base/map.h"
#include "core/tls.h"

struct WOLFSSL;
struct WOLFSSL_CTX;
struct rsa_key;
struct tls_cert;

enum tls_metric { TLS_M_ACCEPTED, TLS_M_CONNECTED, TLS_M_RESUMED, TLS_M_FAILED, TLS_M_SESSIONS };

enum { TLS_EXPORTER_BYTES = 32, TLS_FILE_MAX = 1024 * 1024 };

struct tls {
	struct tls_session base; /* first member */
	struct worker *w;
	struct WOLFSSL *ssl;       /* server: NULL before the ClientHello is complete */
	struct tls_server *server; /* one of the two */
	struct tls_client *client;
	struct tls_cert *cert; /* server: the one chosen */
	struct tls_accept accept;
	struct tls_connect connect; /* its host points behind this struct */
	/* During a call only. */
	slice *in;
	struct out *records;
	/* Server: bytes of a ClientHello that came in pieces; freed when wolfSSL has read them. */
	char *hello;
	size_t hello_len, hello_read;
	enum err waiting_err; /* what ended a wait inside a callback */
	bool done, failed, resumed, has_exporter;
	bool has_spoken; /* some record left us */
	unsigned char exporter[TLS_EXPORTER_BYTES];
	char *sni; /* lower case; NULL: none */
	char *why;
};

static inline struct tls *tls_of(const struct tls_session *t)
{
	return container_of(t, struct tls, base);
}

/* --- tls_session.c --- */
/* Callbacks of every context; the session is the I/O context. */
void tls_ctx_set_io(struct WOLFSSL_CTX *ctx);
/* Attach the session to a new wolfSSL object. */
void tls_attach(struct tls *t, struct WOLFSSL *ssl);
/* Remember why, classify, count. `code` is wolfSSL's error, 0: `text` says all. */
enum err tls_fail(struct tls *t, int code, const char *text);

/* On a helper thread when called on a fiber (which waits), else here. */
void tls_run_job(void (*fn)(void *arg), void *arg);

/* --- tls_server.c: what a session asks of its server --- */
/* When the ClientHello is complete: choose a certificate and make the object. ERR_BUSY: not
 * complete. */
enum err tls_server_begin(struct tls *t, slice *in);
extern const struct conn_tls_ops tls_server_ops;

/* --- tls_client.c --- */
/* At the end of a session: keep what a later one can resume, or forget what failed. */
void tls_client_keep(struct tls *t);
extern const struct conn_tls_ops tls_client_ops;

/* --- tls_ticket.c --- */
/* Tickets of that context are sealed with the keys of the process. */
void tls_ticket_use(struct WOLFSSL_CTX *ctx, int64_t lifetime_ms);
void tls_ticket_wipe(void);

#endif
