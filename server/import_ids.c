/* SPDX-License-Identifier: GPL-2.0-or-later */
/* import_ids.c - the names messages come in with: unique ids (RFC 1939 7) that they bring, or their places.
 *
 * A message's key is kept with it. One that is a unique id is what POP3 clients see, so only one message of a
 * mailbox may have it: the first. All others get a key that says where they came from, which nobody is shown.
 * Ids that stand in the mailbox are asked for when the first message with an id comes; eight bytes each are
 * kept, and more than IDS_MAX are never taken over. */
#include "server/import_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/codec.h"
#include "core/base/crypt.h"
#include "server/uidl.h"

enum { FIRST_SLOTS = 1024, IDS_MAX = 8 * 1024 * 1024 };

/* --- Keys --------------------------------------------------------------------------------------------- */

/* With a blank in it, so that it is no unique id. */
void import_key_of_place(const struct import *im, slice place, char out[IMPORT_KEY])
{
	unsigned char digest[SHA256_BYTES];
	struct out o = out_fixed(out, IMPORT_KEY - 1);
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, slice_str(im->source));
	sha256_add(&h, slice_of("", 1));
	sha256_add(&h, slice_str(im->mailbox));
	sha256_add(&h, slice_of("", 1));
	sha256_add(&h, place);
	sha256_end(&h, digest);
	out_str(&o, "import ");
	codec_put_hex(&o, slice_of(digest, 16));
	must(out_ok(&o));
	out[o.len] = '\0';
}

/* --- Ids that are taken ---------------------------------------------------------------------------------- */

/* Two ids with one hash: the second counts as taken, and its message gets another name. Never 0. */
static uint64_t hash_of(slice id)
{
	unsigned char digest[SHA256_BYTES];
	struct sha256 h;
	uint64_t n;

	sha256_init(&h);
	sha256_add(&h, id);
	sha256_end(&h, digest);
	memcpy(&n, digest, sizeof(n));
	return n ? n : 1;
}

/* Where it is, or would be. */
static uint64_t *slot_of(const struct import_ids *ids, uint64_t hash)
{
	size_t at = hash & (ids->cap - 1);

	while (ids->slots[at] && ids->slots[at] != hash)
		at = (at + 1) & (ids->cap - 1);
	return &ids->slots[at];
}

static void grow(struct import_ids *ids)
{
	struct import_ids old = *ids;

	ids->cap = old.cap ? old.cap * 2 : FIRST_SLOTS;
	ids->slots = calloc(ids->cap, sizeof(*ids->slots));
	must(ids->slots);
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i])
			*slot_of(ids, old.slots[i]) = old.slots[i];
	free(old.slots);
}

bool import_ids_take(struct import_ids *ids, slice id)
{
	uint64_t hash = hash_of(id), *slot;

	if (ids->len >= ids->cap / 4 * 3)
		grow(ids);
	slot = slot_of(ids, hash);
	if (*slot || ids->len == IDS_MAX)
		return false;
	*slot = hash;
	ids->len++;
	return true;
}

void import_ids_done(struct import_ids *ids)
{
	free(ids->slots);
	*ids = (struct import_ids){ 0 };
}
