/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fsck sees: every row of a folder with some of everything is taken away, put at another place,
 * and spoilt, one at a time, behind the store's back. */
#include "store/account.h"
#include "store/check.h"
#include "store/keys.h"
#include "tests/store/mailbox_support.h"

#include <criterion/criterion.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALICE = 7, BOB = 8, SHARDS = 2, ACCOUNT_END = 8 };

static struct box box;

static void change(enum message_store_mode mode, const char *uids, uint32_t flags, slice keywords)
{
	struct runs set = runs_of(uids);
	struct message_store args = { .account = ALICE,
		.mailbox = MAILBOX_INBOX,
		.uids = &set,
		.mode = mode,
		.flags = flags,
		.keywords = keywords };
	modseq pos;

	cr_assert_eq(message_store(box.st, &args, &pos), OK);
	runs_done(&set);
}

static void expunge(const char *uids)
{
	struct runs set = runs_of(uids), gone = { 0 };
	struct message_expunge args = {
		.account = ALICE, .mailbox = MAILBOX_INBOX, .uids = &set, .any = true
	};
	struct message_gone out = { .gone = &gone };

	cr_assert_eq(message_expunge(box.st, &args, &out), OK);
	runs_done(&set);
	runs_done(&gone);
}

/* Bodies of several chunks, conversations two tables deep, holes, marks, keywords, copies, logs. */
static void fill(void)
{
	struct domain domain = { .name = SLICE("a.test") };
	struct account acc = { .local = SLICE("alice"), .domain = domain.name, .id = ALICE };
	struct alias alias = {
		.local = SLICE("all"), .domain = domain.name, .targets = SLICE("alice@a.test")
	};
	struct mailbox_create made = { .account = ALICE, .name = SLICE("Lists/Sea") };
	uint32_t id;

	cr_assert_eq(domain_put(box.st, &domain, ROW_CREATE), OK);
	cr_assert_eq(account_put(box.st, &acc, ROW_CREATE), OK);
	cr_assert_eq(alias_put(box.st, &alias, ROW_CREATE), OK);
	cr_assert_eq(mailbox_account_init(box.st, ALICE, SLICE("a.test")), OK);
	cr_assert_eq(mailbox_account_init(box.st, BOB, SLICE("b.test")), OK);
	cr_assert_eq(mailbox_create(box.st, &made, &id, NULL), OK);
	for (unsigned i = 1; i <= 180; i++) {
		struct delivering d = { .account = i % 60 ? ALICE : BOB,
			.seed = i,
			.size = i == 5 ? 700000 : 20,
			.splice = SLICE("Return-Path: <x@b.test>\r\n"),
			.summary = SLICE("a summary"),
			.keywords = i == 9 ? SLICE("$Forwarded\0") : SLICE(""),
			.thread_keys = { i, 1000 },
			.thread_key_count = i % 2 + 1 };

		cr_assert_eq(deliver_one(box.st, &d), OK);
	}
	change(MESSAGE_ADD, "3:6", MESSAGE_DELETED, SLICE(""));
	change(MESSAGE_ADD, "11", MESSAGE_SEEN, SLICE("Later\0"));
	cr_assert_eq(copy_some(box.st, ALICE, "4:8", id), OK);
	expunge("20:22,30");
}

/* --- Rows behind the store's back --- */

struct row {
	unsigned shard;
	slice key, value; /* of the heap */
};
static struct row rows[8192];
static size_t row_len;
static MDB_env *envs[SHARDS];

static slice kept(MDB_val v)
{
	char *bytes = malloc(v.mv_size + 1);

	memcpy(bytes, v.mv_data, v.mv_size);
	return slice_of(bytes, v.mv_size);
}

static MDB_txn *txn_of(unsigned shard, MDB_dbi *out_dbi)
{
	MDB_txn *txn;
	char path[512];

	snprintf(path, sizeof(path), "%s/index/%02u", box.dir.path, shard);
	cr_assert_eq(mdb_env_create(&envs[shard]), 0);
	cr_assert_eq(mdb_env_set_mapsize(envs[shard], 64 << 20), 0);
	cr_assert_eq(mdb_env_open(envs[shard], path, MDB_NOSYNC, 0600), 0);
	cr_assert_eq(mdb_txn_begin(envs[shard], NULL, 0, &txn), 0);
	cr_assert_eq(mdb_dbi_open(txn, NULL, 0, out_dbi), 0);
	return txn;
}

static void end(unsigned shard, MDB_txn *txn)
{
	cr_assert_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(envs[shard]);
}

static void read_rows(void)
{
	for (unsigned shard = 0; shard < SHARDS; shard++) {
		MDB_dbi dbi;
		MDB_txn *txn = txn_of(shard, &dbi);
		MDB_cursor *cursor;
		MDB_val key, value;

		cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
		while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
			cr_assert_lt(row_len, array_len(rows));
			rows[row_len++] = (struct row){ shard, kept(key), kept(value) };
		}
		mdb_cursor_close(cursor);
		end(shard, txn);
	}
}

