/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck: the store is opened for reading only, then everything is looked at once.
 *
 * Frames and records first, then every row of every shard with its counters recounted, then the body
 * of every message a row names, then every copy in the archive. */
#include "store/check_int.h"

#include "store/index_probe.h"
#include "store/keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 256 * 1024 };

void check_say(struct check *ck, const char *fmt, ...)
{
	char line[512];
	va_list args;

	if (!ck->run->say)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	ck->run->say(ck->run->arg, line);
}

static void worse(struct check *ck, enum check_result result)
{
	ck->report->result = MAX(ck->report->result, result);
}

/* --- Journal --- */

static enum err count_record(void *arg, const struct journal_record *rec, slice payload)
{
	struct check *ck = arg;
	struct check_report *r = ck->report;

	r->messages += rec->type == JOURNAL_MESSAGE;
	r->chunks += rec->type == JOURNAL_CHUNK;
	if (rec->flags & JOURNAL_INDEXED && rec->pos >= index_position(ck->st->index))
		r->unapplied_records++;
	return OK;
}

static enum err check_journal(struct check *ck)
{
	struct check_report *r = ck->report;
	struct journal_walk walk = { .each = count_record, .arg = ck };
	enum err err = journal_walk(ck->st->journal, &walk);

	r->segments = walk.segments;
	r->frames = walk.frames;
	r->records = walk.records;
	r->bytes = walk.bytes;
	if (walk.bad_segments) {
		r->bad_frames += walk.bad_segments;
		check_say(ck, "journal: acknowledged frames are missing in %llu segments",
			(unsigned long long)walk.bad_segments);
		worse(ck, CHECK_LOST);
	}
	return err;
}

void check_gap(void *arg, const struct journal_gap *gap)
{
	struct check *ck = arg;
	char frames[64] = "nobody knows how many";

	if (gap->frames)
		snprintf(frames, sizeof(frames), "%llu", (unsigned long long)gap->frames);
	if (!gap->segment)
		check_say(ck, "journal: its end is missing: what stood behind segment %u is lost",
			gap->before);
	else if (gap->named == gap->before)
		check_say(ck, "journal: segment %u is damaged: %s of its frames are lost",
			gap->named, frames);
	else
		check_say(ck,
			"journal: segment %u is missing: between %u and %u %s frames are lost",
			gap->named, gap->before, gap->segment, frames);
	ck->report->bad_frames += MAX(gap->frames, UINT64_C(1));
	worse(ck, CHECK_LOST);
}

/* --- Bodies --- */

static enum err read_body(struct check *ck, uint64_t id)
{
	struct blob_reader r;
	size_t n = 1;
	enum err err = blob_open(&r, ck->st, id);

	while (!err && n)
		err = blob_read(&r, ck->buf, PIECE, &n);
	return err;
}

void check_body(struct check *ck, uint64_t id)
{
	enum err err = read_body(ck, id);

	if (!err)
		return;
	if (err == ERR_NOT_FOUND)
		ck->report->missing_bodies++;
	else
		ck->report->bad_bodies++;
	check_say(ck, "body %llx: %s", (unsigned long long)id, err_text(err));
	worse(ck, CHECK_LOST);
}

/* --- Rows --- */

struct rows {
	struct check *ck;
	struct keys_counts totals, counted; /* as the row says; as we count */
	/* Rows come in order of key: counters (C) before entries (Q) before the schedule (S). */
	uint64_t schedule_rows, early_rows, waiting, early_entries;
	uint64_t last_id;
};

static void bad_row(struct rows *rs, slice key, const char *what)
{
	rs->ck->report->bad_rows++;
	check_say(rs->ck, "index: row '%c' of %zu bytes: %s", key.len ? key.ptr[0] : '?', key.len,
		what);
	worse(rs->ck, CHECK_DAMAGED);
}

static bool has_row(struct index_txn *txn, const struct keys_buf *key)
{
	slice value;

	return index_get(txn, keys_slice(key), &value) == OK;
}

