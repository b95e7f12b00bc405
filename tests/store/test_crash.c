/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A crash at any point of a write: what was acknowledged is there, once; what was not is there
 * wholly or not at all. The state of the disk before and after the last batch is taken from a real
 * store; torn mixtures of both are opened again. */
#include "tests/store/mailbox_support.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECTOR = 512, MESSAGES = 5 };

/* What replay handed over. */
struct seen {
	uint64_t ids[4096];
	size_t messages, parked, done;
};

static bool see_message(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	struct seen *s = arg;

	if (s->messages < array_len(s->ids))
		s->ids[s->messages] = ref->id;
	s->messages++;
	return true;
}

static void see_park(void *arg, const struct schedule_entry *entry)
{
	((struct seen *)arg)->parked++;
}

static void see_done(void *arg, uint64_t id, uint32_t n)
{
	((struct seen *)arg)->done++;
}

static const struct store_replay_ops seeing = {
	.message = see_message, .park = see_park, .done = see_done
};

static bool saw(const struct seen *s, uint64_t id)
{
	for (size_t i = 0; i < s->messages && i < array_len(s->ids); i++)
		if (s->ids[i] == id)
			return true;
	return false;
}

/* Make `to` a copy of the folder `from`. */
static void copy_folder(const char *from, const char *to)
{
	char command[2048];

	snprintf(command, sizeof(command), "rm -rf %s && cp -r %s %s", to, from, to);
	cr_assert_eq(system(command), 0, "%s", command);
}

static char *load(const char *folder, const char *name, size_t *out_len)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "rb");
	cr_assert(f, "%s", path);
	char *buf = malloc(1 << 20);
	*out_len = fread(buf, 1, 1 << 20, f);
	fclose(f);
	return buf;
}

static void save(const char *folder, const char *name, const char *buf, size_t len)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "r+b");
	cr_assert(f, "%s", path);
	cr_assert_eq(fwrite(buf, 1, len, f), len);
	fclose(f);
}

struct torn {
	struct box box;
	struct tmpdir before; /* the whole folder before the last batch */
	char *old, *new;      /* its slot before and after */
	size_t len, from, to; /* where they differ */
	struct blob_ref refs[MESSAGES], last;
	char slot[32];
};

static void find_difference(struct torn *t)
{
	for (t->from = 0; t->old[t->from] == t->new[t->from]; t->from++)
		;
	for (t->to = t->len; t->old[t->to - 1] == t->new[t->to - 1]; t->to--)
		;
	t->from &= ~(size_t)(SECTOR - 1);
	t->to = (t->to + SECTOR - 1) & ~(size_t)(SECTOR - 1);
}

static void make_torn(struct torn *t, size_t last_size)
{
	box_make(&t->box);
	tmpdir_make(&t->before);
	box_open(&t->box, &seeing, &(struct seen){ 0 });
	for (unsigned i = 0; i < MESSAGES; i++)
		cr_assert_eq(put_message(t->box.st, i, 1000 * i + 10, &t->refs[i]), OK);
	copy_folder(t->box.dir.path, t->before.path);
	snprintf(t->slot, sizeof(t->slot), "journal/slot-%08u", 0);
	t->old = load(t->before.path, t->slot, &t->len);
	cr_assert_eq(put_message(t->box.st, 99, last_size, &t->last), OK);
	t->new = load(t->box.dir.path, t->slot, &t->len);
	find_difference(t);
	box_close(&t->box);
}

static void free_torn(struct torn *t)
{
	free(t->old);
	free(t->new);
	tmpdir_remove(&t->before);
	box_remove(&t->box);
}

