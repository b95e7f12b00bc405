/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_int.h - what the files of the POP3 session share, and nobody else may include.
 *
 * pop3_session.c cuts lines and dispatches, pop3_verbs.c answers what needs no storage, pop3_drop.c
 * opens and updates the maildrop, which pop3_shelf.c shares and pop3_marks.c marks, pop3_work.c reads from
 * it, pop3_login.c logs in, pop3_start.c begins and ends connections, pop3_log.c counts and logs. All run on the connection's worker, but what
 * pop3_render.c asks of the index, on helper threads while the session waits. */
#ifndef SERVER_POP3_POP3_INT_H
#define SERVER_POP3_POP3_INT_H

#include "core/base/map.h"
#include "core/base/runs.h"
#include "core/conn.h"
#include "proto/pop3/command.h"
#include "proto/smtp/command.h"
#include "server/door.h"
#include "server/errmap.h"
#include "server/exchange.h"
#include "server/pop3/pop3_session.h"
#include "store/mailbox.h"

/* RFC 1939 3; what a verb row's `states` is a mask of. UPDATE lasts as long as QUIT runs. */
enum pop3_state { POP3_AUTHORIZATION, POP3_TRANSACTION, POP3_STATES };

/* What the next bytes are. */
enum pop3_input { POP3_IN_LINE, POP3_IN_AUTH, POP3_IN_NOTHING };

/* What ends a message whose last line is open. */
enum { POP3_LINE_END = 2 };

struct pop3_place;

/* INBOX as it was at some moment; of all sessions of a worker that saw it so. Never changes. */
struct pop3_snapshot {
	struct list_link link;
	struct pop3_place *place;
	struct runs uids; /* message numbers are ranks in it */
	uint64_t bytes;   /* as they are sent */
	bool open_ends;   /* some are sent with a line end more than they have */
	uint32_t uid_validity, uid_next, messages;
	modseq as_of; /* it contains everything before */
	uint32_t refs;
};

/* Message numbers; a zeroed one has none. */
struct pop3_marks {
	uint64_t **blocks;
	uint32_t len, count;
};

/* What a session adds. */
struct pop3_drop {
	uint64_t account;
	struct pop3_snapshot *snap; /* held */
	struct pop3_marks deleted;  /* by DELE */
	uint64_t deleted_bytes;
};

struct pop3_work; /* commands read ahead that need the store: pop3_work.c */
struct seat;

struct pop3_session {
	struct door_session head;
	struct arena arena;     /* of the connection: the names below */
	struct pop3_drop *drop; /* NULL before the login */
	struct pop3_work *work; /* NULL: nothing is read ahead */
	struct seat *seat;
	slice user;     /* of USER */
	slice password; /* of PASS, while it is checked */
	slice account;  /* once logged in */
	unsigned id;    /* for log lines */
	uint32_t retrieved, removed;
	uint16_t errors, early; /* commands refused; commands before the login */
	uint8_t state, input;   /* enum pop3_state, enum pop3_input */
	bool logged;
	struct smtp_lines lines;
};

/* --- pop3_session.c --- */
struct pop3_verb {
	const char *name;
	uint8_t states; /* mask of 1 << enum pop3_state */
	uint8_t flags;  /* enum pop3_verb_flag */
	enum verdict (*run)(struct pop3_session *s, slice rest);
};
enum pop3_verb_flag {
	POP3_V_STORE = 1 << 0, /* joins the commands read ahead: answered together, in order */
	POP3_V_LAST = 1 << 1,  /* nothing may stand behind it in what the client sent */
	POP3_V_BARE = 1 << 2,  /* takes no arguments */
};
extern const struct pop3_verb pop3_verbs[];
extern const size_t pop3_verb_count;
const struct pop3_verb *pop3_verb_find(slice name);

enum verdict pop3_ok(struct pop3_session *s, const char *text);
enum verdict pop3_refuse(struct pop3_session *s, enum fault fault);
enum verdict pop3_error(struct pop3_session *s, const char *text);
void pop3_say_goodbye(struct pop3_session *s, enum fault fault);
/* The deadline of the next command, or of what this one waits for. */
void pop3_arm(struct pop3_session *s);
/* A command that ran on a fiber has ended: wait for the next one, unless the door closes. */
void pop3_go_on(struct pop3_session *s);
size_t pop3_on_data(struct conn *c, slice in);

