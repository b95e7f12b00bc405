/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store as a whole: opening in the right order, appending messages, health. */
#include "store/store_int.h"

#include "core/conf.h"
#include "store/apply.h"
#include "store/frame.h"
#include "store/keys.h"
#include "store/message_int.h"
#include "store/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROW(name_, type_, member, def_, min_, max_, doc_)                                   \
	{                                                                                   \
		.name = name_, .type = type_, .at = offsetof(struct store_options, member), \
		.def = def_, .min = min_, .max = max_, .doc = doc_                          \
	}
#define KB (INT64_C(1) << 10)
#define MB (INT64_C(1) << 20)
#define GB (INT64_C(1) << 30)

/* The largest numbers keep arithmetic safe, not anybody from a large disk. */
static const struct conf_row rows[] = {
	ROW("store.segment", CONF_SIZE, segment_bytes, "64M", 1 * MB, 1 * GB,
		"Size of a journal segment, a multiple of 1M."),
	ROW("store.journal_max", CONF_SIZE, journal_max_bytes, "0", 0, 1024 * GB,
		"All journal segments together; 0: an eighth of the disk, 1G to 16G."),
	ROW("store.reserve", CONF_SIZE, reserve_bytes, "256M", 0, 1024 * GB,
		"New mail is refused (452) when less room than this is left on the disk."),
	ROW("store.replay_max", CONF_SIZE, replay_max_bytes, "1G", 4 * MB, 1024 * GB,
		"How much journal a start may have to read; older mail in RAM is parked before."),
	ROW("store.cache", CONF_SIZE, cache_bytes, "64M", 4 * MB, 64 * GB,
		"Recent journal writes kept in RAM, so that a delivery at once reads no disk."),
	ROW("store.body_ram", CONF_SIZE, body_ram_bytes, "256M", 1 * MB, 1024 * GB,
		"RAM of all messages still arriving; beyond it they wait."),
	ROW("store.spill", CONF_SIZE, spill_bytes, "256K", 16 * KB, 512 * KB,
		"A body larger than this goes to the journal while it arrives."),
	ROW("store.move_rate", CONF_SIZE, move_bytes_per_s, "32M", 64 * KB, 64 * GB,
		"Bytes a second that compacting the archive may copy."),
	ROW("store.map", CONF_SIZE, map_bytes, "64M", 4 * MB, 1024 * GB,
		"First size of the map of an index shard; it grows by itself."),
	ROW("store.gather", CONF_DURATION, gather_ms, "100ms", 1, 1000,
		"Between commits of the index while nobody waits for one."),
	ROW("store.snapshot_interval", CONF_DURATION, snapshot_interval_ms, "1d", 0, 0,
		"Between copies of the index for a rebuild; 0: only on demand."),
	ROW("store.history_max", CONF_SIZE, history_max_bytes, "256M", 1 * MB, 1024 * GB,
		"A copy of the index is made early when more than this (and more than the index) "
		"was logged since the last."),
	ROW("store.shards", CONF_INT, shards, "0", 0, INDEX_SHARDS_MAX,
		"Shards of the index, fixed when it is made; 0: half the cores."),
	ROW("store.mailboxes", CONF_INT, mailboxes_max, "10000", 10, 1000000,
		"Mailboxes an account may have, and as many subscriptions."),
	ROW("store.archive_live", CONF_INT, archive_live_percent, "50", 1, 95,
		"Archive segments with a smaller share of live bytes are compacted, percent."),
	ROW("store.nosync", CONF_BOOL, nosync, "no", 0, 0,
		"For benchmarks only: acknowledge mail that a power failure would lose."),
};

static void check_options(struct conf_check *check, const void *options)
{
	const struct store_options *o = options;

	if (o->segment_bytes % MB)
		conf_complain(check, "store.segment", "allowed: a multiple of 1M");
}

const struct conf_table store_conf_table = { CONF_TABLE(rows, struct store_options),
	.check = check_options };

