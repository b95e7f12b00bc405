/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bounce.c - what the sender is told: delivery status notifications (RFC 3461, 3464).
 *
 * One report per parcel and kind: failed, delayed, relayed. It is a message like any other, from
 * the null sender, so it is never reported about itself. The original goes along whole when it is
 * small and RET asks for it (or does not say and the report is of a failure), else its header. */
#include <stdlib.h>

#include "core/base/codec.h"
#include "core/base/text.h"
#include "core/entropy.h"
#include "proto/mailauth/dkim_canon.h"
#include "proto/mime/dsn.h"
#include "proto/mime/header.h"
#include "proto/mime/summary.h"
#include "relay/event.h"
#include "relay/relay_int.h"
#include "relay/result.h"
#include "store/blob.h"

enum { HEADER_BYTES_MAX = 64 * 1024, PIECE = 16 * 1024, HEAD_MAX = 256 * 1024 };

enum kind { KIND_FAILED, KIND_DELAYED, KIND_RELAYED, KINDS };

static bool wants(const struct item *it, enum kind kind)
{
	switch (kind) {
	case KIND_FAILED:
		return it->notify_fail && it->outcome == OUTCOME_FAILED;
	case KIND_DELAYED:
		return it->notify_warn && it->outcome == OUTCOME_DEFERRED;
	default:
		return it->notify_ok && it->outcome == OUTCOME_DELIVERED;
	}
}

static uint32_t count_of(const struct parcel *p, enum kind kind)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < p->count; i++)
		count += wants(&p->items[i], kind);
	return count;
}

bool bounce_wanted(const struct parcel *p)
{
	for (enum kind kind = 0; kind < KINDS; kind++)
		if (count_of(p, kind) > 0)
			return true;
	return false;
}

/* Everything about one report under way. */
struct report {
	struct relay_here *r;
	const struct parcel *p;
	enum kind kind;
	struct arena arena;
	struct dsn dsn;
	struct blob_writer body;
	struct local local;
	struct summary_builder *summary; /* NULL: nobody here gets it */
	struct dkim_body hash;
	uint64_t size;
	uint32_t header_bytes;
	bool has_8bit;
};

static void describe(struct report *rep, const struct item *it, struct dsn_rcpt *out)
{
	static const enum dsn_action actions[KINDS] = { DSN_FAILED, DSN_DELAYED, DSN_RELAYED };
	static const struct reason none;
	const struct reason *why = it->reason ? it->reason : &none;
	slice text = slice_of(why->text, why->text_len);
	slice status = slice_str(why->status);

	*out = (struct dsn_rcpt){
		.original = parcel_rcpt(rep->p, it)->orcpt,
		.final = parcel_rcpt(rep->p, it)->address,
		.action = actions[rep->kind],
		.last_attempt = worker_wall(rep->r->w),
	};
	/* RFC 3464 2.3.3: "relayed" is for who hands it on without a word. */
	if (rep->kind == KIND_RELAYED && why->last_hop)
		out->action = DSN_DELIVERED;
	/* The class of the status must be that of the action (RFC 3464 2.3.4). */
	if (status.len > 0 && status.ptr[0] == "542"[rep->kind])
		out->status = status;
	if (why->code) {
		out->diagnostic = arena_printf(&rep->arena, "%d %s%s%.*s", why->code, why->status,
			why->status[0] ? " " : "", SLICE_ARG(text));
		slice mta = slice_str(why->mta), name;

		if (slice_cut(&mta, '[', &name))
			out->remote_mta = name;
	} else {
		out->explanation = text;
	}
	if (it->expired) {
		out->status = SLICE("5.4.7"); /* RFC 3463: delivery time expired */
		if (why->code || !text.len)
			out->explanation = SLICE("It was tried until its time was over.");
	}
	if (rep->kind == KIND_DELAYED)
		out->will_retry_until = result_expires(rep->r, rep->p);
}

static enum err put(struct report *rep, slice bytes)
{
	for (size_t i = 0; i < bytes.len && !rep->has_8bit; i++)
		rep->has_8bit = (unsigned char)bytes.ptr[i] > 127;
	rep->size += bytes.len;
	if (rep->summary)
		summary_add(rep->summary, bytes);
	return blob_write_wait(&rep->body, bytes);
}

/* Bytes behind the report's own header also go into the body hash. */
static enum err put_body(struct report *rep, slice bytes)
{
	dkim_body_add(&rep->hash, bytes);
	return put(rep, bytes);
}

