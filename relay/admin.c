/* SPDX-License-Identifier: GPL-2.0-or-later */
/* admin.c - the queue as an operator sees and changes it.
 *
 * Two places hold recipients: the paths' lanes in RAM, bounded by options and looked through on
 * their own workers a page at a time, and rows on disk, read on helper threads. A listing shows
 * RAM first, then the rows; a row whose recipient is in hand is shown as active. Changes end what
 * waits in RAM through result.c, and change rows through the store, so they survive a crash. */
#include <stdlib.h>

#include "core/base/text.h"
#include "relay/event.h"
#include "relay/outlet.h"
#include "relay/path.h"
#include "relay/relay_int.h"
#include "relay/result.h"
#include "relay/sched.h"
#include "relay/site.h"

enum { PAGE = 256, TEXT_MAX = 320 };

static const char *const state_names[QUEUE_STATE_COUNT] = {
	[QUEUE_READY] = "ready",
	[QUEUE_ACTIVE] = "active",
	[QUEUE_PARKED] = "parked",
	[QUEUE_HELD] = "held",
};

const char *queue_state_name(enum queue_state state)
{
	return (unsigned)state < QUEUE_STATE_COUNT ? state_names[state] : "?";
}

/* Does it fit ---------------------------------------------------------------------------------- */

static bool sender_fits(slice want, slice sender)
{
	if (want.len == 0)
		return true;
	if (slice_eq(want, SLICE("<>")))
		return sender.len == 0;
	if (want.ptr[0] == '@')
		return slice_eq_nocase(envelope_domain(sender), slice_skip(want, 1));
	return slice_eq_nocase(want, sender);
}

struct facts {
	queue_id id;
	uint32_t n;
	slice sender, recipient, domain;
	wall_ms received_at;
	enum queue_state state;
};

static bool fits(const struct queue_filter *f, const struct facts *x, wall_ms now)
{
	msec age = now - x->received_at;

	return (!f->id || f->id == x->id) && (f->index == QUEUE_ALL || f->index == x->n) &&
		sender_fits(f->sender, x->sender) &&
		(f->recipient.len == 0 || slice_eq_nocase(f->recipient, x->recipient)) &&
		(f->domain.len == 0 || slice_eq_nocase(f->domain, x->domain)) &&
		age >= f->older_ms && (!f->newer_ms || age <= f->newer_ms) &&
		(f->state < 0 || f->state == (int)x->state);
}

/* RAM ------------------------------------------------------------------------------------------ */

/* A look over one worker's ready parcels; runs on that worker, strings are copied into `a`. */
struct ram_look {
	const struct queue_filter *f;
	struct arena *a;
	struct queue_row *rows;
	size_t max, count;
	uint64_t skip, passed; /* parcels of earlier pages */
	struct relay_here *r;
	enum queue_state state; /* of what is being walked */
	/* To change rather than to look. */
	int action; /* enum queue_action, or -1 */
	uint64_t changed;
	void (*take)(struct relay_here *r, struct parcel *p); /* out of what is being walked */
	struct list taken;
};

static void row_of_item(struct ram_look *look, const struct parcel *p, const struct item *it)
{
	struct queue_row *row = &look->rows[look->count++];
	const struct envelope *e = &p->m->env;
	const struct envelope_rcpt *rcpt = parcel_rcpt(p, it);

	*row = (struct queue_row){
		.id = p->m->ref.id,
		.index = it->n,
		.state = look->state,
		.sender = arena_dup(look->a, e->sender),
		.recipient = arena_dup(look->a, rcpt->address),
		.path = p->target ? arena_dup(look->a, p->target->key) : SLICE(""),
		.waits_for = look->r->gen->still ? SLICE("a running server") :
			p->target                ? path_waits_for(look->r, p, look->a) :
						   SLICE("the domain's name servers"),
		.received_at = e->received_at,
		.due_at = worker_wall(look->r->w),
		.expires_at = result_expires(look->r, p),
		.size = e->size,
		.attempts = it->attempts,
		.lane = p->lane,
	};
	row->domain = envelope_domain(row->recipient);
}

static bool item_fits(struct ram_look *look, const struct parcel *p, const struct item *it)
{
	struct facts x = {
		.id = p->m->ref.id,
		.n = it->n,
		.sender = p->m->env.sender,
		.recipient = parcel_rcpt(p, it)->address,
		.domain = p->domain,
		.received_at = p->m->env.received_at,
		.state = look->state,
	};

	return fits(look->f, &x, worker_wall(look->r->w));
}