struct store_options store_options_default(void)
{
	return (struct store_options){ .segment_bytes = 64 * MB,
		.reserve_bytes = 256 * MB,
		.replay_max_bytes = 1 * GB,
		.cache_bytes = 64 * MB,
		.body_ram_bytes = 256 * MB,
		.spill_bytes = 256 * KB,
		.move_bytes_per_s = 32 * MB,
		.map_bytes = 64 * MB,
		.gather_ms = 100,
		.snapshot_interval_ms = INT64_C(86400) * 1000,
		.history_max_bytes = 256 * MB,
		.mailboxes_max = 10000,
		.archive_live_percent = 50 };
}

/* --- Opening --- */

/* One more release is needed before the message's journal segment may go. */
static void hold(struct store *st, const struct blob_ref *ref)
{
	journal_hold(st->journal, ref->low);
}

static void replay_message(struct store *st, const struct journal_record *rec, slice payload)
{
	struct frame_message m;

	if (!frame_get_message(payload, payload.len, &m))
		return;
	struct blob_ref ref = { .id = rec->pos, .low = m.low ? m.low : rec->pos, .size = m.size };
	uint32_t end = frame_table_at(&m);
	slice meta = slice_sub(payload, end - m.meta_len, end);
	if (!meta.len)
		return; /* nothing of the queue's: rows name it, or nobody was told of it */
	/* Without an owner of the queue everything stays needed. */
	if (!st->ops || !st->ops->message || st->ops->message(st->ops_arg, &ref, m.at, meta))
		hold(st, &ref);
}

static void replay_record(void *arg, const struct journal_record *rec, slice payload)
{
	struct store *st = arg;
	struct schedule_entry entry;
	struct schedule_done end;

	if (rec->type == JOURNAL_MESSAGE)
		replay_message(st, rec, payload);
	if (!st->ops)
		return;
	if (rec->type == JOURNAL_PARK && st->ops->park && keys_get_park(payload, &entry))
		st->ops->park(st->ops_arg, &entry);
	if (rec->type == JOURNAL_DONE && st->ops->done && keys_get_done(payload, &end))
		st->ops->done(st->ops_arg, end.id, end.n);
}

static enum err open_index(struct store *st, bool create)
{
	char path[STORE_PATH];

	if (!store_path(st, path, "index"))
		return ERR_INVALID;
	struct index_open args = {
		.path = path, .options = &st->opt, .store_id = st->id, .create = create
	};
	args.shards = st->shards;
	return index_open(&args, &st->index);
}

static enum err open_archive(struct store *st, bool create)
{
	char path[STORE_PATH];

	if (!store_path(st, path, "archive"))
		return ERR_INVALID;
	struct archive_open args = {
		.path = path, .options = &st->opt, .store_id = st->id, .create = create
	};
	return archive_open(&args, &st->archive);
}

static enum err open_journal(struct store *st, bool create)
{
	struct journal_open args = { .options = &st->opt,
		.path = st->path,
		.store_id = st->id,
		.index = st->index,
		.create = create,
		.replay = replay_record,
		.arg = st };

	/* Replay holds messages, so it must see the journal as part of the store. */
	return journal_open(&args, &st->journal);
}

static const char the_journal[] = "the journal";

static enum err open_parts(struct store *st, const char **out_what)
{
	bool is_new = false;

	*out_what = "the data folder";
	enum err err = layout_open(st, &is_new);
	bool create = is_new && !st->opt.read_only;
	if (err == ERR_CORRUPT)
		*out_what = "its file `store`, without which the rest cannot be read";
	if (!err && !st->opt.rebuilding && layout_is_rebuilding(st)) {
		*out_what = "a rebuild did not come to its end; fsck --rebuild begins it anew";
		err = ERR_CORRUPT;
	}
	if (!err) {
		*out_what = "the index";
		err = open_index(st, create);
	}
	if (!err) {
		*out_what = "the archive";
		err = open_archive(st, create);
	}
	if (!err)
		err = blobs_new(st);
	if (!err)
		err = accounts_new(st);
	if (!err)
		err = watches_new(st);
	if (!err)
		err = rooms_new(st);
	if (!err)
		index_on_commit(st->index, watches_tell, st);
	if (!err) {
		*out_what = the_journal;
		err = open_journal(st, create);
	}
	if (!err)
		err = mover_new(st);
	if (!err && create)
		err = layout_settle(st);
	return err;
}

