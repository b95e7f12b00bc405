/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client machine against scripted servers: what it writes at each turn, and what it tells.
 *
 * A script is a list of turns: the server's bytes, then everything the client must have written before
 * the next turn. Each script is run with the server's bytes whole and one by one. */
#include "proto/smtp/client.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct turn {
	const char *server, *client;
};

struct script {
	const char *why;
	struct smtp_client_conf conf;
	const struct sasl_client_conf *login;
	struct {
		uint32_t rcpts;
		const char *body;
		bool unwaited, unknown;
	} mails[4];
	struct turn turns[12];
	const char *told;
	enum err lost; /* at the end of the script */
};

struct world {
	const struct script *script;
	struct smtp_client client;
	struct smtp_mail mail;
	struct smtp_txn txns[4];
	uint64_t accepted[4];
	size_t offered;
	struct arena arena;
	struct out wrote, told;
	char text[512];
	bool down;
};

static void give_rcpt(struct smtp_txn *txn, uint32_t i, struct smtp_rcpt *out)
{
	static const char *const names[] = { "r0", "r1", "r2", "r3" };

	(void)txn;
	out->to.local = slice_str(names[i % 4]);
	out->to.domain = SLICE("d");
}

static size_t txn_number(const struct world *w, const struct smtp_txn *txn)
{
	return (size_t)(txn - w->txns);
}

static void offer(struct world *w)
{
	size_t i = w->offered;

	if (i == array_len(w->txns) || !w->script->mails[i].rcpts)
		return;
	w->offered++;
	w->txns[i] = (struct smtp_txn){
		.mail = &w->mail,
		.rcpt_count = w->script->mails[i].rcpts,
		.rcpt = give_rcpt,
		.body_bytes = w->script->mails[i].unknown ? SMTP_BODY_UNKNOWN :
							    strlen(w->script->mails[i].body),
		.unwaited_ok = w->script->mails[i].unwaited,
		.accepted = w->script->conf.lmtp ? &w->accepted[i] : NULL,
	};
	smtp_client_offer(&w->client, &w->txns[i]);
}

static void tell(struct world *w, enum smtp_event event, const struct smtp_client_event *ev)
{
	static const char *const outcomes[] = { "not-tried", "refused", "nobody", "delivered",
		"answered", "lost" };
	int code = ev->reply ? ev->reply->code : 0;

	if (event == SMTP_EV_RCPT || event == SMTP_EV_FINAL)
		out_printf(&w->told, "%s%zu.%u=%d%s ", event == SMTP_EV_RCPT ? "rcpt" : "final",
			txn_number(w, ev->txn), ev->rcpt, code, ev->again ? "!" : "");
	else if (event == SMTP_EV_DONE)
		out_printf(&w->told, "done%zu=%s/%d/%d ", txn_number(w, ev->txn),
			outcomes[ev->outcome], (int)ev->phase, code);
	else if (event == SMTP_EV_DOWN && !w->down)
		out_printf(&w->told, "down=%s/%d ", err_name(ev->err), code);
}

static void write_body(struct world *w, const struct smtp_txn *txn)
{
	slice body = slice_str(w->script->mails[txn_number(w, txn)].body);

	smtp_client_body(&w->client, &body, &w->wrote);
	cr_assert_eq(body.len, 0);
	smtp_client_body_end(&w->client, &w->wrote);
}

static void run(struct world *w, slice *in)
{
	struct smtp_client_event ev;

	for (;;) {
		enum smtp_event event = smtp_client_step(&w->client, in, &w->wrote, &ev);

		tell(w, event, &ev);
		switch (event) {
		case SMTP_EV_WAIT:
			return;
		case SMTP_EV_STARTTLS:
			out_str(&w->told, "tls ");
			smtp_client_tls_done(&w->client);
			break;
		case SMTP_EV_READY:
			offer(w);
			break;
		case SMTP_EV_BODY:
			write_body(w, ev.txn);
			break;
		case SMTP_EV_DOWN:
			w->down = true;
			return;
		default:
			break;
		}
	}
}

