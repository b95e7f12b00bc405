/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ship.c - a transaction built and ended.
 *
 * Who may not go there at all (an address that needs SMTPUTF8, a body that cannot be converted) has
 * an outcome before anything is sent. Who must go again (too many recipients at once, a connection
 * lost before MAIL was answered) is cut off into a parcel of its own and returns to the outlet; it
 * costs no attempt, but AGAIN_MAX of these in a row do. */
#include "relay/ship.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/tls.h"
#include "proto/smtp/idn.h"
#include "relay/event.h"
#include "relay/hop.h"
#include "relay/outlet.h"
#include "relay/result.h"

enum { AGAIN_MAX = 3 };

/* Ending parcels ------------------------------------------------------------------------------- */

static void end_parcel(struct ship *s, struct parcel *p)
{
	struct outlet *ot = s->hop->ot;
	bool extra = p->extra;

	relay_count(s->hop->r, active, -(int64_t)p->count);
	result_parcel(s->hop->r, p);
	if (!extra)
		outlet_finished(ot, 1);
}

/* The items without an outcome become a parcel of their own; NULL: there are none, or no memory (then
 * they are deferred with the rest). */
static struct parcel *cut_rest(struct relay_here *r, struct parcel *p)
{
	uint32_t rest = 0, kept = 0, moved = 0;

	for (uint32_t i = 0; i < p->count; i++)
		rest += p->items[i].outcome == OUTCOME_NONE;
	if (rest == 0)
		return NULL;
	struct parcel *cut = parcel_new(r, p->m, rest);

	if (!cut)
		return NULL;
	cut->domain = p->domain;
	cut->target = target_hold(p->target);
	cut->lane = p->lane;
	cut->born = p->born;
	cut->again = p->again;
	cut->from_disk = p->from_disk;
	cut->extra = true;
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->items[i].outcome == OUTCOME_NONE)
			cut->items[moved++] = p->items[i];
		else
			p->items[kept++] = p->items[i];
	}
	p->count = kept;
	return cut;
}

static void go_again(struct ship *s, struct parcel *p)
{
	struct reason why;

	if (p->again < AGAIN_MAX) {
		outlet_return(s->hop->ot, p);
		return;
	}
	reason_words(&why, ERR_RESET, "4.4.2", SLICE("the connection broke again and again"));
	parcel_all(p, OUTCOME_DEFERRED, &why);
	end_parcel(s, p);
}

/* `costs`: a further round of this counts toward AGAIN_MAX. */
static void settle_parcel(struct ship *s, struct parcel *p, bool costs)
{
	bool untouched = true;

	for (uint32_t i = 0; i < p->count; i++)
		untouched = untouched && p->items[i].outcome == OUTCOME_NONE;
	if (untouched) {
		p->again += costs;
		go_again(s, p);
		return;
	}
	struct parcel *rest = cut_rest(s->hop->r, p);

	if (rest) {
		rest->again = costs ? (uint8_t)(p->again + 1) : 0;
		go_again(s, rest);
	} else {
		struct reason why;

		reason_words(&why, ERR_NOMEM, "4.3.0", SLICE("local trouble"));
		parcel_all(p, OUTCOME_DEFERRED, &why);
	}
	end_parcel(s, p);
}

static void settle_all(struct ship *s, bool costs)
{
	for (struct list_link *link; (link = list_pop(&s->parcels));)
		settle_parcel(s, container_of(link, struct parcel, link), costs);
	freight_done(&s->freight);
	message_put(s->m);
	s->m = NULL;
	s->rcpts = NULL;
	s->txn = (struct smtp_txn){ 0 };
	arena_reset(&s->arena);
}

void ship_unload(struct ship *s)
{
	settle_all(s, false);
}

/* Building ------------------------------------------------------------------------------------- */

static struct ship *ship_of(struct smtp_txn *txn)
{
	return container_of(txn, struct ship, txn);
}

static void nth_rcpt(struct smtp_txn *txn, uint32_t i, struct smtp_rcpt *out)
{
	const struct ship_rcpt *row = &ship_of(txn)->rcpts[i];
	const struct envelope_rcpt *rcpt = parcel_rcpt(row->p, row->it);

	*out = (struct smtp_rcpt){ .to = row->addr };
	if (rcpt->notify) {
		out->given |= SMTP_P_NOTIFY;
		out->notify = rcpt->notify;
	}
	if (row->orcpt.len > 0) {
		out->given |= SMTP_P_ORCPT;
		out->orcpt_type = row->orcpt_type;
		out->orcpt = row->orcpt;
	}
}

