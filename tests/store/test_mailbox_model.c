/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random changes of mailboxes beside a naive model in memory, with restarts between. Then fsck finds
 * nothing, and an index made anew from snapshot, history and journal is the live one, row by row. */
#include "store/account.h"
#include "store/check.h"
#include "store/store_int.h"
#include "tests/store/mailbox_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ACCOUNTS = 3,
	BOXES = 40,
	MESSAGES = 4000,
	WORDS = 5,
	STEPS = 450,
	ROUNDS = 3,
};

static const char *const words[WORDS] = { "$Forwarded", "Junk", "a", "later", "work" };
static const char *const box_names[] = { "a", "a/b", "a/b/c", "p", "p/q", "Sent", "x/y",
	"INBOX/z" };

struct m_message {
	uint32_t uid, flags, words;
	uint64_t blob, size;
	modseq created, changed;
};
struct m_box {
	bool there;
	uint64_t account;
	uint32_t id, uid_next;
	char name[64];
	struct m_message *rows; /* by uid */
	size_t len;
	/* At the last look. */
	modseq looked;
	struct runs seen;
};
struct model {
	struct box box;
	struct arena a;
	struct m_box boxes[BOXES];
	unsigned seed;
	uint64_t accounts[ACCOUNTS], last_account;
	uint64_t moved;
};

static unsigned roll(unsigned n)
{
	return (unsigned)rand() % n;
}

static struct m_box *find_box(struct model *mo, uint64_t account, const char *name)
{
	for (unsigned i = 0; i < BOXES; i++)
		if (mo->boxes[i].there && mo->boxes[i].account == account &&
			strcmp(mo->boxes[i].name, name) == 0)
			return &mo->boxes[i];
	return NULL;
}

static struct m_box *some_box(struct model *mo)
{
	struct m_box *b;

	do
		b = &mo->boxes[roll(BOXES)];
	while (!b->there);
	return b;
}

static struct m_box *new_box(struct model *mo, uint64_t account, const char *name)
{
	for (unsigned i = 0; i < BOXES; i++) {
		struct m_box *b = &mo->boxes[i];
		struct mailbox m;

		if (b->there)
			continue;
		*b = (struct m_box){ .there = true, .account = account, .uid_next = 1 };
		snprintf(b->name, sizeof(b->name), "%s", name);
		b->rows = calloc(MESSAGES, sizeof(*b->rows));
		sync_all(mo->box.st, account);
		cr_assert_eq(mailbox_find(mo->box.st, account, slice_str(name), &mo->a, &m), OK);
		b->id = m.id;
		return b;
	}
	must(0);
}

static void drop_box(struct m_box *b)
{
	free(b->rows);
	runs_done(&b->seen);
	*b = (struct m_box){ 0 };
}

static void new_account(struct model *mo, unsigned i)
{
	static const char *const defaults[] = { "INBOX", "Drafts", "Sent", "Junk", "Trash",
		"Archive" };

	mo->accounts[i] = ++mo->last_account;
	cr_assert_eq(mailbox_account_init(mo->box.st, mo->last_account,
			     i % 2 ? SLICE("a.test") : SLICE("b.test")),
		OK);
	for (unsigned n = 0; n < array_len(defaults); n++)
		new_box(mo, mo->last_account, defaults[n]);
}

static struct m_message *add_row(struct m_box *b, uint32_t uid)
{
	cr_assert_eq(uid, b->uid_next);
	must(b->len < MESSAGES);
	b->uid_next++;
	b->rows[b->len] = (struct m_message){ .uid = uid };
	return &b->rows[b->len++];
}

static void remove_row(struct m_box *b, size_t i)
{
	memmove(&b->rows[i], &b->rows[i + 1], (b->len - i - 1) * sizeof(*b->rows));
	b->len--;
}

/* Some of its uids, some that never were. */
static struct runs some_uids(const struct m_box *b)
{
	struct runs set = { 0 };

	for (unsigned n = 1 + roll(4); n; n--) {
		uint32_t first = 1 + roll(b->uid_next + 2);

		must(runs_add_range(&set, first, first + roll(roll(5) ? 4 : 60)));
	}
	return set;
}

/* Names ended by NUL, for a set of bits. */
static slice word_list(struct model *mo, uint32_t bits)
{
	struct out o = out_arena(&mo->a);

	for (unsigned i = 0; i < WORDS; i++)
		if (bits & 1u << i)
			out_bytes(&o, words[i], strlen(words[i]) + 1);
	return o.len ? out_written(&o) : SLICE("");
}

