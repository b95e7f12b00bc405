/* SPDX-License-Identifier: GPL-2.0-or-later */
/* queue.c - in at the front: submit, and what a restart hands back.
 *
 * A submitted message is one durable record; then its recipients are cut into parcels by domain
 * and sent on. Nothing here touches the index: only what is parked gets rows there. What replay
 * gives back is collected per message and goes the same way as fresh mail, less the recipients
 * whose results were durable already. */
#include "relay/queue.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/entropy.h"
#include "relay/event.h"
#include "relay/relay_int.h"
#include "relay/result.h"
#include "relay/site.h"
#include "store/blob.h"

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

uint64_t queue_trace_new(struct worker *w)
{
	struct relay_here *r = relay_here(w);
	uint64_t now = (uint64_t)worker_wall(w) << 20;

	/* Milliseconds, a count, the worker: unique here, and over restarts unless the clock is
	 * set back onto the very same moment. */
	r->trace = MAX(r->trace + 1, now >> 8);
	return r->trace << 8 | (r->index & 255);
}

void queue_id_put(struct out *o, queue_id id)
{
	char text[QUEUE_ID_TEXT];
	size_t at = sizeof(text);

	do {
		text[--at] = digits[id & 31];
		id >>= 5;
	} while (id);
	out_bytes(o, text + at, sizeof(text) - at);
}

void queue_id_put_rcpt(struct out *o, queue_id id, uint32_t index)
{
	queue_id_put(o, id);
	out_char(o, '.');
	out_uint(o, index);
}

static bool id_of(slice text, queue_id *out)
{
	queue_id id = 0;

	if (text.len == 0 || text.len >= QUEUE_ID_TEXT)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		const char *at = strchr(digits, text_lower(text.ptr[i]));

		if (!text.ptr[i] || !at || id >> 59)
			return false;
		id = id << 5 | (queue_id)(at - digits);
	}
	*out = id;
	return id != 0;
}

bool queue_id_parse(slice text, queue_id *out, uint32_t *out_index)
{
	ptrdiff_t dot = slice_find(text, '.');
	uint64_t index = QUEUE_ALL;
	queue_id id;

	if (dot >= 0 && !text_parse_uint(slice_skip(text, (size_t)dot + 1), QUEUE_ALL - 1, &index))
		return false;
	if (!id_of(dot < 0 ? text : slice_sub(text, 0, (size_t)dot), &id))
		return false;
	*out = id;
	*out_index = (uint32_t)index;
	return true;
}

enum err queue_admit(struct worker *w)
{
	struct relay_here *r = relay_here(w);
	enum err why = OK;

	if (r->draining)
		return ERR_STOPPED;
	return store_accepting(r->st, &why) ? OK : why ? why : ERR_BUSY;
}

/* An eighth is kept free of bulk mail, so that a campaign never sends anything else to the disk. */
bool queue_over_limit(const struct relay_here *r, uint8_t lane)
{
	int64_t ready = r->gen->o->ready_max;
	int64_t bytes = r->gen->o->ram_bytes / (int64_t)r->workers;

	if (lane != ENVELOPE_TRANSACTIONAL) {
		ready -= ready / 8;
		bytes -= bytes / 8;
	}
	return r->counts.ready >= ready || r->counts.ram_bytes >= bytes;
}

/* Cutting a message into parcels --------------------------------------------------------------- */

/* Recipients sorted by domain, each with its place in the envelope. */
struct by_domain {
	slice domain;
	uint32_t n;
};

static int compare_domains(const void *left, const void *right)
{
	const struct by_domain *x = left, *y = right;
	int order = slice_cmp(x->domain, y->domain);

	return order ? order : x->n < y->n ? -1 : x->n > y->n;
}

static void route_fresh(struct relay_here *r, struct parcel *p)
{
	msec wait = envelope_hold_ms(&p->m->env, worker_wall(r->w));

	if (r->gen->still)
		site_rest(r, p);
	else if (wait > 0)
		queue_park(r, p, p->m->env.hold_until, "held until the time the sender asked for");
	else if (queue_over_limit(r, p->lane))
		queue_park(r, p, worker_wall(r->w), "the queue in memory is full");
	else
		site_route(r, p);
}

