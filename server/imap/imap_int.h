/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imap_int.h - what the files of the IMAP session share, and nobody else may include.
 *
 * imap_session.c cuts commands, reads the table of verbs and answers; each family of commands has a
 * file. A handler finds syntax, state, login and TLS settled by its row; it runs on the connection's
 * fiber (unless the row says IMAP_V_NOW), writes untagged responses to imap_out(s), says how the
 * command ended by one of the imap_ok/no/bad calls, and returns. What others changed is then told
 * and the tagged line written by the dispatcher. All on the connection's worker. */
#ifndef SERVER_IMAP_IMAP_INT_H
#define SERVER_IMAP_IMAP_INT_H

#include "core/conn.h"
#include "proto/imap/args.h"
#include "proto/imap/command.h"
#include "server/door.h"
#include "server/errmap.h"
#include "server/imap/imap_parts.h"
#include "server/imap/imap_session.h"
#include "server/imap/imap_view.h"

enum imap_state { IMAP_NEW, IMAP_IN, IMAP_SELECTED, IMAP_STATES };

/* What the next bytes are. */
enum imap_input {
	IMAP_IN_COMMAND,
	IMAP_IN_AUTH,    /* a response of a login exchange */
	IMAP_IN_IDLE,    /* DONE */
	IMAP_IN_MESSAGE, /* of APPEND: imap_take_literal */
	IMAP_IN_NOTHING, /* closing: drop what comes */
};

/* By ENABLE, or by a command that implies it. */
enum imap_enabled {
	IMAP_EN_REV2 = 1 << 0,
	IMAP_EN_CONDSTORE = 1 << 1, /* FETCH responses carry MODSEQ */
	IMAP_EN_QRESYNC = 1 << 2,   /* VANISHED in place of EXPUNGE */
	IMAP_EN_UTF8 = 1 << 3,
};

/* What the sessions of a worker share. */
struct imap_station {
	struct map views; /* struct imap_view */
	/* Arenas of commands that ended, each with one chunk: so that what lives for a moment does not
	 * stand between what lives for long. */
	struct arena spare[16];
	unsigned spares;
	struct fiber_mutex kept; /* imap_kept_deliver's */
};
struct imap_station *imap_station_of(struct worker *w);

struct imap_verb;
struct imap_append_state; /* imap_append.c's */

/* The command that runs; the first thing in s->arena, gone with the tagged line. */
struct imap_run {
	slice tag;
	const struct imap_verb *verb;
	bool uid; /* came behind UID */
	bool open; /* the handler returned, the command goes on: more bytes are to come. Whoever takes
	            * them calls imap_finish */
	struct imap_part part; /* with `message`: its literal is next */
	struct imap_limits limits;
	union imap_args args;
	/* The tagged line. */
	enum { IMAP_OK, IMAP_NO, IMAP_BAD } answer;
	slice code; /* without brackets; may be empty */
	slice text;
	bool fatal;
	struct tls_session *tls; /* of STARTTLS: begins behind the tagged line */
	bool compress;           /* so does COMPRESS */
};

struct imap_session {
	struct door_session head;
	struct imap_reader reader;
	struct arena arena;   /* of the command that runs; empty between two */
	struct imap_run *run; /* in it; NULL: none */
	struct imap_box *box; /* the selected mailbox; NULL: none */
	struct imap_append_state *append;
	uint64_t account;
	char *name;     /* of the account, and behind it what is kept of it; NULL before login */
	char *idle_tag; /* of the IDLE that goes on */
	struct seat *seat;
	modseq written; /* the last change of ours: imap_wrote */
	uint32_t commands;
	uint16_t junk;        /* commands before the login */
	uint8_t bad;          /* in a row */
	uint8_t state, input; /* enum imap_state, enum imap_input */
	uint8_t enabled;      /* enum imap_enabled */
	bool admin, logged, waking, bye;
};