static bool list_parcel(void *arg, struct parcel *p)
{
	struct ram_look *look = arg;

	/* What came from disk is listed by its row. */
	if (look->passed++ < look->skip || p->from_disk)
		return true;
	if (look->count + p->count > look->max && look->count > 0) {
		look->passed--;
		return false;
	}
	for (uint32_t i = 0; i < p->count && look->count < look->max; i++)
		if (item_fits(look, p, &p->items[i]))
			row_of_item(look, p, &p->items[i]);
	return true;
}

static void list_here(struct worker *w, void *arg)
{
	struct ram_look *look = arg;

	look->r = relay_here(w);
	site_walk_resting(look->r, list_parcel, look);
	path_walk(look->r, list_parcel, look);
	if (look->count < look->max)
		site_walk(look->r, list_parcel, look);
	look->state = QUEUE_ACTIVE;
	if (look->count < look->max)
		outlet_walk(look->r, list_parcel, look);
}

/* Changing: parcels of which all recipients fit are taken out; of others a part cannot be taken, so they
 * are parked first and changed on disk. */
static const struct {
	enum outcome outcome;
	const char *status, *words;
} ends[] = {
	[QUEUE_HOLD] = { OUTCOME_HELD, "", "held by an operator" },
	[QUEUE_BOUNCE] = { OUTCOME_FAILED, "5.0.0", "returned by an operator" },
	[QUEUE_REMOVE] = { OUTCOME_REMOVED, "", "removed by an operator" },
};

static bool take_parcel(void *arg, struct parcel *p)
{
	struct ram_look *look = arg;
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->count; i++)
		count += item_fits(look, p, &p->items[i]);
	if (count > 0) {
		look->take(look->r, p);
		list_push(&look->taken, &p->link);
		look->changed += count;
	}
	return true;
}

static void change_parcel(struct ram_look *look, struct parcel *p)
{
	struct reason why, parked;

	reason_words(&why, OK, ends[look->action].status, slice_str(ends[look->action].words));
	reason_words(&parked, OK, "", SLICE("beside one that an operator changed"));
	for (uint32_t i = 0; i < p->count; i++) {
		bool hit = item_fits(look, p, &p->items[i]);

		p->items[i].outcome = (uint8_t)(hit ? ends[look->action].outcome : OUTCOME_PARKED);
		p->items[i].no_attempt = true;
		p->items[i].due = worker_wall(look->r->w);
		item_reason(&p->items[i], hit ? &why : &parked);
	}
	result_parcel(look->r, p);
}

/* First everything is taken out, then it ends: a report may bring new mail into what is walked. */
static void change_here(struct worker *w, void *arg)
{
	struct ram_look *look = arg;

	look->r = relay_here(w);
	list_init(&look->taken);
	look->take = site_take;
	site_walk_resting(look->r, take_parcel, look);
	site_walk(look->r, take_parcel, look);
	look->take = path_take;
	path_walk(look->r, take_parcel, look);
	for (struct list_link *link; (link = list_pop(&look->taken));)
		change_parcel(look, container_of(link, struct parcel, link));
}

/* Disk ----------------------------------------------------------------------------------------- */

static enum queue_state state_of(const struct schedule_entry *entry)
{
	return entry->state == SCHEDULE_HELD ? QUEUE_HELD : QUEUE_PARKED;
}

struct matching {
	const struct queue_filter *f;
	wall_ms now;
};

/* On a helper thread. */
static bool entry_fits(void *arg, const struct schedule_entry *entry)
{
	const struct matching *match = arg;
	struct sched_tail tail;
	struct facts x = { .id = entry->ref.id,
		.n = entry->n,
		.domain = entry->domain,
		.received_at = entry->first_seen,
		.state = state_of(entry) };

	if (sched_tail_of(entry->tail, &tail)) {
		x.sender = tail.sender;
		x.recipient = tail.recipient;
	}
	if (match->f->state == QUEUE_ACTIVE) {
		struct queue_filter any = *match->f;

		any.state = -1;
		return fits(&any, &x, match->now);
	}
	return fits(match->f, &x, match->now);
}

