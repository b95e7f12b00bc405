/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A builder that can be thrown away, and is begun anew at the end then. The second one is bounded too:
 * blob_read_again reads one body of a worker at a time, and it lives no longer than that. */
#include "server/summing.h"

static void forget(struct summing *s)
{
	summary_drop(s->builder);
	s->builder = NULL;
	blob_aside_count(&s->memory, 0);
}

static void give_up(struct blob_aside *memory)
{
	struct summing *s = container_of(memory, struct summing, memory);

	s->late = true;
	forget(s);
}

void summing_begin(struct summing *s, struct blob_writer *body)
{
	*s = (struct summing){ .builder = summary_begin(),
		.body = body,
		.memory = { .store = body->store, .give_up = give_up } };
}

static void count(struct summing *s)
{
	blob_aside_count(&s->memory, summary_memory(s->builder));
}

void summing_add(struct summing *s, slice piece)
{
	if (!s->builder)
		return;
	summary_add(s->builder, piece);
	count(s);
}

static void take_again(void *arg, slice piece)
{
	struct summing *s = arg;

	if (!s->builder)
		s->builder = summary_begin();
	summary_add(s->builder, piece);
	count(s);
}

enum err summing_end(struct summing *s, struct out *row)
{
	struct blob_again again = { .take = take_again, .arg = s };
	enum err err = OK;

	s->memory.give_up = NULL;
	if (s->late)
		err = blob_read_again(s->body, &again);
	if (!err && s->builder) {
		summary_end(s->builder, row);
		s->builder = NULL;
	}
	summing_drop(s);
	return err;
}

void summing_drop(struct summing *s)
{
	forget(s);
	s->body = NULL;
}
