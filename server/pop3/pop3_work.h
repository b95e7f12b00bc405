/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_work.h - commands read ahead, between pop3_work.c, which gathers them and sends the answers, and
 * pop3_render.c, which makes those. Nobody else may include it.
 *
 * A work lives from the first command gathered until all are answered, and is its fiber's. */
#ifndef SERVER_POP3_POP3_WORK_H
#define SERVER_POP3_POP3_WORK_H

#include "proto/pop3/dots.h"
#include "server/pop3/pop3_int.h"
#include "store/blob.h"
#include "store/message.h"

enum {
	POP3_ITEMS_MAX = 256,          /* commands answered together */
	POP3_ROWS_MAX = 128,           /* of them looked up together */
	POP3_PIECE_BYTES = 256 * 1024, /* of answers: rendered and sent at a time */
	POP3_READ_BYTES = 16 * 1024,
	POP3_AHEAD_BYTES = 64 * 1024, /* of bodies that lie side by side */
};

enum pop3_item_kind {
	POP3_BAD_ARGS,
	POP3_NOOP,
	POP3_STAT,
	POP3_RSET,
	POP3_RETR,
	POP3_TOP,
	POP3_DELE,
	POP3_LIST,
	POP3_UIDL,
};

struct pop3_item {
	uint8_t kind;         /* enum pop3_item_kind */
	uint32_t number, uid; /* number 0: all, or none is needed */
	uint32_t lines;       /* of TOP */
};

/* What the index says of a message; slices lie in the work's arena. */
struct pop3_row {
	uint32_t uid;
	bool copy; /* of an older message with the same body */
	uint64_t blob, size;
	slice splice, uidl;
	struct blob_reader *archived; /* opened already; NULL: it lies in the journal */
};

struct pop3_work {
	struct pop3_session *session;
	struct pop3_item items[POP3_ITEMS_MAX];
	unsigned len, at;
	struct out out;      /* the piece */
	bool midway, broken; /* inside the item; broken: its answer had begun and cannot be ended */
	uint32_t next_uid;   /* of a listing */
	/* Of the messages that items[..rows_end] name, by uid. */
	struct pop3_row *rows;
	unsigned row_count, rows_end;
	enum err rows_err;
	struct arena arena;
	/* A message under way. */
	slice splice_left, read_left;
	struct blob_ahead ahead;
	struct blob_reader reader;
	struct pop3_dots dots;
	char read[POP3_READ_BYTES];
};

/* (fiber) The answers to what is next, as many as k->out takes. */
void pop3_fill(struct pop3_work *k);
/* Those that need nothing but the maildrop at hand: NOOP STAT RSET, and what was no command. */
void pop3_put_small(struct pop3_session *s, enum pop3_item_kind kind, struct out *o);

#endif
