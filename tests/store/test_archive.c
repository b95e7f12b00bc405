/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The archive by itself: its map made again over holes and damage, compaction, open files. */
#include "store/archive_int.h"
#include "store/store_int.h"
#include "tests/store/store_support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum how { NEW, AGAIN, REBUILD };
enum { SEGMENT = 256 * 1024, META = 20 };

struct place {
	struct tmpdir dir;
	struct store_options options;
	struct archive *ar;
};

static void open_it(struct place *p, enum how how)
{
	struct archive_open args = { .path = p->dir.path,
		.options = &p->options,
		.store_id = UINT64_C(0x1122334455667788),
		.segment_bytes = SEGMENT,
		.create = how != AGAIN,
		.rebuild = how == REBUILD };

	cr_assert_eq(archive_open(&args, &p->ar), OK);
}

static void make(struct place *p)
{
	*p = (struct place){ .options = store_options_default() };
	p->options.map_bytes = 4 << 20;
	tmpdir_make(&p->dir);
	open_it(p, NEW);
}

static void done(struct place *p)
{
	archive_close(p->ar);
	tmpdir_remove(&p->dir);
}

/* A new map in the place of the old one. */
static struct archive_rebuilt rebuild(struct place *p)
{
	struct archive_rebuilt made;
	char path[512];

	archive_close(p->ar);
	snprintf(path, sizeof(path), "%s/map/data.mdb", p->dir.path);
	cr_assert_eq(remove(path), 0);
	open_it(p, REBUILD);
	cr_assert_eq(archive_rebuild(p->ar, &made), OK);
	archive_close(p->ar);
	open_it(p, AGAIN);
	return made;
}

static void begin(struct place *p, uint64_t id, size_t len, size_t put)
{
	struct archive_copy copy = { .id = id, .at = 7, .meta_len = META, .body_len = len };
	char *body = calloc(1, META + len + 1);

	body_bytes((unsigned)id, 0, body, META + len);
	cr_assert_eq(archive_begin(p->ar, &copy), OK);
	cr_assert_eq(archive_put(p->ar, slice_of(body, MIN(put, META + len))), OK);
	free(body);
}

static void put(struct place *p, uint64_t id, size_t len)
{
	begin(p, id, len, META + len);
	cr_assert_eq(archive_end(p->ar), OK);
}

static bool whole(struct place *p, uint64_t id, size_t len)
{
	struct archive_place at;
	char *have = calloc(1, len + 1), *want = calloc(1, META + len + 1);
	struct archive_span span = { .len = len };
	bool good = archive_find(p->ar, id, &at) == OK && at.body_len == len &&
		archive_verify(p->ar, id, &at) == OK;

	span.segment = at.segment;
	span.offset = at.offset + ARCHIVE_HEAD + META;
	body_bytes((unsigned)id, 0, want, META + len);
	good = good && archive_read(p->ar, span, have) == OK && !memcmp(have, want + META, len);
	free(have);
	free(want);
	return good;
}

static void overwrite(struct place *p, uint32_t segment, uint64_t offset, slice bytes)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%08u", p->dir.path, segment);
	FILE *f = fopen(path, "r+b");
	cr_assert(f);
	fseek(f, (long)offset, SEEK_SET);
	cr_assert_eq(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
	fclose(f);
}

Test(archive, rebuild_passes_over_abandoned_copies)
{
	struct place p;

	make(&p);
	for (uint64_t id = 1; id <= 60; id++) {
		/* Larger than the write buffer too, of which a part is on the disk by then. */
		size_t len = id % 20 == 0 ? 3u << 20 : 1000 + 37 * (size_t)id;

		begin(&p, id, len, id % 3 ? META + len : len * (size_t)(id % 4) / 4);
		if (id % 3)
			cr_assert_eq(archive_end(p.ar), OK);
		else
			archive_abandon(p.ar);
		if (id % 7 == 0)
			cr_assert_eq(archive_commit(p.ar), OK);
	}
	cr_assert_eq(archive_commit(p.ar), OK);
	cr_expect_eq(rebuild(&p).found, 40u);
	for (uint64_t id = 1; id <= 60; id++) {
		size_t len = id % 20 == 0 ? 3u << 20 : 1000 + 37 * (size_t)id;

		cr_expect_eq(whole(&p, id, len), id % 3 != 0, "%u", (unsigned)id);
	}
	done(&p);
}

