/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_sort.c - SORT (RFC 5256 3).
 *
 * The run notes the keys of each message, a helper thread sorts them and writes the answer, a piece at a
 * time. */
#include "core/job.h"
#include "server/imap/imap_find.h"
#include "server/imap/imap_int.h"
#include "server/imap/imap_order.h"
#include "server/imap/imap_out.h"

enum { TEXT_MAX = 256 };

_Static_assert((int)ORDER_LANES >= (int)FIND_LANES, "a lane of a run is one of the order");

/* Of one lane, alone on its cache lines. */
struct sort_lane {
	_Alignas(64) struct arena scratch;
	modseq highest; /* change of those found */
};

struct sorting {
	struct find_run run;
	const struct imap_sort *args;
	struct sort_lane lanes[FIND_LANES];
	struct order order;
	bool good;
	struct imap_flow flow;
	size_t written; /* rows */
};

/* --- Keys: on a helper thread ---------------------------------------------------------------------------- */

static bool first_address(const struct find_row *row, enum summary_list which,
	struct summary_address *out)
{
	slice list;

	if (!row->has_summary || !summary_get_list(&row->summary, which, &list))
		return false;
	while (summary_address_next(&list, out))
		if (out->kind != SUMMARY_GROUP_END)
			return true;
	return false;
}

/* RFC 5256 3: addr-mailbox of the first address. Of a group that is its name (RFC 9051 7.5.2). */
static slice mailbox_key(struct arena *a, const struct find_row *row, enum summary_list which)
{
	struct summary_address address;
	struct out o = out_arena(a);

	if (first_address(row, which, &address))
		collate_key(&o,
			address.kind == SUMMARY_GROUP ? address.name.text : address.local.text);
	return out_written(&o);
}

/* RFC 5957: the name, or else the whole address. */
static slice display_key(struct arena *a, const struct find_row *row, enum summary_list which,
	struct charset_cache *charsets)
{
	struct summary_address address;
	struct out text = out_arena(a), o = out_arena(a);

	if (!first_address(row, which, &address))
		return SLICE("");
	if (address.name.text.len)
		address.local.text.ptr = NULL; /* the name alone */
	find_put_address(&text, &address, charsets);
	slice shown = out_written(&text);
	if (!address.name.text.len && shown.len > 2)
		shown = slice_sub(slice_skip(shown, 1), 0, shown.len - 2);
	collate_key(&o, shown);
	return out_written(&o);
}

/* Numbers compare unsigned: dates before 1970 come first. */
static uint64_t time_key(wall_ms at)
{
	return (uint64_t)at ^ UINT64_C(1) << 63;
}

static uint64_t number_key(enum imap_sort_key by, const struct find_row *row)
{
	bool dated = row->has_summary && row->summary.has_sent;

	if (by == IMAP_SORT_SIZE)
		return row->m.size;
	/* RFC 5256 2.2 */
	return time_key(by == IMAP_SORT_DATE && dated ? row->summary.sent : row->m.received);
}

static slice text_key(struct arena *a, enum imap_sort_key by, const struct find_row *row,
	struct charset_cache *charsets)
{
	switch (by) {
	case IMAP_SORT_FROM:
		return mailbox_key(a, row, SUMMARY_FROM);
	case IMAP_SORT_TO:
		return mailbox_key(a, row, SUMMARY_TO);
	case IMAP_SORT_CC:
		return mailbox_key(a, row, SUMMARY_CC);
	case IMAP_SORT_DISPLAYFROM:
		return display_key(a, row, SUMMARY_FROM, charsets);
	case IMAP_SORT_DISPLAYTO:
		return display_key(a, row, SUMMARY_TO, charsets);
	default:
		return row->has_summary ? row->summary.base_key : SLICE("");
	}
}

static bool is_number(enum imap_sort_key by)
{
	return by == IMAP_SORT_ARRIVAL || by == IMAP_SORT_DATE || by == IMAP_SORT_SIZE;
}

static void take_row(struct find_run *run, unsigned lane, const struct find_row *row,
	struct charset_cache *charsets)
{
	struct sorting *so = container_of(run, struct sorting, run);
	struct order_lane *order = &so->order.lanes[lane];
	struct sort_lane *l = &so->lanes[lane];

