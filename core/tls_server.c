/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_server.c - the set of certificates, choosing among them, and the server's contexts.
 *
 * Immutable once made; each worker touches only its own context of a certificate (made at first
 * use), so nothing is locked. The lean wolfSSL has no SNI callback, hence the ClientHello is read
 * here before a wolfSSL object exists. RSA keys sign through core/rsa_batch: the callback
 * suspends the fiber. */
#include <wolfssl/options.h>

#include "core/tls_int.h"

#include "core/base/text.h"
#include "core/client_hello.h"
#include "core/entropy.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/rsa_batch.h"
#include "core/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>

static const struct conf_row cert_rows[] = {
	{ "cert", CONF_PATH, offsetof(struct tls_cert_options, cert), CONF_REQUIRED | CONF_RELOAD,
		.doc = "PEM file: the certificate, then the chain up to the root" },
	{ "key", CONF_PATH, offsetof(struct tls_cert_options, key), CONF_REQUIRED | CONF_RELOAD,
		.doc = "PEM file: its private key, not encrypted; `credential:NAME` is one that "
		       "systemd hands over" },
};
static const struct conf_table cert_table = { CONF_TABLE(cert_rows, struct tls_cert_options) };

static const char *const min_words[] = { "1.2", "1.3", NULL };

static const struct conf_row tls_rows[] = {
	{ "tls.certificates", CONF_STRUCTS, offsetof(struct tls_options, certificates), CONF_RELOAD,
		.max = 100000, .sub = &cert_table,
		.doc = "Certificates, chosen by the name a client asks for; the first is the "
		       "default. "
		       "An RSA and an ECDSA one for the same name may stand side by side" },
	{ "tls.min_version", CONF_ENUM, offsetof(struct tls_options, min_version), CONF_RELOAD,
		.def = "1.2", .words = min_words, .doc = "Oldest TLS version taken, both sides" },
	{ "tls.ticket_lifetime", CONF_DURATION, offsetof(struct tls_options, ticket_lifetime_ms),
		CONF_RELOAD, .def = "12h", .min = 60000, .max = 604800000,
		.doc = "How long a client may resume a session; ticket keys rotate twice in that "
		       "time" },
	{ "tls.client_sessions", CONF_INT, offsetof(struct tls_options, client_sessions),
		CONF_RELOAD, .def = "1000", .max = 100000,
		.doc = "Sessions with other servers kept for resumption, per worker" },
	{ "tls.ca_file", CONF_PATH, offsetof(struct tls_options, ca_file), CONF_RELOAD,
		.doc = "Authorities trusted where certificates are verified; absent: the "
		       "system's" },
};
const struct conf_table tls_options_table = { CONF_TABLE(tls_rows, struct tls_options) };

enum cert_kind { CERT_ECDSA, CERT_RSA, CERT_ED25519, CERT_KINDS };

struct tls_cert {
	enum cert_kind kind;
	slice chain, key; /* PEM */
	struct rsa_key *rsa;
	WOLFSSL_CTX *ctx[WORKERS_MAX];
};

struct name {
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
	struct name fallback; /* the first of each kind */
	int64_t ticket_lifetime_ms;
	enum tls_min min_version;
	wall_ms expires; /* the first of them; 0: unknown */
};

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

static WOLFSSL_CTX *make_ctx(const struct tls_server *server, const struct tls_cert *cert)
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

	job->ctx = make_ctx(job->server, job->cert);
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

/* --- Loading --- */

static struct name *find_name(const struct tls_server *server, slice text)
{
	uint64_t hash = map_hash(&server->seed, text);

	for (struct map_link *l = map_find(&server->names, hash); l;
		l = map_find_next(&server->names, l)) {
		struct name *name = container_of(l, struct name, link);

		if (slice_eq(name->text, text))
			return name;
	}
	return NULL;
}

/* The first certificate of a kind keeps the name. */
static bool add_name(struct tls_server *server, struct tls_cert *cert, slice text)
{
	char lower[256];

	if (text.len == 0 || text.len > 253)
		return true;
	memcpy(lower, text.ptr, text.len);
	text_lower_all(lower, text.len);
	text = slice_of(lower, text.len);
	struct name *name = find_name(server, text);

	if (!name) {
		name = arena_new(&server->a, struct name);
		name->text = arena_dup(&server->a, text);
		if (!map_insert(&server->names, &name->link, map_hash(&server->seed, text)))
			return false;
	}
	if (!name->by_kind[cert->kind])
		name->by_kind[cert->kind] = cert;
	return true;
}

