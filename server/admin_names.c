/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin_names.c - domains, accounts and DKIM keys.
 *
 * Names are stored lower-case, domains as A-labels. Changes are durable and visible to every worker
 * before they are answered. Private keys never leave through here: only their DNS record does. */
#include "server/admin_int.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/random.h>

#include "core/base/crypt.h"
#include "core/base/sigkey.h"
#include "core/base/text.h"
#include "core/job.h"
#include "proto/smtp/idn.h"
#include "relay/sign.h"
#include "server/login.h"
#include "server/door.h"
#include "server/service.h"
#include "store/account.h"

/* "--quota 5G": a size, or none. False: neither. */
static bool read_quota(const json_t *request, const char *member, bool size, uint64_t *out)
{
	slice text = admin_text(request, member);

	if (!text.len)
		return true;
	if (slice_eq(text, SLICE("none"))) {
		*out = 0;
		return true;
	}
	return size ? text_parse_size(text, out) : text_parse_uint(text, INT64_MAX, out);
}

static void set_bit(uint32_t *flags, uint32_t bit, bool on)
{
	*flags = on ? *flags | bit : *flags & ~bit;
}

/* Who may log in no more is logged out. Without a local part: all of the domain. */
static void expel(struct admin *admin, slice local, slice domain)
{
	if (admin->service)
		service_expel(admin->service,
			arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(local),
				SLICE_ARG(domain)));
}

/* --- Domains ---------------------------------------------------------------------------------- */

static json_t *domain_add(struct admin *admin, json_t *request)
{
	struct domain d = { .created = admin_now(admin) };
	slice scram = admin_text(request, "scram"), sign = admin_text(request, "sign");

	if (!admin_domain(admin, request, &d.name))
		return admin_error("not a domain name");
	if (slice_eq(scram, SLICE("off")))
		d.flags |= DOMAIN_NO_SCRAM;
	if (slice_eq(sign, SLICE("required")))
		d.flags |= DOMAIN_SIGN_REQUIRED;
	return admin_result(domain_put(admin->store, &d, ROW_CREATE), "domain", d.name);
}

static json_t *domain_rows(struct admin *admin, json_t *request)
{
	struct domain_page list;
	json_t *rows = json_array();
	enum err err = domain_list(admin->store, admin_text(request, "after"), ADMIN_PAGE,
		&admin->arena, &list);

	if (err) {
		json_decref(rows);
		return admin_result(err, "domains", SLICE(""));
	}
	for (size_t i = 0; i < list.len; i++) {
		const struct domain *d = &list.rows[i];

		json_array_append_new(rows,
			json_pack("{s:o,s:b,s:s,s:b,s:o,s:I,s:I,s:I,s:I}", "domain",
				admin_slice(d->name), "scram", !(d->flags & DOMAIN_NO_SCRAM),
				"sign", d->flags & DOMAIN_SIGN_REQUIRED ? "required" : "optional",
				"disabled", (d->flags & DOMAIN_DISABLED) != 0, "created",
				admin_time(d->created), "quota", (json_int_t)d->quota_bytes,
				"quota_messages", (json_int_t)d->quota_messages, "account_quota",
				(json_int_t)d->account_quota_bytes, "account_quota_messages",
				(json_int_t)d->account_quota_messages));
	}
	return admin_page(rows, list.more, list.len ? list.rows[list.len - 1].name : SLICE(""));
}

static json_t *domain_set(struct admin *admin, json_t *request)
{
	slice scram = admin_text(request, "scram"), sign = admin_text(request, "sign");
	const struct domain *found;
	struct domain d;
	slice name;
	enum err err = OK;

	if (!admin_domain(admin, request, &name))
		return admin_error("not a domain name");
	found = domain_find(admin->store, name, &err);
	if (!found)
		return admin_result(err ? err : ERR_NOT_FOUND, "domain", name);
	d = *found;
	d.name = name;
	d.extra = arena_dup(&admin->arena, d.extra);
	if (!read_quota(request, "quota", true, &d.quota_bytes) ||
		!read_quota(request, "quota-messages", false, &d.quota_messages) ||
		!read_quota(request, "account-quota", true, &d.account_quota_bytes) ||
		!read_quota(request, "account-quota-messages", false, &d.account_quota_messages))
		return admin_error("a quota is a size (5G), a number of messages, or none");
	if (scram.len)
		set_bit(&d.flags, DOMAIN_NO_SCRAM, slice_eq(scram, SLICE("off")));
	if (sign.len)
		set_bit(&d.flags, DOMAIN_SIGN_REQUIRED, slice_eq(sign, SLICE("required")));
	set_bit(&d.flags, DOMAIN_DISABLED,
		admin_flag(request, "disable") ||
			((d.flags & DOMAIN_DISABLED) && !admin_flag(request, "enable")));
	err = domain_put(admin->store, &d, ROW_REPLACE);
	if (!err && (d.flags & DOMAIN_DISABLED))
		expel(admin, SLICE(""), name);
	return admin_result(err, "domain", name);
}

