/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server that says anything: the client machine must end or wait, tell each offered transaction's
 * outcome once, and write the same whatever the division. The first two bytes choose the settings. */
#include "proto/smtp/client.h"
#include "tests/support/feed.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TXNS = 4 };

struct session {
	struct smtp_client client;
	struct smtp_client_conf conf;
	struct arena arena;
	struct smtp_mail mail;
	struct smtp_txn txns[TXNS];
	uint64_t accepted[TXNS];
	size_t offered, done;
	unsigned flags;
	char text[128];
};

static const struct sasl_client_conf login = {
	.user = SLICE_INIT("u"),
	.password = SLICE_INIT("p"),
	.nonce = SLICE_INIT("0123456789abcdefgh"),
	.iterations_max = 4096,
};

static void give_rcpt(struct smtp_txn *txn, uint32_t i, struct smtp_rcpt *out)
{
	(void)txn;
	(void)i;
	out->to = (struct mail_addr){ .local = SLICE("r"), .domain = SLICE("d") };
}

static void begin(void *state, const void *arg)
{
	const uint8_t *choice = arg;
	struct session *s = state;

	s->flags = choice[1];
	s->conf = (struct smtp_client_conf){
		.name = SLICE("me"),
		.lmtp = choice[0] & 1,
		.no_pipelining = choice[0] & 2,
		.no_chunking = choice[0] & 4,
		.tls = (enum smtp_tls_use)(choice[0] >> 3 & 3),
		.mechanisms = choice[0] >> 5 & 1 ? SASL_ALL : 0,
	};
	s->mail.from = (struct mail_addr){ .local = SLICE("a"), .domain = SLICE("s") };
	smtp_client_init(&s->client,
		&(struct smtp_client_setup){ .conf = &s->conf,
			.login = choice[0] & 64 ? &login : NULL,
			.arena = &s->arena,
			.text = s->text,
			.text_cap = sizeof(s->text) });
}

static void end(void *state)
{
	struct session *s = state;

	arena_done(&s->arena);
}

static void offer(struct session *s)
{
	size_t i = s->offered;

	if (i == TXNS)
		return;
	s->offered++;
	s->txns[i] = (struct smtp_txn){
		.mail = &s->mail,
		.rcpt_count = 1 + (s->flags >> i) % 4,
		.rcpt = give_rcpt,
		.body_bytes = s->flags >> i & 16 ? SMTP_BODY_UNKNOWN : 5,
		.unwaited_ok = s->flags >> i & 8,
		.accepted = s->conf.lmtp ? &s->accepted[i] : NULL,
	};
	smtp_client_offer(&s->client, &s->txns[i]);
}

static bool act(struct session *s, slice *in, struct out *o)
{
	struct smtp_client_event ev;
	enum smtp_event event = smtp_client_step(&s->client, in, o, &ev);
	slice body = SLICE(".ab\r\n");

	out_printf(o, "[%d %d %d %u]", (int)event, (int)ev.outcome, (int)ev.phase, ev.rcpt);
	switch (event) {
	case SMTP_EV_STARTTLS:
		smtp_client_tls_done(&s->client);
		return true;
	case SMTP_EV_READY:
		offer(s);
		return true;
	case SMTP_EV_BODY:
		must(ev.txn);
		smtp_client_body(&s->client, &body, o);
		smtp_client_body_end(&s->client, o);
		return true;
	case SMTP_EV_DONE:
		must(ev.txn && ev.txn->rcpt);
		ev.txn->rcpt = NULL;
		s->done++;
		return true;
	case SMTP_EV_WAIT:
	case SMTP_EV_DOWN:
		o->len -= sizeof("[0 0 0 0]") - 1;
		return false;
	default:
		return true;
	}
}

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct session *s = state;
	slice rest = in;

	if (last)
		smtp_client_lost(&s->client, ERR_CLOSED);
	while (act(s, &rest, o))
		;
	if (!last)
		return in.len - rest.len;
	must(s->done == s->offered);
	out_printf(o, "down %d", (int)s->client.down);
	return FEED_STOP;
}

static const struct feed_parser parser = {
	.name = "smtp_client",
	.state_size = sizeof(struct session),
	.init = begin,
	.done = end,
	.take = take,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	/* STARTTLS ends differently when bytes are behind its reply, so there the division matters. */
	if ((data[0] >> 3 & 3) == SMTP_TLS_IF_OFFERED || (data[0] >> 3 & 3) == SMTP_TLS_REQUIRED) {
		struct feed_parser one = parser;
		struct session *s = calloc(1, sizeof(*s));
		struct out o = out_heap(1 << 22);

		must(s);
		begin(s, data);
		one.take(s, slice_of(data + 2, size - 2), false, &o);
		one.take(s, (slice){ 0 }, true, &o);
		end(s);
		out_heap_done(&o);
		free(s);
		return 0;
	}
	must(feed_few_ways(&parser, data, slice_of(data + 2, size - 2), NULL));
	return 0;
}
