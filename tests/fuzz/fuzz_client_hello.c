/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Oracle: the same answer in every division, and every slice inside the message. */
#include "core/client_hello.h"

#include "tests/support/feed.h"

static size_t take(void *state, slice in, bool last, struct out *o)
{
	struct client_hello h;
	char buf[CLIENT_HELLO_MAX];
	slice whole = slice_of(buf, sizeof(buf));
	enum step step = client_hello_parse(in, buf, &h);

	(void)state;
	(void)last;
	if (step == STEP_MORE)
		return 0;
	out_printf(o, "%d", step);
	if (step != STEP_DONE)
		return FEED_STOP;
	must(feed_inside(h.sni, whole));
	for (size_t i = 0; i < h.alpn_count; i++) {
		must(feed_inside(h.alpn[i], whole));
		out_slice(o, h.alpn[i]);
	}
	out_slice(o, h.sni);
	out_printf(o, "%d%d%d%d%d%d", h.tls12, h.tls13, h.ecdsa_p256, h.rsa_pss, h.rsa_pkcs1,
		h.ticket);
	return FEED_STOP;
}
static const struct feed_parser parser = { .name = "client_hello", .take = take };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	must(feed_few_ways(&parser, NULL, slice_of(data, MIN(size, (size_t)2048)), NULL));
	return 0;
}
