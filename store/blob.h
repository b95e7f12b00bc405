/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob.h - message bodies: written while they arrive, read as streams.
 *
 * A writer is embedded in whoever receives the body and belongs to its worker. Small bodies stay in
 * pooled blocks until store_message_append() writes them in the message's own record; longer ones
 * stream to the journal as chunks while they arrive. All unfinished bodies share one budget of
 * RAM, with what their receivers know of them meanwhile (blob_aside): past it the largest of all workers goes
 * to the journal early, or is given back, and writers of more than 4 KB are told to pause for that
 * long. So nobody waits for another one's client.
 * A blob's id is the journal position of its message's record. Readers get bytes from recent
 * journal writes in RAM, the journal segment or the archive, and check what they read. */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include "core/base/base.h"
#include "store/journal.h"

struct fiber_wait;
struct store;

/* Names a stored body: 24 bytes, copied freely, kept by whoever needs the body. */
struct blob_ref {
	uint64_t id;   /* position of the message's record */
	uint64_t low;  /* position of its oldest part: what a hold holds */
	uint64_t size; /* bytes of the body, head included */
};

struct blob_writer {
	struct store *store;          /* NULL: not begun, or ended */
	struct list_link link;        /* among the worker's writers of its size */
	struct list_link pause_link;  /* among those told to pause */
	struct list_link stream_link; /* among those with chunks in the journal */
	struct list blocks;           /* bytes not yet submitted, oldest first */
	struct list chunks;           /* in the journal or on the way there, in order */
	struct fiber_wait *waiting;   /* a fiber of it that waits */
	/* Called from the loop after blob_write said ERR_BUSY, once, when it may go on. May be NULL. */
	void (*resume)(struct blob_writer *b);
	uint64_t size;   /* all bytes so far */
	uint64_t ram;    /* of them in blocks */
	journal_pos low; /* oldest chunk */
	uint32_t chunk_count, in_flight;
	enum err err; /* sticky */
	uint16_t worker;
	uint8_t size_class;
};

/* Takes no memory yet. Zeroed writers are "not begun". */
void blob_begin(struct blob_writer *b, struct store *st);
/* Copies the bytes; never waits, so it may be called from `data`. OK; ERR_BUSY: taken, but the
 * budget is used up: read no more until resume(); ERR_IO, ERR_NOSPACE, ERR_NOMEM: the body has failed and
 * further bytes are dropped; the append will fail with the same error. */
enum err blob_write(struct blob_writer *b, slice bytes) must_use;
/* Fiber form: waits instead of saying ERR_BUSY. */
enum err blob_write_wait(struct blob_writer *b, slice bytes) must_use;
/* Forget it; never waits, also when chunks are in flight. Harmless when not begun or ended. */
void blob_drop(struct blob_writer *b);

/* Reads what was written so far, from the first byte: all of it goes to the journal first. (fiber or no
 * worker) One at a time of a worker; nobody writes meanwhile. ERR_CORRUPT, ERR_IO, and as blob_write. */
struct blob_again {
	void (*take)(void *arg, slice bytes);
	void *arg;
};
enum err blob_read_again(struct blob_writer *b, const struct blob_again *again) must_use;

/* Memory that goes with a body while it comes, on account of the same budget. Of the caller's worker.
 * Zeroed is "not begun"; it has ended when 0 bytes are counted. */
struct blob_aside {
	struct list_link link;
	struct store *store;
	/* The budget is used up, and nothing is larger: give the memory back and count 0 bytes. Comes from
	 * the loop, and from within calls of blob_write and blob_aside_count, of others' bodies too;
	 * must not wait. NULL: it cannot be had. */
	void (*give_up)(struct blob_aside *a);
	size_t bytes;
	uint16_t worker;
	uint8_t size_class;
};
/* So many bytes from now on; set store and give_up before. May call give_up, of this one too. */
void blob_aside_count(struct blob_aside *a, size_t bytes);

/* Small bodies that lie side by side in the journal, fetched with one read, for who reads many in a
 * row. The memory is the caller's and stays while readers use it; zeroed is empty. */
struct blob_ahead {
	char *buf;
	size_t cap;
	journal_pos from; /* of buf[0] */
	size_t len;
	uint64_t last; /* the last body that lies in it as a whole */
};
struct blob_coming {
	uint64_t id, size;
};

struct blob_reader {
	struct store *store;
	const struct blob_ahead *ahead; /* NULL: none */
	struct blob_ref ref;
	wall_ms at;      /* when it was stored */
	uint64_t offset; /* of the next byte */
	/* Where the parts stand; filled by blob_open. */
	uint32_t archive_segment; /* 0: in the journal */
	uint32_t deliver_len, meta_len, chunk_count, head_len, inline_at;
	uint64_t archive_at; /* offset of the body in the archive segment */
	struct journal_record record, chunk;
	uint64_t chunk_start, chunk_end; /* of the chunk last looked up, in the body */
	uint32_t chunk_next;             /* the one behind it */
	/* Checksums, running while the body is read in order. */
	bool in_order, front_summed;
	uint32_t crc, chunk_crc, want_crc;
};

/* May wait. The caller keeps the blob alive (a hold, or an index row) until it stops reading.
 * ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. A reader needs no close. r->ref says its size. */
enum err blob_open(struct blob_reader *r, struct store *st, uint64_t id) must_use;
/* The same, of a body that may lie in `ahead`, which must not change before the last blob_read. */
enum err blob_open_near(struct blob_reader *r, struct store *st, uint64_t id,
	const struct blob_ahead *ahead) must_use;
/* Before the first of some bodies that are going to be read in this order: has it and those behind it
 * in `ahead`, if that is worth it. May wait. Nothing depends on it. */
void blob_read_ahead(struct blob_ahead *ahead, struct store *st, const struct blob_coming *coming,
	size_t count);
static inline bool blob_is_ahead(const struct blob_ahead *ahead, uint64_t id)
{
	return ahead->len && id >= ahead->from && id <= ahead->last;
}
/* Bodies in the archive that are going to be read soon, in this order: the disk fetches them meanwhile, those
 * that lie side by side in one go. Zeroed is ready; blob_expect_end behind the last one. On a helper
 * thread; nothing depends on it. `bytes`: so much of each. */
struct blob_stretch {
	struct store *store;
	uint32_t segment;
	uint64_t from, end;
};
void blob_expect(struct blob_stretch *s, const struct blob_reader *r, uint64_t bytes);
void blob_expect_end(struct blob_stretch *s);
/* It is not in the journal any more: opening it reads an index, which may block. */
bool blob_is_archived(const struct store *st, uint64_t id);
/* Next bytes of the body into caller's memory; *out_len 0 at its end. From RAM it does not wait. A
 * read from begin to end has every checksum checked: ERR_CORRUPT comes at the latest with the end. A
 * small body costs one read when the buffer has room for it. */
enum err blob_read(struct blob_reader *r, void *buf, size_t cap, size_t *out_len) must_use;
/* Clamped to the size. Ends the check of checksums unless it goes to 0. */
void blob_seek(struct blob_reader *r, uint64_t offset);

#endif