static void keep_gap(void *arg, const struct journal_gap *gap)
{
	*(struct journal_gap *)arg = *gap;
}

/* What is known of a journal that is not whole, beside its name: whether a segment is gone. */
static void say_gap(struct store *st, char *out, size_t bytes)
{
	struct journal_gap gap = { 0 };
	struct store_options options = st->opt;
	struct journal_look look = { .options = &options,
		.store_id = st->id,
		.position = index_farthest(st->index),
		.heads_only = true,
		.each = keep_gap,
		.arg = &gap };

	options.read_only = true;
	enum err err = journal_look(&look);
	if (!err && look.end_lost)
		snprintf(out, bytes,
			"its end is missing, behind segment %u: a file of the folder journal was "
			"lost or "
			"overwritten; `fsck` tells more, `fsck --rebuild` brings back the rest",
			gap.before);
	else if (!err && look.gaps)
		snprintf(out, bytes,
			"segment %u is missing, and %u follows it: a file of the folder journal "
			"was "
			"lost or overwritten; `fsck` tells more, `fsck --rebuild` brings back the "
			"rest",
			gap.named, gap.segment);
	else
		snprintf(out, bytes, "%s: `fsck` tells more", err_text(ERR_CORRUPT));
}

static void say_why(struct store *st, const struct store_open *args, enum err err, const char *what)
{
	char text[320];

	if (!args->why || store_other_format(st->path, args->why, args->why_bytes))
		return;
	snprintf(text, sizeof(text), "%s", err_text(err));
	if (err == ERR_CORRUPT && what == the_journal)
		say_gap(st, text, sizeof(text));
	snprintf(args->why, args->why_bytes, "%s/: %s: %s", st->path, what, text);
}

static void free_store(struct store *st)
{
	/* Index jobs end before the journal goes: close waited for them. */
	journal_close(st->journal);
	mover_free(st);
	accounts_free(st);
	blobs_free(st);
	archive_close(st->archive);
	index_close(st->index);
	watches_free(st);
	rooms_free(st);
	layout_close(st);
	free(st);
}

enum err store_open(const struct store_open *args, struct store **out)
{
	struct store *st = calloc(1, sizeof(*st));
	const char *what;

	if (!st)
		return ERR_NOMEM;
	st->opt = *args->options;
	st->lock_fd = -1;
	snprintf(st->path, sizeof(st->path), "%s", args->options->path);
	st->opt.path = st->path;
	st->worker = worker_self();
	st->ops = args->ops;
	st->ops_arg = args->arg;
	st->queue_owner = args->ops != NULL;
	enum err err = open_parts(st, &what);
	if (err) {
		say_why(st, args, err, what);
		free_store(st);
		return err;
	}
	st->ops = NULL;
	mover_start(st);
	*out = st;
	return OK;
}

void store_close(struct store *st)
{
	if (!st)
		return;
	atomic_store(&st->stopping, true);
	mover_stop(st);
	blobs_stop(st);
	journal_pos end = journal_durable(st->journal);
	if (!st->opt.read_only && end && !index_behind(st->index)) {
		index_advance(st->index, end, true);
		/* What could not be committed is in the journal, and will be again. */
		(void)!index_wait(st->index, end - 1, 0);
	}
	free_store(st);
}

void store_abandon(struct store *st)
{
	index_abandon(st->index);
	archive_abandon_all(st->archive);
}

/* --- Messages --- */

/* The record's parts: head, delivery part, meta, chunk table, the caller's head, blocks. */
struct assembly {
	char head[FRAME_MESSAGE_HEAD];
	struct out deliver, table;
	slice *parts;
	struct journal_op op;
};

static size_t record_bytes(const struct store_message *msg)
{
	size_t n = FRAME_MESSAGE_HEAD + msg->meta.len + msg->head.len;

	if (msg->deliver)
		n += message_delivery_bytes(msg->deliver);
	if (msg->body)
		n += msg->body->chunk_count * (size_t)FRAME_CHUNK_ROW + msg->body->ram;
	return n;
}

