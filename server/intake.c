/* SPDX-License-Identifier: GPL-2.0-or-later */
/* intake.c - from the bytes of a client to a message in mailboxes and in the queue.
 *
 * Rules by origin: a submitted message gets the Date and Message-ID it lacks and loses its Bcc
 * (RFC 6409 8, RFC 5322 3.6.3); Return-Path goes from every message, as only the last hop may write
 * it (RFC 5321 4.4); a From: of somebody else's is refused. The queue id is where the message will
 * stand in the journal, so the Received field carries a trace name made before it. */
#include "server/intake.h"

#include "core/base/text.h"
#include "core/worker.h"
#include "proto/mime/addrlist.h"
#include "proto/mime/edit.h"
#include "relay/queue.h"
#include "server/login.h"
#include "store/message.h"
#include "store/store.h"

static void may_resume(struct blob_writer *blob)
{
	struct intake *in = container_of(blob, struct intake, blob);

	if (in->resume)
		in->resume(in);
}

static void free_header(struct intake *in)
{
	out_heap_done(&in->header);
	blob_aside_count(&in->header_memory, 0);
}

/* --- Who gets it ---------------------------------------------------------------------------- */

enum fault intake_rcpt_fault(const struct local *l, enum err err)
{
	switch (err) {
	case ERR_NOT_FOUND:
	case ERR_TIMEOUT: /* a report to a sender of long ago */
		return FAULT_NO_ROUTE;
	case ERR_DENIED:
		return FAULT_MAILBOX_DISABLED;
	case ERR_LIMIT:
		return FAULT_ALIAS_LOOP;
	case ERR_QUOTA:
		return l->options->over_quota == LOCAL_DEFER ? FAULT_QUOTA : FAULT_MAILBOX_FULL;
	case OK:
		return FAULT_NONE;
	default:
		return FAULT_BUSY;
	}
}

/* What RCPT promised may have changed since; that is for the end to say. */
static void plan(struct intake *in)
{
	local_begin(&in->local, in->door->w, in->arena);
	for (uint32_t i = 0; i < in->env->rcpt_count; i++)
		(void)!local_add(&in->local, in->env->rcpts[i].address, i);
	if (in->local.target_count)
		summing_begin(&in->summing, &in->blob);
}

/* Of all that waits for the end of a header this one has most. */
static void refuse_header(struct blob_aside *memory)
{
	intake_fail(container_of(memory, struct intake, header_memory), FAULT_STORE);
	free_header(container_of(memory, struct intake, header_memory));
}

void intake_begin(struct intake *in)
{
	in->end = (struct header_end){ .max = (size_t)in->door->setup->smtp->header_max };
	in->header = out_heap(in->end.max);
	in->env->trace = queue_trace_new(in->door->w);
	in->env->received_at = worker_wall(in->door->w);
	blob_begin(&in->blob, in->door->store);
	in->blob.resume = may_resume;
	in->header_memory =
		(struct blob_aside){ .store = in->door->store, .give_up = refuse_header };
	plan(in);
	if (in->env->origin != ENVELOPE_RELAYED) {
		dkim_body_init(&in->hash, DKIM_RELAXED);
		in->env->body_hash_form = ENVELOPE_HASH_RELAXED;
	}
}

bool intake_busy(const struct intake *in)
{
	return in->blob.store && in->blob.chunk_count > 0;
}

static void drop_body(struct intake *in)
{
	summing_drop(&in->summing);
	if (in->blob.store)
		blob_drop(&in->blob);
}

void intake_drop(struct intake *in)
{
	free_header(in);
	drop_body(in);
}

void intake_fail(struct intake *in, enum fault fault)
{
	if (in->fault)
		return;
	in->fault = fault;
	if (!intake_busy(in))
		drop_body(in);
}

/* True: the budget of bodies in memory is used up. */
static bool keep(struct intake *in, slice bytes)
{
	enum err err;

	if (in->fault)
		return false;
	summing_add(&in->summing, bytes);
	err = blob_write(&in->blob, bytes);
	if (err && err != ERR_BUSY)
		intake_fail(in, fault_of_err(err));
	return err == ERR_BUSY;
}