/* Give the server's bytes in pieces of `step`, keeping what is left like a receive buffer. */
static void serve(struct world *w, slice bytes, size_t step)
{
	char buffer[4096];
	size_t held = 0;

	while (bytes.len) {
		size_t n = MIN(step, bytes.len);

		memcpy(buffer + held, bytes.ptr, n);
		bytes = slice_skip(bytes, n);
		slice in = slice_of(buffer, held + n);

		run(w, &in);
		memmove(buffer, in.ptr, in.len);
		held = in.len;
	}
}

static void play(const struct script *s, size_t step)
{
	struct world w = { .script = s, .wrote = out_heap(1 << 20), .told = out_heap(1 << 20) };
	slice none = { 0 };

	w.mail.from = (struct mail_addr){ .local = SLICE("a"), .domain = SLICE("s") };
	smtp_client_init(&w.client,
		&(struct smtp_client_setup){ .conf = &s->conf,
			.login = s->login,
			.arena = &w.arena,
			.text = w.text,
			.text_cap = sizeof(w.text) });
	for (size_t i = 0; i < array_len(s->turns) && s->turns[i].server; i++) {
		serve(&w, slice_str(s->turns[i].server), step);
		cr_assert(slice_eq(out_written(&w.wrote), slice_str(s->turns[i].client)),
			"%s: turn %zu by %zu: wrote\n%.*s", s->why, i, step,
			SLICE_ARG(out_written(&w.wrote)));
		w.wrote.len = 0;
	}
	if (s->lost) {
		smtp_client_lost(&w.client, s->lost);
		run(&w, &none);
	}
	cr_assert(slice_eq(out_written(&w.told), slice_str(s->told)), "%s: by %zu: told\n%.*s",
		s->why, step, SLICE_ARG(out_written(&w.told)));
	out_heap_done(&w.wrote);
	out_heap_done(&w.told);
	arena_done(&w.arena);
}

#define NAME .name = SLICE_INIT("me")
#define HELLO "250 hi\r\n"
#define PIPES "250-hi\r\n250 PIPELINING\r\n"
#define CHUNKS "250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
#define MAIL "MAIL FROM:<a@s>\r\n"
#define R0 "RCPT TO:<r0@d>\r\n"
#define R1 "RCPT TO:<r1@d>\r\n"
#define R2 "RCPT TO:<r2@d>\r\n"
#define OKS(n) OKS##n
#define OKS1 "250 ok\r\n"
#define OKS2 OKS1 OKS1
#define OKS3 OKS2 OKS1

