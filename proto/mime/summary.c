/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading rows. Nothing is copied; every length is checked against what is left, and that is all:
 * what a damaged row says of the message may be wrong, but lies inside the row. */
#include "proto/mime/summary_int.h"

#include <endian.h>

/* Big-endian, of a size that the compiler knows. */
static inline uint64_t get_be(slice s, size_t at, size_t bytes)
{
	uint64_t n = 0;

	memcpy(&n, s.ptr + at, bytes);
	return be64toh(n) >> (64 - 8 * bytes);
}

/* Only behind a look at the length. */
static slice cut(slice *s, size_t len)
{
	slice head = slice_of(s->ptr, len);

	s->ptr = len ? s->ptr + len : s->ptr;
	s->len -= len;
	return head;
}

/* It may be wrong about where a header ends. */
static bool is_outdated(slice row)
{
	return row.len >= QUICK_LEN && row.ptr[QUICK_VERSION] >= SUMMARY_VERSION_FIRST &&
		row.ptr[QUICK_VERSION] < SUMMARY_VERSION_BORDERS &&
		(row.ptr[QUICK_FLAGS] & ROW_TRUNCATED);
}

/* Searches open rows by the hundred thousand: no field is written twice. */
bool summary_open(slice row, struct summary *out)
{
	slice rest = row;

	if (row.len < QUICK_LEN || row.ptr[QUICK_VERSION] < SUMMARY_VERSION_FIRST ||
		row.ptr[QUICK_VERSION] > SUMMARY_VERSION || is_outdated(row))
		return false;
	size_t refs = get_be(row, QUICK_REFS, 1), key = get_be(row, QUICK_KEY, 1);
	size_t preview = get_be(row, QUICK_PREVIEW, 2);
	size_t envelope = get_be(row, QUICK_ENVELOPE, 4), parts = get_be(row, QUICK_PARTS, 4);
	if (refs > SUMMARY_REFS_MAX ||
		QUICK_LEN + refs * 8 + key + preview + envelope + parts != row.len)
		return false;
	unsigned flags = (unsigned char)row.ptr[QUICK_FLAGS];
	out->truncated = flags & ROW_TRUNCATED;
	out->has_sent = flags & ROW_HAS_SENT;
	out->reply = flags & ROW_REPLY;
	out->has_attachment = flags & ROW_HAS_ATTACHMENT;
	out->open_end = flags & ROW_OPEN_END;
	out->sent_zone = (int16_t)get_be(row, QUICK_ZONE, 2);
	out->header_len = (uint32_t)get_be(row, QUICK_HEADER, 4);
	out->sent = (wall_ms)get_be(row, QUICK_SENT, 8);
	out->size = get_be(row, QUICK_SIZE, 8);
	out->lines = get_be(row, QUICK_LINES, 8);
	out->base_hash = get_be(row, QUICK_BASE, 8);
	out->id_hash = get_be(row, QUICK_ID, 8);
	out->refs = (unsigned)refs;
	cut(&rest, QUICK_LEN);
	out->ref_bytes = cut(&rest, refs * 8);
	out->base_key = cut(&rest, key);
	out->preview = cut(&rest, preview);
	out->envelope = cut(&rest, envelope);
	out->parts = rest;
	return true;
}

bool summary_agrees(slice stored, slice made)
{
	struct summary old, now;

	if (slice_eq(stored, made) || is_outdated(stored))
		return true;
	if (!summary_open(stored, &old) || !summary_open(made, &now) ||
		stored.ptr[QUICK_VERSION] == made.ptr[QUICK_VERSION])
		return false;
	if ((stored.ptr[QUICK_FLAGS] ^ made.ptr[QUICK_FLAGS]) & ROW_FLAGS_OF_OLD)
		return false;
	/* Behind them stand the numbers, up to the lengths of what is behind these. */
	return slice_eq(slice_sub(stored, QUICK_ZONE, QUICK_PREVIEW),
		       slice_sub(made, QUICK_ZONE, QUICK_PREVIEW)) &&
		slice_eq(old.ref_bytes, now.ref_bytes) && slice_eq(old.base_key, now.base_key) &&
		slice_eq(old.preview, now.preview);
}

uint64_t summary_ref(const struct summary *s, unsigned i)
{
	must(i < s->refs);
	return get_be(s->ref_bytes, (size_t)i * 8, 8);
}

unsigned summary_thread_keys(const struct summary *s, uint64_t out[SUMMARY_REFS_MAX + 1])
{
	unsigned count = 0;

	if (s->id_hash)
		out[count++] = summary_thread_key(s->id_hash, s->base_hash);
	for (unsigned i = 0; i < s->refs; i++)
		out[count++] = summary_thread_key(summary_ref(s, i), s->base_hash);
	return count;
}

/* Strings and lists --------------------------------------------------------------------------- */

/* Nearly all are of one or two bytes. */
static inline bool take_number(slice *in, uint64_t *out)
{
	const unsigned char *at = (const unsigned char *)in->ptr;
	size_t used;

	if (in->len >= 1 && at[0] < 0x80) {
		*out = at[0];
		used = 1;
	} else if (in->len >= 2 && at[1] < 0x80) {
		*out = (at[0] & 0x7fu) | (uint64_t)at[1] << 7;
		used = 2;
	} else {
		return take_varint(in, out);
	}
	in->ptr += used;
	in->len -= used;
	return true;
}