Test(archive, rebuild_goes_on_behind_damage)
{
	static const uint64_t damaged[] = { 1, 9, 10, 30 };
	struct archive_place at;
	struct place p;

	make(&p);
	for (uint64_t id = 1; id <= 30; id++)
		put(&p, id, 5000);
	cr_assert_eq(archive_commit(p.ar), OK);
	for (size_t i = 0; i < array_len(damaged); i++) {
		cr_assert_eq(archive_find(p.ar, damaged[i], &at), OK);
		overwrite(&p, at.segment, at.offset + 20, SLICE("damage"));
	}
	struct archive_rebuilt made = rebuild(&p);
	cr_expect_eq(made.found, 26u);
	cr_expect_eq(made.skipped_bytes, 4u * (ARCHIVE_HEAD + META + 5000));
	for (uint64_t id = 1; id <= 30; id++)
		cr_expect_eq(whole(&p, id, 5000), id != 1 && id != 9 && id != 10 && id != 30);
	done(&p);
}

/* A crash in a copy leaves a head whose body is not there; the older copy is the one to name. */
Test(archive, rebuild_prefers_what_is_whole)
{
	struct archive_place at;
	struct archive_stats s;
	char copy[ARCHIVE_HEAD + META + 9000] = { 0 };
	struct place p;

	make(&p);
	for (uint64_t id = 1; id <= 5; id++)
		put(&p, id, 9000);
	cr_assert_eq(archive_commit(p.ar), OK);
	cr_assert_eq(archive_find(p.ar, 3, &at), OK);
	struct archive_span head = { .segment = at.segment, .offset = at.offset, .len = 4000 };
	cr_assert_eq(archive_read(p.ar, head, copy), OK);
	overwrite(&p, at.segment, 5 * sizeof(copy) + 11, slice_of(copy, sizeof(copy)));
	cr_expect_eq(rebuild(&p).found, 5u);
	for (uint64_t id = 1; id <= 5; id++)
		cr_expect(whole(&p, id, 9000));
	archive_stats(p.ar, &s);
	cr_expect_eq(s.live_bytes, 5 * sizeof(copy));
	done(&p);
}

/* --- Compaction --- */

static bool alive_by_table(void *arg, uint64_t id)
{
	return ((const bool *)arg)[id];
}

static void compact(struct place *p, bool *alive, unsigned rounds)
{
	struct archive_care care = { .alive = alive_by_table, .arg = alive, .budget = 1 << 20 };

	for (unsigned i = 0; i < rounds; i++)
		cr_assert_eq(archive_compact(p->ar, &care), OK);
}

Test(archive, disk_use_stays_within_its_bound)
{
	enum { COUNT = 2000, LEN = 3000 };
	static bool alive[COUNT + 1];
	struct archive_stats s;
	struct place p;

	make(&p);
	srand(3);
	for (uint64_t id = 1; id <= COUNT; id++) {
		put(&p, id, LEN);
		alive[id] = true;
		if (id % 100 == 0)
			cr_assert_eq(archive_commit(p.ar), OK);
	}
	for (unsigned left = 90; left > 10; left -= 20) {
		for (uint64_t id = 1; id <= COUNT; id++)
			alive[id] = alive[id] && rand() % 100 < (int)left;
		compact(&p, alive, 30);
		archive_stats(p.ar, &s);
		cr_expect_leq(s.bytes, s.live_bytes * 2 + 2 * SEGMENT, "%llu bytes, %llu live",
			(unsigned long long)s.bytes, (unsigned long long)s.live_bytes);
	}
	archive_close(p.ar);
	open_it(&p, AGAIN);
	for (uint64_t id = 1; id <= COUNT; id++)
		cr_expect_eq(whole(&p, id, LEN), alive[id]);
	memset(alive, 0, sizeof(alive));
	compact(&p, alive, 30);
	archive_stats(p.ar, &s);
	cr_expect_eq(s.live_bytes, 0u);
	cr_expect_leq(s.segments, 1u);
	done(&p);
}

/* What a damaged head hides keeps its segment; damaged bodies move on and stay damaged. */
Test(archive, compaction_loses_nothing_to_damage)
{
	static bool alive[101];
	struct archive_place at;
	struct place p;

	make(&p);
	for (uint64_t id = 1; id <= 100; id++)
		put(&p, id, 3000);
	cr_assert_eq(archive_commit(p.ar), OK);
	alive[10] = alive[20] = alive[30] = true;
	cr_assert_eq(archive_find(p.ar, 10, &at), OK);
	overwrite(&p, at.segment, at.offset + 9, SLICE("damage"));
	cr_assert_eq(archive_find(p.ar, 20, &at), OK);
	overwrite(&p, at.segment, at.offset + 900, SLICE("damage"));
	uint32_t before = at.segment;
	archive_close(p.ar);
	open_it(&p, AGAIN);
	compact(&p, alive, 5);
	cr_expect(whole(&p, 30, 3000));
	cr_assert_eq(archive_find(p.ar, 20, &at), OK);
	cr_expect_neq(at.segment, before);
	cr_expect_eq(archive_verify(p.ar, 20, &at), ERR_CORRUPT);
	/* Its body is still there, whole. */
	cr_assert_eq(archive_find(p.ar, 10, &at), OK);
	char have[3000], want[META + 3000];
	struct archive_span span = { at.segment, at.offset + ARCHIVE_HEAD + META, sizeof(have) };
	cr_assert_eq(archive_read(p.ar, span, have), OK);
	body_bytes(10, 0, want, sizeof(want));
	cr_expect_arr_eq(have, want + META, sizeof(have));
	done(&p);
}

