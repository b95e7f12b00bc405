/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DEFLATE between TLS (or the wire) and the owner, raw as RFC 4978 wants it.
 *
 * What makes an idle connection cheap: every turn's output ends on a byte boundary, so a new encoder
 * that knows nothing may go on where another left off; and a decoder that stands between two
 * blocks is nothing but its window. A short answer without an encoder is sent as a stored block,
 * which takes no state at all: waking ten thousand clients costs no encoder. */
#include "core/conn_int.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>

enum {
	PLAIN_BYTES = 16384,
	STORED_MAX = 65535,
	SMALL_BYTES = 512, /* not worth an encoder */
	PACKERS_MAX = 128, /* of one worker; further answers are stored */
	QUIET_MS = 1000,   /* then states are given back */
	LEVEL = 3,
	WINDOW_BITS = 14, /* ours; the peer may use 15 */
	MEMORY_LEVEL = 7,
	PACKER_BYTES = 192 << 10, /* of addresses; what zlib takes of it is less */
	UNPACKER_BYTES = 64 << 10,
	SPARE_MAX = 4,
	TURN_BYTES = 32 << 10, /* unpacked for one connection before others have their turn */
};

/* --- Memory of states: each in a block of its own, so that they leave no holes between what lives long --- */

struct conn_state {
	struct conn_state *next;
	size_t used, cap;
	z_stream z;
};

static void *take(void *opaque, uInt items, uInt size)
{
	struct conn_state *st = opaque;
	size_t bytes = ((size_t)items * size + 15) & ~(size_t)15;
	char *at = (char *)st + st->used;

	if (bytes > st->cap - st->used)
		return Z_NULL;
	st->used += bytes;
	return at;
}

static void leave(void *opaque, void *at)
{
	(void)opaque; /* the block goes as a whole */
	(void)at;
}

static z_stream *state_new(struct worker *w, size_t cap)
{
	unsigned kind = cap == PACKER_BYTES;
	struct conn_state *st = w->states[kind];

	if (st) {
		w->states[kind] = st->next;
		w->states_len[kind]--;
	} else {
		st = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (st == MAP_FAILED)
			return NULL;
	}
	*st = (struct conn_state){ .used = (sizeof(*st) + 15) & ~(size_t)15,
		.cap = cap,
		.z = { .zalloc = take, .zfree = leave, .opaque = st } };
	return &st->z;
}

static void state_free(struct worker *w, z_stream *z)
{
	struct conn_state *st = container_of(z, struct conn_state, z);
	unsigned kind = st->cap == PACKER_BYTES;

	if (w->states_len[kind] == SPARE_MAX) {
		munmap(st, st->cap);
		return;
	}
	st->next = w->states[kind];
	w->states[kind] = st;
	w->states_len[kind]++;
}

void conn_states_done(struct worker *w)
{
	for (size_t i = 0; i < array_len(w->states); i++)
		while (w->states[i]) {
			struct conn_state *st = w->states[i];

			w->states[i] = st->next;
			munmap(st, st->cap);
		}
}

struct conn_deflate {
	struct conn *c;
	z_stream *packer, *unpacker; /* NULL: not needed now */
	unsigned char *seen;         /* what the unpacker's window held */
	unsigned seen_len;
	struct out plain; /* what the owner writes */
	size_t plain_cap;
	bool unflushed;        /* the packer holds bytes */
	bool more;             /* the unpacker may hold bytes */
	bool paused;           /* there is more, after the others' turn */
	uint64_t turn;         /* of the worker, in which it was paused last */
	struct conn_hold hold; /* bytes not yet unpacked */
	slice raw;             /* unread, in `hold` or in a receive buffer */
	struct timer quiet;
};

/* --- Out --- */

static struct out *lower(struct conn *c)
{
	return c->tls_state == TLS_READY ? conn_tls_out(c) : &c->wire;
}

static bool open_packer(struct conn_deflate *d)
{
	struct worker *w = d->c->w;
	z_stream *z = w->packers < PACKERS_MAX ? state_new(w, PACKER_BYTES) : NULL;

	if (!z)
		return false;
	if (deflateInit2(z, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) !=
		Z_OK) {
		state_free(w, z);
		return false;
	}
	d->packer = z;
	w->packers++;
	return true;
}