	l->highest = MAX(l->highest, row->m.changed);
	order_begin(order, row->m.uid);
	for (size_t i = 0; i < so->args->by_len; i++) {
		enum imap_sort_key by = so->args->by[i].key;
		bool reverse = so->args->by[i].reverse;

		if (is_number(by))
			order_add_number(order, number_key(by, row), reverse);
		else
			order_add_text(order,
				slice_sub(text_key(&l->scratch, by, row, charsets), 0, TEXT_MAX),
				reverse);
	}
	order_end(order);
	if (l->scratch.used_bytes)
		arena_reset(&l->scratch);
}

/* --- The command ------------------------------------------------------------------------------------------- */

static void sort_job(void *arg)
{
	struct sorting *so = arg;

	so->good = order_sort(&so->order);
}

static enum err render(struct imap_flow *flow, struct out *o, bool *more)
{
	struct sorting *so = container_of(flow, struct sorting, flow);
	const struct order *order = &so->order;

	while (so->written < order->len && !imap_flow_full(o)) {
		out_char(o, ' ');
		out_uint(o, order->items[so->written++].number);
	}
	*more = so->written < order->len;
	return OK;
}

static enum err answer(struct imap_session *s, struct sorting *so)
{
	modseq highest = 0;
	enum err err = OK;

	for (size_t i = 0; i < FIND_LANES; i++)
		highest = MAX(highest, so->lanes[i].highest);
	out_str(imap_out(s), "* SORT");
	if (so->order.len)
		err = imap_out_flow(s, &so->flow);
	if (so->args->search.modseq && so->order.len) /* RFC 7162 3.1.6 */
		out_printf(imap_out(s), " (MODSEQ %llu)", (unsigned long long)highest);
	out_str(imap_out(s), "\r\n");
	return err;
}

static enum find_wants wants_of(const struct imap_sort *args)
{
	enum find_wants wants = FIND_ROW;

	for (size_t i = 0; i < args->by_len; i++) {
		enum imap_sort_key by = args->by[i].key;

		if (by == IMAP_SORT_DATE || by == IMAP_SORT_SUBJECT)
			wants = MAX(wants, (enum find_wants)FIND_SUMMARY);
		else if (!is_number(by))
			wants = FIND_ENVELOPE;
	}
	return wants;
}

static enum verdict sort(struct imap_session *s, struct sorting *so)
{
	enum err err = find_run(s, &so->run);

	if (!err && !s->run->uid)
		for (size_t i = 0; i < FIND_LANES; i++) {
			struct order_lane *l = &so->order.lanes[i];
			struct find_seq seq = { 0 };

			for (size_t at = 0; at < l->len; at++)
				l->items[at].number = find_seq(s, &seq, l->items[at].number);
		}
	if (!err) {
		job_run(sort_job, so);
		err = so->good ? answer(s, so) : ERR_NOMEM;
	}
	if (err)
		return imap_no_err(s, err);
	if (so->run.failed)
		return imap_no(s, IMAP_CODE_CORRUPTION, "A stored message is damaged");
	return imap_ok(s);
}

enum verdict imap_do_sort(struct imap_session *s, const union imap_args *args)
{
	struct find_plan plan;
	struct sorting so = { .args = &args->sort, .flow = { .render = render } };
	enum find_fault fault;
	enum verdict verdict;

	if (args->sort.search.extended) /* RFC 5267 is not advertised */
		return imap_bad(s, "SORT has no RETURN here");
	if (args->sort.search.modseq)
		imap_enable_condstore(s);
	fault = find_plan_make(s, &args->sort.search, &plan);
	if (fault)
		return find_refuse(s, fault);
	so.run =
		(struct find_run){ .plan = &plan, .wants = wants_of(&args->sort), .hit = take_row };
	order_init(&so.order);
	verdict = sort(s, &so);
	order_done(&so.order);
	for (size_t i = 0; i < FIND_LANES; i++)
		arena_done(&so.lanes[i].scratch);
	return verdict;
}
