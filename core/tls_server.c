/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_server.c - a server's sessions, and the contexts they are made from.
 *
 * The lean wolfSSL has no SNI callback, hence the ClientHello is read here before a wolfSSL object
 * exists. RSA keys sign through core/rsa_batch: the callback suspends the fiber. */
#include <wolfssl/options.h>

#include "core/tls_server_int.h"

#include "core/base/text.h"
#include "core/client_hello.h"
#include "core/metric.h"
#include "core/rsa_batch.h"

#include <stdlib.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

/* --- The private key --- */

static int give_signature(struct tls *t, enum rsa_padding padding, const unsigned char *digest,
	slice *out)
{
	struct rsa_sig sig;
	enum err err = rsa_batch_sign(t->w, t->cert->rsa, padding, digest, &sig);

	if (err || sig.len > out->len) {
		t->waiting_err = err == ERR_CORRUPT ? OK : err;
		return WOLFSSL_FATAL_ERROR;
	}
	memcpy((char *)out->ptr, sig.bytes, sig.len);
	out->len = sig.len;
	return 0;
}

/* long: the parameter list is wolfSSL's */
static int on_pss(WOLFSSL *ssl, const unsigned char *digest, unsigned digest_len,
	unsigned char *sig, unsigned *sig_len, int hash, int mgf, const unsigned char *key,
	unsigned key_len, void *arg)
{
	slice out = slice_of(sig, *sig_len);
	/* The choice of certificate saw to it that the client takes SHA-256. */
	int ret = digest_len == 32 ? give_signature(arg, RSA_PSS_SHA256, digest, &out) :
				     WOLFSSL_FATAL_ERROR;

	*sig_len = (unsigned)out.len;
	return ret;
}

/* long: the parameter list is wolfSSL's. TLS 1.2 hands over the DigestInfo; ours is built anew. */
static int on_pkcs1(WOLFSSL *ssl, const unsigned char *info, unsigned info_len, unsigned char *sig,
	word32 *sig_len, const unsigned char *key, unsigned key_len, void *arg)
{
	static const unsigned char head[19] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
		0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
	slice out = slice_of(sig, *sig_len);
	bool sha256 = info_len == sizeof(head) + 32 && memcmp(info, head, sizeof(head)) == 0;
	int ret = sha256 ? give_signature(arg, RSA_PKCS1_SHA256, info + sizeof(head), &out) :
			   WOLFSSL_FATAL_ERROR;

	*sig_len = (word32)out.len;
	return ret;
}

/* long: the parameter list is wolfSSL's. It would check once more what rsa_batch has checked. */
static int skip_pss_check(WOLFSSL *ssl, unsigned char *sig, unsigned sig_len, unsigned char **out,
	int hash, int mgf, const unsigned char *key, unsigned key_len, void *arg)
{
	return 0;
}

/* long: the parameter list is wolfSSL's. The same. */
static int skip_pkcs1_check(WOLFSSL *ssl, unsigned char *sig, unsigned sig_len, unsigned char **out,
	const unsigned char *key, unsigned key_len, void *arg)
{
	return 0;
}

/* --- Contexts --- */

/* Forward secrecy and AEAD only. */
static const char suites[] =
	"TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static bool set_up(const struct tls_server *server, WOLFSSL_CTX *ctx)
{
	int groups[] = { WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1 };
	int oldest = server->min_version == TLS_MIN_13 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;

	tls_ctx_set_io(ctx);
	tls_ticket_use(ctx, server->ticket_lifetime_ms);
	wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
	wolfSSL_CTX_SetRsaPssSignCb(ctx, on_pss);
	wolfSSL_CTX_SetRsaSignCb(ctx, on_pkcs1);
	wolfSSL_CTX_SetRsaPssSignCheckCb(ctx, skip_pss_check);
	wolfSSL_CTX_SetRsaSignCheckCb(ctx, skip_pkcs1_check);
	return wolfSSL_CTX_SetMinVersion(ctx, oldest) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_set_cipher_list(ctx, suites) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_set_groups(ctx, groups, array_len(groups)) == WOLFSSL_SUCCESS;
}

WOLFSSL_CTX *tls_server_make_ctx(const struct tls_server *server, const struct tls_cert *cert)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_server_method());

	if (!ctx)
		return NULL;
	if (set_up(server, ctx) &&
		wolfSSL_CTX_use_certificate_chain_buffer(ctx,
			(const unsigned char *)cert->chain.ptr,
			(long)cert->chain.len) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const unsigned char *)cert->key.ptr,
			(long)cert->key.len, WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_check_private_key(ctx) == WOLFSSL_SUCCESS)
		return ctx;
	wolfSSL_CTX_free(ctx);
	return NULL;
}

