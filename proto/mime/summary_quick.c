/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sorting and threading ask of a message: date, base subject, message ids as hashes.
 *
 * The hash is SipHash under a key that everybody can read here, because rows last and must agree for
 * ever. Whoever makes two ids collide puts his own message into a wrong conversation, no more. */
#include "core/base/map.h"
#include "proto/mime/collate.h"
#include "proto/mime/date.h"
#include "proto/mime/subject.h"
#include "proto/mime/summary_int.h"

enum { ID_MAX = 998 };

static uint64_t hash(slice s)
{
	static const struct map_seed seed = { 0x72696e67706f7374u, 0x73756d6d61727931u };
	uint64_t n = map_hash(&seed, s);

	return n ? n : 1;
}

uint64_t summary_hash_id(slice id)
{
	char flat[ID_MAX];
	size_t len = 0;

	/* Some mailers fold inside an id. */
	for (size_t i = 0; i < id.len && len < sizeof(flat); i++)
		if ((unsigned char)id.ptr[i] > ' ')
			flat[len++] = id.ptr[i];
	return hash(slice_of(flat, len));
}

uint64_t summary_thread_key(uint64_t id_hash, uint64_t base_hash)
{
	uint64_t n = id_hash ^ (base_hash << 32 | base_hash >> 32);

	/* The finaliser of MurmurHash3. */
	n = (n ^ n >> 33) * 0xff51afd7ed558ccdu;
	n = (n ^ n >> 33) * 0xc4ceb9fe1a85ec53u;
	return n ^ n >> 33;
}

/* Cut the next "<...>" off. */
static bool next_id(slice *in, slice *out)
{
	ptrdiff_t from = slice_find(*in, '<');
	slice rest = slice_skip(*in, from < 0 ? in->len : (size_t)from);
	ptrdiff_t to = slice_find(rest, '>');

	if (to < 0)
		return false;
	*out = slice_sub(rest, 0, (size_t)to + 1);
	*in = slice_skip(rest, (size_t)to + 1);
	return true;
}

/* The first says where the thread began, the last ones where it went on. */
static void add_ref(struct summary_quick *q, uint64_t ref)
{
	if (q->ref_count == SUMMARY_REFS_MAX) {
		memmove(q->refs + 1, q->refs + 2, (SUMMARY_REFS_MAX - 2) * sizeof(*q->refs));
		q->ref_count--;
	}
	q->refs[q->ref_count++] = ref;
}

/* RFC 5256 3, THREAD=REFERENCES: In-Reply-To counts only without References, and only its first. */
static void read_refs(struct summary_quick *q, const struct summary_fields *f)
{
	slice in = f->value[HEADER_REFERENCES], id;

	while (next_id(&in, &id))
		add_ref(q, summary_hash_id(id));
	in = f->value[HEADER_IN_REPLY_TO];
	if (q->ref_count == 0 && next_id(&in, &id))
		add_ref(q, summary_hash_id(id));
}

static void read_subject(struct summary_quick *q, slice value, struct arena *a)
{
	struct subject subject = subject_base(value, a);
	struct out key = out_arena(a);
	slice all;

	collate_key(&key, subject.base);
	all = out_written(&key);
	q->reply = subject.reply;
	q->base_hash = hash(all);
	q->key_len = MIN(all.len, sizeof(q->key));
	/* No character is cut in two. */
	while (q->key_len < all.len && q->key_len &&
		((unsigned char)all.ptr[q->key_len] & 0xc0) == 0x80)
		q->key_len--;
	if (q->key_len)
		memcpy(q->key, all.ptr, q->key_len);
}

void summary_read_quick(struct summary_quick *q, const struct summary_fields *f, struct arena *a)
{
	slice in = f->value[HEADER_MESSAGE_ID], id;
	struct date date;

	read_subject(q, f->value[HEADER_SUBJECT], a);
	if (next_id(&in, &id))
		q->id_hash = summary_hash_id(id);
	read_refs(q, f);
	q->has_sent = date_parse(f->value[HEADER_DATE], &date);
	if (q->has_sent) {
		q->sent = date.at;
		q->zone = date.zone_minutes;
	}
}
