/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_work.c - the verbs that read the maildrop: RETR TOP DELE LIST UIDL.
 *
 * Handlers only note what is wanted. A fiber then has a helper thread render the answers into one
 * buffer, sends it, and asks for more, so a message of any size passes through the same few
 * kilobytes and a slow reader costs nobody else. While the helper works the session does nothing, so
 * it may use what the session has. */
#include "server/pop3/pop3_int.h"

#include <stdlib.h>

#include "core/job.h"
#include "core/metric.h"
#include "proto/pop3/dots.h"
#include "store/blob.h"
#include "store/message.h"

enum { ITEMS_MAX = 64, BUFFER_BYTES = 64 * 1024, LINE_ROOM = 128, READ_BYTES = 16 * 1024 };

enum item_kind { ITEM_BAD_ARGS, ITEM_RETR, ITEM_TOP, ITEM_DELE, ITEM_LIST, ITEM_UIDL };

struct item {
	uint8_t kind;
	uint32_t number, uid; /* number 0: all */
	uint32_t lines;       /* of TOP */
};

/* The row of the item at hand. */
struct found {
	struct message m;
	uint16_t splice_len, uidl_len;
	bool there;
	char splice[MESSAGE_SPLICE_MAX], uidl[MESSAGE_UIDL_MAX];
};

struct pop3_work {
	struct pop3_session *session;
	struct item items[ITEMS_MAX];
	unsigned len, at;
	/* The helper's. */
	struct out out; /* over `buf` */
	char *buf;
	bool midway, broken; /* inside the item; broken: its answer had begun and cannot be ended */
	uint32_t next_uid;   /* of a listing */
	struct found row;
	slice splice_left, read_left;
	struct blob_reader reader;
	struct pop3_dots dots;
	char read[READ_BYTES];
};

/* --- Gathering ------------------------------------------------------------------------------------ */

static enum verdict add(struct pop3_session *s, struct item item)
{
	if (!s->work) {
		s->work = calloc(1, sizeof(*s->work));
		if (!s->work)
			return pop3_refuse(s, FAULT_BUSY);
		s->work->session = s;
	}
	s->work->items[s->work->len++] = item;
	return DONE;
}

bool pop3_work_full(const struct pop3_session *s)
{
	return s->work->len == ITEMS_MAX;
}

void pop3_work_drop(struct pop3_session *s)
{
	if (s->work)
		free(s->work->buf);
	free(s->work);
	s->work = NULL;
}

static enum verdict bad_args(struct pop3_session *s)
{
	return add(s, (struct item){ .kind = ITEM_BAD_ARGS });
}

static enum verdict one(struct pop3_session *s, slice rest, enum item_kind kind)
{
	struct item item = { .kind = (uint8_t)kind };

	return pop3_number(rest, &item.number) ? add(s, item) : bad_args(s);
}

enum verdict pop3_do_retr(struct pop3_session *s, slice rest)
{
	return one(s, rest, ITEM_RETR);
}

enum verdict pop3_do_dele(struct pop3_session *s, slice rest)
{
	return one(s, rest, ITEM_DELE);
}

enum verdict pop3_do_top(struct pop3_session *s, slice rest)
{
	struct pop3_top top;

	if (!pop3_top(rest, &top))
		return bad_args(s);
	return add(s, (struct item){ .kind = ITEM_TOP, .number = top.number, .lines = top.lines });
}

/* Without a number: of all messages. */
static enum verdict listing(struct pop3_session *s, slice rest, enum item_kind kind)
{
	if (pop3_no_args(rest))
		return add(s, (struct item){ .kind = (uint8_t)kind });
	return one(s, rest, kind);
}

enum verdict pop3_do_list(struct pop3_session *s, slice rest)
{
	return listing(s, rest, ITEM_LIST);
}

enum verdict pop3_do_uidl(struct pop3_session *s, slice rest)
{
	return listing(s, rest, ITEM_UIDL);
}

/* --- Rendering: on a helper thread ------------------------------------------------------------------ */

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

static uint16_t keep(char *to, size_t cap, slice bytes)
{
	struct out o = out_fixed(to, cap);

	out_slice(&o, slice_sub(bytes, 0, cap));
	return (uint16_t)o.len;
}

static bool take_row(void *arg, const struct message_row *row)
{
	struct found *f = arg;

	f->m = row->m;
	f->splice_len = keep(f->splice, sizeof(f->splice), row->splice);
	f->uidl_len = keep(f->uidl, sizeof(f->uidl), row->uidl);
	f->there = true;
	return false;
}

