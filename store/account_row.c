/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the directory as bytes. A version byte first; fields are added at the end only. */
#include "store/account_int.h"

#include "core/base/crypt.h"

/* 1 ended behind `extra`, and knows no quotas, forwards and ids. */
enum { VERSION = 2, VERSION_BEFORE_MAILBOXES = 1 };

static bool take_version_of(slice *in, uint8_t *out)
{
	return take_u8(in, out) && *out >= 1 && *out <= VERSION;
}

static bool take_version(slice *in)
{
	uint8_t version;

	return take_version_of(in, &version);
}

static bool take_flags(slice *in, uint32_t *out)
{
	uint64_t n;

	if (!take_varint(in, &n) || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool take_time(slice *in, wall_ms *out)
{
	uint64_t n;

	if (!take_u64(in, &n))
		return false;
	*out = (wall_ms)n;
	return true;
}

static bool take_raw(slice *in, unsigned char *to, size_t len)
{
	if (in->len < len)
		return false;
	memcpy(to, in->ptr, len);
	*in = slice_skip(*in, len);
	return true;
}

void row_put_domain(struct out *o, const struct domain *d)
{
	out_u8(o, VERSION);
	out_varint(o, d->flags);
	out_u64(o, (uint64_t)d->created);
	out_field(o, d->extra);
	out_varint(o, d->quota_bytes);
	out_varint(o, d->quota_messages);
	out_varint(o, d->account_quota_bytes);
	out_varint(o, d->account_quota_messages);
}

bool row_get_domain(slice in, struct domain *out)
{
	uint8_t version;

	if (!take_version_of(&in, &version) || !take_flags(&in, &out->flags) ||
		!take_time(&in, &out->created) || !take_field(&in, &out->extra))
		return false;
	if (version == VERSION_BEFORE_MAILBOXES)
		return !in.len;
	return take_varint(&in, &out->quota_bytes) && take_varint(&in, &out->quota_messages) &&
		take_varint(&in, &out->account_quota_bytes) &&
		take_varint(&in, &out->account_quota_messages) && !in.len;
}

void row_put_account(struct out *o, const struct account *acc)
{
	out_u8(o, VERSION);
	out_varint(o, acc->flags);
	out_u64(o, (uint64_t)acc->created);
	out_u64(o, (uint64_t)acc->changed);
	out_field(o, acc->hash);
	out_varint(o, acc->scram_iterations);
	out_field(o, acc->scram_salt);
	out_bytes(o, acc->scram_stored, sizeof(acc->scram_stored));
	out_bytes(o, acc->scram_server, sizeof(acc->scram_server));
	out_field(o, acc->from_domains);
	out_field(o, acc->extra);
	out_u64(o, acc->id);
	out_varint(o, acc->quota_bytes);
	out_varint(o, acc->quota_messages);
	out_field(o, acc->forward);
}

/* An account from before there were mailboxes has the same id each time it is read, and keeps it. */
static uint64_t id_of_name(const struct account *acc)
{
	unsigned char digest[SHA256_BYTES];
	struct sha256 h;
	uint64_t id;

	sha256_init(&h);
	sha256_add(&h, acc->local);
	sha256_add(&h, SLICE("@"));
	sha256_add(&h, acc->domain);
	sha256_end(&h, digest);
	memcpy(&id, digest, sizeof(id));
	return id ? id : 1;
}

static bool take_mailboxes(slice *in, struct account *out)
{
	return take_u64(in, &out->id) && take_varint(in, &out->quota_bytes) &&
		take_varint(in, &out->quota_messages) && take_field(in, &out->forward);
}

bool row_get_account(slice in, struct account *out)
{
	uint8_t version;

	if (!take_version_of(&in, &version) || !take_flags(&in, &out->flags) ||
		!take_time(&in, &out->created) || !take_time(&in, &out->changed) ||
		!take_field(&in, &out->hash) || !take_flags(&in, &out->scram_iterations) ||
		!take_field(&in, &out->scram_salt) ||
		!take_raw(&in, out->scram_stored, sizeof(out->scram_stored)) ||
		!take_raw(&in, out->scram_server, sizeof(out->scram_server)) ||
		!take_field(&in, &out->from_domains) || !take_field(&in, &out->extra))
		return false;
	if (version != VERSION_BEFORE_MAILBOXES)
		return take_mailboxes(&in, out) && !in.len;
	out->id = id_of_name(out);
	return !in.len;
}

void row_put_alias(struct out *o, const struct alias *alias)
{
	out_u8(o, VERSION);
	out_field(o, alias->targets);
}

bool row_get_alias(slice in, struct alias *out)
{
	return take_version(&in) && take_field(&in, &out->targets) && !in.len;
}

void row_put_key(struct out *o, const struct domain_key *key)
{
	out_u8(o, VERSION);
	out_u8(o, key->kind);
	out_u8(o, key->disabled);
	out_u64(o, (uint64_t)key->created);
	out_field(o, key->pem);
}

static uint64_t fingerprint(slice value)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < value.len; i++)
		h = (h ^ (unsigned char)value.ptr[i]) * UINT64_C(0x100000001b3);
	return h;
}

