/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A new index from what is not the index: the last snapshot, the history of freed segments, the
 * journal; and, when these leave a gap, the archived bodies themselves.
 *
 * The old index is put aside first and never removed. Records are applied by the code that always
 * applies them, so without a gap the new index is the old one, row by row. */
#include "store/check_int.h"

#include "core/file.h"
#include "store/history.h"
#include "store/index_probe.h"
#include "store/keys_mailbox.h"
#include "store/message_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { COPY_BYTES = 1024 * 1024, FEED_BYTES = 16 * 1024 * 1024 };

struct rebuild {
	struct check *ck;
	struct store *st; /* half open: no archive, no mover */
	journal_pos last; /* of the records fed so far */
	uint64_t fed;
	/* As journal_look found them: */
	journal_pos lost_to, replay;
	bool end_lost, mended;
};

/* --- Putting the old one aside --- */

static enum err put_aside(struct store *st, const char *name)
{
	char from[STORE_PATH], to[STORE_PATH + 32];

	if (!store_path(st, from, name))
		return ERR_INVALID;
	if (file_exists(from) == ERR_NOT_FOUND)
		return file_make_dir(from);
	for (unsigned n = 1; n < 10000; n++) {
		snprintf(to, sizeof(to), "%s.old-%u", from, n);
		if (file_exists(to) == OK)
			continue;
		enum err err = file_rename(from, to);
		if (!err)
			err = file_make_dir(from);
		return err ? err : file_sync_dir(st->path);
	}
	return ERR_LIMIT;
}

static enum err copy_file(const char *from, const char *to)
{
	struct file *in, *out = NULL;
	char *buf = malloc(COPY_BYTES);
	size_t n = 1;
	uint64_t at = 0;
	enum err err = buf ? file_open(from, FILE_READ, &in) : ERR_NOMEM;

	if (err) {
		free(buf);
		return err;
	}
	err = file_open(to, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &out);
	while (!err && n) {
		err = file_read(in, buf, COPY_BYTES, at, &n);
		if (!err && n)
			err = file_write(out, slice_of(buf, n), at, 0);
		at += n;
	}
	if (!err)
		err = file_sync(out);
	file_close(out);
	file_close(in);
	free(buf);
	return err;
}

/* Shard by shard; ERR_NOT_FOUND: there is no snapshot. */
static enum err copy_snapshot(struct store *st, wall_ms *out_at)
{
	char name[SNAPSHOT_NAME], copy[STORE_PATH];
	unsigned bad;
	enum err err = snapshot_current(st->path, name, out_at);

	for (unsigned i = 0; !err && i < st->shards; i++) {
		char from[STORE_PATH + 64], to[STORE_PATH + 64];

		snprintf(to, sizeof(to), "%s/index/%02u", st->path, i);
		err = file_make_dir(to);
		snprintf(from, sizeof(from), "%s/%s/%02u/data.mdb", st->path, name, i);
		snprintf(to, sizeof(to), "%s/index/%02u/data.mdb", st->path, i);
		if (!err)
			err = copy_file(from, to);
	}
	if (!err)
		err = store_path(st, copy, "index") ? index_probe_shards(copy, &bad) : ERR_INVALID;
	return err;
}

/* --- Records --- */

static enum err feed(void *arg, const struct journal_record *rec, slice payload)
{
	struct rebuild *rb = arg;
	struct index *ix = rb->st->index;

	if (!(rec->flags & JOURNAL_INDEXED) || rec->pos <= rb->last)
		return OK;
	rb->last = rec->pos;
	rb->fed += payload.len;
	rb->ck->report->restored_entries += rec->type == JOURNAL_PARK;
	index_feed(ix, rec, payload);
	if (index_behind(ix))
		return ERR_NOMEM;
	if (rb->fed < FEED_BYTES)
		return OK;
	rb->fed = 0;
	index_advance(ix, rec->pos + 1, true);
	return index_wait(ix, rec->pos, 0);
}