static const struct script plain_scripts[] = {
	{
		.why = "without pipelining, one command at a time",
		.conf = { NAME },
		.mails = { { .rcpts = 2, .body = "hi\r\n.dot\r\n" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO, MAIL }, { OKS1, R0 },
			{ OKS1, R1 }, { OKS1, "DATA\r\n" },
			{ "354 go\r\n", "hi\r\n..dot\r\n.\r\n" }, { OKS1, "" } },
		.told = "rcpt0.0=250 rcpt0.1=250 done0=delivered/3/250 ",
	},
	{
		.why = "HELO when EHLO is unknown",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "x" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { "502 what\r\n", "HELO me\r\n" },
			{ HELLO, MAIL }, { OKS1, R0 }, { OKS1, "DATA\r\n" },
			{ "354 go\r\n", "x\r\n.\r\n" }, { OKS1, "" } },
		.told = "rcpt0.0=250 done0=delivered/3/250 ",
	},
	{
		.why = "the greeting refuses",
		.conf = { NAME },
		.turns = { { "554-no\r\n554 thanks\r\n", "QUIT\r\n" } },
		.told = "down=REFUSED/554 ",
	},
	{
		.why = "421 instead of a greeting",
		.conf = { NAME },
		.turns = { { "421 busy\r\n", "" } },
		.told = "down=REFUSED/421 ",
	},
	{
		.why = "no reply at all",
		.conf = { NAME },
		.turns = { { "HTTP/1.1 400 Bad\r\n", "" } },
		.told = "down=PROTOCOL/0 ",
	},
	{
		.why = "all refused one by one: RSET before the next MAIL",
		.conf = { NAME },
		.mails = { { .rcpts = 2, .body = "x" }, { .rcpts = 1, .body = "y" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO, MAIL }, { OKS1, R0 },
			{ "550 5.1.1 no\r\n", R1 }, { "550 no\r\n", "RSET\r\n" }, { OKS1, MAIL },
			{ OKS1, R0 }, { OKS1, "DATA\r\n" }, { "354 go\r\n", "y\r\n.\r\n" },
			{ OKS1, "" } },
		.told = "rcpt0.0=550 rcpt0.1=550 done0=nobody/1/0 rcpt1.0=250 "
			"done1=delivered/3/250 ",
	},
	{
		.why = "MAIL refused, the next is tried",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "x" }, { .rcpts = 1, .body = "y" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO, MAIL }, { "550 no\r\n", MAIL },
			{ OKS1, R0 }, { OKS1, "DATA\r\n" }, { "354 go\r\n", "y\r\n.\r\n" },
			{ OKS1, "" } },
		.told = "done0=refused/0/550 rcpt1.0=250 done1=delivered/3/250 ",
	},
	{
		.why = "DATA refused",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "x" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO, MAIL }, { OKS1, R0 },
			{ OKS1, "DATA\r\n" }, { "451 later\r\n", "" } },
		.told = "rcpt0.0=250 done0=refused/2/451 ",
	},
	{
		.why = "a reply nobody asked for",
		.conf = { NAME },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO OKS1, "" } },
		.told = "down=PROTOCOL/0 ",
	},
	{
		.why = "421 while idle",
		.conf = { NAME },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO, "" }, { "421 bye\r\n", "" } },
		.told = "down=CLOSED/421 ",
	},
};

