/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of tables that conversations are found in. All that is known stands in rows; which keys
 * a full table sends down follows from them alone, so a replay makes the same tree. */
#include "store/conversation.h"

#include "store/absent.h"

enum { BITS = 2, CHILDREN = 1 << BITS };

_Static_assert((KEYS_THREADS_FULL + 1 + CHILDREN - 1) / CHILDREN == KEYS_THREADS_MOVED,
	"the most crowded child of a table with a key too many has as many");
_Static_assert(KEYS_THREADS_HEAD + KEYS_THREADS_FULL * KEYS_THREAD_BYTES <= INDEX_PAGE_MAX,
	"a table is a page at most");
_Static_assert(KEYS_THREADS_LEVELS == (64 + BITS - 1) / BITS, "every bit of a key is used");

/* The top of the tree has no bits in common, and a shift by all 64 is undefined. */
uint64_t conversation_begin(uint64_t key, unsigned level)
{
	return level ? key & ~(UINT64_MAX >> (level * BITS)) : 0;
}

unsigned conversation_child(uint64_t key, unsigned level)
{
	return (unsigned)(key << (level * BITS) >> (64 - BITS));
}

uint64_t conversation_nth(unsigned child, unsigned level)
{
	return (uint64_t)child << (64 - BITS) >> (level * BITS);
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

	must(table->len <= KEYS_THREADS_FULL);
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

/* The threads of a table's most crowded child, the lowest of several. */
struct crowd {
	unsigned child, first, len;
};

static struct crowd crowd_of(const struct keys_threads *table, unsigned level)
{
	unsigned counts[CHILDREN] = { 0 };
	struct crowd crowd = { 0 };

	for (unsigned i = 0; i < table->len; i++)
		counts[conversation_child(keys_thread_at(table, i).key, level)]++;
	for (unsigned i = 1; i < CHILDREN; i++)
		if (counts[i] > counts[crowd.child])
			crowd.child = i;
	for (unsigned i = 0; i < crowd.child; i++)
		crowd.first += counts[i];
	crowd.len = counts[crowd.child];
	return crowd;
}

/* All of the crowd if its table has room, and else as many as make room here: of those a full one
 * can send as many on. */
static void send_down(struct keys_threads *from, struct keys_threads *to, const struct crowd *crowd)
{
	unsigned room = KEYS_THREADS_FULL - MIN(to->len, (unsigned)KEYS_THREADS_FULL);

	keys_threads_move(to, from, crowd->first,
		MIN(crowd->len, MAX(room, (unsigned)KEYS_THREADS_MOVED)));
	*keys_threads_children(from) |= (unsigned char)(1U << crowd->child);
}

enum err conversation_add(struct changing *ch, const struct keys_thread *row)
{
	struct keys_threads tables[2];
	uint64_t key = row->key;

	absent_add(apply_absent(ch->ap), ch->account, key);
	enum err err = load(ch, key, 0, &tables[0]);
	if (!err)
		keys_threads_insert(&tables[0], row);
	for (unsigned level = 0; !err; level++) {
		struct keys_threads *table = &tables[level % 2], *child = &tables[(level + 1) % 2];

		if (table->len <= KEYS_THREADS_FULL)
			return save(ch, key, level, table);
		if (level + 1 == KEYS_THREADS_LEVELS)
			return ERR_CORRUPT; /* the lowest have four keys */
		struct crowd crowd = crowd_of(table, level);
		uint64_t down = keys_thread_at(table, crowd.first).key;
		err = load(ch, down, level + 1, child);
		if (!err) {
			send_down(table, child, &crowd);
			err = save(ch, key, level, table);
		}
		key = down;
	}
	return err;
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

enum err conversation_set(struct changing *ch, const struct conversation *c)
{
	struct keys_threads table;
	enum err err = load(ch, c->row.key, c->level, &table);

	if (err)
		return err;
	unsigned at = keys_threads_position(&table, c->row.key);
	if (at == table.len || keys_thread_at(&table, at).key != c->row.key)
		return ERR_CORRUPT;
	if (c->row.count)
		keys_threads_replace(&table, at, &c->row);
	else
		keys_threads_remove(&table, at, 1);
	err = save(ch, c->row.key, c->level, &table);
	return err || !is_empty(&table) ? err : forget_child(ch, c->row.key, c->level);
}
