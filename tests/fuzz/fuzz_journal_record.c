/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as the payload of each kind of record: what parses lies inside the input, and rendered
 * and parsed again gives the same bytes. */
#include "store/frame.h"
#include "store/keys.h"
#include "tests/support/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void park(slice in)
{
	struct schedule_entry e, again;
	char one[4096], two[4096];
	struct out o = out_fixed(one, sizeof(one)), p = out_fixed(two, sizeof(two));

	if (!keys_get_park(in, &e))
		return;
	must(feed_inside(e.domain, in) && feed_inside(e.reply, in) && feed_inside(e.tail, in));
	keys_put_park(&o, &e);
	must(out_ok(&o) && keys_get_park(out_written(&o), &again));
	keys_put_park(&p, &again);
	must(slice_eq(out_written(&o), out_written(&p)));
}

static void done(slice in)
{
	struct schedule_done d, again;
	char buf[1024];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!keys_get_done(in, &d))
		return;
	must(feed_inside(d.domain, in));
	keys_put_done(&o, &d);
	must(out_ok(&o) && keys_get_done(out_written(&o), &again) && again.id == d.id);
}

static void change(slice in)
{
	struct schedule_change c, again;
	char buf[1024];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!keys_get_change(in, &c))
		return;
	must(feed_inside(c.domain, in));
	keys_put_change(&o, &c);
	must(out_ok(&o) && keys_get_change(out_written(&o), &again) && again.due == c.due);
}

static void row(slice in)
{
	struct keys_row r, again;
	struct out o = out_heap(in.len + 64);

	if (keys_get_row(in, &r)) {
		must(feed_inside(r.key, in) && feed_inside(r.value, in));
		keys_put_row(&o, &r);
		must(out_ok(&o) && keys_get_row(out_written(&o), &again));
		must(slice_eq(r.key, again.key) && slice_eq(r.value, again.value));
	}
	out_heap_done(&o);
}

static void message(slice in)
{
	struct frame_message m, again;
	char buf[FRAME_MESSAGE_HEAD];
	struct out o = out_fixed(buf, sizeof(buf));

	if (!frame_get_message(in, in.len, &m))
		return;
	must((uint64_t)m.meta_len + m.head_len + m.tail_len <= in.len);
	frame_put_message(&o, &m);
	must(out_ok(&o) && frame_get_message(out_written(&o), in.len, &again));
	must(again.low == m.low && again.size == m.size);
}

static void keys(slice in)
{
	struct keys_due due;
	struct keys_buf key;
	slice first, second;

	if (keys_parse_schedule(in, &due) && due.domain.len <= SCHEDULE_DOMAIN_MAX) {
		keys_schedule(&key, &due);
		must(slice_eq(keys_slice(&key), in));
	}
	if (keys_split(in, &first, &second))
		must(feed_inside(first, in) && feed_inside(second, in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice in = slice_of(data, size);

	park(in);
	done(in);
	change(in);
	row(in);
	message(in);
	keys(in);
	return 0;
}