static json_t *domain_drop(struct admin *admin, json_t *request)
{
	slice name;
	enum err err;

	if (!admin_domain(admin, request, &name))
		return admin_error("not a domain name");
	err = domain_remove(admin->store, name, admin_flag(request, "with-accounts"));
	if (err == ERR_BUSY)
		return admin_error("domain %.*s has accounts; --with-accounts removes them too",
			SLICE_ARG(name));
	if (!err && admin->w)
		sign_keys_changed(admin->w);
	if (!err)
		expel(admin, SLICE(""), name);
	return admin_result(err, "domain", name);
}

/* --- Accounts --------------------------------------------------------------------------------- */

/* A local part that needs no quotes (RFC 5322 3.2.3, RFC 6532); quoted ones are nobody's account. */
static bool local_ok(slice local)
{
	for (size_t i = 0; i < local.len; i++)
		if ((unsigned char)local.ptr[i] <= ' ' ||
			strchr("\"<>()[]\\,;:@\177", local.ptr[i]))
			return false;
	return local.len && text_is_utf8(local);
}

/* "a.test,b.test" as the store keeps it: A-labels separated by NUL. */
static bool read_from_domains(struct admin *admin, slice text, slice *out)
{
	struct out o = out_arena(&admin->arena);
	slice one, ascii;

	while (slice_cut(&text, ',', &one)) {
		if (idn_to_ascii(&admin->arena, slice_trim(one), &ascii) || !text_is_domain(ascii))
			return false;
		if (o.len)
			out_char(&o, '\0');
		out_slice(&o, ascii);
	}
	*out = out_written(&o);
	return out->len <= ACCOUNT_FROM_MAX;
}

/* To be changed and put back: what a find returned does not outlive the wait. */
static struct account copy_row(struct admin *admin, const struct account *found)
{
	struct arena *a = &admin->arena;
	struct account row = *found;

	row.local = arena_dup(a, found->local);
	row.domain = arena_dup(a, found->domain);
	row.hash = arena_dup(a, found->hash);
	row.scram_salt = arena_dup(a, found->scram_salt);
	row.from_domains = arena_dup(a, found->from_domains);
	row.forward = arena_dup(a, found->forward);
	row.extra = arena_dup(a, found->extra);
	return row;
}

/* The row a password is to be set in: found, or made. */
static json_t *put_account(struct admin *admin, json_t *request, enum row_mode mode)
{
	slice text = admin_text(request, "name"), password = admin_text(request, "password");
	const struct domain *found;
	const struct account *old;
	struct account row = { .created = admin_now(admin), .changed = admin_now(admin) };
	struct domain d;
	struct login_name name;
	enum err err = OK;

	if (!login_parse_name(text, &admin->arena, &name) || !local_ok(name.local))
		return admin_error("not an account name: %.*s (USER@DOMAIN)", SLICE_ARG(text));
	found = domain_find(admin->store, name.domain, &err);
	if (!found)
		return admin_result(err ? err : ERR_NOT_FOUND, "domain", name.domain);
	d = *found;
	old = account_find(admin->store, name.local, name.domain, &err);
	if (err)
		return admin_result(err, "account", text);
	if (mode == ROW_CREATE && old)
		return admin_result(ERR_EXISTS, "account", text);
	if (mode == ROW_REPLACE && !old)
		return admin_result(ERR_NOT_FOUND, "account", text);
	if (old) {
		row = copy_row(admin, old);
		row.changed = admin_now(admin);
	}
	row.local = name.local;
	row.domain = name.domain;
	if (admin_flag(request, "from-any"))
		row.flags |= ACCOUNT_FROM_ANY;
	slice also = admin_text(request, "from-domains");

	if (also.len && !read_from_domains(admin, also, &row.from_domains))
		return admin_error("--from-domains: domain names with commas between");
	err = login_make_secrets(admin->setup->auth, &d, password, &admin->arena, &row);
	if (err == ERR_INVALID)
		return admin_error("a password has 1 to 512 bytes, and no NUL");
	if (!err)
		err = account_put(admin->store, &row, mode);
	return admin_result(err, "account", text);
}