struct ask_hand {
	const struct schedule_entry *entries;
	size_t len;
	bool *in_hand;
	unsigned worker;
	bool touched; /* rather forget what is remembered of it */
};

static void ask_here(struct worker *w, void *arg)
{
	struct ask_hand *ask = arg;
	struct relay_here *r = relay_here(w);

	for (size_t i = 0; i < ask->len; i++) {
		const struct schedule_entry *entry = &ask->entries[i];

		if (relay_owner(r, map_hash(&r->seed, entry->domain)) != r->index)
			continue;
		if (ask->touched)
			sched_touched(r, entry);
		else
			ask->in_hand[i] = sched_in_hand(r, entry->ref.id, entry->n);
	}
}

static void ask_all(struct ask_hand *ask)
{
	for (unsigned i = 0; i < workers_count(); i++)
		post_call(i, ask_here, ask);
}

static void row_of_entry(const struct schedule_entry *entry, bool in_hand, struct queue_row *row)
{
	struct sched_tail tail = { 0 };
	bool known = sched_tail_of(entry->tail, &tail);

	*row = (struct queue_row){
		.id = entry->ref.id,
		.index = entry->n,
		.state = in_hand ? QUEUE_ACTIVE : state_of(entry),
		.sender = known ? tail.sender : SLICE(""),
		.recipient = known ? tail.recipient : SLICE(""),
		.domain = entry->domain,
		.last_reply = entry->reply,
		.received_at = entry->first_seen,
		.due_at = entry->due,
		.expires_at = entry->expires,
		.size = entry->ref.size,
		.attempts = entry->attempts,
		.lane = entry->lane,
	};
	if (row->state == QUEUE_HELD) {
		row->held_by = known && tail.held_by.len > 0 ? tail.held_by : SLICE("operator");
		row->waits_for = SLICE("a release");
	} else {
		row->waits_for = in_hand ? SLICE("its turn or its reply") : SLICE("its due time");
	}
}

static enum err read_entries(struct relay_here *r, const struct queue_filter *f,
	struct schedule_cursor *from, struct arena *a, struct schedule_page *out)
{
	struct matching match = { .f = f, .now = worker_wall(r->w) };
	struct schedule_filter query = {
		.id = f->id,
		.domain = f->domain,
		.match = entry_fits,
		.arg = &match,
		.limit = PAGE,
		.from = *from,
	};
	enum err err = schedule_read(r->st, &query, a, out);

	if (!err)
		*from = out->next;
	return err;
}

/* Listing -------------------------------------------------------------------------------------- */

/* First the workers' RAM one after the other, then the disk. */
struct place {
	uint16_t worker; /* == workers_count(): disk */
	uint64_t skip;
	struct schedule_cursor disk;
};

static bool place_get(const struct queue_cursor *cursor, struct place *out)
{
	slice in = slice_of(cursor->bytes, cursor->len);
	uint16_t len;

	*out = (struct place){ 0 };
	if (in.len == 0)
		return true;
	if (!take_u16(&in, &out->worker) || !take_u64(&in, &out->skip) ||
		!take_u16(&in, &out->disk.shard) || !take_u16(&in, &len) ||
		len > sizeof(out->disk.key) || in.len != len)
		return false;
	out->disk.len = len;
	memcpy(out->disk.key, in.ptr, len);
	return true;
}

static void place_put(const struct place *place, struct queue_cursor *cursor)
{
	struct out o = out_fixed(cursor->bytes, sizeof(cursor->bytes));

	out_u16(&o, place->worker);
	out_u64(&o, place->skip);
	out_u16(&o, place->disk.shard);
	out_u16(&o, place->disk.len);
	out_bytes(&o, place->disk.key, place->disk.len);
	must(out_ok(&o));
	cursor->len = (uint16_t)o.len;
}

static void list_ram(const struct queue_filter *f, struct place *place, struct queue_page *page)
{
	struct ram_look look = { .f = f,
		.a = page->arena,
		.rows = page->rows,
		.max = page->max,
		.skip = place->skip,
		.action = -1 };

	post_call(place->worker, list_here, &look);
	page->count = look.count;
	place->skip = look.passed;
	if (look.count < page->max) {
		place->worker++;
		place->skip = 0;
	}
}

static enum err list_disk(struct relay_here *r, const struct queue_filter *f, struct place *place,
	struct queue_page *page, bool *done)
{
	struct schedule_page entries = { 0 };
	enum err err = read_entries(r, f, &place->disk, page->arena, &entries);