static void check_entry(struct rows *rs, struct index_txn *txn, slice key, slice value)
{
	struct schedule_entry e = { 0 };
	struct keys_buf other;

	if (!keys_parse_entry(key, &e.ref.id, &e.n) || !keys_get_entry(value, &e)) {
		bad_row(rs, key, "no entry");
		return;
	}
	rs->ck->report->entries++;
	rs->counted.bytes += e.ref.size;
	rs->counted.held += e.state == SCHEDULE_HELD;
	rs->counted.waiting += e.state != SCHEDULE_HELD;
	rs->early_entries += e.ref.low != e.ref.id;
	struct keys_due due = { .domain = e.domain,
		.lane = e.lane,
		.tenant = e.tenant,
		.due = e.due,
		.id = e.ref.id,
		.n = e.n };
	keys_schedule(&other, &due);
	if (e.state != SCHEDULE_HELD && !has_row(txn, &other))
		bad_row(rs, key, "not in the schedule");
	keys_name(&other, KEYS_COUNT, e.domain);
	if (!has_row(txn, &other))
		bad_row(rs, key, "its domain has no counters");
	if (e.ref.id != rs->last_id)
		check_body(rs->ck, e.ref.id);
	rs->last_id = e.ref.id;
}

static void check_schedule(struct rows *rs, struct index_txn *txn, slice key)
{
	struct keys_due due;
	struct keys_buf other;

	rs->schedule_rows++;
	if (!keys_parse_schedule(key, &due)) {
		bad_row(rs, key, "no schedule row");
		return;
	}
	keys_entry(&other, due.id, due.n);
	if (!has_row(txn, &other))
		bad_row(rs, key, "its entry is missing");
}

static void check_counts(struct rows *rs, slice key, slice value)
{
	struct keys_counts c;

	if (!keys_get_counts(value, &c)) {
		bad_row(rs, key, "no counters");
		return;
	}
	rs->counted.domains++;
	rs->totals.waiting += c.waiting;
	rs->totals.held += c.held;
	rs->totals.bytes += c.bytes;
}

static void check_row(struct rows *rs, struct index_txn *txn, slice key, slice value)
{
	struct check_report *r = rs->ck->report;
	const char *wrong = check_directory(txn, key, value);

	if (wrong)
		bad_row(rs, key, wrong);
	switch (key.ptr[0]) {
	case KEYS_ENTRY:
		check_entry(rs, txn, key, value);
		break;
	case KEYS_SCHEDULE:
		check_schedule(rs, txn, key);
		break;
	case KEYS_COUNT:
		check_counts(rs, key, value);
		break;
	case KEYS_EARLY:
		rs->early_rows++;
		break;
	case KEYS_ACCOUNT:
		r->accounts++;
		break;
	case KEYS_DOMAIN:
		r->domains++;
		break;
	case KEYS_KEY:
		r->keys += value.len && key.ptr[key.len - 1] == 0;
		break;
	default:
		break;
	}
}

static bool counts_differ(const struct keys_counts *a, const struct keys_counts *b)
{
	return a->waiting != b->waiting || a->held != b->held || a->bytes != b->bytes;
}

static void check_sums(struct rows *rs, struct index_txn *txn)
{
	struct keys_counts all = { 0 };
	struct keys_buf key;
	slice value;

	keys_name(&key, KEYS_TOTAL, SLICE(""));
	if (index_get(txn, keys_slice(&key), &value) == OK && !keys_get_counts(value, &all))
		bad_row(rs, keys_slice(&key), "no totals");
	if (counts_differ(&all, &rs->counted) || counts_differ(&rs->totals, &rs->counted) ||
		all.domains != rs->counted.domains || rs->schedule_rows != rs->counted.waiting ||
		rs->early_rows != rs->early_entries) {
		rs->ck->report->bad_counters++;
		check_say(rs->ck, "index: counters do not agree with the rows");
		worse(rs->ck, CHECK_DAMAGED);
	}
}

static enum err check_shard(struct index_txn *txn, void *arg)
{
	struct rows rs = { .ck = arg };
	struct index_cursor c = { 0 };
	enum err err = index_seek(txn, &c, SLICE("\0"), SLICE(""));

	while (!err) {
		if (c.key.len)
			check_row(&rs, txn, c.key, c.value);
		err = index_next(&c);
	}
	index_cursor_done(&c);
	check_sums(&rs, txn);
	return err == ERR_NOT_FOUND ? mailbox_check(rs.ck, txn) : err;
}

static enum err check_index(struct check *ck)
{
	enum err err = OK;

	for (unsigned i = 0; !err && i < index_shard_count(ck->st->index); i++)
		err = index_read_here(ck->st->index, i, check_shard, ck);
	return err;
}

/* --- Archive --- */

