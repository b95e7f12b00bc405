/* SPDX-License-Identifier: GPL-2.0-or-later */
/* freight.c - signatures, conversion, streaming.
 *
 * Conversion comes before signing: what is hashed are the bytes that leave. The body hash of intake
 * is used when those are the stored bytes and the canonical form is the same; otherwise the body
 * is read (and converted) once more just to be hashed. No more than one piece is ever in RAM. */
#include "relay/freight.h"

#include "core/bufs.h"
#include "proto/mailauth/dkim_canon.h"
#include "proto/mime/header.h"
#include "proto/smtp/client.h"
#include "relay/sign.h"
#include "relay/sign_int.h"

enum { PIECE_BYTES = BUFS_LARGE, MADE_MAX = 4 << 20, PARTS_MAX = 10000, DEPTH_MAX = 100 };

static const struct part_limits limits = {
	.header_max = HEADER_MAX_DEFAULT,
	.depth_max = DEPTH_MAX,
	.count_max = PARTS_MAX,
};

/* Reading -------------------------------------------------------------------------------------- */

static enum err rewind_body(struct freight *f)
{
	if (f->running)
		recode_run_done(&f->run);
	f->running = f->ended = false;
	if (f->convert) {
		recode_run_init(&f->run, &f->scan, f->hop);
		f->running = true;
	}
	f->reader = (struct blob_reader){ 0 };
	return blob_open(&f->reader, f->r->st, f->m->ref.id);
}

static enum err read_piece(struct freight *f, slice *out)
{
	size_t len = 0;
	enum err err = blob_read(&f->reader, f->buf, f->buf_cap, &len);

	*out = slice_of(f->buf, len);
	return err;
}

static enum err body_piece(struct freight *f, slice *out)
{
	slice piece;
	enum err err = OK;

	if (!f->convert)
		return read_piece(f, out);
	f->made.len = 0;
	while (!err && f->made.len == 0 && !f->ended) {
		err = read_piece(f, &piece);
		if (err)
			break;
		f->ended = piece.len == 0;
		err = f->ended ? recode_run_end(&f->run, &f->made) :
				 recode_run_add(&f->run, piece, &f->made);
		if (!err && !out_ok(&f->made))
			err = ERR_TOO_LARGE;
	}
	*out = out_written(&f->made);
	return err;
}

enum err freight_next(struct freight *f, slice *out)
{
	if (!f->head_given) {
		f->head_given = true;
		if (f->head.len > 0) {
			*out = f->head;
			return OK;
		}
	}
	return body_piece(f, out);
}

void freight_done(struct freight *f)
{
	if (!f->r)
		return;
	if (f->running)
		recode_run_done(&f->run);
	if (f->scanned)
		recode_scan_done(&f->scan);
	out_heap_done(&f->made);
	bufs_put(f->r->w, f->buf, f->buf_cap);
	*f = (struct freight){ 0 };
}

/* Conversion ----------------------------------------------------------------------------------- */

static struct recode_hop hop_of(const struct smtp_caps *caps)
{
	return (struct recode_hop){
		.eight_bit = caps->flags & SMTP_CAP_8BITMIME,
		.binary = (caps->flags & SMTP_CAP_BINARYMIME) && (caps->flags & SMTP_CAP_CHUNKING),
		.smtputf8 = caps->flags & SMTP_CAP_SMTPUTF8,
	};
}

/* What intake saw decides whether the body must be looked at here at all. */
static bool fits(const struct envelope *e, struct recode_hop hop)
{
	if (e->body == ENVELOPE_BINARYMIME && !hop.binary)
		return false;
	if (e->has_8bit && !hop.eight_bit && !(hop.binary && e->body == ENVELOPE_BINARYMIME))
		return false;
	/* Raw bytes in a header without SMTPUTF8 declared are somebody's old habit: they pass. */
	return !(e->smtputf8 && (e->header_8bit || e->has_8bit) && !hop.smtputf8);
}

static enum err scan(struct freight *f)
{
	enum err err = rewind_body(f);
	slice piece;

	recode_scan_init(&f->scan, &limits);
	f->scanned = true;
	while (!err) {
		err = read_piece(f, &piece);
		if (err || piece.len == 0)
			break;
		recode_scan_add(&f->scan, piece);
	}
	recode_scan_end(&f->scan);
	if (!f->m->env.smtputf8)
		f->scan.facts.header_8bit = f->scan.facts.nested_8bit = false;
	return err;
}

static enum err convert(struct freight *f, struct reason *why, enum outcome *out)
{
	enum err err = scan(f);

	if (err)
		return err;
	*out = OUTCOME_FAILED;
	switch (recode_plan_for(&f->scan.facts, f->hop)) {
	case RECODE_AS_IS:
		return OK;
	case RECODE_CONVERT:
		f->convert = true;
		f->made = out_heap(MADE_MAX);
		return OK;
	case RECODE_BOUNCE_UTF8:
		reason_words(why, OK, "5.6.9",
			SLICE("the next hop takes no internationalised header (SMTPUTF8)"));
		return ERR_UNSUPPORTED;
	default:
		reason_words(why, OK, "5.6.3",
			SLICE("the next hop takes no 8-bit body and this one cannot be converted"));
		return ERR_UNSUPPORTED;
	}
}

/* Signing -------------------------------------------------------------------------------------- */

struct hashing {
	struct header_end end;
	struct dkim_body body;
	struct out header;
	bool in_body;
};

