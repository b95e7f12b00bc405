/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layouts of the rows of mailboxes. Messages are many and read in bulk, so their row is packed:
 * fields that are nearly always the same or near to each other cost a byte, not eight. */
#include "store/keys_mailbox.h"

enum {
	VALUE_VERSION = 1,
	/* Above enum message_flag in the same byte. */
	HAS_KEYWORDS = 1 << 5,
	HAS_THREAD = 1 << 6,
	HAS_NO_UIDL = 1 << 7,
	USAGE_DROPPED = 1 << 0,
	/* Above enum mailbox_use in the same number. */
	HAS_OPEN_ENDS = 1 << 20,
	/* Before a unique id, which has no such byte: the body's last line is not ended. */
	OPEN_END = 0x7f,
};

/* --- Keys --- */

void keys_add_u8(struct keys_buf *k, uint8_t n)
{
	must(k->len < KEYS_MAX);
	k->bytes[k->len++] = n;
}

void keys_add_u32(struct keys_buf *k, uint32_t n)
{
	uint32_t big = __builtin_bswap32(n);

	must(k->len + sizeof(big) <= KEYS_MAX);
	memcpy(k->bytes + k->len, &big, sizeof(big));
	k->len += sizeof(big);
}

void keys_add_u64(struct keys_buf *k, uint64_t n)
{
	uint64_t big = __builtin_bswap64(n);

	must(k->len + sizeof(big) <= KEYS_MAX);
	memcpy(k->bytes + k->len, &big, sizeof(big));
	k->len += sizeof(big);
}

void keys_add_name(struct keys_buf *k, slice name)
{
	must(k->len + name.len <= KEYS_MAX);
	if (name.len)
		memcpy(k->bytes + k->len, name.ptr, name.len);
	k->len += name.len;
}

void keys_number(struct keys_buf *out, enum keys_kind kind, uint64_t n)
{
	out->len = 0;
	keys_add_u8(out, (uint8_t)kind);
	keys_add_u64(out, n);
}

void keys_account(struct keys_buf *out, enum keys_kind kind, uint64_t account)
{
	keys_number(out, kind, account);
}

void keys_mailbox(struct keys_buf *out, enum keys_kind kind, uint64_t account, uint32_t mailbox)
{
	keys_number(out, kind, account);
	keys_add_u32(out, mailbox);
}

void keys_message(struct keys_buf *out, const struct keys_place *place)
{
	keys_mailbox(out, KEYS_MESSAGE, place->account, place->mailbox);
	keys_add_u32(out, place->uid);
}

void keys_marked(struct keys_buf *out, const struct keys_place *place)
{
	keys_mailbox(out, KEYS_MARKED, place->account, place->mailbox);
	keys_add_u32(out, place->uid);
}

void keys_reference(struct keys_buf *out, uint64_t blob, const struct keys_place *place)
{
	keys_number(out, KEYS_REFERENCE, blob);
	keys_add_u64(out, place->account);
	keys_add_u32(out, place->mailbox);
	keys_add_u32(out, place->uid);
}

void keys_reference_early(struct keys_buf *out, const struct keys_early_blob *row)
{
	keys_number(out, KEYS_REFERENCE_EARLY, row->low);
	keys_add_u64(out, row->blob);
}

static bool take_kind(slice *in, enum keys_kind kind)
{
	uint8_t found;

	return take_u8(in, &found) && found == (uint8_t)kind;
}

static bool take_place(slice *in, struct keys_place *out)
{
	return take_u64(in, &out->account) && take_u32(in, &out->mailbox) &&
		take_u32(in, &out->uid) && !in->len;
}

bool keys_parse_message(slice key, struct keys_place *out)
{
	return take_kind(&key, KEYS_MESSAGE) && take_place(&key, out);
}

bool keys_parse_marked(slice key, struct keys_place *out)
{
	return take_kind(&key, KEYS_MARKED) && take_place(&key, out);
}

bool keys_parse_reference(slice key, uint64_t *out_blob, struct keys_place *out)
{
	return take_kind(&key, KEYS_REFERENCE) && take_u64(&key, out_blob) && take_place(&key, out);
}

bool keys_parse_reference_early(slice key, struct keys_early_blob *out)
{
	return take_kind(&key, KEYS_REFERENCE_EARLY) && take_u64(&key, &out->low) &&
		take_u64(&key, &out->blob) && !key.len;
}