/* --- The header ---------------------------------------------------------------------------- */

static bool may_send_from(struct intake *in, slice block)
{
	struct addrlist list = { .arena = in->arena };
	struct addrlist_item item;
	struct header_field from;
	size_t found = 0;

	if (!header_find(block, SLICE("From"), &from))
		return false;
	list.rest = from.value;
	while (addrlist_next(&list, &item)) {
		struct out address = out_arena(in->arena);

		/* Quoted again where it must be: an '@' in a local part is no domain. */
		addrlist_put(&address, &item);
		if (!login_may_send_as(in->door->login, in->env->account, out_written(&address)))
			return false;
		found++;
	}
	return found > 0 && !list.bad;
}

/* A field of ours says that it was delivered to, or sent on by, somebody it would go to again. */
static bool came_back(struct intake *in, slice block)
{
	struct header_field field;

	while (header_next(&block, &field)) {
		struct out address = out_arena(in->arena);

		if (!slice_eq_nocase(field.name, SLICE("Delivered-To")))
			continue;
		header_unfold(&address, field.value);
		text_lower_all(address.buf, address.len);
		if (local_passed(&in->local, out_written(&address)))
			return true;
	}
	return false;
}

static enum fault check_header(struct intake *in, slice block, const struct header_facts *facts)
{
	const struct smtp_options *o = in->door->setup->smtp;

	if (facts->hops >= (unsigned)o->hops_max)
		return FAULT_LOOP;
	if (facts->count[HEADER_DELIVERED_TO] && in->env->origin == ENVELOPE_RELAYED &&
		came_back(in, block))
		return FAULT_LOOP;
	/* Well-formed UTF-8 without SMTPUTF8 is common and harmless: the relay knows what the next
	 * hop can take. Anything else cannot be repaired by anybody behind us. */
	if (facts->eight_bit && !facts->utf8)
		return FAULT_UTF8_HEADER;
	if (in->env->origin != ENVELOPE_SUBMISSION)
		return FAULT_NONE;
	if (facts->count[HEADER_FROM] > 1 || facts->count[HEADER_SENDER] > 1)
		return FAULT_BAD_MESSAGE;
	return !o->check_from || may_send_from(in, block) ? FAULT_NONE : FAULT_FROM_DENIED;
}

/* RFC 5321 4.4, with the comment of RFC 8314 for what protected the way. */
static slice received_field(struct intake *in)
{
	const struct intake_trace *t = &in->trace;
	const struct envelope *env = in->env;
	slice host = in->door->setup->service->hostname;
	struct out o = out_arena(in->arena);

	out_str(&o, "Received: ");
	if (t->peer) {
		out_printf(&o, "from %.*s (", SLICE_ARG(t->helo));
		if (t->peer->kind == ADDR_UNIX) /* no address: a comment, not a literal */
			out_str(&o, "local");
		else
			addr_put_literal(&o, t->peer);
		out_str(&o, ")\r\n\t");
	}
	out_printf(&o, "by %.*s with %s", SLICE_ARG(host), t->with);
	if (t->tls_version)
		out_printf(&o, "\r\n\t(%s %s)", t->tls_version, t->tls_cipher);
	out_str(&o, " id ");
	queue_id_put(&o, env->trace);
	/* More than one recipient would tell each of the others. */
	if (env->rcpt_count == 1)
		out_printf(&o, "\r\n\tfor <%.*s>", SLICE_ARG(env->rcpts[0].address));
	out_str(&o, ";\r\n\t");
	text_put_date(&o, env->received_at, 0);
	out_str(&o, "\r\n");
	return out_written(&o);
}

