/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layouts of index rows and of the records that make them. What is read back may be damaged: every
 * reader checks lengths and leaves its result alone when something is wrong. */
#include "store/keys.h"

#include "store/account.h"

enum { VALUE_VERSION = 1 };

static struct out begin(struct keys_buf *k, enum keys_kind kind)
{
	struct out o = out_fixed(k->bytes, KEYS_MAX);

	out_u8(&o, (uint8_t)kind);
	return o;
}

/* Names are checked where they enter, so a key that does not fit is a fault of the program. */
static void finish(struct keys_buf *k, const struct out *o)
{
	must(out_ok(o));
	k->len = o->len;
}

/* Wall time with its sign bit turned, so that times before 1970 sort first. */
static void put_time(struct out *o, wall_ms at)
{
	out_u64(o, (uint64_t)at ^ (UINT64_C(1) << 63));
}

static bool take_time(slice *in, wall_ms *out)
{
	uint64_t n;

	if (!take_u64(in, &n))
		return false;
	*out = (wall_ms)(n ^ (UINT64_C(1) << 63));
	return true;
}

static bool take_kind(slice *in, enum keys_kind kind)
{
	uint8_t found;

	return take_u8(in, &found) && found == (uint8_t)kind;
}

static bool take_name(slice *in, slice *out)
{
	return memchr(in->ptr, 0, in->len) && slice_cut(in, 0, out);
}

void keys_schedule_domain(struct keys_buf *out, slice domain)
{
	struct out o = begin(out, KEYS_SCHEDULE);

	out_slice(&o, domain);
	out_u8(&o, 0);
	finish(out, &o);
}

void keys_schedule_lane(struct keys_buf *out, slice domain, uint8_t lane)
{
	keys_schedule_domain(out, domain);
	out->bytes[out->len++] = lane;
}

void keys_schedule(struct keys_buf *out, const struct keys_due *row)
{
	struct out o = begin(out, KEYS_SCHEDULE);

	out_slice(&o, row->domain);
	out_u8(&o, 0);
	out_u8(&o, row->lane);
	out_u32(&o, row->tenant);
	put_time(&o, row->due);
	out_u64(&o, row->id);
	out_u32(&o, row->n);
	finish(out, &o);
}

bool keys_parse_schedule(slice key, struct keys_due *out)
{
	struct keys_due row;

	if (!take_kind(&key, KEYS_SCHEDULE) || !take_name(&key, &row.domain) ||
		!take_u8(&key, &row.lane) || !take_u32(&key, &row.tenant) ||
		!take_time(&key, &row.due) || !take_u64(&key, &row.id) || !take_u32(&key, &row.n) ||
		key.len)
		return false;
	*out = row;
	return true;
}

void keys_entry(struct keys_buf *out, uint64_t id, uint32_t n)
{
	struct out o = begin(out, KEYS_ENTRY);

	out_u64(&o, id);
	out_u32(&o, n);
	finish(out, &o);
}

bool keys_parse_entry(slice key, uint64_t *out_id, uint32_t *out_n)
{
	uint64_t id;
	uint32_t n;

	if (!take_kind(&key, KEYS_ENTRY) || !take_u64(&key, &id) || !take_u32(&key, &n) || key.len)
		return false;
	*out_id = id;
	*out_n = n;
	return true;
}

void keys_early(struct keys_buf *out, const struct keys_early_row *row)
{
	struct out o = begin(out, KEYS_EARLY);

	out_u64(&o, row->low);
	out_u64(&o, row->id);
	out_u32(&o, row->n);
	finish(out, &o);
}

bool keys_parse_early(slice key, struct keys_early_row *out)
{
	struct keys_early_row row;

	if (!take_kind(&key, KEYS_EARLY) || !take_u64(&key, &row.low) || !take_u64(&key, &row.id) ||
		!take_u32(&key, &row.n) || key.len)
		return false;
	*out = row;
	return true;
}

void keys_name(struct keys_buf *out, enum keys_kind kind, slice name)
{
	struct out o = begin(out, kind);

	out_slice(&o, name);
	finish(out, &o);
}

void keys_two(struct keys_buf *out, const struct keys_pair *pair)
{
	struct out o = begin(out, pair->kind);

	out_slice(&o, pair->first);
	out_u8(&o, 0);
	out_slice(&o, pair->second);
	finish(out, &o);
}

bool keys_split(slice key, slice *out_first, slice *out_second)
{
	slice first;

	if (!key.len)
		return false;
	key = slice_skip(key, 1);
	if (!take_name(&key, &first)) {
		*out_first = key;
		*out_second = (slice){ 0 };
		return true;
	}
	*out_first = first;
	*out_second = key;
	return true;
}

void keys_put_entry(struct out *o, const struct schedule_entry *e)
{
	out_u8(o, VALUE_VERSION);
	out_u8(o, e->state);
	out_u8(o, e->lane);
	out_varint(o, e->tenant);
	out_varint(o, e->attempts);
	out_varint(o, e->ref.size);
	out_varint(o, e->ref.id - e->ref.low);
	out_u64(o, (uint64_t)e->due);
	out_u64(o, (uint64_t)e->first_seen);
	out_u64(o, (uint64_t)e->expires);
	out_field(o, e->domain);
	out_field(o, slice_sub(e->reply, 0, SCHEDULE_REPLY_MAX));
	out_field(o, e->tail);
}

