/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tls_client.c - connecting: trust, names, and the sessions kept for resumption.
 *
 * Trust is read once, off the workers, and parsed by each worker that verifies. The cache of a
 * worker is keyed by host, port and policy (a session begun without verifying must never resume
 * as a verified one), bounded, and drops what was used longest ago. */
#include <wolfssl/options.h>

#include "core/tls_int.h"

#include "core/addr.h"
#include "core/entropy.h"
#include "core/metric.h"
#include "core/proc.h"
#include "core/worker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>

enum { HOST_MAX = 255, KEY_MAX = HOST_MAX + 32 };

struct kept {
	struct map_link link;
	struct list_link used; /* most recent first */
	WOLFSSL_SESSION *session;
	size_t key_len;
	char key[];
};

struct part { /* one worker's */
	WOLFSSL_CTX *plain, *verifying;
	struct map map;
	struct list used;
	size_t count;
};

struct tls_client {
	atomic_uint refs;
	struct out trust; /* PEM */
	struct part *parts[WORKERS_MAX];
	struct map_seed seed;
	int64_t sessions_max;
	enum tls_min min_version;
};

/* --- Life --- */

static const char *const system_trust[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/cert.pem",
};

/* A machine without a store can still send with the other policies. */
static enum err read_trust(struct tls_client *client, slice ca_file, struct out *errors)
{
	enum err err = ERR_NOT_FOUND;

	if (ca_file.ptr) {
		err = proc_read_file(ca_file.ptr, TLS_FILE_MAX * 4 - 1, &client->trust);
		if (err)
			out_printf(errors, "%s: cannot be read: %s\n", ca_file.ptr, err_text(err));
		return err;
	}
	for (size_t i = 0; err && i < array_len(system_trust); i++)
		err = proc_read_file(system_trust[i], TLS_FILE_MAX * 4 - 1, &client->trust);
	return OK;
}

enum err tls_client_new(const struct tls_options *options, struct out *errors,
	struct tls_client **out)
{
	struct tls_client *client = calloc(1, sizeof(*client));

	if (!client)
		return ERR_NOMEM;
	client->refs = 1;
	client->trust = out_heap(TLS_FILE_MAX * 4);
	client->sessions_max = options->client_sessions;
	client->min_version = (enum tls_min)options->min_version;
	entropy_fill(&client->seed, sizeof(client->seed));
	enum err err = read_trust(client, options->ca_file, errors);

	if (err) {
		tls_client_put(client);
		return err;
	}
	*out = client;
	return OK;
}

struct tls_client *tls_client_hold(struct tls_client *client)
{
	atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
	return client;
}

static void drop(struct part *p, struct kept *k)
{
	map_remove(&p->map, &k->link);
	list_remove(&k->used);
	p->count--;
	wolfSSL_SESSION_free(k->session);
	free(k);
}

static void free_part(struct part *p)
{
	if (!p)
		return;
	list_each(&p->used, link) drop(p, container_of(link, struct kept, used));
	map_done(&p->map);
	wolfSSL_CTX_free(p->plain);
	wolfSSL_CTX_free(p->verifying);
	free(p);
}

void tls_client_put(struct tls_client *client)
{
	if (!client || atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < WORKERS_MAX; i++)
		free_part(client->parts[i]);
	out_heap_done(&client->trust);
	free(client);
}

/* --- Contexts --- */

/* What receivers of mail still run: forward secrecy always, CBC at the very end. */
static const char suites[] =
	"TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
	"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:"
	"ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384";

/* One certificate at a time: a store holds some that the lean build cannot read, and they must not
 * hide those behind them. */
static void trust_all(WOLFSSL_CTX *ctx, slice pem)
{
	slice begin = SLICE("-----BEGIN CERTIFICATE-----"),
	      end = SLICE("-----END CERTIFICATE-----");

	for (;;) {
		ptrdiff_t from = slice_search(pem, begin);

		if (from < 0)
			return;
		pem = slice_skip(pem, (size_t)from);
		ptrdiff_t to = slice_search(pem, end);

		if (to < 0)
			return;
		size_t len = (size_t)to + end.len;

		wolfSSL_CTX_load_verify_buffer(ctx, (const unsigned char *)pem.ptr, (long)len,
			WOLFSSL_FILETYPE_PEM);
		pem = slice_skip(pem, len);
	}
}