/* What RFC 6409 8 lets a submission server add. */
static slice missing_fields(struct intake *in, const struct header_facts *facts)
{
	struct out o = out_arena(in->arena);

	if (!facts->count[HEADER_DATE]) {
		out_str(&o, "Date: ");
		text_put_date(&o, in->env->received_at, 0);
		out_str(&o, "\r\n");
	}
	if (!facts->count[HEADER_MESSAGE_ID]) {
		out_str(&o, "Message-ID: <");
		queue_id_put(&o, in->env->trace);
		out_printf(&o, ".%llx@%.*s>\r\n", (unsigned long long)in->env->received_at,
			SLICE_ARG(in->door->setup->service->hostname));
	}
	return out_written(&o);
}

/* Forwarded mail carries the name it was forwarded by, or a circle over another host would go on
 * until its hops are too many. Not where there are others who would learn it: what comes back does
 * so alone, and is marked then. */
static slice forward_field(struct intake *in)
{
	if (!in->local.forwarder.len || in->env->rcpt_count > 1)
		return SLICE("");
	return arena_printf(in->arena, "Delivered-To: %.*s\r\n", SLICE_ARG(in->local.forwarder));
}

/* Write the edited header; what of `block` lies behind its end goes on as body. */
static bool header_is_whole(struct intake *in)
{
	slice seen = out_written(&in->header), block = slice_sub(seen, 0, in->end.bytes), piece;
	struct header_facts facts = header_facts_of(block);
	struct edit edit = { .arena = in->arena };
	struct edit_run run;
	bool pause = false;
	slice forward = forward_field(in);
	enum fault fault = check_header(in, block, &facts);

	in->header_done = true;
	if (fault) {
		intake_fail(in, fault);
		return false;
	}
	edit_remove(&edit, SLICE("Return-Path"));
	if (in->env->origin == ENVELOPE_SUBMISSION) {
		slice added = missing_fields(in, &facts);

		edit_remove(&edit, SLICE("Bcc"));
		edit_remove(&edit, SLICE("Resent-Bcc"));
		if (added.len)
			edit_append(&edit, added);
	}
	if (forward.len)
		edit_prepend(&edit, forward);
	edit_prepend(&edit, received_field(in));
	in->env->hops = (uint8_t)MIN(facts.hops + 1, 255u);
	in->env->header_8bit = facts.eight_bit;
	run = edit_run(&edit, block);
	while (edit_next(&run, &piece))
		pause = keep(in, piece);
	in->env->header_bytes = (uint32_t)in->blob.size;
	return pause;
}

/* --- The bytes ------------------------------------------------------------------------------ */

static bool add_body(struct intake *in, slice piece)
{
	if (in->fault || piece.len == 0)
		return false;
	if (in->env->header_8bit && !in->env->has_8bit)
		in->env->has_8bit = !text_is_ascii(piece);
	if (in->env->body_hash_form)
		dkim_body_add(&in->hash, piece);
	return keep(in, piece);
}

/* The header's end was found, in this piece or (a line that is no field) before it. */
static bool header_ends(struct intake *in, slice piece)
{
	size_t before = in->header.len;
	bool pause;

	in->header_memory.give_up = NULL;
	blob_aside_count(&in->header_memory, 0);
	if (in->end.bytes >= before) {
		size_t used = in->end.bytes - before;

		out_slice(&in->header, slice_sub(piece, 0, used));
		piece = slice_skip(piece, used);
	}
	if (!out_ok(&in->header)) {
		intake_fail(in, FAULT_STORE);
		free_header(in);
		return false;
	}
	pause = header_is_whole(in);
	pause = add_body(in, slice_skip(out_written(&in->header), in->end.bytes)) || pause;
	free_header(in);
	return add_body(in, piece) || pause;
}

bool intake_add(struct intake *in, slice piece)
{
	if (in->fault)
		free_header(in);
	if (in->fault || piece.len == 0)
		return false;
	if (in->header_done)
		return add_body(in, piece);
	switch (header_end_feed(&in->end, piece)) {
	case STEP_MORE:
		out_slice(&in->header, piece);
		if (!out_ok(&in->header))
			intake_fail(in, FAULT_STORE);
		blob_aside_count(&in->header_memory, in->header.cap);
		return false;
	case STEP_DONE:
		return header_ends(in, piece);
	default:
		intake_fail(in, FAULT_HEADER_TOO_LARGE);
		return false;
	}
}