/* Removed by another session: it is not there any more. */
static enum err find_row(struct pop3_work *k, const struct item *item, unsigned want)
{
	struct message_scan scan = { .account = drop_of(k)->account,
		.mailbox = MAILBOX_INBOX,
		.from = item->uid,
		.want = want,
		.each = take_row,
		.arg = &k->row };

	k->row.there = false;
	enum err err = message_scan_here(store_of(k), &scan);
	if (!err && k->row.there && k->row.m.uid != item->uid)
		k->row.there = false;
	return err;
}

static const char *gone_text(enum err err)
{
	return err ? "-ERR [SYS/TEMP] Cannot read the mailbox for now\r\n" :
		     "-ERR [SYS/PERM] The message was removed by another session\r\n";
}

/* RFC 1939 7: unique and the same for ever. Copies share their body's ids, and are other messages. */
static void put_uidl(struct out *o, const struct message *m, slice imported)
{
	bool first = m->created == m->blob;

	if (first && imported.len)
		out_slice(o, imported);
	else
		out_printf(o, "%016llx", (unsigned long long)m->blob);
	if (!first)
		out_printf(o, ".%u", m->uid);
}

static void put_list_line(struct pop3_work *k, enum item_kind kind, const struct message *m,
	slice imported)
{
	out_printf(&k->out, "%u ", runs_rank(&drop_of(k)->uids, m->uid));
	if (kind == ITEM_UIDL)
		put_uidl(&k->out, m, imported);
	else
		out_printf(&k->out, "%llu", (unsigned long long)m->size);
	out_str(&k->out, "\r\n");
}

static bool list_row(void *arg, const struct message_row *row)
{
	struct pop3_work *k = arg;

	if (room(k) < LINE_ROOM)
		return false;
	if (!runs_has(&drop_of(k)->deleted, row->m.uid))
		put_list_line(k, k->items[k->at].kind, &row->m, row->uidl);
	return true;
}

static void list_begins(struct pop3_work *k)
{
	struct pop3_drop *d = drop_of(k);

	if (k->items[k->at].kind == ITEM_LIST)
		out_printf(&k->out, "+OK %u messages (%llu octets)\r\n", pop3_drop_count(d),
			(unsigned long long)(d->bytes - d->deleted_bytes));
	else
		out_str(&k->out, "+OK\r\n");
	k->midway = true;
	k->next_uid = 1;
}

/* True: the item is done. */
static bool list_all(struct pop3_work *k)
{
	struct message_scan scan = { .account = drop_of(k)->account,
		.mailbox = MAILBOX_INBOX,
		.uids = &drop_of(k)->uids,
		.want = k->items[k->at].kind == ITEM_UIDL ? MESSAGE_WANT_SUMMARY : 0,
		.each = list_row,
		.arg = k };

	if (!k->midway)
		list_begins(k);
	scan.from = k->next_uid;
	k->broken = message_scan_here(store_of(k), &scan) != OK;
	k->next_uid = scan.next;
	if (scan.next || k->broken)
		return false;
	out_str(&k->out, ".\r\n");
	return true;
}

static bool list_one(struct pop3_work *k)
{
	const struct item *item = &k->items[k->at];
	enum err err = find_row(k, item, item->kind == ITEM_UIDL ? MESSAGE_WANT_SUMMARY : 0);

	if (err || !k->row.there) {
		out_str(&k->out, gone_text(err));
		return true;
	}
	out_str(&k->out, "+OK ");
	put_list_line(k, item->kind, &k->row.m, slice_of(k->row.uidl, k->row.uidl_len));
	return true;
}

/* What is answered -ERR is not marked: QUIT must not remove it. */
static bool delete_one(struct pop3_work *k)
{
	const struct item *item = &k->items[k->at];
	enum err err = find_row(k, item, 0);

	if (err || !k->row.there) {
		out_str(&k->out, gone_text(err));
	} else if (!runs_add(&drop_of(k)->deleted, item->uid)) {
		out_str(&k->out, gone_text(ERR_NOMEM));
	} else {
		drop_of(k)->deleted_bytes += k->row.m.size;
		out_str(&k->out, "+OK\r\n");
	}
	return true;
}

/* --- A message ------------------------------------------------------------------------------------------ */