static const struct script pipeline_scripts[] = {
	{
		.why = "all in one go, and the next behind the body (RFC 2920 3.1)",
		.conf = { NAME },
		.mails = { { .rcpts = 2, .body = "one\r\n" }, { .rcpts = 1, .body = "two\r\n" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 R1 "DATA\r\n" },
			{ OKS3 "354 go\r\n", "one\r\n.\r\n" MAIL R0 "DATA\r\n" },
			{ OKS3 "354 go\r\n", "two\r\n.\r\n" }, { OKS1, "" } },
		.told = "rcpt0.0=250 rcpt0.1=250 done0=delivered/3/250 "
			"rcpt1.0=250 done1=delivered/3/250 ",
	},
	{
		.why = "all refused, and DATA says so",
		.conf = { NAME },
		.mails = { { .rcpts = 2, .body = "one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 R1 "DATA\r\n" },
			{ OKS1 "550 a\r\n550 b\r\n503 none\r\n", "RSET\r\n" MAIL R0 "DATA\r\n" },
			{ OKS3 "354 go\r\n", "two\r\n.\r\n" }, { OKS1, "" } },
		.told = "rcpt0.0=550 rcpt0.1=550 done0=nobody/2/503 "
			"rcpt1.0=250 done1=delivered/3/250 ",
	},
	{
		.why = "all refused, and yet 354: the lone dot, whose reply counts for nobody",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" },
			{ OKS1 "550 a\r\n354 go\r\n", ".\r\n" }, { OKS1, MAIL R0 "DATA\r\n" },
			{ OKS2 "354 go\r\n", "two\r\n.\r\n" }, { "250 ok\r\n", "" } },
		.told = "rcpt0.0=550 done0=nobody/1/0 rcpt1.0=250 done1=delivered/3/250 ",
	},
	{
		.why = "MAIL refused with all behind it",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" },
			{ "550 5.7.1 you\r\n503 a\r\n503 b\r\n", "" } },
		.told = "done0=refused/0/550 ",
	},
	{
		.why = "MAIL refused and yet 354",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" },
			{ "451 grey\r\n250 a\r\n354 b\r\n", ".\r\n" }, { "250 whatever\r\n", "" } },
		.told = "done0=refused/0/451 ",
	},
	{
		.why = "452 behind an accepted one: again at once; 452 before it: a refusal",
		.conf = { NAME },
		.mails = { { .rcpts = 4, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ PIPES, MAIL R0 R1 R2 "RCPT TO:<r3@d>\r\nDATA\r\n" },
			{ OKS1 "452 a\r\n250 b\r\n452 4.5.3 many\r\n550 no\r\n354 go\r\n",
				"one\r\n.\r\n" },
			{ OKS1, "" } },
		.told = "rcpt0.0=452 rcpt0.1=250 rcpt0.2=452! rcpt0.3=550 done0=delivered/3/250 ",
	},
	{
		.why = "the peer's RCPTMAX and MAILMAX",
		.conf = { NAME },
		.mails = { { .rcpts = 3, .body = "one" }, { .rcpts = 1, .body = "never" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2 MAILMAX=1\r\n",
				MAIL R0 R1 "DATA\r\n" },
			{ OKS3 "354 go\r\n", "one\r\n.\r\n" }, { OKS1, "" } },
		.told = "rcpt0.2=0! rcpt0.0=250 rcpt0.1=250 done0=delivered/3/250 ",
	},
	{
		.why = "421 to MAIL is no attempt",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" },
			{ "421 bye\r\n", "" } },
		.told = "done0=not-tried/0/421 down=CLOSED/421 ",
	},
	{
		.why = "421 at RCPT is one",
		.conf = { NAME },
		.mails = { { .rcpts = 2, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 R1 "DATA\r\n" },
			{ OKS2 "421 bye\r\n", "" } },
		.told = "rcpt0.0=250 done0=lost/1/421 down=CLOSED/421 ",
	},
	{
		.why = "421 as the verdict on a body refuses it; the next was not tried",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" },
			{ OKS2 "354 go\r\n", "one\r\n.\r\n" MAIL R0 "DATA\r\n" },
			{ "421 bye\r\n", "" } },
		.told = "rcpt0.0=250 done0=refused/3/421 done1=not-tried/0/0 down=CLOSED/421 ",
	},
	{
		.why = "a break behind the body: nobody knows; the next was not tried",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" },
			{ OKS2 "354 go\r\n", "one\r\n.\r\n" MAIL R0 "DATA\r\n" } },
		.lost = ERR_RESET,
		.told = "rcpt0.0=250 done0=lost/3/0 done1=not-tried/0/0 down=RESET/0 ",
	},
	{
		.why = "a break before MAIL is answered",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL R0 "DATA\r\n" } },
		.lost = ERR_TIMEOUT,
		.told = "done0=not-tried/0/0 down=TIMEOUT/0 ",
	},
	{
		.why = "pipelining forbidden by configuration",
		.conf = { NAME, .no_pipelining = true },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { PIPES, MAIL }, { OKS1, R0 } },
		.lost = ERR_CLOSED,
		.told = "done0=lost/1/0 down=CLOSED/0 ",
	},
};

