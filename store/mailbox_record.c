/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of mailboxes and deliveries as bytes of journal records, and their outcomes.
 *
 * Limits are checked before a record is written; readers check them again, since a record that an
 * applier refuses must be refused alike on every replay. */
#include "store/message_int.h"

#include "core/base/text.h"
#include "store/apply.h"

enum { RECORD_VERSION = 1, KEYWORD_BYTES_MAX = KEYS_ROW_BYTES - 16 };

enum change_bits { CONDITIONAL = 1 << 0, ALL = 1 << 1, WIDE = 1 << 2 };

static bool take_version(slice *in)
{
	uint8_t version;

	return take_u8(in, &version) && version == RECORD_VERSION;
}

/* --- Deliveries --- */

static bool keywords_ok(slice names)
{
	return names.len <= KEYWORD_BYTES_MAX && (!names.len || names.ptr[names.len - 1] == 0);
}

static bool target_ok(const struct deliver_target *t)
{
	return t->splice.len <= MESSAGE_SPLICE_MAX && t->uidl.len <= MESSAGE_UIDL_MAX &&
		keywords_ok(t->keywords);
}

enum err message_check_delivery(const struct deliver *d)
{
	if (d->target_count > MESSAGE_TARGETS_MAX)
		return ERR_LIMIT;
	for (size_t i = 0; i < d->target_count; i++)
		if (!target_ok(&d->targets[i]))
			return ERR_TOO_LARGE;
	return OK;
}

size_t message_delivery_bytes(const struct deliver *d)
{
	size_t n = 128 + d->thread_key_count * sizeof(uint64_t) + d->summary.len;

	for (size_t i = 0; i < d->target_count; i++) {
		const struct deliver_target *t = &d->targets[i];

		n += 48 + t->keywords.len + t->splice.len + t->uidl.len;
	}
	return n;
}

static void put_target(struct out *o, const struct deliver_target *t)
{
	out_u64(o, t->account);
	out_varint(o, t->mailbox);
	out_varint(o, t->flags);
	out_signed(o, t->received);
	out_field(o, t->keywords);
	out_field(o, t->splice);
	keys_put_uidl(o, t->uidl, t->open_end);
}

void message_put_delivery(struct out *o, const struct deliver *d, const struct delivery_body *body)
{
	size_t keys = MIN(d->thread_key_count, (size_t)MESSAGE_THREAD_KEYS_MAX);

	out_u8(o, RECORD_VERSION);
	out_varint(o, d->blob);
	out_varint(o, body->low);
	out_varint(o, body->size);
	out_signed(o, body->at);
	out_u8(o, (uint8_t)keys);
	for (size_t i = 0; i < keys; i++)
		out_u64(o, d->thread_keys[i]);
	/* Too long to keep: readers open the body. */
	out_field(o, d->summary.len <= MESSAGE_SUMMARY_MAX ? d->summary : SLICE(""));
	out_varint(o, d->target_count);
	for (size_t i = 0; i < d->target_count; i++)
		put_target(o, &d->targets[i]);
}

uint16_t message_delivery_shards(const struct deliver *d, unsigned count)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < d->target_count; i++)
		mask |= 1u << mailbox_shard(d->targets[i].account, count);
	return (uint16_t)mask;
}

bool message_next_target(slice *targets, struct deliver_target *out)
{
	if (!take_u64(targets, &out->account) || !take_varint32(targets, &out->mailbox) ||
		!take_varint32(targets, &out->flags) || !take_signed(targets, &out->received) ||
		!take_field(targets, &out->keywords) || !take_field(targets, &out->splice) ||
		!take_field(targets, &out->uidl))
		return false;
	keys_cut_uidl(&out->uidl, &out->open_end);
	return target_ok(out);
}

bool message_get_delivery(slice in, struct delivery *out)
{
	struct deliver_target target;
	uint8_t keys;

	if (!take_version(&in) || !take_varint(&in, &out->blob) || !take_varint(&in, &out->low) ||
		!take_varint(&in, &out->size) || !take_signed(&in, &out->at) ||
		!take_u8(&in, &keys) || keys > MESSAGE_THREAD_KEYS_MAX)
		return false;
	out->key_count = keys;
	for (unsigned i = 0; i < keys; i++)
		if (!take_u64(&in, &out->keys[i]))
			return false;
	if (!take_field(&in, &out->summary) || out->summary.len > MESSAGE_SUMMARY_MAX ||
		!take_varint32(&in, &out->target_count) || out->target_count > MESSAGE_TARGETS_MAX)
		return false;
	out->targets = in;
	for (uint32_t i = 0; i < out->target_count; i++)
		if (!message_next_target(&in, &target))
			return false;
	return !in.len;
}