/* --- Open files --- */

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

Test(archive, files_kept_open_are_few_and_let_go)
{
	enum { COUNT = 100 };
	static bool alive[COUNT + 1];
	struct place p;

	make(&p);
	unsigned before = open_files();
	for (uint64_t id = 1; id <= COUNT; id++)
		put(&p, id, SEGMENT);
	cr_assert_eq(archive_commit(p.ar), OK);
	for (unsigned round = 0; round < 2; round++)
		for (uint64_t id = 1; id <= COUNT; id++)
			cr_expect(whole(&p, id, SEGMENT));
	cr_expect_gt(open_files(), before + 8);
	cr_expect_leq(open_files(), before + ARCHIVE_FILES + 1);
	compact(&p, alive, 3);
	cr_expect_leq(open_files(), before + 2);
	done(&p);
}

/* An empty map is no map: bodies would be gone without a word. */
/* How many pages of a segment are in memory; `drop`: after as many as possible were dropped. */
static size_t pages_there(struct place *p, uint32_t segment, bool drop)
{
	unsigned char pages[SEGMENT / 4096 + 1] = { 0 };
	char path[512];
	size_t there = 0;

	snprintf(path, sizeof(path), "%s/%08u", p->dir.path, segment);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	off_t size = lseek(fd, 0, SEEK_END);
	if (drop) {
		cr_assert_eq(fdatasync(fd), 0);
		cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	}
	void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	cr_assert_neq(map, MAP_FAILED);
	cr_assert_eq(mincore(map, (size_t)size, pages), 0);
	munmap(map, (size_t)size);
	close(fd);
	for (size_t i = 0; i < array_len(pages); i++)
		there += pages[i] & 1;
	return there;
}

/* On a file system in memory all is there at once, and nothing is said by this. */
Test(archive, bodies_that_are_expected_are_fetched_with_what_lies_between)
{
	enum { BODIES = 10, BYTES = 20000 };
	struct blob_stretch stretch = { 0 };
	struct store st = { 0 };
	struct place p;
	size_t there;

	make(&p);
	for (uint64_t id = 1; id <= BODIES; id++)
		put(&p, id, BYTES);
	cr_assert_eq(archive_commit(p.ar), OK);
	st.archive = p.ar;
	there = pages_there(&p, 1, true);
	for (uint64_t id = 1; id <= BODIES; id += 1 + (id % 3 == 0)) {
		struct blob_reader r = { .store = &st };
		struct archive_place at;

		cr_assert_eq(archive_find(p.ar, id, &at), OK);
		cr_assert_eq(at.segment, 1u);
		r.archive_segment = at.segment;
		r.archive_at = at.offset;
		r.ref.size = at.body_len;
		blob_expect(&stretch, &r, UINT64_MAX);
		cr_expect(stretch.from < stretch.end, "all of them are one stretch");
	}
	size_t wanted = (size_t)(stretch.end - stretch.from) / 4096;
	cr_expect_gt(wanted, (size_t)(BODIES - 2) * BYTES / 4096);
	cr_expect_eq(pages_there(&p, 1, false), there, "nothing is fetched before its end");
	blob_expect_end(&stretch);
	for (unsigned i = 0; i < 1000 && pages_there(&p, 1, false) < wanted; i++)
		usleep(10 * 1000);
	cr_expect_geq(pages_there(&p, 1, false), wanted);
	blob_expect(&stretch, &(struct blob_reader){ .store = &st, .archive_segment = 99 }, 10);
	blob_expect_end(&stretch);
	done(&p);
}

Test(archive, a_map_that_vanished_is_damage)
{
	struct archive_open args = { .segment_bytes = SEGMENT };
	char path[512];
	struct place p;

	make(&p);
	put(&p, 1, 100);
	cr_assert_eq(archive_commit(p.ar), OK);
	archive_close(p.ar);
	snprintf(path, sizeof(path), "%s/map/data.mdb", p.dir.path);
	cr_assert_eq(remove(path), 0);
	args.path = p.dir.path;
	args.options = &p.options;
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(archive_open(&args, &p.ar), ERR_CORRUPT);
	tmpdir_remove(&p.dir);
}