static bool get_key(slice in, struct domain_key *out)
{
	uint8_t disabled;

	out->generation = fingerprint(in);
	if (!take_version(&in) || !take_u8(&in, &out->kind) || !take_u8(&in, &disabled) ||
		!take_time(&in, &out->created) || !take_field(&in, &out->pem) || in.len)
		return false;
	out->disabled = disabled != 0;
	return true;
}

/* --- Keys in pieces --- */

struct assembling {
	struct arena *a;
	struct out value; /* of the key at hand */
	struct domain_key *rows;
	size_t len, cap;
	slice domain, selector;
};

static enum err end_key(struct assembling *as)
{
	if (!as->selector.len)
		return OK;
	if (as->len == as->cap) {
		size_t cap = MAX((size_t)4, as->cap * 2);
		struct domain_key *rows = arena_array(as->a, struct domain_key, cap);

		if (as->len)
			memcpy(rows, as->rows, as->len * sizeof(*rows));
		as->rows = rows;
		as->cap = cap;
	}
	struct domain_key *key = &as->rows[as->len++];
	*key = (struct domain_key){ .domain = as->domain, .selector = as->selector };
	return get_key(out_written(&as->value), key) ? OK : ERR_CORRUPT;
}

static enum err add_piece(struct assembling *as, slice key, slice value)
{
	slice domain, rest, selector;
	enum err err = OK;

	/* K domain 0 selector 0 piece */
	if (!keys_split(key, &domain, &rest) || rest.len < 3 || rest.ptr[rest.len - 2] != 0)
		return ERR_CORRUPT;
	selector = slice_sub(rest, 0, rest.len - 2);
	if (rest.ptr[rest.len - 1] == 0) {
		err = end_key(as);
		as->selector = arena_dup(as->a, selector);
		as->value = out_arena(as->a);
	}
	out_slice(&as->value, value);
	return err;
}

enum err read_keys(struct index_txn *txn, slice domain, struct arena *a, struct domain_key **out,
	size_t *out_len)
{
	struct assembling as = { .a = a, .domain = arena_dup(a, domain) };
	struct index_cursor c = { 0 };
	struct keys_buf prefix;
	enum err failed = OK;

	keys_two(&prefix, &(struct keys_pair){ .kind = KEYS_KEY, .first = domain });
	enum err err = index_seek(txn, &c, keys_slice(&prefix), keys_slice(&prefix));
	while (!err && !failed) {
		failed = add_piece(&as, c.key, c.value);
		if (!failed)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	if (!failed && err == ERR_NOT_FOUND)
		err = end_key(&as);
	if (failed || err)
		return failed ? failed : err;
	*out = as.rows;
	*out_len = as.len;
	return OK;
}
