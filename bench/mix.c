/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Weights add up to a circle; a number falls somewhere on it. */
#include "bench/mix.h"

#include "core/base/map.h"
#include "core/base/text.h"

/* The row of a name; names->count: none. */
static size_t find_row(const struct mix_names *names, slice name)
{
	size_t row = 0;

	for (const char *at = (const char *)names->first; row < names->count; at += names->stride) {
		if (slice_eq(slice_str(*(const char *const *)(const void *)at), name))
			break;
		row++;
	}
	return row;
}

bool mix_parse(struct mix *mix, slice text, const struct mix_names *names)
{
	slice word, name;

	*mix = (struct mix){ 0 };
	while (slice_cut(&text, ',', &word)) {
		uint64_t weight = 1;

		if (mix->count == MIX_MAX || !slice_cut(&word, '=', &name))
			return false;
		size_t row = find_row(names, name);

		if (row == names->count || (word.len && !text_parse_uint(word, 1000000, &weight)) ||
			!weight)
			return false;
		mix->parts[mix->count].row = row;
		mix->parts[mix->count++].weight = weight;
		mix->total += weight;
	}
	return mix->count > 0;
}

size_t mix_choose(const struct mix *mix, uint64_t number)
{
	uint64_t at = map_hash_u64(number) % mix->total;
	size_t i = 0;

	while (at >= mix->parts[i].weight)
		at -= mix->parts[i++].weight;
	return i;
}