/* `row` is the first of `count` recipients at one domain. */
static bool send_group(struct relay_here *r, struct message *m, const struct by_domain *row,
	uint32_t count)
{
	struct parcel *p = parcel_new(r, m, count);

	if (!p)
		return false;
	p->domain = row->domain;
	for (uint32_t i = 0; i < count; i++)
		p->items[i].n = row[i].n;
	route_fresh(r, p);
	return true;
}

/* Those with a set bit in `done` are finished already. False: memory ran out on the way. */
static bool cut_and_send(struct relay_here *r, struct message *m, const uint64_t *done)
{
	struct arena a = { 0 };
	struct by_domain one, *rows = &one;
	uint32_t len = 0;
	bool ok = true;

	if (m->env.rcpt_count > 1)
		rows = arena_array(&a, struct by_domain, m->env.rcpt_count);
	for (uint32_t n = 0; n < m->env.rcpt_count; n++)
		if (!done || !(done[n / 64] >> n % 64 & 1))
			rows[len++] = (struct by_domain){
				.domain = envelope_domain(m->env.rcpts[n].address), .n = n
			};
	atomic_init(&m->open, len);
	m->held = true;
	if (len > 1)
		qsort(rows, len, sizeof(rows[0]), compare_domains);
	for (uint32_t first = 0, end; first < len; first = end) {
		for (end = first + 1; end < len; end++)
			if (!slice_eq(rows[end].domain, rows[first].domain))
				break;
		ok = send_group(r, m, rows + first, end - first) && ok;
	}
	arena_done(&a);
	return ok;
}

void queue_park(struct relay_here *r, struct parcel *p, wall_ms due, const char *why)
{
	struct reason reason;

	reason_words(&reason, OK, "", slice_str(why));
	for (uint32_t i = 0; i < p->count; i++) {
		p->items[i].due = due;
		p->items[i].no_attempt = true;
	}
	parcel_all(p, OUTCOME_PARKED, &reason);
	result_parcel(r, p);
}

/* Submit --------------------------------------------------------------------------------------- */

static void tell_accepted(struct relay_here *r, const struct queue_mail *mail, uint64_t message_id)
{
	const struct envelope *e = mail->envelope;
	char id[32], trace[32];
	struct out o = out_fixed(id, sizeof(id)), t = out_fixed(trace, sizeof(trace));

	queue_id_put(&o, message_id);
	queue_id_put(&t, e->trace);
	relay_count(r, accepted_messages, 1);
	relay_count(r, accepted_rcpts, e->rcpt_count);
	relay_count(r, stored, mail->mailboxes);
	event_emit(&relay_events, RELAY_ACCEPTED, log_slice("id", out_written(&o)),
		log_slice(e->trace ? "trace" : NULL, out_written(&t)), log_slice("from", e->sender),
		log_uint("rcpts", e->rcpt_count), log_uint("size", e->size),
		log_uint(mail->mailboxes ? "mailboxes" : NULL, mail->mailboxes),
		log_slice(e->account.len ? "account" : NULL, e->account));
}

static enum err may_submit(const struct relay_here *r, const struct queue_mail *mail)
{
	const struct envelope *e = mail->envelope;
	if ((e->rcpt_count == 0 && !mail->into) || e->rcpt_count > ENVELOPE_RCPTS_MAX)
		return ERR_TOO_LARGE;
	return r->draining && e->origin != ENVELOPE_DSN ? ERR_STOPPED : OK;
}

/* From here on it is ours, whatever happens: without memory it waits in the journal, held, for the
 * next start. */
static void send_on(struct relay_here *r, const struct blob_ref *ref, slice meta)
{
	enum err err = OK;
	struct message *m = message_new(ref, meta, &err);

	must(m || err == ERR_NOMEM);
	if (m)
		cut_and_send(r, m, NULL);
	message_put(m);
}

enum err queue_submit(struct worker *w, const struct queue_mail *mail, queue_id *out)
{
	struct relay_here *r = relay_here(w);
	const struct envelope *e = mail->envelope;
	struct out meta = out_heap(STORE_META_MAX);
	struct blob_ref ref = { 0 };
	enum err err = may_submit(r, mail);