static json_t *account_add(struct admin *admin, json_t *request)
{
	return put_account(admin, request, ROW_CREATE);
}

static json_t *account_passwd(struct admin *admin, json_t *request)
{
	return put_account(admin, request, ROW_REPLACE);
}

static void set_flags(const json_t *request, struct account *row)
{
	static const struct {
		const char *member;
		uint32_t bit;
		bool on;
	} words[] = { { "disable", ACCOUNT_DISABLED, true }, { "enable", ACCOUNT_DISABLED, false },
		{ "from-any", ACCOUNT_FROM_ANY, true }, { "from-own", ACCOUNT_FROM_ANY, false },
		{ "no-copy", ACCOUNT_FORWARD_ONLY, true },
		{ "copy", ACCOUNT_FORWARD_ONLY, false } };

	for (size_t i = 0; i < array_len(words); i++)
		if (admin_flag(request, words[i].member))
			set_bit(&row->flags, words[i].bit, words[i].on);
}

static json_t *account_set(struct admin *admin, json_t *request)
{
	slice text = admin_text(request, "name"), forward = admin_text(request, "forward");
	slice from = admin_text(request, "from-domains");
	const struct account *found = NULL;
	struct login_name name;
	struct account row;
	enum err err;
	json_t *answer = admin_account(admin, text, &name, &found);

	if (answer)
		return answer;
	row = copy_row(admin, found);
	row.changed = admin_now(admin);
	if (!read_quota(request, "quota", true, &row.quota_bytes) ||
		!read_quota(request, "quota-messages", false, &row.quota_messages))
		return admin_error("a quota is a size (5G), a number of messages, or none");
	if (slice_eq(forward, SLICE("none")))
		row.forward = SLICE("");
	else if (forward.len && !admin_addresses(admin, forward, &row.forward))
		return admin_error("--forward: addresses with commas between, or none");
	if (slice_eq(from, SLICE("none")))
		row.from_domains = SLICE("");
	else if (from.len && !read_from_domains(admin, from, &row.from_domains))
		return admin_error("--from-domains: domain names with commas between, or none");
	set_flags(request, &row);
	err = account_put(admin->store, &row, ROW_REPLACE);
	if (!err && (row.flags & ACCOUNT_DISABLED))
		expel(admin, name.local, name.domain);
	return admin_result(err, "account", text);
}

static json_t *account_row(struct admin *admin, const struct account *acc)
{
	slice full = arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(acc->local),
		SLICE_ARG(acc->domain));

	return json_pack("{s:o,s:b,s:b,s:o,s:I,s:I,s:o,s:b,s:o,s:b}", "account", admin_slice(full),
		"scram", acc->scram_iterations > 0, "disabled",
		(acc->flags & ACCOUNT_DISABLED) != 0, "created", admin_time(acc->created), "quota",
		(json_int_t)acc->quota_bytes, "quota_messages", (json_int_t)acc->quota_messages,
		"forward", admin_list(admin, acc->forward), "copy",
		!(acc->flags & ACCOUNT_FORWARD_ONLY), "from_domains",
		admin_list(admin, acc->from_domains), "from_any",
		(acc->flags & ACCOUNT_FROM_ANY) != 0);
}

/* Where a list of all accounts goes on: "local@domain", or "@domain" for its first. */
static enum err next_domain(struct admin *admin, slice after, slice *out)
{
	struct domain_page list;
	enum err err = domain_list(admin->store, after, 1, &admin->arena, &list);

	*out = !err && list.len ? list.rows[0].name : SLICE("");
	return err;
}

static enum err where_to_list(struct admin *admin, json_t *request, struct account_query *query,
	bool *all)
{
	slice after = admin_text(request, "after");
	ptrdiff_t at = slice_rfind(after, '@');

	*all = admin_text(request, "name").len == 0;
	query->after = after;
	if (!*all)
		return admin_domain(admin, request, &query->domain) ? OK : ERR_INVALID;
	if (at < 0)
		return next_domain(admin, SLICE(""), &query->domain);
	query->domain = slice_skip(after, (size_t)at + 1);
	query->after = slice_sub(after, 0, (size_t)at);
	return OK;
}