bool keys_parse_account(slice key, uint64_t *out_account, slice *out_rest)
{
	uint8_t kind;

	if (!take_u8(&key, &kind) || !take_u64(&key, out_account))
		return false;
	*out_rest = key;
	return true;
}

bool keys_parse_mailbox(slice key, uint64_t *out_account, uint32_t *out_mailbox)
{
	return keys_parse_account(key, out_account, &key) && take_u32(&key, out_mailbox) &&
		!key.len;
}

/* --- Parts of values --- */

bool keys_set_text(struct keys_text *t, slice s)
{
	if (s.len > sizeof(t->bytes))
		return false;
	t->len = (uint8_t)s.len;
	if (s.len)
		memcpy(t->bytes, s.ptr, s.len);
	return true;
}

static bool take_text(slice *in, struct keys_text *out)
{
	slice s;

	return take_field(in, &s) && keys_set_text(out, s);
}

static bool take_version(slice *in)
{
	uint8_t version;

	return take_u8(in, &version) && version == VALUE_VERSION;
}

/* --- Account and mailbox --- */

void keys_put_usage(struct out *o, const struct keys_usage *row)
{
	out_u8(o, VALUE_VERSION);
	out_u8(o, row->dropped ? USAGE_DROPPED : 0);
	out_varint(o, row->bytes);
	out_varint(o, row->messages);
	out_varint(o, row->mailboxes);
	out_varint(o, row->subscribed);
	out_varint(o, row->next_mailbox);
	out_varint(o, row->last_validity);
	out_varint(o, row->changed);
	out_field(o, keys_text_slice(&row->domain));
}

bool keys_get_usage(slice in, struct keys_usage *out)
{
	uint8_t flags;

	if (!take_version(&in) || !take_u8(&in, &flags) || !take_varint(&in, &out->bytes) ||
		!take_varint(&in, &out->messages) || !take_varint32(&in, &out->mailboxes) ||
		!take_varint32(&in, &out->subscribed) || !take_varint32(&in, &out->next_mailbox) ||
		!take_varint32(&in, &out->last_validity) || !take_varint(&in, &out->changed) ||
		!take_text(&in, &out->domain) || in.len || flags & ~USAGE_DROPPED)
		return false;
	out->dropped = flags & USAGE_DROPPED;
	return true;
}

void keys_put_sums(struct out *o, const struct keys_sums *row)
{
	out_u8(o, VALUE_VERSION);
	out_varint(o, row->bytes);
	out_varint(o, row->messages);
}

bool keys_get_sums(slice in, struct keys_sums *out)
{
	return take_version(&in) && take_varint(&in, &out->bytes) &&
		take_varint(&in, &out->messages) && !in.len;
}

void keys_put_mailbox(struct out *o, const struct keys_mailbox_row *row)
{
	out_u8(o, VALUE_VERSION);
	out_varint(o, row->use | (row->open_ends ? (uint32_t)HAS_OPEN_ENDS : 0));
	out_u32(o, row->uid_validity);
	out_varint(o, row->uid_next);
	out_varint(o, row->messages);
	out_varint(o, row->unseen);
	out_varint(o, row->deleted);
	out_varint(o, row->log_rows);
	out_varint(o, row->bytes);
	out_varint(o, row->highest);
	out_varint(o, row->horizon);
	out_signed(o, row->created);
	out_field(o, keys_text_slice(&row->name));
}

bool keys_get_mailbox(slice in, struct keys_mailbox_row *out)
{
	bool good = take_version(&in) && take_varint32(&in, &out->use);

	out->open_ends = good && out->use & HAS_OPEN_ENDS;
	out->use &= ~(uint32_t)HAS_OPEN_ENDS;
	return good && take_u32(&in, &out->uid_validity) && take_varint32(&in, &out->uid_next) &&
		take_varint32(&in, &out->messages) && take_varint32(&in, &out->unseen) &&
		take_varint32(&in, &out->deleted) && take_varint32(&in, &out->log_rows) &&
		take_varint(&in, &out->bytes) && take_varint(&in, &out->highest) &&
		take_varint(&in, &out->horizon) && take_signed(&in, &out->created) &&
		take_text(&in, &out->name) && !in.len;
}