/* The journal applies what it has by itself when it is opened: all of it, since the new index is
 * behind. Before that comes what stands in the history. */
static enum err apply_history(struct rebuild *rb, bool *out_gap)
{
	struct store *st = rb->st;
	struct history_read read = { .path = st->path, .each = feed, .arg = rb };
	enum err err = history_each(&read);

	*out_gap |= read.damaged > 0; /* what stood behind is missing */
	if (read.damaged)
		check_say(rb->ck, "history: %llu files end in damage",
			(unsigned long long)read.damaged);
	if (!err && rb->last) {
		index_advance(st->index, rb->last + 1, true);
		err = index_wait(st->index, rb->last, 0);
	}
	return err;
}

static enum err open_index(struct rebuild *rb)
{
	char path[STORE_PATH];
	struct store *st = rb->st;

	if (!store_path(st, path, "index"))
		return ERR_INVALID;
	struct index_open args = { .path = path,
		.options = &st->opt,
		.store_id = st->id,
		.shards = st->shards,
		.create = true };
	return index_open(&args, &st->index);
}

static enum err apply_journal(struct rebuild *rb)
{
	struct store *st = rb->st;
	struct journal_open args = { .options = &st->opt,
		.path = st->path,
		.store_id = st->id,
		.index = st->index,
		.from_oldest = true };
	enum err err = journal_open(&args, &st->journal);

	journal_close(st->journal);
	st->journal = NULL;
	return err;
}

/* From where on every record is known: 0, or the snapshot must reach it. */
static void tell_gap(struct rebuild *rb, bool snapshot, bool *out_gap)
{
	struct check_report *r = rb->ck->report;
	journal_pos begin = 0, have = snapshot ? index_position(rb->st->index) : 0;

	if (history_begin(rb->st->path, &begin))
		begin = UINT64_MAX;
	begin = MAX(begin, rb->lost_to);
	*out_gap = begin > have;
	if (!*out_gap)
		return;
	r->gap_records_from = have;
	r->gap_records_to = begin;
	check_say(rb->ck, "index: what happened between %llx and %llx is not known any more",
		(unsigned long long)have, (unsigned long long)begin);
}

static enum err mend_journal(struct rebuild *rb, journal_pos position)
{
	struct journal_look look = { .options = &rb->st->opt,
		.store_id = rb->st->id,
		.position = position,
		.mend = true,
		.each = check_gap,
		.arg = rb->ck };
	enum err err = journal_look(&look);

	rb->lost_to = MAX(rb->lost_to, look.end);
	rb->replay = look.replay;
	rb->mended |= look.gaps > 0;
	rb->end_lost |= look.end_lost;
	return err;
}

static enum err rebuild_index(struct rebuild *rb, bool *out_gap)
{
	enum err err = put_aside(rb->st, "index");
	bool snapshot = false;

	if (!err) {
		err = copy_snapshot(rb->st, &rb->ck->report->snapshot);
		snapshot = !err;
		if (err && err != ERR_NOT_FOUND) {
			check_say(rb->ck, "snapshot: %s; going on without", err_text(err));
			err = put_aside(rb->st, "index");
		} else {
			err = OK;
		}
	}
	if (!err)
		err = open_index(rb);
	if (!err) /* the copy may know more than the journal has */
		err = mend_journal(rb, index_farthest(rb->st->index));
	if (!err)
		tell_gap(rb, snapshot, out_gap);
	if (!err)
		err = apply_history(rb, out_gap);
	if (!err)
		err = apply_journal(rb);
	index_close(rb->st->index);
	rb->st->index = NULL;
	return err;
}

/* --- The archive's map --- */

static enum err rebuild_map(struct rebuild *rb)
{
	struct store *st = rb->st;
	char path[STORE_PATH];
	struct archive_rebuilt made;

