/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as the payload of a change or a delivery, as an outcome, and as a value of each kind of
 * row: what parses lies inside the input, and rendered and parsed again gives the same bytes. */
#include "store/message_int.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void change(slice in)
{
	struct mailbox_change c = { 0 }, again = { 0 };
	struct out one = out_heap(in.len + 64), two = out_heap(in.len + 64);

	if (mailbox_get_change(in, &c)) {
		must(feed_inside(c.name, in) && feed_inside(c.other, in) &&
			feed_inside(c.runs, in));
		mailbox_put_change(&one, &c);
		must(out_ok(&one) && mailbox_get_change(out_written(&one), &again));
		mailbox_put_change(&two, &again);
		must(slice_eq(out_written(&one), out_written(&two)));
	}
	out_heap_done(&one);
	out_heap_done(&two);
}

static void delivery(slice in)
{
	struct delivery d = { 0 }, again = { 0 };
	static struct deliver_target targets[MESSAGE_TARGETS_MAX];
	slice rest;
	size_t count = 0;

	if (!message_get_delivery(in, &d))
		return;
	must(feed_inside(d.summary, in));
	for (rest = d.targets; message_next_target(&rest, &targets[count]); count++)
		must(feed_inside(targets[count].splice, in) &&
			feed_inside(targets[count].uidl, in));
	must(count == d.target_count && !rest.len);
	struct deliver whole = { .summary = d.summary,
		.thread_keys = d.keys,
		.thread_key_count = d.key_count,
		.targets = targets,
		.target_count = count,
		.blob = d.blob };
	struct delivery_body body = { .size = d.size, .low = d.low, .at = d.at };
	struct out o = out_heap(message_delivery_bytes(&whole));
	message_put_delivery(&o, &whole, &body);
	must(out_ok(&o) && message_get_delivery(out_written(&o), &again));
	must(again.target_count == d.target_count && again.low == d.low && again.at == d.at &&
		slice_eq(again.summary, d.summary));
	out_heap_done(&o);
}

static void message(slice in)
{
	struct message m = { 0 }, again = { 0 };
	char one[128], two[128];
	struct out o = out_fixed(one, sizeof(one)), p = out_fixed(two, sizeof(two));

	if (!keys_get_message(in, &m))
		return;
	keys_put_message(&o, &m);
	must(out_ok(&o) && keys_get_message(out_written(&o), &again));
	keys_put_message(&p, &again);
	must(slice_eq(out_written(&o), out_written(&p)));
	must(again.changed == m.changed && again.saved == m.saved && again.thread == m.thread);
}

static void body(slice in)
{
	struct keys_body b = { 0 }, again = { 0 };
	char buf[KEYS_ROW_BYTES + 100];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!keys_get_body(in, &b))
		return;
	must(feed_inside(b.splice, in) && feed_inside(b.uidl, in) && feed_inside(b.summary, in));
	size_t put = keys_put_body(&o, &b);
	must(out_ok(&o) && put <= b.summary.len && o.len <= KEYS_ROW_BYTES);
	must(keys_get_body(out_written(&o), &again) && again.summary.len == put &&
		again.summary_len == b.summary_len && again.key_count == b.key_count &&
		slice_eq(again.uidl, b.uidl) && again.open_end == b.open_end);
}

static void small_rows(slice in)
{
	struct keys_usage usage = { 0 };
	struct keys_mailbox_row row = { 0 };
	struct keys_keywords words;
	char buf[512];
	struct out o = out_fixed(buf, sizeof(buf));

	if (keys_get_usage(in, &usage)) {
		keys_put_usage(&o, &usage);
		must(out_ok(&o) && keys_get_usage(out_written(&o), &usage));
	}
	o.len = 0;
	if (keys_get_mailbox(in, &row)) {
		keys_put_mailbox(&o, &row);
		must(out_ok(&o) && keys_get_mailbox(out_written(&o), &row));
	}
	if (keys_get_keywords(in, &words))
		must(feed_inside(words.names, in));
}

static void runs(slice in)
{
	struct keys_runs bytes = { .in = in };
	struct run run;
	struct out o = out_heap(in.len + 16);
	uint32_t last = 0, before = 0;

	while (keys_next_run(&bytes, &run)) {
		must(run.first > before && run.last >= run.first);
		before = run.last;
		keys_put_run(&o, &last, &run);
	}
	must(out_ok(&o) && keys_runs_ok(out_written(&o)) && o.len <= in.len);
	must(keys_runs_ok(in) == !bytes.in.len);
	out_heap_done(&o);
}

static void names(slice in)
{
	char buf[MAILBOX_NAME_MAX], twice[MAILBOX_NAME_MAX];
	slice name = mailbox_name(in, buf);

	must(name.len == in.len && slice_eq_nocase(name, in));
	must(slice_eq(mailbox_name(name, twice), name));
	must(mailbox_name_ok(name) == mailbox_name_ok(in));
}

static void keys(slice in)
{
	struct keys_place place;
	struct keys_early_blob early;
	struct keys_buf key;
	uint64_t blob;

	if (keys_parse_message(in, &place)) {
		keys_message(&key, &place);
		must(slice_eq(keys_slice(&key), in) && keys_last_u32(in) == place.uid);
	}
	if (keys_parse_reference(in, &blob, &place)) {
		keys_reference(&key, blob, &place);
		must(slice_eq(keys_slice(&key), in));
	}
	if (keys_parse_reference_early(in, &early)) {
		keys_reference_early(&key, &early);
		must(slice_eq(keys_slice(&key), in));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice in = slice_of(data, size);

	change(in);
	delivery(in);
	message(in);
	body(in);
	small_rows(in);
	runs(in);
	names(in);
	keys(in);
	return 0;
}
