/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text and JSON. Percentiles are the usual ones up to p99.99, so the tail cannot hide. */
#include "bench/report.h"

#include "core/base/text.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *name;
	double percent;
} percentiles[] = {
	{ "p50", 50 },
	{ "p90", 90 },
	{ "p99", 99 },
	{ "p99.9", 99.9 },
	{ "p99.99", 99.99 },
};

void report_put_time(struct out *o, uint64_t us)
{
	if (us < 1000)
		out_printf(o, "%llu us", (unsigned long long)us);
	else if (us < 1000000)
		out_printf(o, "%.2f ms", (double)us / 1e3);
	else
		out_printf(o, "%.2f s", (double)us / 1e6);
}

static const char *unit(const struct report *r)
{
	return r->unit ? r->unit : "message";
}

static size_t verb_count(const struct report *r)
{
	size_t n = 0;

	while (n < REPORT_VERBS_MAX && r->verbs[n].name)
		n++;
	return n;
}

static double rate(const struct report *r)
{
	return r->seconds > 0 ? (double)r->messages_accepted / r->seconds : 0;
}

static void put_latency_line(struct out *o, const char *name, const struct histogram *h)
{
	if (histogram_count(h) == 0)
		return;
	out_printf(o, "  %-10s", name);
	for (size_t i = 0; i < array_len(percentiles); i++) {
		struct out cell = out_fixed((char[24]){ 0 }, 23);

		report_put_time(&cell, histogram_percentile(h, percentiles[i].percent));
		out_printf(o, "%12.*s", SLICE_ARG(out_written(&cell)));
	}
	struct out cell = out_fixed((char[24]){ 0 }, 23);

	report_put_time(&cell, histogram_max(h));
	out_printf(o, "%12.*s\n", SLICE_ARG(out_written(&cell)));
}

static void put_verb_lines(const struct report *r, struct out *o)
{
	for (size_t i = 0; i < verb_count(r); i++) {
		const struct report_verb *v = &r->verbs[i];

		out_printf(o, "\n  %s: %llu, with %llu messages, %.1f MB\n", v->name,
			(unsigned long long)histogram_count(&v->done), (unsigned long long)v->items,
			(double)v->bytes / 1e6);
		put_latency_line(o, "first byte", &v->first);
		put_latency_line(o, "whole", &v->done);
	}
}

void report_put_text(const struct report *r, struct out *o)
{
	out_printf(o, "\n%s\n", r->title);
	out_printf(o, "  accepted   %llu %ss in %.2f s = %.0f per second, %.1f MB/s\n",
		(unsigned long long)r->messages_accepted, unit(r), r->seconds, rate(r),
		r->seconds > 0 ? (double)r->bytes / r->seconds / 1e6 : 0);
	if (r->rate_wanted > 0)
		out_printf(o,
			"  open loop  %.0f per second wanted; latency counts from the due time\n",
			r->rate_wanted);
	out_printf(o, "  refused    %llu %ss, %llu recipients; broken off %llu\n",
		(unsigned long long)r->messages_refused, unit(r),
		(unsigned long long)r->recipients_refused, (unsigned long long)r->messages_broken);
	out_printf(o, "  connected  %llu times, %llu failures\n\n",
		(unsigned long long)r->connections, (unsigned long long)r->connections_failed);
	out_printf(o, "  %-10s%12s%12s%12s%12s%12s%12s\n", "latency", "p50", "p90", "p99", "p99.9",
		"p99.99", "max");
	put_latency_line(o, unit(r), &r->message);
	put_latency_line(o, "connect", &r->connect);
	put_latency_line(o, "tls", &r->tls);
	put_latency_line(o, "auth", &r->auth);
	put_verb_lines(r, o);
	for (size_t i = 0; i < r->reply_count; i++)
		out_printf(o, "  %s answered %u %llu times: %s\n", r->replies[i].verb,
			r->replies[i].code, (unsigned long long)r->replies[i].count,
			r->replies[i].text);
	if (r->replies_other)
		out_printf(o, "  and %llu more of other kinds\n",
			(unsigned long long)r->replies_other);
}

static void put_histogram_json(struct out *o, const char *name, const struct histogram *h)
{
	out_printf(o, ",\"%s_us\":{\"count\":%llu,\"mean\":%.1f", name,
		(unsigned long long)histogram_count(h), histogram_mean(h));
	for (size_t i = 0; i < array_len(percentiles); i++)
		out_printf(o, ",\"%s\":%llu", percentiles[i].name,
			(unsigned long long)histogram_percentile(h, percentiles[i].percent));
	out_printf(o, ",\"max\":%llu}", (unsigned long long)histogram_max(h));
}

static void put_replies_json(const struct report *r, struct out *o)
{
	out_str(o, ",\"replies\":[");
	for (size_t i = 0; i < r->reply_count; i++) {
		const struct report_reply *reply = &r->replies[i];

		out_printf(o,
			"%s{\"verb\":\"%s\",\"code\":%u,\"count\":%llu,\"text\":", i ? "," : "",
			reply->verb, reply->code, (unsigned long long)reply->count);
		text_put_json(o, slice_str(reply->text));
		out_char(o, '}');
	}
	out_str(o, "],\"per_second\":[");
	for (size_t i = 0; i < r->second_count; i++)
		out_printf(o, "%s%u", i ? "," : "", r->per_second[i]);
	out_char(o, ']');
}

