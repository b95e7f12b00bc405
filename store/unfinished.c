/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recipients whose end may stand in what a journal lost: on hold they come back, so that nothing is sent
 * twice by itself, and nobody is forgotten.
 *
 * What is known of them is read from the records that are there: the messages before the gap, and every
 * recipient that was parked or finished. Ids are positions, so messages come sorted. */
#include "store/check_int.h"

#include "store/frame.h"
#include "store/keys.h"

#include <stdlib.h>

struct ended {
	uint64_t id;
	uint32_t n;
};

struct known {
	journal_pos from, to;
	struct blob_ref *messages;
	struct ended *ends;
	size_t message_count, message_cap, end_count, end_cap;
};

/* The next free row; NULL: no memory. */
static void *add_row(void **rows, size_t *count, size_t *cap, size_t bytes)
{
	if (*count == *cap) {
		size_t more = *cap ? *cap * 2 : 1024;
		void *grown = realloc(*rows, more * bytes);

		if (!grown)
			return NULL;
		*rows = grown;
		*cap = more;
	}
	return (char *)*rows + bytes * (*count)++;
}

static enum err note_message(struct known *k, const struct journal_record *rec, slice payload)
{
	struct frame_message m;
	struct blob_ref *row;

	if (rec->pos < k->from || rec->pos >= k->to ||
		!frame_get_message(payload, payload.len, &m) || !m.meta_len)
		return OK;
	row = add_row((void **)&k->messages, &k->message_count, &k->message_cap, sizeof(*row));
	if (!row)
		return ERR_NOMEM;
	*row = (struct blob_ref){ .id = rec->pos, .low = m.low ? m.low : rec->pos, .size = m.size };
	return OK;
}

static enum err note(void *arg, const struct journal_record *rec, slice payload)
{
	struct known *k = arg;
	struct schedule_entry entry;
	struct schedule_done done;
	struct ended end, *row;

	if (rec->type == JOURNAL_MESSAGE)
		return note_message(k, rec, payload);
	if (rec->type == JOURNAL_PARK && keys_get_park(payload, &entry))
		end = (struct ended){ entry.ref.id, entry.n };
	else if (rec->type == JOURNAL_DONE && keys_get_done(payload, &done))
		end = (struct ended){ done.id, done.n };
	else
		return OK;
	if (end.id < k->from || end.id >= k->to)
		return OK;
	row = add_row((void **)&k->ends, &k->end_count, &k->end_cap, sizeof(*row));
	if (!row)
		return ERR_NOMEM;
	*row = end;
	return OK;
}

static int compare(const void *left, const void *right)
{
	const struct ended *x = left, *y = right;

	return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->n > y->n) - (x->n < y->n);
}

static void hold_message(struct check *ck, const struct known *k, const struct blob_ref *ref)
{
	struct arena a = { 0 };
	slice meta;
	bool more = store_message_meta(ck->st, ref->id, &a, &meta) == OK;

	if (!more)
		check_say(ck, "message %llx: its recipients are not known",
			(unsigned long long)ref->id);
	for (uint32_t n = 0; more; n++) {
		struct ended end = { ref->id, n };

		if (k->end_count && bsearch(&end, k->ends, k->end_count, sizeof(end), compare))
			more = check_has_recipient(ck, ref, meta, n);
		else
			more = check_restore_entry(ck, ref, meta, n);
	}
	arena_done(&a);
}

enum err check_hold_unfinished(struct check *ck, journal_pos from, journal_pos to)
{
	struct known known = { .from = from, .to = to };
	struct journal_walk walk = { .each = note, .arg = &known };
	enum err err = ck->run->restore ? journal_walk(ck->st->journal, &walk) : OK;

	if (!err && known.end_count)
		qsort(known.ends, known.end_count, sizeof(*known.ends), compare);
	for (size_t i = 0; !err && i < known.message_count; i++)
		hold_message(ck, &known, &known.messages[i]);
	free(known.messages);
	free(known.ends);
	return err;
}
