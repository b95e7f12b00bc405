/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of tables that conversations are found in. All that is known stands in rows; which keys
 * go down when follows from them alone, so a replay makes the same tree. */
#include "store/conversation.h"

#include "store/absent.h"

#include <stdlib.h>

enum { BITS = 2, CHILDREN = 1 << BITS, TOP_FULL = 170 };

_Static_assert(KEYS_THREADS_HEAD + TOP_FULL * KEYS_THREAD_BYTES <= INDEX_PAGE_MAX,
	"the table at the top is a row, however long its fields");
_Static_assert(KEYS_THREADS_LEVELS == 1 + 64 / BITS, "every bit of a key is used");

/* How many bits the keys of a table have in common: none at the top, and none in its only child. */
static unsigned common_bits(unsigned level)
{
	return level ? (level - 1) * BITS : 0;
}

/* A shift by all 64 is undefined. */
uint64_t conversation_begin(uint64_t key, unsigned level)
{
	return level > 1 ? key & ~(UINT64_MAX >> common_bits(level)) : 0;
}

unsigned conversation_child(uint64_t key, unsigned level)
{
	return level ? (unsigned)(key << common_bits(level) >> (64 - BITS)) : 0;
}

uint64_t conversation_nth(unsigned child, unsigned level)
{
	return (uint64_t)child << (64 - BITS) >> common_bits(level);
}

/* --- Tables --- */

static void table_key(struct keys_buf *out, const struct changing *ch, uint64_t key, unsigned level)
{
	keys_threads(out,
		&(struct keys_threads_place){ .account = ch->account,
			.level = (uint8_t)level,
			.begin = conversation_begin(key, level) });
}

/* Empty when there is none. */
static enum err load(struct changing *ch, uint64_t key, unsigned level, struct keys_threads *out)
{
	struct keys_buf row;
	slice value;

	keys_new_threads(out);
	table_key(&row, ch, key, level);
	enum err err = apply_get(ch->ap, keys_slice(&row), &value);
	if (err)
		return err == ERR_NOT_FOUND ? OK : err;
	return keys_get_threads(value, out) ? OK : ERR_CORRUPT;
}

static bool is_empty(struct keys_threads *table)
{
	return !table->len && !*keys_threads_children(table);
}

static enum err save(struct changing *ch, uint64_t key, unsigned level, struct keys_threads *table)
{
	struct keys_buf row;

	table_key(&row, ch, key, level);
	if (is_empty(table))
		return apply_delete(ch->ap, keys_slice(&row));
	return apply_put(ch->ap, keys_slice(&row), keys_threads_slice(table, level > 0));
}

/* --- Finding --- */

static enum err find(struct changing *ch, uint64_t key, struct conversation *out)
{
	uint8_t children = 0;
	struct keys_buf row;
	slice value;

	for (unsigned level = 0; level < KEYS_THREADS_LEVELS; level++) {
		table_key(&row, ch, key, level);
		enum err err = apply_get(ch->ap, keys_slice(&row), &value);
		if (err) /* a child that its parent promised must be there */
			return err == ERR_NOT_FOUND ? (level ? ERR_CORRUPT : OK) : err;
		if (!keys_find_thread(value, key, &out->row, &children))
			return ERR_CORRUPT;
		out->level = (uint8_t)level;
		if (out->row.count || !(children >> conversation_child(key, level) & 1))
			return OK;
	}
	return ERR_CORRUPT;
}

/* Every table of the account. */
static enum err each_table(struct changing *ch, void (*fn)(void *arg, const struct keys_threads *t),
	void *arg)
{
	struct index_cursor c = { 0 };
	struct keys_threads table;
	struct keys_buf prefix;

	keys_account(&prefix, KEYS_THREAD, ch->account);
	enum err err = apply_seek(ch->ap, &c, keys_slice(&prefix), keys_slice(&prefix));
	while (!err) {
		if (!keys_get_threads(c.value, &table)) {
			err = ERR_CORRUPT;
			break;
		}
		fn(arg, &table);
		err = apply_next(&c);
	}
	apply_seek_done(&c);
	return err == ERR_NOT_FOUND ? OK : err;
}

static void count_keys(void *arg, const struct keys_threads *t)
{
	*(uint64_t *)arg += t->len;
}

static void add_present(void *arg, const struct keys_threads *t)
{
	struct changing *ch = arg;

	for (unsigned i = 0; i < t->len; i++)
		absent_add(apply_absent(ch->ap), ch->account, keys_thread_at(t, i).key);
}

static enum err learn_keys(struct changing *ch)
{
	uint64_t keys = 0;
	enum err err = each_table(ch, count_keys, &keys);

	if (err || !absent_make(apply_absent(ch->ap), ch->account, keys))
		return err;
	err = each_table(ch, add_present, ch);
	if (err)
		absent_forget(apply_absent(ch->ap), ch->account);
	return err;
}

void conversation_soon(const struct changing *ch, const uint64_t *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		absent_soon(apply_absent(ch->ap), ch->account, keys[i]);
}

