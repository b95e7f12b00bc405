/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making mail. Every size class has POOL bodies, so that nothing between generator and sink can live
 * on seeing the same bytes again; a small generator of its own keeps runs repeatable. */
#include "bench/template.h"

#include "core/base/codec.h"
#include "core/base/map.h"
#include "core/base/text.h"

#include <stdlib.h>

enum { POOL = 16, HEADER_ROOM = 420, LINE = 72, REFERENCES_MAX = 10 };

struct body {
	struct out bytes;
};

struct size_class {
	size_t bytes;
	unsigned weight;
	struct body pool[3][POOL]; /* by kind, TEMPLATE_MIX excluded */
};

struct template
{
	enum template_kind kind;
	unsigned weights;
	size_t count;
	struct size_class classes[];
};

struct kind_row {
	const char *name;
	const char *content_type;
	void (*fill)(struct out *o, size_t bytes, uint64_t *seed);
};

static void fill_text(struct out *o, size_t bytes, uint64_t *seed);
static void fill_html(struct out *o, size_t bytes, uint64_t *seed);
static void fill_attachment(struct out *o, size_t bytes, uint64_t *seed);

#define BOUNDARY "=_ringpost-bench_0"

static const struct kind_row kinds[] = {
	[TEMPLATE_TEXT] = { "text", "text/plain; charset=utf-8", fill_text },
	[TEMPLATE_HTML] = { "html", "multipart/alternative; boundary=\"" BOUNDARY "\"", fill_html },
	[TEMPLATE_ATTACHMENT] = { "attachment", "multipart/mixed; boundary=\"" BOUNDARY "\"",
		fill_attachment },
	[TEMPLATE_MIX] = { "mix", NULL, NULL },
};

static const char *const words[] = {
	"order",
	"invoice",
	"delivery",
	"account",
	"summer",
	"offer",
	"ticket",
	"meeting",
	"report",
	"weekly",
	"update",
	"please",
	"confirm",
	"address",
	"payment",
	"thank",
	"service",
	"customer",
	"receipt",
	"number",
	"schedule",
	"travel",
	"garden",
	"kitchen",
	"music",
	"letter",
	"morning",
	"window",
	"question",
	"answer",
	"language",
	"history",
};

const slice template_sequence_name = SLICE_INIT("X-Bench");

static uint64_t next(uint64_t *seed)
{
	return map_hash_u64(++*seed);
}

static void put_words(struct out *o, size_t bytes, uint64_t *seed, const char *line_end)
{
	size_t end = o->len + bytes, line = o->len;

	while (o->len < end) {
		out_str(o, words[next(seed) % array_len(words)]);
		if (o->len - line >= LINE - 10) {
			out_str(o, line_end);
			line = o->len;
		} else {
			out_char(o, ' ');
		}
	}
	out_str(o, "\r\n");
}

static void fill_text(struct out *o, size_t bytes, uint64_t *seed)
{
	put_words(o, bytes, seed, "\r\n");
}

static void put_part(struct out *o, const char *type, const char *encoding)
{
	out_printf(o, "--" BOUNDARY "\r\nContent-Type: %s\r\n", type);
	out_printf(o, "Content-Transfer-Encoding: %s\r\n\r\n", encoding);
}

static void fill_html(struct out *o, size_t bytes, uint64_t *seed)
{
	size_t share = bytes > 400 ? (bytes - 400) / 4 : 0;

	put_part(o, "text/plain; charset=utf-8", "7bit");
	put_words(o, share, seed, "\r\n");
	put_part(o, "text/html; charset=utf-8", "7bit");
	out_str(o, "<html><body style=\"font-family:sans-serif\"><h1>News</h1>\r\n<p>");
	put_words(o, share * 3, seed, "</p>\r\n<p>");
	out_str(o, "</p></body></html>\r\n--" BOUNDARY "--\r\n");
}

static void put_base64_lines(struct out *o, size_t bytes, uint64_t *seed)
{
	for (size_t end = o->len + bytes; o->len < end;) {
		uint64_t raw[7];
		size_t line = MIN((size_t)57, sizeof(raw));

		for (size_t i = 0; i < array_len(raw); i++)
			raw[i] = next(seed);
		codec_put_base64(o, slice_of(raw, line - line % 3));
		out_str(o, "\r\n");
	}
}

static void fill_attachment(struct out *o, size_t bytes, uint64_t *seed)
{
	size_t text = MIN(bytes / 8, (size_t)1024),
	       file = bytes > text + 500 ? bytes - text - 500 : 0;

	put_part(o, "text/plain; charset=utf-8", "7bit");
	put_words(o, text, seed, "\r\n");
	put_part(o, "application/pdf; name=\"report.pdf\"", "base64");
	put_base64_lines(o, file, seed);
	out_str(o, "--" BOUNDARY "--\r\n");
}

static void make_pool(struct size_class *class, enum template_kind kind)
{
	size_t bytes = class->bytes > HEADER_ROOM ? class->bytes - HEADER_ROOM : 0;

	for (size_t i = 0; i < POOL; i++) {
		struct out *o = &class->pool[kind][i].bytes;
		uint64_t seed = map_hash_u64(class->bytes * POOL + i) << 8;

		*o = out_heap(bytes * 2 + 4096);
		kinds[kind].fill(o, bytes, &seed);
		must(out_ok(o));
	}
}