static void close_packer(struct conn_deflate *d)
{
	if (!d->packer)
		return;
	(void)deflateEnd(d->packer);
	state_free(d->c->w, d->packer);
	d->packer = NULL;
	d->c->w->packers--;
}

/* Blocks that are not compressed (RFC 1951 3.2.4). */
static void put_stored(struct out *o, slice bytes)
{
	while (bytes.len) {
		size_t n = MIN(bytes.len, (size_t)STORED_MAX);
		char head[5] = { 0, (char)n, (char)(n >> 8), (char)~n, (char)(~n >> 8) };

		out_bytes(o, head, sizeof(head));
		out_bytes(o, bytes.ptr, n);
		bytes = slice_skip(bytes, n);
	}
}

static void pack(struct conn_deflate *d, int flush)
{
	struct out *o = lower(d->c);
	z_stream *z;
	char buf[4096];

	timer_arm_in(d->c->w, &d->quiet, QUIET_MS);
	if (!d->packer &&
		((flush != Z_NO_FLUSH && d->plain.len < SMALL_BYTES) || !open_packer(d))) {
		put_stored(o, out_written(&d->plain));
		d->plain.len = 0;
		return;
	}
	z = d->packer;
	z->next_in = (Bytef *)d->plain.buf;
	z->avail_in = (uInt)d->plain.len;
	do {
		z->next_out = (Bytef *)buf;
		z->avail_out = sizeof(buf);
		(void)deflate(z, flush);
		out_bytes(o, buf, sizeof(buf) - z->avail_out);
	} while (z->avail_out == 0);
	d->plain.len = 0;
	d->unflushed = flush == Z_NO_FLUSH;
}

static bool more_plain(struct out *o, size_t want)
{
	struct conn_deflate *d = o->owner;

	(void)want;
	if (o->buf) {
		pack(d, Z_NO_FLUSH);
		return !conn_dead(d->c) && out_ok(lower(d->c));
	}
	o->buf = bufs_get(d->c->w, PLAIN_BYTES, &d->plain_cap);
	o->cap = PLAIN_BYTES;
	o->len = 0;
	return o->buf != NULL;
}

struct out *conn_deflate_out(struct conn *c)
{
	return &c->deflate->plain;
}

size_t conn_deflate_pending(const struct conn *c)
{
	return c->deflate->plain.len;
}

void conn_deflate_flush(struct conn *c)
{
	struct conn_deflate *d = c->deflate;

	if (d->plain.len || d->unflushed)
		pack(d, Z_SYNC_FLUSH);
	if (!out_ok(&d->plain))
		conn_fail(c, ERR_NOMEM);
	bufs_put(c->w, d->plain.buf, d->plain_cap);
	d->plain.buf = NULL;
	d->plain.cap = 0;
}

/* --- In --- */

static bool open_unpacker(struct conn_deflate *d)
{
	z_stream *z = state_new(d->c->w, UNPACKER_BYTES);

	if (!z)
		return false;
	if (inflateInit2(z, -15) != Z_OK) {
		state_free(d->c->w, z);
		return false;
	}
	d->unpacker = z;
	if (d->seen && inflateSetDictionary(z, d->seen, d->seen_len) != Z_OK)
		return false;
	free(d->seen);
	d->seen = NULL;
	d->seen_len = 0;
	return true;
}

static void close_unpacker(struct conn_deflate *d)
{
	if (!d->unpacker)
		return;
	(void)inflateEnd(d->unpacker);
	state_free(d->c->w, d->unpacker);
	d->unpacker = NULL;
}

/* One piece; false: no more comes of what is there. */
static bool unpack_piece(struct conn_deflate *d, char *buf, size_t cap)
{
	z_stream *z = d->unpacker;
	struct conn *c = d->c;
	size_t len;
	int how;

	z->next_in = (Bytef *)(uintptr_t)d->raw.ptr;
	z->avail_in = (uInt)d->raw.len;
	z->next_out = (Bytef *)buf;
	z->avail_out = (uInt)cap;
	how = inflate(z, Z_SYNC_FLUSH);
	d->raw = slice_skip(d->raw, d->raw.len - z->avail_in);
	len = cap - z->avail_out;
	d->more = z->avail_out == 0 && how == Z_OK;
	if (len)
		conn_deliver(c, slice_of(buf, len));
	if (how == Z_OK || how == Z_BUF_ERROR)
		return how == Z_OK && (d->more || d->raw.len);
	d->raw.len = 0;
	conn_finish(c, how == Z_STREAM_END ? ERR_CLOSED : ERR_PROTOCOL);
	return false;
}