enum err conversation_find(struct changing *ch, uint64_t key, struct conversation *out)
{
	*out = (struct conversation){ .row = { .key = key } };
	if (absent_says(apply_absent(ch->ap), ch->account, key))
		return OK;
	enum err err = find(ch, key, out);
	if (!err && !out->row.count && absent_wanted(apply_absent(ch->ap), ch->account, out->level))
		err = learn_keys(ch);
	return err;
}

/* --- Adding --- */

/* Threads on their way down: those of the table at hand are the last, in order of their keys, and
 * those of tables above that wait to be saved are before them. */
struct moving {
	struct changing *ch;
	struct keys_thread *threads;
	size_t len, cap;
};

static enum err make_room(struct moving *m, size_t more)
{
	if (m->len + more <= m->cap)
		return OK;
	size_t cap = (m->len + more) * 2;
	struct keys_thread *threads = realloc(m->threads, cap * sizeof(*threads));
	if (!threads)
		return ERR_NOMEM;
	m->threads = threads;
	m->cap = cap;
	return OK;
}

/* None of which is there yet; from the highest down, so that each is moved once. */
static enum err merge(struct moving *m, size_t first, const struct keys_threads *table)
{
	size_t old = m->len - first;
	enum err err = make_room(m, table->len);

	if (err)
		return err;
	m->len += table->len;
	struct keys_thread *to = m->threads + first;
	for (unsigned left = table->len; left;) {
		struct keys_thread last = keys_thread_at(table, left - 1);
		bool other = old && to[old - 1].key > last.key;

		to[old + left - 1] = other ? to[old - 1] : last;
		old -= other;
		left -= !other;
	}
	return OK;
}

/* Those of one child: the last of all. */
struct crowd {
	unsigned child;
	size_t len;
};

static enum err take_in(struct moving *m, size_t first, unsigned level, uint8_t *out_children)
{
	struct keys_threads table;
	enum err err = load(m->ch, m->threads[first].key, level, &table);

	if (err)
		return err;
	*out_children = *keys_threads_children(&table);
	return merge(m, first, &table);
}

/* What is left of them is the table. */
static enum err leave(struct moving *m, size_t first, unsigned level, uint64_t key,
	uint8_t children)
{
	struct keys_threads table;

	keys_new_threads(&table);
	*keys_threads_children(&table) = children;
	keys_threads_fill(&table, m->threads + first, m->len - first);
	m->len = first;
	return save(m->ch, key, level, &table);
}

/* Brings the threads of the most crowded child, the lowest of several, to the end. */
static enum err part_crowd(struct moving *m, size_t first, unsigned level, struct crowd *out)
{
	size_t counts[CHILDREN] = { 0 }, from = first;

	*out = (struct crowd){ 0 };
	for (size_t i = first; i < m->len; i++)
		counts[conversation_child(m->threads[i].key, level)]++;
	for (unsigned i = 1; i < CHILDREN; i++)
		if (counts[i] > counts[out->child])
			out->child = i;
	for (unsigned i = 0; i < out->child; i++)
		from += counts[i];
	out->len = counts[out->child];
	enum err err = make_room(m, out->len);
	if (err)
		return err;
	struct keys_thread *crowd = m->threads + from;
	memcpy(m->threads + m->len, crowd, out->len * sizeof(*crowd));
	memmove(crowd, crowd + out->len, (m->len - from) * sizeof(*crowd));
	return OK;
}

/* The threads from `first` on come to their table of this level; whole crowds go on until it is a
 * row. Goes as deep as the tree, with what waits in `moving` and not on the stack. */
static enum err settle(struct moving *m, size_t first, unsigned level)
{
	uint64_t key = m->threads[first].key;
	struct crowd crowd;
	uint8_t children;

	if (level == KEYS_THREADS_LEVELS)
		return ERR_CORRUPT; /* the lowest have four keys */
	enum err err = take_in(m, first, level, &children);
	while (!err && !keys_threads_fit(m->threads + first, m->len - first)) {
		err = part_crowd(m, first, level, &crowd);
		children |= (uint8_t)(1U << crowd.child);
		if (!err)
			err = settle(m, m->len - crowd.len, level + 1);
	}
	return err ? err : leave(m, first, level, key, children);
}

static enum err settle_threads(struct changing *ch, const struct keys_threads *from, unsigned level)
{
	struct moving m = { .ch = ch };
	enum err err = merge(&m, 0, from);

	if (!err)
		err = settle(&m, 0, level);
	free(m.threads);
	return err;
}

enum err conversation_add(struct changing *ch, const struct keys_thread *row)
{
	struct keys_threads top;

	absent_add(apply_absent(ch->ap), ch->account, row->key);
	enum err err = load(ch, row->key, 0, &top);
	if (!err && top.len >= TOP_FULL) {
		err = settle_threads(ch, &top, 1);
		*keys_threads_children(&top) = 1;
		keys_threads_fill(&top, NULL, 0);
	}
	if (err)
		return err;
	return keys_threads_insert(&top, row) ? save(ch, row->key, 0, &top) : ERR_CORRUPT;
}