struct template *template_new(enum template_kind kind, const struct template_size *sizes,
	size_t count)
{
	struct template *t = calloc(1, sizeof(*t) + count * sizeof(t->classes[0]));

	must(t);
	t->kind = kind;
	t->count = count;
	for (size_t i = 0; i < count; i++) {
		t->classes[i].bytes = sizes[i].bytes;
		t->classes[i].weight = sizes[i].weight;
		t->weights += sizes[i].weight;
		for (enum template_kind k = TEMPLATE_TEXT; k < TEMPLATE_MIX; k++)
			if (kind == k || kind == TEMPLATE_MIX)
				make_pool(&t->classes[i], k);
	}
	must(t->weights);
	return t;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		for (size_t k = 0; k < TEMPLATE_MIX; k++)
			for (size_t p = 0; p < POOL; p++)
				out_heap_done(&t->classes[i].pool[k][p].bytes);
	free(t);
}

static const struct size_class *pick_class(const struct template *t, uint64_t dice)
{
	unsigned at = (unsigned)(dice % t->weights);

	for (size_t i = 0; i < t->count; i++) {
		if (at < t->classes[i].weight)
			return &t->classes[i];
		at -= t->classes[i].weight;
	}
	must(0);
	return NULL;
}

/* RFC 5322 3.6.4: the one answered, and all before it. */
static void put_references(const struct template_fields *f, struct out *o)
{
	uint64_t root = f->thread > 1 ? f->number - f->number % f->thread : f->number;

	if (root == f->number)
		return;
	out_printf(o,
		"In-Reply-To: <%llx.%llu@bench.invalid>\r\nReferences:", (unsigned long long)f->run,
		(unsigned long long)f->number - 1);
	for (uint64_t n = MAX(root, f->number - MIN(f->number, (uint64_t)REFERENCES_MAX));
		n < f->number; n++)
		out_printf(o, "\r\n <%llx.%llu@bench.invalid>", (unsigned long long)f->run,
			(unsigned long long)n);
	out_str(o, "\r\n");
}

slice template_render(const struct template *t, const struct template_fields *f, struct out *o)
{
	uint64_t dice = map_hash_u64(f->run ^ map_hash_u64(f->number));
	const struct size_class *class = pick_class(t, dice);
	enum template_kind kind = t->kind == TEMPLATE_MIX ? dice >> 20 & 1 : t->kind;

	if (t->kind == TEMPLATE_MIX && (dice >> 21) % 10 == 0)
		kind = TEMPLATE_ATTACHMENT;
	out_str(o, "Date: ");
	text_put_date(o, f->date, 0);
	out_printf(o, "\r\nFrom: \"Bench %s\" <", words[dice >> 30 & 31]);
	out_slice(o, f->from);
	out_str(o, ">\r\nTo: <");
	out_slice(o, f->to);
	out_printf(o, ">\r\nSubject: Your %s %s no. %llu\r\n", words[dice >> 35 & 31],
		words[dice >> 40 & 31], (unsigned long long)f->number);
	out_printf(o, "Message-ID: <%llx.%llu@bench.invalid>\r\n", (unsigned long long)f->run,
		(unsigned long long)f->number);
	put_references(f, o);
	out_slice(o, template_sequence_name);
	out_printf(o, ": %llx %llu %llu\r\n", (unsigned long long)f->run,
		(unsigned long long)f->number, (unsigned long long)f->sent_ns);
	out_printf(o, "MIME-Version: 1.0\r\nContent-Type: %s\r\n\r\n", kinds[kind].content_type);
	out_printf(o, "Dear customer %llu,\r\n", (unsigned long long)f->number);
	return out_written(&class->pool[kind][dice >> 50 & (POOL - 1)].bytes);
}

static bool take_number(slice *in, int base, uint64_t *out)
{
	uint64_t n = 0;
	size_t at = 0;

	for (; at < in->len && at < 20; at++) {
		char c = text_lower(in->ptr[at]);
		int digit = text_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

		if (digit >= base)
			break;
		n = n * (uint64_t)base + (uint64_t)digit;
	}
	if (at == 0)
		return false;
	*in = slice_trim(slice_skip(*in, at));
	*out = n;
	return true;
}

bool template_parse_sequence(slice value, struct template_fields *out)
{
	struct template_fields f = { 0 };

	value = slice_trim(value);
	if (!take_number(&value, 16, &f.run) || !take_number(&value, 10, &f.number) ||
		!take_number(&value, 10, &f.sent_ns))
		return false;
	out->run = f.run;
	out->number = f.number;
	out->sent_ns = f.sent_ns;
	return true;
}

bool template_parse_kind(slice text, enum template_kind *out)
{
	for (size_t i = 0; i < array_len(kinds); i++)
		if (slice_eq(slice_str(kinds[i].name), text)) {
			*out = (enum template_kind)i;
			return true;
		}
	return false;
}

bool template_parse_sizes(slice text, struct template_size *sizes, size_t max, size_t *out_count)
{
	size_t count = 0;
	slice row, size;

	while (slice_cut(&text, ',', &row)) {
		uint64_t bytes, weight = 1;

		if (count == max || !slice_cut(&row, ':', &size) ||
			!text_parse_size(size, &bytes) || bytes > (1u << 30))
			return false;
		if (row.len && (!text_parse_uint(row, 1000000, &weight) || weight == 0))
			return false;
		sizes[count++] = (struct template_size){ .bytes = (size_t)bytes,
			.weight = (unsigned)weight };
	}
	*out_count = count;
	return count > 0;
}
