/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pop3_verbs.c - the verbs that need nothing but what the session has. */
#include "server/pop3/pop3_int.h"

#include "core/tls.h"
#include "server/entry.h"

static bool may_start_tls(const struct pop3_session *s)
{
	return !s->head.tls && s->head.setup->tls && s->head.door->row->tls;
}

/* RFC 2449, 5034, 6856, 3206, 2595: in both states the same. EXPIRE NEVER: a server that deletes
 * nothing by itself. */
enum verdict pop3_do_capa(struct pop3_session *s, slice rest)
{
	struct out *o = conn_out(s->head.conn);
	unsigned mechs = pop3_auth_mechs(s);

	out_str(o,
		"+OK Capabilities follow\r\n"
		"TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"
		"EXPIRE NEVER\r\nLANG\r\n");
	out_printf(o, "LOGIN-DELAY %lld\r\n",
		(long long)(s->head.setup->pop3->login_delay_ms + 999) / 1000);
	if (mechs) {
		out_str(o, "USER\r\nSASL");
		sasl_put_mechs(o, mechs);
		out_str(o, "\r\n");
	}
	if (may_start_tls(s))
		out_str(o, "STLS\r\n");
	out_str(o,
		"UTF8 USER\r\n"
		"IMPLEMENTATION ringpost\r\n.\r\n");
	return DONE;
}

/* RFC 6856 3: our texts are English. */
enum verdict pop3_do_lang(struct pop3_session *s, slice rest)
{
	if (pop3_no_args(rest)) {
		out_str(conn_out(s->head.conn),
			"+OK Languages follow\r\nen English\r\ni-default Default\r\n.\r\n");
		return DONE;
	}
	rest = slice_trim(rest);
	if (slice_eq_nocase(rest, SLICE("en")) || slice_eq_nocase(rest, SLICE("*")))
		return pop3_ok(s, "en Our texts are English");
	if (slice_eq_nocase(rest, SLICE("i-default")))
		return pop3_ok(s, "i-default Our texts are English");
	return pop3_error(s, "We only speak English");
}

/* RFC 6856 2.1. Messages go out as they came in, with and without it: who stored an 8-bit header
 * byte for byte may not get another one back. */
enum verdict pop3_do_utf8(struct pop3_session *s, slice rest)
{
	return pop3_ok(s, "UTF-8 it is");
}

/* RFC 2595 4. What the client said in clear is forgotten. */
enum verdict pop3_do_stls(struct pop3_session *s, slice rest)
{
	struct tls_session *tls;

	if (s->head.tls)
		return pop3_refuse(s, FAULT_TLS_ACTIVE);
	if (!may_start_tls(s))
		return pop3_refuse(s, FAULT_NOT_IMPLEMENTED);
	tls = entry_tls(&s->head);
	if (!tls)
		return pop3_refuse(s, FAULT_TLS_UNAVAILABLE);
	pop3_ok(s, "Begin TLS");
	s->user = SLICE("");
	s->head.tls = true;
	conn_start_tls(s->head.conn, tls);
	return DONE;
}

/* The greeting carries no timestamp: the server would have to keep passwords in clear. */
enum verdict pop3_do_apop(struct pop3_session *s, slice rest)
{
	return pop3_refuse(s, FAULT_NOT_IMPLEMENTED);
}

/* The UPDATE state. What could not be removed is told, and stays. */
static void quit(struct conn *c)
{
	struct pop3_session *s = conn_owner(c);

	if (pop3_drop_update(s))
		out_str(conn_out(c), "-ERR [SYS/TEMP] Some messages were not removed\r\n");
	else
		pop3_ok(s, "Goodbye");
	pop3_close(s);
}

enum verdict pop3_do_quit(struct pop3_session *s, slice rest)
{
	if (s->state == POP3_AUTHORIZATION || !s->drop->deleted.count) {
		pop3_ok(s, "Goodbye");
		return CLOSE;
	}
	s->input = POP3_IN_NOTHING;
	(void)conn_run(s->head.conn, quit);
	return DONE;
}