/* --- Changing --- */

/* A table is gone: its parent forgets it, and goes too if nothing else is in it. */
static enum err forget_child(struct changing *ch, uint64_t key, unsigned level)
{
	struct keys_threads table;
	enum err err;

	while (level--) {
		err = load(ch, key, level, &table);
		*keys_threads_children(&table) &=
			(unsigned char)~(1U << conversation_child(key, level));
		if (!err)
			err = save(ch, key, level, &table);
		if (err || !is_empty(&table))
			return err;
	}
	return OK;
}

/* A count that makes every field of its table longer may need more than a page. */
static enum err settle_one(struct changing *ch, const struct conversation *c)
{
	struct keys_threads one;

	keys_new_threads(&one);
	if (!keys_threads_insert(&one, &c->row))
		return ERR_CORRUPT;
	return settle_threads(ch, &one, c->level);
}

/* Its table, and its place there; it is looked for anew if the change of another moved it. */
static enum err locate(struct changing *ch, struct conversation *c, struct keys_threads *out,
	unsigned *out_at)
{
	struct conversation anew;

	for (unsigned tries = 0; tries < 2; tries++) {
		enum err err = load(ch, c->row.key, c->level, out);
		if (err)
			return err;
		*out_at = keys_threads_position(out, c->row.key);
		if (*out_at < out->len && keys_thread_at(out, *out_at).key == c->row.key)
			return OK;
		err = find(ch, c->row.key, &anew);
		if (err)
			return err;
		c->level = anew.level;
	}
	return ERR_CORRUPT;
}

enum err conversation_set(struct changing *ch, struct conversation *c)
{
	struct keys_threads table;
	unsigned at;
	enum err err = locate(ch, c, &table, &at);

	if (err)
		return err;
	bool fits = c->row.count && keys_threads_replace(&table, at, &c->row);
	if (!fits)
		keys_threads_remove(&table, at);
	err = save(ch, c->row.key, c->level, &table);
	if (!err && !fits && c->row.count)
		return settle_one(ch, c);
	return err || !is_empty(&table) ? err : forget_child(ch, c->row.key, c->level);
}

/* --- Many at once --- */

/* How often the key stands at `at`. */
static uint32_t times(const uint64_t *keys, size_t len, size_t at)
{
	size_t end = at;

	while (end < len && keys[end] == keys[at])
		end++;
	return (uint32_t)(end - at);
}

static void take_away(struct keys_threads *table, uint64_t key, uint32_t n)
{
	unsigned at = keys_threads_position(table, key);
	struct keys_thread t = keys_thread_at(table, at);

	if (t.count > n) {
		t.count -= n;
		must(keys_threads_replace(table, at, &t)); /* no field grows */
	} else {
		keys_threads_remove(table, at);
	}
}

/* Of those that stand in a table a body fewer; the others are left, at the front of the array. */
static enum err leave_table(struct changing *ch, uint64_t *keys, size_t *len, unsigned level)
{
	uint64_t first = keys[0];
	struct keys_threads table;
	struct keys_thread row;
	struct keys_buf place;
	bool copied = false;
	uint8_t children;
	size_t left = 0;
	slice value;

	table_key(&place, ch, first, level);
	enum err err = apply_get(ch->ap, keys_slice(&place), &value);
	if (err)
		return err;
	for (size_t at = 0; at < *len;) {
		uint32_t n = times(keys, *len, at);

		if (!keys_find_thread(value, keys[at], &row, &children))
			return ERR_CORRUPT;
		if (row.count && !copied && !keys_get_threads(value, &table))
			return ERR_CORRUPT;
		copied = copied || row.count;
		if (row.count)
			take_away(&table, keys[at], n);
		else if (children >> conversation_child(keys[at], level) & 1)
			for (uint32_t i = 0; i < n; i++)
				keys[left++] = keys[at + i];
		at += n;
	}
	*len = left;
	if (copied)
		err = save(ch, first, level, &table);
	return err || !copied || !is_empty(&table) ? err : forget_child(ch, first, level);
}

/* Down the tree once, with what belongs to each child. */
static enum err leave_below(struct changing *ch, uint64_t *keys, size_t len, unsigned level)
{
	enum err err = leave_table(ch, keys, &len, level);

	if (err == ERR_NOT_FOUND) /* a child that its parent promised must be there */
		return level ? ERR_CORRUPT : OK;
	for (size_t at = 0; !err && at < len;) {
		unsigned child = conversation_child(keys[at], level);
		size_t end = at;

		while (end < len && conversation_child(keys[end], level) == child)
			end++;
		err = level + 1 < KEYS_THREADS_LEVELS ?
			leave_below(ch, keys + at, end - at, level + 1) :
			ERR_CORRUPT;
		at = end;
	}
	return err;
}

enum err conversation_leave(struct changing *ch, uint64_t *keys, size_t len)
{
	return len ? leave_below(ch, keys, len, 0) : OK;
}
