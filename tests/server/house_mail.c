/* SPDX-License-Identifier: GPL-2.0-or-later */
/* house_mail.c - the part of the house that SMTP and LMTP sessions call: store, queue, relay, accounts. */
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/worker.h"
#include "relay/local.h"
#include "relay/queue.h"
#include "relay/relay.h"
#include "server/login.h"
#include "server/smtp/smtp_session.h"
#include "store/account.h"
#include "store/blob.h"
#include "store/message.h"
#include "tests/server/house.h"

bool house_serves(enum door_kind service)
{
	return service <= SERVICE_LMTP;
}

bool house_deliver(slice message)
{
	return false;
}

void house_furnish(void)
{
}

void house_done(void)
{
}

void house_session_start(struct door *door, int fd, const struct addr *peer)
{
	smtp_session_start(door, fd, peer);
}

static struct out body;

void blob_begin(struct blob_writer *b, struct store *st)
{
	*b = (struct blob_writer){ .store = (struct store *)&house };
	out_heap_done(&body);
	body = out_heap(64 << 20);
}

enum err blob_write(struct blob_writer *b, slice bytes)
{
	b->size += bytes.len;
	out_slice(&body, bytes);
	return house.write_err;
}

void blob_aside_count(struct blob_aside *a, size_t bytes)
{
	a->bytes = bytes;
}

enum err blob_read_again(struct blob_writer *b, const struct blob_again *again)
{
	return ERR_IO; /* nothing is given up here */
}

void blob_drop(struct blob_writer *b)
{
	b->store = NULL;
	out_heap_done(&body);
	body = (struct out){ 0 };
}

uint64_t queue_trace_new(struct worker *w)
{
	return 77;
}

void queue_id_put(struct out *o, queue_id id)
{
	out_printf(o, "q%llu", (unsigned long long)id);
}

static void keep(char *to, size_t bytes, slice from)
{
	snprintf(to, bytes, "%.*s", SLICE_ARG(from));
}

static void deliver(const struct deliver *d)
{
	for (size_t i = 0; d && i < d->target_count; i++) {
		must(d->targets[i].account < array_len(house.held));
		house.held[d->targets[i].account]++;
		keep(house.splice, sizeof(house.splice), d->targets[i].splice);
	}
}

enum err queue_submit(struct worker *w, const struct queue_mail *mail, queue_id *out)
{
	const struct envelope *e = mail->envelope;
	struct blob_writer *b = mail->body;

	must(b->store && e->size == b->size && (e->rcpt_count >= 1 || mail->mailboxes));
	if (!house.submit_err) {
		house.submitted++;
		house.rcpts = e->rcpt_count;
		house.mailboxes = (unsigned)mail->mailboxes;
		deliver(mail->into);
		house.hash_given = e->body_hash_form != ENVELOPE_HASH_NONE;
		keep(house.sender, sizeof(house.sender), e->sender);
		keep(house.first_rcpt, sizeof(house.first_rcpt),
			e->rcpt_count ? e->rcpts[0].address : SLICE(""));
		house.stored.len = 0;
		out_slice(&house.stored, out_written(&body));
		must(e->header_bytes <= e->size);
		*out = 4711;
		if (mail->accepted)
			mail->accepted(mail, *out);
	}
	blob_drop(b);
	return house.submit_err;
}

enum err queue_admit(struct worker *w)
{
	return house.admit_err;
}

const struct domain *domain_find(struct store *st, slice name, enum err *failed)
{
	static const char *const names[] = { "own.test", "empty.test", "home.test" };
	static const struct domain found;

	*failed = OK;
	for (size_t i = 0; i < array_len(names); i++)
		if (slice_eq(name, slice_str(names[i])))
			return &found;
	return NULL;
}

