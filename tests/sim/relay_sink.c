/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Next hops: small SMTP servers on fibers of the simulated process, which misbehave as the seed
 * says. What one takes is told to the oracle before the answer is written, since from then on it
 * is delivered whatever happens to the answer. */
#include "tests/sim/relay_town.h"

#include "core/base/text.h"
#include "core/conn.h"
#include "core/fiber.h"
#include "core/listen.h"
#include "core/tls.h"
#include "core/worker.h"
#include "proto/mailauth/dkim_verify.h"

#include <stdarg.h>
#include <stdlib.h>

enum {
	LINE_MAX_BYTES = 2048,
	RCPTS_MAX = 200,
	NAMED_MAX = 64,
	HEADER_BYTES = 8192,
	WAIT_MS = 600 * 1000
};

struct named {
	uint32_t message;
	unsigned n;
};

struct sink {
	struct conn *c;
	const struct host *host;
	unsigned number, transactions;
	bool bye, mail, report, tls;
	struct named rcpts[RCPTS_MAX];
	unsigned rcpt_count;
	/* The message that is coming in. */
	unsigned blank; /* how much of CR LF CR LF stands before here; 4: in the body */
	struct body_hash body;
	char header[HEADER_BYTES];
	size_t header_len;
	struct arena arena; /* of the verifier */
	struct dkim_verifier dkim;
	char text[LINE_MAX_BYTES]; /* a line of a report */
	size_t text_len;
	struct named failed[NAMED_MAX], about;
	unsigned failed_count;
	bool about_known;
	char line[LINE_MAX_BYTES];
};

void body_hash_add(struct body_hash *h, slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		h->sum = (h->sum ^ (unsigned char)bytes.ptr[i]) * UINT64_C(0x100000001b3);
	h->bytes += bytes.len;
}

static void say(struct sink *s, const char *text)
{
	out_str(conn_out(s->c), text);
	out_str(conn_out(s->c), "\r\n");
}

static enum err read_line(struct sink *s, slice *out)
{
	slice in = { 0 };

	for (;;) {
		enum err err = conn_wait_data(s->c, &in, WAIT_MS);
		ptrdiff_t end = slice_search(in, SLICE("\r\n"));

		if (err)
			return err;
		if (end < 0)
			continue;
		if (end >= LINE_MAX_BYTES)
			return ERR_TOO_LARGE;
		memcpy(s->line, in.ptr, (size_t)end);
		*out = slice_of(s->line, (size_t)end);
		conn_consume(s->c, (size_t)end + 2);
		return OK;
	}
}

/* True: this command has been dealt with, badly. */
static bool misbehaves(struct sink *s, unsigned per_mille)
{
	if (!town_bad(per_mille))
		return false;
	switch (sim_random(4)) {
	case 0:
		say(s, "451 4.3.0 not now");
		return true;
	case 1:
		say(s, "421 4.3.2 going away");
		conn_close(s->c);
		return true;
	case 2:
		conn_abort(s->c, ERR_RESET);
		return true;
	default:
		(void)!fiber_sleep((msec)sim_random(3000));
		return conn_closing(s->c);
	}
}

/* --- Content --- */

static void report_line(struct sink *s, slice line)
{
	slice field = SLICE("Final-Recipient: rfc822;");

	if (slice_starts_nocase(line, field))
		s->about_known = oracle_find(slice_trim(slice_skip(line, field.len)),
			&s->about.message, &s->about.n);
	else if (s->about_known && slice_starts_nocase(line, SLICE("Action: failed")) &&
		s->failed_count < NAMED_MAX)
		s->failed[s->failed_count++] = s->about;
}

static void report_bytes(struct sink *s, slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.ptr[i] == '\n') {
			report_line(s,
				slice_trim(slice_of(s->text, s->text_len - (s->text_len > 0))));
			s->text_len = 0;
		} else if (s->text_len < sizeof(s->text)) {
			s->text[s->text_len++] = bytes.ptr[i];
		}
	}
}