/* The answer begins only when the body is there to be read. */
static bool message_begins(struct pop3_work *k)
{
	const struct item *item = &k->items[k->at];
	enum err err = find_row(k, item, MESSAGE_WANT_SUMMARY);
	bool there = !err && k->row.there;

	if (there)
		err = blob_open(&k->reader, store_of(k), k->row.m.blob);
	if (err || !there) {
		out_str(&k->out, gone_text(err));
		return false;
	}
	if (item->kind == ITEM_TOP)
		pop3_dots_top(&k->dots, item->lines);
	else
		pop3_dots_init(&k->dots);
	out_printf(&k->out, "+OK %llu octets\r\n", (unsigned long long)k->row.m.size);
	k->splice_left = slice_of(k->row.splice, k->row.splice_len);
	k->read_left = (slice){ 0 };
	k->midway = true;
	return true;
}

/* Fetches more of the body when what was read is used up; false at its end. */
static bool more_bytes(struct pop3_work *k)
{
	size_t n = 0;

	if (k->read_left.len)
		return true;
	k->broken = blob_read(&k->reader, k->read, sizeof(k->read), &n) != OK;
	k->read_left = slice_of(k->read, k->broken ? 0 : n);
	return k->read_left.len > 0;
}

static bool send_message(struct pop3_work *k)
{
	if (!k->midway && !message_begins(k))
		return true;
	struct out body = k->out;

	body.cap -= POP3_DOTS_END; /* kept free for the end */
	pop3_dots_put(&k->dots, &k->splice_left, &body);
	while (!k->splice_left.len && !k->dots.done && body.cap - body.len > 1 && more_bytes(k))
		pop3_dots_put(&k->dots, &k->read_left, &body);
	k->out.len = body.len;
	if (k->broken)
		return false;
	bool over = k->dots.done ||
		(!k->splice_left.len && !k->read_left.len &&
			k->reader.offset == k->reader.ref.size);
	if (!over)
		return false;
	pop3_dots_end(&k->dots, &k->out);
	k->session->retrieved += k->items[k->at].kind == ITEM_RETR;
	return true;
}

/* Numbers mean what the commands before have made of them. False: no such message. */
static bool resolve(struct pop3_work *k)
{
	struct item *item = &k->items[k->at];

	if (item->number && !k->midway)
		item->uid = pop3_drop_uid(drop_of(k), item->number);
	return item->uid || !item->number;
}

/* True: the item is done. */
static bool render(struct pop3_work *k)
{
	const struct item *item = &k->items[k->at];

	if (!resolve(k)) {
		out_str(&k->out, "-ERR No such message\r\n");
		return true;
	}
	switch ((enum item_kind)item->kind) {
	case ITEM_BAD_ARGS:
		out_str(&k->out, "-ERR Syntax error in arguments\r\n");
		return true;
	case ITEM_RETR:
	case ITEM_TOP:
		return send_message(k);
	case ITEM_DELE:
		return delete_one(k);
	case ITEM_LIST:
	case ITEM_UIDL:
		return item->uid ? list_one(k) : list_all(k);
	}
	return true;
}

static void fill(void *arg)
{
	struct pop3_work *k = arg;

	k->out = out_fixed(k->buf, BUFFER_BYTES);
	while (k->at < k->len && room(k) >= 2 * LINE_ROOM) {
		if (!render(k))
			return;
		k->midway = false;
		k->at++;
	}
}

/* --- Sending ---------------------------------------------------------------------------------------------- */

static void work(struct conn *c)
{
	struct pop3_session *s = conn_owner(c);
	struct pop3_work *k = s->work;
	msec send_ms = s->head.setup->pop3->idle_ms;
	uint32_t before = s->retrieved;
	enum err err = OK;

	while (!err && k->at < k->len && !k->broken) {
		job_run(fill, k);
		out_bytes(conn_out(c), k->buf, k->out.len);
		metric_add(&pop3_metrics, POP3_METRIC_BYTES, (int64_t)k->out.len);
		conn_deadline(c, send_ms);
		err = conn_send_wait(c, send_ms);
	}
	metric_add(&pop3_metrics, POP3_METRIC_RETRIEVED, s->retrieved - before);
	/* Half an answer must not pass for a whole one. */
	if (err || k->broken)
		conn_abort(c, err ? err : ERR_IO);
	pop3_work_drop(s);
	pop3_go_on(s);
}

bool pop3_work_run(struct pop3_session *s)
{
	s->work->buf = malloc(BUFFER_BYTES);
	if (!s->work->buf) {
		conn_abort(s->head.conn, ERR_NOMEM);
		return false;
	}
	return conn_run(s->head.conn, work);
}
