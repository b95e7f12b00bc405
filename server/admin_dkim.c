/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_dkim.c - DKIM keys. Private keys never leave through here: only their DNS record does. */
#include "server/admin_int.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/random.h>

#include "core/base/crypt.h"
#include "core/base/sigkey.h"
#include "core/base/text.h"
#include "core/job.h"
#include "relay/sign.h"
#include "store/account.h"

enum { KEYS_PAGE = 16 };

struct key_job {
	enum sigkey_type type;
	unsigned bits;
	struct sigkey *key;
	enum err err;
};

static void make_key(void *arg)
{
	struct key_job *job = arg;
	WC_RNG rng;

	job->err = ERR_NOMEM;
	if (wc_InitRng(&rng))
		return;
	job->err = sigkey_generate(job->type, job->bits, &rng, &job->key);
	wc_FreeRng(&rng);
}

/* Imported or made; *why says what is wrong. */
static struct sigkey *key_for(json_t *request, const char **why)
{
	slice pem = admin_text(request, "pem"), type = admin_text(request, "type");
	json_int_t bits = json_integer_value(json_object_get(request, "bits"));
	struct key_job job = { .type = SIGKEY_RSA, .bits = bits ? (unsigned)bits : 2048 };

	if (slice_eq(type, SLICE("ed25519")))
		job.type = SIGKEY_ED25519;
	else if (type.len && !slice_eq(type, SLICE("rsa"))) {
		*why = "the type is rsa or ed25519";
		return NULL;
	}
	if (pem.len) {
		job.err = sigkey_parse_private(pem, &job.key);
		*why = "the key file holds no RSA or Ed25519 key we can use";
	} else if (job.type == SIGKEY_RSA && (job.bits < 1024 || job.bits > SIGKEY_RSA_MAX)) {
		*why = "bits go from 1024 to 4096";
		return NULL;
	} else {
		job_run(make_key, &job);
		*why = "making the key failed";
	}
	if (!job.err && pem.len && type.len && sigkey_type_of(job.key) != job.type) {
		sigkey_free(job.key);
		*why = "the key file holds a key of the other type";
		return NULL;
	}
	return job.err ? NULL : job.key;
}

/* The record an operator publishes. */
static json_t *record_of(struct sigkey *key, slice selector, slice domain)
{
	char buf[2048];
	struct out o = out_fixed(buf, sizeof(buf));
	json_t *answer = json_object();
	struct out text = out_heap(8192);

	sigkey_put_record(key, &o);
	json_object_set_new(answer, "selector", admin_slice(selector));
	out_printf(&text, "%.*s._domainkey.%.*s", SLICE_ARG(selector), SLICE_ARG(domain));
	json_object_set_new(answer, "name", admin_slice(out_written(&text)));
	json_object_set_new(answer, "record", admin_slice(out_written(&o)));
	text.len = 0;
	/* Strings of a TXT record hold at most 255 bytes. */
	out_printf(&text, "%.*s._domainkey.%.*s. IN TXT (", SLICE_ARG(selector), SLICE_ARG(domain));
	for (size_t at = 0; at < o.len; at += 250)
		out_printf(&text, " \"%.*s\"", (int)MIN(o.len - at, (size_t)250), buf + at);
	out_str(&text, " )");
	json_object_set_new(answer, "text", admin_slice(out_written(&text)));
	out_heap_done(&text);
	return answer;
}

static bool selector_ok(slice selector)
{
	return text_is_domain(selector) && text_is_ascii(selector);
}

static json_t *dkim_add(struct admin *admin, json_t *request)
{
	struct domain_key row = { .created = admin_now(admin),
		.selector = admin_text(request, "selector") };
	const char *why = "";
	struct sigkey *key;
	struct domain found;
	struct out pem;
	enum err err;
	json_t *answer;

	if (!admin_domain(admin, request, &row.domain))
		return admin_error("not a domain name");
	if (!selector_ok(row.selector))
		return admin_error("--selector is missing or no DNS label");
	answer = admin_find_domain(admin, row.domain, &found);
	if (answer)
		return answer;
	key = key_for(request, &why);
	if (!key)
		return admin_error("%s", why);
	pem = out_heap(KEY_PEM_MAX);
	sigkey_put_private(key, &pem);
	row.pem = out_written(&pem);
	row.kind = sigkey_type_of(key) == SIGKEY_RSA ? KEY_RSA : KEY_ED25519;
	err = out_ok(&pem) ? domain_key_put(admin->store, &row, ROW_CREATE) : ERR_NOMEM;
	crypt_wipe(pem.buf, pem.len);
	out_heap_done(&pem);
	if (!err && admin->w)
		sign_keys_changed(admin->w);
	answer = err ? admin_result(err, "selector", row.selector) :
		       record_of(key, row.selector, row.domain);
	sigkey_free(key);
	return answer;
}