static uint32_t some_words(void)
{
	return roll(3) ? 0 : roll(1u << WORDS);
}

/* --- Operations --- */

static void deliver(struct model *mo)
{
	struct m_box *b = some_box(mo);
	static char summary[5000];
	struct delivering d = { .account = b->account,
		.mailbox = b->id,
		.seed = ++mo->seed,
		.size = roll(20) ? roll(6000) : 300000 + roll(300000),
		.flags = roll(4) ? 0 : MESSAGE_SEEN,
		.splice = roll(2) ? SLICE("Delivered-To: x\r\n") : SLICE(""),
		.summary = { summary, roll(10) ? roll(900) : roll(5000) } };
	uint32_t bits = some_words();

	memset(summary, 'a' + (int)(d.seed % 26), sizeof(summary));
	d.keywords = word_list(mo, bits);
	d.thread_key_count = roll(4);
	for (size_t i = 0; i < d.thread_key_count; i++)
		d.thread_keys[i] = 1 + roll(100);
	cr_assert_eq(deliver_one(mo->box.st, &d), OK);
	struct m_message *m = add_row(b, d.at.uid);
	cr_expect_eq(d.at.mailbox, b->id);
	m->blob = d.ref.id;
	m->size = d.size + d.splice.len;
	m->flags = d.flags;
	m->words = bits;
	m->created = m->changed = d.ref.id;
}

static void deliver_two(struct model *mo)
{
	struct m_box *b = some_box(mo);
	struct deliver_target t = { .account = b->account, .mailbox = b->id };
	struct deliver d[2];
	struct deliver_many many = { .messages = d, .len = 2 };
	struct blob_ref refs[2];
	struct delivered first;
	modseq pos;

	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(put_message(mo->box.st, ++mo->seed, 10 + roll(400000), &refs[i]), OK);
		d[i] = (struct deliver){ .targets = &t,
			.target_count = 1,
			.blob = refs[i].id,
			.low = refs[i].low,
			.size = refs[i].size };
	}
	cr_assert_eq(message_deliver_many(mo->box.st, &many, &first, &pos), OK);
	for (unsigned i = 0; i < 2; i++) {
		struct m_message *m = add_row(b, first.uid + i);

		m->blob = refs[i].id;
		m->size = refs[i].size;
		m->created = m->changed = pos;
		store_release(mo->box.st, &refs[i]);
	}
}

static bool alter(const struct message_store *args, uint32_t bits, struct m_message *m)
{
	struct m_message old = *m;

	if (args->conditional && m->changed > args->unchanged_since)
		return false;
	if (args->mode == MESSAGE_REPLACE) {
		m->flags = args->flags;
		m->words = bits;
		return true;
	}
	m->flags = args->mode == MESSAGE_ADD ? m->flags | args->flags : m->flags & ~args->flags;
	m->words = args->mode == MESSAGE_ADD ? m->words | bits : m->words & ~bits;
	return m->flags != old.flags || m->words != old.words;
}

static void change_flags(struct model *mo)
{
	struct m_box *b = some_box(mo);
	struct runs set = some_uids(b);
	uint32_t bits = some_words();
	struct message_store args = { .account = b->account,
		.mailbox = b->id,
		.uids = &set,
		.mode = (enum message_store_mode)roll(3),
		.flags = roll(MESSAGE_FLAGS + 1),
		.conditional = roll(3) == 0,
		.keywords = word_list(mo, bits) };
	modseq pos;

	args.unchanged_since = b->len ? b->rows[roll((unsigned)b->len)].changed : 0;
	cr_assert_eq(message_store(mo->box.st, &args, &pos), OK);
	for (size_t i = 0; i < b->len; i++)
		if (runs_has(&set, b->rows[i].uid) && alter(&args, bits, &b->rows[i]))
			b->rows[i].changed = pos;
	runs_done(&set);
}

static void expunge(struct model *mo)
{
	struct m_box *b = some_box(mo);
	struct runs set = some_uids(b), gone = { 0 };
	bool all = roll(3) == 0;
	struct message_expunge args = { .account = b->account,
		.mailbox = b->id,
		.uids = all ? NULL : &set,
		.any = all ? roll(4) == 0 : roll(2) };
	struct message_gone out = { .gone = &gone };

	cr_assert_eq(message_expunge(mo->box.st, &args, &out), OK);
	uint32_t count = 0;
	for (size_t i = b->len; i-- > 0;) {
		const struct m_message *m = &b->rows[i];

		if ((!all && !runs_has(&set, m->uid)) ||
			(!args.any && !(m->flags & MESSAGE_DELETED)))
			continue;
		cr_expect(runs_has(&gone, m->uid));
		count++;
		remove_row(b, i);
	}
	cr_expect_eq(count, gone.count);
	runs_done(&set);
	runs_done(&gone);
}

