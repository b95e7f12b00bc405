/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deliveries, sets and scans in a line each, so that a test shows what it is about. */
#include "tests/store/mailbox_support.h"

#include "store/store_int.h"

#include <stdio.h>
#include <stdlib.h>

enum err deliver_one(struct store *st, struct delivering *d)
{
	struct blob_writer b = { 0 };
	char buf[8192];
	struct deliver_target target = { .account = d->account,
		.mailbox = d->mailbox,
		.flags = d->flags,
		.keywords = d->keywords,
		.splice = d->splice,
		.uidl = { "", 0 },
		.received = 1700000000000 + d->seed };
	struct deliver deliver = { .summary = d->summary,
		.thread_keys = d->thread_keys,
		.thread_key_count = d->thread_key_count,
		.targets = &target,
		.target_count = 1 };
	struct store_message msg = {
		.meta = { "", 0 }, .head = { "", 0 }, .body = &b, .deliver = &deliver, .ask = true
	};
	enum err err = OK;

	msg.at = 1700000000000 + d->seed;
	blob_begin(&b, st);
	for (size_t at = 0; !err && at < d->size;) {
		size_t n = MIN(d->size - at, sizeof(buf));

		body_bytes(d->seed, at, buf, n);
		err = blob_write_wait(&b, slice_of(buf, n));
		at += n;
	}
	if (err) {
		blob_drop(&b);
		return err;
	}
	err = store_message_append(st, &msg, &d->ref);
	if (!err)
		err = message_delivered(st, d->ref.id, d->account, &d->at);
	if (!err)
		store_release(st, &d->ref);
	return err;
}

struct runs runs_of(const char *text)
{
	struct runs runs = { 0 };
	char *end;

	while (*text) {
		uint32_t first = (uint32_t)strtoul(text, &end, 10), last = first;

		if (*end == ':')
			last = (uint32_t)strtoul(end + 1, &end, 10);
		must(runs_add_range(&runs, first, last));
		text = *end ? end + 1 : end;
	}
	return runs;
}

const char *runs_text(const struct runs *runs, char buf[256])
{
	struct out o = out_fixed(buf, 255);
	struct run run;

	for (uint32_t at = 1; at && runs_next(runs, at, &run); at = run.last + 1) {
		out_str(&o, o.len ? "," : "");
		out_uint(&o, run.first);
		if (run.last != run.first) {
			out_char(&o, ':');
			out_uint(&o, run.last);
		}
	}
	buf[o.len] = 0;
	return buf;
}

enum err copy_some(struct store *st, uint64_t account, const char *uids, uint32_t to)
{
	struct runs set = runs_of(uids), source = { 0 };
	struct message_copy args = {
		.account = account, .from = MAILBOX_INBOX, .to = to, .uids = &set
	};
	struct message_copied out = { .source = &source };
	enum err err = message_copy(st, &args, &out);

	runs_done(&set);
	runs_done(&source);
	return err;
}

void sync_all(struct store *st, uint64_t account)
{
	must(store_sync_all(st, account) == OK);
}

static bool take(void *arg, const struct message_row *row)
{
	struct scanned *all = arg;

	must(all->len < array_len(all->rows));
	all->rows[all->len++] = row->m;
	all->summary_len = row->summary.len;
	all->splice_len = row->splice.len;
	if (row->summary.len)
		memcpy(all->summary, row->summary.ptr, MIN(row->summary.len, sizeof(all->summary)));
	return true;
}

enum err scan_all(struct store *st, struct message_scan *scan, struct scanned *out)
{
	out->len = 0;
	scan->each = take;
	scan->arg = out;
	return message_scan(st, scan);
}

static enum err dump_shard(struct index_txn *txn, void *arg)
{
	struct out *o = arg;
	struct index_cursor c = { 0 };
	enum err err = index_seek(txn, &c, SLICE("\0"), SLICE(""));

	for (; !err; err = index_next(&c)) {
		if (c.key.ptr[0] == 'M')
			continue;
		out_field(o, c.key);
		out_field(o, c.value);
	}
	index_cursor_done(&c);
	return OK;
}

struct out index_rows(struct store *st)
{
	struct out o = out_heap(64 << 20);

	for (unsigned i = 0; i < index_shard_count(st->index); i++)
		must(index_read_here(st->index, i, dump_shard, &o) == OK);
	must(out_ok(&o));
	return o;
}