static void put_verbs_json(const struct report *r, struct out *o)
{
	out_str(o, ",\"verbs\":{");
	for (size_t i = 0; i < verb_count(r); i++) {
		const struct report_verb *v = &r->verbs[i];

		out_printf(o, "%s\"%s\":{\"items\":%llu,\"bytes\":%llu", i ? "," : "", v->name,
			(unsigned long long)v->items, (unsigned long long)v->bytes);
		put_histogram_json(o, "first", &v->first);
		put_histogram_json(o, "done", &v->done);
		out_char(o, '}');
	}
	out_char(o, '}');
}

void report_put_json(const struct report *r, struct out *o)
{
	out_str(o, "{\"title\":");
	text_put_json(o, slice_str(r->title));
	out_str(o, ",\"machine\":");
	text_put_json(o, slice_str(r->machine));
	out_printf(o, ",\"run\":\"%llx\",\"seconds\":%.3f,\"rate\":%.1f,\"rate_wanted\":%.1f",
		(unsigned long long)r->run, r->seconds, rate(r), r->rate_wanted);
	out_printf(o, ",\"sent\":%llu,\"accepted\":%llu,\"refused\":%llu,\"broken\":%llu",
		(unsigned long long)r->messages_sent, (unsigned long long)r->messages_accepted,
		(unsigned long long)r->messages_refused, (unsigned long long)r->messages_broken);
	out_printf(o, ",\"recipients_refused\":%llu,\"bytes\":%llu",
		(unsigned long long)r->recipients_refused, (unsigned long long)r->bytes);
	out_printf(o, ",\"connections\":%llu,\"connections_failed\":%llu",
		(unsigned long long)r->connections, (unsigned long long)r->connections_failed);
	put_histogram_json(o, "message", &r->message);
	put_histogram_json(o, "connect", &r->connect);
	put_histogram_json(o, "tls", &r->tls);
	put_histogram_json(o, "auth", &r->auth);
	if (r->verbs[0].name)
		put_verbs_json(r, o);
	put_replies_json(r, o);
	out_str(o, "}\n");
}

void report_count_reply(struct report *r, unsigned code, const char *verb, slice text)
{
	for (size_t i = 0; i < r->reply_count; i++)
		if (r->replies[i].code == code && r->replies[i].verb == verb) {
			r->replies[i].count++;
			return;
		}
	if (r->reply_count == REPORT_REPLIES_MAX) {
		r->replies_other++;
		return;
	}
	struct report_reply *reply = &r->replies[r->reply_count++];

	reply->code = code;
	reply->verb = verb;
	reply->count = 1;
	snprintf(reply->text, sizeof(reply->text), "%.*s", SLICE_ARG(text));
}

static void merge_replies(struct report *into, const struct report *from)
{
	for (size_t i = 0; i < from->reply_count; i++) {
		const struct report_reply *reply = &from->replies[i];

		report_count_reply(into, reply->code, reply->verb, slice_str(reply->text));
		for (size_t k = 0; k < into->reply_count; k++)
			if (into->replies[k].code == reply->code &&
				into->replies[k].verb == reply->verb)
				into->replies[k].count += reply->count - 1;
	}
	into->replies_other += from->replies_other;
}

static void merge_seconds(struct report *into, const struct report *from)
{
	if (from->second_count > into->second_count) {
		uint32_t *grown = realloc(into->per_second, from->second_count * sizeof(*grown));

		must(grown);
		memset(grown + into->second_count, 0,
			(from->second_count - into->second_count) * sizeof(*grown));
		into->per_second = grown;
		into->second_count = from->second_count;
	}
	for (size_t i = 0; i < from->second_count; i++)
		into->per_second[i] += from->per_second[i];
}

static void merge_verbs(struct report *into, const struct report *from)
{
	for (size_t i = 0; i < verb_count(from); i++) {
		struct report_verb *v = &into->verbs[i];

		v->name = from->verbs[i].name;
		v->items += from->verbs[i].items;
		v->bytes += from->verbs[i].bytes;
		histogram_merge(&v->done, &from->verbs[i].done);
		histogram_merge(&v->first, &from->verbs[i].first);
	}
}

void report_merge(struct report *into, const struct report *from)
{
	into->messages_sent += from->messages_sent;
	into->messages_accepted += from->messages_accepted;
	into->messages_refused += from->messages_refused;
	into->messages_broken += from->messages_broken;
	into->recipients_refused += from->recipients_refused;
	into->bytes += from->bytes;
	into->connections += from->connections;
	into->connections_failed += from->connections_failed;
	histogram_merge(&into->message, &from->message);
	histogram_merge(&into->connect, &from->connect);
	histogram_merge(&into->tls, &from->tls);
	histogram_merge(&into->auth, &from->auth);
	merge_replies(into, from);
	merge_seconds(into, from);
	merge_verbs(into, from);
}