static const struct script chunk_scripts[] = {
	{
		.why = "BDAT waits for the recipients",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = ".one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { CHUNKS, MAIL R0 },
			{ OKS2, "BDAT 4 LAST\r\n.one" MAIL R0 }, { OKS3, "BDAT 3 LAST\r\ntwo" },
			{ OKS1, "" } },
		.told = "rcpt0.0=250 done0=delivered/3/250 rcpt1.0=250 done1=delivered/3/250 ",
	},
	{
		.why = "BDAT with nobody accepted is not sent",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { CHUNKS, MAIL R0 },
			{ OKS1 "550 no\r\n", "RSET\r\n" MAIL R0 }, { OKS3, "BDAT 3 LAST\r\ntwo" },
			{ OKS1, "" } },
		.told = "rcpt0.0=550 done0=nobody/1/0 rcpt1.0=250 done1=delivered/3/250 ",
	},
	{
		.why = "small bodies to a known good path do not wait",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one", .unwaited = true },
			{ .rcpts = 1, .body = "two", .unwaited = true },
			{ .rcpts = 1, .body = "six", .unwaited = true } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ CHUNKS, MAIL R0 "BDAT 3 LAST\r\none" MAIL R0 "BDAT 3 LAST\r\ntwo" },
			{ OKS3, MAIL R0 "BDAT 3 LAST\r\nsix" }, { OKS3, "" }, { OKS3, "" } },
		.told = "rcpt0.0=250 done0=delivered/3/250 rcpt1.0=250 done1=delivered/3/250 "
			"rcpt2.0=250 done2=delivered/3/250 ",
	},
	{
		.why = "unwaited and all refused: nobody; the server is still in the old "
		       "transaction",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one", .unwaited = true },
			{ .rcpts = 1, .body = "two", .unwaited = true },
			{ .rcpts = 1, .body = "six" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ CHUNKS, MAIL R0 "BDAT 3 LAST\r\none" MAIL R0 "BDAT 3 LAST\r\ntwo" },
			{ OKS1 "550 no\r\n503 none\r\n", "RSET\r\n" MAIL R0 },
			{ "503 nested\r\n503 a\r\n503 b\r\n", "" }, { OKS3, "BDAT 3 LAST\r\nsix" },
			{ OKS1, "" } },
		.told = "rcpt0.0=550 done0=nobody/3/503 done1=not-tried/0/503 "
			"rcpt2.0=250 done2=delivered/3/250 ",
	},
	{
		.why = "a break behind an unwaited body: nobody knows",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one", .unwaited = true } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ CHUNKS, MAIL R0 "BDAT 3 LAST\r\none" } },
		.lost = ERR_RESET,
		.told = "done0=lost/3/0 down=RESET/0 ",
	},
	{
		.why = "a body of unknown size goes by DATA",
		.conf = { NAME },
		.mails = { { .rcpts = 1, .body = "one\r\n", .unknown = true } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { CHUNKS, MAIL R0 "DATA\r\n" },
			{ OKS2 "354 go\r\n", "one\r\n.\r\n" }, { "554 5.7.1 spam\r\n", "" } },
		.told = "rcpt0.0=250 done0=refused/3/554 ",
	},
};

static const struct sasl_client_conf login = {
	.user = SLICE_INIT("tim"),
	.password = SLICE_INIT("tanstaaf"),
	.nonce = SLICE_INIT("0123456789abcdefgh"),
};

