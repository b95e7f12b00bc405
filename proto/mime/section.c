/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One pass over the records in pre-order: at each number of the path the children of the part at hand
 * are counted off, their descendants passed over by their depth. */
#include "proto/mime/section.h"

/* The n-th child of `part`, *rest behind its record. */
static bool child(slice *rest, struct summary_part *part, unsigned n)
{
	unsigned depth = part->depth + 1;
	struct summary_part next;

	while (summary_part_next(rest, &next)) {
		if (next.depth < depth)
			return false;
		if (next.depth == depth && --n == 0) {
			*part = next;
			return true;
		}
	}
	return false;
}

/* One number of a path. `part` is a message at first, then what a number has named: of a named
 * message/rfc822 the numbers go on in the message inside. A message that is no multipart has one
 * part, 1, which is its body, whatever that is. */
static bool descend(slice *rest, struct summary_part *part, unsigned n, bool named)
{
	if (n == 0 || (named && part->kind == PART_LEAF))
		return false;
	if (named && part->kind == PART_MESSAGE && !child(rest, part, 1))
		return false;
	return part->kind == PART_MULTIPART ? child(rest, part, n) : n == 1;
}

/* HEADER and TEXT are of messages: this one, or the one inside a message/rfc822. */
static bool find_message(slice *rest, struct summary_part *part, bool top)
{
	if (top)
		return true;
	return part->kind == PART_MESSAGE && child(rest, part, 1);
}

static struct section_span span_of(const struct summary_part *part, const struct section *section)
{
	struct section_span span = { .at = part->body_at, .len = part->body_len };

	if (section->what == SECTION_HEADER || section->what == SECTION_MIME) {
		span.at = part->header_at;
		span.len = part->body_at - part->header_at;
	} else if (section->what == SECTION_ALL) {
		span.coding = part->coding;
		span.leaf = part->kind == PART_LEAF;
	}
	return span;
}

bool section_find(const struct summary *s, const struct section *section, struct section_span *out)
{
	slice rest = summary_parts(s);
	struct summary_part part;
	bool top = section->depth == 0;

	if (section->depth > SECTION_PATH_MAX || !summary_part_next(&rest, &part) ||
		(top && section->what == SECTION_MIME))
		return false;
	for (unsigned i = 0; i < section->depth; i++)
		if (!descend(&rest, &part, section->path[i], i > 0))
			return false;
	if ((section->what == SECTION_HEADER || section->what == SECTION_TEXT) &&
		!find_message(&rest, &part, top))
		return false;
	*out = span_of(&part, section);
	if (top && section->what == SECTION_ALL)
		*out = (struct section_span){ .len = s->size };
	return out->at <= s->size && out->len <= s->size - out->at;
}