static void copy(struct model *mo)
{
	struct m_box *b = some_box(mo), *to = some_box(mo);
	struct runs set = some_uids(b), source = { 0 };
	struct message_copied out = { .source = &source };

	while (to->account != b->account)
		to = some_box(mo);
	struct message_copy args = {
		.account = b->account, .from = b->id, .to = to->id, .uids = &set, .move = roll(2)
	};
	cr_assert_eq(message_copy(mo->box.st, &args, &out), OK);
	uint32_t uid = out.first_uid;
	size_t len = b->len;
	for (size_t i = 0; i < len; i++) {
		struct m_message m = b->rows[i];

		if (!runs_has(&set, m.uid))
			continue;
		cr_expect(runs_has(&source, m.uid));
		struct m_message *row = add_row(to, uid++);
		m.uid = row->uid;
		*row = m;
		row->created = row->changed = out.pos;
	}
	cr_expect_eq(uid - out.first_uid, source.count);
	for (size_t i = len; args.move && i-- > 0;)
		if (runs_has(&source, b->rows[i].uid))
			remove_row(b, i);
	runs_done(&set);
	runs_done(&source);
}

/* Names that stand above it are made too. */
static void create(struct model *mo, uint64_t account)
{
	const char *name = box_names[roll(array_len(box_names))];
	struct mailbox_create args = { .account = account, .name = slice_str(name) };
	unsigned used = 0;

	for (unsigned i = 0; i < BOXES; i++)
		used += mo->boxes[i].there;
	if (used > BOXES - 4)
		return;
	enum err err = mailbox_create(mo->box.st, &args, NULL, NULL);
	cr_assert_eq(err, find_box(mo, account, name) ? ERR_EXISTS : OK);
	for (size_t i = 1; !err && i <= strlen(name); i++) {
		char part[64];

		snprintf(part, sizeof(part), "%.*s", (int)i, name);
		if ((name[i] == '/' || !name[i]) && !find_box(mo, account, part))
			new_box(mo, account, part);
	}
}

static void delete_one(struct model *mo, uint64_t account)
{
	const char *name = box_names[roll(array_len(box_names))];
	struct m_box *b = find_box(mo, account, name);

	cr_assert_eq(mailbox_delete(mo->box.st, account, slice_str(name), NULL),
		b ? OK : ERR_NOT_FOUND);
	if (b)
		drop_box(b);
}

static bool any_below(const struct model *mo, uint64_t account, const char *below)
{
	bool any = false;

	for (unsigned i = 0; i < BOXES; i++)
		any = any ||
			(mo->boxes[i].there && mo->boxes[i].account == account &&
				strncmp(mo->boxes[i].name, below, strlen(below)) == 0);
	return any;
}

static void rename_one(struct model *mo, uint64_t account)
{
	const char *name = box_names[roll(array_len(box_names))];
	char to[64], below[64];
	struct mailbox_rename args = { .account = account, .from = slice_str(name) };
	struct m_box *b = find_box(mo, account, name);

	snprintf(to, sizeof(to), "r%u", roll(3));
	snprintf(below, sizeof(below), "%s/", name);
	args.to = slice_str(to);
	enum err err = mailbox_rename(mo->box.st, &args, NULL);
	if (err == ERR_EXISTS)
		return; /* itself, or below: the rows say, and are compared */
	cr_assert_eq(err, b || any_below(mo, account, below) ? OK : ERR_NOT_FOUND);
	for (unsigned i = 0; !err && i < BOXES; i++) {
		struct m_box *r = &mo->boxes[i];
		char was[64];

		snprintf(was, sizeof(was), "%s", r->name);
		if (r->there && r->account == account &&
			(r == b || strncmp(was, below, strlen(below)) == 0))
			snprintf(r->name, sizeof(r->name), "%s%s", to, was + strlen(name));
	}
}

static void drop_account(struct model *mo)
{
	unsigned i = roll(ACCOUNTS);

	cr_assert_eq(mailbox_account_drop(mo->box.st, mo->accounts[i]), OK);
	for (unsigned n = 0; n < BOXES; n++)
		if (mo->boxes[n].there && mo->boxes[n].account == mo->accounts[i])
			drop_box(&mo->boxes[n]);
	new_account(mo, i);
}

