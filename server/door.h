/* SPDX-License-Identifier: GPL-2.0-or-later */
/* door.h - what a session knows of the house: its listener, and the configuration in force.
 *
 * A setup is one loaded configuration with what was made from it. It is shared by all workers and
 * reference-counted: sessions hold the one they began with, a reload makes another. A door is one
 * listener on one worker. It is the service's, and lives until its last session has gone. Nothing
 * here fails. */
#ifndef SERVER_DOOR_H
#define SERVER_DOOR_H

#include "core/base/base.h"
#include "server/options.h"

struct binding;
struct listener;
struct login;
struct rate;
struct store;
struct tls_client;
struct tls_server;
struct worker;

struct setup {
	_Atomic unsigned refs;
	struct conf *conf;
	const struct service_options *service;
	const struct smtp_options *smtp;
	const struct auth_options *auth;
	const struct pop3_options *pop3;
	const struct imap_options *imap;
	struct tls_server *tls; /* NULL: no certificates */
	struct tls_client *tls_client;
};
/* Reads the file; what is wrong is appended to `errors`, one a line, all at once. Blocks. */
enum err setup_load(const char *path, struct out *errors, struct setup **out) must_use;
/* The same without certificates, for commands that serve nobody. */
enum err setup_load_options(const char *path, struct out *errors, struct setup **out) must_use;
/* Where the control socket is: the option, or control.sock in the data folder. Too long a path is cut,
 * and then no socket's path. */
enum { SETUP_CONTROL_PATH = 128 };
const char *setup_control_path(const struct service_options *o, char out[SETUP_CONTROL_PATH]);
/* The option tables of the whole program. */
struct conf_schema;
extern const struct conf_schema setup_schema;
struct setup *setup_hold(struct setup *setup);
void setup_put(struct setup *setup); /* NULL is harmless */
/* Started as root, become the configured user: what touches the data folder does, so that everything in
 * it is that user's. Complaints are appended to `why`. */
enum err setup_become_user(const struct setup *setup, struct out *why) must_use;

struct door {
	struct list_link link; /* in its worker's list */
	struct worker *w;
	struct setup *setup;              /* of the next session; held */
	const struct listen_options *row; /* of that setup */
	enum door_kind service;
	struct listener *listener;
	const struct binding *binding; /* whose sockets it listens on */
	struct store *store;
	struct login *login;
	struct rate *rate;    /* new connections by client, of all workers */
	struct arena scratch; /* of the verb that is running; empty between two */
	struct list sessions; /* struct door_session */
	unsigned session_count;
	bool stopping; /* finish what is in flight, take nothing new */
	bool detached; /* no listener any more: free it with the last session */
};

/* Say goodbye now if idle, else when the work is done; now if idle, else abort: its account may not be
 * logged in any more; abort. */
enum door_stop { DOOR_STOP_SOON, DOOR_STOP_EXPELLED, DOOR_STOP_NOW };

/* The head of every session, whatever it speaks. */
struct conn;
struct exchange;
struct door_session {
	struct list_link link;
	struct door *door;
	struct conn *conn;
	struct setup *setup; /* held */
	/* server/entry.c's, until the greeting. */
	void (*ready)(struct door_session *ds);
	msec entry_ms;
	unsigned id;               /* for log lines; of all protocols one row of numbers */
	struct exchange *exchange; /* a login under way */
	bool tls;
	void (*stop)(struct door_session *ds, enum door_stop how);
	/* The account that is logged in, as stored; empty: nobody. The session's memory. */
	slice (*who)(const struct door_session *ds);
};
void door_join(struct door *door, struct door_session *ds);
/* The door may be gone afterwards. */
void door_leave(struct door_session *ds);
/* Without sessions, on its worker. */
void door_free(struct door *door);

#endif
