/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_certs.c - the set of certificates: read from files, found by name, chosen by what the client can
 * check. */
#include <wolfssl/options.h>

#include "core/tls_server_int.h"

#include "core/base/text.h"
#include "core/client_hello.h"
#include "core/entropy.h"
#include "core/proc.h"
#include "core/rsa_batch.h"

#include <stdlib.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>

/* --- Loading --- */

static struct tls_name *find_name(const struct tls_server *server, slice text)
{
	uint64_t hash = map_hash(&server->seed, text);

	for (struct map_link *l = map_find(&server->names, hash); l;
		l = map_find_next(&server->names, l)) {
		struct tls_name *name = container_of(l, struct tls_name, link);

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
	struct tls_name *name = find_name(server, text);

	if (!name) {
		name = arena_new(&server->a, struct tls_name);
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
	WOLFSSL_CTX *ctx = tls_server_make_ctx(server, cert);

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
	server->certs = arena_array(&server->a, struct tls_cert *,
		MAX(options->certificates.count, (size_t)1));
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

/* --- Choosing --- */

static const struct tls_name *name_for(const struct tls_server *server, slice sni)
{
	char wild[256] = "*";
	ptrdiff_t dot = slice_find(sni, '.');
	const struct tls_name *name = find_name(server, sni);

	if (name || dot <= 0)
		return name;
	/* RFC 6125 6.4.3: the star stands for the whole leftmost label. */
	slice parent = slice_skip(sni, (size_t)dot);

	memcpy(wild + 1, parent.ptr, parent.len);
	return find_name(server, slice_of(wild, parent.len + 1));
}

static struct tls_cert *pick(const struct tls_name *name, const struct client_hello *h)
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

struct tls_cert *tls_certs_choose(const struct tls_server *server, slice sni,
	const struct client_hello *h)
{
	const struct tls_name *name = sni.len ? name_for(server, sni) : NULL;
	struct tls_cert *cert = name ? pick(name, h) : NULL;

	for (int k = 0; name && !cert && k < CERT_KINDS; k++)
		cert = name->by_kind[k];
	if (!cert)
		cert = pick(&server->fallback, h);
	return cert ? cert : server->certs[0];
}
