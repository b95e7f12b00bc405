/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck of one mailbox: its messages, their keywords, the uids that are gone, the log of changes, and
 * the counters in its row. */
#include "store/mailbox_check_int.h"

#include "core/base/runs.h"

struct box_check {
	struct keys_place at;
	struct keys_mailbox_row row, counted;
	struct runs live;
	uint64_t keywords; /* bits that have a name */
	modseq created;    /* of the message before */
	/* Of the log's piece before. */
	modseq log_pos;
	uint32_t log_piece;
};

/* --- Its messages --- */

static bool check_message(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check *b = arg;
	struct keys_place place;
	struct message m;
	struct keys_body body;
	struct keys_buf other;

	if (!keys_parse_message(key, &place) || !keys_get_message(value, &m)) {
		check_bad(c, key, "no message");
		return true;
	}
	b->counted.messages++;
	b->counted.unseen += !(m.flags & MESSAGE_SEEN);
	b->counted.deleted += (m.flags & MESSAGE_DELETED) != 0;
	b->counted.bytes += m.size;
	c->rows++;
	c->marked += (m.flags & MESSAGE_DELETED) != 0;
	if (!runs_has(&b->live, place.uid))
		check_bad(c, key, "its uid is said to be gone, or to come");
	if (m.created < b->created || m.changed < m.created || m.changed > b->row.highest)
		check_bad(c, key, "its times of change are out of order");
	if (m.keywords & ~b->keywords)
		check_bad(c, key, "it has keywords without a name");
	b->created = m.created;
	keys_reference(&other, m.blob, &place);
	if (!check_there(c, &other, &value))
		check_bad(c, key, "its body is not held");
	keys_account(&other, KEYS_BODY, place.account);
	keys_add_u64(&other, m.blob);
	keys_add_u8(&other, 0);
	if (!check_there(c, &other, &value)) {
		check_bad(c, key, "nothing is known of its body");
	} else if (keys_get_body(value, &body)) {
		if (m.no_uidl && (body.uidl.len || body.open_end))
			check_bad(c, key, "a unique id came with it, or its last line is open");
		if (m.thread != body.thread)
			check_bad(c, key, "its conversation is not that of its body");
	}
	return true;
}

static void check_keywords(struct checking *c, struct box_check *b)
{
	struct keys_keywords row;
	struct keys_buf key;
	slice value, name;

	keys_mailbox(&key, KEYS_KEYWORDS, b->at.account, b->at.mailbox);
	if (!check_there(c, &key, &value))
		return;
	if (!keys_get_keywords(value, &row) || row.changed > b->row.highest) {
		check_bad(c, keys_slice(&key), "no keywords, or such to come");
		b->keywords = UINT64_MAX;
		return;
	}
	while (slice_cut(&row.names, 0, &name))
		b->keywords = b->keywords << 1 | 1;
}

/* --- What happened to them --- */

/* Pieces of one change are numbered; those up to the horizon are forgotten one by one. */
static bool log_follows(struct box_check *b, slice key)
{
	modseq pos, last = b->log_pos;
	uint32_t mailbox, piece, next = b->log_piece + 1;
	uint64_t account;

	if (!keys_parse_account(key, &account, &key) || !take_u32(&key, &mailbox) ||
		!take_u64(&key, &pos) || !take_u32(&key, &piece) || key.len)
		return false;
	b->log_pos = pos;
	b->log_piece = piece;
	if (pos == last)
		return piece == next;
	return pos <= b->row.highest && (!piece || pos <= b->row.horizon);
}

static bool check_log(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check *b = arg;
	struct keys_runs runs = { 0 };
	enum keys_log_kind kind;
	struct run run;

	b->counted.log_rows++;
	if (!log_follows(b, key))
		check_bad(c, key, "a piece of a log without the one before");
	bool whole = keys_get_log(value, &kind, &runs.in);
	while (whole && runs.in.len)
		whole = keys_next_run(&runs, &run) && run.last < b->row.uid_next;
	if (!whole)
		check_bad(c, key, "no piece of a log");
	return true;
}

/* Runs of uids that are gone are joined, or opening the mailbox would cost more and more. */
static bool check_hole(struct checking *c, slice key, slice value, void *arg)
{
	uint32_t first, last = keys_last_u32(key), *before = arg;

	if (!keys_get_u32(value, &first) || first > last || (*before && first <= *before + 1))
		check_bad(c, key, "no run of uids, or not apart from the one before");
	*before = last;
	return true;
}

/* --- The mailbox --- */

static bool same_counts(const struct keys_mailbox_row *a, const struct keys_mailbox_row *b)
{
	return a->messages == b->messages && a->unseen == b->unseen && a->deleted == b->deleted &&
		a->bytes == b->bytes && a->log_rows == b->log_rows;
}

static void check_name(struct checking *c, slice key, const struct box_check *b)
{
	struct keys_buf other;
	uint32_t id;
	slice value;

	keys_account(&other, KEYS_MAILBOX_NAME, b->at.account);
	keys_add_name(&other, keys_text_slice(&b->row.name));
	if (!check_there(c, &other, &value) || !keys_get_u32(value, &id) || id != b->at.mailbox)
		check_bad(c, key, "its name does not lead to it");
}

bool check_mailbox(struct checking *c, slice key, slice value, void *arg)
{
	struct box_check b = { .at = { 0 } };
	struct keys_buf prefix;
	uint32_t hole = 0;

	if (!keys_parse_mailbox(key, &b.at.account, &b.at.mailbox) ||
		!keys_get_mailbox(value, &b.row)) {
		check_bad(c, key, "no mailbox");
		return true;
	}
	check_name(c, key, &b);
	struct uids_query query = { .account = b.at.account,
		.mailbox = b.at.mailbox,
		.from = 1,
		.uid_next = b.row.uid_next };
	enum err err = read_uid_set(c->txn, &query, &b.live);
	if (err == ERR_NOMEM)
		c->err = err;
	else if (err)
		check_bad(c, key, "its list of what is gone");
	check_keywords(c, &b);
	keys_mailbox(&prefix, KEYS_MESSAGE, b.at.account, b.at.mailbox);
	check_each(c, keys_slice(&prefix), check_message, &b);
	keys_mailbox(&prefix, KEYS_CHANGE_LOG, b.at.account, b.at.mailbox);
	check_each(c, keys_slice(&prefix), check_log, &b);
	keys_mailbox(&prefix, KEYS_HOLE, b.at.account, b.at.mailbox);
	check_each(c, keys_slice(&prefix), check_hole, &hole);
	if (!same_counts(&b.row, &b.counted))
		check_bad_count(c, key, "counters do not agree with the messages");
	if (b.live.count != b.counted.messages)
		check_bad(c, key, "uids that are neither there nor gone");
	runs_done(&b.live);
	c->boxes++;
	c->mailboxes++;
	c->account.messages += b.counted.messages;
	c->account.bytes += b.counted.bytes;
	return !c->err;
}