	if (!store_path(st, path, "archive"))
		return ERR_INVALID;
	struct archive_open args = { .path = path, .options = &st->opt, .store_id = st->id };
	enum err err = check_map(st);
	if (!err)
		err = archive_open(&args, &st->archive);
	if (err) {
		args.create = args.rebuild = true;
		err = put_aside(st, "archive/map");
		if (!err)
			err = archive_open(&args, &st->archive);
		if (!err)
			err = archive_rebuild(st->archive, &made);
		if (!err)
			check_say(rb->ck,
				"archive: map made again, %llu bodies, %llu bytes without",
				(unsigned long long)made.found,
				(unsigned long long)made.skipped_bytes);
	}
	archive_close(st->archive);
	st->archive = NULL;
	return err;
}

/* --- Bodies no row names, when records are missing --- */

/* What is known of a recipient from later records stands. Its row is said once more: the record that parked
 * it may be lost, and the queue would send what it finds in the journal and in the index. */
static bool say_again(struct check *ck, const struct schedule_entry *e)
{
	struct schedule_name name = { .id = e->ref.id, .n = e->n, .domain = e->domain };
	struct schedule_entry found;
	struct arena a = { 0 };
	bool there = schedule_get(ck->st, &name, &a, &found) == OK;

	if (there && schedule_park(ck->st, &found))
		check_say(ck, "body %llx: recipient %u could not be parked",
			(unsigned long long)e->ref.id, e->n);
	arena_done(&a);
	return there;
}

bool check_has_recipient(struct check *ck, const struct blob_ref *ref, slice meta, uint32_t n)
{
	struct schedule_entry e = { 0 };

	return ck->run->restore(ck->run->arg, ref, meta, n, &e);
}

bool check_restore_entry(struct check *ck, const struct blob_ref *ref, slice meta, uint32_t n)
{
	struct schedule_entry e = { 0 };

	if (!ck->run->restore(ck->run->arg, ref, meta, n, &e))
		return false;
	e.ref = *ref;
	e.n = n;
	e.state = SCHEDULE_HELD;
	if (say_again(ck, &e))
		return true;
	if (schedule_park(ck->st, &e) == OK)
		ck->report->held_entries++;
	else
		check_say(ck, "body %llx: recipient %u could not be restored",
			(unsigned long long)ref->id, n);
	return true;
}

/* Into the mailbox it was in when it was copied, or the account's INBOX. */
static enum err deliver_again(struct check *ck, struct deliver *d, struct deliver_target *t)
{
	struct deliver_many one = { .messages = d, .len = 1 };
	struct delivered at;
	enum err err = message_deliver_many(ck->st, &one, &at, NULL);

	if (err != ERR_NOT_FOUND)
		return err;
	t->mailbox = MAILBOX_INBOX;
	err = mailbox_account_init(ck->st, t->account, SLICE(""));
	return err ? err : message_deliver_many(ck->st, &one, &at, NULL);
}

/* What the delivery part says of this account; other accounts' deliveries had their own rows. */
static void take_target(struct delivery *had, struct deliver_target *t)
{
	struct deliver_target found;

	while (message_next_target(&had->targets, &found))
		if (found.account == t->account) {
			found.mailbox = t->mailbox;
			*t = found;
			return;
		}
}

/* True: it is in a mailbox. */
static bool restore_mail(struct check *ck, const struct blob_ref *ref,
	const struct archive_place *place, slice part)
{
	struct archive_owner owner;
	struct keys_place there;
	struct delivery had = { 0 };

	if (archive_owner(ck->st->archive, place, &owner) || !owner.account)
		return false;
	if (store_owner(ck->st, ref->id, &there) == OK)
		return true;
	struct deliver_target t = {
		.account = owner.account, .mailbox = owner.mailbox, .received = place->at
	};
	if (part.len && message_get_delivery(part, &had))
		take_target(&had, &t);
	struct deliver d = { .summary = had.summary,
		.thread_keys = had.keys,
		.thread_key_count = had.key_count,
		.targets = &t,
		.target_count = 1,
		.blob = ref->id,
		.low = ref->low,
		.size = ref->size };
	if (deliver_again(ck, &d, &t) == OK)
		ck->report->restored_messages++;
	else
		check_say(ck, "body %llx: could not be put into a mailbox again",
			(unsigned long long)ref->id);
	return true;
}