/* --- pop3_verbs.c --- */
enum verdict pop3_do_capa(struct pop3_session *s, slice rest);
enum verdict pop3_do_lang(struct pop3_session *s, slice rest);
enum verdict pop3_do_utf8(struct pop3_session *s, slice rest);
enum verdict pop3_do_stls(struct pop3_session *s, slice rest);
enum verdict pop3_do_quit(struct pop3_session *s, slice rest);
enum verdict pop3_do_apop(struct pop3_session *s, slice rest);

/* --- pop3_login.c --- */
enum verdict pop3_do_user(struct pop3_session *s, slice rest);
enum verdict pop3_do_pass(struct pop3_session *s, slice rest);
enum verdict pop3_do_auth(struct pop3_session *s, slice rest);
size_t pop3_take_auth(struct pop3_session *s, slice in, bool *stop);
unsigned pop3_auth_mechs(const struct pop3_session *s);

/* --- pop3_drop.c --- */
/* (fiber) Everything delivered before is in it. */
enum fault pop3_drop_open(struct pop3_session *s, uint64_t account, slice domain);
/* (fiber) Remove what is marked: the UPDATE state. */
enum err pop3_drop_update(struct pop3_session *s);
void pop3_drop_free(struct pop3_session *s);
uint32_t pop3_drop_count(const struct pop3_drop *d);
/* The uid of a message that is there and not marked; 0: none. */
uint32_t pop3_drop_uid(const struct pop3_drop *d, uint32_t number);

/* --- pop3_shelf.c --- */
/* (fiber) INBOX now, with everything delivered before; one reference. */
enum err pop3_snapshot_get(struct door *door, uint64_t account,
	struct pop3_snapshot **out) must_use;
/* NULL is harmless. */
void pop3_snapshot_put(struct pop3_snapshot *snap);

/* --- pop3_marks.c: numbers from 1 to `most`, which is the same in all calls --- */
/* False: no memory. */
bool pop3_marks_add(struct pop3_marks *m, uint32_t number, uint32_t most) must_use;
bool pop3_marks_has(const struct pop3_marks *m, uint32_t number);
/* The first one >= from; 0: there is none. */
uint32_t pop3_marks_next(const struct pop3_marks *m, uint32_t from);
void pop3_marks_done(struct pop3_marks *m);

/* --- pop3_work.c: RETR TOP DELE LIST UIDL, and STAT NOOP RSET between them --- */
enum verdict pop3_do_retr(struct pop3_session *s, slice rest);
enum verdict pop3_do_top(struct pop3_session *s, slice rest);
enum verdict pop3_do_dele(struct pop3_session *s, slice rest);
enum verdict pop3_do_list(struct pop3_session *s, slice rest);
enum verdict pop3_do_uidl(struct pop3_session *s, slice rest);
enum verdict pop3_do_stat(struct pop3_session *s, slice rest);
enum verdict pop3_do_noop(struct pop3_session *s, slice rest);
enum verdict pop3_do_rset(struct pop3_session *s, slice rest);
/* Refused, in its turn. */
enum verdict pop3_bad_args(struct pop3_session *s);
bool pop3_work_full(const struct pop3_session *s);
/* Answer what was read ahead. As conn_run returns. */
bool pop3_work_run(struct pop3_session *s);
void pop3_work_drop(struct pop3_session *s);

/* --- pop3_start.c --- */
void pop3_close(struct pop3_session *s);

/* --- pop3_log.c --- */
enum pop3_event { POP3_E_CONNECT, POP3_E_DISCONNECT, POP3_E_LOGIN, POP3_E_REFUSED };
void pop3_log_connect(struct pop3_session *s);
void pop3_log_disconnect(struct pop3_session *s, enum err why);
void pop3_log_login(struct pop3_session *s, slice mechanism);
void pop3_log_refused(struct pop3_session *s, enum fault fault, slice what);

#endif