static bool add_names(struct tls_server *server, struct tls_cert *cert, const DecodedCert *d)
{
	bool any = false;

	for (const DNS_entry *n = d->altNames; n; n = n->next) {
		if (n->type != ASN_DNS_TYPE)
			continue;
		any = true;
		if (!add_name(server, cert, slice_of(n->name, (size_t)n->len)))
			return false;
	}
	/* RFC 6125 6.4.4: the common name counts only without others. */
	if (!any && d->subjectCN)
		return add_name(server, cert, slice_of(d->subjectCN, (size_t)d->subjectCNLen));
	return true;
}

static bool kind_of(const DecodedCert *d, enum cert_kind *out)
{
	switch (d->keyOID) {
	case ECDSAk:
		*out = CERT_ECDSA;
		return true;
	case RSAk:
		*out = CERT_RSA;
		return true;
	case ED25519k:
		*out = CERT_ED25519;
		return true;
	default:
		return false;
	}
}

static void note_expiry(struct tls_server *server, const DecodedCert *d)
{
	const byte *date;
	byte format;
	int len;
	struct tm tm = { 0 };

	if (wc_GetDateInfo(d->afterDate, d->afterDateLen, &date, &format, &len) != 0 ||
		wc_GetDateAsCalendarTime(date, len, format, &tm) != 0)
		return;
	wall_ms at = (wall_ms)timegm(&tm) * 1000;

	if (!server->expires || at < server->expires)
		server->expires = at;
}

static const char *read_cert_der(struct tls_server *server, struct tls_cert *cert, slice der)
{
	DecodedCert d;
	const char *why = NULL;

	wc_InitDecodedCert(&d, (const byte *)der.ptr, (word32)der.len, NULL);
	if (wc_ParseCert(&d, CERT_TYPE, NO_VERIFY, NULL) != 0)
		why = "holds no certificate that can be read";
	else if (!kind_of(&d, &cert->kind))
		why = "has a key that is neither RSA, ECDSA nor Ed25519";
	else if (!add_names(server, cert, &d))
		why = "out of memory";
	else
		note_expiry(server, &d);
	wc_FreeDecodedCert(&d);
	return why;
}

static const char *read_cert(struct tls_server *server, struct tls_cert *cert)
{
	int cap = (int)cert->chain.len + 1;
	unsigned char *der = malloc((size_t)cap);
	const char *why = "holds no PEM certificate";
	int len = der ? wc_CertPemToDer((const unsigned char *)cert->chain.ptr,
				(int)cert->chain.len, der, cap, CERT_TYPE) :
			0;

	if (len > 0)
		why = read_cert_der(server, cert, slice_of(der, (size_t)len));
	free(der);
	return why;
}

static enum err read_file(struct tls_server *server, slice path, struct out *errors, slice *out)
{
	struct out text = out_heap(TLS_FILE_MAX);
	enum err err = proc_read_file(path.ptr, TLS_FILE_MAX - 1, &text);

	if (err)
		out_printf(errors, "%s: cannot be read: %s\n", path.ptr, err_text(err));
	else
		*out = arena_dup(&server->a, out_written(&text));
	out_heap_done(&text);
	return err;
}

static enum err load_cert(struct tls_server *server, const struct tls_cert_options *options,
	struct out *errors, struct tls_cert *cert)
{
	enum err err = read_file(server, options->cert, errors, &cert->chain);

	if (!err)
		err = read_file(server, options->key, errors, &cert->key);
	if (err)
		return err;
	const char *why = read_cert(server, cert);

	if (why) {
		out_printf(errors, "%s: %s\n", options->cert.ptr, why);
		return ERR_INVALID;
	}
	if (cert->kind == CERT_RSA && rsa_key_parse(cert->key, &cert->rsa)) {
		out_printf(errors, "%s: no RSA key of 2048 to 4096 bits (unencrypted PEM)\n",
			options->key.ptr);
		return ERR_INVALID;
	}
	/* A rehearsal: what fails here would fail on a worker. */
	WOLFSSL_CTX *ctx = make_ctx(server, cert);