struct ctx_job {
	const struct tls_server *server;
	const struct tls_cert *cert;
	WOLFSSL_CTX *ctx;
};

static void run_ctx_job(void *arg)
{
	struct ctx_job *job = arg;

	job->ctx = tls_server_make_ctx(job->server, job->cert);
}

/* Made by a helper thread: parsing certificates takes more stack than a fiber has. Another
 * session of this worker may have made it meanwhile. */
static WOLFSSL_CTX *ctx_of(const struct tls_server *server, struct tls_cert *cert, struct worker *w)
{
	WOLFSSL_CTX **ctx = &cert->ctx[worker_index(w)];
	struct ctx_job job = { server, cert, NULL };

	if (*ctx)
		return *ctx;
	tls_run_job(run_ctx_job, &job);
	if (*ctx)
		wolfSSL_CTX_free(job.ctx);
	else
		*ctx = job.ctx;
	return *ctx;
}

/* --- A session --- */

/* What is left of a ClientHello when its buffer is gone. */
struct choice {
	struct client_hello h; /* its slices are dead */
	enum err err;
};

static enum err set_up_session(struct tls *t, const struct client_hello *h)
{
	t->cert = tls_certs_choose(t->server, slice_str(t->sni), h);
	WOLFSSL_CTX *ctx = ctx_of(t->server, t->cert, t->w);
	WOLFSSL *ssl = ctx ? wolfSSL_new(ctx) : NULL;

	if (!ssl)
		return ERR_NOMEM;
	tls_attach(t, ssl);
	wolfSSL_SetRsaSignCtx(ssl, t);
	wolfSSL_SetRsaPssSignCtx(ssl, t);
	if (t->accept.alpn && h->alpn_count)
		wolfSSL_UseALPN(ssl, (char *)t->accept.alpn, (unsigned)strlen(t->accept.alpn),
			WOLFSSL_ALPN_FAILED_ON_MISMATCH);
	if (t->accept.exporter && h->tls13)
		wolfSSL_KeepArrays(ssl);
	return OK;
}

/* Not inlined: its 16 KB must be off the fiber's stack when the handshake goes deep. */
static __attribute__((noinline)) enum step read_hello(struct tls *t, slice all, struct choice *out)
{
	unsigned char buf[CLIENT_HELLO_MAX];
	enum step step = client_hello_parse(all, buf, &out->h);

	if (step != STEP_DONE || out->h.sni.len == 0)
		return step;
	t->sni = strndup(out->h.sni.ptr, out->h.sni.len);
	if (t->sni)
		text_lower_all(t->sni, out->h.sni.len);
	else
		out->err = ERR_NOMEM;
	return step;
}

static bool keep_hello(struct tls *t, slice *in)
{
	char *grown = realloc(t->hello, t->hello_len + in->len);

	if (!grown)
		return false;
	memcpy(grown + t->hello_len, in->ptr, in->len);
	t->hello = grown;
	t->hello_len += in->len;
	*in = slice_skip(*in, in->len);
	return true;
}

/* wolfSSL is not there yet to say it: a fatal decode_error (RFC 8446 6). */
static enum err refuse_hello(struct tls *t, const char *why)
{
	static const char alert[] = { 21, 3, 3, 0, 2, 2, 50 };

	out_bytes(t->records, alert, sizeof(alert));
	return tls_fail(t, 0, why);
}

enum err tls_server_begin(struct tls *t, slice *in)
{
	struct choice choice = { .err = OK };
	slice all = *in;

	if (in->len == 0)
		return ERR_BUSY;
	if (t->hello_len) {
		if (!keep_hello(t, in))
			return ERR_NOMEM;
		all = slice_of(t->hello, t->hello_len);
	}
	switch (read_hello(t, all, &choice)) {
	case STEP_DONE:
		return choice.err ? choice.err : set_up_session(t, &choice.h);
	case STEP_MORE:
		/* Records of one byte each would make five bytes of head for every byte. */
		if (all.len > 2 * CLIENT_HELLO_MAX)
			return refuse_hello(t, "TLS handshake: the ClientHello comes in crumbs");
		if (!t->hello_len && !keep_hello(t, in))
			return ERR_NOMEM;
		return ERR_BUSY;
	case STEP_TOO_LONG:
		return refuse_hello(t, "TLS handshake: the ClientHello is too long");
	default:
		return refuse_hello(t, "TLS handshake: no TLS ClientHello came");
	}
}

struct tls_session *tls_server_session(struct tls_server *server, struct worker *w,
	const struct tls_accept *args)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->base.ops = &tls_server_ops;
	t->w = w;
	t->server = tls_server_hold(server);
	t->accept = *args;
	metric_add(&tls_metrics, TLS_M_SESSIONS, 1);
	return &t->base;
}
