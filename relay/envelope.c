/* SPDX-License-Identifier: GPL-2.0-or-later */
/* envelope.c - the binary form of an envelope.
 *
 * A version byte, then numbers as LEB128 and strings with their length, recipients last. What is
 * read back came from our own disk, but from any version and any damage: every number is checked
 * against its range, no count makes memory grow beyond the bytes that stand behind it. */
#include "relay/envelope.h"

/* Bits of the flags byte. */
enum {
	HAS_SMTPUTF8 = 1,
	HAS_8BIT = 2,
	HAS_HEADER_8BIT = 4,
	HAS_TLS = 8,
	HAS_HASH = 16,
	HAS_PRIORITY = 32,
	FLAGS_ALL = 63,
};

enum { PRIORITY_MAX = 9 };
enum { RCPT_BYTES_MIN = 4 }; /* two lengths, one byte of address, notify */

static uint8_t flags_of(const struct envelope *e)
{
	return (uint8_t)((e->smtputf8 ? HAS_SMTPUTF8 : 0) | (e->has_8bit ? HAS_8BIT : 0) |
		(e->header_8bit ? HAS_HEADER_8BIT : 0) | (e->tls ? HAS_TLS : 0) |
		(e->body_hash_form != ENVELOPE_HASH_NONE ? HAS_HASH : 0) |
		(e->has_priority ? HAS_PRIORITY : 0));
}

void envelope_encode(const struct envelope *e, struct out *o)
{
	out_u8(o, ENVELOPE_VERSION);
	out_u64(o, e->trace);
	out_u8(o, flags_of(e));
	out_u8(o, (uint8_t)(e->body | e->ret << 2 | e->origin << 4));
	out_u8(o, (uint8_t)(e->lane | e->body_hash_form << 2));
	out_u8(o, e->hops);
	if (e->has_priority)
		out_u8(o, (uint8_t)(e->priority + PRIORITY_MAX));
	out_varint(o, (uint64_t)e->received_at);
	out_varint(o, (uint64_t)e->hold_until);
	out_varint(o, e->size);
	out_varint(o, e->header_bytes);
	out_field(o, e->sender);
	out_field(o, e->envid);
	out_field(o, e->account);
	if (e->body_hash_form != ENVELOPE_HASH_NONE)
		out_bytes(o, e->body_hash, sizeof(e->body_hash));
	out_varint(o, e->rcpt_count);
	for (uint32_t i = 0; i < e->rcpt_count; i++) {
		out_field(o, e->rcpts[i].address);
		out_field(o, e->rcpts[i].orcpt);
		out_u8(o, e->rcpts[i].notify);
	}
}

static bool take_text(slice *in, slice *out)
{
	slice text;

	if (!take_field(in, &text) || text.len > ENVELOPE_TEXT_MAX)
		return false;
	*out = text;
	return true;
}

static bool take_time(slice *in, wall_ms *out)
{
	uint64_t n;

	if (!take_varint(in, &n) || n > INT64_MAX / 2)
		return false;
	*out = (wall_ms)n;
	return true;
}

/* The packed enums: two bytes, every value in its range. */
static bool take_kinds(slice *in, uint8_t flags, struct envelope *e)
{
	uint8_t first, second;

	if (!take_u8(in, &first) || !take_u8(in, &second) || !take_u8(in, &e->hops))
		return false;
	e->body = first & 3;
	e->ret = first >> 2 & 3;
	e->origin = first >> 4;
	e->lane = second & 3;
	e->body_hash_form = second >> 2;
	return e->body <= ENVELOPE_BINARYMIME && e->ret <= ENVELOPE_RET_FULL &&
		e->origin < ENVELOPE_ORIGIN_COUNT && e->lane < ENVELOPE_LANE_COUNT &&
		e->body_hash_form <= ENVELOPE_HASH_RELAXED &&
		((flags & HAS_HASH) != 0) == (e->body_hash_form != ENVELOPE_HASH_NONE);
}

static bool take_priority(slice *in, uint8_t flags, struct envelope *e)
{
	uint8_t above;

	if (!(flags & HAS_PRIORITY))
		return true;
	if (!take_u8(in, &above) || above > 2 * PRIORITY_MAX)
		return false;
	e->has_priority = true;
	e->priority = (int8_t)(above - PRIORITY_MAX);
	return true;
}

static bool take_head(slice *in, struct envelope *e)
{
	uint8_t flags;
	uint64_t header_bytes;

	if (!take_u64(in, &e->trace) || !take_u8(in, &flags) || flags > FLAGS_ALL)
		return false;
	e->smtputf8 = flags & HAS_SMTPUTF8;
	e->has_8bit = flags & HAS_8BIT;
	e->header_8bit = flags & HAS_HEADER_8BIT;
	e->tls = flags & HAS_TLS;
	if (!take_kinds(in, flags, e) || !take_priority(in, flags, e) ||
		!take_time(in, &e->received_at) || !take_time(in, &e->hold_until))
		return false;
	if (!take_varint(in, &e->size) || !take_varint(in, &header_bytes) ||
		header_bytes > e->size || header_bytes > UINT32_MAX)
		return false;
	e->header_bytes = (uint32_t)header_bytes;
	if (!take_text(in, &e->sender) || !take_text(in, &e->envid) || !take_text(in, &e->account))
		return false;
	if (!(flags & HAS_HASH))
		return true;
	if (in->len < sizeof(e->body_hash))
		return false;
	memcpy(e->body_hash, in->ptr, sizeof(e->body_hash));
	*in = slice_skip(*in, sizeof(e->body_hash));
	return true;
}

static bool take_rcpt(slice *in, uint32_t index, struct envelope_rcpt *rcpt)
{
	rcpt->index = index;
	return take_text(in, &rcpt->address) && rcpt->address.len > 0 &&
		take_text(in, &rcpt->orcpt) && take_u8(in, &rcpt->notify) && rcpt->notify < 16;
}

enum err envelope_decode(slice meta, struct arena *a, struct envelope *out)
{
	struct envelope e = { 0 };
	uint8_t version;
	uint64_t count;

	if (!take_u8(&meta, &version) || version == 0)
		return ERR_CORRUPT;
	if (version > ENVELOPE_VERSION)
		return ERR_UNSUPPORTED;
	if (!take_head(&meta, &e) || !take_varint(&meta, &count))
		return ERR_CORRUPT;
	if (count == 0 || count > ENVELOPE_RCPTS_MAX || count > meta.len / RCPT_BYTES_MIN)
		return ERR_CORRUPT;
	e.rcpt_count = (uint32_t)count;
	e.rcpts = arena_array(a, struct envelope_rcpt, e.rcpt_count);
	for (uint32_t i = 0; i < e.rcpt_count; i++)
		if (!take_rcpt(&meta, i, &e.rcpts[i]))
			return ERR_CORRUPT;
	if (meta.len > 0)
		return ERR_CORRUPT;
	*out = e;
	return OK;
}

slice envelope_domain(slice address)
{
	ptrdiff_t at = slice_rfind(address, '@');

	return at < 0 ? slice_of(address.ptr, 0) : slice_skip(address, (size_t)at + 1);
}

wall_ms envelope_began(const struct envelope *e)
{
	return MAX(e->received_at, e->hold_until);
}

msec envelope_hold_ms(const struct envelope *e, wall_ms now)
{
	return e->hold_until > now ? e->hold_until - now : 0;
}