static inline bool take_text(slice *in, struct summary_text *out)
{
	uint64_t n;

	*out = (struct summary_text){ 0 };
	if (!take_number(in, &n))
		return false;
	if (n == 0)
		return true;
	n--;
	if (n >> 2 > in->len)
		return false;
	out->safe = (enum summary_safe)(n & 3);
	out->text = cut(in, (size_t)(n >> 2));
	return true;
}

static bool take_list(slice *in, slice *out)
{
	uint64_t n;

	*out = (slice){ 0 };
	if (!take_number(in, &n) || (n && n - 1 > in->len))
		return false;
	if (n)
		*out = cut(in, (size_t)n - 1);
	return true;
}

bool summary_text_next(slice *list, struct summary_text *out)
{
	struct summary_text text;

	if (list->len == 0 || !take_text(list, &text))
		return false;
	*out = text;
	return true;
}

bool summary_param(slice params, slice name, struct summary_text *out)
{
	struct summary_text key, value;

	while (summary_text_next(&params, &key) && summary_text_next(&params, &value)) {
		slice bare = key.text;

		if (bare.len && bare.ptr[bare.len - 1] == '*')
			bare.len--;
		if (slice_eq_nocase(bare, name)) {
			*out = value;
			return true;
		}
	}
	return false;
}

/* Envelope ------------------------------------------------------------------------------------ */

bool summary_get_text(const struct summary *s, enum summary_field which, struct summary_text *out)
{
	slice in = s->envelope;
	struct summary_text text;

	for (unsigned i = 0; take_text(&in, &text); i++)
		if (i == which) {
			*out = text;
			return true;
		}
	return false;
}

bool summary_get_list(const struct summary *s, enum summary_list which, slice *out)
{
	slice in = s->envelope, list;
	struct summary_text text;

	for (unsigned i = 0; i < SUMMARY_FIELDS; i++)
		if (!take_text(&in, &text))
			return false;
	for (unsigned i = 0; take_list(&in, &list); i++)
		if (i == which) {
			*out = list;
			return true;
		}
	return false;
}

static bool read_envelope(slice in, struct summary_envelope *out)
{
	struct summary_envelope e;
	bool good = take_text(&in, &e.date) && take_text(&in, &e.subject) &&
		take_text(&in, &e.message_id) && take_text(&in, &e.in_reply_to) &&
		take_text(&in, &e.references) && take_text(&in, &e.list_id);

	for (size_t i = 0; good && i < SUMMARY_LISTS; i++)
		good = take_list(&in, &e.lists[i]);
	if (good)
		*out = e;
	return good;
}

bool summary_envelope(const struct summary *s, struct summary_envelope *out)
{
	return read_envelope(s->envelope, out);
}

bool summary_part_envelope(const struct summary_part *part, struct summary_envelope *out)
{
	return part->envelope.ptr && read_envelope(part->envelope, out);
}

bool summary_address_next(slice *list, struct summary_address *out)
{
	struct summary_address item = { 0 };
	uint8_t kind;

	if (!take_u8(list, &kind) || kind > SUMMARY_GROUP_END)
		return false;
	item.kind = (enum summary_address_kind)kind;
	if (kind != SUMMARY_GROUP_END && !take_text(list, &item.name))
		return false;
	if (kind == SUMMARY_ADDRESS &&
		(!take_text(list, &item.route) || !take_text(list, &item.local) ||
			!take_text(list, &item.host)))
		return false;
	*out = item;
	return true;
}

/* Parts --------------------------------------------------------------------------------------- */

slice summary_parts(const struct summary *s)
{
	return s->parts;
}

static bool read_strings(slice in, struct summary_part *p)
{
	return take_text(&in, &p->type) && take_text(&in, &p->subtype) && take_text(&in, &p->id) &&
		take_text(&in, &p->description) && take_text(&in, &p->encoding) &&
		take_text(&in, &p->md5) && take_text(&in, &p->disposition) &&
		take_text(&in, &p->location) && take_list(&in, &p->params) &&
		take_list(&in, &p->disposition_params) && take_list(&in, &p->languages) &&
		take_list(&in, &p->envelope) && in.len == 0;
}

bool summary_part_next(slice *parts, struct summary_part *out)
{
	slice in = *parts, strings;
	struct summary_part p = { 0 };
	unsigned kind;

	if (in.len < RECORD_LEN)
		return false;
	kind = (unsigned char)in.ptr[RECORD_KIND];
	strings = slice_skip(in, RECORD_LEN);
	if ((kind & 3) > PART_MESSAGE || get_be(in, RECORD_STRINGS, 4) > strings.len)
		return false;
	strings.len = get_be(in, RECORD_STRINGS, 4);
	p.kind = (enum part_kind)(kind & 3);
	p.root = kind & 4;
	p.coding = (enum part_encoding)MIN(get_be(in, RECORD_CODING, 1),
		(uint64_t)PART_UNKNOWN_ENCODING);
	p.depth = (unsigned)get_be(in, RECORD_DEPTH, 2);
	p.header_at = get_be(in, RECORD_AT, 8);
	p.body_at = p.header_at + get_be(in, RECORD_HEADER_LEN, 4);
	p.children = (unsigned)get_be(in, RECORD_CHILDREN, 4);
	p.body_len = get_be(in, RECORD_BODY, 8);
	p.lines = get_be(in, RECORD_LINES, 8);
	if (!read_strings(strings, &p))
		return false;
	*parts = slice_skip(in, RECORD_LEN + strings.len);
	*out = p;
	return true;
}