const struct account *account_find(struct store *st, slice local, slice domain, enum err *failed)
{
	static const struct account rows[] = {
		{ .local = SLICE_INIT("bob"), .domain = SLICE_INIT("home.test"), .id = 1 },
		{ .local = SLICE_INIT("carol"),
			.domain = SLICE_INIT("home.test"),
			.id = 2,
			.forward = SLICE_INIT("x@far.test") },
		{ .local = SLICE_INIT("off"),
			.domain = SLICE_INIT("home.test"),
			.id = 3,
			.flags = ACCOUNT_DISABLED },
		{ .local = SLICE_INIT("full"),
			.domain = SLICE_INIT("home.test"),
			.id = 4,
			.quota_messages = 1 },
	};

	*failed = OK;
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq(local, rows[i].local) && slice_eq(domain, rows[i].domain))
			return &rows[i];
	return NULL;
}

const struct alias *alias_find(struct store *st, slice local, slice domain, enum err *failed)
{
	static const struct alias rows[] = {
		{ .local = SLICE_INIT("team"),
			.targets = SLICE_INIT("bob@home.test\0carol@home.test\0y@far.test") },
		{ .local = SLICE_INIT("round"), .targets = SLICE_INIT("round@home.test") },
	};

	*failed = OK;
	for (size_t i = 0; i < array_len(rows); i++)
		if (slice_eq(local, rows[i].local) && slice_eq(domain, SLICE("home.test")))
			return &rows[i];
	return NULL;
}

enum err mailbox_usage(struct store *st, uint64_t account, struct mailbox_usage *out)
{
	must(account < array_len(house.held));
	*out = (struct mailbox_usage){ .messages = house.held[account], .mailboxes = 6 };
	return OK;
}

enum err mailbox_domain_usage(struct store *st, slice domain, struct mailbox_usage *out)
{
	*out = (struct mailbox_usage){ 0 };
	return OK;
}

enum err store_sync_everything(struct store *st)
{
	return OK;
}

enum err room_take(struct store *st, struct room_ask *ask, struct room **out)
{
	size_t full = 0;

	*out = NULL;
	for (size_t i = 0; i < ask->len; i++) {
		struct room_want *want = &ask->wants[i];

		want->full =
			want->limit.messages && house.held[want->account] >= want->limit.messages;
		full += want->full;
	}
	return full && full == ask->len ? ERR_QUOTA : OK;
}

void room_end(struct room *r, modseq pos)
{
}

enum err message_scan(struct store *st, struct message_scan *scan)
{
	return ERR_UNSUPPORTED;
}

enum err mailbox_find(struct store *st, uint64_t account, slice name, struct arena *a,
	struct mailbox *out)
{
	return ERR_NOT_FOUND;
}

enum err mailbox_account_init(struct store *st, uint64_t account, slice domain)
{
	return OK;
}

void local_report(struct worker *w, const struct envelope *env, uint64_t id)
{
	house.reported += env->rcpt_count;
}

void local_report_full(struct worker *w, const struct envelope *env, uint64_t id)
{
	house.reported_full += env->rcpt_count;
}

void local_begin(struct local *l, struct worker *w, struct arena *a)
{
	*l = (struct local){ .options = conf_options(house.door.setup->conf, &local_conf),
		.arena = a,
		.secret = SLICE("0123456789abcdef0123456789abcdef"),
		.now = worker_wall(w) };
}

enum err setting_get(struct store *st, const struct setting *name, struct arena *a, slice *out)
{
	return ERR_NOT_FOUND;
}

enum err setting_put(struct store *st, const struct setting *row, enum row_mode mode)
{
	return ERR_NOMEM;
}

const struct route_table *relay_routes(struct worker *w)
{
	return NULL;
}

bool route_exact(const struct route_table *t, slice domain)
{
	return slice_eq(domain, SLICE("own.test"));
}

bool route_accepts(const struct route_table *t, slice domain)
{
	return slice_eq(domain, SLICE("accepted.test"));
}

const struct route *route_at(const struct route_table *t, size_t i)
{
	static const struct route rows[] = { { .domain = SLICE_INIT("*") },
		{ .domain = SLICE_INIT("empty.test") }, { .domain = SLICE_INIT("own.test") } };

	return i < array_len(rows) ? &rows[i] : NULL;
}

bool login_may_send_as(struct login *l, slice name, slice address)
{
	return slice_eq(name, SLICE("alice@own.test")) &&
		(!address.len || slice_ends_nocase(address, SLICE("@own.test")));
}