static bool restore_body(void *arg, uint64_t id, const struct archive_place *place)
{
	struct check *ck = arg;
	struct arena a = { 0 };
	struct blob_ref ref = { .id = id, .low = id, .size = place->body_len };
	struct blob_front front = { 0 };
	struct blob_reader r;
	uint32_t n = 0;

	bool known = blob_open(&r, ck->st, id) == OK && blob_front(&r, &a, &front) == OK;
	bool mail = restore_mail(ck, &ref, place, front.deliver);
	while (known && front.meta.len && ck->run->restore &&
		check_restore_entry(ck, &ref, front.meta, n))
		n++;
	if (!n && !mail)
		check_say(ck, "body %llx: its recipients are not known", (unsigned long long)id);
	arena_done(&a);
	return true;
}

/* Whatever the snapshot said about the queue may have ended since: nothing is sent by itself. */
static enum err hold_all(struct check *ck)
{
	struct schedule_filter filter = { .states = 1u << SCHEDULE_READY | 1u << SCHEDULE_DEFERRED,
		.limit = 256 };
	enum err err = OK;

	do {
		struct arena a = { 0 };
		struct schedule_page page;

		err = schedule_read(ck->st, &filter, &a, &page);
		for (size_t i = 0; !err && i < page.len; i++) {
			const struct schedule_entry *e = &page.entries[i];
			struct schedule_change change = {
				.id = e->ref.id, .n = e->n, .domain = e->domain, .hold = true
			};

			err = schedule_set_hold(ck->st, &change);
			ck->report->held_entries++;
		}
		if (!err)
			filter.from = page.next;
		arena_done(&a);
	} while (!err && !filter.from.end);
	return err;
}

/* --- Uids that may mean something else now --- */

enum { ACCOUNTS_A_READ = 1024 };

struct accounts {
	uint64_t after, ids[ACCOUNTS_A_READ];
	size_t len;
};

static enum err read_accounts(struct index_txn *txn, void *arg)
{
	struct accounts *all = arg;
	struct index_cursor c = { 0 };
	struct keys_buf prefix, from;
	slice rest;

	keys_name(&prefix, KEYS_USAGE, SLICE(""));
	keys_account(&from, KEYS_USAGE, all->after + 1);
	all->len = 0;
	enum err err = index_seek(txn, &c, keys_slice(&from), keys_slice(&prefix));
	while (!err && all->len < array_len(all->ids)) {
		if (!keys_parse_account(c.key, &all->after, &rest))
			err = ERR_CORRUPT;
		all->ids[all->len++] = all->after;
		if (!err)
			err = index_next(&c);
	}
	index_cursor_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

/* Uids that were given in the gap would be given again: RFC 9051 2.3.1.1. */
static enum err renew_shard(struct check *ck, unsigned shard)
{
	struct accounts *all = calloc(1, sizeof(*all));
	enum err err = all ? OK : ERR_NOMEM;

	do {
		if (!err)
			err = index_read_here(ck->st->index, shard, read_accounts, all);
		for (size_t i = 0; !err && i < all->len; i++) {
			err = mailbox_account_renew(ck->st, all->ids[i]);
			ck->report->renewed_accounts += !err;
			if (err == ERR_NOT_FOUND) /* dropped */
				err = OK;
		}
	} while (!err && all->len);
	free(all);
	return err;
}

static enum err renew_all(struct check *ck)
{
	enum err err = OK;