static void refuse(struct ship_rcpt *row, const char *status, slice text)
{
	struct reason why;

	reason_words(&why, OK, status, text);
	row->it->outcome = OUTCOME_FAILED;
	item_reason(row->it, &why);
}

/* Without SMTPUTF8 a domain goes as A-labels, a local part cannot go at all. */
static bool fit_address(struct ship *s, slice text, bool utf8, struct mail_addr *out)
{
	slice ascii;

	if (!mail_addr_parse(&s->arena, text, out))
		return false;
	if (utf8 || !out->utf8)
		return true;
	if (!text_is_ascii(out->local) || idn_to_ascii(&s->arena, out->domain, &ascii))
		return false;
	out->domain = ascii;
	out->utf8 = false;
	return true;
}

static bool add_rcpt(struct ship *s, struct parcel *p, struct item *it, bool utf8)
{
	struct ship_rcpt *row = &s->rcpts[s->txn.rcpt_count];
	const struct envelope_rcpt *rcpt = parcel_rcpt(p, it);
	slice rest = rcpt->orcpt;

	*row = (struct ship_rcpt){ .p = p, .it = it };
	if (!fit_address(s, rcpt->address, utf8, &row->addr)) {
		refuse(row, "5.6.7", SLICE("the address needs SMTPUTF8, the next hop has it not"));
		return false;
	}
	if (rest.len > 0 && slice_find(rest, ';') > 0) {
		slice_cut(&rest, ';', &row->orcpt_type);
		row->orcpt = rest;
	}
	s->txn.rcpt_count++;
	return true;
}

/* Rows for one parcel: no more than fit in this transaction. */
static void add_parcel(struct ship *s, struct parcel *p, bool utf8)
{
	list_push(&s->parcels, &p->link);
	for (uint32_t i = 0; i < p->count && s->txn.rcpt_count < s->max; i++)
		if (p->items[i].outcome == OUTCOME_NONE)
			add_rcpt(s, p, &p->items[i], utf8);
}

static uint32_t most_rcpts(const struct hop *h)
{
	uint32_t most = (uint32_t)MAX(h->target->limits.recipients_per_message, 1);

	return h->client.caps.rcpt_max ? MIN(most, h->client.caps.rcpt_max) : most;
}

static void fill_mail(struct ship *s, bool utf8)
{
	const struct envelope *e = &s->m->env;
	struct smtp_mail *mail = &s->mail;
	/* smtp_ret has FULL before HDRS. */
	static const enum smtp_ret rets[] = { SMTP_RET_UNSET, SMTP_RET_HDRS, SMTP_RET_FULL };

	mail->given = SMTP_P_SIZE | SMTP_P_8BIT | SMTP_P_BINARY | SMTP_P_BODY;
	mail->size_bytes = s->freight.bytes == SMTP_BODY_UNKNOWN ? e->size : s->freight.bytes;
	mail->body = s->freight.convert && !s->freight.hop.eight_bit    ? SMTP_BODY_7BIT :
		e->body == ENVELOPE_BINARYMIME && s->freight.hop.binary ? SMTP_BODY_BINARYMIME :
		e->has_8bit                                             ? SMTP_BODY_8BITMIME :
									  SMTP_BODY_7BIT;
	if (mail->body == SMTP_BODY_7BIT)
		mail->given &= ~(unsigned)(SMTP_P_BODY | SMTP_P_8BIT | SMTP_P_BINARY);
	if (e->ret != ENVELOPE_RET_NONE) {
		mail->given |= SMTP_P_RET;
		mail->ret = rets[e->ret];
	}
	if (e->envid.len > 0) {
		mail->given |= SMTP_P_ENVID;
		mail->envid = e->envid;
	}
	if (utf8)
		mail->given |= SMTP_P_SMTPUTF8;
	if (e->has_priority) { /* RFC 6710 4.1: to whoever offers it, as it came */
		mail->given |= SMTP_P_MT_PRIORITY;
		mail->mt_priority = e->priority;
	}
	/* RFC 4954 5: we vouch for nobody, which must be said where we logged in ourselves. */
	if (s->hop->client.login) {
		mail->given |= SMTP_P_AUTH;
		mail->auth = SLICE("<>");
	}
}

