/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conn_int.h - the inside of a connection, for the conn files only.
 *
 * Everything that may have changed is marked (conn_mark) and looked at once at the end of the
 * turn (settle, in conn.c): offer unread bytes, send, read on, close. So no conn_ call ever
 * calls back. */
#ifndef CORE_CONN_INT_H
#define CORE_CONN_INT_H

#include "core/bufs.h"
#include "core/conn.h"
#include "core/conn_tls.h"
#include "core/listen.h"
#include "core/worker_int.h"

/* Bytes kept for somebody: buf[from .. from + len). */
struct conn_hold {
	char *buf;
	size_t cap;
};

enum { CHUNK_IOVS = 8 };

/* A piece of the send queue; the header of the first one also describes the send in flight. */
struct conn_chunk {
	struct conn_chunk *next;
	size_t cap; /* of the whole buffer, as bufs_get said */
	size_t len, sent;
	struct msghdr msg;
	struct iovec iov[CHUNK_IOVS];
	char bytes[];
};

enum conn_tls_state { TLS_NONE, TLS_WANTED, TLS_HANDSHAKE, TLS_READY };

struct conn_tls {
	struct tls_session *session;
	struct out plain; /* what the owner writes, made a record at the end of the turn */
	size_t plain_cap;
	struct conn_hold hold; /* records not yet decrypted */
	slice raw;             /* unread, in `hold` or in a receive buffer */
	bool more;             /* the session may hold decrypted bytes */
};

enum conn_end { END_NOT, END_FLUSH, END_LINGER, END_NOW };

struct conn {
	struct worker *w;
	const struct conn_ops *ops; /* NULL: only fibers read */
	void *owner;
	struct list_link link, dirty;
	struct op recv_op, send_op;
	struct timer deadline;
	struct addr peer;
	struct listener *listener;
	uint64_t client_hash;

	slice in; /* unread, in `hold` or in a receive buffer */
	struct conn_hold hold;
	uint32_t hold_max;
	uint32_t lingered; /* bytes thrown away while closing */
	size_t eaten;      /* by conn_consume, in the present `data` */

	struct out wire; /* writes to the last chunk */
	struct conn_chunk *head, *tail;
	size_t queued; /* unsent bytes of the chunks, without what wire holds beyond tail->len */
	uint32_t low, high;

	struct conn_tls *tls;
	struct conn_deflate *deflate; /* between tls and the owner; NULL: none */
	struct fiber *fiber;
	struct fiber_wait *reader, *writer;
	size_t writer_mark; /* wake the writer when no more than this is pending */

	int fd;
	enum err why;
	uint8_t tls_state, end;
	bool paused, eof, over_high, in_data, shut, said_bye, released, dialled;
};

_Static_assert(sizeof(struct conn) <= 512, "an idle connection is a few hundred bytes and a timer");

static inline void conn_mark(struct conn *c)
{
	if (!list_has(&c->dirty))
		list_push(&c->w->conns_dirty, &c->dirty);
}

static inline bool conn_dead(const struct conn *c)
{
	return c->end == END_NOW;
}

/* End without the owner having asked; after flushing, or at once. */
void conn_finish(struct conn *c, enum err why);
void conn_fail(struct conn *c, enum err why);

/* conn_in.c */
enum err conn_hold_append(struct conn *c, struct conn_hold *hold, slice *unread, slice bytes);
/* Whatever of *unread does not lie in the hold is copied there; an empty hold is given back. */
enum err conn_hold_keep(struct conn *c, struct conn_hold *hold, slice *unread);
void conn_hold_free(struct conn *c, struct conn_hold *hold, slice *unread);
/* `data` may be called, or a fiber waits for bytes. */
bool conn_may_deliver(const struct conn *c);
bool conn_accepts(const struct conn *c);
/* Bytes of the wire or of TLS, to be unpacked if need be; and those for the owner. */
void conn_feed(struct conn *c, slice bytes);
void conn_deliver(struct conn *c, slice bytes);
void conn_offer(struct conn *c);
void conn_received(struct op *op, int res);
bool conn_wants_read(const struct conn *c);

/* conn_out.c */
void conn_out_init(struct conn *c);
void conn_out_flush(struct conn *c);
void conn_out_free(struct conn *c);
/* A chunk that was filled elsewhere, behind all that was written. */
void conn_out_link(struct conn *c, struct conn_chunk *chunk, size_t len);
/* What is written next to the wire stands in one chunk. Without memory it does not. */
void conn_out_room(struct conn *c, size_t bytes);
void conn_sent(struct op *op, int res);

/* conn_deflate.c: only when there is one, but conn_deflate_free. */
struct out *conn_deflate_out(struct conn *c);
size_t conn_deflate_pending(const struct conn *c);
void conn_deflate_flush(struct conn *c);
void conn_deflate_feed(struct conn *c, slice bytes);
/* Go on unpacking what was kept, and how much that is. */
void conn_deflate_offer(struct conn *c);
size_t conn_deflate_held(const struct conn *c);
/* Not all that came was unpacked: conn_deflate_offer goes on, at the end of the next turn. */
bool conn_deflate_paused(const struct conn *c);
void conn_deflate_free(struct conn *c);

/* conn_tls.c */
struct out *conn_tls_out(struct conn *c);
void conn_tls_flush(struct conn *c);
/* Records of all of it, behind what was written. */
void conn_tls_put(struct conn *c, slice bytes);
void conn_tls_feed(struct conn *c, slice raw);
/* Go on decrypting what was kept. */
void conn_tls_offer(struct conn *c);
void conn_tls_begin(struct conn *c);
void conn_tls_bye(struct conn *c);
void conn_tls_free(struct conn *c);

#endif