/* Open what a crash left in the slot: everything acknowledged, the last one all or nothing. */
static void open_mix(struct torn *t, const char *mix, bool whole)
{
	struct seen seen = { 0 };

	char from[512], to[512];

	snprintf(from, sizeof(from), "%s/index", t->before.path);
	snprintf(to, sizeof(to), "%s/index", t->box.dir.path);
	copy_folder(from, to);
	save(t->box.dir.path, t->slot, mix, t->len);
	box_open(&t->box, &seeing, &seen);
	for (unsigned i = 0; i < MESSAGES; i++) {
		cr_expect(saw(&seen, t->refs[i].id));
		cr_expect(message_is(t->box.st, t->refs[i].id, i, 1000 * i + 10));
	}
	bool there = saw(&seen, t->last.id);
	cr_expect_eq(seen.messages, MESSAGES + (there ? 1u : 0u));
	cr_expect(!whole || there);
	if (there)
		cr_expect(message_is(t->box.st, t->last.id, 99, t->last.size));
	/* It goes on where the good frames end. */
	struct blob_ref more;
	cr_expect_eq(put_message(t->box.st, 7, 500, &more), OK);
	box_close(&t->box);
	struct seen again = { 0 };
	box_open(&t->box, &seeing, &again);
	cr_expect(saw(&again, more.id));
	cr_expect_eq(again.messages, seen.messages + 1);
	box_close(&t->box);
}

/* cp into the test's folder: the second argument of run is the source. */
Test(crash, torn_write_at_every_sector_prefix)
{
	struct torn t = { 0 };
	char *mix = malloc(1 << 20);

	make_torn(&t, 9000);
	for (size_t cut = t.from; cut <= t.to; cut += SECTOR) {
		memcpy(mix, t.old, t.len);
		memcpy(mix + t.from, t.new + t.from, cut - t.from);
		open_mix(&t, mix, cut == t.to);
	}
	free(mix);
	free_torn(&t);
}

Test(crash, torn_write_in_the_middle_of_a_sector)
{
	struct torn t = { 0 };
	char *mix = malloc(1 << 20);

	make_torn(&t, 300);
	for (size_t cut = t.from; cut < t.to; cut += 37) {
		memcpy(mix, t.old, t.len);
		memcpy(mix + t.from, t.new + t.from, cut - t.from);
		open_mix(&t, mix, false);
	}
	free(mix);
	free_torn(&t);
}

Test(crash, sectors_reach_the_disk_in_any_order)
{
	struct torn t = { 0 };
	char *mix = malloc(1 << 20);

	make_torn(&t, 20000);
	srand(7);
	for (unsigned round = 0; round < 40; round++) {
		memcpy(mix, t.old, t.len);
		for (size_t at = t.from; at < t.to; at += SECTOR)
			if (rand() % 2)
				memcpy(mix + at, t.new + at, SECTOR);
		open_mix(&t, mix, false);
	}
	free(mix);
	free_torn(&t);
}

/* A child appends and tells us each id it was given; we kill it and look. */
static void append_for_ever(struct box *b, int to)
{
	for (unsigned i = 0;; i++) {
		struct blob_ref ref;

		if (put_message(b->st, i, 10 + i * 37 % 30000, &ref))
			_exit(1);
		uint64_t line[2] = { ref.id, i };
		if (write(to, line, sizeof(line)) != sizeof(line))
			_exit(1);
		if (i % 3 == 0) {
			struct schedule_done end = { .id = ref.id };

			if (schedule_finish(b->st, &end))
				_exit(1);
			store_release(b->st, &ref);
		}
	}
}