/* Everybody aboard shares this outcome. */
static void all(struct ship *s, enum outcome outcome, const struct reason *why)
{
	list_each(&s->parcels, link)
		parcel_all(container_of(link, struct parcel, link), outcome, why);
}

static bool load(struct ship *s)
{
	struct hop *h = s->hop;
	struct reason why;
	enum outcome outcome = OUTCOME_DEFERRED;
	enum err err;

	s->freight = (struct freight){ .r = h->r, .m = s->m, .arena = &s->arena };
	err = freight_load(&s->freight,
		(struct freight_hop){ .caps = &h->client.caps, .lmtp = h->conf.lmtp }, &why,
		&outcome);
	if (err)
		all(s, outcome, &why);
	return !err;
}

static void take_same(struct ship *s, bool utf8)
{
	/* RFC 9422 RCPTDOMAINMAX: a parcel is of one domain. */
	uint32_t domains = s->hop->client.caps.rcpt_domain_max, taken = 1;

	while (s->txn.rcpt_count < s->max && (!domains || taken++ < domains)) {
		struct parcel *more = outlet_take_same(s->hop->ot, s->m);

		if (!more)
			return;
		add_parcel(s, more, utf8);
	}
}

bool ship_build(struct hop *h, struct ship *s, struct parcel *p)
{
	bool utf8 = p->m->env.smtputf8 && h->client.caps.flags & SMTP_CAP_SMTPUTF8;
	struct reason why;

	s->hop = h;
	s->m = message_hold(p->m);
	s->max = most_rcpts(h);
	s->txn = (struct smtp_txn){
		.mail = &s->mail, .rcpt = nth_rcpt, .unwaited_ok = h->ot->accepted_last
	};
	s->mail = (struct smtp_mail){ 0 };
	list_init(&s->parcels);
	s->rcpts = arena_array(&s->arena, struct ship_rcpt, s->max);
	add_parcel(s, p, utf8);
	take_same(s, utf8);
	if (s->m->env.sender.len > 0 && !fit_address(s, s->m->env.sender, utf8, &s->mail.from)) {
		reason_words(&why, OK, "5.6.7",
			SLICE("the sender's address needs SMTPUTF8, the next hop has it not"));
		all(s, OUTCOME_FAILED, &why);
		s->txn.rcpt_count = 0;
	}
	if (s->txn.rcpt_count == 0 || !load(s)) {
		settle_all(s, false);
		return false;
	}
	fill_mail(s, utf8);
	s->txn.body_bytes = s->freight.bytes;
	if (h->conf.lmtp)
		s->txn.accepted = arena_array(&s->arena, uint64_t, s->txn.rcpt_count / 64 + 1);
	relay_count(h->r, attempts, s->txn.rcpt_count);
	return true;
}

/* Outcomes ------------------------------------------------------------------------------------- */

static enum outcome outcome_of(enum retry_action action)
{
	switch (action) {
	case RETRY_DELIVERED:
		return OUTCOME_DELIVERED;
	case RETRY_FAIL:
		return OUTCOME_FAILED;
	case RETRY_HOLD:
		return OUTCOME_HELD;
	case RETRY_AGAIN:
		return OUTCOME_NONE;
	default:
		return OUTCOME_DEFERRED;
	}
}

static enum retry_phase phase_of(enum smtp_phase phase)
{
	static const enum retry_phase phases[] = {
		[SMTP_PHASE_MAIL] = RETRY_MAIL,
		[SMTP_PHASE_RCPT] = RETRY_RCPT,
		[SMTP_PHASE_DATA] = RETRY_DATA,
		[SMTP_PHASE_BODY] = RETRY_DOT,
	};

	return phases[phase];
}

static void tell_delivered(struct ship *s, const struct ship_rcpt *row, const struct reason *why)
{
	struct hop *h = s->hop;
	char id[48];
	struct out o = out_fixed(id, sizeof(id));
	msec delay = worker_wall(h->r->w) - s->m->env.received_at;

	queue_id_put_rcpt(&o, s->m->ref.id, row->it->n);
	relay_count(h->r, delivered, 1);
	metric_record(&relay_metrics, RELAY_M_DELIVERY_MS, (uint64_t)MAX(delay, 0));
	event_emit(&relay_events, RELAY_DELIVERED, log_slice("id", out_written(&o)),
		log_slice("from", s->m->env.sender),
		log_slice("to", parcel_rcpt(row->p, row->it)->address), log_str("mx", why->mta),
		log_str("tls", h->tls ? h->tls->version : "none"), log_int("code", why->code),
		log_slice("reply", slice_of(why->text, why->text_len)), log_ms("delay", delay),
		log_uint("attempts", row->it->attempts + 1u));
}