static json_t *key_row(const struct domain_key *row, bool with_record)
{
	struct sigkey *key;
	json_t *answer;

	if (sigkey_parse_private(row->pem, &key))
		return json_pack("{s:o,s:o,s:s}", "domain", admin_slice(row->domain), "selector",
			admin_slice(row->selector), "type", "damaged");
	answer = with_record ? record_of(key, row->selector, row->domain) : json_object();
	json_object_set_new(answer, "domain", admin_slice(row->domain));
	json_object_set_new(answer, "selector", admin_slice(row->selector));
	json_object_set_new(answer, "type", json_string(row->kind == KEY_RSA ? "rsa" : "ed25519"));
	json_object_set_new(answer, "bits", json_integer(sigkey_bits(key)));
	json_object_set_new(answer, "created", admin_time(row->created));
	sigkey_free(key);
	return answer;
}

/* Appends those of one domain, or of them the one that --selector names. */
static enum err add_keys(struct admin *admin, const json_t *request, slice domain, bool with_record,
	json_t *rows)
{
	slice selector = admin_text(request, "selector");
	struct domain_key *keys;
	size_t count;
	enum err err = domain_key_list(admin->store, domain, &admin->arena, &keys, &count);

	for (size_t i = 0; !err && i < count; i++)
		if (!selector.len || slice_eq(selector, keys[i].selector))
			json_array_append_new(rows, key_row(&keys[i], with_record));
	return err;
}

static json_t *keys_page(enum err err, slice domain, json_t *rows, bool more)
{
	if (!err)
		return admin_page(rows, more, domain);
	json_decref(rows);
	return admin_result(err, "keys of", domain);
}

static json_t *keys_of_domain(struct admin *admin, const json_t *request, bool with_record)
{
	struct domain found;
	slice domain, selector = admin_text(request, "selector");
	json_t *rows = admin_named_domain(admin, request, &domain, &found);
	enum err err;

	if (rows)
		return rows;
	rows = json_array();
	err = add_keys(admin, request, domain, with_record, rows);
	if (!err && selector.len && !json_array_size(rows)) {
		json_decref(rows);
		return admin_result(ERR_NOT_FOUND, "selector", selector);
	}
	return keys_page(err, domain, rows, false);
}

/* A page ends behind a domain. Reading a private key takes its time, so pages are small. */
static json_t *keys_of_all(struct admin *admin, const json_t *request)
{
	json_t *rows = json_array();
	slice domain = SLICE("");
	struct domain_page list = { 0 };
	size_t i = 0;
	enum err err = domain_list(admin->store, admin_text(request, "after"), ADMIN_PAGE,
		&admin->arena, &list);

	while (!err && i < list.len && json_array_size(rows) < KEYS_PAGE) {
		domain = list.rows[i++].name;
		err = add_keys(admin, request, domain, false, rows);
	}
	return keys_page(err, domain, rows, i < list.len || list.more);
}

static json_t *dkim_rows(struct admin *admin, json_t *request)
{
	return admin_text(request, "name").len ? keys_of_domain(admin, request, false) :
						 keys_of_all(admin, request);
}

static json_t *dkim_dns(struct admin *admin, json_t *request)
{
	return keys_of_domain(admin, request, true);
}

static json_t *dkim_drop(struct admin *admin, json_t *request)
{
	slice domain, selector = admin_text(request, "selector");
	enum err err;

	if (!admin_domain(admin, request, &domain))
		return admin_error("not a domain name");
	if (!selector.len)
		return admin_error("--selector is missing");
	err = domain_key_remove(admin->store, domain, selector);
	if (!err && admin->w)
		sign_keys_changed(admin->w);
	return admin_result(err, "selector", selector);
}

const struct admin_row admin_dkim_rows[] = {
	{ "dkim add", false, dkim_add },
	{ "dkim list", false, dkim_rows },
	{ "dkim dns", false, dkim_dns },
	{ "dkim remove", false, dkim_drop },
	{ NULL, false, NULL },
};
