/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing messages: records made, outcomes read. */
#include "store/message.h"

#include "core/base/runs.h"
#include "store/message_int.h"
#include "store/store_int.h"

enum { RUN_BYTES = 10 };

/* --- Delivery --- */

enum err message_delivered(struct store *st, modseq pos, uint64_t account, struct delivered *out)
{
	struct index_ask ask = { .pos = pos, .shard = mailbox_home(st, account) };
	struct arena a = { 0 };
	struct delivered_row row;
	slice in = { "", 0 };
	enum err err = index_outcome(st->index, &ask, &a, &in);

	if (!err)
		err = ERR_NOT_FOUND;
	while (err == ERR_NOT_FOUND && message_next_delivered(&in, &row)) {
		if (row.account != account)
			continue;
		*out = row.at;
		err = OK;
	}
	arena_done(&a);
	return err;
}

/* Each in a field of its own. */
static enum err put_deliveries(struct out *o, const struct deliver_many *args, wall_ms at)
{
	for (size_t i = 0; i < args->len; i++) {
		const struct deliver *d = &args->messages[i];
		enum err err =
			d->blob && d->target_count == 1 ? message_check_delivery(d) : ERR_INVALID;

		if (err)
			return err;
		struct delivery_body body = {
			.size = d->size, .low = d->low < d->blob ? d->low : 0, .at = at
		};
		struct out one = out_heap(message_delivery_bytes(d));
		message_put_delivery(&one, d, &body);
		out_field(o, out_written(&one));
		bool good = out_ok(&one);
		out_heap_done(&one);
		if (!good)
			return ERR_NOMEM;
	}
	return out_ok(o) ? OK : ERR_TOO_LARGE;
}

enum err message_deliver_many(struct store *st, const struct deliver_many *args,
	struct delivered *out_first, modseq *out_pos)
{
	struct arena a = { 0 };
	struct mailbox_ran ran = { 0 };
	struct delivered_row row;
	wall_ms at = mailbox_clock();

	if (!args->len)
		return ERR_INVALID;
	const struct deliver_target *t = args->messages[0].targets;
	struct mailbox_change c = {
		.kind = CHANGE_DELIVER, .account = t->account, .mailbox = t->mailbox, .at = at
	};
	struct out o = out_heap(journal_record_max(st->journal));
	enum err err = put_deliveries(&o, args, at);
	c.runs = out_written(&o);
	if (!err)
		err = mailbox_run(st, &c, &a, &ran);
	if (!err && !message_next_delivered(&ran.outcome, &row))
		err = ERR_CORRUPT;
	if (!err)
		*out_first = row.at;
	if (out_pos)
		*out_pos = ran.pos;
	out_heap_done(&o);
	arena_done(&a);
	return err;
}

/* --- Changes of a set of uids --- */

/* The record with the set in it; outcome in the arena. */
static enum err run_set(struct store *st, struct mailbox_change *c, const struct runs *uids,
	struct arena *a, struct mailbox_ran *out)
{
	struct out o = out_heap(uids ? (size_t)uids->runs * RUN_BYTES : 0);

	if (uids)
		mailbox_put_runs(&o, uids);
	c->runs = out_written(&o);
	enum err err = out_ok(&o) ? mailbox_run(st, c, a, out) : ERR_NOMEM;
	out_heap_done(&o);
	return err;
}

enum err message_store(struct store *st, const struct message_store *args, modseq *out_pos)
{
	struct arena a = { 0 };
	struct mailbox_ran ran = { 0 };
	struct mailbox_change c = { .kind = CHANGE_STORE,
		.account = args->account,
		.mailbox = args->mailbox,
		.to = 1,
		.mode = (uint8_t)args->mode,
		.flags = args->flags & MESSAGE_FLAGS,
		.conditional = args->conditional,
		.since = args->later || args->conditional ? args->unchanged_since : 0,
		.other = args->keywords };
	struct deliver_target probe = { .keywords = args->keywords };
	struct deliver check = { .targets = &probe, .target_count = 1 };

	if (message_check_delivery(&check))
		return ERR_LIMIT;
	enum err err = run_set(st, &c, args->uids, &a, &ran);
	if (!err && args->later && !mailbox_take_runs(ran.outcome, args->later))
		err = ERR_NOMEM;
	if (!err && out_pos)
		*out_pos = ran.pos;
	arena_done(&a);
	return err;
}

/* As many runs as one record names; the first uid that is left, 0: none is. */
static uint32_t put_some_runs(struct out *o, const struct runs *uids, uint32_t from)
{
	struct runs_walk walk = { .set = uids, .from = from };
	struct run run;
	uint32_t last = 0;

	for (unsigned left = MESSAGE_CHANGE_MAX; runs_walk_next(&walk, &run); left--) {
		if (!left)
			return run.first;
		keys_put_run(o, &last, &run);
	}
	return 0;
}

enum err message_expunge(struct store *st, const struct message_expunge *args,
	struct message_gone *out)
{
	struct arena a = { 0 };
	struct mailbox_ran ran = { 0 };
	uint8_t more;
	struct mailbox_change c = { .kind = CHANGE_EXPUNGE,
		.account = args->account,
		.mailbox = args->mailbox,
		.mode = args->any,
		.flags = MESSAGE_EXPUNGE_MAX,
		.all = !args->uids };
	struct out runs = out_heap(args->uids ? MESSAGE_CHANGE_MAX * RUN_BYTES : 0);
	uint32_t rest = args->uids ? put_some_runs(&runs, args->uids, out->next) : 0;

	c.runs = out_written(&runs);
	enum err err = out_ok(&runs) ? mailbox_run(st, &c, &a, &ran) : ERR_NOMEM;
	if (!err && !take_u8(&ran.outcome, &more))
		err = ERR_CORRUPT;
	if (!err && !mailbox_take_runs(ran.outcome, out->gone))
		err = ERR_NOMEM;
	if (!err) {
		out->pos = ran.pos;
		out->more = more || rest;
		/* Those that went are the first of the set. */
		out->next = args->uids && more ? runs_last(out->gone) + 1 : rest;
	}
	out_heap_done(&runs);
	arena_done(&a);
	return err;
}

enum err message_copy(struct store *st, const struct message_copy *args, struct message_copied *out)
{
	struct arena a = { 0 };
	struct mailbox_ran ran = { 0 };
	uint32_t validity, first;
	struct mailbox_change c = { .kind = CHANGE_COPY,
		.account = args->account,
		.mailbox = args->from,
		.to = args->to,
		.mode = args->move,
		.wide = true,
		.at = mailbox_clock() };
	enum err err = run_set(st, &c, args->uids, &a, &ran);

	if (!err && (!take_u32(&ran.outcome, &validity) || !take_u32(&ran.outcome, &first)))
		err = ERR_CORRUPT;
	if (!err && !mailbox_take_runs(ran.outcome, out->source))
		err = ERR_NOMEM;
	if (!err) {
		out->uid_validity = validity;
		out->first_uid = first;
	}
	out->pos = ran.pos;
	arena_done(&a);
	return err;
}