static void content(struct sink *s, slice bytes)
{
	static const char blank_line[] = "\r\n\r\n";

	if (s->report)
		report_bytes(s, bytes);
	for (; bytes.len && s->blank < 4; bytes = slice_skip(bytes, 1)) {
		if (bytes.ptr[0] == blank_line[s->blank])
			s->blank++;
		else
			s->blank = bytes.ptr[0] == '\r';
		if (s->header_len < HEADER_BYTES)
			s->header[s->header_len++] = bytes.ptr[0];
		if (s->blank == 4) /* without the line that ends it */
			dkim_verify_header(&s->dkim, slice_of(s->header, s->header_len - 2), 0);
	}
	body_hash_add(&s->body, bytes);
	if (s->blank == 4)
		dkim_verify_body(&s->dkim, bytes);
}

static void begin_content(struct sink *s)
{
	s->blank = 0;
	s->body = (struct body_hash){ 0 };
	s->text_len = s->failed_count = 0;
	s->about_known = false;
	s->header_len = 0;
	arena_reset(&s->arena);
	dkim_verify_init(&s->dkim, &s->arena);
}

/* With the record of RFC 8463 A.2. */
static void verify_signatures(struct sink *s, uint32_t message)
{
	slice record = SLICE("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
	bool wanted = oracle_message(message)->submitted;

	dkim_verify_body_end(&s->dkim);
	if (s->dkim.count != wanted || s->dkim.ignored)
		oracle_complain("message %u came with %zu signatures", message, s->dkim.count);
	for (size_t i = 0; i < s->dkim.count; i++) {
		enum dkim_result result = dkim_verify_key(&s->dkim, i, OK, record);

		if (result == DKIM_PASS)
			oracle_signed();
		else
			oracle_complain("message %u: its signature is not good: %s", message,
				s->dkim.checks[i].why ? s->dkim.checks[i].why : "");
	}
}

static void verify(struct sink *s)
{
	if (!s->report && s->rcpt_count)
		verify_signatures(s, s->rcpts[0].message);
	for (unsigned i = 0; i < s->rcpt_count && !s->report; i++) {
		const struct oracle_message *m = oracle_message(s->rcpts[i].message);

		if (s->rcpts[i].message != s->rcpts[0].message)
			oracle_complain("two messages in one transaction");
		if (m->hash != s->body.sum || m->bytes != s->body.bytes)
			oracle_complain("message %u arrived with another body (%zu of %zu bytes)",
				s->rcpts[i].message, s->body.bytes, m->bytes);
	}
	if (s->report && s->failed_count == 0)
		oracle_complain("a report names no recipient that failed");
}

/* --- The end of a message --- */

static void take(struct sink *s, bool late)
{
	const struct named *all = s->report ? s->failed : s->rcpts;
	unsigned count = s->report ? s->failed_count : s->rcpt_count;

	verify(s);
	s->transactions++;
	for (unsigned i = 0; i < count; i++)
		oracle_delivered(&(struct delivery){ .message = all[i].message,
			.n = all[i].n,
			.session = s->number,
			.transaction = s->transactions,
			.report = s->report,
			.late = late });
}

static void refuse_all(struct sink *s)
{
	for (unsigned i = 0; i < s->rcpt_count; i++)
		oracle_refused(&oracle_message(s->rcpts[i].message)->rcpts[s->rcpts[i].n]);
	say(s, "554 5.6.0 we do not like it");
}

static void take_slowly(struct sink *s)
{
	take(s, true);
	/* Sometimes longer than the relay is willing to wait. */
	msec ms = (msec)sim_random(sim_random(4) ? 3000 : 60000);

	bool gone = fiber_sleep(ms) || conn_closing(s->c);

	oracle_answered(s->number, gone);
	say(s, "250 2.0.0 taken at last");
}

/* RFC 2033 4.2: each has a fate of its own, told in order; the connection may break between them. */
static void end_of_lmtp(struct sink *s)
{
	verify(s);
	s->transactions++;
	for (unsigned i = 0; i < s->rcpt_count; i++) {
		struct named who = s->rcpts[i];

		if (town_bad(30)) {
			conn_abort(s->c, ERR_RESET);
			return;
		}
		if (town_bad(60)) {
			say(s, "450 4.2.0 not this one");
		} else if (town_bad(30)) {
			oracle_refused(&oracle_message(who.message)->rcpts[who.n]);
			say(s, "552 5.2.2 full");
		} else {
			oracle_delivered(&(struct delivery){ .message = who.message,
				.n = who.n,
				.session = s->number,
				.transaction = s->transactions });
			say(s, "250 2.0.0 taken");
		}
	}
}

static void end_of_message(struct sink *s)
{
	s->mail = false;
	if (misbehaves(s, 40))
		return;
	if (s->host->kind == HOST_LMTP) {
		end_of_lmtp(s);
		return;
	}
	if (!s->report && town_bad(15)) {
		refuse_all(s);
	} else if (town_bad(40)) {
		take(s, true);
		oracle_answered(s->number, true);
		conn_abort(s->c, ERR_RESET);
	} else if (town_bad(40)) {
		take_slowly(s);
	} else {
		take(s, false);
		say(s, "250 2.0.0 taken");
		if (town_bad(20))
			conn_close(s->c);
	}
}

/* --- Verbs --- */

static enum err do_data(struct sink *s)
{
	slice line;

	if (!s->mail || s->rcpt_count == 0) {
		say(s, "554 5.5.1 nobody to send it to");
		return OK;
	}
	if (misbehaves(s, 20))
		return OK;
	say(s, "354 go on");
	for (;;) {
		enum err err = read_line(s, &line);

		if (err)
			return err;
		if (slice_eq(line, SLICE(".")))
			break;
		if (slice_starts(line, SLICE(".")))
			line = slice_skip(line, 1);
		content(s, line);
		content(s, SLICE("\r\n"));
		if (town_bad(1) && sim_random(20) == 0) {
			conn_abort(s->c, ERR_RESET);
			return ERR_RESET;
		}
	}
	end_of_message(s);
	return OK;
}

static enum err read_chunk(struct sink *s, uint64_t size, bool wanted)
{
	while (size) {
		slice in = { 0 };
		enum err err = conn_wait_data(s->c, &in, WAIT_MS);

		if (err)
			return err;
		in = slice_sub(in, 0, (size_t)MIN(size, (uint64_t)in.len));
		if (wanted)
			content(s, in);
		size -= in.len;
		conn_consume(s->c, in.len);
	}
	return OK;
}

static enum err do_bdat(struct sink *s, slice args)
{
	bool wanted = s->mail && s->rcpt_count > 0;
	uint64_t size;
	slice number;

	if (!slice_cut(&args, ' ', &number) || !text_parse_uint(number, 1 << 30, &size)) {
		say(s, "501 5.5.4 what");
		return OK;
	}
	enum err err = read_chunk(s, size, wanted);

	if (err)
		return err;
	if (!wanted)
		say(s, "503 5.5.1 nobody to send it to");
	else if (slice_eq_nocase(args, SLICE("LAST")))
		end_of_message(s);
	else
		say(s, "250 2.0.0 more");
	return OK;
}

static void do_ehlo(struct sink *s)
{
	static const char *const words[] = {
		[HOST_GOOD] = "250-next\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250 8BITMIME",
		[HOST_PLAIN] = "250 next",
		[HOST_CHUNKS] = "250-next\r\n250-CHUNKING\r\n250-PIPELINING\r\n250 8BITMIME",
		[HOST_REJECTS] = "250-next\r\n250 PIPELINING",
		[HOST_DEFERS] = "250-next\r\n250 PIPELINING",
		[HOST_SIX] = "250-next\r\n250-CHUNKING\r\n250 SIZE 50000000",
		[HOST_LMTP] = "250-next\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME",
	};

	if (misbehaves(s, 20))
		return;
	if (!s->tls && (s->host->kind == HOST_GOOD || s->host->kind == HOST_CHUNKS))
		say(s, "250-next\r\n250-STARTTLS");
	say(s, words[s->host->kind]);
}

/* Now and then what follows is no handshake. */
static enum err do_starttls(struct sink *s)
{
	static const struct tls_accept args;

	s->mail = false;
	if (misbehaves(s, 20))
		return OK;
	say(s, "220 2.0.0 go");
	if (town_bad(30)) {
		say(s, "what is TLS?");
		return OK;
	}
	struct tls_session *tls = tls_server_session(town_tls_server(), worker_self(), &args);

	must(tls);
	s->tls = true;
	return conn_start_tls_wait(s->c, tls, WAIT_MS);
}

static void do_mail(struct sink *s, slice args)
{
	s->rcpt_count = 0;
	s->mail = false;
	if (misbehaves(s, 30))
		return;
	s->report = slice_starts_nocase(args, SLICE("FROM:<>"));
	s->mail = true;
	begin_content(s);
	say(s, "250 2.1.0 yes");
}

static void add_rcpt(struct sink *s, struct named who)
{
	if (s->rcpt_count == RCPTS_MAX) {
		say(s, "452 4.5.3 too many");
		return;
	}
	s->rcpts[s->rcpt_count++] = who;
	say(s, "250 2.1.5 yes");
}

static void rcpt_of_message(struct sink *s, slice address)
{
	struct named who;
	struct oracle_rcpt *rcpt = oracle_find(address, &who.message, &who.n);

	if (!rcpt) {
		oracle_complain("a stranger: %.*s", SLICE_ARG(address));
		say(s, "550 5.1.1 unknown");
	} else if (s->host->kind == HOST_DEFERS) {
		say(s, "450 4.2.1 later, always later");
	} else if ((s->host->kind == HOST_REJECTS && who.n % 2) || town_bad(15)) {
		oracle_refused(rcpt);
		say(s, "550 5.1.1 no such user");
	} else {
		add_rcpt(s, who);
	}
}

static void do_rcpt(struct sink *s, slice args)
{
	ptrdiff_t from = slice_find(args, '<'), to = slice_find(args, '>');

	if (!s->mail) {
		say(s, "503 5.5.1 MAIL first");
		return;
	}
	if (misbehaves(s, 20))
		return;
	if (s->report)
		add_rcpt(s, (struct named){ 0 });
	else
		rcpt_of_message(s, slice_sub(args, (size_t)(from + 1), (size_t)MAX(to, 0)));
}

/* Not OK: the session is over. */
static enum err command(struct sink *s, slice line)
{
	slice verb, args = line;

	if (!slice_cut(&args, ' ', &verb))
		verb = line;
	if (slice_eq_nocase(verb, SLICE("DATA")))
		return do_data(s);
	if (slice_eq_nocase(verb, SLICE("BDAT")))
		return do_bdat(s, args);
	if (slice_eq_nocase(verb, SLICE("STARTTLS")))
		return do_starttls(s);
	if (slice_eq_nocase(verb, SLICE("EHLO")) || slice_eq_nocase(verb, SLICE("HELO")) ||
		slice_eq_nocase(verb, SLICE("LHLO")))
		do_ehlo(s);
	else if (slice_eq_nocase(verb, SLICE("MAIL")))
		do_mail(s, args);
	else if (slice_eq_nocase(verb, SLICE("RCPT")))
		do_rcpt(s, args);
	else if (slice_eq_nocase(verb, SLICE("RSET")))
		s->mail = false, say(s, "250 2.0.0 yes");
	else if (slice_eq_nocase(verb, SLICE("QUIT")))
		s->bye = true, say(s, "221 2.0.0 bye");
	else
		say(s, "500 5.5.2 what");
	return s->bye ? ERR_CLOSED : OK;
}

static void serve(struct conn *c)
{
	struct sink *s = conn_owner(c);
	slice line;

	if (misbehaves(s, 20))
		conn_close(c);
	else
		say(s, "220 next ESMTP");
	while (!conn_closing(c) && !read_line(s, &line)) {
		if (town_bad(100))
			(void)!fiber_sleep((msec)sim_random(100));
		if (command(s, line))
			break;
	}
	conn_close(c);
}

/* --- Connections --- */

static size_t on_data(struct conn *c, slice in)
{
	(void)c;
	return in.len; /* the fiber reads; what comes after it is of no interest */
}

static void on_closed(struct conn *c, enum err why)
{
	struct sink *s = conn_owner(c);

	if (!s->bye || why)
		oracle_broken(s->number);
	arena_done(&s->arena);
	free(s);
}

static void on_accepted(struct listener *l, int fd, const struct addr *peer)
{
	static const struct conn_ops ops = { .data = on_data, .closed = on_closed };
	static unsigned sessions; /* of all lives: their names */
	struct sink *s = calloc(1, sizeof(*s));
	struct conn_open open = { .fd = fd, .peer = peer, .ops = &ops, .owner = s, .listener = l };

	must(s);
	s->host = listener_owner(l);
	s->number = ++sessions;
	must(conn_open(listener_worker(l), &open, &s->c) == OK);
	(void)conn_run(s->c, serve);
}

enum err sink_start(struct worker *w, const struct host *host)
{
	struct addr at = town_address(host);
	struct listen_config config = { .accepted = on_accepted, .owner = (void *)(uintptr_t)host };
	struct listener *l;
	enum err err = listen_open(&at, 0, &config.fd);

	return err ? err : listener_start(w, &config, &l);
}