/* --- The end -------------------------------------------------------------------------------- */

/* All recipients again: accounts may be gone, and with `taken` it is known who is full. The fault that
 * refuses the message, or with rcpt_faults nobody is left for it. */
static enum fault plan_again(struct intake *in, const struct local_taken *taken)
{
	const struct envelope *env = in->env;
	enum fault first = FAULT_NONE, other = FAULT_NONE;
	uint32_t refused = 0;

	local_begin(&in->local, in->door->w, in->arena);
	in->local.usage = true;
	in->local.taken = taken;
	for (uint32_t i = 0; i < env->rcpt_count; i++) {
		enum err err = local_add(&in->local, env->rcpts[i].address, i);
		enum fault fault = FAULT_NONE;

		if (err != ERR_QUOTA || taken)
			fault = intake_rcpt_fault(&in->local, err);
		first = first ? first : fault;
		refused += fault != FAULT_NONE;
		if (fault)
			other = err == ERR_QUOTA && !other ? FAULT_QUOTA : FAULT_BUSY;
		if (in->rcpt_faults)
			in->rcpt_faults[i] = fault;
	}
	if (refused == env->rcpt_count || in->rcpt_faults)
		return first;
	/* One answer for several: for who is full by now, or went away, the client must ask again, and
	 * hears it at RCPT. */
	return other;
}

/* Without those that are refused. */
static void plan_for_the_rest(struct intake *in, const struct local_taken *taken)
{
	local_begin(&in->local, in->door->w, in->arena);
	in->local.usage = true;
	in->local.taken = taken;
	for (uint32_t i = 0; i < in->env->rcpt_count; i++)
		if (!in->rcpt_faults[i])
			(void)!local_add(&in->local, in->env->rcpts[i].address, i);
}

static enum fault plan_whole(struct intake *in, const struct local_taken *taken)
{
	enum fault fault = plan_again(in, taken);

	if (!fault || !in->rcpt_faults)
		return fault;
	plan_for_the_rest(in, taken);
	return in->local.target_count || in->local.remote_count ? FAULT_NONE : fault;
}

/* For all who get it, until it is stored. */
static enum fault take_room(struct intake *in, struct local_taken *taken)
{
	struct local_load load = { .sender = in->env->sender, .bytes = in->blob.size };
	enum err err = local_take(&in->local, &load, taken);

	if (err)
		return fault_of_err(err);
	return taken->any_full ? plan_whole(in, taken) : FAULT_NONE;
}

/* The envelope of what is sent on: other recipients, and for what is forwarded another sender. */
static struct envelope envelope_for_queue(struct intake *in)
{
	struct local *l = &in->local;
	struct envelope env = *in->env;
	struct envelope_rcpt *rows = arena_array(in->arena, struct envelope_rcpt, l->remote_count);

	for (size_t i = 0; i < l->remote_count; i++) {
		const struct local_remote *to = &l->remotes[i];

		rows[i] = in->env->rcpts[to->rcpt];
		/* RFC 3461 4.2: what the sender called the recipient is what reports name. */
		if (to->forwarded && !rows[i].orcpt.len)
			rows[i].orcpt =
				arena_printf(in->arena, "rfc822;%.*s", SLICE_ARG(rows[i].address));
		rows[i].address = to->address;
		rows[i].index = (uint32_t)i;
	}
	env.rcpts = rows;
	env.rcpt_count = (uint32_t)l->remote_count;
	env.sender = local_sender(l, env.sender);
	return env;
}

/* Those of the recipients that are marked, for a report. */
static struct envelope envelope_of(struct intake *in, const bool *marked)
{
	struct envelope env = *in->env;

	env.rcpts = arena_array(in->arena, struct envelope_rcpt, env.rcpt_count);
	env.rcpt_count = 0;
	for (uint32_t i = 0; i < in->env->rcpt_count; i++)
		if (marked[i])
			env.rcpts[env.rcpt_count++] = in->env->rcpts[i];
	return env;
}

