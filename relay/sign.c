/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sign.c - key rings and the making of signatures.
 *
 * Each worker keeps its own parsed keys, because wolfCrypt keeps state in them; the ring is emptied
 * whenever the store's directory changes, which its generation tells without a question asked.
 * A key being used while the ring is emptied lives until its user lets go. */
#include "relay/sign_int.h"

#include <stdlib.h>

#include "core/base/sigkey.h"
#include "core/rsa_batch.h"
#include "proto/mailauth/dkim_sign.h"
#include "proto/mime/addrlist.h"
#include "proto/mime/header.h"
#include "proto/smtp/idn.h"
#include "relay/sign.h"
#include "store/account.h"

enum { RING_MAX = 20000 };

struct sign_key {
	unsigned refs;
	struct sigkey *key;
	slice selector;
	char text[];
};

struct ring_domain {
	struct map_link link;
	slice name;
	struct sign_key **keys;
	size_t count;
};

struct sign_ring {
	struct map map;
	struct arena arena;
	uint64_t generation;
};

bool sign_applies(const struct envelope *e)
{
	return e->origin == ENVELOPE_SUBMISSION || e->origin == ENVELOPE_DSN;
}

void sign_keys_changed(struct worker *w)
{
	struct relay_here *r = relay_here(w);

	/* Another generation than any: the next look builds the ring anew. */
	if (r && r->sign)
		r->sign->generation = UINT64_MAX;
}

static void key_put(struct sign_key *key)
{
	if (--key->refs > 0)
		return;
	sigkey_free(key->key);
	free(key);
}

static void drop_domain(struct map_link *link, void *arg)
{
	struct ring_domain *d = container_of(link, struct ring_domain, link);

	(void)arg;
	for (size_t i = 0; i < d->count; i++)
		key_put(d->keys[i]);
}

static void ring_clear(struct sign_ring *ring)
{
	map_walk(&ring->map, drop_domain, NULL);
	map_done(&ring->map);
	ring->map = (struct map){ 0 };
	arena_reset(&ring->arena);
}

struct sign_ring *sign_ring_new(void)
{
	return calloc(1, sizeof(struct sign_ring));
}

void sign_ring_free(struct sign_ring *ring)
{
	if (!ring)
		return;
	ring_clear(ring);
	arena_done(&ring->arena);
	free(ring);
}

static struct sign_key *parse_key(const struct domain_key *row)
{
	struct sign_key *key = calloc(1, sizeof(*key) + row->selector.len);

	if (!key || sigkey_parse_private(row->pem, &key->key)) {
		free(key);
		return NULL;
	}
	memcpy(key->text, row->selector.ptr, row->selector.len);
	key->selector = slice_of(key->text, row->selector.len);
	key->refs = 1;
	return key;
}

static struct ring_domain *load(struct relay_here *r, slice name, uint64_t hash)
{
	struct sign_ring *ring = r->sign;
	struct ring_domain *d = arena_new(&ring->arena, struct ring_domain);
	size_t count = 0;
	const struct domain_key *rows = domain_keys(r->st, name, &count);

	d->name = arena_dup(&ring->arena, name);
	d->keys = arena_array(&ring->arena, struct sign_key *, count + 1);
	for (size_t i = 0; rows && i < count; i++) {
		struct sign_key *key = rows[i].disabled ? NULL : parse_key(&rows[i]);

		if (key)
			d->keys[d->count++] = key;
	}
	if (!map_insert(&ring->map, &d->link, hash)) {
		drop_domain(&d->link, NULL);
		return NULL;
	}
	return d;
}

/* Domains without keys stand in the ring too, so that asking again costs nothing. */
static struct ring_domain *ring_find(struct relay_here *r, slice name)
{
	uint64_t now = account_generation(r->st), hash = map_hash(&r->seed, name);