	if (err)
		return err;
	struct ask_hand ask = { .entries = entries.entries,
		.len = entries.len,
		.in_hand = arena_array(page->arena, bool, entries.len + 1) };

	ask_all(&ask);
	for (size_t i = 0; i < entries.len; i++) {
		struct queue_row *row = &page->rows[page->count];

		row_of_entry(&entries.entries[i], ask.in_hand[i], row);
		if (f->state < 0 || f->state == (int)row->state)
			page->count++;
	}
	*done = entries.next.end;
	return OK;
}

enum err queue_list(struct worker *w, const struct queue_filter *f, struct queue_cursor *cursor,
	struct queue_page *page)
{
	struct place place;
	bool done = false;
	enum err err = OK;

	page->max = MAX(page->max, (size_t)PAGE);
	page->rows = arena_array(page->arena, struct queue_row, page->max);
	page->count = 0;
	if (!place_get(cursor, &place))
		return ERR_INVALID;
	if (cursor->len == 0)
		result_settle(relay_here(w));
	if (place.worker < workers_count())
		list_ram(f, &place, page);
	else
		err = list_disk(relay_here(w), f, &place, page, &done);
	if (err)
		return err;
	place_put(&place, cursor);
	cursor->done = done;
	return OK;
}

/* Counting ------------------------------------------------------------------------------------- */

static bool is_any(const struct queue_filter *f)
{
	return !f->id && f->index == QUEUE_ALL && !f->sender.len && !f->recipient.len &&
		!f->domain.len && !f->older_ms && !f->newer_ms && f->state < 0;
}

static enum err count_all(struct worker *w, struct queue_counts *out)
{
	struct relay_stats stats;
	struct schedule_totals totals = { 0 };
	enum err err;

	result_settle(relay_here(w));
	err = schedule_totals(relay_here(w)->st, &totals);
	relay_stats(&stats);
	out->by_state[QUEUE_READY] = stats.rcpts_ready;
	out->by_state[QUEUE_ACTIVE] = stats.rcpts_active;
	out->by_state[QUEUE_PARKED] = totals.waiting;
	out->by_state[QUEUE_HELD] = totals.held;
	out->messages_bytes = totals.bytes;
	return err;
}

enum err queue_count(struct worker *w, const struct queue_filter *f, struct queue_counts *out)
{
	struct queue_cursor cursor = { 0 };
	enum err err = OK;

	*out = (struct queue_counts){ 0 };
	if (is_any(f))
		return count_all(w, out);
	while (!err && !cursor.done) {
		struct arena a = { 0 };
		struct queue_page page = { .arena = &a, .max = PAGE };

		err = queue_list(w, f, &cursor, &page);
		for (size_t i = 0; !err && i < page.count; i++) {
			const struct queue_row *row = &page.rows[i];

			out->by_state[row->state]++;
			out->messages_bytes += row->size;
			if (!out->oldest_at || row->received_at < out->oldest_at)
				out->oldest_at = row->received_at;
		}
		arena_done(&a);
	}
	return err;
}

/* Changing ------------------------------------------------------------------------------------- */

/* A parked recipient ends: as a parcel of its own, so that a report can be made. */
static enum err end_entry(struct relay_here *r, const struct schedule_entry *entry,
	enum queue_action action)
{
	struct arena a = { 0 };
	struct message *m = NULL;
	struct parcel *p = NULL;
	struct reason why;
	slice meta;
	enum err err = store_message_meta(r->st, entry->ref.id, &a, &meta);

	if (!err)
		m = message_new(&entry->ref, meta, &err);
	if (!err && entry->n < m->env.rcpt_count)
		p = parcel_new(r, m, 1);
	if (p) {
		p->domain = envelope_domain(m->env.rcpts[entry->n].address);
		p->items[0].n = entry->n;
		p->items[0].indexed = true;
		p->items[0].attempts = entry->attempts;
		p->items[0].no_attempt = true;
		reason_words(&why, OK, ends[action].status, slice_str(ends[action].words));
		parcel_all(p, ends[action].outcome, &why);
		result_parcel(r, p);
	} else if (action == QUEUE_REMOVE) {
		/* Even what cannot be read can be removed. */
		struct schedule_done end = {
			.id = entry->ref.id, .n = entry->n, .indexed = true, .domain = entry->domain
		};

		err = schedule_finish(r->st, &end);
	}
	message_put(m);
	arena_done(&a);
	return err;
}