/* `value` NULL: deletes it. */
static void put(const struct row *r, slice key, const slice *value)
{
	MDB_dbi dbi;
	MDB_txn *txn = txn_of(r->shard, &dbi);
	MDB_val k = { key.len, (void *)key.ptr };

	if (value) {
		MDB_val v = { value->len, (void *)value->ptr };
		cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
	} else {
		cr_assert_eq(mdb_del(txn, dbi, &k, NULL), 0);
	}
	end(r->shard, txn);
}

/* What is wrong may keep the folder from being opened, which is told too. */
static bool is_clean(void)
{
	struct check_run run = { .options = &box.options };
	struct check_report report;

	return check_store(&run, &report) == OK && report.result == CHECK_CLEAN;
}

static void expect_seen(const struct row *r, const char *what)
{
	char hex[64] = "";

	for (size_t i = 1; i < MIN(r->key.len, (size_t)30); i++)
		snprintf(hex + 2 * (i - 1), 3, "%02x", (unsigned char)r->key.ptr[i]);
	cr_expect(!is_clean(), "%c %s %s", r->key.ptr[0], hex, what);
}

static bool is_there(unsigned shard, slice key)
{
	for (size_t i = 0; i < row_len; i++)
		if (rows[i].shard == shard && slice_eq(rows[i].key, key))
			return true;
	return false;
}

/* The place of a row of this kind, where none is: beside it, or in another account or body's. */
static slice other_place(const struct row *r, size_t byte, char *bytes, size_t cap)
{
	slice other = slice_of(bytes, r->key.len);

	cr_assert_leq(r->key.len, cap);
	memcpy(bytes, r->key.ptr, r->key.len);
	for (unsigned bit = 0; is_there(r->shard, other); bit++)
		bytes[byte - bit / 8] ^= (char)(1U << bit % 8);
	return other;
}

static void move(const struct row *r, size_t byte)
{
	char bytes[512];
	slice other = other_place(r, byte, bytes, sizeof(bytes));

	put(r, r->key, NULL);
	expect_seen(r, "is missing");
	put(r, other, &r->value);
	/* Any name may be subscribed to, also one that no mailbox has. */
	if (r->key.ptr[0] != KEYS_SUBSCRIBED || byte == ACCOUNT_END)
		expect_seen(r, "is elsewhere");
	put(r, r->key, &r->value);
	expect_seen(r, "is there twice");
	put(r, other, NULL);
}

/* Dates and flags may be any, so that not everything can be seen; but what is read must not hurt. */
static void spoil(const struct row *r)
{
	char bytes[8192];
	slice value = slice_of(bytes, r->value.len);

	cr_assert_leq(value.len, sizeof(bytes));
	for (size_t at = 0; at < MIN(value.len, (size_t)48); at += 3) {
		memcpy(bytes, r->value.ptr, value.len);
		bytes[at] ^= (char)(0x10 << at % 4);
		put(r, r->key, &value);
		bool clean = is_clean();
		cr_expect(at || !clean, "%c: its version", r->key.ptr[0]);
	}
	put(r, r->key, &r->value);
}

static void read_filled(void)
{
	box_make(&box);
	box_open(&box, &keep_nothing, NULL);
	fill();
	sync_all(box.st, ALICE);
	box_close(&box);
	cr_assert(is_clean());
	read_rows();
}

static void forget(void)
{
	for (size_t i = 0; i < row_len; i++) {
		free((void *)rows[i].key.ptr);
		free((void *)rows[i].value.ptr);
	}
	box_remove(&box);
}

TestSuite(fsck, .init = read_filled, .fini = forget);

/* Some of each kind; of the store's own marks there is one of a kind, and without any it is another's. */
static bool is_chosen(const struct row *r, unsigned *last, unsigned *nth)
{
	*nth = (unsigned char)r->key.ptr[0] == *last ? *nth + 1 : 0;
	*last = (unsigned char)r->key.ptr[0];
	return *last != KEYS_META && (*nth < 2 || *nth % 90 == 0);
}

Test(fsck, sees_every_row_that_is_missing_or_elsewhere)
{
	unsigned last = 0, nth = 0, kinds = 0;

	for (size_t i = 0; i < row_len; i++) {
		bool chosen = is_chosen(&rows[i], &last, &nth);

		kinds += nth == 0;
		if (!chosen ||
			strchr("ADO", (int)last)) /* the directory: nothing else tells of them */
			continue;
		move(&rows[i], rows[i].key.len - 1);
		if (rows[i].key.len > ACCOUNT_END + 1)
			move(&rows[i], ACCOUNT_END);
	}
	cr_expect_geq(kinds, 2u * 12, "some of everything was there");
	cr_expect(is_clean());
}

Test(fsck, survives_rows_that_are_spoilt)
{
	unsigned last = 0, nth = 0;

	for (size_t i = 0; i < row_len; i++)
		if (is_chosen(&rows[i], &last, &nth) && nth < 2)
			spoil(&rows[i]);
	cr_expect(is_clean());
}