static json_t *account_rows(struct admin *admin, json_t *request)
{
	struct account_query query = { .limit = ADMIN_PAGE };
	struct account_page list = { 0 };
	json_t *rows;
	slice next = SLICE("");
	bool all;
	enum err err = where_to_list(admin, request, &query, &all);

	if (!err && query.domain.len)
		err = account_list(admin->store, &query, &admin->arena, &list);
	if (!err && list.more)
		next = list.rows[list.len - 1].local;
	if (!err && all && list.more)
		next = arena_printf(&admin->arena, "%.*s@%.*s", SLICE_ARG(next),
			SLICE_ARG(query.domain));
	if (!err && all && !list.more && query.domain.len) {
		err = next_domain(admin, query.domain, &next);
		if (next.len)
			next = arena_printf(&admin->arena, "@%.*s", SLICE_ARG(next));
	}
	if (err)
		return admin_result(err, "accounts of", query.domain);
	rows = json_array();
	for (size_t i = 0; i < list.len; i++)
		json_array_append_new(rows, account_row(admin, &list.rows[i]));
	return admin_page(rows, next.len > 0, next);
}

static json_t *account_drop(struct admin *admin, json_t *request)
{
	slice text = admin_text(request, "name");
	struct login_name name;
	enum err err;

	if (!login_parse_name(text, &admin->arena, &name))
		return admin_error("not an account name: %.*s (USER@DOMAIN)", SLICE_ARG(text));
	err = account_remove(admin->store, name.local, name.domain);
	if (!err)
		expel(admin, name.local, name.domain);
	return admin_result(err, "account", text);
}

/* --- DKIM keys ---------------------------------------------------------------------------------- */

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
	struct out pem;
	enum err err = OK;
	json_t *answer;

	if (!admin_domain(admin, request, &row.domain))
		return admin_error("not a domain name");
	if (!selector_ok(row.selector))
		return admin_error("--selector is missing or no DNS label");
	if (!domain_find(admin->store, row.domain, &err))
		return admin_result(err ? err : ERR_NOT_FOUND, "domain", row.domain);
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
		return json_pack("{s:o,s:s}", "selector", admin_slice(row->selector), "type",
			"damaged");
	answer = with_record ? record_of(key, row->selector, row->domain) : json_object();
	json_object_set_new(answer, "selector", admin_slice(row->selector));
	json_object_set_new(answer, "type", json_string(row->kind == KEY_RSA ? "rsa" : "ed25519"));
	json_object_set_new(answer, "bits", json_integer(sigkey_bits(key)));
	json_object_set_new(answer, "created", admin_time(row->created));
	sigkey_free(key);
	return answer;
}

static json_t *dkim_list_or_dns(struct admin *admin, json_t *request, bool with_record)
{
	slice domain, selector = admin_text(request, "selector");
	struct domain_key *keys;
	size_t count;
	json_t *rows;
	enum err err;

	if (!admin_domain(admin, request, &domain))
		return admin_error("not a domain name");
	err = domain_key_list(admin->store, domain, &admin->arena, &keys, &count);
	if (err)
		return admin_result(err, "keys of", domain);
	rows = json_array();
	for (size_t i = 0; i < count; i++)
		if (!selector.len || slice_eq(selector, keys[i].selector))
			json_array_append_new(rows, key_row(&keys[i], with_record));
	return admin_page(rows, false, SLICE(""));
}

static json_t *dkim_rows(struct admin *admin, json_t *request)
{
	return dkim_list_or_dns(admin, request, false);
}

static json_t *dkim_dns(struct admin *admin, json_t *request)
{
	return dkim_list_or_dns(admin, request, true);
}

static json_t *dkim_drop(struct admin *admin, json_t *request)
{
	slice domain, selector = admin_text(request, "selector");
	enum err err;

	if (!admin_domain(admin, request, &domain))
		return admin_error("not a domain name");
	err = domain_key_remove(admin->store, domain, selector);
	if (!err && admin->w)
		sign_keys_changed(admin->w);
	return admin_result(err, "selector", selector);
}

const struct admin_row admin_names[] = {
	{ "domain add", false, domain_add },
	{ "domain list", false, domain_rows },
	{ "domain set", false, domain_set },
	{ "domain remove", false, domain_drop },
	{ "account add", false, account_add },
	{ "account passwd", false, account_passwd },
	{ "account set", false, account_set },
	{ "account list", false, account_rows },
	{ "account remove", false, account_drop },
	{ "dkim add", false, dkim_add },
	{ "dkim list", false, dkim_rows },
	{ "dkim dns", false, dkim_dns },
	{ "dkim remove", false, dkim_drop },
	{ NULL, false, NULL },
};