static enum err read_header(struct report *rep, struct blob_reader *in, slice *out)
{
	size_t want = MIN(rep->p->m->env.header_bytes, (uint32_t)HEADER_BYTES_MAX), have = 0;
	char *bytes = arena_alloc(&rep->arena, want + 1);
	enum err err = OK;

	while (!err && have < want) {
		size_t len = 0;

		err = blob_read(in, bytes + have, want - have, &len);
		if (len == 0)
			break;
		have += len;
	}
	*out = slice_of(bytes, have);
	return err;
}

static enum err copy_rest(struct report *rep, struct blob_reader *in)
{
	char *buf = malloc(PIECE);
	enum err err = buf ? OK : ERR_NOMEM;
	size_t len = 0;

	while (!err) {
		err = blob_read(in, buf, PIECE, &len);
		if (err || len == 0)
			break;
		err = put_body(rep, slice_of(buf, len));
	}
	/* Better a part of the original than no report. */
	if (err == ERR_CORRUPT || err == ERR_NOT_FOUND)
		err = OK;
	free(buf);
	return err;
}

static bool full_wanted(const struct report *rep)
{
	const struct envelope *e = &rep->p->m->env;

	return rep->kind == KIND_FAILED && e->ret != ENVELOPE_RET_HDRS &&
		(int64_t)rep->p->m->ref.size <= rep->r->gen->o->dsn_max_bytes;
}

/* Values that need no look at the original. */
static void fill(struct report *rep)
{
	const struct relay_gen *gen = rep->r->gen;
	const struct envelope *e = &rep->p->m->env;
	unsigned char random[12];
	struct out o = out_arena(&rep->arena), id = out_arena(&rep->arena);

	entropy_fill(random, sizeof(random));
	codec_put_hex(&o, slice_of(random, sizeof(random)));
	queue_id_put(&id, rep->p->m->ref.id);
	rep->dsn = (struct dsn){
		.hostname = gen->hostname,
		.from = gen->o->postmaster,
		.to = e->sender,
		.message_id = arena_printf(&rep->arena, "<%.*s@%.*s>", SLICE_ARG(out_written(&o)),
			SLICE_ARG(gen->hostname)),
		.boundary = out_written(&o),
		.envid = e->envid,
		.queue_id = out_written(&id),
		.now = worker_wall(rep->r->w),
		.arrival = e->received_at,
		/* A sender who can be reached without SMTPUTF8 gets a report that needs none. */
		.utf8 = e->smtputf8 && !text_is_ascii(e->sender),
		.return_full = full_wanted(rep),
		.original_8bit = e->has_8bit || e->header_8bit,
	};
	struct dsn_rcpt *rows =
		arena_array(&rep->arena, struct dsn_rcpt, count_of(rep->p, rep->kind));

	for (uint32_t i = 0; i < rep->p->count; i++)
		if (wants(&rep->p->items[i], rep->kind))
			describe(rep, &rep->p->items[i], &rows[rep->dsn.rcpt_count++]);
	rep->dsn.rcpts = rows;
}

/* The first part of the report, cut where its own header ends. */
static enum err put_head(struct report *rep)
{
	struct out head = out_heap(HEAD_MAX);
	struct header_end end = { 0 };
	enum err err = ERR_TOO_LARGE;

	dsn_put_head(&rep->dsn, &head);
	if (out_ok(&head) && header_end_feed(&end, out_written(&head)) == STEP_DONE) {
		rep->header_bytes = (uint32_t)end.bytes;
		err = put(rep, slice_sub(out_written(&head), 0, end.bytes));
		if (!err)
			err = put_body(rep, slice_skip(out_written(&head), end.bytes));
	}
	out_heap_done(&head);
	return err;
}

static enum err write_all(struct report *rep)
{
	struct blob_reader in = { 0 };
	struct header_field subject;
	slice header = SLICE("");
	enum err err = blob_open(&in, rep->r->st, rep->p->m->ref.id);

	if (!err)
		err = read_header(rep, &in, &header);
	/* Without the original the report still says what happened. */
	if (err)
		header = SLICE("");
	if (header_find(header, SLICE("Subject"), &subject))
		rep->dsn.subject = subject.value;
	if (err)
		rep->dsn.return_full = false;
	err = put_head(rep);
	if (!err && header.len > 0)
		err = put_body(rep, header);
	if (!err && rep->dsn.return_full)
		err = copy_rest(rep, &in);
	if (!err) {
		struct out tail = out_arena(&rep->arena);

		dsn_put_tail(&rep->dsn, &tail);
		err = put_body(rep, out_written(&tail));
	}
	return err;
}