static enum err fit(struct store *st, const struct store_message *msg)
{
	size_t max = journal_record_max(st->journal);
	struct blob_writer *b = msg->body;

	if (msg->meta.len > STORE_META_MAX || msg->head.len > STORE_HEAD_MAX)
		return ERR_TOO_LARGE;
	enum err err = msg->deliver ? message_check_delivery(msg->deliver) : OK;
	if (!err && b)
		err = blob_settle(b);
	if (!err && record_bytes(msg) > max && b)
		err = blob_spill_all(b);
	if (!err && record_bytes(msg) > max)
		err = ERR_TOO_LARGE;
	return err;
}

static enum err put_delivery(struct assembly *as, const struct store_message *msg,
	struct frame_message *m)
{
	struct delivery_body body = { .size = m->size, .low = m->low, .at = m->at };

	as->deliver = out_heap(message_delivery_bytes(msg->deliver));
	message_put_delivery(&as->deliver, msg->deliver, &body);
	m->deliver_len = (uint32_t)as->deliver.len;
	return out_ok(&as->deliver) ? OK : ERR_NOMEM;
}

static enum err assemble(const struct store *st, const struct store_message *msg,
	struct assembly *as)
{
	const struct blob_writer *b = msg->body;
	size_t blocks = b ? blob_part_count(b) : 0, n = 0;
	struct frame_message m = { .at = msg->at,
		.size = msg->head.len + (b ? b->size : 0),
		.meta_len = (uint32_t)msg->meta.len,
		.chunk_count = b ? b->chunk_count : 0,
		.head_len = (uint32_t)msg->head.len,
		.tail_len = b ? (uint32_t)b->ram : 0,
		.low = b ? b->low : 0 };
	struct out o = out_fixed(as->head, sizeof(as->head));
	enum err err = msg->deliver ? put_delivery(as, msg, &m) : OK;

	frame_put_message(&o, &m);
	as->table = out_heap((size_t)m.chunk_count * FRAME_CHUNK_ROW);
	if (b)
		blob_put_chunks(b, &as->table);
	as->parts = calloc(blocks + 5, sizeof(*as->parts));
	if (err || !as->parts || !out_ok(&as->table))
		return err ? err : ERR_NOMEM;
	as->parts[n++] = out_written(&o);
	as->parts[n++] = out_written(&as->deliver);
	as->parts[n++] = msg->meta;
	as->parts[n++] = out_written(&as->table);
	as->parts[n++] = msg->head;
	if (b)
		blob_parts(b, &as->parts[n]);
	as->op = (struct journal_op){ .type = JOURNAL_MESSAGE,
		.flags = m.chunk_count ? 0 : JOURNAL_HOLD,
		.parts = as->parts,
		.part_count = (uint16_t)(n + blocks) };
	if (msg->deliver) {
		as->op.flags |= JOURNAL_INDEXED | (msg->ask ? JOURNAL_OUTCOME : 0);
		as->op.shards = message_delivery_shards(msg->deliver, st->shards);
	}
	return OK;
}

enum err store_message_append(struct store *st, const struct store_message *msg,
	struct blob_ref *out)
{
	struct assembly as = { 0 };
	struct blob_writer *b = msg->body;
	enum err why = OK;

	journal_refresh(st->journal);
	enum err err = store_accepting(st, &why) ? fit(st, msg) : why;
	if (!err)
		err = assemble(st, msg, &as);
	if (!err)
		err = journal_append(st->journal, &as.op);
	if (!err) {
		journal_pos pos = as.op.pos;

		*out = (struct blob_ref){ .id = pos,
			.low = b && b->low ? b->low : pos,
			.size = msg->head.len + (b ? b->size : 0) };
	}
	out_heap_done(&as.table);
	out_heap_done(&as.deliver);
	free(as.parts);
	if (b)
		blob_end(b, !err);
	/* Nobody else frees segments then. */
	if (!st->worker && st->queue_owner)
		(void)!mover_round(st, false);
	return err;
}