/* As much as somebody takes: a bomb grows no further than the owner's own limits. Nor does one whose owner
 * takes it all hold up others: a segment may stand for a thousand times its bytes. */
static void unpack(struct conn_deflate *d)
{
	struct conn *c = d->c;
	size_t cap, done = 0;
	char *buf = bufs_get(c->w, BUFS_LARGE, &cap);

	timer_arm_in(c->w, &d->quiet, QUIET_MS);
	if (!buf || (!d->unpacker && !open_unpacker(d))) {
		bufs_put(c->w, buf, buf ? cap : 0);
		conn_fail(c, ERR_NOMEM);
		return;
	}
	d->paused = false;
	while (!d->paused && conn_accepts(c) && c->in.len < c->hold_max) {
		if (!unpack_piece(d, buf, cap))
			break;
		done += cap;
		d->paused = done >= TURN_BYTES;
	}
	if (d->paused) {
		d->turn = c->w->stats.turns;
		conn_mark(c);
	}
	bufs_put(c->w, buf, cap);
}

void conn_deflate_feed(struct conn *c, slice bytes)
{
	struct conn_deflate *d = c->deflate;
	enum err err = OK;

	if (d->raw.len)
		err = conn_hold_append(c, &d->hold, &d->raw, bytes);
	else
		d->raw = bytes;
	if (!err)
		unpack(d);
	if (!err)
		err = conn_hold_keep(c, &d->hold, &d->raw);
	if (err)
		conn_fail(c, err);
}

void conn_deflate_offer(struct conn *c)
{
	struct conn_deflate *d = c->deflate;

	if ((!d->more && d->raw.len == 0) || !conn_accepts(c))
		return;
	if (d->paused &&
		d->turn == c->w->stats.turns) { /* the worker has several rounds in a turn */
		conn_mark(c);
		return;
	}
	unpack(d);
	if (conn_hold_keep(c, &d->hold, &d->raw))
		conn_fail(c, ERR_NOMEM);
}

bool conn_deflate_paused(const struct conn *c)
{
	return c->deflate->paused;
}

size_t conn_deflate_held(const struct conn *c)
{
	return c->deflate->raw.len;
}

/* --- Quiet --- */

/* Between two blocks and on a byte boundary only the window counts (zlib.h, data_type). */
static void park_unpacker(struct conn_deflate *d)
{
	uInt len = 0;

	if (!d->unpacker || d->raw.len || d->more || d->unpacker->data_type != 128)
		return;
	if (inflateGetDictionary(d->unpacker, NULL, &len) != Z_OK)
		return;
	d->seen = len ? malloc(len) : NULL;
	if (len && !d->seen)
		return;
	if (len)
		(void)inflateGetDictionary(d->unpacker, d->seen, &len);
	d->seen_len = len;
	close_unpacker(d);
}

static void is_quiet(struct timer *t)
{
	struct conn_deflate *d = container_of(t, struct conn_deflate, quiet);

	if (!d->plain.len && !d->unflushed)
		close_packer(d);
	park_unpacker(d);
}

/* --- Begin and end --- */

enum err conn_start_deflate(struct conn *c)
{
	struct conn_deflate *d = calloc(1, sizeof(*d));

	must(!c->deflate);
	if (!d)
		return ERR_NOMEM;
	conn_drop_input(c);
	d->c = c;
	d->plain = (struct out){ .more = more_plain, .owner = d };
	d->quiet.fire = is_quiet;
	c->deflate = d;
	return OK;
}

bool conn_is_deflated(const struct conn *c)
{
	return c->deflate != NULL;
}

void conn_deflate_free(struct conn *c)
{
	struct conn_deflate *d = c->deflate;

	if (!d)
		return;
	timer_disarm(&d->quiet);
	close_packer(d);
	close_unpacker(d);
	conn_hold_free(c, &d->hold, &d->raw);
	bufs_put(c->w, d->plain.buf, d->plain_cap);
	free(d->seen);
	free(d);
	c->deflate = NULL;
}
