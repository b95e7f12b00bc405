/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_render.c - the answers to commands read ahead.
 *
 * What the index says is asked for many commands at once, on a helper thread in one transaction; bodies
 * are read straight into the piece, and copied only when a dot in them is to be doubled. Commands take
 * effect strictly in their order: rows are only what the index said, numbers are looked up when their
 * turn comes. */
#include "server/pop3/pop3_work.h"

#include <stdlib.h>

#include "core/job.h"
#include "server/uidl.h"

enum { LINE_ROOM = 128, AHEAD_ROWS = 32, WARM_ROWS = 500 };
enum { EXPECT_BYTES = 4 * 1024 * 1024, EXPECT_EACH = 256 * 1024 }; /* of bodies in the archive */

static struct pop3_drop *drop_of(struct pop3_work *k)
{
	return k->session->drop;
}

static struct store *store_of(struct pop3_work *k)
{
	return k->session->head.door->store;
}

static size_t room(const struct pop3_work *k)
{
	return k->out.cap - k->out.len;
}

/* --- Rows --------------------------------------------------------------------------------------------- */

/* RFC 1939 11: of what is sent, which ends with a line end. */
static uint64_t size_of(const struct message_row *row)
{
	return row->m.size + (row->open_end ? POP3_LINE_END : 0);
}

static bool take_row(void *arg, const struct message_row *row)
{
	struct pop3_work *k = arg;

	if (k->row_count == POP3_ROWS_MAX)
		return false;
	k->rows[k->row_count++] = (struct pop3_row){ .uid = row->m.uid,
		.copy = row->m.created != row->m.blob,
		.blob = row->m.blob,
		.size = size_of(row),
		.splice = arena_dup(&k->arena, row->splice),
		.uidl = arena_dup(&k->arena, row->uidl) };
	return true;
}

static bool wants_body(const struct pop3_item *item)
{
	return item->kind == POP3_RETR || item->kind == POP3_TOP;
}

/* Splices are kept with the summary, ids that came with a message, and how it ends. */
static unsigned wants(struct pop3_work *k, const struct pop3_item *item)
{
	if (wants_body(item))
		return MESSAGE_WANT_SUMMARY;
	return item->kind == POP3_UIDL || drop_of(k)->snap->open_ends ? MESSAGE_WANT_UIDL : 0;
}

/* Also of what a command before may mark as deleted: that is looked at when its turn comes. */
static enum err name_uids(struct pop3_work *k, struct runs *uids, unsigned *want)
{
	for (; k->rows_end < k->len && k->rows_end < k->at + POP3_ROWS_MAX; k->rows_end++) {
		const struct pop3_item *item = &k->items[k->rows_end];
		uint32_t uid = item->number ? runs_nth(&drop_of(k)->snap->uids, item->number) : 0;

		if (uid && !runs_add(uids, uid))
			return ERR_NOMEM;
		if (uid)
			*want |= wants(k, item);
	}
	return OK;
}

/* Bodies in the archive are found by its index, which is not to be read on a worker. */
static void find_archived(struct pop3_work *k)
{
	struct blob_stretch stretch = { 0 };
	uint64_t expected = 0;

	for (unsigned i = 0; i < k->row_count; i++) {
		struct pop3_row *row = &k->rows[i];
		struct blob_reader r;

		if (!blob_is_archived(store_of(k), row->blob) ||
			blob_open(&r, store_of(k), row->blob))
			continue;
		row->archived = arena_alloc(&k->arena, sizeof(r));
		*row->archived = r;
		if (expected < EXPECT_BYTES)
			blob_expect(&stretch, row->archived, EXPECT_EACH);
		expected += MIN(row->size, (uint64_t)EXPECT_EACH);
	}
	blob_expect_end(&stretch);
}

