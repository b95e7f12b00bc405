/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What records do to messages: copy and move them to another mailbox of the account. */
#include "store/mailbox_int.h"

#include <stdlib.h>

struct copying {
	struct changing *ch;
	const struct mailbox_change *c;
	struct boxed source, other, *to; /* `to` is the source when both are one */
	struct keyword_set from_set, to_set;
	uint64_t mapped;                    /* keywords of the source that were looked up */
	uint64_t map[MAILBOX_KEYWORDS_MAX]; /* theirs, as bits of the other; 0: no room */
	struct logging lg;
	struct picking p;
	uint32_t count, runs; /* of what is there */
};

enum { RUN_BYTES = 10, WIDE_RUNS = INDEX_OUTCOME_WIDE / RUN_BYTES - 1 };

/* Keyword bits mean something within one mailbox only. */
static uint64_t map_keywords(struct copying *cp, uint64_t bits)
{
	uint64_t out = 0;

	if (cp->to == &cp->source)
		return bits;
	for (unsigned i = 0; i < cp->from_set.len; i++) {
		uint64_t bit = UINT64_C(1) << i;

		if (!(bits & bit))
			continue;
		if (!(cp->mapped & bit))
			(void)!keywords_bits(&cp->to_set, cp->from_set.names[i], true, &cp->map[i]);
		cp->mapped |= bit;
		out |= cp->map[i];
	}
	return out;
}

static enum err copy_one(struct copying *cp, const struct message *m)
{
	struct changing *ch = cp->ch;
	struct message copy = *m;

	copy.uid = cp->to->row.uid_next++;
	copy.keywords = map_keywords(cp, m->keywords);
	copy.created = copy.changed = ch->pos;
	copy.saved = ch->at;
	boxed_count(ch, cp->to, &copy, 1);
	enum err err = message_row_put(ch, cp->to->id, &copy, 0);
	if (!err)
		err = reference_put(ch, cp->to->id, &copy);
	if (err || !cp->c->mode)
		return err;
	boxed_count(ch, &cp->source, m, -1);
	err = message_row_delete(ch, cp->source.id, m);
	return err ? err : log_uid(&cp->lg, m->uid);
}

static void begin_pick(struct copying *cp)
{
	cp->p = (struct picking){ .ch = cp->ch,
		.mailbox = cp->source.id,
		.runs = { .in = cp->c->runs },
		/* The copies themselves are not meant. */
		.below = cp->source.row.uid_next };
}

/* Which there are, so that an outcome too long to tell is refused before anything is done. */
static enum err list_source(struct copying *cp, struct out *o)
{
	struct run run = { 0 };
	uint32_t last = 0, max = cp->c->flags ? cp->c->flags : UINT32_MAX;
	enum err err;

	begin_pick(cp);
	do {
		err = pick(&cp->p);
		for (size_t i = 0; !err && i < cp->p.len && cp->count < max; i++) {
			uint32_t uid = cp->p.rows[i].m.uid;

			cp->count++;
			cp->runs += uid != run.last + 1 || !run.first;
			if (run.first && uid != run.last + 1)
				keys_put_run(o, &last, &run);
			if (!run.first || uid != run.last + 1)
				run.first = uid;
			run.last = uid;
		}
	} while (!err && cp->p.len && cp->count < max);
	if (run.first)
		keys_put_run(o, &last, &run);
	return err;
}

/* Whatever the memory, it is refused at every replay or at none. */
static bool too_many(const struct copying *cp, const struct out *o)
{
	bool long_outcome = cp->c->wide ? cp->runs > WIDE_RUNS : !out_ok(o);

	return long_outcome || cp->count > UINT32_MAX - cp->to->row.uid_next;
}

static enum err copy_all(struct copying *cp)
{
	uint32_t count = cp->count;
	enum err err = OK;

	begin_pick(cp);
	while (!err && count) {
		err = pick(&cp->p);
		for (size_t i = 0; !err && i < cp->p.len && count; i++, count--)
			err = copy_one(cp, &cp->p.rows[i].m);
		must(err || cp->p.len);
	}
	return err;
}

static enum err load_both(struct copying *cp)
{
	struct changing *ch = cp->ch;
	enum err err = boxed_load(ch, cp->c->mailbox, &cp->source);

	cp->to = &cp->source;
	if (!err && cp->c->to != cp->c->mailbox) {
		cp->to = &cp->other;
		err = boxed_load(ch, cp->c->to, &cp->other);
	}
	if (!err)
		err = keywords_load(ch, cp->source.id, &cp->from_set);
	return err ? err : keywords_load(ch, cp->to->id, &cp->to_set);
}

static enum err save_both(struct copying *cp)
{
	enum err err = keywords_save(cp->ch, cp->to->id, &cp->to_set);

	cp->to->row.highest = cp->ch->pos;
	cp->to->row.open_ends |= cp->source.row.open_ends;
	if (!err && cp->c->mode)
		err = log_end(&cp->lg);
	if (!err && (cp->c->mode || cp->to == &cp->source))
		err = boxed_save(cp->ch, &cp->source);
	if (!err && cp->to != &cp->source)
		err = boxed_save(cp->ch, cp->to);
	return err;
}

static enum err copy_boxes(struct copying *cp, struct out *o)
{
	struct changing *ch = cp->ch;
	enum err err = load_both(cp);

	if (err) {
		ch->outcome = ERR_NOT_FOUND;
		return err == ERR_NOT_FOUND ? OK : err;
	}
	out_u32(o, cp->to->row.uid_validity);
	out_u32(o, cp->to->row.uid_next);
	err = list_source(cp, o);
	if (err || !cp->count)
		return err;
	if (too_many(cp, o)) {
		ch->outcome = ERR_LIMIT;
		return OK;
	}
	if (!out_ok(o))
		return ERR_NOMEM;
	cp->lg = (struct logging){ .ch = ch, .box = &cp->source, .kind = KEYS_LOG_GONE };
	log_begin(&cp->lg);
	err = copy_all(cp);
	return err ? err : save_both(cp);
}

static enum err copy(struct changing *ch, const struct mailbox_change *c, struct out *o)
{
	struct copying *cp = calloc(1, sizeof(*cp));

	if (!cp)
		return ERR_NOMEM;
	cp->ch = ch;
	cp->c = c;
	enum err err = copy_boxes(cp, o);
	free(cp);
	return err;
}

enum err apply_copy(struct changing *ch, const struct mailbox_change *c)
{
	struct out o = out_heap(INDEX_OUTCOME_WIDE);

	if (!c->wide)
		return apply_with_outcome(ch, c, copy);
	enum err err = copy(ch, c, &o);
	if (!err && !ch->outcome)
		apply_outcome(ch->ap, OK, out_written(&o));
	out_heap_done(&o);
	return err;
}