Test(crash, nothing_acknowledged_is_lost_to_kill_9)
{
	struct box b;

	box_make(&b);
	b.options.journal_max_bytes = 64 << 20;
	for (unsigned round = 0; round < 8; round++) {
		int fds[2];
		struct seen *seen = calloc(1, sizeof(*seen));

		cr_assert_eq(pipe(fds), 0);
		pid_t child = fork();
		if (child == 0) {
			close(fds[0]);
			box_open(&b, &keep_nothing, NULL);
			append_for_ever(&b, fds[1]);
		}
		close(fds[1]);
		usleep(20000 + round * 15000);
		kill(child, SIGKILL);
		uint64_t line[2];
		uint64_t acked[8192][2];
		size_t count = 0;
		while (read(fds[0], line, sizeof(line)) == sizeof(line) &&
			count < array_len(acked)) {
			acked[count][0] = line[0];
			acked[count++][1] = line[1];
		}
		close(fds[0]);
		waitpid(child, NULL, 0);
		box_open(&b, &seeing, seen);
		for (size_t i = 0; i < count; i++)
			if (acked[i][1] % 3)
				cr_expect(message_is(b.st, acked[i][0], (unsigned)acked[i][1],
						  10 + acked[i][1] * 37 % 30000),
					"round %u: message %zu of %zu", round, i, count);
		free(seen);
		box_close(&b);
	}
	box_remove(&b);
}

/* The same for what is delivered: once, under the uid that was told, whatever the index had committed. */
static void deliver_for_ever(struct box *b, int to, unsigned first)
{
	for (unsigned i = first;; i++) {
		struct delivering d = { .account = 1, .seed = i, .size = 10 + i * 37 % 30000 };

		d.summary = SLICE("summary");
		if (deliver_one(b->st, &d) || (i % 8 == 0 && store_sync_all(b->st, 1)))
			_exit(1);
		uint64_t line[2] = { d.ref.id, (uint64_t)i << 32 | d.at.uid };
		if (write(to, line, sizeof(line)) != sizeof(line))
			_exit(1);
	}
}

static size_t read_lines(int from, uint64_t (*lines)[2], size_t max)
{
	size_t count = 0;

	while (count < max && read(from, lines[count], sizeof(*lines)) == sizeof(*lines))
		count++;
	return count;
}

static void look_at_inbox(struct box *b, uint64_t (*lines)[2], size_t count)
{
	static struct scanned all;
	struct message_scan scan = {
		.account = 1, .mailbox = MAILBOX_INBOX, .want = MESSAGE_WANT_SUMMARY
	};

	cr_assert_eq(store_sync_all(b->st, 1), OK);
	cr_assert_eq(scan_all(b->st, &scan, &all), OK);
	/* One more may have become durable that nobody was told of, in each life. */
	cr_expect(all.len >= count);
	for (size_t i = 0; i < count; i++) {
		uint32_t uid = (uint32_t)lines[i][1];
		unsigned seed = (unsigned)(lines[i][1] >> 32);

		cr_assert(uid >= 1 && uid <= all.len);
		cr_expect_eq(all.rows[uid - 1].uid, uid);
		cr_expect_eq(all.rows[uid - 1].blob, lines[i][0]);
		cr_expect(message_is(b->st, lines[i][0], seed, 10 + seed * 37 % 30000));
	}
}

Test(crash, nothing_delivered_is_lost_or_doubled_by_kill_9)
{
	static uint64_t lines[4096][2];
	size_t count = 0;
	struct box b;

	box_make(&b);
	b.options.journal_max_bytes = 64 << 20;
	box_open(&b, &keep_nothing, NULL);
	cr_assert_eq(mailbox_account_init(b.st, 1, SLICE("a.test")), OK);
	box_close(&b);
	for (unsigned round = 0; round < 6; round++) {
		int fds[2];

		cr_assert_eq(pipe(fds), 0);
		pid_t child = fork();
		if (child == 0) {
			close(fds[0]);
			box_open(&b, &keep_nothing, NULL);
			deliver_for_ever(&b, fds[1], round * 10000);
		}
		close(fds[1]);
		usleep(30000 + round * 15000);
		kill(child, SIGKILL);
		count += read_lines(fds[0], lines + count, array_len(lines) - count);
		close(fds[0]);
		waitpid(child, NULL, 0);
		box_open(&b, &keep_nothing, NULL);
		look_at_inbox(&b, lines, count);
		box_close(&b);
	}
	cr_expect(count > 0);
	box_remove(&b);
}
