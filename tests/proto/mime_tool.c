/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mime_tool.c - what a summary says of each message on standard input, for mime_cross.py.
 *
 * A message comes as a line with its length and that many bytes; the answer is one line a part, then
 * a line with a full stop. With an argument N: each message N times, and only the time it took. */
#include "proto/mime/summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MESSAGE_MAX = 64 << 20 };

static void show_text(const char *name, const struct summary_text *text)
{
	if (!text->text.ptr)
		return;
	printf(" %s=", name);
	for (size_t i = 0; i < text->text.len; i++)
		printf("%02x", (unsigned char)text->text.ptr[i]);
}

static void show_list(const char *name, slice list)
{
	struct summary_text text;

	while (summary_text_next(&list, &text))
		show_text(name, &text);
}

static void show_addresses(slice list)
{
	struct summary_address item;

	while (summary_address_next(&list, &item)) {
		show_text("name", &item.name);
		show_text("local", &item.local);
		show_text("host", &item.host);
	}
}

static void show_part(const struct summary_part *p)
{
	printf("%u kind=%d root=%d children=%u header=%llu body=%llu len=%llu lines=%llu", p->depth,
		p->kind, p->root, p->children, (unsigned long long)p->header_at,
		(unsigned long long)p->body_at, (unsigned long long)p->body_len,
		(unsigned long long)p->lines);
	show_text("type", &p->type);
	show_text("subtype", &p->subtype);
	show_text("encoding", &p->encoding);
	show_text("id", &p->id);
	show_text("disposition", &p->disposition);
	show_list("param", p->params);
	show_list("dparam", p->disposition_params);
	printf("\n");
}

static void show(slice row)
{
	struct summary s;
	struct summary_envelope e;
	struct summary_part p;
	slice parts;

	if (!summary_open(row, &s) || !summary_envelope(&s, &e)) {
		printf("damaged\n.\n");
		return;
	}
	printf("row=%zu truncated=%d sent=%lld zone=%d reply=%d refs=%u attachment=%d", row.len,
		s.truncated, s.has_sent ? (long long)s.sent : -1, s.sent_zone, s.reply, s.refs,
		s.has_attachment);
	show_text("subject", &e.subject);
	show_text("id", &e.message_id);
	show_text("preview", &(struct summary_text){ .text = s.preview });
	printf("\nfrom");
	show_addresses(e.lists[SUMMARY_FROM]);
	printf("\nto");
	show_addresses(e.lists[SUMMARY_TO]);
	printf("\n");
	for (parts = summary_parts(&s); summary_part_next(&parts, &p);)
		show_part(&p);
	printf("%s.\n", parts.len ? "damaged\n" : "");
}

static void measure(slice message, unsigned times)
{
	struct timespec from, to;
	size_t len = 0;
	struct arena a;

	arena_init(&a, 16 << 10);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (unsigned i = 0; i < times; i++) {
		struct out row = out_arena(&a);

		summary_make(message, &row);
		len = row.len;
		arena_reset(&a);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	arena_done(&a);
	printf("%zu bytes, row of %zu: %.2f us\n", message.len, len,
		((double)(to.tv_sec - from.tv_sec) * 1e6 +
			(double)(to.tv_nsec - from.tv_nsec) / 1e3) /
			times);
}

int main(int argc, char **argv)
{
	unsigned times = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	char line[32];

	while (fgets(line, sizeof(line), stdin)) {
		size_t len = strtoul(line, NULL, 10);
		char *bytes = len <= MESSAGE_MAX ? malloc(len + 1) : NULL;
		struct arena a = { 0 };
		struct out row = out_arena(&a);

		if (!bytes || fread(bytes, 1, len, stdin) != len)
			return 2;
		if (times) {
			measure(slice_of(bytes, len), times);
		} else {
			summary_make(slice_of(bytes, len), &row);
			show(out_written(&row));
		}
		arena_done(&a);
		free(bytes);
		fflush(stdout);
	}
	return 0;
}
