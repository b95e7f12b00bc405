/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a JOURNAL_ROW does: accounts, aliases, domains, keys, settings. A put or delete is conditional,
 * and what the condition came to is the record's outcome. */
#include "store/index_rows.h"

#include "store/account.h"

static enum err delete_all(struct apply *ap, slice prefix)
{
	bool more;

	return apply_delete_prefix(ap, prefix, SIZE_MAX, &more);
}

static enum err has_prefix(struct apply *ap, slice prefix, bool *out)
{
	struct index_cursor c = { 0 };
	enum err err = apply_seek(ap, &c, prefix, prefix);

	apply_seek_done(&c);
	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

/* A long value stands in pieces: key NUL number. Only signing keys are that long. */
static enum err put_pieces(struct apply *ap, const struct keys_row *row)
{
	struct keys_buf prefix = { 0 };
	struct out o = out_fixed(prefix.bytes, KEYS_MAX);

	out_slice(&o, row->key);
	out_u8(&o, 0);
	prefix.len = o.len;
	enum err err = delete_all(ap, keys_slice(&prefix));
	slice rest = row->value;
	for (uint8_t piece = 0; !err && rest.len; piece++) {
		struct keys_buf key = prefix;

		key.bytes[key.len++] = piece;
		err = apply_put(ap, keys_slice(&key), slice_sub(rest, 0, KEYS_PIECE));
		rest = slice_skip(rest, KEYS_PIECE);
	}
	return err;
}

static bool in_pieces(slice key)
{
	return key.ptr[0] == KEYS_KEY;
}

/* The prefix of its pieces. */
static struct keys_buf pieces_of(const struct keys_row *row)
{
	struct keys_buf key = { .len = row->key.len };

	memcpy(key.bytes, row->key.ptr, row->key.len);
	key.bytes[key.len++] = 0;
	return key;
}

static enum err row_there(struct apply *ap, const struct keys_row *row, bool *out)
{
	slice value;

	if (in_pieces(row->key)) {
		struct keys_buf key = pieces_of(row);

		return has_prefix(ap, keys_slice(&key), out);
	}
	enum err err = apply_get(ap, row->key, &value);
	*out = !err;
	return err == ERR_NOT_FOUND ? OK : err;
}

static enum err delete_row(struct apply *ap, const struct keys_row *row)
{
	if (!in_pieces(row->key))
		return apply_delete(ap, row->key);
	struct keys_buf key = pieces_of(row);
	return delete_all(ap, keys_slice(&key));
}

static enum err delete_domain(struct apply *ap, const struct keys_row *row)
{
	static const enum keys_kind kinds[] = { KEYS_ACCOUNT, KEYS_ALIAS, KEYS_KEY };
	struct keys_pair pair = { .kind = KEYS_ACCOUNT, .first = slice_skip(row->key, 1) };
	struct keys_buf prefix;
	bool there;

	keys_two(&prefix, &pair);
	enum err err = has_prefix(ap, keys_slice(&prefix), &there);
	if (!err && there && !row->mode) {
		apply_outcome(ap, ERR_BUSY, (slice){ 0 });
		return OK;
	}
	for (size_t i = 0; !err && i < array_len(kinds); i++) {
		pair.kind = kinds[i];
		keys_two(&prefix, &pair);
		err = delete_all(ap, keys_slice(&prefix));
	}
	return err ? err : delete_row(ap, row);
}

static enum err refuse(struct apply *ap, enum err why)
{
	apply_outcome(ap, why, (slice){ 0 });
	return OK;
}

enum err apply_row(struct apply *ap, slice payload)
{
	struct keys_row row;
	bool there;

	if (!keys_get_row(payload, &row))
		return OK;
	enum err err = row_there(ap, &row, &there);
	if (err)
		return err;
	apply_directory_changed(ap);
	if (row.act != KEYS_ACT_PUT && !there)
		return refuse(ap, ERR_NOT_FOUND);
	if (row.act == KEYS_ACT_DELETE)
		return delete_row(ap, &row);
	if (row.act == KEYS_ACT_DELETE_DOMAIN)
		return delete_domain(ap, &row);
	if (row.mode == ROW_CREATE && there)
		return refuse(ap, ERR_EXISTS);
	if (row.mode == ROW_REPLACE && !there)
		return refuse(ap, ERR_NOT_FOUND);
	if (in_pieces(row.key))
		return put_pieces(ap, &row);
	return row.value.len <= INDEX_VALUE_MAX ? apply_put(ap, row.key, row.value) : OK;
}
