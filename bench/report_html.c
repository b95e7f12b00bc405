/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page: numbers, a plot of messages per second, and the latency curve by percentile on a
 * logarithmic axis of "nines". Plots are inline SVG; the page asks nothing of any network. */
#include "bench/report.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 900, HEIGHT = 260, LEFT = 70, BOTTOM = 30 };

static const char head[] =
	"<!doctype html><html lang=en><meta charset=utf-8><title>ringpost-bench</title><style>"
	"body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;"
	"color:#222;background:#fff}h1{font-size:1.3em}h2{font-size:1.05em;margin-top:2em}"
	"table{border-collapse:collapse}td,th{padding:.2em .9em;text-align:right;"
	"border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}"
	"svg{background:#fafafa;border:1px solid #ddd}text{font:12px "
	"system-ui,sans-serif;fill:#555}"
	"@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}svg{background:#"
	"1e1e1e;"
	"border-color:#444}text{fill:#aaa}td,th{border-color:#444}}</style>\n";

static void put_escaped(struct out *o, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			out_str(o, "&lt;");
		else if (*text == '&')
			out_str(o, "&amp;");
		else
			out_char(o, *text);
	}
}

static void put_axis(struct out *o, double top, const char *unit)
{
	out_printf(o, "<svg viewBox='0 0 %d %d' width='100%%'>", WIDTH, HEIGHT);
	for (int i = 0; i <= 4; i++) {
		double y = (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 20) * i / 4.0;

		out_printf(o, "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' stroke='#8884'/>", LEFT, y,
			WIDTH, y);
		out_printf(o, "<text x='%d' y='%.1f' text-anchor='end'>%.4g%s</text>", LEFT - 6,
			y + 4, top * i / 4, unit);
	}
}

static double at_height(double value, double top)
{
	return (HEIGHT - BOTTOM) - (top > 0 ? value / top : 0) * (HEIGHT - BOTTOM - 20);
}

static void put_rate_plot(const struct report *r, struct out *o)
{
	double top = 1;

	for (size_t i = 0; i < r->second_count; i++)
		top = MAX(top, (double)r->per_second[i]);
	out_str(o, "<h2>Accepted per second</h2>\n");
	put_axis(o, top, "");
	out_str(o, "<polyline fill='none' stroke='#0a7' stroke-width='2' points='");
	for (size_t i = 0; i < r->second_count; i++)
		out_printf(o, "%.1f,%.1f ",
			LEFT +
				(double)(WIDTH - LEFT - 10) * (double)i /
					(double)MAX(r->second_count - 1, (size_t)1),
			at_height(r->per_second[i], top));
	out_printf(o,
		"'/><text x='%d' y='%d'>0 s</text><text x='%d' y='%d' text-anchor='end'>%zu "
		"s</text></svg>\n",
		LEFT, HEIGHT - 8, WIDTH - 10, HEIGHT - 8, r->second_count);
}

/* The x axis is -log10(1 - p): 0, 90 %, 99 %, 99.9 %, 99.99 % at equal distances. */
static void put_latency_plot(const struct report *r, struct out *o)
{
	double top = (double)histogram_percentile(&r->message, 99.99) / 1000 * 1.05;

	out_str(o, "<h2>Latency by percentile</h2>\n");
	put_axis(o, top, " ms");
	out_str(o, "<polyline fill='none' stroke='#06c' stroke-width='2' points='");
	for (int i = 0; i <= 160; i++) {
		double nines = i / 40.0, percent = 100 * (1 - pow(10, -nines));
		double ms = (double)histogram_percentile(&r->message, percent) / 1000;

		out_printf(o, "%.1f,%.1f ", LEFT + (WIDTH - LEFT - 10) * nines / 4,
			at_height(ms, top));
	}
	out_str(o, "'/>");
	static const char *const marks[] = { "0 %", "90 %", "99 %", "99.9 %", "99.99 %" };

	for (int i = 0; i <= 4; i++)
		out_printf(o, "<text x='%.1f' y='%d' text-anchor='%s'>%s</text>",
			LEFT + (WIDTH - LEFT - 10) * i / 4.0, HEIGHT - 8, i == 4 ? "end" : "middle",
			marks[i]);
	out_str(o, "</svg>\n");
}

static void put_row(struct out *o, const char *name, const struct histogram *h)
{
	static const double percents[] = { 50, 90, 99, 99.9, 99.99, 100 };

	if (histogram_count(h) == 0)
		return;
	out_printf(o, "<tr><td>%s<td>%llu", name, (unsigned long long)histogram_count(h));
	for (size_t i = 0; i < array_len(percents); i++) {
		out_str(o, "<td>");
		report_put_time(o, histogram_percentile(h, percents[i]));
	}
	out_char(o, '\n');
}

static void put_verb_rows(const struct report *r, struct out *o)
{
	for (size_t i = 0; i < REPORT_VERBS_MAX && r->verbs[i].name; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s, first byte", r->verbs[i].name);
		put_row(o, name, &r->verbs[i].first);
		put_row(o, r->verbs[i].name, &r->verbs[i].done);
	}
}

void report_put_html(const struct report *r, struct out *o)
{
	double per_second = r->seconds > 0 ? (double)r->messages_accepted / r->seconds : 0;

	out_str(o, head);
	out_str(o, "<h1>");
	put_escaped(o, r->title);
	out_str(o, "</h1><p>");
	put_escaped(o, r->machine);
	out_printf(o, "<p><b>%.0f %ss per second</b>: %llu accepted in %.2f s, %.1f MB/s; ",
		per_second, r->unit ? r->unit : "message", (unsigned long long)r->messages_accepted,
		r->seconds, r->seconds > 0 ? (double)r->bytes / r->seconds / 1e6 : 0);
	out_printf(o, "%llu refused, %llu broken off; %llu connections, %llu failed.\n",
		(unsigned long long)r->messages_refused, (unsigned long long)r->messages_broken,
		(unsigned long long)r->connections, (unsigned long long)r->connections_failed);
	out_str(o,
		"<table><tr><th>latency<th>count<th>p50<th>p90<th>p99<th>p99.9<th>p99.99<th>max\n");
	put_row(o, r->unit ? r->unit : "message", &r->message);
	put_row(o, "connect", &r->connect);
	put_row(o, "TLS handshake", &r->tls);
	put_row(o, "AUTH", &r->auth);
	put_verb_rows(r, o);
	out_str(o, "</table>\n");
	put_rate_plot(r, o);
	put_latency_plot(r, o);
	if (r->reply_count)
		out_str(o, "<h2>Refusals</h2><table><tr><th>verb<th>code<th>count<th>text\n");
	for (size_t i = 0; i < r->reply_count; i++) {
		out_printf(o, "<tr><td>%s<td>%u<td>%llu<td>", r->replies[i].verb,
			r->replies[i].code, (unsigned long long)r->replies[i].count);
		put_escaped(o, r->replies[i].text);
	}
	out_str(o, r->reply_count ? "</table>\n" : "");
}
