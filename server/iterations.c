/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iterations.c - the history of one option, and how made-up names live through it. */
#include "server/iterations.h"

#include "core/base/crypt.h"
#include "core/base/text.h"

static const wall_ms half_year = INT64_C(180) * 86400 * 1000;

bool iterations_note(struct iterations *h, uint32_t value, wall_ms now)
{
	if (h->count > 0 && h->rows[h->count - 1].value == value)
		return false;
	if (h->count == ITERATIONS_MAX) {
		memmove(&h->rows[0], &h->rows[1], (ITERATIONS_MAX - 1) * sizeof(h->rows[0]));
		h->count--;
	}
	h->rows[h->count].value = value;
	h->rows[h->count].since = now;
	h->count++;
	return true;
}

/* A number below 2^32 that belongs to this name and this change of the option. */
static uint32_t draw(slice secret, slice name, wall_ms since)
{
	unsigned char key[SHA256_BYTES], bytes[SHA256_BYTES];
	uint32_t number;

	hmac_sha256(secret, slice_of(&since, sizeof(since)), key);
	hmac_sha256(slice_of(key, sizeof(key)), name, bytes);
	memcpy(&number, bytes, sizeof(number));
	return number;
}

uint32_t iterations_of(const struct iterations *h, slice secret, slice name, wall_ms now)
{
	for (unsigned i = h->count - 1; i > 0; i--) {
		wall_ms age = MIN(MAX(now - h->rows[i].since, 0), half_year);
		uint64_t share =
			(UINT64_C(1) << 31) * (uint64_t)(age / 1000) / (uint64_t)(half_year / 1000);

		if (draw(secret, name, h->rows[i].since) < share)
			return h->rows[i].value;
	}
	return h->rows[0].value;
}

void iterations_put(const struct iterations *h, struct out *o)
{
	for (unsigned i = 0; i < h->count; i++)
		out_printf(o, "%s%u@%lld", i ? " " : "", h->rows[i].value,
			(long long)h->rows[i].since);
}

bool iterations_parse(slice text, struct iterations *out)
{
	struct iterations h = { 0 };
	slice one;

	while (slice_cut(&text, ' ', &one)) {
		uint64_t value, since;
		slice head;

		if (h.count == ITERATIONS_MAX || !slice_cut(&one, '@', &head) ||
			!text_parse_uint(head, UINT32_MAX, &value) ||
			!text_parse_uint(one, INT64_MAX / 2, &since))
			return false;
		h.rows[h.count].value = (uint32_t)value;
		h.rows[h.count].since = (wall_ms)since;
		h.count++;
	}
	if (h.count == 0)
		return false;
	*out = h;
	return true;
}
