/* SPDX-License-Identifier: GPL-2.0-or-later */
/* message.c - messages and parcels: the objects that travel between workers.
 *
 * A message is immutable once made, so all workers read it; its two counters are atomic. A parcel
 * is the recipients of one message at one domain; it is on one worker at a time and moves by post,
 * so nothing in it needs protection. */
#include "relay/relay_int.h"

#include <stdlib.h>

struct message *message_new(const struct blob_ref *ref, slice meta, enum err *err)
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m) {
		*err = ERR_NOMEM;
		return NULL;
	}
	/* One chunk for nearly every message: the strings, and a row per recipient. */
	arena_init(&m->arena, meta.len * 2 + 256);
	*err = envelope_decode(arena_dup(&m->arena, meta), &m->arena, &m->env);
	if (*err) {
		arena_done(&m->arena);
		free(m);
		return NULL;
	}
	m->ref = *ref;
	m->env.id = ref->id;
	m->bytes = sizeof(*m) + m->arena.used_bytes;
	atomic_init(&m->refs, 1);
	return m;
}

struct message *message_hold(struct message *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void message_put(struct message *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) > 1)
		return;
	arena_done(&m->arena);
	free(m);
}

void message_settled(struct store *st, struct message *m)
{
	if (!m->held)
		return;
	if (atomic_fetch_sub_explicit(&m->open, 1, memory_order_acq_rel) == 1)
		store_release(st, &m->ref);
}

struct parcel *parcel_new(struct relay_here *r, struct message *m, uint32_t count)
{
	struct parcel *p = calloc(1, sizeof(*p) + count * sizeof(struct item));

	if (!p)
		return NULL;
	p->m = message_hold(m);
	p->count = count;
	p->lane = m->env.lane;
	p->born = worker_now(r->w);
	return p;
}

void parcel_free(struct relay_here *r, struct parcel *p)
{
	(void)r;
	for (uint32_t i = 0; i < p->count; i++)
		free(p->items[i].reason);
	target_put(p->target);
	message_put(p->m);
	free(p);
}

const struct envelope_rcpt *parcel_rcpt(const struct parcel *p, const struct item *it)
{
	return &p->m->env.rcpts[it->n];
}

void item_reason(struct item *it, const struct reason *why)
{
	free(it->reason);
	it->reason = NULL;
	if (!why)
		return;
	it->reason = malloc(sizeof(*why));
	if (it->reason)
		*it->reason = *why;
}

void reason_words(struct reason *why, enum err err, const char *status, slice text)
{
	*why = (struct reason){ .err = err };
	strncpy(why->status, status ? status : "", sizeof(why->status) - 1);
	why->text_len = (uint16_t)MIN(text.len, (size_t)REPLY_TEXT_MAX);
	memcpy(why->text, text.ptr, why->text_len);
}

void parcel_all(struct parcel *p, enum outcome outcome, const struct reason *why)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->items[i].outcome != OUTCOME_NONE)
			continue;
		p->items[i].outcome = (uint8_t)outcome;
		if (why)
			item_reason(&p->items[i], why);
	}
}