static WOLFSSL_CTX *make_ctx(const struct tls_client *client, bool verifying)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
	int groups[] = { WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1 };
	int oldest = client->min_version == TLS_MIN_13 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;

	if (!ctx)
		return NULL;
	tls_ctx_set_io(ctx);
	wolfSSL_CTX_set_verify(ctx, verifying ? WOLFSSL_VERIFY_PEER : WOLFSSL_VERIFY_NONE, NULL);
	if (verifying)
		trust_all(ctx, out_written(&client->trust));
	if (wolfSSL_CTX_SetMinVersion(ctx, oldest) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_set_cipher_list(ctx, suites) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_set_groups(ctx, groups, array_len(groups)) == WOLFSSL_SUCCESS &&
		wolfSSL_CTX_UseSessionTicket(ctx) == WOLFSSL_SUCCESS)
		return ctx;
	wolfSSL_CTX_free(ctx);
	return NULL;
}

static struct part *part_of(struct tls_client *client, struct worker *w)
{
	struct part **p = &client->parts[worker_index(w)];

	if (*p)
		return *p;
	*p = calloc(1, sizeof(**p));
	if (*p)
		list_init(&(*p)->used);
	return *p;
}

struct ctx_job {
	const struct tls_client *client;
	bool verifying;
	WOLFSSL_CTX *ctx;
};

static void run_ctx_job(void *arg)
{
	struct ctx_job *job = arg;

	job->ctx = make_ctx(job->client, job->verifying);
}

/* Made by a helper thread: a system's store is two hundred certificates to parse, and one takes
 * more stack than a fiber has. Another session of this worker may have made it meanwhile. */
static WOLFSSL_CTX *ctx_of(struct tls_client *client, struct part *p, bool verifying)
{
	WOLFSSL_CTX **ctx = verifying ? &p->verifying : &p->plain;
	struct ctx_job job = { client, verifying, NULL };

	if (*ctx)
		return *ctx;
	tls_run_job(run_ctx_job, &job);
	if (*ctx)
		wolfSSL_CTX_free(job.ctx);
	else
		*ctx = job.ctx;
	return *ctx;
}

/* --- Sessions kept --- */

static slice make_key(const struct tls_connect *to, char buf[KEY_MAX])
{
	int len = snprintf(buf, KEY_MAX, "%d:%u:%.*s", to->policy, to->port, SLICE_ARG(to->host));

	return slice_of(buf, (size_t)MIN(len, KEY_MAX - 1));
}

static struct kept *find(const struct tls_client *client, const struct part *p, slice key)
{
	uint64_t hash = map_hash(&client->seed, key);

	for (struct map_link *l = map_find(&p->map, hash); l; l = map_find_next(&p->map, l)) {
		struct kept *k = container_of(l, struct kept, link);

		if (slice_eq(slice_of(k->key, k->key_len), key))
			return k;
	}
	return NULL;
}

static void store(struct tls_client *client, struct part *p, slice key, WOLFSSL_SESSION *session)
{
	struct kept *k = calloc(1, sizeof(*k) + key.len);

	if (!k) {
		wolfSSL_SESSION_free(session);
		return;
	}
	k->session = session;
	k->key_len = key.len;
	memcpy(k->key, key.ptr, key.len);
	if (!map_insert(&p->map, &k->link, map_hash(&client->seed, key))) {
		wolfSSL_SESSION_free(session);
		free(k);
		return;
	}
	list_push_front(&p->used, &k->used);
	p->count++;
	while (p->count > (size_t)client->sessions_max)
		drop(p, container_of(p->used.head.prev, struct kept, used));
}