/* --- imap_session.c: the table and the answers --- */
struct imap_verb {
	const char *name;
	imap_parser *parse;
	uint8_t states; /* mask of 1 << enum imap_state */
	uint16_t flags; /* enum imap_verb_flag */
	enum verdict (*run)(struct imap_session *s, const union imap_args *args);
};
enum imap_verb_flag {
	IMAP_V_NOW = 1 << 0,  /* never waits: runs on the loop, without a fiber */
	IMAP_V_UID = 1 << 1,  /* may stand behind UID */
	IMAP_V_SEQS = 1 << 2, /* speaks in sequence numbers: behind it, unless it came with UID, no
	                         * EXPUNGE is told (RFC 9051 7.5.1) */
	IMAP_V_WRITES = 1 << 3,  /* wants the selected mailbox read-write */
	IMAP_V_CLEAR = 1 << 4,   /* not under TLS */
	IMAP_V_READS = 1 << 5,   /* waits until the session's own changes can be read */
	IMAP_V_SILENT = 1 << 6,  /* nothing is told of others' changes behind it */
	IMAP_V_JUNK = 1 << 7,    /* brings no login closer */
	IMAP_V_MESSAGE = 1 << 8, /* takes message literals */
	IMAP_V_LOGIN = 1 << 9,   /* a way in: not in clear, where that is not allowed */
};
extern const struct imap_verb imap_verbs[];
extern const size_t imap_verb_count;
const struct imap_verb *imap_verb_find(slice name);

/* Where untagged responses go. Big ones: imap_out.h. */
static inline struct out *imap_out(struct imap_session *s)
{
	return conn_out(s->head.conn);
}
static inline struct store *imap_store_of(const struct imap_session *s)
{
	return s->head.door->store;
}
static inline bool imap_is(const struct imap_session *s, unsigned enabled)
{
	return s->enabled & enabled;
}
/* Strings and mailbox names may be UTF-8. */
static inline bool imap_utf8(const struct imap_session *s)
{
	return s->enabled & (IMAP_EN_REV2 | IMAP_EN_UTF8);
}

/* How the command ended; the last call counts. They return DONE, for `return imap_ok(s)`. `code` goes
 * between brackets and may be formatted into s->arena; texts are static or in s->arena. */
enum verdict imap_ok(struct imap_session *s);
enum verdict imap_ok_code(struct imap_session *s, slice code);
enum verdict imap_no(struct imap_session *s, enum imap_code code, const char *text);
enum verdict imap_bad(struct imap_session *s, const char *why);
/* NO in the words of errmap. An error that the peer's end caused closes. */
enum verdict imap_no_fault(struct imap_session *s, enum fault fault);
enum verdict imap_no_err(struct imap_session *s, enum err err);
/* The end of a command that stayed `open`: tells, answers, frees. On the fiber, or on the loop when
 * nothing has to be waited for. */
void imap_finish(struct imap_session *s, enum verdict verdict);
/* The command is over without a tagged line, or after it: its memory goes. */
void imap_end_run(struct imap_session *s);
/* "* BYE ..." and close. */
void imap_bye(struct imap_session *s, const char *text);
void imap_close(struct imap_session *s);
void imap_set_deadline(struct imap_session *s);
/* A change of ours was made at `pos`: the next reading command waits for it. imap_own_change: moreover
 * rows of the open mailbox with changed == pos were told by the handler, or were not to be (.SILENT):
 * they are not told as what others did. */
void imap_wrote(struct imap_session *s, modseq pos);
void imap_own_change(struct imap_session *s, modseq pos);
/* The callback of conn. */
size_t imap_on_data(struct conn *c, slice in);

/* --- imap_log.c --- */
enum imap_event {
	IMAP_E_CONNECT,
	IMAP_E_DISCONNECT,
	IMAP_E_LOGIN,
	IMAP_E_REFUSED,
};
void imap_log_connect(struct imap_session *s);
void imap_log_disconnect(struct imap_session *s, enum err why);
void imap_log_login(struct imap_session *s, slice mechanism);
void imap_log_refused(struct imap_session *s, const char *what, slice detail);

#endif
