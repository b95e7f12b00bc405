/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Made mail is fit for the wire, of about the size asked for, and can be told apart. */
#include "bench/template.h"

#include <criterion/criterion.h>

static bool fit_for_the_wire(slice text)
{
	slice line;

	while (slice_cut(&text, '\n', &line))
		if (line.len == 0 || line.len > 999 || line.ptr[line.len - 1] != '\r' ||
			line.ptr[0] == '.')
			return false;
	return true;
}

static struct template_fields fields(uint64_t number)
{
	return (struct template_fields){ .run = 0xabc,
		.number = number,
		.sent_ns = 77,
		.from = SLICE("a@example.test"),
		.to = SLICE("b@example.test") };
}

Test(template, every_kind_and_size_is_wire_form)
{
	static const size_t bytes[] = { 700, 4096, 51200 };

	for (enum template_kind kind = TEMPLATE_TEXT; kind <= TEMPLATE_MIX; kind++)
		for (size_t i = 0; i < array_len(bytes); i++) {
			struct template_size size = { bytes[i], 1 };
			struct template *t = template_new(kind, &size, 1);

			for (uint64_t n = 0; n < 40; n++) {
				struct template_fields f = fields(n);
				struct out head = out_heap(8192);
				slice rest = template_render(t, &f, &head);
				size_t all = head.len + rest.len;

				cr_assert(fit_for_the_wire(out_written(&head)) &&
					fit_for_the_wire(rest));
				cr_assert(all > bytes[i] / 2 && all < bytes[i] * 3 / 2 + 1200,
					"%zu for %zu", all, bytes[i]);
				out_heap_done(&head);
			}
			template_free(t);
		}
}

Test(template, sequence_survives)
{
	struct template_size size = { 1000, 1 };
	struct template *t = template_new(TEMPLATE_TEXT, &size, 1);
	struct template_fields f = fields(12345), got;
	struct out head = out_heap(8192);

	template_render(t, &f, &head);
	slice text = out_written(&head),
	      value = slice_skip(text, (size_t)slice_search(text, SLICE("X-Bench: ")) + 9);
	slice line;

	slice_cut(&value, '\r', &line);
	cr_assert(template_parse_sequence(line, &got));
	cr_assert(got.run == 0xabc && got.number == 12345 && got.sent_ns == 77);
	cr_assert_not(template_parse_sequence(SLICE("abc"), &got));
	out_heap_done(&head);
	template_free(t);
}

Test(template, size_mixes_are_read)
{
	struct template_size sizes[3];
	size_t count;

	cr_assert(template_parse_sizes(SLICE("4K:80,50K:15,1M"), sizes, 3, &count) && count == 3);
	cr_assert(sizes[1].bytes == 51200 && sizes[1].weight == 15 && sizes[2].weight == 1);
	cr_assert_not(template_parse_sizes(SLICE("4K,4K,4K,4K"), sizes, 3, &count));
	cr_assert_not(template_parse_sizes(SLICE("4K:0"), sizes, 3, &count));
	cr_assert_not(template_parse_sizes(SLICE(""), sizes, 3, &count));
}
