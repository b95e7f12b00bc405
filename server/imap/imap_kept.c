/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows on the heap, and beside them what may be thrown away. What is made again counts too, and cannot
 * be had any more: hence one command of a worker at a time. */
#include "server/imap/imap_kept.h"

#include "core/fiber.h"
#include "proto/mime/summary.h"
#include "store/store.h"

#include <stdlib.h>

enum {
	MESSAGES_MAX = 1000,    /* of one command */
	KEPT_MAX = 1024 * 1024, /* bytes of what is known of them: they must fit into a record */
	PIECE_BYTES = 16 * 1024,
};

struct imap_kept_row {
	struct deliver_target target;
	struct blob_ref ref;
	slice summary;
	const uint64_t *keys;
	size_t key_count;
};

static void count(struct imap_kept *k)
{
	blob_aside_count(&k->own, k->cap * sizeof(*k->rows) + k->words.used_bytes);
	blob_aside_count(&k->memory, k->known.used_bytes);
}

static void give_up(struct blob_aside *memory)
{
	struct imap_kept *k = container_of(memory, struct imap_kept, memory);

	k->lost = k->len;
	arena_done(&k->known);
	blob_aside_count(memory, 0);
}

void imap_kept_begin(struct imap_kept *k, struct store *st)
{
	*k = (struct imap_kept){
		.store = st, .own = { .store = st }, .memory = { .store = st, .give_up = give_up }
	};
}

bool imap_kept_full(const struct imap_kept *k)
{
	size_t bytes = k->len * sizeof(*k->rows) + k->words.used_bytes + k->known_bytes;

	return k->len == MESSAGES_MAX || bytes > KEPT_MAX;
}

bool imap_kept_too_long(const struct imap_kept *k)
{
	return k->len && k->rows[0].ref.low < store_oldest_pressure(k->store);
}

static bool make_room(struct imap_kept *k)
{
	size_t cap = k->cap ? 2 * k->cap : 4;
	struct imap_kept_row *rows;

	if (k->len < k->cap)
		return true;
	rows = realloc(k->rows, cap * sizeof(*rows));
	if (!rows)
		return false;
	k->rows = rows;
	k->cap = cap;
	return true;
}

/* As the one before it, mostly. */
static slice keep_words(struct imap_kept *k, slice words)
{
	slice last = k->len ? k->rows[k->len - 1].target.keywords : SLICE("");

	return slice_eq(last, words) ? last : arena_dup(&k->words, words);
}

static void know(struct imap_kept *k, struct imap_kept_row *row, const struct deliver *d)
{
	uint64_t *keys = arena_array(&k->known, uint64_t, d->thread_key_count);

	if (d->thread_key_count)
		memcpy(keys, d->thread_keys, d->thread_key_count * sizeof(*keys));
	row->keys = keys;
	row->key_count = d->thread_key_count;
	row->summary = arena_dup(&k->known, d->summary);
}

enum err imap_kept_add(struct imap_kept *k, const struct deliver *d, const struct blob_ref *ref)
{
	size_t before = k->known.used_bytes;

	if (!make_room(k)) {
		store_release(k->store, ref);
		return ERR_NOMEM;
	}
	struct imap_kept_row *row = &k->rows[k->len];
	*row = (struct imap_kept_row){ .target = d->targets[0], .ref = *ref };
	row->target.keywords = keep_words(k, d->targets[0].keywords);
	know(k, row, d);
	k->known_bytes += k->known.used_bytes - before;
	k->len++;
	count(k);
	return OK;
}

/* --- The end -------------------------------------------------------------------------------------- */

static enum err read_body(struct imap_kept *k, const struct blob_ref *ref,
	struct summary_builder *to)
{
	char *buf = malloc(PIECE_BYTES);
	struct blob_reader r;
	size_t len = 1;
	enum err err = buf ? blob_open(&r, k->store, ref->id) : ERR_NOMEM;

	while (!err && len) {
		err = blob_read(&r, buf, PIECE_BYTES, &len);
		if (!err)
			summary_add(to, slice_of(buf, len));
	}
	free(buf);
	return err;
}

void imap_kept_describe(struct arena *a, slice summary, struct deliver *d,
	struct deliver_target *target)
{
	uint64_t *keys = arena_array(a, uint64_t, SUMMARY_REFS_MAX + 1);
	struct summary made;

	if (summary_open(summary, &made)) {
		d->thread_key_count =
			MIN(summary_thread_keys(&made, keys), (unsigned)MESSAGE_THREAD_KEYS_MAX);
		d->thread_keys = keys;
		if (target)
			target->open_end = made.open_end;
	}
	if (summary.len <= MESSAGE_SUMMARY_MAX)
		d->summary = summary;
}

static enum err know_again(struct imap_kept *k, struct imap_kept_row *row)
{
	struct summary_builder *builder = summary_begin();
	struct arena building = { 0 };
	struct out made = out_arena(&building);
	struct deliver d = { 0 };
	enum err err = read_body(k, &row->ref, builder);

	if (err) {
		summary_drop(builder);
		return err;
	}
	summary_end(builder, &made);
	imap_kept_describe(&building, out_written(&made), &d, NULL);
	know(k, row, &d);
	arena_done(&building);
	count(k);
	return OK;
}

static enum err know_all_again(struct imap_kept *k)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < k->lost; i++)
		err = know_again(k, &k->rows[i]);
	return err;
}

static enum err deliver_all(struct imap_kept *k, struct delivered *out_first, modseq *out_pos)
{
	struct deliver *all = calloc(k->len, sizeof(*all));
	struct deliver_many many = { .messages = all, .len = k->len };
	enum err err = all ? OK : ERR_NOMEM;

	for (size_t i = 0; !err && i < k->len; i++) {
		const struct imap_kept_row *row = &k->rows[i];

		all[i] = (struct deliver){ .summary = row->summary,
			.thread_keys = row->keys,
			.thread_key_count = row->key_count,
			.targets = &row->target,
			.target_count = 1,
			.blob = row->ref.id,
			.low = row->ref.low,
			.size = row->ref.size };
	}
	if (!err)
		err = message_deliver_many(k->store, &many, out_first, out_pos);
	free(all);
	return err;
}

/* From now on nothing is thrown away. */
static void keep_all(struct imap_kept *k)
{
	blob_aside_count(&k->memory, 0);
	k->memory.give_up = NULL;
	count(k);
}

enum err imap_kept_deliver(struct imap_kept *k, struct fiber_mutex *one,
	struct delivered *out_first, modseq *out_pos)
{
	enum err err;

	if (!k->lost) {
		keep_all(k);
		return deliver_all(k, out_first, out_pos);
	}
	err = fiber_mutex_lock(one, FIBER_FOREVER);
	if (err)
		return err;
	keep_all(k);
	err = know_all_again(k);
	if (!err)
		err = deliver_all(k, out_first, out_pos);
	arena_done(&k->known);
	blob_aside_count(&k->memory, 0);
	fiber_mutex_unlock(one);
	return err;
}

void imap_kept_drop(struct imap_kept *k)
{
	for (size_t i = 0; i < k->len; i++)
		store_release(k->store, &k->rows[i].ref);
	k->len = k->cap = 0;
	arena_done(&k->words);
	arena_done(&k->known);
	free(k->rows);
	k->rows = NULL;
	count(k);
}
