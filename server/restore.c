/* SPDX-License-Identifier: GPL-2.0-or-later */
/* restore.c - one envelope, its recipients as entries on hold.
 *
 * The envelope is decoded once per message, and serves all of its recipients. */
#include "server/restore.h"

#include "relay/sched.h"

static bool decode(struct restore *r, const struct blob_ref *ref, slice meta)
{
	if (r->id == ref->id && r->env.rcpt_count)
		return true;
	arena_reset(&r->arena);
	r->env = (struct envelope){ 0 };
	r->id = ref->id;
	return envelope_decode(meta, &r->arena, &r->env) == OK;
}

bool restore_entry(struct restore *r, const struct blob_ref *ref, slice meta, uint32_t n,
	struct schedule_entry *out)
{
	struct out tail = out_fixed(r->tail, sizeof(r->tail));
	const struct envelope_rcpt *rcpt;
	struct sched_tail kept;

	if (!decode(r, ref, meta) || n >= r->env.rcpt_count)
		return false;
	rcpt = &r->env.rcpts[n];
	kept = (struct sched_tail){ .sender = r->env.sender,
		.recipient = rcpt->address,
		.held_by = SLICE("restored by fsck") };
	sched_tail_put(&kept, &tail);
	*out = (struct schedule_entry){ .ref = *ref,
		.n = n,
		.lane = r->env.lane,
		.state = SCHEDULE_HELD,
		.domain = envelope_domain(rcpt->address),
		.due = r->env.received_at,
		.first_seen = r->env.received_at,
		.expires = r->env.received_at + r->relay->limits.expire_ms,
		.tail = out_written(&tail) };
	return out_ok(&tail);
}

void restore_done(struct restore *r)
{
	arena_done(&r->arena);
}
