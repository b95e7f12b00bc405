/* SPDX-License-Identifier: GPL-2.0-or-later */
/* local_room.c - room for all targets of a plan.
 *
 * It is taken domain by domain in the order of their names, as store/room.h wants it; all targets of a
 * domain at once, so that one message counts once there. Targets without any limit are not asked for. */
#include "relay/local.h"

#include <stdlib.h>

static int by_domain(const void *a, const void *b)
{
	const struct local_target *const *x = a, *const *y = b;

	return slice_cmp((*x)->domain, (*y)->domain);
}

/* The targets of one domain. */
static enum err take_domain(struct local *l, const struct local_load *load,
	struct local_target **targets, size_t count, struct local_taken *out)
{
	struct room_want *wants = arena_array(l->arena, struct room_want, count);
	struct room_ask ask = { .domain = targets[0]->domain,
		.limit = targets[0]->domain_limit,
		.wants = wants,
		.len = count,
		.always = load->always };
	enum err err;

	for (size_t i = 0; i < count; i++) {
		struct room_sum add = { .bytes = load->bytes, .messages = 1 };

		add.bytes += local_splice(l, load->sender, targets[i]).len;
		wants[i] = (struct room_want){
			.account = targets[i]->account, .limit = targets[i]->limit, .add = add
		};
	}
	err = room_take(l->store, &ask, &out->rooms[out->count]);
	if (!err)
		out->count++;
	for (size_t i = 0; i < count; i++) {
		targets[i]->full = wants[i].full;
		out->any_full = out->any_full || wants[i].full;
	}
	return err == ERR_QUOTA ? OK : err;
}

static bool is_any(const struct room_sum *limit)
{
	return limit->bytes || limit->messages;
}

enum err local_take(struct local *l, const struct local_load *load, struct local_taken *out)
{
	struct local_target **order;
	enum err err = OK;
	size_t len = 0;

	*out = (struct local_taken){ .targets = l->targets, .target_count = l->target_count };
	order = arena_array(l->arena, struct local_target *, l->target_count + 1);
	for (size_t i = 0; i < l->target_count; i++) {
		l->targets[i].full = false;
		if (is_any(&l->targets[i].limit) || is_any(&l->targets[i].domain_limit))
			order[len++] = &l->targets[i];
	}
	if (!len)
		return OK;
	out->rooms = arena_array(l->arena, struct room *, len);
	qsort(order, len, sizeof(struct local_target *), by_domain);
	for (size_t i = 0, n; i < len && !err; i += n) {
		for (n = 1; i + n < len && slice_eq(order[i]->domain, order[i + n]->domain);)
			n++;
		err = take_domain(l, load, order + i, n, out);
	}
	if (err)
		local_end(out, 0);
	return err;
}

void local_end(struct local_taken *taken, modseq pos)
{
	for (size_t i = 0; i < taken->count; i++)
		room_end(taken->rooms[i], pos);
	taken->count = 0;
}