void keys_put_u32(struct out *o, uint32_t n)
{
	out_u8(o, VALUE_VERSION);
	out_varint(o, n);
}

bool keys_get_u32(slice in, uint32_t *out)
{
	return take_version(&in) && take_varint32(&in, out) && !in.len;
}

void keys_put_keywords(struct out *o, const struct keys_keywords *row)
{
	out_u8(o, VALUE_VERSION);
	out_varint(o, row->changed);
	out_slice(o, row->names);
}

bool keys_get_keywords(slice in, struct keys_keywords *out)
{
	if (!take_version(&in) || !take_varint(&in, &out->changed))
		return false;
	out->names = in;
	return !in.len || in.ptr[in.len - 1] == 0;
}

/* --- Messages --- */

void keys_put_message(struct out *o, const struct message *m)
{
	bool thread = m->thread != m->blob;

	out_u8(o, VALUE_VERSION);
	out_u8(o,
		(uint8_t)((m->flags & MESSAGE_FLAGS) | (m->keywords ? HAS_KEYWORDS : 0) |
			(thread ? HAS_THREAD : 0) | (m->no_uidl ? HAS_NO_UIDL : 0)));
	out_u64(o, m->blob);
	out_varint(o, m->created - m->blob);
	out_varint(o, m->changed - m->created);
	out_varint(o, m->size);
	out_signed(o, m->received);
	out_signed(o, (int64_t)((uint64_t)m->saved - (uint64_t)m->received));
	if (thread)
		out_u64(o, m->thread);
	if (m->keywords)
		out_varint(o, m->keywords);
}

/* Rows read by the ten thousand: a fault is noted, and asked for once at the end. */
struct quick {
	const unsigned char *at, *end;
	bool bad;
};

static struct quick quick_of(slice in)
{
	const unsigned char *at = (const unsigned char *)in.ptr;

	return (struct quick){ .at = at, .end = at + in.len };
}

static uint8_t quick_u8(struct quick *q)
{
	if (q->at < q->end)
		return *q->at++;
	q->bad = true;
	return 0;
}

static uint64_t quick_u64(struct quick *q)
{
	uint64_t n = 0;

	if (q->end - q->at < (ptrdiff_t)sizeof(n)) {
		q->bad = true;
		return 0;
	}
	memcpy(&n, q->at, sizeof(n));
	q->at += sizeof(n);
	return __builtin_bswap64(n);
}

static inline uint64_t quick_varint(struct quick *q)
{
	uint64_t n = 0;

	for (unsigned shift = 0; q->at < q->end && shift < 64; shift += 7) {
		unsigned char byte = *q->at++;

		if (shift == 63 && byte > 1)
			break;
		n |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return n;
	}
	q->bad = true;
	return 0;
}

static slice quick_field(struct quick *q)
{
	uint64_t len = quick_varint(q);

	if (len > (size_t)(q->end - q->at)) {
		q->bad = true;
		return (slice){ "", 0 };
	}
	q->at += len;
	return slice_of(q->at - len, (size_t)len);
}

static int64_t quick_signed(struct quick *q)
{
	uint64_t n = quick_varint(q);

	return (int64_t)(n >> 1 ^ (0 - (n & 1)));
}

bool keys_get_message(slice in, struct message *m)
{
	struct quick q = quick_of(in);
	bool version = quick_u8(&q) == VALUE_VERSION;
	uint8_t bits = quick_u8(&q);

	m->flags = bits & MESSAGE_FLAGS;
	m->blob = quick_u64(&q);
	m->created = m->blob + quick_varint(&q);
	m->changed = m->created + quick_varint(&q);
	m->size = quick_varint(&q);
	m->received = quick_signed(&q);
	m->saved = (int64_t)((uint64_t)m->received + (uint64_t)quick_signed(&q));
	m->thread = bits & HAS_THREAD ? quick_u64(&q) : m->blob;
	m->keywords = bits & HAS_KEYWORDS ? quick_varint(&q) : 0;
	m->no_uidl = bits & HAS_NO_UIDL;
	return version && !q.bad && q.at == q.end;
}

/* --- Bodies --- */

void keys_put_uidl(struct out *o, slice uidl, bool open_end)
{
	out_varint(o, uidl.len + open_end);
	if (open_end)
		out_u8(o, OPEN_END);
	out_slice(o, uidl);
}

