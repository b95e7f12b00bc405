/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_imap_verbs.c - walks the table: every verb in every state gives its handler or the documented
 * refusal; and what closes a connection. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "core/log.h"
#include "server/imap/imap_int.h"
#include "tests/server/mailbox_house.h"

static const char *const way_to[IMAP_STATES] = {
	[IMAP_NEW] = "",
	[IMAP_IN] = "l LOGIN alice@own.test secret\r\n",
	[IMAP_SELECTED] = "l LOGIN alice@own.test secret\r\ns SELECT INBOX\r\n",
};

/* Commands that are right for their verb. */
static const struct {
	const char *name, *line;
} lines[] = {
	{ "FETCH", "FETCH 1 FLAGS" },
	{ "STORE", "STORE 1 +FLAGS (\\Seen)" },
	{ "SEARCH", "SEARCH ALL" },
	{ "NOOP", "NOOP" },
	{ "IDLE", "IDLE" },
	{ "APPEND", "APPEND INBOX {4+}\r\na: b" },
	{ "COPY", "COPY 1 Sent" },
	{ "MOVE", "MOVE 1 Sent" },
	{ "EXPUNGE", "EXPUNGE" },
	{ "SORT", "SORT (DATE) UTF-8 ALL" },
	{ "THREAD", "THREAD REFERENCES UTF-8 ALL" },
	{ "SELECT", "SELECT Sent" },
	{ "EXAMINE", "EXAMINE Sent" },
	{ "STATUS", "STATUS Sent (MESSAGES)" },
	{ "LIST", "LIST \"\" *" },
	{ "LSUB", "LSUB \"\" *" },
	{ "CAPABILITY", "CAPABILITY" },
	{ "LOGIN", "LOGIN alice@own.test secret" },
	{ "AUTHENTICATE", "AUTHENTICATE PLAIN AGFsaWNlQG93bi50ZXN0AHNlY3JldA==" },
	{ "STARTTLS", "STARTTLS" },
	{ "LOGOUT", "LOGOUT" },
	{ "ENABLE", "ENABLE CONDSTORE" },
	{ "ID", "ID NIL" },
	{ "NAMESPACE", "NAMESPACE" },
	{ "COMPRESS", "COMPRESS DEFLATE" },
	{ "CREATE", "CREATE new" },
	{ "DELETE", "DELETE Junk" },
	{ "RENAME", "RENAME Junk old" },
	{ "SUBSCRIBE", "SUBSCRIBE Sent" },
	{ "UNSUBSCRIBE", "UNSUBSCRIBE Sent" },
	{ "GETQUOTA", "GETQUOTA alice@own.test" },
	{ "GETQUOTAROOT", "GETQUOTAROOT INBOX" },
	{ "SETQUOTA", "SETQUOTA alice@own.test (STORAGE 1)" },
	{ "CHECK", "CHECK" },
	{ "CLOSE", "CLOSE" },
	{ "UNSELECT", "UNSELECT" },
};

static void come_in(const char *how)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_IMAP, "imap: { plain_login: true }\n");
	house_deliver(SLICE("Subject: x\r\n\r\ny\r\n"));
	house_connect("127.0.0.1");
	house_send(slice_str(how));
	house_replies();
}

static void leave(void)
{
	house_close();
	house_done();
}

static slice ask(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "t %s\r\n", command);
	house_send(slice_str(line));
	return house_replies();
}

static bool says(slice replies, const char *what)
{
	return slice_search(replies, slice_str(what)) >= 0;
}

static void try_verb(size_t i, enum imap_state state)
{
	const struct imap_verb *verb = imap_verb_find(slice_str(lines[i].name));
	const char *name = lines[i].name;
	slice got;

	come_in(way_to[state]);
	cr_assert(verb, "%s is not in the table", name);
	cr_assert_eq(((struct imap_session *)house_session())->state, state, "%s %d", name, state);
	got = ask(lines[i].line);
	if (verb->states & 1 << state)
		cr_assert(!says(got, "t BAD"), "%s in state %d was refused: %.*s", name, state,
			SLICE_ARG(got));
	else
		cr_assert(says(got, state == IMAP_NEW ? "t BAD Log in first\r\n" : "t BAD "),
			"%s in state %d was taken: %.*s", name, state, SLICE_ARG(got));
	house_close();
}