static bool take_wall(slice *in, wall_ms *out)
{
	uint64_t n;

	if (!take_u64(in, &n))
		return false;
	*out = (wall_ms)n;
	return true;
}

static bool is_entry(const struct schedule_entry *e)
{
	return e->state <= SCHEDULE_HELD && e->lane <= SCHEDULE_LANE_MAX &&
		e->domain.len <= SCHEDULE_DOMAIN_MAX && e->reply.len <= SCHEDULE_REPLY_MAX &&
		e->tail.len <= SCHEDULE_TAIL_MAX && !memchr(e->domain.ptr, 0, e->domain.len);
}

bool keys_get_entry(slice value, struct schedule_entry *out)
{
	struct schedule_entry e = { .ref.id = out->ref.id, .n = out->n };
	uint64_t back;
	uint8_t version;

	if (!take_u8(&value, &version) || version != VALUE_VERSION || !take_u8(&value, &e.state) ||
		!take_u8(&value, &e.lane) || !take_varint32(&value, &e.tenant) ||
		!take_varint32(&value, &e.attempts) || !take_varint(&value, &e.ref.size) ||
		!take_varint(&value, &back) || !take_wall(&value, &e.due) ||
		!take_wall(&value, &e.first_seen) || !take_wall(&value, &e.expires) ||
		!take_field(&value, &e.domain) || !take_field(&value, &e.reply) ||
		!take_field(&value, &e.tail) || value.len)
		return false;
	if (!is_entry(&e) || back > e.ref.id)
		return false;
	e.ref.low = e.ref.id - back;
	*out = e;
	return true;
}

void keys_put_counts(struct out *o, const struct keys_counts *c)
{
	out_u8(o, VALUE_VERSION);
	out_varint(o, c->domains);
	out_varint(o, c->waiting);
	out_varint(o, c->held);
	out_varint(o, c->bytes);
}

bool keys_get_counts(slice value, struct keys_counts *out)
{
	struct keys_counts c;
	uint8_t version;

	if (!take_u8(&value, &version) || version != VALUE_VERSION ||
		!take_varint(&value, &c.domains) || !take_varint(&value, &c.waiting) ||
		!take_varint(&value, &c.held) || !take_varint(&value, &c.bytes) || value.len)
		return false;
	*out = c;
	return true;
}

void keys_put_park(struct out *o, const struct schedule_entry *e)
{
	out_u64(o, e->ref.id);
	out_u32(o, e->n);
	keys_put_entry(o, e);
}

bool keys_get_park(slice payload, struct schedule_entry *out)
{
	struct schedule_entry e = { 0 };

	if (!take_u64(&payload, &e.ref.id) || !take_u32(&payload, &e.n) ||
		!keys_get_entry(payload, &e))
		return false;
	*out = e;
	return true;
}

static bool take_domain(slice *in, slice *out)
{
	return take_field(in, out) && out->len <= SCHEDULE_DOMAIN_MAX &&
		!memchr(out->ptr, 0, out->len);
}

void keys_put_done(struct out *o, const struct schedule_done *end)
{
	out_u64(o, end->id);
	out_u32(o, end->n);
	out_u8(o, end->indexed);
	out_field(o, end->domain);
}

bool keys_get_done(slice payload, struct schedule_done *out)
{
	struct schedule_done d = { 0 };
	uint8_t indexed;

	if (!take_u64(&payload, &d.id) || !take_u32(&payload, &d.n) ||
		!take_u8(&payload, &indexed) || !take_domain(&payload, &d.domain) || payload.len)
		return false;
	d.indexed = indexed != 0;
	*out = d;
	return true;
}

void keys_put_change(struct out *o, const struct schedule_change *c)
{
	out_u64(o, c->id);
	out_u32(o, c->n);
	out_u8(o, c->hold);
	out_u64(o, (uint64_t)c->due);
	out_field(o, c->domain);
}

bool keys_get_change(slice payload, struct schedule_change *out)
{
	struct schedule_change c = { 0 };
	uint8_t hold;

	if (!take_u64(&payload, &c.id) || !take_u32(&payload, &c.n) || !take_u8(&payload, &hold) ||
		!take_wall(&payload, &c.due) || !take_domain(&payload, &c.domain) || payload.len)
		return false;
	c.hold = hold != 0;
	*out = c;
	return true;
}

void keys_put_row(struct out *o, const struct keys_row *row)
{
	out_u8(o, row->act);
	out_u8(o, row->mode);
	out_field(o, row->key);
	out_field(o, row->value);
}

bool keys_get_row(slice payload, struct keys_row *out)
{
	struct keys_row row;

	if (!take_u8(&payload, &row.act) || !take_u8(&payload, &row.mode) ||
		!take_field(&payload, &row.key) || !take_field(&payload, &row.value) || payload.len)
		return false;
	if (row.act > KEYS_ACT_DELETE_DOMAIN || row.mode > ROW_REPLACE || row.key.len < 2 ||
		row.key.len > KEYS_MAX - 8)
		return false;
	*out = row;
	return true;
}