static const struct script session_scripts[] = {
	{
		.why = "STARTTLS forgets what was offered before it",
		.conf = { NAME, .tls = SMTP_TLS_IF_OFFERED },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250-PIPELINING\r\n250 STARTTLS\r\n", "STARTTLS\r\n" },
			{ "220 go\r\n", "EHLO me\r\n" }, { HELLO, MAIL } },
		.lost = ERR_CLOSED,
		.told = "tls done0=not-tried/0/0 down=CLOSED/0 ",
	},
	{
		.why = "STARTTLS required and not offered",
		.conf = { NAME, .tls = SMTP_TLS_REQUIRED },
		.turns = { { "220 x\r\n", "EHLO me\r\n" }, { HELLO, "" } },
		.told = "down=TLS/0 ",
	},
	{
		.why = "STARTTLS refused: in clear if that is allowed",
		.conf = { NAME, .tls = SMTP_TLS_IF_OFFERED },
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250 STARTTLS\r\n", "STARTTLS\r\n" }, { "454 no\r\n", MAIL } },
		.lost = ERR_CLOSED,
		.told = "done0=not-tried/0/0 down=CLOSED/0 ",
	},
	{
		.why = "STARTTLS refused where it is required",
		.conf = { NAME, .tls = SMTP_TLS_REQUIRED },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250 STARTTLS\r\n", "STARTTLS\r\n" },
			{ "454 no\r\n", "QUIT\r\n" } },
		.told = "down=TLS/454 ",
	},
	{
		.why = "AUTH PLAIN under TLS",
		.conf = { NAME, .tls = SMTP_TLS_ON_ALREADY },
		.login = &login,
		.mails = { { .rcpts = 1, .body = "one" } },
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250 AUTH PLAIN LOGIN\r\n",
				"AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n" },
			{ "235 in\r\n", MAIL } },
		.lost = ERR_CLOSED,
		.told = "done0=not-tried/0/0 down=CLOSED/0 ",
	},
	{
		.why = "AUTH LOGIN step by step",
		.conf = { NAME, .mechanisms = SASL_LOGIN },
		.login = &login,
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250 AUTH LOGIN\r\n", "AUTH LOGIN\r\n" },
			{ "334 VXNlcm5hbWU6\r\n", "dGlt\r\n" },
			{ "334 UGFzc3dvcmQ6\r\n", "dGFuc3RhYWY=\r\n" },
			{ "535 5.7.8 no\r\n", "QUIT\r\n" } },
		.told = "down=AUTH/535 ",
	},
	{
		.why = "no password in clear unless it is asked for",
		.conf = { NAME },
		.login = &login,
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250 AUTH LOGIN PLAIN\r\n", "QUIT\r\n" } },
		.told = "down=AUTH/0 ",
	},
	{
		.why = "a challenge that is no SCRAM cancels the exchange",
		.conf = { NAME },
		.login = &login,
		.turns = { { "220 x\r\n", "EHLO me\r\n" },
			{ "250-hi\r\n250 AUTH SCRAM-SHA-256\r\n",
				"AUTH SCRAM-SHA-256 biwsbj10aW0scj0wMTIzNDU2Nzg5YWJjZGVmZ2g=\r\n" },
			{ "334 AAAA\r\n", "*\r\n" }, { "501 canceled\r\n", "QUIT\r\n" } },
		.told = "down=AUTH/501 ",
	},
	{
		.why = "LMTP: one reply for each accepted recipient",
		.conf = { NAME, .lmtp = true },
		.mails = { { .rcpts = 3, .body = "one" } },
		.turns = { { "220 x\r\n", "LHLO me\r\n" }, { PIPES, MAIL R0 R1 R2 "DATA\r\n" },
			{ OKS2 "550 no\r\n250 ok\r\n354 go\r\n", "one\r\n.\r\n" },
			{ "250 a\r\n452 full\r\n", "" } },
		.told = "rcpt0.0=250 rcpt0.1=550 rcpt0.2=250 final0.0=250 final0.2=452 "
			"done0=answered/1/0 ",
	},
	{
		.why = "LMTP: nothing goes out behind a message, so no other reply can pass for a "
		       "final one",
		.conf = { NAME, .lmtp = true },
		.mails = { { .rcpts = 2, .body = "one" }, { .rcpts = 1, .body = "two" } },
		.turns = { { "220 x\r\n", "LHLO me\r\n" }, { PIPES, MAIL R0 R1 "DATA\r\n" },
			{ OKS2 "250 ok\r\n354 go\r\n", "one\r\n.\r\n" }, { "451 for all\r\n", "" },
			{ "250 late\r\n", MAIL R0 "DATA\r\n" },
			{ OKS2 "354 go\r\n", "two\r\n.\r\n" }, { "250 b\r\n", "" } },
		.told = "rcpt0.0=250 rcpt0.1=250 final0.0=451 final0.1=250 done0=answered/1/0 "
			"rcpt1.0=250 final1.0=250 done1=answered/1/0 ",
	},
};

static void play_all(const struct script *scripts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		play(&scripts[i], SIZE_MAX);
		play(&scripts[i], 1);
		play(&scripts[i], 7);
	}
}

Test(smtp_client, one_by_one)
{
	play_all(plain_scripts, array_len(plain_scripts));
}

Test(smtp_client, pipelining)
{
	play_all(pipeline_scripts, array_len(pipeline_scripts));
}

Test(smtp_client, chunking)
{
	play_all(chunk_scripts, array_len(chunk_scripts));
}

Test(smtp_client, sessions)
{
	play_all(session_scripts, array_len(session_scripts));
}

Test(smtp_client, bytes_behind_220_of_starttls_end_the_session)
{
	struct smtp_client_conf conf = { .name = SLICE("me"), .tls = SMTP_TLS_REQUIRED };
	slice in = SLICE("220 x\r\n250-hi\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n");
	struct out o = out_heap(10000);
	struct smtp_client_event ev;
	struct smtp_client c;

	smtp_client_init(&c, &(struct smtp_client_setup){ .conf = &conf });
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_DOWN);
	cr_assert_eq(ev.err, ERR_PROTOCOL);
	out_heap_done(&o);
}