static bool check_copy(void *arg, uint64_t id, const struct archive_place *place)
{
	struct check *ck = arg;

	ck->report->archived++;
	if (!store_alive(ck->st, id)) {
		ck->report->dead_bodies++;
	} else if (archive_verify(ck->st->archive, id, place) && read_body(ck, id)) {
		ck->report->bad_bodies++;
		check_say(ck, "archive: copy of %llx is damaged", (unsigned long long)id);
		worse(ck, CHECK_LOST);
	}
	return true;
}

/* --- All of it --- */

enum err check_open(struct check *ck, bool read_only)
{
	char why[256] = "";
	struct store_options options = *ck->run->options;
	struct store_open args = { .options = &options, .why = why, .why_bytes = sizeof(why) };

	options.read_only = read_only;
	options.rebuilding = !read_only;
	enum err err = store_open(&args, &ck->st);
	if (err && err != ERR_UNSUPPORTED && err != ERR_BUSY)
		check_say(ck, "%s", why);
	return err;
}

enum err check_map(struct store *st)
{
	char path[STORE_PATH];
	enum err err = store_path(st, path, "archive/map") ? index_probe_folder(path) : ERR_INVALID;

	return err == ERR_NOT_FOUND ? OK : err;
}

/* Pages that would end us: ERR_CORRUPT. */
static enum err probe(struct check *ck, struct store *st)
{
	char path[STORE_PATH];
	unsigned bad = 0;
	enum err index =
		store_path(st, path, "index") ? index_probe_shards(path, &bad) : ERR_INVALID;
	enum err map = check_map(st);

	if (index == ERR_CORRUPT) {
		ck->report->bad_rows++;
		check_say(ck, "index: pages of shard %02u are missing or overwritten", bad);
	}
	if (map == ERR_CORRUPT)
		check_say(ck, "archive: pages of its map are missing or overwritten");
	return index ? index : map;
}

/* Locked, and nothing of it open. */
static enum err open_bare(struct check *ck, struct store **out, bool *out_new)
{
	struct store *st = calloc(1, sizeof(*st));

	*out = st;
	if (!st)
		return ERR_NOMEM;
	st->opt = *ck->run->options;
	st->opt.read_only = true;
	st->lock_fd = -1;
	snprintf(st->path, sizeof(st->path), "%s", st->opt.path);
	st->opt.path = st->path;
	return layout_open(st, out_new);
}

static void close_bare(struct store *st)
{
	if (st)
		layout_close(st);
	free(st);
}

/* Is there anything that would end us? Whatever else is wrong, opening the store tells. */
static bool is_deadly(struct check *ck)
{
	struct store *st;
	bool is_new = false;
	bool deadly = !open_bare(ck, &st, &is_new) && !is_new && probe(ck, st) == ERR_CORRUPT;

	close_bare(st);
	return deadly;
}

/* The store that cannot be opened: does its journal lack something? */
static enum err look_at_journal(struct check *ck)
{
	struct store *st;
	bool is_new = false;
	enum err err = open_bare(ck, &st, &is_new);

	if (!err && !is_new) {
		struct journal_look look = { .options = &st->opt,
			.store_id = st->id,
			.position = check_index_farthest(st),
			.each = check_gap,
			.arg = ck };

		err = journal_look(&look);
	}
	close_bare(st);
	return err;
}

static enum err verify(struct check *ck)
{
	enum err err = is_deadly(ck) ? ERR_CORRUPT : check_open(ck, true);

	if (err == ERR_CORRUPT || err == ERR_IO) {
		worse(ck, CHECK_DAMAGED);
		return look_at_journal(ck);
	}
	if (err)
		return err;
	err = check_journal(ck);
	if (!err)
		err = check_index(ck);
	if (!err)
		err = archive_each(ck->st->archive, check_copy, ck);
	store_close(ck->st);
	ck->st = NULL;
	return err;
}

enum err check_store(const struct check_run *run, struct check_report *out)
{
	struct check_report report = { 0 };
	struct check ck = { .run = run, .report = &report, .buf = malloc(PIECE) };

	if (!ck.buf)
		return ERR_NOMEM;
	enum err err = run->rebuild ? check_rebuild(&ck) : OK;
	if (!err)
		err = verify(&ck);
	if (!err && run->rebuild && report.result == CHECK_CLEAN)
		report.result = CHECK_REPAIRED;
	free(ck.buf);
	if (!err)
		*out = report;
	return err;
}

int check_exit_status(enum check_result result)
{
	return result == CHECK_LOST ? 2 : result == CHECK_DAMAGED ? 1 : 0;
}
