/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan is three short lists: names to drop, texts in front (newest first), texts behind. */
#include "proto/mime/edit.h"

#include "proto/mime/header.h"

struct edit_text {
	struct edit_text *next;
	slice bytes;
};

static struct edit_text *new_text(struct edit *e, slice bytes)
{
	struct edit_text *text = arena_new(e->arena, struct edit_text);

	text->bytes = bytes;
	return text;
}

void edit_remove(struct edit *e, slice name)
{
	struct edit_text *text = new_text(e, name);

	text->next = e->removed;
	e->removed = text;
}

void edit_prepend(struct edit *e, slice fields)
{
	if (fields.len == 0)
		return;
	struct edit_text *text = new_text(e, fields);

	text->next = e->front;
	e->front = text;
}

void edit_append(struct edit *e, slice fields)
{
	if (fields.len == 0)
		return;
	if (!e->back_end)
		e->back_end = &e->back;
	*e->back_end = new_text(e, fields);
	e->back_end = &(*e->back_end)->next;
}

enum { FRONT, KEPT, LINE_END, BACK, OVER };

struct edit_run edit_run(const struct edit *e, slice block)
{
	return (struct edit_run){ .plan = e, .text = e->front, .rest = block };
}

static bool is_removed(const struct edit *e, slice name)
{
	for (const struct edit_text *text = e->removed; text; text = text->next)
		if (slice_eq_nocase(text->bytes, name))
			return true;
	return false;
}

/* The longest run of kept fields at the front; removed ones before it are skipped. */
static slice next_kept(struct edit_run *r)
{
	slice run = { .ptr = r->rest.ptr };
	struct header_field field;

	for (;;) {
		slice rest = r->rest;

		if (!header_next(&rest, &field))
			return run;
		if (is_removed(r->plan, field.name)) {
			if (run.len)
				return run;
			run.ptr = rest.ptr;
		} else {
			run.len += field.whole.len;
		}
		r->rest = rest;
	}
}

static bool next_text(struct edit_run *r, slice *out)
{
	if (!r->text)
		return false;
	*out = r->text->bytes;
	r->text = r->text->next;
	return true;
}

static bool next_run(struct edit_run *r, slice *out)
{
	slice run = r->plan->removed ? next_kept(r) : (slice){ 0 };
	struct header_field field;

	if (!r->plan->removed) {
		run = r->rest;
		while (header_next(&r->rest, &field)) {
		}
		run.len -= r->rest.len;
	}
	if (run.len == 0)
		return false;
	*out = run;
	/* The last field of a block without a blank line may lack its line end. */
	if (run.ptr[run.len - 1] != '\n')
		r->stage = LINE_END;
	return true;
}

bool edit_next(struct edit_run *r, slice *out)
{
	if (r->stage == FRONT) {
		if (next_text(r, out))
			return true;
		r->stage = KEPT;
	}
	if (r->stage == KEPT) {
		if (next_run(r, out))
			return true;
		r->stage = BACK;
		r->text = r->plan->back;
	}
	if (r->stage == LINE_END) {
		r->stage = BACK;
		r->text = r->plan->back;
		*out = SLICE("\r\n");
		return true;
	}
	if (r->stage == OVER)
		return false;
	if (next_text(r, out))
		return true;
	r->stage = OVER;
	*out = SLICE("\r\n");
	return true;
}

void edit_apply(const struct edit *e, slice block, struct out *o)
{
	struct edit_run run = edit_run(e, block);
	slice piece;

	while (edit_next(&run, &piece))
		out_slice(o, piece);
}