static enum err change_entry(struct relay_here *r, const struct schedule_entry *entry,
	enum queue_action action)
{
	wall_ms now = worker_wall(r->w);
	bool held = entry->state == SCHEDULE_HELD;
	struct schedule_change change = { .id = entry->ref.id,
		.n = entry->n,
		.domain = entry->domain,
		.hold = action == QUEUE_HOLD,
		.due = now };
	enum err err;

	if (action == QUEUE_BOUNCE || action == QUEUE_REMOVE)
		return end_entry(r, entry, action);
	if (held != (action == QUEUE_RELEASE))
		return ERR_NOT_FOUND;
	err = schedule_set_hold(r->st, &change);
	if (!err && !change.hold)
		sched_note(r, entry->domain, now);
	return err;
}

/* The changes of a page wait for the index, so a crew of fibers makes them side by side. */
enum { CREW = 64 };

struct crew {
	struct relay_here *r;
	const struct schedule_page *page;
	const bool *in_hand;
	enum queue_action action;
	size_t next;
	unsigned at_work;
	uint64_t changed;
	enum err err;
	struct fiber_wait done;
};

static void crew_work(void *arg)
{
	struct crew *crew = arg;

	while (!crew->err && crew->next < crew->page->len) {
		size_t at = crew->next++;

		if (crew->in_hand[at])
			continue;
		enum err err = change_entry(crew->r, &crew->page->entries[at], crew->action);

		if (!err)
			crew->changed++;
		else if (err != ERR_NOT_FOUND)
			crew->err = err;
	}
	relay_fiber_end(crew->r);
	if (--crew->at_work == 0)
		fiber_wake(&crew->done, OK);
}

static enum err act_on_page(struct relay_here *r, const struct schedule_page *page,
	enum queue_action action, uint64_t *changed)
{
	bool in_hand[PAGE] = { 0 };
	struct ask_hand ask = { .entries = page->entries, .len = page->len, .in_hand = in_hand };
	struct crew crew = {
		.r = r, .page = page, .in_hand = in_hand, .action = action, .at_work = 1
	};

	must(page->len <= PAGE);
	ask_all(&ask);
	for (size_t i = 0; i < CREW && crew.next < page->len; i++) {
		crew.at_work++;
		if (relay_fiber(r, crew_work, &crew)) {
			crew.at_work--;
			crew.err = i == 0 ? ERR_NOMEM : crew.err;
			break;
		}
	}
	if (--crew.at_work > 0)
		fiber_wait_through(&crew.done);
	/* What was remembered of these rows is void, now that the changes are applied. */
	ask.touched = true;
	ask_all(&ask);
	*changed += crew.changed;
	return crew.err;
}

static void wake_here(struct worker *w, void *arg)
{
	(void)arg;
	path_wake_all(relay_here(w));
	sched_wake_all(relay_here(w));
}

/* Twice: what was on its way from one worker to another during the first round is there by now. */
static uint64_t change_ram(struct relay_here *r, const struct queue_filter *f,
	enum queue_action action)
{
	uint64_t changed = 0;

	for (unsigned i = 0; i < 2 * r->workers; i++) {
		struct ram_look look = { .f = f, .action = (int)action };

		post_call(i % r->workers, change_here, &look);
		changed += look.changed;
	}
	return changed;
}

enum err queue_act(struct worker *w, const struct queue_filter *f, enum queue_action action,
	uint64_t *out)
{
	struct relay_here *r = relay_here(w);
	struct schedule_cursor from = { 0 };
	enum err err = OK;

	*out = 0;
	/* What is ready in RAM is on its way already: retry and release have nothing to do there. */
	if (action != QUEUE_RETRY && action != QUEUE_RELEASE)
		*out = change_ram(r, f, action);
	result_settle(r);
	for (unsigned i = 0; action == QUEUE_RETRY && i < r->workers; i++)
		post_call(i, wake_here, NULL);
	while (!err && !from.end) {
		struct arena a = { 0 };
		struct schedule_page page = { 0 };

		err = read_entries(r, f, &from, &a, &page);
		if (!err)
			err = act_on_page(r, &page, action, out);
		arena_done(&a);
	}
	return err;
}