/* Uids and messages stay as they are, but nothing of them may be relied on. */
static void renew(struct model *mo)
{
	uint64_t account = mo->accounts[roll(ACCOUNTS)];
	struct mailbox was, is;

	sync_all(mo->box.st, account);
	cr_assert_eq(mailbox_find(mo->box.st, account, SLICE("INBOX"), &mo->a, &was), OK);
	cr_assert_eq(mailbox_account_renew(mo->box.st, account), OK);
	sync_all(mo->box.st, account);
	cr_assert_eq(mailbox_find(mo->box.st, account, SLICE("INBOX"), &mo->a, &is), OK);
	cr_expect_gt(is.uid_validity, was.uid_validity);
	cr_expect_gt(is.highest, was.highest);
	cr_expect_eq(is.horizon, is.highest);
}

static void change_names(struct model *mo)
{
	uint64_t account = mo->accounts[roll(ACCOUNTS)];
	bool more;

	switch (roll(7)) {
	case 0:
	case 1:
		create(mo, account);
		break;
	case 2:
		delete_one(mo, account);
		break;
	case 3:
		rename_one(mo, account);
		break;
	case 4:
		cr_assert_eq(mailbox_subscribe(mo->box.st, account, slice_str(box_names[roll(8)]),
				     roll(2)),
			OK);
		break;
	case 5:
		cr_assert_eq(mailbox_purge_step(mo->box.st, &more), OK);
		break;
	default:
		if (roll(6) == 0)
			drop_account(mo);
	}
}

/* --- Comparing --- */

static uint32_t words_of(const struct mailbox_keywords *names, uint64_t bits)
{
	uint32_t out = 0;

	for (size_t i = 0; i < names->len; i++)
		for (unsigned n = 0; n < WORDS; n++)
			if (bits & UINT64_C(1) << i &&
				slice_eq(names->names[i], slice_str(words[n])))
				out |= 1u << n;
	return out;
}

static void compare_rows(struct model *mo, struct m_box *b, const struct mailbox_keywords *names)
{
	static struct scanned all;
	struct message_scan scan = {
		.account = b->account, .mailbox = b->id, .want = MESSAGE_WANT_SUMMARY
	};

	cr_assert_eq(scan_all(mo->box.st, &scan, &all), OK);
	cr_assert_eq(all.len, b->len);
	for (size_t i = 0; i < b->len; i++) {
		const struct message *m = &all.rows[i];
		const struct m_message *want = &b->rows[i];

		cr_expect_eq(m->uid, want->uid);
		cr_expect_eq(m->flags, want->flags);
		cr_expect_eq(words_of(names, m->keywords), want->words);
		cr_expect_eq(m->blob, want->blob);
		cr_expect_eq(m->size, want->size);
		cr_expect_eq(m->created, want->created);
		cr_expect_eq(m->changed, want->changed);
	}
}

static void compare_changes(struct model *mo, struct m_box *b)
{
	struct runs changed = { 0 }, gone = { 0 }, now = { 0 };
	struct message_changes ch = { .account = b->account,
		.mailbox = b->id,
		.since = b->looked,
		.changed = &changed,
		.gone = &gone };
	uint32_t count = 0;

	cr_assert_eq(message_changes(mo->box.st, &ch), OK);
	for (size_t i = 0; i < b->len; i++) {
		bool is_new = b->rows[i].changed > b->looked;

		must(runs_add(&now, b->rows[i].uid));
		count += is_new;
		cr_expect_eq(runs_has(&changed, b->rows[i].uid), is_new);
		cr_expect(!runs_has(&gone, b->rows[i].uid));
	}
	cr_expect_eq(changed.count, count);
	struct run run;
	for (uint32_t at = 1; runs_next(&b->seen, at, &run); at = run.last + 1)
		for (uint32_t uid = run.first; uid <= run.last; uid++)
			cr_expect(runs_has(&now, uid) || runs_has(&gone, uid));
	b->looked = ch.as_of;
	runs_done(&b->seen);
	b->seen = now;
	runs_done(&changed);
	runs_done(&gone);
}