/* --- Changes --- */

void mailbox_put_change(struct out *o, const struct mailbox_change *change)
{
	out_u8(o, RECORD_VERSION);
	out_u8(o, change->kind);
	out_u8(o,
		(change->conditional ? CONDITIONAL : 0) | (change->all ? ALL : 0) |
			(change->wide ? WIDE : 0));
	out_u8(o, change->mode);
	out_u64(o, change->account);
	out_varint(o, change->mailbox);
	out_varint(o, change->to);
	out_varint(o, change->flags);
	out_varint(o, change->since);
	out_signed(o, change->at);
	out_field(o, change->name);
	out_field(o, change->other);
	out_slice(o, change->runs);
}

static bool parts_ok(const struct mailbox_change *c)
{
	switch (c->kind) {
	case CHANGE_STORE:
		return keywords_ok(c->other) && c->mode <= MESSAGE_REMOVE && keys_runs_ok(c->runs);
	case CHANGE_EXPUNGE:
	case CHANGE_COPY:
		return keys_runs_ok(c->runs);
	case CHANGE_INIT:
		return c->name.len <= KEYS_DOMAIN_MAX;
	case CHANGE_CREATE:
		return mailbox_name_ok(c->name);
	case CHANGE_RENAME:
		return mailbox_name_ok(c->name) && mailbox_name_ok(c->other);
	default:
		return true;
	}
}

bool mailbox_get_change(slice in, struct mailbox_change *out)
{
	uint8_t bits;

	if (!take_version(&in) || !take_u8(&in, &out->kind) || !take_u8(&in, &bits) ||
		!take_u8(&in, &out->mode) || !take_u64(&in, &out->account) ||
		!take_varint32(&in, &out->mailbox) || !take_varint32(&in, &out->to) ||
		!take_varint32(&in, &out->flags) || !take_varint(&in, &out->since) ||
		!take_signed(&in, &out->at) || !take_field(&in, &out->name) ||
		!take_field(&in, &out->other))
		return false;
	out->conditional = bits & CONDITIONAL;
	out->all = bits & ALL;
	out->wide = bits & WIDE;
	out->runs = in;
	return out->kind && out->kind < CHANGE_END && !(bits & ~(CONDITIONAL | ALL | WIDE)) &&
		out->name.len <= MAILBOX_NAME_MAX && !memchr(out->name.ptr, 0, out->name.len) &&
		parts_ok(out);
}

/* --- Names --- */

bool mailbox_name_ok(slice name)
{
	if (!name.len || name.len > MAILBOX_NAME_MAX || !text_is_utf8(name) || name.ptr[0] == '/' ||
		name.ptr[name.len - 1] == '/' || slice_search(name, SLICE("//")) >= 0)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f)
			return false;
	return true;
}

slice mailbox_name(slice name, char buf[MAILBOX_NAME_MAX])
{
	static const slice inbox = SLICE_INIT("INBOX");

	if (!slice_starts_nocase(name, inbox) || slice_starts(name, inbox) ||
		name.len > MAILBOX_NAME_MAX || (name.len > inbox.len && name.ptr[inbox.len] != '/'))
		return name;
	memcpy(buf, name.ptr, name.len);
	memcpy(buf, inbox.ptr, inbox.len);
	return slice_of(buf, name.len);
}

/* --- Outcomes --- */

void message_put_delivered(struct out *o, const struct delivered_row *row)
{
	out_u64(o, row->account);
	out_u32(o, row->at.mailbox);
	out_u32(o, row->at.uid_validity);
	out_u32(o, row->at.uid);
}

bool message_next_delivered(slice *in, struct delivered_row *out)
{
	return take_u64(in, &out->account) && take_u32(in, &out->at.mailbox) &&
		take_u32(in, &out->at.uid_validity) && take_u32(in, &out->at.uid);
}

/* Ids are dense, so they are mixed first; fixed for ever, since it says where rows are. */
unsigned mailbox_shard(uint64_t account, unsigned count)
{
	uint64_t n = account + UINT64_C(0x9e3779b97f4a7c15);

	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return (unsigned)((n ^ n >> 31) % count);
}
