/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the records of the queue do to rows: entries, their places in the schedule, the counters of
 * their domains. A payload that does not parse passed the journal's checksum, so it was written
 * wrong; it is skipped, alike on every replay. */
#include "store/index_rows.h"

/* --- Counters --- */

struct delta {
	int64_t waiting, held, bytes;
};

static void add(uint64_t *n, int64_t by)
{
	*n = by < 0 && (uint64_t)-by > *n ? 0 : *n + (uint64_t)by;
}

static void add_delta(struct keys_counts *c, const struct delta *d)
{
	add(&c->waiting, d->waiting);
	add(&c->held, d->held);
	add(&c->bytes, d->bytes);
}

static enum err count(struct apply *ap, slice domain, const struct delta *d)
{
	char buf[64];
	struct keys_buf key;
	struct keys_counts c = { 0 };
	slice value;

	keys_name(&key, KEYS_COUNT, domain);
	enum err err = apply_get(ap, keys_slice(&key), &value);
	bool there = !err && keys_get_counts(value, &c);
	if (err && err != ERR_NOT_FOUND)
		return err;
	add_delta(&c, d);
	add_delta(apply_totals(ap), d);
	bool empty = !c.waiting && !c.held;
	if (empty && there)
		add(&apply_totals(ap)->domains, -1);
	if (!empty && !there)
		add(&apply_totals(ap)->domains, 1);
	if (empty)
		return apply_delete(ap, keys_slice(&key));
	struct out o = out_fixed(buf, sizeof(buf));
	keys_put_counts(&o, &c);
	return apply_put(ap, keys_slice(&key), out_written(&o));
}

/* --- Schedule --- */

static struct delta delta_of(const struct schedule_entry *e, int sign)
{
	bool held = e->state == SCHEDULE_HELD;

	return (struct delta){ .waiting = held ? 0 : sign,
		.held = held ? sign : 0,
		.bytes = sign * (int64_t)MIN(e->ref.size, (uint64_t)INT64_MAX) };
}

static void due_key(struct keys_buf *key, const struct schedule_entry *e)
{
	struct keys_due due = { .domain = e->domain,
		.lane = e->lane,
		.tenant = e->tenant,
		.due = e->due,
		.id = e->ref.id,
		.n = e->n };

	keys_schedule(key, &due);
}

static void early_key(struct keys_buf *key, const struct schedule_entry *e)
{
	struct keys_early_row row = { .low = e->ref.low, .id = e->ref.id, .n = e->n };

	keys_early(key, &row);
}

/* The entry as it stands; copied to `buf`, since the next write moves pages. */
static enum err load_entry(struct apply *ap, struct schedule_entry *e, char buf[ROW_BYTES],
	bool *out_there)
{
	struct keys_buf key;
	slice value = { 0 };

	keys_entry(&key, e->ref.id, e->n);
	enum err err = apply_get(ap, keys_slice(&key), &value);
	*out_there = false;
	if (err == ERR_NOT_FOUND)
		return OK;
	if (err)
		return err;
	if (value.len > ROW_BYTES)
		return ERR_CORRUPT;
	memcpy(buf, value.ptr, value.len);
	*out_there = keys_get_entry(slice_of(buf, value.len), e);
	return *out_there ? OK : ERR_CORRUPT;
}

/* Remove the rows that depend on the entry: its place in the schedule, its early row. */
static enum err unlink_entry(struct apply *ap, const struct schedule_entry *e)
{
	struct keys_buf key;
	enum err err = OK;

	if (e->state != SCHEDULE_HELD) {
		due_key(&key, e);
		err = apply_delete(ap, keys_slice(&key));
	}
	if (!err && e->ref.low != e->ref.id) {
		early_key(&key, e);
		err = apply_delete(ap, keys_slice(&key));
	}
	return err;
}

static enum err store_entry(struct apply *ap, const struct schedule_entry *e)
{
	char buf[ROW_BYTES];
	struct out o = out_fixed(buf, sizeof(buf));
	struct keys_buf key;
	enum err err = OK;

	keys_put_entry(&o, e);
	if (!out_ok(&o))
		return ERR_TOO_LARGE;
	if (e->state != SCHEDULE_HELD) {
		due_key(&key, e);
		err = apply_put(ap, keys_slice(&key), (slice){ "", 0 });
	}
	if (!err && e->ref.low != e->ref.id) {
		early_key(&key, e);
		err = apply_put(ap, keys_slice(&key), (slice){ "", 0 });
	}
	keys_entry(&key, e->ref.id, e->n);
	return err ? err : apply_put(ap, keys_slice(&key), out_written(&o));
}

static enum err replace_entry(struct apply *ap, const struct schedule_entry *old,
	const struct schedule_entry *new)
{
	struct delta change = { 0 };
	enum err err = OK;

	if (old) {
		change = delta_of(old, -1);
		err = unlink_entry(ap, old);
	}
	if (!err && new) {
		struct delta more = delta_of(new, 1);

		change.waiting += more.waiting;
		change.held += more.held;
		change.bytes += more.bytes;
		err = store_entry(ap, new);
	}
	if (!err && (change.waiting || change.held || change.bytes))
		err = count(ap, new ? new->domain : old->domain, &change);
	return err;
}

/* A hold set by people outlives what the attempt that was under way says. */
enum err apply_park(struct apply *ap, slice payload)
{
	char buf[ROW_BYTES];
	struct schedule_entry new, old;
	bool there;

	if (!keys_get_park(payload, &new))
		return OK;
	old = (struct schedule_entry){ .ref.id = new.ref.id, .n = new.n };
	enum err err = load_entry(ap, &old, buf, &there);
	if (err)
		return err;
	if (there && old.state == SCHEDULE_HELD)
		new.state = SCHEDULE_HELD;
	return replace_entry(ap, there ? &old : NULL, &new);
}

enum err apply_done(struct apply *ap, slice payload)
{
	char buf[ROW_BYTES];
	struct schedule_done end;
	bool there;

	if (!keys_get_done(payload, &end))
		return OK;
	struct schedule_entry old = { .ref.id = end.id, .n = end.n };
	enum err err = load_entry(ap, &old, buf, &there);
	if (err || !there)
		return err;
	err = replace_entry(ap, &old, NULL);
	struct keys_buf key;
	keys_entry(&key, end.id, end.n);
	return err ? err : apply_delete(ap, keys_slice(&key));
}

enum err apply_state(struct apply *ap, slice payload)
{
	char buf[ROW_BYTES];
	struct schedule_change change;
	bool there;

	if (!keys_get_change(payload, &change))
		return OK;
	struct schedule_entry old = { .ref.id = change.id, .n = change.n };
	enum err err = load_entry(ap, &old, buf, &there);
	if (err)
		return err;
	if (!there) {
		apply_outcome(ap, ERR_NOT_FOUND, (slice){ 0 });
		return OK;
	}
	struct schedule_entry new = old;
	new.state = change.hold ? SCHEDULE_HELD : SCHEDULE_READY;
	if (!change.hold)
		new.due = change.due;
	return replace_entry(ap, &old, &new);
}