static void compare_box(struct model *mo, struct m_box *b)
{
	struct runs uids = { 0 };
	struct mailbox_opened opened;
	uint32_t unseen = 0, deleted = 0;
	uint64_t bytes = 0;

	cr_assert_eq(mailbox_open(mo->box.st, b->account, b->id, &mo->a, &opened, &uids), OK);
	cr_assert_eq(uids.count, b->len);
	for (size_t i = 0; i < b->len; i++) {
		unseen += !(b->rows[i].flags & MESSAGE_SEEN);
		deleted += (b->rows[i].flags & MESSAGE_DELETED) != 0;
		bytes += b->rows[i].size;
		cr_expect(runs_has(&uids, b->rows[i].uid));
	}
	cr_expect(slice_eq(opened.mailbox.name, slice_str(b->name)));
	cr_expect_eq(opened.mailbox.messages, b->len);
	cr_expect_eq(opened.mailbox.unseen, unseen);
	cr_expect_eq(opened.mailbox.deleted, deleted);
	cr_expect_eq(opened.mailbox.bytes, bytes);
	cr_expect_eq(opened.mailbox.uid_next, b->uid_next);
	compare_rows(mo, b, &opened.keywords);
	compare_changes(mo, b);
	runs_done(&uids);
}

static void compare(struct model *mo)
{
	for (unsigned i = 0; i < ACCOUNTS; i++)
		sync_all(mo->box.st, mo->accounts[i]);
	for (unsigned i = 0; i < BOXES; i++)
		if (mo->boxes[i].there)
			compare_box(mo, &mo->boxes[i]);
	arena_reset(&mo->a);
}

/* --- A run --- */

static void step(struct model *mo)
{
	static void (*const ops[])(struct model * mo) = { deliver, deliver, deliver, deliver,
		change_flags, change_flags, change_flags, expunge, copy, change_names };

	ops[roll(array_len(ops))](mo);
	if (roll(60) == 0)
		deliver_two(mo);
	if (roll(90) == 0)
		renew(mo);
	if (roll(15) == 0)
		compare(mo);
	if (roll(120) == 0)
		cr_assert_eq(store_snapshot(mo->box.st), OK);
	if (roll(40) == 0)
		cr_assert_eq(mover_compact(mo->box.st), OK);
}

static void say(void *arg, const char *line)
{
	fprintf(stderr, "# %s\n", line);
}

/* As the support library makes them: all one letter. */
static bool summary_ok(void *arg, struct store *st, const struct check_summary *s)
{
	for (size_t i = 1; i < s->summary.len; i++)
		if (s->summary.ptr[i] != s->summary.ptr[0])
			return false;
	return true;
}

static void check(struct model *mo, bool rebuild, enum check_result want)
{
	struct check_run run = { .options = &mo->box.options,
		.rebuild = rebuild,
		.say = say,
		.summary_ok = summary_ok };
	struct check_report report;
	uint64_t messages = 0;

	cr_assert_eq(check_store(&run, &report), OK);
	cr_expect_eq(report.result, want, "result %d", report.result);
	cr_expect_eq(report.bad_rows + report.bad_counters + report.bad_bodies +
			report.missing_bodies + report.bad_frames,
		0u);
	for (unsigned i = 0; i < BOXES; i++)
		messages += mo->boxes[i].len;
	cr_expect_eq(report.kept_messages, messages);
}

static void reopen(struct model *mo)
{
	struct store_stats stats;

	store_stats(mo->box.st, &stats);
	mo->moved += stats.moved_bodies;
	box_close(&mo->box);
	box_open(&mo->box, &keep_nothing, NULL);
	compare(mo);
}

static void run_model(unsigned seed)
{
	struct model *mo = calloc(1, sizeof(*mo));

	srand(seed);
	box_make(&mo->box);
	mo->box.options.journal_max_bytes = 12 << 20;
	mo->box.options.cache_bytes = 0;
	box_open(&mo->box, &keep_nothing, NULL);
	for (unsigned i = 0; i < ACCOUNTS; i++)
		new_account(mo, i);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < STEPS; i++)
			step(mo);
		reopen(mo);
	}
	cr_expect_gt(mo->moved, 10u, "moved %llu", (unsigned long long)mo->moved);
	struct out before = index_rows(mo->box.st);
	box_close(&mo->box);
	check(mo, false, CHECK_CLEAN);
	check(mo, true, CHECK_REPAIRED);
	box_open(&mo->box, &keep_nothing, NULL);
	struct out after = index_rows(mo->box.st);
	compare(mo);
	cr_expect(slice_eq(out_written(&before), out_written(&after)), "%zu, %zu bytes", before.len,
		after.len);
	out_heap_done(&before);
	out_heap_done(&after);
	box_remove(&mo->box);
	for (unsigned i = 0; i < BOXES; i++)
		drop_box(&mo->boxes[i]);
	arena_done(&mo->a);
	free(mo);
}

Test(mailbox_model, is_what_the_index_holds)
{
	for (unsigned seed = 1; seed <= 3; seed++)
		run_model(seed);
}
