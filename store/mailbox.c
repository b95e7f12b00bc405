/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing mailboxes: one record each, decided when it is applied. */
#include "store/mailbox.h"

#include "core/base/runs.h"
#include "store/message_int.h"
#include "store/store_int.h"

enum { PURGE_ROWS = 2000, DROP_ROWS = 1000, CHANGE_BYTES = 1024 };

wall_ms mailbox_clock(void)
{
	struct worker *w = worker_self();

	return w ? worker_wall(w) : clock_wall();
}

void mailbox_put_runs(struct out *o, const struct runs *runs)
{
	struct runs_walk walk = { .set = runs };
	struct run run;
	uint32_t last = 0;

	while (runs_walk_next(&walk, &run))
		keys_put_run(o, &last, &run);
}

bool mailbox_take_runs(slice in, struct runs *runs)
{
	struct keys_runs bytes = { .in = in };
	struct run run;

	while (keys_next_run(&bytes, &run))
		if (!runs_add_range(runs, run.first, run.last))
			return false;
	return !bytes.in.len;
}

/* What brings bytes in waits for room like mail does; all else frees some in the end, or needs none. */
static uint8_t flags_of(const struct mailbox_change *c)
{
	bool grows = c->kind == CHANGE_DELIVER || c->kind == CHANGE_CREATE ||
		(c->kind == CHANGE_COPY && !c->mode);

	return grows ? JOURNAL_INDEXED : JOURNAL_INDEXED | JOURNAL_RESERVED;
}

enum err mailbox_run_in(struct store *st, const struct mailbox_change *change, unsigned shard,
	struct arena *a, struct mailbox_ran *out)
{
	struct out o =
		out_heap(CHANGE_BYTES + change->name.len + change->other.len + change->runs.len);
	struct index_ask ask = { .shard = shard };

	*out = (struct mailbox_ran){ .outcome = { "", 0 } };
	mailbox_put_change(&o, change);
	slice part = out_written(&o);
	struct journal_op op = { .type = JOURNAL_MAILBOX,
		.flags = flags_of(change),
		.shards = (uint16_t)(1u << ask.shard),
		.parts = &part,
		.part_count = 1 };
	enum err err = !out_ok(&o) ? ERR_NOMEM : OK;
	if (!err && part.len > journal_record_max(st->journal))
		err = ERR_TOO_LARGE;
	if (!err)
		err = journal_append(st->journal, &op);
	out_heap_done(&o);
	if (err)
		return err;
	ask.pos = out->pos = op.pos;
	return index_outcome(st->index, &ask, a, &out->outcome);
}

enum err mailbox_run(struct store *st, const struct mailbox_change *change, struct arena *a,
	struct mailbox_ran *out)
{
	return mailbox_run_in(st, change, mailbox_home(st, change->account), a, out);
}

/* For changes whose outcome has no bytes, or whose id alone is wanted. */
static enum err run(struct store *st, const struct mailbox_change *change, uint32_t *out_id,
	modseq *out_pos)
{
	struct arena a = { 0 };
	struct mailbox_ran ran;
	enum err err = mailbox_run(st, change, &a, &ran);
	slice in = ran.outcome;

	if (!err && out_id && !take_u32(&in, out_id))
		err = ERR_CORRUPT;
	if (!err && out_pos)
		*out_pos = ran.pos;
	arena_done(&a);
	return err;
}

/* --- The account --- */

enum err mailbox_account_init(struct store *st, uint64_t account, slice domain)
{
	struct mailbox_change c = {
		.kind = CHANGE_INIT, .account = account, .at = mailbox_clock(), .name = domain
	};

	if (!account || domain.len > KEYS_DOMAIN_MAX || slice_find(domain, 0) >= 0)
		return ERR_INVALID;
	return run(st, &c, NULL, NULL);
}

enum err mailbox_account_drop(struct store *st, uint64_t account)
{
	struct mailbox_change c = {
		.kind = CHANGE_DROP, .account = account, .at = mailbox_clock(), .flags = DROP_ROWS
	};
	uint8_t more;
	enum err err;

	do {
		struct arena a = { 0 };
		struct mailbox_ran ran;

		err = mailbox_run(st, &c, &a, &ran);
		if (!err && !take_u8(&ran.outcome, &more))
			err = ERR_CORRUPT;
		arena_done(&a);
		c.conditional = true;
	} while (!err && more);
	return err;
}

enum err mailbox_account_renew(struct store *st, uint64_t account)
{
	struct mailbox_change c = {
		.kind = CHANGE_RENEW, .account = account, .at = mailbox_clock()
	};

	return run(st, &c, NULL, NULL);
}

/* --- Names --- */

/* Whoever looks a name up from now on waits for this change, if it is not committed by then: so nobody
 * who makes one has to. */
static enum err change_names(struct store *st, const struct mailbox_change *c, uint32_t *out_id,
	modseq *out_pos)
{
	_Atomic journal_pos *at = &st->names_at[c->account % STORE_NAMES_SLOTS];
	modseq pos, known = atomic_load(at);
	enum err err = run(st, c, out_id, &pos);

	if (err)
		return err;
	while (known < pos && !atomic_compare_exchange_weak(at, &known, pos))
		;
	if (out_pos)
		*out_pos = pos;
	return OK;
}