static void verdict(struct ship *s, struct ship_rcpt *row, enum retry_action action,
	const struct reason *why)
{
	enum outcome outcome = outcome_of(action);

	if (row->it->outcome != OUTCOME_NONE || outcome == OUTCOME_NONE)
		return;
	row->it->outcome = (uint8_t)outcome;
	if (outcome != OUTCOME_DELIVERED) {
		item_reason(row->it, why);
		return;
	}
	if (parcel_rcpt(row->p, row->it)->notify & ENVELOPE_NOTIFY_SUCCESS) {
		item_reason(row->it, why);
		if (row->it->reason) {
			row->it->reason->dsn_capable = s->hop->client.caps.flags & SMTP_CAP_DSN;
			row->it->reason->last_hop = s->hop->conf.lmtp;
		}
	}
	tell_delivered(s, row, why);
}

void ship_rcpt_reply(struct ship *s, const struct smtp_client_event *ev)
{
	struct ship_rcpt *row = &s->rcpts[ev->rcpt];
	struct reason why;

	s->hop->ot->accepted_last = ev->reply && ev->reply->code / 100 == 2;
	row->again = ev->again;
	row->accepted = s->hop->ot->accepted_last;
	if (ev->again || row->accepted || !ev->reply)
		return;
	hop_reason_reply(s->hop, ev->reply, &why);
	verdict(s, row, retry_action(RETRY_RCPT, retry_class_of_code((unsigned)ev->reply->code)),
		&why);
}

void ship_spoiled(struct ship *s, enum err err)
{
	struct reason why;
	enum outcome outcome = freight_trouble(err, &why);

	for (uint32_t i = 0; i < s->txn.rcpt_count; i++)
		verdict(s, &s->rcpts[i], outcome == OUTCOME_HELD ? RETRY_HOLD : RETRY_DEFER, &why);
}

void ship_final(struct ship *s, const struct smtp_client_event *ev)
{
	struct reason why;

	hop_reason_reply(s->hop, ev->reply, &why);
	verdict(s, &s->rcpts[ev->rcpt],
		retry_action(RETRY_DOT, retry_class_of_code((unsigned)ev->reply->code)), &why);
}

/* What the end of the transaction means for those without a verdict of their own. */
static enum retry_action rest_action(struct ship *s, const struct smtp_client_event *ev,
	struct reason *why)
{
	enum retry_phase phase = phase_of(ev->phase);

	if (ev->reply)
		hop_reason_reply(s->hop, ev->reply, why);
	else
		hop_reason_err(s->hop, ev->err ? ev->err : ERR_RESET, retry_phase_name(phase), why);
	switch (ev->outcome) {
	case SMTP_NOT_TRIED:
		return RETRY_AGAIN;
	case SMTP_DELIVERED:
		return RETRY_DELIVERED;
	case SMTP_REFUSED:
		return retry_action(phase,
			ev->reply ? retry_class_of_code((unsigned)ev->reply->code) : RETRY_BROKEN);
	case SMTP_LOST:
		return retry_action(phase, retry_class_of_err(ev->err));
	default:
		return RETRY_DEFER;
	}
}

void ship_done(struct ship *s, const struct smtp_client_event *ev)
{
	struct reason why;
	enum retry_action action = rest_action(s, ev, &why);
	bool lost = ev->outcome == SMTP_NOT_TRIED || ev->outcome == SMTP_LOST;

	for (uint32_t i = 0; i < s->txn.rcpt_count; i++) {
		struct ship_rcpt *row = &s->rcpts[i];

		/* Too many at once is nobody's failure, unless all of it failed. */
		if (row->again && (ev->outcome == SMTP_DELIVERED || ev->outcome == SMTP_NOBODY))
			continue;
		/* Delivered is only who was accepted, and by LMTP only who was told so by name. */
		if (action == RETRY_DELIVERED && (!row->accepted || s->txn.accepted))
			continue;
		verdict(s, row, action, &why);
	}
	settle_all(s, lost);
}