Test(smtp_client, quit)
{
	struct smtp_client_conf conf = { .name = SLICE("me") };
	slice in = SLICE("220 x\r\n250 hi\r\n");
	struct out o = out_heap(10000);
	struct smtp_client_event ev;
	struct smtp_client c;

	smtp_client_init(&c, &(struct smtp_client_setup){ .conf = &conf });
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_READY);
	smtp_client_quit(&c, &o);
	cr_assert(slice_eq(out_written(&o), SLICE("EHLO me\r\nQUIT\r\n")));
	in = SLICE("221 bye\r\n");
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_DOWN);
	cr_assert_eq(ev.err, OK);
	out_heap_done(&o);
}

Test(smtp_client, quit_waits_for_the_last_transaction)
{
	struct smtp_client_conf conf = { .name = SLICE("me") };
	struct smtp_mail mail = { .from = { .local = SLICE("a"), .domain = SLICE("s") } };
	struct smtp_txn txn = {
		.mail = &mail, .rcpt_count = 1, .rcpt = give_rcpt, .body_bytes = SMTP_BODY_UNKNOWN
	};
	slice in = SLICE("220 x\r\n" PIPES);
	struct out o = out_heap(10000);
	struct smtp_client_event ev;
	struct smtp_client c;

	smtp_client_init(&c, &(struct smtp_client_setup){ .conf = &conf });
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_READY);
	smtp_client_offer(&c, &txn);
	smtp_client_quit(&c, &o);
	cr_assert_not(smtp_client_can_offer(&c));
	in = SLICE("250 a\r\n550 b\r\n503 c\r\n");
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_RCPT);
	o.len = 0;
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_DONE);
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_WAIT);
	cr_assert(slice_eq(out_written(&o), SLICE("QUIT\r\n")));
	in = SLICE("221 bye\r\n");
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_DOWN);
	cr_assert_eq(ev.err, OK);
	out_heap_done(&o);
}

/* A thousand recipients through a small buffer: the window and the room are both kept. */
Test(smtp_client, many_recipients_in_little_room)
{
	static char buf[SMTP_CLIENT_ROOM + 512];
	struct smtp_client_conf conf = { .name = SLICE("me") };
	struct smtp_mail mail = { .from = { .local = SLICE("a"), .domain = SLICE("s") } };
	struct smtp_txn txn = { .mail = &mail,
		.rcpt_count = 1000,
		.rcpt = give_rcpt,
		.body_bytes = SMTP_BODY_UNKNOWN };
	slice in = SLICE("220 x\r\n" PIPES), none = { 0 };
	struct out o = out_fixed(buf, sizeof(buf));
	struct smtp_client_event ev;
	struct smtp_client c;
	uint32_t told = 0;
	enum smtp_event event;

	smtp_client_init(&c, &(struct smtp_client_setup){ .conf = &conf });
	while (smtp_client_step(&c, &in, &o, &ev) != SMTP_EV_READY)
		o.len = 0;
	smtp_client_offer(&c, &txn);
	cr_assert_eq(smtp_client_step(&c, &none, &o, &ev), SMTP_EV_WAIT);
	for (int i = 0; i < 1001; i++) {
		in = SLICE("250 ok\r\n");
		while ((event = smtp_client_step(&c, &in, &o, &ev)) != SMTP_EV_WAIT)
			told += event == SMTP_EV_RCPT;
		cr_assert(out_ok(&o));
		cr_assert_leq(c.flight[0].rcpts_sent - c.flight[0].rcpts_answered,
			SMTP_CLIENT_WINDOW);
		o.len = 0;
	}
	cr_assert_eq(told, 1000);
	in = SLICE("354 go\r\n");
	cr_assert_eq(smtp_client_step(&c, &in, &o, &ev), SMTP_EV_BODY);
}