/* On a helper thread. */
static void find_rows(void *arg)
{
	struct pop3_work *k = arg;
	struct runs uids = { 0 };
	struct message_scan scan = { .account = drop_of(k)->account,
		.mailbox = MAILBOX_INBOX,
		.uids = &uids,
		.each = take_row,
		.arg = k };

	arena_reset(&k->arena);
	k->rows = arena_array(&k->arena, struct pop3_row, POP3_ROWS_MAX);
	k->row_count = 0;
	k->rows_end = k->at;
	k->rows_err = name_uids(k, &uids, &scan.want);
	if (!k->rows_err)
		k->rows_err = message_scan_here(store_of(k), &scan);
	runs_done(&uids);
	if (scan.want & MESSAGE_WANT_SUMMARY)
		find_archived(k);
}

static const struct pop3_row *row_of(const struct pop3_work *k, uint32_t uid)
{
	unsigned low = 0, high = k->row_count;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (k->rows[mid].uid == uid)
			return &k->rows[mid];
		if (k->rows[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* NULL: removed by another session, or (k->rows_err) nobody knows. */
static const struct pop3_row *find_row(struct pop3_work *k)
{
	if (k->at >= k->rows_end)
		job_run(find_rows, k);
	return k->rows_err ? NULL : row_of(k, k->items[k->at].uid);
}

static const char *gone_text(enum err err)
{
	return err ? "-ERR [SYS/TEMP] Cannot read the mailbox for now\r\n" :
		     "-ERR [SYS/PERM] The message was removed by another session\r\n";
}

/* --- Listings and marks ------------------------------------------------------------------------------- */

/* RFC 1939 7: unique and the same for ever. Copies share their body's ids, and are other messages. */
static void put_uidl(struct out *o, const struct pop3_row *row)
{
	if (!row->copy && uidl_may_be_shown(row->uidl))
		out_slice(o, row->uidl);
	else
		uidl_put_own(o, row->blob, row->copy ? row->uid : 0);
}

static void put_list_line(struct pop3_work *k, uint32_t number, const struct pop3_row *row)
{
	enum pop3_item_kind kind = k->items[k->at].kind;

	out_uint(&k->out, number);
	out_char(&k->out, ' ');
	if (kind == POP3_UIDL)
		put_uidl(&k->out, row);
	else
		out_uint(&k->out, row->size);
	out_str(&k->out, "\r\n");
}

static bool list_row(void *arg, const struct message_row *row)
{
	struct pop3_work *k = arg;
	uint32_t number = runs_rank(&drop_of(k)->snap->uids, row->m.uid);
	struct pop3_row line = { .uid = row->m.uid,
		.copy = row->m.created != row->m.blob,
		.blob = row->m.blob,
		.size = size_of(row),
		.uidl = row->uidl };

	if (room(k) < LINE_ROOM)
		return false;
	if (!pop3_marks_has(&drop_of(k)->deleted, number))
		put_list_line(k, number, &line);
	return true;
}

static void list_begins(struct pop3_work *k)
{
	struct pop3_drop *d = drop_of(k);

	if (k->items[k->at].kind == POP3_LIST)
		out_printf(&k->out, "+OK %u messages (%llu octets)\r\n", pop3_drop_count(d),
			(unsigned long long)(d->snap->bytes - d->deleted_bytes));
	else
		out_str(&k->out, "+OK\r\n");
	k->midway = true;
	k->next_uid = 1;
}

static struct message_scan listing_scan(struct pop3_work *k)
{
	return (struct message_scan){ .account = drop_of(k)->account,
		.mailbox = MAILBOX_INBOX,
		.uids = &drop_of(k)->snap->uids,
		.want = wants(k, &k->items[k->at]),
		.from = k->next_uid,
		.each = list_row,
		.arg = k };
}

/* On a helper thread. */
static void list_some(void *arg)
{
	struct pop3_work *k = arg;
	struct message_scan scan = listing_scan(k);

	k->broken = message_scan_here(store_of(k), &scan) != OK;
	k->next_uid = scan.next;
}

/* True: the item is done. */
static bool list_all(struct pop3_work *k)
{
	struct message_scan scan;

	if (!k->midway)
		list_begins(k);
	scan = listing_scan(k);
	if (drop_of(k)->snap->uids.count >= WARM_ROWS)
		message_warm(store_of(k), &scan);
	job_run(list_some, k);
	if (k->next_uid || k->broken)
		return false;
	out_str(&k->out, ".\r\n");
	return true;
}

static void list_one(struct pop3_work *k)
{
	const struct pop3_row *row = find_row(k);

	if (!row) {
		out_str(&k->out, gone_text(k->rows_err));
		return;
	}
	out_str(&k->out, "+OK ");
	put_list_line(k, k->items[k->at].number, row);
}

/* What is answered -ERR is not marked: QUIT must not remove it. */
static void delete_one(struct pop3_work *k)
{
	const struct pop3_row *row = find_row(k);
	struct pop3_drop *d = drop_of(k);

	if (!row) {
		out_str(&k->out, gone_text(k->rows_err));
	} else if (!pop3_marks_add(&d->deleted, k->items[k->at].number, d->snap->uids.count)) {
		out_str(&k->out, gone_text(ERR_NOMEM));
	} else {
		d->deleted_bytes += row->size;
		out_str(&k->out, "+OK\r\n");
	}
}

/* --- A message ------------------------------------------------------------------------------------------ */

/* Neighbours in the maildrop are mostly neighbours on the disk, and asked for one after the other. */
static void look_ahead(struct pop3_work *k)
{
	struct blob_coming coming[AHEAD_ROWS];
	size_t len = 0;

	for (unsigned i = k->at; i < k->rows_end && len < AHEAD_ROWS; i++) {
		if (!wants_body(&k->items[i]))
			continue;
		const struct pop3_row *row =
			row_of(k, runs_nth(&drop_of(k)->snap->uids, k->items[i].number));
		if (row && row->archived)
			break;
		if (row)
			coming[len++] = (struct blob_coming){ row->blob, row->size };
	}
	if (len < 2)
		return;
	if (!k->ahead.buf) {
		k->ahead.buf = malloc(POP3_AHEAD_BYTES);
		k->ahead.cap = k->ahead.buf ? POP3_AHEAD_BYTES : 0;
	}
	blob_read_ahead(&k->ahead, store_of(k), coming, len);
}

static enum err open_body(struct pop3_work *k, const struct pop3_row *row)
{
	if (row->archived) {
		k->reader = *row->archived;
		return OK;
	}
	if (!blob_is_ahead(&k->ahead, row->blob))
		look_ahead(k);
	return blob_open_near(&k->reader, store_of(k), row->blob, &k->ahead);
}

/* The answer begins only when the body is there to be read. */
static bool message_begins(struct pop3_work *k)
{
	const struct pop3_item *item = &k->items[k->at];
	const struct pop3_row *row = find_row(k);
	enum err err = row ? open_body(k, row) : k->rows_err;

	if (err || !row) {
		out_str(&k->out, gone_text(err));
		return false;
	}
	if (item->kind == POP3_TOP)
		pop3_dots_top(&k->dots, item->lines);
	else
		pop3_dots_init(&k->dots);
	out_str(&k->out, "+OK ");
	out_uint(&k->out, row->size);
	out_str(&k->out, " octets\r\n");
	k->splice_left = row->splice;
	k->read_left = (slice){ 0 };
	k->midway = true;
	return true;
}

static bool at_end(const struct pop3_work *k)
{
	return k->dots.done ||
		(!k->splice_left.len && !k->read_left.len &&
			k->reader.offset == k->reader.ref.size);
}

/* Straight into the piece, where there is room. What cannot stay so is left to be put byte for byte.
 * False: nothing was read. */
static bool read_direct(struct pop3_work *k, struct out *o)
{
	size_t free_bytes = o->cap - o->len, n = 0;
	uint64_t left = k->reader.ref.size - k->reader.offset;
	size_t want = (size_t)MIN(left, (uint64_t)POP3_READ_BYTES);

	if (k->dots.limited || free_bytes < want)
		return false;
	k->broken = blob_read(&k->reader, o->buf + o->len, want, &n) != OK;
	if (k->broken)
		return true;
	slice bytes = slice_of(o->buf + o->len, n);
	if (pop3_dots_pass(&k->dots, bytes)) {
		o->len += n;
		return true;
	}
	memcpy(k->read, bytes.ptr, n);
	k->read_left = slice_of(k->read, n);
	return true;
}

static void read_aside(struct pop3_work *k)
{
	size_t n = 0;

	k->broken = blob_read(&k->reader, k->read, sizeof(k->read), &n) != OK;
	k->read_left = slice_of(k->read, k->broken ? 0 : n);
}

/* As much as there is room for. */
static void put_body(struct pop3_work *k, struct out *o)
{
	pop3_dots_put(&k->dots, &k->splice_left, o);
	while (!k->splice_left.len && !k->broken && !at_end(k) && o->cap - o->len > 1) {
		if (!k->read_left.len && !read_direct(k, o))
			read_aside(k);
		pop3_dots_put(&k->dots, &k->read_left, o);
	}
}

/* True: the item is done. */
static bool send_message(struct pop3_work *k)
{
	if (!k->midway && !message_begins(k))
		return true;
	struct out body = k->out;

	body.cap -= POP3_DOTS_END; /* kept free for the end */
	put_body(k, &body);
	k->out.len = body.len;
	if (k->broken || !at_end(k))
		return false;
	pop3_dots_end(&k->dots, &k->out);
	k->session->retrieved += k->items[k->at].kind == POP3_RETR;
	return true;
}

/* --- One command after the other ------------------------------------------------------------------------ */

static void put_stat(struct pop3_drop *d, struct out *o)
{
	out_printf(o, "+OK %u %llu\r\n", pop3_drop_count(d),
		(unsigned long long)(d->snap->bytes - d->deleted_bytes));
}

void pop3_put_small(struct pop3_session *s, enum pop3_item_kind kind, struct out *o)
{
	if (kind == POP3_STAT) {
		put_stat(s->drop, o);
		return;
	}
	if (kind == POP3_RSET) {
		pop3_marks_done(&s->drop->deleted);
		s->drop->deleted_bytes = 0;
	}
	out_str(o, kind == POP3_BAD_ARGS ? "-ERR Syntax error in arguments\r\n" : "+OK\r\n");
}

/* Numbers mean what the commands before have made of them. False: no such message. */
static bool resolve(struct pop3_work *k)
{
	struct pop3_item *item = &k->items[k->at];

	if (item->number && !k->midway)
		item->uid = pop3_drop_uid(drop_of(k), item->number);
	return item->uid || !item->number;
}

/* True: the item is done. */
static bool render(struct pop3_work *k)
{
	const struct pop3_item *item = &k->items[k->at];

	if (!resolve(k)) {
		out_str(&k->out, "-ERR No such message\r\n");
		return true;
	}
	switch ((enum pop3_item_kind)item->kind) {
	case POP3_BAD_ARGS:
	case POP3_NOOP:
	case POP3_STAT:
	case POP3_RSET:
		pop3_put_small(k->session, item->kind, &k->out);
		return true;
	case POP3_RETR:
	case POP3_TOP:
		return send_message(k);
	case POP3_DELE:
		delete_one(k);
		return true;
	case POP3_LIST:
	case POP3_UIDL:
		if (!item->uid)
			return list_all(k);
		list_one(k);
		return true;
	}
	return true;
}

void pop3_fill(struct pop3_work *k)
{
	while (k->at < k->len && room(k) >= 2 * LINE_ROOM) {
		if (!render(k))
			return;
		k->midway = false;
		k->at++;
	}
}