Test(imap_verbs, every_verb_in_every_state)
{
	cr_assert_eq(imap_verb_count, array_len(lines));
	for (size_t i = 0; i < array_len(lines); i++)
		for (int state = IMAP_NEW; state < IMAP_STATES; state++)
			try_verb(i, (enum imap_state)state);
	house_done();
}

Test(imap_verbs, uid_only_where_the_row_says_so)
{
	char line[512];

	for (size_t i = 0; i < imap_verb_count; i++) {
		slice got;

		come_in(way_to[IMAP_SELECTED]);
		snprintf(line, sizeof(line), "UID %s", imap_verbs[i].name);
		got = ask(line);
		cr_assert_eq(says(got, "t BAD This command has no UID form"),
			!(imap_verbs[i].flags & IMAP_V_UID), "%s: %.*s", line, SLICE_ARG(got));
		house_close();
	}
	house_done();
}

Test(imap_verbs, ten_bad_commands_in_a_row_close)
{
	come_in(way_to[IMAP_IN]);
	for (int i = 0; i < 9; i++)
		cr_assert(says(ask("NONSENSE"), "t BAD Unknown command"));
	cr_assert(says(ask("NOOP"), "t OK"), "one that is right begins anew");
	for (int i = 0; i < 9; i++)
		cr_assert(says(ask("FETCH"), "t BAD"));
	cr_assert(says(ask("NONSENSE"), "* BYE"));
	cr_assert(house_closed());
	leave();
}

Test(imap_verbs, no_login_in_clear)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_IMAP, NULL);
	house_connect("192.0.2.1");
	cr_assert(says(house_replies(), "LOGINDISABLED"));
	cr_assert(says(ask("LOGIN alice@own.test secret"), "t NO [PRIVACYREQUIRED]"));
	cr_assert(says(ask("AUTHENTICATE PLAIN"), "t NO [PRIVACYREQUIRED]"));
	leave();
}

Test(imap_verbs, who_has_not_logged_in_asks_for_little)
{
	come_in("");
	for (int i = 0; i < 100; i++)
		cr_assert(says(ask("NOOP"), "t OK"));
	cr_assert(says(ask("NOOP"), "* BYE"));
	cr_assert(house_closed());
	leave();
}

Test(imap_verbs, an_account_has_so_many_sessions)
{
	log_set_level(LOG_ERROR);
	house_open(SERVICE_IMAP, "imap: { plain_login: true, sessions: 1 }\n");
	for (int i = 0; i < 3; i++) { /* one after the other is fine */
		house_connect("127.0.0.1");
		cr_assert(says(ask("LOGIN alice@own.test secret"), "t OK"));
		house_hang_up();
	}
	leave();
}

Test(imap_verbs, a_stopping_door_says_bye)
{
	struct door_session *ds;

	come_in(way_to[IMAP_SELECTED]);
	house.door.stopping = true;
	ds = container_of(list_first(&house.door.sessions), struct door_session, link);
	ds->stop(ds, DOOR_STOP_SOON);
	house_clock(0);
	house_send(SLICE(""));
	cr_assert(says(house_replies(), "* BYE"));
	cr_assert(house_closed());
	leave();
}

Test(imap_verbs, idle_for_too_long_says_bye)
{
	come_in(way_to[IMAP_IN]);
	house_clock(29 * 60000);
	cr_assert(says(ask("NOOP"), "t OK"));
	house_clock(29 * 60000);
	cr_assert(!house_closed());
	house_clock(2 * 60000);
	cr_assert(says(house_replies(), "* BYE Autologout"));
	cr_assert(house_closed());
	leave();
}

Test(imap_verbs, between_commands_nothing_is_held)
{
	struct imap_session *s;

	come_in(way_to[IMAP_SELECTED]);
	ask("STATUS INBOX (MESSAGES)");
	s = house_session();
	cr_assert(!s->run && !s->arena.chunk);
	ask("IDLE");
	cr_assert(!s->run && !s->arena.chunk && s->idle_tag);
	cr_assert_leq(sizeof(*s) + sizeof(*s->box), (size_t)1024);
	cr_assert(says(ask("x"), "BAD Only DONE"));
	leave();
}