	if (!ctx) {
		out_printf(errors, "%s: not the key of %s, or not usable\n", options->key.ptr,
			options->cert.ptr);
		return ERR_INVALID;
	}
	wolfSSL_CTX_free(ctx);
	return OK;
}

static enum err load_all(struct tls_server *server, const struct tls_options *options,
	struct out *errors)
{
	enum err first = OK;

	for (size_t i = 0; i < options->certificates.count; i++) {
		struct tls_cert *cert = arena_new(&server->a, struct tls_cert);
		enum err err = load_cert(server,
			conf_item(&options->certificates, struct tls_cert_options, i), errors,
			cert);

		server->certs[server->count++] = cert;
		if (!err && !server->fallback.by_kind[cert->kind])
			server->fallback.by_kind[cert->kind] = cert;
		first = first ? first : err;
	}
	if (!first && server->count == 0) {
		out_str(errors, "tls.certificates: at least one is needed\n");
		return ERR_INVALID;
	}
	return first;
}

enum err tls_server_new(const struct tls_options *options, struct out *errors,
	struct tls_server **out)
{
	struct tls_server *server = calloc(1, sizeof(*server));

	if (!server)
		return ERR_NOMEM;
	server->refs = 1;
	server->ticket_lifetime_ms = options->ticket_lifetime_ms;
	server->min_version = (enum tls_min)options->min_version;
	entropy_fill(&server->seed, sizeof(server->seed));
	server->certs =
		arena_array(&server->a, struct tls_cert *, MAX(options->certificates.count, 1));
	enum err err = load_all(server, options, errors);

	if (err) {
		tls_server_put(server);
		return err;
	}
	*out = server;
	return OK;
}

struct tls_server *tls_server_hold(struct tls_server *server)
{
	atomic_fetch_add_explicit(&server->refs, 1, memory_order_relaxed);
	return server;
}

void tls_server_put(struct tls_server *server)
{
	if (!server || atomic_fetch_sub_explicit(&server->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < server->count; i++) {
		for (size_t w = 0; w < WORKERS_MAX; w++)
			wolfSSL_CTX_free(server->certs[i]->ctx[w]);
		rsa_key_put(server->certs[i]->rsa);
	}
	map_done(&server->names);
	arena_done(&server->a);
	free(server);
}

wall_ms tls_server_expires(const struct tls_server *server)
{
	return server->expires;
}

/* --- A session --- */

static const struct name *name_for(const struct tls_server *server, slice sni)
{
	char wild[256] = "*";
	ptrdiff_t dot = slice_find(sni, '.');
	const struct name *name = find_name(server, sni);

	if (name || dot <= 0)
		return name;
	/* RFC 6125 6.4.3: the star stands for the whole leftmost label. */
	slice parent = slice_skip(sni, (size_t)dot);

	memcpy(wild + 1, parent.ptr, parent.len);
	return find_name(server, slice_of(wild, parent.len + 1));
}

static struct tls_cert *pick(const struct name *name, const struct client_hello *h)
{
	if (name->by_kind[CERT_ECDSA] && h->ecdsa_p256)
		return name->by_kind[CERT_ECDSA];
	/* TLS 1.3 signs with PSS only (RFC 8446 4.2.3). */
	if (name->by_kind[CERT_RSA] && (h->rsa_pss || (h->rsa_pkcs1 && !h->tls13)))
		return name->by_kind[CERT_RSA];
	if (name->by_kind[CERT_ED25519] && h->ed25519)
		return name->by_kind[CERT_ED25519];
	return NULL;
}

/* Something is always given: wolfSSL words the refusal when it does not fit the client. */
static struct tls_cert *choose(const struct tls_server *server, slice sni,
	const struct client_hello *h)
{
	const struct name *name = sni.len ? name_for(server, sni) : NULL;
	struct tls_cert *cert = name ? pick(name, h) : NULL;

	for (int k = 0; name && !cert && k < CERT_KINDS; k++)
		cert = name->by_kind[k];
	if (!cert)
		cert = pick(&server->fallback, h);
	return cert ? cert : server->certs[0];
}

/* What is left of a ClientHello when its buffer is gone. */
struct choice {
	struct client_hello h; /* its slices are dead */
	enum err err;
};

static enum err set_up_session(struct tls *t, const struct client_hello *h)
{
	t->cert = choose(t->server, slice_str(t->sni), h);
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