void keys_cut_uidl(slice *uidl, bool *open_end)
{
	*open_end = uidl->len && uidl->ptr[0] == OPEN_END;
	if (*open_end)
		*uidl = slice_skip(*uidl, 1);
}

size_t keys_put_body(struct out *o, const struct keys_body *body)
{
	size_t from = o->len;

	out_u8(o, VALUE_VERSION);
	out_varint(o, body->back);
	out_u64(o, body->thread);
	out_u8(o, (uint8_t)body->key_count);
	for (unsigned i = 0; i < body->key_count; i++)
		out_u64(o, body->keys[i]);
	out_field(o, body->splice);
	keys_put_uidl(o, body->uidl, body->open_end);
	out_varint(o, body->summary_len);
	size_t used = o->len - from;
	size_t fits = used < KEYS_ROW_BYTES ? KEYS_ROW_BYTES - used : 0;
	fits = MIN(fits, body->summary.len);
	out_bytes(o, body->summary.ptr, fits);
	return fits;
}

bool keys_get_body(slice in, struct keys_body *out)
{
	struct quick q = quick_of(in);
	bool version = quick_u8(&q) == VALUE_VERSION;

	out->back = quick_varint(&q);
	out->thread = quick_u64(&q);
	out->key_count = quick_u8(&q);
	if (!version || out->key_count > MESSAGE_THREAD_KEYS_MAX)
		return false;
	for (unsigned i = 0; i < out->key_count; i++)
		out->keys[i] = quick_u64(&q);
	out->splice = quick_field(&q);
	out->uidl = quick_field(&q);
	keys_cut_uidl(&out->uidl, &out->open_end);
	uint64_t len = quick_varint(&q);
	out->summary_len = (uint32_t)len;
	out->summary = slice_of(q.at, (size_t)(q.end - q.at));
	return !q.bad && out->splice.len <= MESSAGE_SPLICE_MAX &&
		out->uidl.len <= MESSAGE_UIDL_MAX && len <= MESSAGE_SUMMARY_MAX &&
		out->summary.len <= len;
}

/* --- Log and runs --- */

void keys_put_log(struct out *o, enum keys_log_kind kind)
{
	out_u8(o, VALUE_VERSION);
	out_u8(o, (uint8_t)kind);
}

bool keys_get_log(slice in, enum keys_log_kind *out_kind, slice *out_runs)
{
	uint8_t kind;

	if (!take_version(&in) || !take_u8(&in, &kind) ||
		(kind != KEYS_LOG_FLAGS && kind != KEYS_LOG_GONE))
		return false;
	*out_kind = kind == KEYS_LOG_FLAGS ? KEYS_LOG_FLAGS : KEYS_LOG_GONE;
	*out_runs = in;
	return true;
}

void keys_put_run(struct out *o, uint32_t *last, const struct run *run)
{
	out_varint(o, run->first - *last);
	out_varint(o, run->last - run->first);
	*last = run->last;
}

/* Both are mostly short: a byte each. */
static bool next_short_run(struct keys_runs *in, struct run *out)
{
	const unsigned char *bytes = (const unsigned char *)in->in.ptr;

	if (in->in.len < 2 || (bytes[0] | bytes[1]) & 0x80 || !bytes[0] ||
		in->last > UINT32_MAX - 2 * 0x7f)
		return false;
	out->first = in->last + bytes[0];
	out->last = in->last = out->first + bytes[1];
	in->in = slice_skip(in->in, 2);
	return true;
}

bool keys_next_run(struct keys_runs *in, struct run *out)
{
	uint64_t gap, more;
	slice rest = in->in;

	if (next_short_run(in, out))
		return true;
	if (!take_varint(&rest, &gap) || !take_varint(&rest, &more) || !gap ||
		gap > UINT32_MAX - in->last || more > UINT32_MAX - in->last - gap)
		return false;
	out->first = in->last + (uint32_t)gap;
	out->last = out->first + (uint32_t)more;
	in->last = out->last;
	in->in = rest;
	return true;
}

bool keys_runs_ok(slice in)
{
	struct keys_runs runs = { .in = in };
	struct run run;

	while (keys_next_run(&runs, &run))
		continue;
	return !runs.in.len;
}