	if (r->sign->generation != now || r->sign->map.len > RING_MAX) {
		ring_clear(r->sign);
		r->sign->generation = now;
	}
	for (struct map_link *link = map_find(&r->sign->map, hash); link;
		link = map_find_next(&r->sign->map, link)) {
		struct ring_domain *d = container_of(link, struct ring_domain, link);

		if (slice_eq(d->name, name))
			return d;
	}
	return load(r, name, hash);
}

/* The domain itself, then its parents as long as a dot is left. */
static struct ring_domain *closest(struct relay_here *r, slice name)
{
	while (slice_find(name, '.') >= 0) {
		struct ring_domain *d = ring_find(r, name);

		if (d && d->count > 0)
			return d;
		name = slice_skip(name, (size_t)slice_find(name, '.') + 1);
	}
	return NULL;
}

static bool required(struct relay_here *r, slice name)
{
	while (slice_find(name, '.') >= 0) {
		const struct domain *row = domain_find(r->st, name, NULL);

		if (row)
			return row->flags & DOMAIN_SIGN_REQUIRED;
		name = slice_skip(name, (size_t)slice_find(name, '.') + 1);
	}
	return false;
}

static bool from_domain(slice header, struct arena *a, slice *out)
{
	struct header_field from;
	struct addrlist_item item;
	struct addrlist list = { .arena = a };

	if (!header_find(header, SLICE("From"), &from))
		return false;
	list.rest = from.value;
	return addrlist_next(&list, &item) && item.domain.len > 0 && item.domain.ptr[0] != '[' &&
		idn_to_ascii(a, item.domain, out) == OK;
}

enum err sign_pick(struct relay_here *r, slice header, struct arena *a, struct sign_choice *out)
{
	struct ring_domain *d;
	slice domain;

	*out = (struct sign_choice){ 0 };
	if (!from_domain(header, a, &domain))
		return OK;
	d = r->gen->o->sign.enabled ? closest(r, domain) : NULL;
	if (!d)
		return required(r, domain) ? ERR_HELD : OK;
	out->domain = arena_dup(a, d->name);
	out->keys = arena_array(a, struct sign_key *, d->count);
	out->count = d->count;
	for (size_t i = 0; i < d->count; i++) {
		out->keys[i] = d->keys[i];
		out->keys[i]->refs++;
	}
	return OK;
}

static enum err sign_one(struct relay_here *r, struct sign_key *key, const struct dkim_draft *draft,
	struct out *o)
{
	struct rsa_sig sig;
	enum err err = rsa_batch_sign_sigkey(r->w, key->key, draft->digest, &sig);

	if (err)
		return err;
	dkim_sign_finish(draft, slice_of(sig.bytes, sig.len), o);
	relay_count(r, signatures, 1);
	return OK;
}

enum err sign_make(struct relay_here *r, const struct sign_choice *choice,
	const struct sign_bytes *bytes, struct arena *a, slice *out)
{
	struct relay_gen *gen = relay_gen_hold(r->gen);
	const struct sign_options *o = &gen->o->sign;
	struct dkim_selection selection;
	struct out text = out_arena(a);
	int64_t now = worker_wall(r->w) / 1000;
	enum err err = dkim_select(gen->fields, bytes->header, (enum dkim_canon)o->header_canon, a,
		&selection);

	for (size_t i = 0; i < choice->count; i++) {
		struct dkim_draft draft;
		struct dkim_signer signer = {
			.domain = choice->domain,
			.selector = choice->keys[i]->selector,
			.type = sigkey_type_of(choice->keys[i]->key),
			.body_canon = (enum dkim_canon)o->body_canon,
			.signed_at = now,
			.expires_at = o->expire_ms > 0 ? now + o->expire_ms / 1000 : 0,
		};

		if (!err) {
			dkim_sign_begin(&signer, &selection, bytes->body_hash, a, &draft);
			err = sign_one(r, choice->keys[i], &draft, &text);
		}
		key_put(choice->keys[i]);
	}
	relay_gen_put(gen);
	*out = out_written(&text);
	return err;
}