/* wolfSSL has a question for this only in its OpenSSL layer, which the lean build leaves out; a
 * ticket that does not fit the buffer comes back as none. */
static bool has_ticket(WOLFSSL *ssl)
{
	unsigned char ticket[4096];
	word32 len = sizeof(ticket);

	return wolfSSL_get_SessionTicket(ssl, ticket, &len) == WOLFSSL_SUCCESS && len > 0;
}

void tls_client_keep(struct tls *t)
{
	struct part *p = t->client->parts[worker_index(t->w)];
	char buf[KEY_MAX];
	slice key = make_key(&t->connect, buf);
	struct kept *old = p ? find(t->client, p, key) : NULL;
	WOLFSSL_SESSION *session = NULL;

	if (!p || t->connect.no_resume || !t->ssl)
		return;
	if (t->done && !t->failed && t->client->sessions_max > 0)
		session = wolfSSL_get1_session(t->ssl);
	/* A connection that ended before the server sent a ticket leaves what an earlier one got.
	 */
	if (session && !has_ticket(t->ssl)) {
		wolfSSL_SESSION_free(session);
		return;
	}
	if (old && (session || t->failed))
		drop(p, old);
	if (session)
		store(t->client, p, key, session);
}

static void offer_kept(struct tls *t, struct part *p)
{
	char buf[KEY_MAX];
	struct kept *k = find(t->client, p, make_key(&t->connect, buf));

	if (!k)
		return;
	list_remove(&k->used);
	list_push_front(&p->used, &k->used);
	/* An expired one is refused here: then a full handshake follows. */
	(void)wolfSSL_set_session(t->ssl, k->session);
}

/* --- A session --- */

static bool set_up(struct tls *t, struct part *p)
{
	const struct tls_connect *to = &t->connect;
	struct addr addr;
	bool ok = true;

	/* RFC 6066 3: never an address. */
	if (to->host.len && !addr_parse_ip(to->host, &addr))
		ok = wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, to->host.ptr,
			     (unsigned short)to->host.len) == WOLFSSL_SUCCESS;
	if (to->policy == TLS_VERIFY)
		ok = ok && wolfSSL_check_domain_name(t->ssl, to->host.ptr) == WOLFSSL_SUCCESS;
	if (to->alpn)
		ok = ok &&
			wolfSSL_UseALPN(t->ssl, (char *)to->alpn, (unsigned)strlen(to->alpn),
				WOLFSSL_ALPN_CONTINUE_ON_MISMATCH) == WOLFSSL_SUCCESS;
	if (to->exporter)
		wolfSSL_KeepArrays(t->ssl);
	if (ok && !to->no_resume)
		offer_kept(t, p);
	return ok;
}

static bool begin(struct tls *t)
{
	struct part *p = part_of(t->client, t->w);
	WOLFSSL_CTX *ctx = p ? ctx_of(t->client, p, t->connect.policy == TLS_VERIFY) : NULL;
	WOLFSSL *ssl = ctx ? wolfSSL_new(ctx) : NULL;

	if (!ssl)
		return false;
	tls_attach(t, ssl);
	return set_up(t, p);
}

struct tls_session *tls_client_session(struct tls_client *client, struct worker *w,
	const struct tls_connect *args)
{
	slice host = slice_sub(args->host, 0, HOST_MAX);
	struct tls *t = calloc(1, sizeof(*t) + host.len + 1);

	must(args->policy != TLS_NONE);
	if (!t)
		return NULL;
	/* The trailing dot of a complete name is DNS's, not the certificate's. */
	if (host.len > 1 && host.ptr[host.len - 1] == '.')
		host.len--;
	t->base.ops = &tls_client_ops;
	t->w = w;
	t->client = tls_client_hold(client);
	t->connect = *args;
	memcpy((char *)(t + 1), host.ptr, host.len);
	t->connect.host = slice_of(t + 1, host.len);
	metric_add(&tls_metrics, TLS_M_SESSIONS, 1);
	if (!begin(t)) {
		t->base.ops->close(&t->base);
		return NULL;
	}
	return &t->base;
}