enum err mailbox_create(struct store *st, const struct mailbox_create *args, uint32_t *out_id,
	modseq *out_pos)
{
	char buf[MAILBOX_NAME_MAX];
	struct mailbox_change c = { .kind = CHANGE_CREATE,
		.account = args->account,
		.at = mailbox_clock(),
		.flags = args->use,
		.to = (uint32_t)st->opt.mailboxes_max,
		.name = mailbox_name(args->name, buf) };
	uint32_t id;

	if (!mailbox_name_ok(c.name))
		return ERR_INVALID;
	enum err err = change_names(st, &c, &id, out_pos);
	if (!err && out_id)
		*out_id = id;
	return err;
}

enum err mailbox_delete(struct store *st, uint64_t account, slice name, modseq *out_pos)
{
	char buf[MAILBOX_NAME_MAX];
	struct mailbox_change c = { .kind = CHANGE_DELETE,
		.account = account,
		.at = mailbox_clock(),
		.name = mailbox_name(name, buf) };

	return mailbox_name_ok(c.name) ? change_names(st, &c, NULL, out_pos) : ERR_NOT_FOUND;
}

/* The messages of INBOX, a record for some thousands: what a crash leaves behind is still there. */
static enum err empty_inbox(struct store *st, uint64_t account, uint32_t to, modseq *out_pos)
{
	char buf[16];
	struct out o = out_fixed(buf, sizeof(buf));
	uint32_t last = 0, first;
	slice in;
	enum err err;

	keys_put_run(&o, &last, &(struct run){ .first = 1, .last = UINT32_MAX });
	do {
		struct arena a = { 0 };
		struct mailbox_ran ran;
		struct mailbox_change c = { .kind = CHANGE_COPY,
			.account = account,
			.at = mailbox_clock(),
			.mailbox = MAILBOX_INBOX,
			.to = to,
			.flags = MESSAGE_CHANGE_MAX,
			.mode = true,
			.runs = out_written(&o) };

		err = mailbox_run(st, &c, &a, &ran);
		in = ran.outcome;
		if (!err && (!take_u32(&in, &first) || !take_u32(&in, &first)))
			err = ERR_CORRUPT;
		if (!err && out_pos)
			*out_pos = ran.pos;
		arena_done(&a);
	} while (!err && in.len);
	return err;
}

enum err mailbox_rename(struct store *st, const struct mailbox_rename *args, modseq *out_pos)
{
	char from[MAILBOX_NAME_MAX], to[MAILBOX_NAME_MAX];
	struct mailbox_change c = { .kind = CHANGE_RENAME,
		.account = args->account,
		.at = mailbox_clock(),
		.to = (uint32_t)st->opt.mailboxes_max,
		.name = mailbox_name(args->from, from),
		.other = mailbox_name(args->to, to) };
	uint32_t id;

	if (!mailbox_name_ok(c.name))
		return ERR_NOT_FOUND;
	if (!mailbox_name_ok(c.other))
		return ERR_INVALID;
	enum err err = change_names(st, &c, &id, out_pos);
	if (!err && slice_eq(c.name, SLICE("INBOX")))
		err = empty_inbox(st, args->account, id, out_pos);
	return err;
}

enum err mailbox_subscribe(struct store *st, uint64_t account, slice name, bool on)
{
	char buf[MAILBOX_NAME_MAX];
	struct mailbox_change c = { .kind = CHANGE_SUBSCRIBE,
		.account = account,
		.at = mailbox_clock(),
		.mode = on,
		.to = (uint32_t)st->opt.mailboxes_max,
		.name = mailbox_name(name, buf) };

	return mailbox_name_ok(c.name) ? change_names(st, &c, NULL, NULL) : ERR_INVALID;
}

/* --- Purge --- */

static enum err find_dropped(struct index_txn *txn, void *arg)
{
	struct mailbox_change *c = arg;
	struct index_cursor cursor = { 0 };
	struct keys_buf prefix;

	keys_name(&prefix, KEYS_PURGE, SLICE(""));
	enum err err = index_seek(txn, &cursor, keys_slice(&prefix), keys_slice(&prefix));
	if (!err && !keys_parse_mailbox(cursor.key, &c->account, &c->mailbox))
		err = ERR_CORRUPT;
	index_cursor_done(&cursor);
	return err;
}

enum err mailbox_purge_step(struct store *st, bool *out_more)
{
	enum err err = ERR_NOT_FOUND;

	*out_more = false;
	for (unsigned i = 0; err == ERR_NOT_FOUND && i < index_shard_count(st->index); i++) {
		struct mailbox_change c = { .kind = CHANGE_PURGE, .flags = PURGE_ROWS };
		modseq pos;

		err = index_read(st->index, i, find_dropped, &c);
		if (err)
			continue;
		err = run(st, &c, NULL, &pos);
		/* The next step looks at what is committed. */
		if (!err)
			err = index_sync(st->index, pos, i);
		*out_more = !err;
	}
	return err == ERR_NOT_FOUND ? OK : err;
}