/* Who gets it: the sender may be one of ours, an alias, or forward their mail. Nobody any more: it goes
 * to the queue as it is, whose attempt says so. */
static void plan(struct report *rep)
{
	slice sender = rep->p->m->env.sender;

	local_begin(&rep->local, rep->r->w, &rep->arena);
	rep->local.usage = true;
	enum err err = local_add(&rep->local, sender, 0);

	if (err && err != ERR_QUOTA)
		local_begin(&rep->local, rep->r->w, &rep->arena);
	if (rep->local.target_count)
		rep->summary = summary_begin();
}

static enum err deliver_here(struct report *rep, struct queue_mail *out)
{
	struct out row = out_arena(&rep->arena);
	struct local_mail mail = { .sender = SLICE(""), .received = rep->dsn.now };

	summary_end(rep->summary, &row);
	rep->summary = NULL;
	mail.summary = out_written(&row);
	out->mailboxes = rep->local.target_count;
	return local_deliver(&rep->local, &mail, &out->into);
}

/* The addresses for the queue. */
static void fill_rcpts(struct report *rep, struct envelope *e)
{
	bool planned = rep->local.target_count || rep->local.remote_count;

	e->rcpt_count = planned ? (uint32_t)rep->local.remote_count : 1;
	e->rcpts = arena_array(&rep->arena, struct envelope_rcpt, e->rcpt_count);
	for (uint32_t i = 0; i < e->rcpt_count; i++)
		e->rcpts[i] = (struct envelope_rcpt){
			.address = planned ? rep->local.remotes[i].address : rep->dsn.to,
			.index = i,
			.notify = ENVELOPE_NOTIFY_NEVER,
		};
}

static enum err submit(struct report *rep)
{
	struct envelope e = {
		.received_at = rep->dsn.now,
		.size = rep->size,
		.header_bytes = rep->header_bytes,
		.body = rep->has_8bit ? ENVELOPE_8BITMIME : ENVELOPE_7BIT,
		.origin = ENVELOPE_DSN,
		.smtputf8 = rep->dsn.utf8,
		.has_8bit = rep->has_8bit,
		.header_8bit = rep->has_8bit && rep->dsn.utf8,
		.body_hash_form = ENVELOPE_HASH_RELAXED,
	};
	struct queue_mail mail = { .envelope = &e, .body = &rep->body };
	/* It must not end unsaid: who is full gets it, and it counts. */
	struct local_load load = { .bytes = rep->size, .sender = SLICE(""), .always = true };
	struct local_taken taken;
	queue_id id = 0;
	enum err err = local_take(&rep->local, &load, &taken);

	fill_rcpts(rep, &e);
	if (!err && rep->summary)
		err = deliver_here(rep, &mail);
	dkim_body_end(&rep->hash, e.body_hash);
	if (err)
		blob_drop(&rep->body);
	else
		err = queue_submit(rep->r->w, &mail, &id);
	local_end(&taken, err ? 0 : id);
	if (!err) {
		char text[32];
		struct out o = out_fixed(text, sizeof(text));
		static const char *const kinds[KINDS] = { "failed", "delayed", "relayed" };

		queue_id_put(&o, id);
		relay_count(rep->r, dsns, 1);
		event_emit(&relay_events, RELAY_DSN_MADE, log_slice("id", rep->dsn.queue_id),
			log_slice("dsn", out_written(&o)), log_str("kind", kinds[rep->kind]),
			log_slice("to", rep->dsn.to), log_uint("rcpts", rep->dsn.rcpt_count));
	}
	return err;
}

static enum err make(struct relay_here *r, const struct parcel *p, enum kind kind)
{
	struct report rep = { .r = r, .p = p, .kind = kind };
	enum err err;

	blob_begin(&rep.body, r->st);
	dkim_body_init(&rep.hash, DKIM_RELAXED);
	fill(&rep);
	plan(&rep);
	err = write_all(&rep);
	if (err)
		blob_drop(&rep.body);
	else
		err = submit(&rep);
	summary_drop(rep.summary);
	arena_done(&rep.arena);
	return err;
}

enum err bounce_parcel(struct relay_here *r, struct parcel *p)
{
	enum err failed = OK;

	for (enum kind kind = 0; kind < KINDS; kind++) {
		if (count_of(p, kind) == 0)
			continue;
		enum err err = make(r, p, kind);

		if (err)
			event_emit(&relay_events, RELAY_DSN_DROPPED,
				log_slice("to", p->m->env.sender), log_err(err));
		/* Only a failure is worth an attempt more: it must not end unsaid. */
		if (err && kind != KIND_RELAYED)
			failed = err;
	}
	return failed;
}
