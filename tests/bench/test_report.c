/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reports add up, and every form of them carries the numbers. */
#include "bench/report.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct report *one(void)
{
	struct report *r = calloc(1, sizeof(*r));

	r->title = "a <test> & more";
	r->machine = "nowhere";
	r->seconds = 2;
	r->messages_accepted = r->messages_sent = 100;
	r->bytes = 409600;
	r->connections = 3;
	for (uint64_t i = 1; i <= 100; i++)
		histogram_record(&r->message, i * 1000);
	r->per_second = calloc(2, sizeof(*r->per_second));
	r->second_count = 2;
	r->per_second[0] = 60;
	r->per_second[1] = 40;
	report_count_reply(r, 451, "RCPT", SLICE("4.7.1 later"));
	report_count_reply(r, 451, "RCPT", SLICE("4.7.1 later still"));
	return r;
}

static void add_verb(struct report *r)
{
	r->unit = "operation";
	r->verbs[0].name = "fetch";
	r->verbs[0].items = 7;
	histogram_record(&r->verbs[0].done, 1000);
}

static void drop(struct report *r)
{
	free(r->per_second);
	free(r);
}

Test(report, merging_adds)
{
	struct report *a = one(), *b = one();

	report_merge(a, b);
	cr_assert_eq(a->messages_accepted, 200);
	cr_assert_eq(histogram_count(&a->message), 200);
	cr_assert_eq(a->per_second[0], 120);
	cr_assert_eq(a->reply_count, 1);
	cr_assert_eq(a->replies[0].count, 4);
	drop(a);
	drop(b);
}

static bool has(const struct out *o, const char *text)
{
	return slice_search(out_written(o), slice_str(text)) >= 0;
}

Test(report, every_form_has_the_rate)
{
	static void (*const forms[])(const struct report *, struct out *) = {
		report_put_text,
		report_put_json,
		report_put_html,
	};
	static const char *const wants[] = { "= 50 per second", "\"rate\":50.0",
		"<b>50 messages per second" };
	struct report *r = one();

	for (size_t i = 0; i < array_len(forms); i++) {
		struct out o = out_heap(1 << 20);

		forms[i](r, &o);
		cr_assert(out_ok(&o) && has(&o, wants[i]), "%s in %.*s", wants[i],
			SLICE_ARG(out_written(&o)));
		cr_assert(has(&o, "451"));
		out_heap_done(&o);
	}
	drop(r);
}

Test(report, verbs_are_told_and_add_up)
{
	struct report *a = one(), *b = one();
	struct out o = out_heap(1 << 20);

	add_verb(a);
	add_verb(b);
	report_merge(a, b);
	report_put_json(a, &o);
	cr_assert(has(&o, "\"verbs\":{\"fetch\":{\"items\":14,"), "%.*s",
		SLICE_ARG(out_written(&o)));
	o.len = 0;
	report_put_text(a, &o);
	cr_assert(has(&o, "200 operations in") && has(&o, "fetch: 2, with 14 messages"));
	o.len = 0;
	report_put_html(a, &o);
	cr_assert(has(&o, "fetch, first byte") == false && has(&o, "<td>fetch<td>2"));
	out_heap_done(&o);
	drop(a);
	drop(b);
}

Test(report, html_escapes)
{
	struct report *r = one();
	struct out o = out_heap(1 << 20);

	report_put_html(r, &o);
	cr_assert(has(&o, "a &lt;test> &amp; more") && !has(&o, "<test>"));
	out_heap_done(&o);
	drop(r);
}