/* RFC 3461 4.1: who asked to be told of success is told of those who have it now. What is sent on is
 * reported by whoever has it last. */
static void report(struct intake *in)
{
	const struct envelope *env = in->env;
	bool *told = arena_array(in->arena, bool, env->rcpt_count);

	for (uint32_t i = 0; i < env->rcpt_count; i++)
		told[i] = env->rcpts[i].notify & ENVELOPE_NOTIFY_SUCCESS &&
			!(in->rcpt_faults && in->rcpt_faults[i]);
	for (size_t i = 0; i < in->local.remote_count; i++)
		told[in->local.remotes[i].rcpt] = false;
	struct envelope of = envelope_of(in, told);

	if (of.rcpt_count && of.sender.len)
		local_report(in->door->w, &of, env->id);
}

/* Who got none of it is a member of an alias, or forwards what he gets: the recipient was taken, so
 * the sender hears of it by mail, unless he wants to hear nothing (RFC 3461 4.1). */
static void report_full(struct intake *in)
{
	const struct envelope *env = in->env;
	bool *told = arena_array(in->arena, bool, env->rcpt_count);

	for (size_t i = 0; i < in->local.target_count; i++) {
		const struct local_target *t = &in->local.targets[i];
		uint8_t notify = env->rcpts[t->rcpt].notify;

		if (t->full && (!notify || notify & ENVELOPE_NOTIFY_FAILURE))
			told[t->rcpt] = true;
	}
	struct envelope of = envelope_of(in, told);

	if (of.rcpt_count && of.sender.len)
		local_report_full(in->door->w, &of, env->id);
}

struct handing {
	struct queue_mail mail;
	struct intake *in;
};

static void on_disk(const struct queue_mail *mail, queue_id id)
{
	struct intake *in = container_of(mail, struct handing, mail)->in;

	in->env->id = id;
	if (in->accepted)
		in->accepted(in);
}

static enum err submit(struct intake *in)
{
	struct envelope env = envelope_for_queue(in);
	struct handing handing = { .in = in,
		.mail = { .envelope = &env, .body = &in->blob, .accepted = on_disk } };
	struct queue_mail *mail = &handing.mail;
	struct local_mail local = { .sender = in->env->sender, .received = in->env->received_at };
	struct out row = out_arena(in->arena);
	enum err err = OK;

	if (in->local.target_count) {
		if (in->summing.body)
			err = summing_end(&in->summing, &row);
		local.summary = out_written(&row);
		if (!err)
			err = local_deliver(&in->local, &local, &mail->into);
	}
	if (!err && mail->into)
		mail->mailboxes = mail->into->target_count;
	if (!mail->mailboxes) /* they are all full, and others get it */
		mail->into = NULL;
	if (err)
		intake_drop(in);
	else
		err = queue_submit(in->door->w, mail, &in->env->id);
	return err;
}

enum fault intake_finish(struct intake *in)
{
	struct local_taken taken = { 0 };
	enum fault fault;
	enum err err;

	if (!in->fault && !in->header_done) {
		in->header_memory.give_up = NULL;
		blob_aside_count(&in->header_memory, 0);
		header_end_finish(&in->end);
		(void)header_is_whole(in);
		(void)add_body(in, slice_skip(out_written(&in->header), in->end.bytes));
	}
	free_header(in);
	fault = in->fault ? in->fault : plan_whole(in, NULL);
	if (!fault)
		fault = take_room(in, &taken);
	if (fault) {
		local_end(&taken, 0);
		intake_drop(in);
		return fault;
	}
	if (in->env->body_hash_form)
		dkim_body_end(&in->hash, in->env->body_hash);
	in->env->size = in->blob.size;
	err = submit(in);
	local_end(&taken, err ? 0 : in->env->id);
	if (err)
		return fault_of_err(err);
	if (in->local.target_count)
		report(in);
	if (taken.any_full)
		report_full(in);
	in->submitted = true;
	return FAULT_NONE;
}