static enum err hash_piece(struct hashing *h, slice piece)
{
	if (h->in_body) {
		dkim_body_add(&h->body, piece);
		return OK;
	}
	out_slice(&h->header, piece);
	enum step step = header_end_feed(&h->end, piece);

	if (step == STEP_MORE)
		return OK;
	if (step != STEP_DONE || !out_ok(&h->header))
		return ERR_TOO_LARGE;
	h->in_body = true;
	dkim_body_add(&h->body, slice_skip(out_written(&h->header), h->end.bytes));
	h->header.len = h->end.bytes;
	return OK;
}

/* Header and body hash of what will leave. */
static enum err hash_all(struct freight *f, slice *header, unsigned char hash[DKIM_HASH])
{
	struct hashing h = { .end = { .max = HEADER_MAX_DEFAULT },
		.header = out_heap(HEADER_MAX_DEFAULT + MADE_MAX) };
	enum err err = rewind_body(f);
	slice piece;

	dkim_body_init(&h.body, (enum dkim_canon)f->r->gen->o->sign.body_canon);
	while (!err) {
		err = body_piece(f, &piece);
		if (err || piece.len == 0)
			break;
		err = hash_piece(&h, piece);
	}
	if (!h.in_body)
		header_end_finish(&h.end);
	dkim_body_end(&h.body, hash);
	*header = arena_dup(f->arena, out_written(&h.header));
	out_heap_done(&h.header);
	return err;
}

static bool hash_known(const struct freight *f)
{
	const struct envelope *e = &f->m->env;
	int form = f->r->gen->o->sign.body_canon;

	return !f->convert && e->header_bytes > 0 && e->header_bytes <= HEADER_MAX_DEFAULT &&
		e->body_hash_form ==
		(form == DKIM_SIMPLE ? ENVELOPE_HASH_SIMPLE : ENVELOPE_HASH_RELAXED);
}

static enum err read_header(struct freight *f, slice *out)
{
	size_t want = f->m->env.header_bytes, have = 0, len = 0;
	char *bytes = arena_alloc(f->arena, want + 1);
	enum err err = rewind_body(f);

	while (!err && have < want) {
		err = blob_read(&f->reader, bytes + have, want - have, &len);
		if (!err && len == 0)
			err = ERR_CORRUPT;
		have += len;
	}
	*out = slice_of(bytes, have);
	return err;
}

static enum err hold(const struct freight *f, struct reason *why, enum outcome *out)
{
	reason_words(why, ERR_HELD, "",
		f->r->gen->o->sign.enabled ?
			SLICE("sign: the domain has no usable key") :
			SLICE("sign: the domain requires it, and relay.dkim.sign is off"));
	*out = OUTCOME_HELD;
	return ERR_HELD;
}

static enum err sign(struct freight *f, struct reason *why, enum outcome *out)
{
	struct sign_choice choice = { 0 };
	unsigned char hash[DKIM_HASH];
	bool known = hash_known(f);
	slice header;
	enum err err = known ? read_header(f, &header) : hash_all(f, &header, hash);

	if (!err)
		err = sign_pick(f->r, header, f->arena, &choice);
	if (err == ERR_HELD)
		return hold(f, why, out);
	if (err || choice.count == 0)
		return err;
	if (known)
		memcpy(hash, f->m->env.body_hash, DKIM_HASH);
	err = sign_make(f->r, &choice, &(struct sign_bytes){ .header = header, .body_hash = hash },
		f->arena, &f->head);
	return err == ERR_INVALID ? hold(f, why, out) : err;
}

/* Loading -------------------------------------------------------------------------------------- */

enum outcome freight_trouble(enum err err, struct reason *why)
{
	/* Damaged bytes do not heal by waiting: somebody must look. */
	bool damaged = err == ERR_CORRUPT || err == ERR_NOT_FOUND;

	reason_words(why, err, "4.3.0",
		damaged ? SLICE("the stored message is damaged") : SLICE("local trouble"));
	return damaged ? OUTCOME_HELD : OUTCOME_DEFERRED;
}

static enum err store_trouble(enum err err, struct reason *why, enum outcome *out)
{
	if (err != ERR_HELD && err != ERR_UNSUPPORTED)
		*out = freight_trouble(err, why);
	return err;
}

static enum err check_size(struct freight *f, const struct smtp_caps *caps, struct reason *why,
	enum outcome *out)
{
	f->bytes = f->convert ? SMTP_BODY_UNKNOWN : f->head.len + f->m->ref.size;
	uint64_t least = f->convert ? f->m->ref.size : f->bytes;

	if (caps->size_bytes == 0 || least <= caps->size_bytes)
		return OK;
	reason_words(why, OK, "5.3.4", SLICE("the message is larger than the next hop takes"));
	*out = OUTCOME_FAILED;
	return ERR_TOO_LARGE;
}

enum err freight_load(struct freight *f, struct freight_hop hop, struct reason *why,
	enum outcome *out)
{
	enum err err = OK;

	f->hop = hop_of(hop.caps);
	f->buf = bufs_get(f->r->w, PIECE_BYTES, &f->buf_cap);
	if (!f->buf)
		return store_trouble(ERR_NOMEM, why, out);
	if (!fits(&f->m->env, f->hop))
		err = convert(f, why, out);
	if (!err && sign_applies(&f->m->env))
		err = sign(f, why, out);
	if (!err)
		err = rewind_body(f);
	if (err)
		return store_trouble(err, why, out);
	return check_size(f, hop.caps, why, out);
}