	if (!err && e->rcpt_count)
		envelope_encode(e, &meta);
	if (!out_ok(&meta))
		err = ERR_TOO_LARGE;
	if (err) {
		blob_drop(mail->body);
	} else {
		struct store_message msg = { .meta = out_written(&meta),
			.body = mail->body,
			.deliver = mail->into,
			.at = e->received_at };

		err = store_message_append(r->st, &msg, &ref);
	}
	if (!err) {
		*out = ref.id;
		tell_accepted(r, mail, ref.id);
		if (mail->accepted)
			mail->accepted(mail, ref.id);
		if (e->rcpt_count)
			send_on(r, &ref, out_written(&meta));
		else /* the index rows hold it */
			store_release(r->st, &ref);
	}
	out_heap_done(&meta);
	return err;
}

/* Replay --------------------------------------------------------------------------------------- */

struct replayed {
	struct map_link link;
	struct replayed *next;
	struct message *m;
	uint32_t left;
	uint64_t done[];
};

/* Filled by store_open on one thread, emptied by the worker that starts last. */
static struct {
	struct map by_id;
	struct replayed *first, **end;
	uint64_t damaged;
} replay;

static bool replay_message(void *arg, const struct blob_ref *ref, wall_ms at, slice meta)
{
	enum err err = OK;
	struct message *m = message_new(ref, meta, &err);
	size_t words;
	struct replayed *row;

	(void)arg;
	(void)at;
	if (!m) {
		/* Held for ever rather than dropped: fsck must see it. */
		replay.damaged++;
		return true;
	}
	words = (m->env.rcpt_count + 63) / 64;
	row = calloc(1, sizeof(*row) + words * sizeof(uint64_t));
	if (!row || !map_insert(&replay.by_id, &row->link, map_hash_u64(ref->id))) {
		free(row);
		message_put(m);
		return true;
	}
	row->m = m;
	row->left = m->env.rcpt_count;
	if (!replay.first)
		replay.end = &replay.first;
	*replay.end = row;
	replay.end = &row->next;
	return true;
}

static void replay_settled(uint64_t id, uint32_t n)
{
	struct map_link *link = map_find(&replay.by_id, map_hash_u64(id));

	for (; link; link = map_find_next(&replay.by_id, link)) {
		struct replayed *row = container_of(link, struct replayed, link);

		if (row->m->ref.id != id || n >= row->m->env.rcpt_count)
			continue;
		if (!(row->done[n / 64] >> n % 64 & 1))
			row->left--;
		row->done[n / 64] |= UINT64_C(1) << n % 64;
		return;
	}
}

static void replay_park(void *arg, const struct schedule_entry *entry)
{
	(void)arg;
	replay_settled(entry->ref.id, entry->n);
}

static void replay_done(void *arg, uint64_t id, uint32_t n)
{
	(void)arg;
	replay_settled(id, n);
}

const struct store_replay_ops queue_replay_ops = {
	.message = replay_message,
	.park = replay_park,
	.done = replay_done,
};

void queue_distribute_replay(struct relay_here *r)
{
	uint64_t messages = 0, rcpts = 0;

	while (replay.first) {
		struct replayed *row = replay.first;

		replay.first = row->next;
		map_remove(&replay.by_id, &row->link);
		if (row->left == 0) {
			store_release(r->st, &row->m->ref);
		} else {
			messages++;
			rcpts += row->left;
			cut_and_send(r, row->m, row->done);
		}
		message_put(row->m);
		free(row);
		/* A long replay lets the others have their turn. */
		if (messages % 64 == 0 && fiber_self())
			(void)!fiber_sleep(0);
	}
	if (messages > 0)
		event_emit(&relay_events, RELAY_REPLAYED, log_uint("messages", messages),
			log_uint("rcpts", rcpts));
	if (replay.damaged > 0)
		event_emit(&relay_events, RELAY_DAMAGED, log_uint("messages", replay.damaged));
	map_done(&replay.by_id);
	replay.damaged = 0;
}

void queue_forget_replay(void)
{
	while (replay.first) {
		struct replayed *row = replay.first;

		replay.first = row->next;
		message_put(row->m);
		free(row);
	}
	map_done(&replay.by_id);
	memset(&replay, 0, sizeof(replay));
}