	for (unsigned i = 0; !err && i < index_shard_count(ck->st->index); i++)
		err = renew_shard(ck, i);
	if (ck->report->renewed_accounts)
		check_say(ck, "mailboxes: %llu accounts got a new UIDVALIDITY",
			(unsigned long long)ck->report->renewed_accounts);
	return err;
}

static enum err fill_gap(struct check *ck, journal_pos lost_to)
{
	enum err err = check_open(ck, false);

	if (err)
		return err;
	err = hold_all(ck);
	if (!err)
		err = renew_all(ck);
	if (!err)
		err = archive_each(ck->st->archive, restore_body, ck);
	if (!err)
		err = check_hold_unfinished(ck, 0, lost_to);
	if (!err) /* what a later rebuild begins with, or the same gap would be met again */
		err = store_snapshot(ck->st);
	store_close(ck->st);
	ck->st = NULL;
	return err;
}

/* --- A journal with a gap --- */

static enum err open_old_index(struct store *st)
{
	char path[STORE_PATH];
	struct index_open args = {
		.path = path, .options = &st->opt, .store_id = st->id, .shards = st->shards
	};
	unsigned bad;
	enum err err = store_path(st, path, "index") ? index_probe_shards(path, &bad) : ERR_INVALID;

	return err ? err : index_open(&args, &st->index);
}

static void close_old_index(struct store *st)
{
	index_close(st->index);
	st->index = NULL;
}

journal_pos check_index_farthest(struct store *st)
{
	journal_pos farthest = open_old_index(st) ? 0 : index_farthest(st->index);

	close_old_index(st);
	return farthest;
}

/* An index that had applied what was lost knows more than any that could be made now. */
static bool index_knows(struct rebuild *rb)
{
	bool knows = !open_old_index(rb->st) && index_position(rb->st->index) >= rb->lost_to;

	close_old_index(rb->st);
	return knows;
}

/* Behind the replay point ends of recipients stand in the journal alone. The copy is what a later rebuild
 * begins with. */
static enum err keep_index(const struct rebuild *rb)
{
	struct check *ck = rb->ck;
	enum err err = check_open(ck, false);

	if (err)
		return err;
	check_say(ck, "index: it knows what was lost, and stays");
	/* But behind its own end it knows nothing. */
	if (rb->end_lost)
		err = hold_all(ck);
	if (!err && rb->end_lost)
		err = renew_all(ck);
	if (!err)
		err = check_hold_unfinished(ck, rb->replay, rb->lost_to);
	if (!err)
		err = store_snapshot(ck->st);
	store_close(ck->st);
	ck->st = NULL;
	return err;
}

enum err check_rebuild(struct check *ck)
{
	struct store *st = calloc(1, sizeof(*st));
	struct rebuild rb = { .ck = ck, .st = st };
	bool is_new = false, gap = false, keep = false;

	if (!st)
		return ERR_NOMEM;
	st->opt = *ck->run->options;
	snprintf(st->path, sizeof(st->path), "%s", st->opt.path);
	st->opt.path = st->path;
	enum err err = layout_open(st, &is_new);
	if (err == ERR_CORRUPT)
		check_say(ck,
			"its file `store` is missing or damaged, and the rest cannot be read "
			"without");
	if (!err && is_new)
		err = ERR_NOT_FOUND;
	if (!err)
		err = layout_rebuilding(st, true);
	if (!err)
		err = mend_journal(&rb, check_index_farthest(st));
	keep = !err && rb.mended && index_knows(&rb);
	if (!err && !keep)
		err = rebuild_index(&rb, &gap);
	if (!err)
		err = rebuild_map(&rb);
	layout_close(st);
	if (!err && keep)
		err = keep_index(&rb);
	if (!err && gap)
		err = fill_gap(ck, rb.lost_to);
	if (!err)
		err = layout_rebuilding(st, false);
	free(st);
	return err;
}