void store_release(struct store *st, const struct blob_ref *ref)
{
	journal_release(st->journal, ref->low);
}

/* --- Health --- */

journal_pos store_oldest_pressure(const struct store *st)
{
	struct journal_stats s;

	journal_stats(st->journal, &s);
	return s.pressure;
}

bool store_accepting(const struct store *st, enum err *why)
{
	struct journal_stats s;
	enum err err = OK;

	journal_stats(st->journal, &s);
	if (atomic_load_explicit(&st->stopping, memory_order_relaxed))
		err = ERR_STOPPED;
	else if (st->opt.read_only)
		err = ERR_DENIED;
	else if (s.refusing)
		err = s.refusing;
	else if (index_lag(st->index) > STORE_LAG_MAX || index_behind(st->index))
		err = ERR_BUSY;
	if (why)
		*why = err;
	return !err;
}

void store_end_waits(struct store *st)
{
	index_end_waits(st->index);
}

enum err store_show(struct store *st)
{
	journal_pos end = journal_durable(st->journal);

	return end ? index_wait(st->index, end - 1, 0) : OK;
}

/* --- Visibility --- */

modseq store_durable(const struct store *st)
{
	return journal_durable(st->journal);
}

enum err store_sync(struct store *st, uint64_t account, modseq pos)
{
	if (pos >= store_durable(st))
		return ERR_INVALID; /* nobody can say when that will be */
	return pos ? index_sync(st->index, pos, mailbox_shard(account, st->shards)) : OK;
}

enum err store_sync_all(struct store *st, uint64_t account)
{
	modseq end = store_durable(st);

	return end ? store_sync(st, account, end - 1) : OK;
}

enum err store_sync_everything(struct store *st)
{
	modseq end = store_durable(st);
	enum err err = OK;

	for (unsigned i = 0; end && !err && i < st->shards; i++)
		err = index_sync(st->index, end - 1, i);
	return err;
}

bool store_synced(const struct store *st, uint64_t account, modseq pos)
{
	return !pos || index_synced(st->index, pos, mailbox_shard(account, st->shards));
}

enum err store_snapshot(struct store *st)
{
	return snapshot_take(st);
}

/* Two of a segment, three of an environment; archive files that stay open; a snapshot, history, the lock. */
static uint64_t files_max(const struct store *st, const struct journal_stats *j)
{
	return 2 * j->segments_max + 3 * (st->shards + 1) + ARCHIVE_FILES_KEPT + 16;
}

void store_stats(const struct store *st, struct store_stats *out)
{
	struct journal_stats j;
	struct index_stats ix;
	struct archive_stats ar;

	journal_stats(st->journal, &j);
	index_stats(st->index, &ix);
	archive_stats(st->archive, &ar);
	*out = (struct store_stats){ .batches = j.batches,
		.records = j.records,
		.bytes_appended = j.bytes,
		.write_errors = j.errors,
		.segments_failed = j.segments_failed,
		.files_max = files_max(st, &j),
		.segments = j.segments,
		.segments_free = j.free,
		.segments_freed = j.freed,
		.replayed_records = j.replayed_records,
		.replayed_bytes = j.replayed_bytes,
		.held_messages = j.held,
		.body_ram_bytes = blobs_ram(st),
		.bodies_spilled = blobs_spilled(st),
		.cache_hits = j.hits,
		.cache_misses = j.misses,
		.archive_reads = ar.reads,
		.index_commits = ix.commits,
		.index_records = ix.records,
		.index_errors = ix.errors,
		.index_lag_bytes = ix.lag_bytes,
		.index_map_bytes = ix.map_bytes,
		.moved_bodies = ar.moved_bodies,
		.moved_bytes = ar.moved_bytes,
		.archive_segments = ar.segments,
		.archive_bytes = ar.bytes,
		.archive_live_bytes = ar.live_bytes,
		.history_bytes = atomic_load(&st->history),
		.damaged_bodies = atomic_load(&st->damaged),
		.disk_free_bytes = j.disk_free_bytes,
		.last_snapshot = atomic_load(&st->last_snapshot),
		.direct = j.direct,
		.nosync = st->opt.nosync };
}
